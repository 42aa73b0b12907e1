//! The daemon's end of the control socket: requests from any number of clients, a thread each.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    looks::Looks,
    parts::{InAll, Parts},
    peer::Peer,
    protocol::{ErrorCode, MAX_REQUEST, Request, Response},
    reply,
    socket::SocketFile,
};
use crate::{kernel::descriptors, memory};

/// Connections at once, where the limit on descriptors allows as many.
pub const MAX_CONNECTIONS: usize = 64;
/// Bytes of an answer after which what it took is returned to the kernel.
const LARGE: usize = 1 << 20;
/// A connection that asks nothing for this long is closed.
const IDLE: Duration = Duration::from_secs(600);
/// A client that does not take its answer for this long is left.
const SLOW: Duration = Duration::from_secs(10);
/// Between two lines of the log that say that no connection can be taken.
const QUIET: Duration = Duration::from_secs(60);
/// How long a stop waits for answers in the making.
const STOP: Duration = Duration::from_secs(2);

/// Answers requests; called from a thread for each connection, several at once.
pub trait Handler: Send + Sync {
    /// Does what `request` asks, all of it or nothing.
    fn handle(&self, request: Request, peer: &Peer) -> Response;

    /// Writes the capture of this number, which [`Response::Capturing`] has told, until it or the connection ends. Who begins no capture
    /// has none to write.
    ///
    /// # Errors
    ///
    /// The client is gone.
    fn stream(&self, _capture: u64, _to: &UnixStream) -> io::Result<()> {
        Ok(())
    }
}

/// Why the control socket could not be opened: one line with the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ServerError(pub(super) String);

/// A control socket that is open and not served yet; dropping it removes the socket.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    file: SocketFile,
}

/// A control socket that is served until [`stop`](Self::stop), or until this is dropped.
pub struct ServerHandle {
    listener: Arc<UnixListener>,
    accepting: Option<JoinHandle<()>>,
    connections: Arc<Connections>,
    _file: SocketFile,
}

impl Server {
    /// Opens the socket at `path`, mode 0600 from its first moment.
    ///
    /// A socket that nobody serves any more is replaced, and a missing parent directory is made.
    ///
    /// # Errors
    ///
    /// Another daemon answers there, something that is no socket is there, or it cannot be made.
    pub fn bind(path: &Path) -> Result<Self, ServerError> {
        let (listener, file) = SocketFile::bind(path)?;
        Ok(Self { listener, file })
    }

    /// Serves it from threads of its own.
    pub fn serve(self, handler: Arc<dyn Handler>) -> ServerHandle {
        let listener = Arc::new(self.listener);
        let connections = Arc::new(Connections::new(descriptors::share(MAX_CONNECTIONS)));
        let accepting = {
            let (listener, connections) = (Arc::clone(&listener), Arc::clone(&connections));
            thread::spawn(move || accept(&listener, &connections, &handler))
        };
        ServerHandle { listener, accepting: Some(accepting), connections, _file: self.file }
    }
}

impl ServerHandle {
    /// Lets answers in the making be sent, ends every connection and removes the socket.
    ///
    /// Not to be called from within [`Handler::handle`], whose own answer it would wait for.
    pub fn stop(self) {}
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.connections.close();
        // Wakes the accepting thread: accept(2) fails on a listener that is shut down.
        if let Err(error) = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both) {
            log::warn!("control socket: cannot stop: {error}");
        } else if let Some(accepting) = self.accepting.take() {
            accepting.join().ok();
        }
        self.connections.finish();
    }
}

/// The open connections.
struct Connections {
    most: usize,
    state: Mutex<State>,
    one_ended: Condvar,
    looks: Looks,
    parts: InAll,
}

#[derive(Default)]
struct State {
    open: HashMap<u64, Arc<UnixStream>>,
    next: u64,
    closed: bool,
}

/// A place among the open connections, free again when this is dropped.
struct Seat {
    connections: Arc<Connections>,
    id: u64,
}

impl Connections {
    fn new(most: usize) -> Self {
        Self {
            most,
            state: Mutex::default(),
            one_ended: Condvar::new(),
            looks: Looks::default(),
            parts: InAll::default(),
        }
    }

    /// Threads that panicked left no connection half written: the map is whole at any time.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat for `stream`, if one is free.
    fn admit(self: &Arc<Self>, stream: &Arc<UnixStream>) -> Option<Seat> {
        let mut state = self.state();
        if state.closed || state.open.len() >= self.most {
            return None;
        }
        let id = state.next;
        state.next += 1;
        state.open.insert(id, stream.clone());
        Some(Seat { connections: Arc::clone(self), id })
    }

    /// Lets no request in any more; answers still go out.
    fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for stream in state.open.values() {
            stream.shutdown(Shutdown::Read).ok();
        }
    }

    fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Waits for the connections to end, and ends those that do not.
    fn finish(&self) {
        let waited = self.one_ended.wait_timeout_while(self.state(), STOP, |state| !state.open.is_empty());
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        for stream in state.open.values() {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.state().open.remove(&self.id);
        self.connections.one_ended.notify_all();
    }
}

fn accept(listener: &UnixListener, connections: &Arc<Connections>, handler: &Arc<dyn Handler>) {
    let mut said: Option<Instant> = None;
    loop {
        match listener.accept() {
            Ok((stream, _)) => admit(Arc::new(stream), connections, handler),
            Err(_) if connections.is_closed() => return,
            Err(error) => {
                // Out of descriptors or memory: others may give some back.
                if said.is_none_or(|said| said.elapsed() >= QUIET) {
                    said = Some(Instant::now());
                    log::warn!("control socket: no connection can be taken for now: {error}");
                }
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn admit(stream: Arc<UnixStream>, connections: &Arc<Connections>, handler: &Arc<dyn Handler>) {
    let Some(seat) = connections.admit(&stream) else {
        let most = connections.most;
        let full = format!("{most} connections are open, which is the most at once; try again later");
        // One line fits the socket's buffer, so this does not wait for the client.
        reply::write(&stream, &Response::refused(ErrorCode::Unavailable, full)).ok();
        return;
    };
    let handler = Arc::clone(handler);
    let thread = thread::Builder::new().name("control".to_owned()).spawn(move || {
        let seat = seat;
        if let Err(error) = converse(&stream, &*handler, &seat.connections) {
            log::debug!("control socket: a connection ended: {error}");
        }
    });
    if let Err(error) = thread {
        log::warn!("control socket: cannot start a thread for a connection: {error}");
    }
}

/// Answers the requests of one connection, in order, until it ends.
fn converse(stream: &Arc<UnixStream>, handler: &dyn Handler, connections: &Connections) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(SLOW))?;
    let peer = Peer::of(stream);
    let mut reader = BufReader::new(&**stream);
    let mut line = Vec::new();
    let mut parts = Parts::new(&connections.parts);
    while !connections.is_closed() {
        line.clear();
        reader.by_ref().take(MAX_REQUEST as u64 + 1).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        if line.len() > MAX_REQUEST {
            // Where the next request starts is unknown.
            let long = Response::usage(format!("a request is one line of at most {MAX_REQUEST} bytes"));
            return reply::write(stream, &long).map(drop);
        }
        let answer = |request| connections.looks.answer(request, |request| handler.handle(request, &peer));
        let response = match serde_json::from_slice(&line) {
            Ok(Request::BatchPart { operations }) => Arc::new(parts.keep(operations, line.len())),
            Ok(Request::Batch { operations, dry_run }) => match parts.commit(operations, dry_run) {
                Ok(batch) => answer(batch),
                Err(refused) => Arc::new(refused),
            },
            Ok(request) => answer(request),
            Err(error) => {
                parts.has_missed_a_line();
                let is_object = line.trim_ascii_start().starts_with(b"{");
                let why = match is_object {
                    true => error.to_string(),
                    false => r#"a request is a JSON object, such as {"command":"status"}"#.to_owned(),
                };
                Arc::new(Response::usage(format!("not a request: {why}; see docs/protocol.md")))
            }
        };
        let written = reply::write(stream, &response);
        if let Response::Capturing(capturing) = &*response {
            if written.is_err() {
                // Nobody reads: the capture ends with its first write.
                stream.shutdown(Shutdown::Both).ok();
            }
            return handler.stream(capturing.id, stream);
        }
        let written = written?;
        drop(response);
        if written > LARGE {
            memory::give_back();
        }
    }
    Ok(())
}
