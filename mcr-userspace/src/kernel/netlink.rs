//! Questions to the kernel over netlink (netlink(7)): one request, and all of its answers.

use std::{
    io::{self, Read},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

/// linux/netlink.h: bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// linux/netlink.h: flags beside an attribute's type.
const NLA_FLAGS: u16 = 0xc000;
/// More than the kernel puts into one datagram (NLMSG_GOODSIZE, or 32 KiB for a list).
const BUFFER: usize = 64 << 10;
/// Against hangs: the kernel answers at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// linux/netlink.h: answers are of what the request names alone.
const NETLINK_GET_STRICT_CHK: libc::c_int = 12;

/// The socket on which rtnetlink is asked, kept from question to question: a question needs no descriptor of its own. It asks about the
/// network namespace of the thread that asked first.
static ROUTE: Mutex<Option<Socket>> = Mutex::new(None);

/// Asks `protocol` with a message of type `kind`, and returns the payloads of its answers.
pub(super) fn ask(protocol: libc::c_int, kind: u16, flags: libc::c_int, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    converse(&open(protocol)?, kind, flags, body)?
}

/// Asks rtnetlink as [`ask`] does, on the socket that is kept for that.
pub(super) fn ask_route(kind: u16, flags: libc::c_int, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut kept = ROUTE.lock().unwrap_or_else(PoisonError::into_inner);
    let socket = match kept.take() {
        Some(socket) => socket,
        None => {
            let socket = open(libc::NETLINK_ROUTE)?;
            super::sockopt::set(&socket, libc::SOL_NETLINK, NETLINK_GET_STRICT_CHK, &1)?;
            socket
        }
    };
    // A socket that failed is not used again: an answer to this question may still come there.
    let answer = converse(&socket, kind, flags, body)?;
    *kept = Some(socket);
    answer
}

fn open(protocol: libc::c_int) -> io::Result<Socket> {
    let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(protocol)))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// One question and the kernel's answer, which may be an error; or why there is no answer.
fn converse(socket: &Socket, kind: u16, flags: libc::c_int, body: &[u8]) -> io::Result<io::Result<Vec<Vec<u8>>>> {
    // With an acknowledgement, an answer has an end though it is not a list.
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags) as u16;
    let mut message = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Sequence number and port: there is one question at a time, and the kernel knows the socket.
    message.extend([0; 8]);
    message.extend(body);
    socket.send(&message)?;
    let mut answers = Vec::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        let mut reader = socket;
        let length = reader.read(&mut buffer)?;
        for (kind, payload) in messages(&buffer[..length]) {
            match libc::c_int::from(kind) {
                libc::NLMSG_DONE => return Ok(Ok(answers)),
                libc::NLMSG_ERROR => {
                    let code = payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                    return Ok(if code == 0 { Ok(answers) } else { Err(io::Error::from_raw_os_error(-code)) });
                }
                _ => answers.push(payload.to_vec()),
            }
        }
    }
}

/// The messages of a datagram, type and payload.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        let payload = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// The attributes of a payload, type and value.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?) & !NLA_FLAGS;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// An attribute as it is sent.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = 4 + value.len();
    let mut bytes = (length as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

/// A value of 32 bits.
pub(super) fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// A string, which the kernel ends with a NUL.
pub(super) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn attributes_are_read_as_written() {
        let bytes = [attribute(3, b"abc\0d"), attribute(0x8000 | 7, &5u32.to_ne_bytes())].concat();
        let read: Vec<(u16, &[u8])> = attributes(&bytes).collect();
        assert_eq!(read, [(3, &b"abc\0d"[..]), (7, &5u32.to_ne_bytes()[..])]);
        assert_eq!((text(read[0].1), number(read[1].1)), ("abc".to_owned(), Some(5)));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let ends = |parts: usize| parts <= bytes.len();
            prop_assert!(ends(attributes(&bytes).take(1000).count()) && ends(messages(&bytes).take(1000).count()));
        }
    }
}
