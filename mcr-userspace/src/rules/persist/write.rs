//! Putting a new text into a file's place.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{MetadataExt, fchown},
    path::{Path, PathBuf},
};

/// Why a file was not written. It is as it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwritten {
    /// The new text cannot be stored beside it.
    #[error("cannot be written, since mcrd cannot make a file in {}: {}{}", .directory.display(), .error.kind(), beside_remedy(.error, .directory))]
    Beside {
        /// The directory that it is in.
        directory: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The new text cannot take its place.
    #[error("cannot be replaced: {error}{}", replace_remedy(.error))]
    Replace {
        /// Why not.
        error: io::Error,
    },
    /// Anything else.
    #[error("cannot be written: {0}")]
    Other(#[from] io::Error),
}

fn beside_remedy(error: &io::Error, directory: &Path) -> String {
    // `tempfile` wraps what the kernel says.
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => "; change the file where it comes from, then `mcrctl reload`".to_owned(),
        io::ErrorKind::PermissionDenied => {
            let user = rustix::process::geteuid().as_raw();
            match fs::metadata(directory).is_ok_and(|found| found.uid() == user) {
                // Its own directory, and still it may not.
                true => format!("; it must not be immutable: `chattr -i {}`", directory.display()),
                false => format!("; `chown {user} {}` lets mcrd do it", directory.display()),
            }
        }
        _ => String::new(),
    }
}

fn replace_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ResourceBusy => {
            "; it is mounted by itself (a bind mount of one file), and a file that is written over in place could be left half written; mount the directory that it is in"
        }
        io::ErrorKind::PermissionDenied => "; it must not be immutable: `chattr -i FILE`",
        _ => "",
    }
}

/// In one step: a reader, and a crash at any moment, finds the old file or the new one.
///
/// # Errors
///
/// The file's directory cannot be written, the file is a mount point or immutable, the disk is full. Nothing has changed then.
pub(super) fn write(path: &Path, text: &[u8]) -> Result<(), Unwritten> {
    // A link to the file stays a link.
    let path = fs::canonicalize(path)?;
    let old = fs::metadata(&path)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut new = tempfile::NamedTempFile::new_in(directory)
        .map_err(|error| Unwritten::Beside { directory: directory.to_owned(), error })?;
    new.write_all(text)?;
    new.as_file().set_permissions(old.permissions())?;
    fchown(new.as_file(), Some(old.uid()), Some(old.gid()))?;
    new.as_file().sync_all()?;
    new.persist(&path).map_err(|failed| Unwritten::Replace { error: failed.error })?;
    Ok(())
}
