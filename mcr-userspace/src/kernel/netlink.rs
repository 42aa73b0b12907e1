//! Questions to the kernel over netlink (netlink(7)): one request, and all of its answers.

use std::{
    io::{self, ErrorKind, Read},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
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

/// Sockets that have asked and may ask again, one for each protocol. Later questions need no descriptor.
static IDLE: Mutex<Vec<(libc::c_int, Socket)>> = Mutex::new(Vec::new());

/// Asks `protocol` with a message of type `kind`, and returns the payloads of its answers.
///
/// All is asked of the network namespace of the thread that asked first.
pub(super) fn ask(protocol: libc::c_int, kind: u16, flags: libc::c_int, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let socket = take(protocol)?;
    let (answers, is_whole) = ask_on(&socket, kind, flags, body);
    // What was not read to its end would be taken for an answer to the next question.
    if is_whole {
        keep(protocol, socket);
    }
    answers
}

/// Asks rtnetlink (rtnetlink(7)).
pub(super) fn ask_route(kind: u16, flags: libc::c_int, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    ask(libc::NETLINK_ROUTE, kind, flags, body)
}

/// Makes the sockets that questions need, while there are descriptors.
pub fn prepare() -> io::Result<()> {
    for protocol in [libc::NETLINK_ROUTE, libc::NETLINK_GENERIC] {
        keep(protocol, take(protocol)?);
    }
    Ok(())
}

fn keep(protocol: libc::c_int, socket: Socket) {
    let mut idle = idle();
    if idle.iter().all(|(other, _)| *other != protocol) {
        idle.push((protocol, socket));
    }
}

fn idle() -> std::sync::MutexGuard<'static, Vec<(libc::c_int, Socket)>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take(protocol: libc::c_int) -> io::Result<Socket> {
    let mut idle = idle();
    if let Some(at) = idle.iter().position(|(other, _)| *other == protocol) {
        return Ok(idle.swap_remove(at).1);
    }
    drop(idle);
    let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(protocol)))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    if protocol == libc::NETLINK_ROUTE {
        super::sockopt::set(&socket, libc::SOL_NETLINK, NETLINK_GET_STRICT_CHK, &1)?;
    }
    Ok(socket)
}

/// The answers, and whether all of them have been read.
fn ask_on(socket: &Socket, kind: u16, flags: libc::c_int, body: &[u8]) -> (io::Result<Vec<Vec<u8>>>, bool) {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    // With an acknowledgement, an answer has an end though it is not a list.
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags) as u16;
    let mut message = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(NUMBER.fetch_add(1, Relaxed).to_ne_bytes());
    // The kernel knows the socket.
    message.extend([0; 4]);
    message.extend(body);
    if let Err(error) = socket.send(&message) {
        return (Err(error), false);
    }
    let mut answers = Vec::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        let mut reader = socket;
        let length = match reader.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return (Err(error), false),
        };
        for (kind, payload) in messages(&buffer[..length]) {
            match libc::c_int::from(kind) {
                libc::NLMSG_DONE => return (Ok(answers), true),
                libc::NLMSG_ERROR => {
                    let code = payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                    let error = || io::Error::from_raw_os_error(-code);
                    return (if code == 0 { Ok(answers) } else { Err(error()) }, true);
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
