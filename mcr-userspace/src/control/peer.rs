//! Who asks, as the kernel tells it of a connection.

use std::{fmt, fs, os::unix::net::UnixStream};

use rustix::net::sockopt::socket_peercred;

/// The process that opened a connection (`SO_PEERCRED`, unix(7)): as it was then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub uid: Option<u32>,
    /// Its number, in the daemon's PID namespace.
    pub pid: Option<u32>,
    /// Its program's name (`/proc/PID/comm`), where it could be read.
    pub program: Option<String>,
}

/// Bytes of a program's name in the kernel (`TASK_COMM_LEN`), its final NUL left out.
const MAX_COMM: usize = 15;

impl Peer {
    /// A signal, whose sender is not known.
    pub fn signal(name: &str) -> Self {
        Self { uid: None, pid: None, program: Some(name.to_owned()) }
    }

    /// Who opened this connection; unknown where the kernel does not say.
    pub fn of(stream: &UnixStream) -> Self {
        let Ok(credentials) = socket_peercred(stream) else { return Self::default() };
        let pid = credentials.pid.as_raw_nonzero().get() as u32;
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok();
        // Any process may name itself as it likes.
        let program =
            comm.map(|comm| comm.trim_end().chars().filter(|c| c.is_ascii_graphic()).take(MAX_COMM).collect());
        Self { uid: Some(credentials.uid.as_raw()), pid: Some(pid), program }
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
