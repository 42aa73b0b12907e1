//! Which file imports which, and by what name.

use std::path::PathBuf;

use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Item, ItemMod, ItemUse, Macro, Meta, ext::IdentExt, spanned::Spanned, visit::Visit};

use super::{
    names::{Meaning, meaning},
    source::{Tree, Use, uses},
};

/// A name that one file takes from another.
pub struct Import {
    /// The file that uses it.
    pub from: PathBuf,
    /// The file that defines it.
    pub to: PathBuf,
    /// The name.
    pub name: String,
    /// Where it is used, from 1.
    pub line: usize,
}

/// All imports between files of a crate.
pub fn imports(tree: &Tree) -> Vec<Import> {
    let mut imports = Vec::new();
    for (index, module) in tree.0.iter().enumerate() {
        let written = module.uses.iter().filter(|import| !is_face(tree, index, import));
        let mut found = Paths(written.map(|import| (import.path.clone(), import.line)).collect());
        module.code.iter().filter(|item| !matches!(item, Item::Use(_))).for_each(|item| found.visit_item(item));
        for (path, line) in found.0 {
            let Some(Meaning::Item(to)) = meaning(tree, index, &path) else { continue };
            if to != module.file && !(module.is_test && is_above(tree, index, &to)) {
                imports.push(Import { from: module.file.clone(), to, name: path.join("::"), line });
            }
        }
    }
    imports
}

/// Whether `import` of module `index` hands on what is below that module.
fn is_face(tree: &Tree, index: usize, import: &Use) -> bool {
    let first = import.path.iter().find(|name| *name != "self");
    import.is_public && first.is_some_and(|name| tree.0[index].modules.contains_key(name))
}

/// Whether `file` is that of a module that module `index` stands in.
fn is_above(tree: &Tree, index: usize, file: &PathBuf) -> bool {
    let mut above = std::iter::successors(tree.0[index].parent, |module| tree.0[*module].parent);
    above.any(|module| tree.0[module].file == *file)
}

/// The paths of code, with their lines; of macros' arguments too, which are tokens only.
struct Paths(Vec<(Vec<String>, usize)>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|segment| segment.ident.unraw().to_string());
        self.0.push((names.collect(), path.span().start().line));
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, of: &'ast Macro) {
        self.visit_path(&of.path);
        self.tokens(of.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        match &attribute.meta {
            Meta::List(list) => self.tokens(list.tokens.clone()),
            other => syn::visit::visit_meta(self, other),
        }
    }

    /// An import inside a function: the module does not know it.
    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        let line = import.span().start().line;
        uses(&import.tree, &mut Vec::new(), &mut |path, _| self.0.push((path, line)));
    }

    /// A module's code is its own.
    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}
}

impl Paths {
    fn tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut line, mut colons) = (Vec::new(), 0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.ended(&mut path, line);
                        line = ident.span().start().line;
                    }
                    path.push(ident.unraw().to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.ended(&mut path, line);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.ended(&mut path, line);
    }

    fn ended(&mut self, path: &mut Vec<String>, line: usize) {
        if !path.is_empty() {
            self.0.push((std::mem::take(path), line));
        }
    }
}
