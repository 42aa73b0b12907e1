//! A DSCP as typed: a number, or its name.

use super::{number, shown};
use crate::rules::spec::Scalar;

/// Names of code points: RFC 2474 (CS), RFC 2597 (AF), RFC 3246 (EF), RFC 5865 (VOICE-ADMIT), RFC 8622 (LE). 0 is best effort, also
/// called the default forwarding (DF).
const NAMES: [(&str, u8); 28] = [
    ("CS0", 0),
    ("CS1", 8),
    ("CS2", 16),
    ("CS3", 24),
    ("CS4", 32),
    ("CS5", 40),
    ("CS6", 48),
    ("CS7", 56),
    ("AF11", 10),
    ("AF12", 12),
    ("AF13", 14),
    ("AF21", 18),
    ("AF22", 20),
    ("AF23", 22),
    ("AF31", 26),
    ("AF32", 28),
    ("AF33", 30),
    ("AF41", 34),
    ("AF42", 36),
    ("AF43", 38),
    ("EF", 46),
    ("VA", 44),
    ("VOICE-ADMIT", 44),
    ("LE", 1),
    ("BE", 0),
    ("DF", 0),
    ("DEFAULT", 0),
    ("BEST-EFFORT", 0),
];

/// A DSCP, 0 to 63, or its name in any case.
pub fn dscp(value: &Scalar) -> Result<u8, String> {
    if let Scalar::Text(text) = value
        && !text.bytes().all(|byte| byte.is_ascii_digit())
    {
        let known = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        return known.map(|(_, dscp)| *dscp).ok_or_else(|| {
            let hint = hexadecimal(text).map_or(String::new(), |number| format!("; write {number}"));
            format!(
                "`{}` is not a DSCP: write a number from 0 to 63, or a name such as EF, AF41, CS5{hint}",
                shown(text)
            )
        });
    }
    number(value, 0, 63, "a DSCP").map(|dscp| dscp as u8)
}

/// What `0x2e` stands for.
fn hexadecimal(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    u8::from_str_radix(digits, 16).ok().filter(|dscp| *dscp <= 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (typed, value) in [("EF", 46), ("af41", 34), ("CS5", 40), ("Be", 0), ("46", 46), ("0", 0)] {
            assert_eq!(dscp(&typed.into()), Ok(value), "{typed}");
        }
        // AFxy is 8x + 2y, RFC 2597 section 6; CSx is 8x, RFC 2474 section 4.2.2.
        for (x, y) in (1..=4).flat_map(|x| (1..=3).map(move |y| (x, y))) {
            assert_eq!(dscp(&Scalar::Text(format!("AF{x}{y}"))), Ok(8 * x + 2 * y));
        }
        (0..8).for_each(|x| assert_eq!(dscp(&Scalar::Text(format!("CS{x}"))), Ok(8 * x)));
        for (bad, part) in
            [("AF44", "AF41"), ("64", "0 to 63"), ("0x2e", "write 46"), ("", "0 to 63"), ("-1", "0 to 63")]
        {
            let error = dscp(&bad.into()).expect_err(bad);
            assert!(error.contains(part), "{bad}: {error}");
        }
    }
}
