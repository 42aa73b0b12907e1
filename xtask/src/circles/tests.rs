use std::fs;

use tempfile::TempDir;

use super::check;

/// A crate of these files, by path below its root file's directory; what the check says of it.
fn checked(files: &[(&str, &str)]) -> Result<(), String> {
    let directory = TempDir::new().expect("a directory");
    for (path, text) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(path, text).expect("written");
    }
    check(&[("it".to_owned(), directory.path().join("lib.rs"))]).map_err(|error| format!("{error:#}"))
}

#[test]
fn arrows_one_way_are_no_circle() {
    let files = [
        ("lib.rs", "mod a; mod b; pub use a::A;"),
        ("a.rs", "use crate::b::B; pub struct A(B);"),
        ("b.rs", "pub struct B; impl B { fn f() -> u8 { std::cmp::min(1, 2) } }"),
    ];
    assert_eq!(checked(&files), Ok(()));
}

#[test]
fn two_files_and_the_names_that_tie_them() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B;\npub struct A(B);"),
        ("b.rs", "pub struct B;\nfn f() {\n    println!(\"{}\", super::a::A::new());\n}"),
    ];
    let text = checked(&files).expect_err("a circle");
    assert!(text.contains("a.rs:1 uses crate::b::B of") && text.contains("b.rs:3 uses super::a::A::new of"), "{text}");
}

/// `b` takes `A` by its parent's `pub use`, and by a name of a glob.
#[test]
fn imports_are_followed_through_others() {
    for path in ["crate::A", "crate::prelude::A", "crate::prelude::other::A"] {
        let files = [
            ("lib.rs", "mod a; mod b; mod prelude; pub use a::A;"),
            ("prelude.rs", "pub use crate::*; pub use crate::a as other;"),
            ("a/mod.rs", "use crate::b; pub struct A; fn f() { b::g() }"),
            ("b.rs", &format!("pub fn g() {{ let _ = {path}; }}")),
        ];
        assert!(checked(&files).is_err(), "{path}");
    }
}

#[test]
fn a_parent_and_its_module_are_a_circle_where_each_names_the_others_items() {
    let face = [("lib.rs", "mod a; pub struct L; pub use a::f;"), ("a.rs", "use super::L; pub fn f(_: L) {}")];
    assert_eq!(checked(&face), Ok(()));
    let used = [("lib.rs", "mod a; pub struct L; fn g() { a::f(L) }"), ("a.rs", "use super::L; pub fn f(_: L) {}")];
    assert!(checked(&used).is_err());
}

#[test]
fn tests_look_at_what_they_test() {
    let files = [
        ("lib.rs", "mod a;"),
        ("a.rs", "pub fn f() {} #[cfg(test)] mod tests;"),
        ("a/tests.rs", "use super::*; #[test] fn t() { f(); helper::h() } mod helper;"),
        ("a/tests/helper.rs", "pub fn h() { crate::a::f() }"),
    ];
    assert_eq!(checked(&files), Ok(()));
}

#[test]
fn an_import_inside_a_function_counts() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub struct A; fn f() { use super::b::B; let _ = B; }"),
        ("b.rs", "use super::a::A; pub struct B; fn f(_: A) {}"),
    ];
    assert!(checked(&files).is_err());
}
