//! The client's end of the control socket.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    os::unix::{fs::FileTypeExt, net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use socket2::{Domain, SockAddr, Socket, Type};

use super::protocol::{ErrorCode, Request, Response};
use crate::config::DEFAULT_SOCKET;

/// Names the socket where no flag does.
pub const SOCKET_VARIABLE: &str = "MCR_SOCKET";

/// Longest answer taken, in bytes.
const MAX_RESPONSE: u64 = 1 << 30;
/// How long an answer is waited for: for a look, and for a change to tens of thousands of rules.
const PATIENCE: Duration = Duration::from_secs(10);
const LONG_PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no answer: one line with the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    /// Which kind of failure.
    pub code: ErrorCode,
    message: String,
}

impl ClientError {
    fn unavailable(message: impl ToString) -> Self {
        Self { code: ErrorCode::Unavailable, message: message.to_string() }
    }
}

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    reader: BufReader<UnixStream>,
}

/// The socket to use: `flag`, else `$MCR_SOCKET`, else [`DEFAULT_SOCKET`].
pub fn socket_path(flag: Option<PathBuf>) -> PathBuf {
    let variable = || env::var_os(SOCKET_VARIABLE).filter(|path: &OsString| !path.is_empty()).map(PathBuf::from);
    flag.or_else(variable).unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET))
}

impl Client {
    /// Connects to the daemon at `path`.
    ///
    /// # Errors
    ///
    /// Nothing is there, nobody serves it, it is no socket, or it may not be opened.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let connect = || {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            // It bounds the connecting, too (`unix_stream_connect()`, net/unix/af_unix.c).
            socket.set_write_timeout(Some(PATIENCE))?;
            socket.connect(&SockAddr::unix(path)?)?;
            Ok(UnixStream::from(socket))
        };
        let stream = connect().map_err(|error: io::Error| unreachable(path, &error))?;
        Ok(Self { path: path.to_owned(), reader: BufReader::new(stream) })
    }

    /// The connection itself, for what follows an answer; reading from it waits for as long as it takes.
    pub fn into_stream(self) -> io::Result<BufReader<UnixStream>> {
        self.reader.get_ref().set_read_timeout(None)?;
        Ok(self.reader)
    }

    /// Asks, and waits for the answer. After an error the connection is of no further use.
    ///
    /// # Errors
    ///
    /// No answer came in time, the connection ended, or the answer is not a daemon's.
    pub fn call(&mut self, request: &Request) -> Result<Response, ClientError> {
        let shown = self.path.display().to_string();
        let patience = match request {
            Request::RuleAdd { .. }
            | Request::RuleSet { .. }
            | Request::RuleDel { .. }
            | Request::RuleSwitch { .. }
            | Request::BatchPart { .. }
            | Request::Batch { .. }
            | Request::Export {}
            | Request::Reload(_)
            | Request::Confirm {} => LONG_PATIENCE,
            Request::ExplainRule { seconds, .. } | Request::Unmatched { seconds, .. } => {
                PATIENCE + Duration::from_secs((*seconds).into())
            }
            _ => PATIENCE,
        };
        let mut line = serde_json::to_vec(request).map_err(ClientError::unavailable)?;
        line.push(b'\n');
        // A daemon that closed at once has said why: its last line is still there to be read.
        let sent = self.reader.get_mut().write_all(&line);
        let mut answer = Vec::new();
        let received = self
            .reader
            .get_ref()
            .set_read_timeout(Some(patience))
            .and_then(|()| self.reader.by_ref().take(MAX_RESPONSE).read_until(b'\n', &mut answer));
        match received {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(ClientError::unavailable(format!(
                    "no answer on {shown} within {} seconds; is it mcrd's socket? ({SOCKET_VARIABLE} or --socket)",
                    patience.as_secs()
                )))
            }
            Ok(_) if answer.ends_with(b"\n") => serde_json::from_slice(&answer).map_err(|error| {
                ClientError::unavailable(format!(
                    "what answers on {shown} is not an mcrd of this version ({error}); check --socket"
                ))
            }),
            Ok(_) | Err(_) => {
                let why = received.err().or(sent.err()).map_or(String::new(), |error| format!(" ({error})"));
                Err(ClientError::unavailable(format!(
                    "the daemon at {shown} hung up without an answer{why}; its log says why"
                )))
            }
        }
    }
}

fn unreachable(path: &Path, error: &io::Error) -> ClientError {
    let shown = path.display();
    let socket = fs::metadata(path).map(|found| found.file_type().is_socket());
    let code = match error.kind() {
        ErrorKind::PermissionDenied => ErrorCode::Denied,
        _ => ErrorCode::Unavailable,
    };
    let message = match (error.kind(), socket) {
        (ErrorKind::PermissionDenied, _) => {
            format!("no permission to use the control socket {shown}; run as root, as mcrd does")
        }
        (_, Ok(false)) => format!("{shown} is not a socket; name mcrd's with --socket or ${SOCKET_VARIABLE}"),
        (ErrorKind::NotFound, _) => {
            format!("no control socket at {shown}; is mcrd running? (--socket or ${SOCKET_VARIABLE} names another)")
        }
        (ErrorKind::ConnectionRefused, _) => {
            format!("nobody serves {shown}; is mcrd running? (--socket or ${SOCKET_VARIABLE} names another)")
        }
        (ErrorKind::InvalidInput, _) => {
            format!("{shown} is longer than the path of a socket may be (107 bytes); name a shorter one with --socket")
        }
        (ErrorKind::WouldBlock, _) => {
            format!(
                "the daemon at {shown} takes no connection within {} seconds; its log may say why",
                PATIENCE.as_secs()
            )
        }
        _ => format!("cannot connect to {shown}: {error}; check --socket"),
    };
    ClientError { code, message }
}
