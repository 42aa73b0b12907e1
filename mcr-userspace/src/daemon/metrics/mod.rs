//! `[daemon] metrics_listen`: the counters of `stats`, as Prometheus reads them.
//!
//! Whoever may connect may be hostile. Connections are served by one thread of their own, within limits on their number, their time
//! and their bytes; a second thread reads the counters, so that nobody who waits for the daemon's state holds a connection up. Neither
//! thread does anything that the packet path waits for.

mod labels;
mod process;
mod snapshot;
mod accept;
mod families;
mod text;
mod exposition;
mod scrape;
mod patient;
mod seats;
mod serve;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use anyhow::Context;
use hyper::body::Bytes;
use socket2::{Domain, Protocol, Socket, Type};

use super::retire::Shared;
use crate::{config::Listen, kernel::descriptors};

/// Connections that wait to be taken: as many as a burst of hostile ones may bring. The kernel caps it (`net.core.somaxconn`).
const BACKLOG: libc::c_int = 4096;
/// Connections at once, where the limit on descriptors allows as many.
const MAX_CONNECTIONS: usize = 256;

/// Listens at `address`. All addresses are those of IPv6 and IPv4, or of IPv4 where the host has no IPv6.
///
/// # Errors
///
/// It cannot be listened on.
pub fn listen(address: Listen) -> anyhow::Result<TcpListener> {
    let listened = match address {
        Listen::At(address) => listen_at(address),
        Listen::All(port) => listen_at((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|error| {
            let has_no_ipv6 = matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL));
            if has_no_ipv6 { listen_at((Ipv4Addr::UNSPECIFIED, port).into()) } else { Err(error) }
        }),
    };
    listened.with_context(|| format!("metrics_listen {address}"))
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address == SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port())) {
        // Whatever net.ipv6.bindv6only says.
        socket.set_only_v6(false)?;
    }
    // A daemon that starts again finds connections of the last one in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from(socket))
}

/// Serves `/metrics` and `/healthz`, from threads that end with the process.
///
/// # Errors
///
/// The kernel refuses a thread, or the descriptors that it waits with.
pub fn serve(listener: TcpListener, shared: Arc<Shared>) -> anyhow::Result<()> {
    let address = listener.local_addr().context("metrics_listen")?;
    let (scraper, scrapes) = scrape::channel();
    let (checker, checks) = scrape::channel();
    let started = process::started();
    let checked = shared.clone();
    let scraping = move || {
        scrapes.answer(
            || snapshot::read(&shared, started),
            |snapshot, format| Bytes::from(exposition::exposition(snapshot, *format)),
        )
    };
    let checking = move || checks.answer(|| checked.health.check(), |health, ()| health.clone());
    thread::Builder::new().name("mcr-scrape".into()).spawn(scraping)?;
    thread::Builder::new().name("mcr-health".into()).spawn(checking)?;
    let answers = serve::Answers { scraper, checker };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .context("waiting for connections at metrics_listen")?;
    let most = descriptors::share(MAX_CONNECTIONS);
    thread::Builder::new().name("mcr-metrics".into()).spawn(move || serve::run(&runtime, listener, most, &answers))?;
    log::info!("metrics at http://{address}/metrics, for at most {most} connections at once");
    Ok(())
}
