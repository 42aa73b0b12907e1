//! What differs from the model.

/// What is not as the model says, a text for each.
#[derive(Default)]
pub struct Wrong(pub Vec<String>);

impl Wrong {
    /// Unless it is right, these words are.
    pub fn unless(&mut self, right: bool, words: impl FnOnce() -> String) {
        if !right {
            self.0.push(words());
        }
    }

    /// Both are to be the same.
    pub fn unless_same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: &T, wanted: &T) {
        self.unless(found == wanted, || format!("{what}: {found:?}, not {wanted:?}"));
    }
}
