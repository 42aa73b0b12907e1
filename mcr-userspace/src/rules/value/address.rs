//! IPv4 addresses as typed, and what was meant by text that is none.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::shown;

/// An address.
pub fn address(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| match hint(text) {
        Some(hint) => format!("`{}`{hint}", shown(text)),
        None => format!("`{}` is not an IPv4 address; write A.B.C.D", shown(text)),
    })
}

/// What is wrong with text that is no address, where that can be told, and what to write.
fn hint(text: &str) -> Option<String> {
    let bare: String = text.split_whitespace().collect();
    if bare != text && bare.parse::<Ipv4Addr>().is_ok() {
        return Some(format!(" has spaces; write {bare}"));
    }
    if let Some(address) = ipv6(text) {
        let meant = address.to_ipv4_mapped().map_or("an IPv4 address".to_owned(), |meant| meant.to_string());
        return Some(format!(": IPv6 is not supported yet; write {meant}"));
    }
    let is_address = |text: &&str| text.parse::<Ipv4Addr>().is_ok();
    if let Some((base, _)) = text.split_once('/').filter(|(base, _)| is_address(base)) {
        return Some(format!(" is a prefix, and one address is wanted here; write {base}"));
    }
    if let Some((base, port)) = text.split_once(':').filter(|(base, _)| is_address(base)) {
        return Some(format!(
            " has a port behind the address; write {base}, and the port by itself: port {}",
            shown(port)
        ));
    }
    if let Some((first, last)) = text.split_once('-').filter(|(first, _)| is_address(first)) {
        return Some(match last.parse().ok().and_then(|last| aligned(first.parse().ok()?, last)) {
            Some(prefix) => format!(" is a range; where a prefix may stand, write {prefix}"),
            None => " is a range; write one address or one prefix, and a rule for each of several".to_owned(),
        });
    }
    if let Some(base) = text.strip_suffix('.').filter(is_address) {
        return Some(format!(" ends with a dot; write {base}"));
    }
    numbers(text)
}

/// The prefix that is exactly the addresses from `first` to `last`.
fn aligned(first: Ipv4Addr, last: Ipv4Addr) -> Option<String> {
    let (first_bits, last_bits) = (u32::from(first), u32::from(last));
    let size = u64::from(last_bits.checked_sub(first_bits)?) + 1;
    let is_prefix = size.is_power_of_two() && u64::from(first_bits) % size == 0;
    is_prefix.then(|| format!("{first}/{}", 32 - size.trailing_zeros()))
}

/// An IPv6 address, in brackets or with a zone too.
fn ipv6(text: &str) -> Option<Ipv6Addr> {
    let inner = text.strip_prefix('[').and_then(|text| text.split(']').next()).unwrap_or(text);
    inner.split('%').next().unwrap_or_default().parse().ok()
}

/// The same for text of numbers and dots.
fn numbers(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('.').collect();
    if let [a, b, c, "*" | "x"] = parts[..]
        && let Ok(base) = format!("{a}.{b}.{c}.0").parse::<Ipv4Addr>()
    {
        return Some(format!(" has a wildcard; where a prefix may stand, write {base}/24"));
    }
    let values: Option<Vec<u32>> = parts.iter().map(|part| number(part)).collect();
    let values = values?;
    let is_decimal = parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    let octets: Vec<u8> = values.iter().filter_map(|value| u8::try_from(*value).ok()).collect();
    match (octets.len() == values.len(), &octets[..], &values[..]) {
        (true, &[a, b, c, d], _) => {
            let meant = Ipv4Addr::new(a, b, c, d);
            Some(match is_decimal {
                true => format!(" has leading zeros, which some programs take for octal numbers; write {meant}"),
                false => format!(": write the numbers in decimal: {meant}"),
            })
        }
        (_, _, &[whole]) if whole > u32::from(u8::MAX) => {
            Some(format!(": write the number as an address: {}", Ipv4Addr::from(whole)))
        }
        (false, ..) => values
            .iter()
            .find(|value| **value > u8::MAX.into())
            .map(|value| format!(": {value} is above 255, the greatest number in an address")),
        _ => Some(format!(
            " has {} number{}; an IPv4 address has four, A.B.C.D",
            parts.len(),
            if parts.len() == 1 { "" } else { "s" }
        )),
    }
}

/// A number in decimal, or in hexadecimal after `0x`.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_meant_is_said() {
        for (typed, hint) in [
            ("239.001.001.001", "leading zeros, which some programs take for octal numbers; write 239.1.1.1"),
            ("239.1.1.01", "write 239.1.1.1"),
            ("239.1.1", "has 3 numbers"),
            ("239", "has 1 number;"),
            ("239.1.1.1.1", "has 5 numbers"),
            ("0xef010101", "write the number as an address: 239.1.1.1"),
            ("0xef.0x1.0x1.0x1", "in decimal: 239.1.1.1"),
            ("4009820417", "write the number as an address: 239.1.1.1"),
            ("239.1.1.256", "256 is above 255"),
            (" 239.1.1.1", "has spaces; write 239.1.1.1"),
            ("239. 1.1.1", "has spaces; write 239.1.1.1"),
            ("239.1.1.1/32", "one address is wanted here; write 239.1.1.1"),
            ("239.1.1.1:5001", "write 239.1.1.1, and the port by itself: port 5001"),
            ("239.1.1.1-239.1.1.9", "write one address or one prefix"),
            ("239.1.1.8-239.1.1.15", "write 239.1.1.8/29"),
            ("239.1.1.*", "write 239.1.1.0/24"),
            ("239.1.1.1.", "write 239.1.1.1"),
            ("ff0e::1", "IPv6 is not supported yet"),
            ("[ff02::1%eth0]", "IPv6 is not supported yet"),
            ("::ffff:239.1.1.1", "write 239.1.1.1"),
            ("localhost", "is not an IPv4 address"),
            ("", "is not an IPv4 address"),
            ("...", "is not an IPv4 address"),
        ] {
            let error = address(typed).expect_err(typed);
            assert!(error.contains(hint), "{typed}: {error}");
        }
    }

    proptest! {
        #[test]
        fn leading_zeros_change_nothing_of_what_is_meant(octets: [u8; 4], width in 2usize..6) {
            let typed = octets.map(|octet| format!("{octet:0width$}")).join(".");
            let meant = Ipv4Addr::from(octets);
            match address(&typed) {
                Ok(read) => prop_assert_eq!(read, meant),
                Err(error) => prop_assert!(error.ends_with(&format!("write {meant}")), "{}", error),
            }
        }

        #[test]
        fn nothing_makes_it_panic(text in "[0-9a-fx.:/%* \\[\\]-]{0,30}") {
            let _ = address(&text);
        }
    }
}
