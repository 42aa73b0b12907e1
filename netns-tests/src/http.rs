//! One request of HTTP, as a simple client makes it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context, Result};

use crate::{deadline::SOON, netns::Namespace};

/// The head, in lower case, and the body of the answer to `GET path`, asked at `address` in `namespace`. An empty `accept` sends no
/// `Accept` header.
///
/// # Errors
/// Nobody answers at `address`, or the answer is no HTTP.
pub fn get(namespace: &Namespace, address: &str, path: &str, accept: &str) -> Result<(String, String)> {
    let address: SocketAddr = address.parse()?;
    let mut stream = namespace.enter(|| Ok(TcpStream::connect_timeout(&address, SOON)?)).context("connecting")?;
    stream.set_read_timeout(Some(SOON))?;
    let accept = if accept.is_empty() { String::new() } else { format!("Accept: {accept}\r\n") };
    stream.write_all(format!("GET {path} HTTP/1.0\r\n{accept}\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| answer.clone())?;
    Ok((head.to_lowercase(), body.to_owned()))
}
