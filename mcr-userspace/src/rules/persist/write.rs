//! Putting a new text into a file's place.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt, fchown},
    path::Path,
};

/// In one step where that can be: a reader, and a crash, finds the old file or the new one.
///
/// A file that is a mount point cannot be replaced, nor one in a directory that cannot be written. It is written over then; where the
/// new text could be stored beside it first, it stays there (`.tmp...`) should that be cut short.
pub(super) fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    // A link to the file stays a link.
    let path = fs::canonicalize(path)?;
    let old = fs::metadata(&path)?;
    let new = match store_beside(&path, &old, text) {
        Ok(new) => new,
        Err(error) if matches!(error.raw_os_error(), Some(libc::EROFS | libc::EACCES | libc::EPERM)) => {
            return write_over(&path, text);
        }
        Err(error) => return Err(error),
    };
    match new.persist(&path) {
        Ok(_) => Ok(()),
        // Its directory may be one in which nothing of others' can be renamed.
        Err(failed) if matches!(failed.error.raw_os_error(), Some(libc::EBUSY | libc::EPERM | libc::EACCES)) => {
            write_over(&path, text)
            // Here the copy goes.
        }
        Err(failed) => Err(failed.error),
    }
}

fn store_beside(path: &Path, old: &fs::Metadata, text: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let mut new = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("/")))?;
    new.write_all(text)?;
    new.as_file().set_permissions(old.permissions())?;
    fchown(new.as_file(), Some(old.uid()), Some(old.gid()))?;
    new.as_file().sync_all()?;
    Ok(new)
}

/// Where it fails the old text is put back.
fn write_over(path: &Path, text: &[u8]) -> io::Result<()> {
    let old = fs::read(path)?;
    let file = OpenOptions::new().write(true).open(path)?;
    // Room first: a full disk changes nothing. Not every file system can tell.
    let reserved = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, text.len().max(1) as u64);
    if let Err(error @ (rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT)) = reserved {
        return Err(error.into());
    }
    fill(&file, text).inspect_err(|_| {
        if let Err(error) = fill(&file, &old) {
            log::error!("{}: putting its old text back: {error}", path.display());
        }
    })
}

fn fill(file: &File, text: &[u8]) -> io::Result<()> {
    file.write_all_at(text, 0)?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}
