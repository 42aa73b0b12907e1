//! HTTP: one request for each connection, answered within limits that no client can stretch.

use std::{convert::Infallible, io, net::TcpListener, rc::Rc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue, VARY},
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
    accept::{self, Format, Offer},
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

/// How long the check of threads may take.
const HEALTH_TIME: Duration = Duration::from_secs(5);

/// Those whom a connection asks.
#[derive(Clone, Debug)]
pub struct Answers {
    /// For the metrics.
    pub scraper: Scraper<Format, Bytes>,
    /// Whether mcrd's threads live.
    pub checker: Scraper<(), Result<(), String>>,
}

/// Takes connections for ever, at most `most` at once.
pub fn run(runtime: &Runtime, listener: TcpListener, most: usize, answers: &Answers) {
    runtime.block_on(LocalSet::new().run_until(async {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => accept(&listener, most, answers).await,
            Err(error) => log::error!("metrics are not served: {error}"),
        }
    }));
}

async fn accept(listener: &tokio::net::TcpListener, most: usize, answers: &Answers) {
    let seats = Seats::new(most);
    let mut said: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                seats.admit(|seat| spawn_local(connection(stream, seat, answers.clone())).abort_handle());
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

async fn connection(stream: TcpStream, seat: Seat, answers: Answers) {
    if let Ok(Err(error)) = timeout(TOTAL_TIME, converse(stream, Rc::new(seat), answers)).await {
        log::debug!("metrics: {error}");
    }
}

/// Answers the first request of a connection, and ends it.
async fn converse(stream: TcpStream, seat: Rc<Seat>, answers: Answers) -> Result<(), hyper::Error> {
    let answering = seat.clone();
    let service = service_fn(move |request| {
        answering.is_at(Stage::Asked);
        answer(request, answers.clone())
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
async fn answer(request: Request<Incoming>, answers: Answers) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_look = [Method::GET, Method::HEAD].contains(request.method());
    Ok(match (request.uri().path(), is_look) {
        ("/metrics", true) => {
            let accepted = request.headers().get_all(ACCEPT).iter().filter_map(|header| header.to_str().ok());
            metrics(accept::choose(accepted), &answers.scraper).await
        }
        ("/healthz", true) => health(&answers.checker).await,
        (path @ ("/metrics" | "/healthz"), false) => {
            let mut response = word(StatusCode::METHOD_NOT_ALLOWED, format!("{path} answers GET and HEAD\n"));
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        _ => word(StatusCode::NOT_FOUND, "mcrd serves /metrics and /healthz\n"),
    })
}

async fn metrics(offer: Offer, scraper: &Scraper<Format, Bytes>) -> Response<Full<Bytes>> {
    let Some(text) = scraper.scrape(offer.format).await else {
        return word(StatusCode::INTERNAL_SERVER_ERROR, "the counters cannot be read; mcrd's log says why\n");
    };
    let mut response = Response::new(Full::new(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(offer.content_type));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

async fn health(checker: &Scraper<(), Result<(), String>>) -> Response<Full<Bytes>> {
    match timeout(HEALTH_TIME, checker.scrape(())).await {
        Ok(Some(Ok(()))) => word(StatusCode::OK, "ok\n"),
        Ok(Some(Err(why))) => word(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        Ok(None) => word(StatusCode::SERVICE_UNAVAILABLE, "the thread that checks mcrd's threads has ended\n"),
        Err(_) => {
            let text = format!("a worker takes no commands: no answer within {} seconds\n", HEALTH_TIME.as_secs());
            word(StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }
}

fn word(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
