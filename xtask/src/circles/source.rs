//! The modules of a crate as its files have them.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use syn::{
    Attribute, Expr, ExprLit, Item, ItemMod, Lit, Meta, MetaNameValue, UseTree, Visibility, ext::IdentExt,
    spanned::Spanned,
};

/// A module, in a file of its own or inside another's.
pub struct Module {
    /// The module that it stands in; none for the crate's root.
    pub parent: Option<usize>,
    /// Whether it is compiled for tests alone.
    pub is_test: bool,
    /// Where it is written.
    pub file: PathBuf,
    /// Its modules, by name.
    pub modules: HashMap<String, usize>,
    /// What it defines itself, by name, with the file: another's for a macro that a module below exports.
    pub items: HashMap<String, PathBuf>,
    /// What it imports.
    pub uses: Vec<Use>,
    /// Its code, without that of its modules.
    pub code: Vec<Item>,
}

/// One name, or all, that a `use` brings in.
pub struct Use {
    /// The path as written.
    pub path: Vec<String>,
    /// The name here; none for `*`.
    pub name: Option<String>,
    /// Whether others may import it from here.
    pub is_public: bool,
    /// The line of the `use`, from 1.
    pub line: usize,
}

/// All modules of a crate; the first is its root.
pub struct Tree(pub Vec<Module>);

impl Tree {
    /// Reads a crate from the file of its root.
    ///
    /// # Errors
    ///
    /// A file cannot be read or parsed.
    pub fn read(root: &Path) -> Result<Self> {
        let mut tree = Self(Vec::new());
        let directory = root.parent().context("a file stands in a directory")?;
        tree.file(None, false, root, directory)?;
        Ok(tree)
    }

    /// Adds the module that `file` is, whose own modules are in `directory`.
    fn file(&mut self, parent: Option<usize>, is_test: bool, file: &Path, directory: &Path) -> Result<usize> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let parsed = syn::parse_file(&text).with_context(|| file.display().to_string())?;
        self.module(parent, is_test, file, directory, parsed.items)
    }

    fn module(
        &mut self,
        parent: Option<usize>,
        is_test: bool,
        file: &Path,
        directory: &Path,
        items: Vec<Item>,
    ) -> Result<usize> {
        let index = self.0.len();
        let (modules, code): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| matches!(item, Item::Mod(_)));
        let mut module = Module {
            parent,
            is_test,
            file: file.to_owned(),
            modules: HashMap::new(),
            items: HashMap::new(),
            uses: Vec::new(),
            code: Vec::new(),
        };
        let mut exported = Vec::new();
        for item in &code {
            if let Some(name) = name(item) {
                if matches!(item, Item::Macro(of) if has(&of.attrs, "macro_export")) {
                    exported.push(name.clone());
                }
                module.items.insert(name, file.to_owned());
            }
            if let Item::Use(of) = item {
                let is_public = !matches!(of.vis, Visibility::Inherited);
                let line = of.span().start().line;
                uses(&of.tree, &mut Vec::new(), &mut |path, name| {
                    module.uses.push(Use { path, name, is_public, line });
                });
            }
        }
        module.code = code;
        self.0.push(module);
        for name in exported {
            self.0[0].items.insert(name, file.to_owned());
        }
        for item in modules {
            let Item::Mod(child) = item else { continue };
            let name = child.ident.unraw().to_string();
            let added = self.child(index, is_test, file, directory, child).with_context(|| format!("mod {name}"))?;
            self.0[index].modules.insert(name, added);
        }
        Ok(index)
    }

    fn child(&mut self, parent: usize, is_test: bool, file: &Path, directory: &Path, child: ItemMod) -> Result<usize> {
        let name = child.ident.unraw().to_string();
        let is_test = is_test || has_test(&child.attrs);
        let below = directory.join(&name);
        if let Some((_, items)) = child.content {
            return self.module(Some(parent), is_test, file, &below, items);
        }
        if let Some(path) = path(&child.attrs) {
            let own = file.parent().context("a file stands in a directory")?.join(path);
            let directory = own.parent().context("a file stands in a directory")?;
            return self.file(Some(parent), is_test, &own, directory);
        }
        let flat = directory.join(format!("{name}.rs"));
        let own = if flat.is_file() { flat } else { below.join("mod.rs") };
        self.file(Some(parent), is_test, &own, &below)
    }
}

/// The name that an item defines.
fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(of) => &of.ident,
        Item::Enum(of) => &of.ident,
        Item::Fn(of) => &of.sig.ident,
        Item::Macro(of) => of.ident.as_ref()?,
        Item::Static(of) => &of.ident,
        Item::Struct(of) => &of.ident,
        Item::Trait(of) => &of.ident,
        Item::Type(of) => &of.ident,
        Item::Union(of) => &of.ident,
        _ => return None,
    };
    Some(ident.unraw().to_string())
}

/// Gives each name of a `use` with its whole path.
pub fn uses(tree: &UseTree, path: &mut Vec<String>, give: &mut impl FnMut(Vec<String>, Option<String>)) {
    match tree {
        UseTree::Path(of) => {
            path.push(of.ident.unraw().to_string());
            uses(&of.tree, path, give);
            path.pop();
        }
        UseTree::Name(of) if of.ident == "self" => give(path.clone(), path.last().cloned()),
        UseTree::Name(of) => {
            let name = of.ident.unraw().to_string();
            give(joined(path, &name), Some(name));
        }
        UseTree::Rename(of) => {
            give(joined(path, &of.ident.unraw().to_string()), Some(of.rename.unraw().to_string()));
        }
        UseTree::Glob(_) => give(path.clone(), None),
        UseTree::Group(of) => of.items.iter().for_each(|tree| uses(tree, path, give)),
    }
}

fn joined(path: &[String], name: &str) -> Vec<String> {
    path.iter().cloned().chain([name.to_owned()]).collect()
}

fn has(attributes: &[Attribute], name: &str) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident(name))
}

/// What `#[path = "..."]` says.
fn path(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(MetaNameValue { path, value: Expr::Lit(ExprLit { lit: Lit::Str(value), .. }), .. })
            if path.is_ident("path") =>
        {
            Some(value.value())
        }
        _ => None,
    })
}

/// Whether there is a `#[cfg(test)]`, or one that asks for more besides.
fn has_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            list.tokens.to_string().split(|c: char| !c.is_alphanumeric()).any(|word| word == "test")
        }
        _ => false,
    })
}
