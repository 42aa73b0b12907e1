//! Numbers as they are read.

use netns_tests::numbers;

/// Three significant digits, thousands apart: 1234567 as `1,230,000`, 0.0123 as `0.0123`.
pub fn number(value: f64) -> String {
    let magnitude = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    if magnitude >= 3 {
        let step = 10f64.powi(magnitude - 2);
        return grouped((value / step).round() * step);
    }
    let text = format!("{value:.*}", (2 - magnitude).clamp(0, 6) as usize);
    // 2.50 says how exact it is; 0.00 says nothing.
    if value == 0.0 { "0".to_owned() } else { text }
}

/// A count to its last digit, thousands apart.
pub fn grouped(value: f64) -> String {
    numbers::grouped(value.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.012_345, "0.0123"),
            (1.0, "1.00"),
            (2.345, "2.35"),
            (23.45, "23.4"),
            (999.4, "999"),
            (1_234_567.0, "1,230,000"),
            (-1_500.0, "-1,500"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(
            (grouped(9_000_000.0), grouped(-12.0), grouped(7.0)),
            ("9,000,000".into(), "-12".into(), "7".into())
        );
    }
}
