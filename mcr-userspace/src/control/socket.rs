//! The control socket's file: made without a moment in which others could connect, and removed only by its maker.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, Mode, flock},
    io::Errno,
    thread::UnshareFlags,
};

use socket2::{Domain, SockAddr, Socket, Type};

use super::server::ServerError;
use crate::{config::DEFAULT_SOCKET, doctor::quoted};

/// How long another daemon that opens the same socket is waited for.
const LOCK: Duration = Duration::from_secs(2);

/// A socket's file, removed on drop unless another has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    /// Listens at `path`, mode 0600.
    pub fn bind(path: &Path) -> Result<(UnixListener, Self), ServerError> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            ServerError(format!(
                "{what} {}: {error}; choose another socket with --control-socket, or see who may write there",
                path.display()
            ))
        };
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        make_directory(directory, Path::new(DEFAULT_SOCKET).parent())
            .map_err(|error| failed("cannot make the directory of", &error))?;
        if matches!(fs::metadata(directory), Err(error) if error.kind() == io::ErrorKind::NotFound) {
            let shown = directory.display();
            return Err(ServerError(format!(
                "no directory {shown} for the control socket; `mkdir -p {}`",
                quoted(&shown.to_string())
            )));
        }
        // Two daemons that start at once must not both find the old socket dead and remove each other's.
        let _lock = Lock::take(path).map_err(|error| failed("cannot lock", &error))?;
        clear(path)?;
        let listener = bind_private(path).map_err(|error| failed("cannot make the control socket", &error))?;
        let identity = identity(path).map_err(|error| failed("cannot find the control socket just made", &error))?;
        Ok((listener, Self { path: path.to_owned(), identity }))
    }
}

/// Makes the directory where it is the default one, for mcrd alone to write to. Any other may be misspelt.
fn make_directory(directory: &Path, default: Option<&Path>) -> io::Result<()> {
    if Some(directory) != default {
        return Ok(());
    }
    match DirBuilder::new().mode(0o755).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            fs::remove_file(&self.path).ok();
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// The right to look at the socket's file and to put another in its place. It ends when this is dropped.
///
/// It is a lock on a file that no other user can open: one on a directory, or on a file that others may read, is anybody's.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn take(socket: &Path) -> io::Result<Self> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let until = Instant::now() + LOCK;
        loop {
            let file = private(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // Whoever had it before has deleted it.
                Ok(()) if !is_at(&file, &path) => {}
                Err(Errno::WOULDBLOCK) if Instant::now() < until => thread::sleep(Duration::from_millis(10)),
                result => return result.map(|()| Self { path, _file: file }).map_err(io::Error::from),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is still locked: the next one finds out that it is gone.
        fs::remove_file(&self.path).ok();
    }
}

/// Opens, or makes, a file that this user alone can open.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    let own = rustix::process::geteuid().as_raw();
    if !found.is_file() || found.uid() != own || found.mode() & 0o077 != 0 {
        let why = format!("{} is not a file of user {own} alone; remove it", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(file)
}

fn is_at(file: &File, path: &Path) -> bool {
    let of_file = file.metadata().map(|found| (found.dev(), found.ino()));
    of_file.is_ok_and(|own| identity(path).is_ok_and(|found| found == own))
}

/// Removes a socket that nobody serves.
fn clear(path: &Path) -> Result<(), ServerError> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(ServerError(format!(
                "cannot tell whether {shown} exists: {error}; choose another socket with --control-socket"
            )));
        }
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ServerError(format!(
                "{shown} exists and is not a socket; remove it, or choose another with --control-socket"
            )));
        }
        Ok(_) => {}
    }
    match connect(path) {
        Ok(stream) => {
            // For a client, the credentials are those of whoever called listen(2).
            let owner = match rustix::net::sockopt::socket_peercred(&stream) {
                Ok(peer) => format!("process {}", peer.pid.as_raw_nonzero()),
                Err(_) => "another process".to_owned(),
            };
            Err(ServerError(format!(
                "{owner} already serves {shown}; stop it, or choose another socket with --control-socket"
            )))
        }
        // Somebody listens, and takes no connection.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(ServerError(format!(
            "another process already serves {shown}, and answers nobody; end it (`ss -xlp src {shown}` names it), or choose another socket with --control-socket"
        ))),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|error| ServerError(format!("cannot remove {shown}, which nobody serves any more: {error}"))),
        Err(error) => Err(ServerError(format!(
            "cannot tell whether a daemon serves {shown}: {error}; choose another socket with --control-socket"
        ))),
    }
}

/// Connects without waiting: `WouldBlock` where as many connections wait to be taken as may (unix(7)).
fn connect(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket)
}

/// Binds under a umask that is this call's alone: the process's is shared with threads that may be making files.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    thread::scope(|scope| {
        let binding = scope.spawn(|| {
            // SAFETY: CLONE_FS only gives this thread its own umask and directories; it ends right after the bind.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }?;
            rustix::process::umask(Mode::from_raw_mode(0o177));
            UnixListener::bind(path)
        });
        binding.join().unwrap_or_else(|_| Err(io::Error::other("the binding thread panicked")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_default_directory_is_made_and_nothing_above_it() {
        let above = tempfile::tempdir().expect("a directory");
        let (default, other) = (above.path().join("mcr"), above.path().join("mrc"));
        make_directory(&other, Some(&default)).expect("left alone");
        assert!(!other.exists());
        for _ in 0..2 {
            make_directory(&default, Some(&default)).expect("made, or there");
            assert!(default.is_dir());
        }
        let deep = above.path().join("no/mcr");
        assert!(make_directory(&deep, Some(&deep)).is_err());
        let error = SocketFile::bind(&other.join("mcrd.sock")).expect_err("no directory").to_string();
        let shown = other.display();
        assert_eq!(error, format!("no directory {shown} for the control socket; `mkdir -p {shown}`"));
    }
}
