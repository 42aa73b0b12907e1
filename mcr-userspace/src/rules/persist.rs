//! Writing a rule into the user's file, with all else in it left as it is.

use std::path::Path;

use super::spec::RuleSpec;

/// Why a rule was not written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PersistError(String);

/// Appends a `[[rule]]` to the file.
///
/// # Errors
///
/// The file cannot be read, would not be valid, or cannot be written. It is unchanged then.
pub fn append_rule(path: &Path, spec: &RuleSpec) -> Result<(), PersistError> {
    let _ = (path, spec);
    Err(PersistError("not yet".into()))
}

/// Puts `spec` in the place of the file's rule of that name.
///
/// # Errors
///
/// As [`append_rule`], and when the file has no rule of that name.
pub fn replace_rule(path: &Path, spec: &RuleSpec) -> Result<(), PersistError> {
    let _ = (path, spec);
    Err(PersistError("not yet".into()))
}
