//! HTTP: one request for each connection, answered within limits that no client can stretch.

use std::{convert::Infallible, io, net::TcpListener, rc::Rc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
    task::{LocalSet, spawn_local, yield_now},
    time::{Instant, sleep, timeout},
};

use super::{
    exposition::FORMAT,
    patient::Patient,
    scrape::Scraper,
    seats::{Seat, Seats, Stage},
};

/// How long a request line and its headers may take.
const HEADERS_TIME: Duration = Duration::from_secs(5);
/// Bytes and lines that they may have; more is answered with 431.
const HEADERS_SIZE: usize = 16 << 10;
const HEADERS_COUNT: usize = 64;
/// How long a connection may take from its first moment to its last.
const TOTAL_TIME: Duration = Duration::from_secs(30);
/// What a client sends beyond its request is read and thrown away so long and so far, or its answer would be lost: a socket that is
/// closed with something unread resets its connection (RFC 9112, section 9.6).
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_SIZE: u64 = 1 << 20;
/// Between attempts to take a connection while the kernel has no descriptor or no memory for it.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two lines of the log that say so.
const QUIET: Duration = Duration::from_secs(60);

/// Takes connections for ever, at most `most` at once.
pub fn run(runtime: &Runtime, listener: TcpListener, most: usize, scraper: &Scraper) {
    runtime.block_on(LocalSet::new().run_until(async {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => accept(&listener, most, scraper).await,
            Err(error) => log::error!("metrics are not served: {error}"),
        }
    }));
}

async fn accept(listener: &tokio::net::TcpListener, most: usize, scraper: &Scraper) {
    let seats = Seats::new(most);
    let mut said: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                seats.admit(|seat| spawn_local(connection(stream, seat, scraper.clone())).abort_handle());
            }
            // The client was gone before it was served (accept(2)).
            Err(error) if error.raw_os_error() == Some(libc::ECONNABORTED) => {}
            Err(error) => {
                if said.is_none_or(|said| said.elapsed() >= QUIET) {
                    said = Some(Instant::now());
                    log::warn!("metrics: no connection can be taken, and the oldest ones are closed: {error}");
                }
                seats.evict();
                sleep(PAUSE).await;
            }
        }
        // A connection whose request is there already is served before the next one is taken.
        yield_now().await;
    }
}

async fn connection(stream: TcpStream, seat: Seat, scraper: Scraper) {
    if let Ok(Err(error)) = timeout(TOTAL_TIME, converse(stream, Rc::new(seat), scraper)).await {
        log::debug!("metrics: {error}");
    }
}

/// Answers the first request of a connection, and ends it.
async fn converse(stream: TcpStream, seat: Rc<Seat>, scraper: Scraper) -> Result<(), hyper::Error> {
    let answering = seat.clone();
    let service = service_fn(move |request| {
        answering.is_at(Stage::Asked);
        answer(request, scraper.clone())
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIME)
        .max_buf_size(HEADERS_SIZE)
        .max_headers(HEADERS_COUNT)
        .half_close(true)
        .keep_alive(false)
        .serve_connection(TokioIo::new(Patient::new(stream)), service);
    let stream = connection.without_shutdown().await?.io.into_inner().into_inner();
    seat.is_at(Stage::Answered);
    // Whatever comes of it, the answer is sent.
    let _ = timeout(LINGER_TIME, linger(stream)).await;
    Ok(())
}

async fn linger(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(LINGER_SIZE), &mut tokio::io::sink()).await?;
    Ok(())
}

/// What a request is answered. Its body, announced or sent, is not looked at.
async fn answer(request: Request<Incoming>, scraper: Scraper) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_look = [Method::GET, Method::HEAD].contains(request.method());
    Ok(match (request.uri().path(), is_look) {
        ("/metrics", true) => match scraper.scrape().await {
            Some(text) => {
                let mut response = Response::new(Full::new(text));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(FORMAT));
                response
            }
            None => word(StatusCode::INTERNAL_SERVER_ERROR, "the counters cannot be read; mcrd's log says why\n"),
        },
        ("/metrics", false) => {
            let mut response = word(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD are all that /metrics knows\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        _ => word(StatusCode::NOT_FOUND, "GET /metrics is all there is\n"),
    })
}

fn word(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
