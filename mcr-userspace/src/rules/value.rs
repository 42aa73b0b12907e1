//! Single values as typed, read: prefixes, ports, numbers, names.
//!
//! Each error says what is wrong and what to write; the caller knows where it stands.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    rule::{Ports, Prefix},
    spec::Scalar,
};

/// 224.0.0.0/4, RFC 5771.
pub const MULTICAST: Prefix = Prefix { address: Ipv4Addr::new(224, 0, 0, 0), length: 4 };
/// 224.0.0.0/24: never forwarded, whatever the TTL (RFC 5771 section 4).
pub const LINK_LOCAL: Prefix = Prefix { address: Ipv4Addr::new(224, 0, 0, 0), length: 24 };
/// Longest rule name, in bytes.
const MAX_NAME: usize = 64;
/// `IFNAMSIZ` less the final NUL, linux/if.h.
const MAX_INTERFACE: usize = 15;

/// An address.
pub fn address(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| match text.parse::<Ipv6Addr>() {
        Ok(_) => format!("`{text}`: IPv6 is not supported yet; write an IPv4 address"),
        Err(_) => format!("`{text}` is not an IPv4 address; write A.B.C.D"),
    })
}

/// An address or `ADDRESS/LENGTH`, its host bits zero.
pub fn prefix(text: &str) -> Result<Prefix, String> {
    let Some((base, length)) = text.split_once('/') else {
        return address(text).map(Prefix::host);
    };
    let base = address(base)?;
    let length = match decimal(length) {
        Some(length @ 0..=32) => length as u8,
        _ => return Err(format!("`{text}`: the prefix length must be a number from 0 to 32")),
    };
    let prefix = Prefix { address: base, length };
    let aligned = Prefix { address: Ipv4Addr::from(u32::from(base) & prefix.mask()), length };
    match prefix == aligned {
        true => Ok(prefix),
        false => Err(format!("`{text}` has host bits set; the prefix is {}/{length}", aligned.address)),
    }
}

/// A port or `FIRST-LAST`.
pub fn ports(value: &Scalar) -> Result<Ports, String> {
    let range = match value {
        Scalar::Text(text) => text.split_once('-').filter(|(first, _)| !first.is_empty()),
        Scalar::Number(_) => None,
    };
    let Some((first, last)) = range else {
        return port(value).map(Ports::Exact);
    };
    let (first, last) = (port(&first.into())?, port(&last.into())?);
    match first.cmp(&last) {
        std::cmp::Ordering::Less => Ok(Ports::Range(first, last)),
        std::cmp::Ordering::Equal => Err(format!("`{value}` is one port; write {first}")),
        std::cmp::Ordering::Greater => Err(format!("`{value}` runs backwards; write {last}-{first}")),
    }
}

/// One port, 1 to 65535.
pub fn port(value: &Scalar) -> Result<u16, String> {
    number(value, 1, u16::MAX.into(), "a port").map(|port| port as u16)
}

/// A number from `low` to `high`, called `what` in the error.
pub fn number(value: &Scalar, low: i64, high: i64, what: &str) -> Result<i64, String> {
    let number = match value {
        Scalar::Number(number) => Some(*number),
        Scalar::Text(text) => decimal(text),
    };
    number
        .filter(|number| (low..=high).contains(number))
        .ok_or_else(|| format!("`{value}` is not {what}; write a number from {low} to {high}"))
}

/// Digits only: no sign, no space.
fn decimal(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The name of a rule or of an output.
pub fn name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty; give it a name or leave it out".to_owned());
    }
    if text.len() > MAX_NAME {
        return Err(format!("is {} bytes long; a name has at most {MAX_NAME}", text.len()));
    }
    match text.chars().find(|c| c.is_whitespace() || c.is_control()) {
        Some(bad) => {
            Err(format!("`{}` contains {bad:?}; a name has no spaces or control characters", text.escape_debug()))
        }
        None => Ok(text.to_owned()),
    }
}

/// An interface's name, by the kernel's rule (`dev_valid_name` in net/core/dev.c).
pub fn interface(text: &str) -> Result<String, String> {
    let shown = text.escape_debug();
    if text.is_empty() {
        return Err("is missing; name the interface".to_owned());
    }
    if text.len() > MAX_INTERFACE {
        return Err(format!(
            "`{shown}` is {} bytes long; Linux allows {MAX_INTERFACE} in an interface's name",
            text.len()
        ));
    }
    let forbidden = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if text == "." || text == ".." || text.contains(forbidden) {
        return Err(format!("`{shown}` cannot be an interface's name: Linux allows no spaces, `/` or `:` in it"));
    }
    Ok(text.to_owned())
}
