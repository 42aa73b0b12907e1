//! Where a path leads: the file that defines the item it names.

use std::path::PathBuf;

use super::source::Tree;

/// What a name stands for.
#[derive(Clone)]
pub enum Meaning {
    /// A module of the crate.
    Module(usize),
    /// An item, with the file that defines it.
    Item(PathBuf),
}

/// Imports lead to imports: so many are followed, against those that lead back.
const MOST: u32 = 32;

/// What `path` names in module `from`; nothing where that is of another crate, or local to a function.
pub fn meaning(tree: &Tree, from: usize, path: &[String]) -> Option<Meaning> {
    follow(tree, from, path, MOST)
}

fn follow(tree: &Tree, from: usize, path: &[String], left: u32) -> Option<Meaning> {
    let left = left.checked_sub(1)?;
    let (first, rest) = path.split_first()?;
    let mut meaning = match first.as_str() {
        "crate" => Meaning::Module(0),
        "self" => Meaning::Module(from),
        "super" => Meaning::Module(tree.0[from].parent?),
        name => named(tree, from, name, left)?,
    };
    for name in rest {
        meaning = match (meaning, name.as_str()) {
            (Meaning::Module(module), "super") => Meaning::Module(tree.0[module].parent?),
            (Meaning::Module(module), name) => named(tree, module, name, left)?,
            // What follows is a variant, or a function of a type.
            (item @ Meaning::Item(_), _) => return Some(item),
        };
    }
    Some(meaning)
}

/// What `name` is in `module`: a module of its own, an item, an import.
fn named(tree: &Tree, module: usize, name: &str, left: u32) -> Option<Meaning> {
    let here = &tree.0[module];
    if let Some(child) = here.modules.get(name) {
        return Some(Meaning::Module(*child));
    }
    if let Some(file) = here.items.get(name) {
        return Some(Meaning::Item(file.clone()));
    }
    let is_named = |import: &&super::source::Use| import.name.as_deref() == Some(name);
    let by_name = here.uses.iter().filter(is_named).find_map(|import| {
        // `use name::...` of another crate's `name` leads nowhere, not to itself.
        (import.path != [name]).then(|| follow(tree, module, &import.path, left)).flatten()
    });
    by_name.or_else(|| {
        here.uses.iter().filter(|import| import.name.is_none()).find_map(|import| {
            match follow(tree, module, &import.path, left)? {
                Meaning::Module(other) if other != module => named(tree, other, name, left.checked_sub(1)?),
                _ => None,
            }
        })
    })
}
