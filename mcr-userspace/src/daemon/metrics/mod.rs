//! `[daemon] metrics_listen`: the counters of `stats`, as Prometheus reads them.
//!
//! Whoever may connect may be hostile. Connections are served by one thread of their own, within limits on their number, their time
//! and their bytes; a second thread reads the counters, so that nobody who waits for the daemon's state holds a connection up. Neither
//! thread does anything that the packet path waits for.

mod exposition;
mod labels;
mod patient;
mod scrape;
mod seats;
mod serve;

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use anyhow::Context;
use socket2::{Domain, Protocol, Socket, Type};

use super::retire::Shared;
use crate::kernel::descriptors;

/// Connections that wait to be taken: as many as a burst of hostile ones may bring. The kernel caps it (`net.core.somaxconn`).
const BACKLOG: libc::c_int = 4096;
/// Connections at once, where the limit on descriptors allows as many.
const MAX_CONNECTIONS: usize = 256;

/// Listens at `address`.
///
/// # Errors
///
/// It cannot be listened on.
pub fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listen = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A daemon that starts again finds connections of the last one in TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok::<_, std::io::Error>(TcpListener::from(socket))
    };
    listen().with_context(|| format!("metrics_listen {address}"))
}

/// Serves `/metrics`, from threads that end with the process.
///
/// # Errors
///
/// The kernel refuses a thread, or the descriptors that it waits with.
pub fn serve(listener: TcpListener, shared: Arc<Shared>) -> anyhow::Result<()> {
    let address = listener.local_addr().context("metrics_listen")?;
    let (scraper, scrapes) = scrape::channel();
    thread::Builder::new().name("mcr-scrape".into()).spawn(move || scrapes.answer(|| exposition::of(&shared)))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .context("waiting for connections at metrics_listen")?;
    let most = descriptors::share(MAX_CONNECTIONS);
    thread::Builder::new().name("mcr-metrics".into()).spawn(move || serve::run(&runtime, listener, most, &scraper))?;
    log::info!("metrics at http://{address}/metrics, for at most {most} connections at once");
    Ok(())
}
