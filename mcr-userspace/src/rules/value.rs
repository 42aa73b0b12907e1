//! Single values as typed, read: prefixes, ports, numbers, names.
//!
//! Each error says what is wrong and what to write; the caller knows where it stands.

mod address;
mod dscp;
mod interface;

use std::net::Ipv4Addr;

pub use address::address;
pub use dscp::dscp;
pub use interface::{interface, output_interface, rule_interface};

use super::{
    rule::{Ports, Prefix},
    spec::Scalar,
};

/// 224.0.0.0/4, RFC 5771.
pub const MULTICAST: Prefix = Prefix { address: Ipv4Addr::new(224, 0, 0, 0), length: 4 };
/// 224.0.0.0/24: never forwarded, whatever the TTL (RFC 5771 section 4).
pub const LINK_LOCAL: Prefix = Prefix { address: Ipv4Addr::new(224, 0, 0, 0), length: 24 };
/// Sources that no datagram on a network may have, beside multicast (`mcr_common::wire::is_martian_source`).
pub const MARTIANS: [Prefix; 3] = [
    Prefix { address: Ipv4Addr::new(0, 0, 0, 0), length: 8 },
    Prefix { address: Ipv4Addr::new(127, 0, 0, 0), length: 8 },
    Prefix { address: Ipv4Addr::new(240, 0, 0, 0), length: 4 },
];
/// Longest rule name, in bytes: more than any that a rule is given by default.
const MAX_NAME: usize = 80;
/// Longest description of a rule, in bytes.
const MAX_DESCRIPTION: usize = 255;
/// Characters of a value that a message shows.
const MAX_SHOWN: usize = 80;

/// What is wrong with a duration that has a minus; `None` of any other.
pub fn negative(duration: &str) -> Option<String> {
    let rest = duration.trim().strip_prefix('-')?;
    humantime::parse_duration(rest).ok()?;
    Some(format!("a duration cannot be negative; write {}", shown(rest)))
}

/// What was typed, fit for a line of a message: control characters escaped, and not too long.
pub fn shown(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text.chars();
    for c in rest.by_ref().take(MAX_SHOWN) {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    if rest.next().is_some() {
        shown.push('\u{2026}');
    }
    shown
}

/// What a rule is for: one line of text.
pub fn description(text: &str) -> Result<String, String> {
    match text {
        long if long.len() > MAX_DESCRIPTION => {
            Err(format!("is {} bytes long; a description has at most {MAX_DESCRIPTION}", long.len()))
        }
        text if text.chars().any(char::is_control) => {
            Err(format!("`{}` has control characters; a description is one line of text", shown(text)))
        }
        text => Ok(text.to_owned()),
    }
}

/// An address or `ADDRESS/LENGTH`, its host bits zero.
pub fn prefix(text: &str) -> Result<Prefix, String> {
    let Some((base, length)) = text.split_once('/') else {
        return address(text).map(Prefix::host);
    };
    let base = address(base)?;
    let length = match decimal(length) {
        Some(length @ 0..=32) => length as u8,
        _ => {
            let hint = mask(length).map_or(String::new(), |length| format!("; write {base}/{length}"));
            return Err(format!("`{}`: the prefix length must be a number from 0 to 32{hint}", shown(text)));
        }
    };
    let prefix = Prefix { address: base, length };
    let aligned = Prefix { address: Ipv4Addr::from(u32::from(base) & prefix.mask()), length };
    match prefix == aligned {
        true => Ok(prefix),
        false => Err(format!("`{}` has host bits set; the prefix is {}/{length}", shown(text), aligned.address)),
    }
}

/// The length that a netmask such as `255.255.255.0` stands for.
fn mask(text: &str) -> Option<u8> {
    let bits = u32::from(text.parse::<Ipv4Addr>().ok()?);
    (bits.count_ones() == bits.leading_ones()).then_some(bits.leading_ones() as u8)
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
        std::cmp::Ordering::Equal => Err(format!("`{}` is one port; write {first}", shown(&value.to_string()))),
        std::cmp::Ordering::Greater => {
            Err(format!("`{}` runs backwards; write {last}-{first}", shown(&value.to_string())))
        }
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
        .ok_or_else(|| format!("`{}`: write {what} from {low} to {high}", shown(&value.to_string())))
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
    match text.chars().find(|c| c.is_whitespace() || c.is_control() || is_invisible(*c)) {
        Some(bad) => Err(format!("`{}` contains {bad:?}; a name has no spaces or control characters", shown(text))),
        None => Ok(text.to_owned()),
    }
}

/// Characters of the Unicode category Cf that show nothing, or that turn the direction of what follows.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_prefix_is_read_as_written(bits: u32, length in 0u8..=32) {
            let mask = Prefix { address: Ipv4Addr::from(bits), length }.mask();
            let aligned = Prefix { address: Ipv4Addr::from(bits & mask), length };
            prop_assert_eq!(prefix(&aligned.to_string()), Ok(aligned));
            let typed = format!("{}/{length}", Ipv4Addr::from(bits));
            match bits & !mask {
                0 => prop_assert_eq!(prefix(&typed), Ok(aligned)),
                // The error names the prefix that was meant.
                _ => {
                    let meant = format!("{}/{length}", aligned.address);
                    prop_assert!(prefix(&typed).is_err_and(|error| error.contains(&meant)));
                }
            }
        }

        #[test]
        fn ports_are_read_as_written(first in 0u32..70_000, last in 0u32..70_000) {
            let valid = |port: u32| (1..=65_535).contains(&port);
            let wanted = valid(first).then_some(Ports::Exact(first as u16));
            prop_assert_eq!(ports(&Scalar::Number(first.into())).ok(), wanted);
            prop_assert_eq!(ports(&Scalar::Text(first.to_string())).ok(), wanted);
            let range = ports(&Scalar::Text(format!("{first}-{last}")));
            match valid(first) && valid(last) && first < last {
                true => prop_assert_eq!(range, Ok(Ports::Range(first as u16, last as u16))),
                false => prop_assert!(range.is_err()),
            }
        }

        #[test]
        fn nothing_makes_them_panic(text in ".*") {
            let _ = (prefix(&text), ports(&Scalar::Text(text.clone())), name(&text), interface(&text));
        }
    }

    #[test]
    fn lengths_and_numbers_are_digits_only() {
        for bad in ["239.0.0.0/+8", "239.0.0.0/", "239.0.0.0/33", "239.0.0.0/8/8", "239.0.0.0/-1"] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
        let error = prefix("239.1.1.0/255.255.255.0").expect_err("a mask");
        assert!(error.ends_with("write 239.1.1.0/24"), "{error}");
        for bad in ["+5001", "-5001", "5001-", "5001-5002-5003", " 5001", "5001 - 5002", "", "5001-5001"] {
            assert!(ports(&Scalar::from(bad)).is_err(), "{bad}");
        }
    }
}
