//! Who asks, as the kernel tells it of a connection.

use std::{fmt, fs, os::unix::net::UnixStream, sync::Arc};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt::socket_peercred,
};

/// The process that opened a connection (`SO_PEERCRED`, unix(7)): as it was then.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Its user.
    pub uid: Option<u32>,
    /// Its number, in the daemon's PID namespace.
    pub pid: Option<u32>,
    /// Its program's name (`/proc/PID/comm`), where it could be read.
    pub program: Option<String>,
    /// The connection; none of a signal.
    connection: Option<Arc<UnixStream>>,
}

/// Bytes of a program's name in the kernel (`TASK_COMM_LEN`), its final NUL left out.
const MAX_COMM: usize = 15;

impl Peer {
    /// A signal, whose sender is not known.
    pub fn signal(name: &str) -> Self {
        Self { program: Some(name.to_owned()), ..Self::default() }
    }

    /// Who opened this connection; unknown where the kernel does not say.
    pub fn of(stream: &Arc<UnixStream>) -> Self {
        let connection = Some(stream.clone());
        let Ok(credentials) = socket_peercred(stream) else { return Self { connection, ..Self::default() } };
        let pid = credentials.pid.as_raw_nonzero().get() as u32;
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok();
        // Any process may name itself as it likes.
        let program =
            comm.map(|comm| comm.trim_end().chars().filter(|c| c.is_ascii_graphic()).take(MAX_COMM).collect());
        Self { uid: Some(credentials.uid.as_raw()), pid: Some(pid), program, connection }
    }

    /// Whether it has hung up, or the daemon is about to: nobody waits for an answer that takes long any more.
    pub fn is_gone(&self) -> bool {
        let Some(stream) = &self.connection else { return false };
        let mut ready = [PollFd::new(stream, PollFlags::RDHUP)];
        let polled = poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        // A failure to ask is no answer.
        polled.is_ok() && ready[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.uid, self.pid) {
            (Some(uid), Some(pid)) => {
                write!(f, "uid {uid} (pid {pid}")?;
                if let Some(program) = self.program.as_deref().filter(|program| !program.is_empty()) {
                    write!(f, ", {program}")?;
                }
                f.write_str(")")
            }
            _ => f.write_str(self.program.as_deref().unwrap_or("an unknown process")),
        }
    }
}
