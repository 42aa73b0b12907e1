//! Writing an answer: as it is made, so that a large one is never whole in memory, and for a limited time.

use std::{
    io::{self, BufWriter, ErrorKind, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use super::protocol::Response;

/// How long a client may take for an answer as a whole.
const TOTAL: Duration = Duration::from_secs(60);
/// Bytes that are written at a time.
const PIECE: usize = 64 << 10;

/// A connection that is written to until a moment.
struct Timed<'a> {
    stream: &'a UnixStream,
    until: Instant,
    written: usize,
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if Instant::now() > self.until {
            return Err(io::Error::new(ErrorKind::TimedOut, format!("an answer was not taken within {TOTAL:?}")));
        }
        let written = self.stream.write(bytes)?;
        self.written += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes `response` as one line; how many bytes that took.
///
/// # Errors
///
/// The client is gone, took nothing for as long as the stream's write timeout, or not all in time.
pub(super) fn write(stream: &UnixStream, response: &Response) -> io::Result<usize> {
    let timed = Timed { stream, until: Instant::now() + TOTAL, written: 0 };
    let mut pieces = BufWriter::with_capacity(PIECE, timed);
    let done = serde_json::to_writer(&mut pieces, response)
        .map_err(io::Error::from)
        .and_then(|()| pieces.write_all(b"\n"))
        .and_then(|()| pieces.flush());
    let written = pieces.get_ref().written;
    // After an error the buffer must not be written once more.
    drop(pieces.into_parts());
    done.map(|()| written)
}
