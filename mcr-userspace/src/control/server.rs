//! The daemon's end of the control socket.

use std::{path::Path, sync::Arc};

use super::protocol::{Request, Response};

/// Answers requests; called from a thread for each connection, several at once.
pub trait Handler: Send + Sync {
    /// Does what `request` asks, all of it or nothing.
    fn handle(&self, request: Request) -> Response;
}

/// Why the control socket could not be opened: one line with the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ServerError(String);

/// A control socket that is open and not served yet.
pub struct Server {}

/// A control socket that is served until [`stop`](Self::stop), or until this is dropped.
pub struct ServerHandle {}

impl Server {
    /// Opens the socket at `path`, mode 0600 from its first moment.
    ///
    /// # Errors
    ///
    /// Another daemon answers there, something that is no socket is there, or it cannot be made.
    pub fn bind(path: &Path) -> Result<Self, ServerError> {
        Err(ServerError(path.display().to_string()))
    }

    /// Serves it from threads of its own.
    pub fn serve(self, handler: Arc<dyn Handler>) -> ServerHandle {
        drop(handler);
        ServerHandle {}
    }
}

impl ServerHandle {
    /// Lets answers in the making be sent, ends every connection and removes the socket.
    pub fn stop(self) {}
}
