//! Values as people type them: `10M` packets a second, `40Mbit`, `EF`.

/// Bits of an Ethernet frame of so many bytes.
const BITS: f64 = 8.0;

/// How fast to send, as typed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Packets a second: `3000`, `1k`, `10M`.
    Packets(u64),
    /// Bits a second of Ethernet frames without FCS: `40Mbit`, `1.5Gbit`.
    Bits(f64),
}

impl Rate {
    /// Packets a second for frames of `size` bytes: at least one.
    pub fn packets(self, size: u32) -> u64 {
        match self {
            Self::Packets(packets) => packets,
            Self::Bits(bits) => ((bits / BITS / f64::from(size)).round() as u64).max(1),
        }
    }
}

/// A rate.
///
/// # Errors
/// What to write in its place.
pub fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || "write packets a second, such as 3000, 1k or 10M, or bits a second, such as 40Mbit".to_owned();
    let lower = text.to_ascii_lowercase();
    let bits = ["bit/s", "bits", "bit", "bps"].iter().find_map(|unit| lower.strip_suffix(unit));
    let packets = ["pps"].iter().find_map(|unit| lower.strip_suffix(unit)).unwrap_or(&lower);
    let number = number(bits.unwrap_or(packets)).ok_or_else(wrong)?;
    match bits {
        Some(_) => Ok(Rate::Bits(number)),
        None if number.fract() == 0.0 => Ok(Rate::Packets(number as u64)),
        None => Err(wrong()),
    }
}

/// A number from 1 with a thousand (`k`), a million (`M`) or a thousand million (`G`) behind it.
fn number(text: &str) -> Option<f64> {
    let (digits, factor) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 1e3),
        b'm' => (&text[..text.len() - 1], 1e6),
        b'g' => (&text[..text.len() - 1], 1e9),
        _ => (text, 1.0),
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = digits.parse::<f64>().ok().filter(|_| plain)?;
    // Rounded, since 1.1 and a thousand make a little more than 1,100.
    let number = (number * factor * 1e3).round() / 1e3;
    (1.0..=1e12).contains(&number).then_some(number)
}

/// A DSCP by number, 0 to 63, or by name: CS0 to CS7, AF11 to AF43, EF, VA, LE (RFC 2474, 2597, 3246, 5865, 8622).
///
/// # Errors
/// What to write in its place.
pub fn dscp(text: &str) -> Result<u8, String> {
    let wrong = || "write a DSCP from 0 to 63, or its name: EF, AF41, CS5".to_owned();
    let name = text.to_ascii_uppercase();
    let digit = |at: usize, low: u8, high: u8| {
        let digit = name.as_bytes().get(at)?.checked_sub(b'0')?;
        (low..=high).contains(&digit).then_some(digit)
    };
    match name.as_str() {
        "EF" => return Ok(46),
        "VA" => return Ok(44),
        "LE" => return Ok(1),
        _ => {}
    }
    if let (true, 3, Some(class)) = (name.starts_with("CS"), name.len(), digit(2, 0, 7)) {
        return Ok(class * 8);
    }
    if let (true, 4, Some(class), Some(drop)) = (name.starts_with("AF"), name.len(), digit(2, 1, 4), digit(3, 1, 3)) {
        return Ok(class * 8 + drop * 2);
    }
    text.parse().ok().filter(|dscp| *dscp <= 63 && !text.starts_with('+')).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_packets_or_bits() {
        for (text, packets) in [("3000", 3_000), ("1k", 1_000), ("1.5K", 1_500), ("10M", 10_000_000), ("2kpps", 2_000)]
        {
            assert_eq!(rate(text), Ok(Rate::Packets(packets)), "{text}");
        }
        for (text, bits) in [("10Mbit", 1e7), ("10Mbps", 1e7), ("1.1Gbit/s", 1.1e9), ("800bit", 800.0)] {
            assert_eq!(rate(text), Ok(Rate::Bits(bits)), "{text}");
        }
        assert_eq!(Rate::Bits(1e7).packets(1250), 1_000);
        assert_eq!(Rate::Bits(1.0).packets(1250), 1);
        for bad in ["", "0", "k", "-1", "+1", "1e3", "0.5", "1.5", "1x", "inf", "NaN", "bit", "9999G"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dscps_have_names() {
        for (text, value) in [("EF", 46), ("ef", 46), ("AF41", 34), ("AF11", 10), ("CS5", 40), ("CS0", 0), ("63", 63)] {
            assert_eq!(dscp(text), Ok(value), "{text}");
        }
        for bad in ["", "64", "-1", "+1", "AF44", "AF01", "CS8", "CS", "AF411", "best"] {
            assert!(dscp(bad).is_err(), "{bad}");
        }
    }
}
