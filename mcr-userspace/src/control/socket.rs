//! The control socket's file: made without a moment in which others could connect, and removed only by its maker.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt},
        net::{UnixListener, UnixStream},
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

use super::server::ServerError;

/// How long another daemon that opens its socket in the same directory is waited for.
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
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .map_err(|error| failed("cannot make the directory of", &error))?;
        // Two daemons that start at once must not both find the old socket dead and remove each other's.
        let _lock = lock(directory).map_err(|error| failed("cannot lock the directory of", &error))?;
        clear(path)?;
        let listener = bind_private(path).map_err(|error| failed("cannot make the control socket", &error))?;
        let identity = identity(path).map_err(|error| failed("cannot find the control socket just made", &error))?;
        Ok((listener, Self { path: path.to_owned(), identity }))
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

/// The lock ends with the file that is returned.
fn lock(directory: &Path) -> io::Result<File> {
    let file = File::open(directory)?;
    let until = Instant::now() + LOCK;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Instant::now() < until => thread::sleep(Duration::from_millis(10)),
            result => return result.map(|()| file).map_err(io::Error::from),
        }
    }
}

/// Removes a socket that nobody serves.
fn clear(path: &Path) -> Result<(), ServerError> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ServerError(format!(
                "{shown} exists and is not a socket; remove it, or choose another with --control-socket"
            )));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
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
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|error| ServerError(format!("cannot remove {shown}, which nobody serves any more: {error}"))),
        Err(error) => Err(ServerError(format!(
            "cannot tell whether a daemon serves {shown}: {error}; choose another socket with --control-socket"
        ))),
    }
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
