//! A connection to the daemon that is made anew where it has broken.

use std::path::{Path, PathBuf};

use super::run::{Failure, prefixed};
use crate::control::{
    client::Client,
    protocol::{ErrorCode, Request, Response},
};

/// The daemon behind a control socket, whichever process serves it.
pub(super) struct Link {
    socket: PathBuf,
    client: Option<Client>,
}

impl Link {
    /// Not connected yet.
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket, client: None }
    }

    /// Another connection to the same socket, not connected yet.
    pub(super) fn another(&self) -> Self {
        Self::new(self.socket.clone())
    }

    /// The socket's path.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The answer, or the daemon's refusal. After a broken connection the next question is asked over a new one.
    pub(super) fn ask(&mut self, request: &Request) -> Result<Response, Failure> {
        let client = match &mut self.client {
            Some(client) => client,
            None => {
                let made = Client::connect(&self.socket);
                self.client.insert(made.map_err(|error| prefixed(error.code, &error.to_string()))?)
            }
        };
        match client.call(request) {
            Ok(Response::Error { code, message, .. }) => Err(prefixed(code, &message)),
            Ok(response) => Ok(response),
            Err(error) => {
                self.client = None;
                Err(prefixed(ErrorCode::Unavailable, &error.to_string()))
            }
        }
    }
}
