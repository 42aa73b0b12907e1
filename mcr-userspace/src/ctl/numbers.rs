//! Numbers as people read them.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok());
    groups.collect::<Vec<_>>().join(",")
}

/// A rate of packets: whole ones, but for fewer than ten a second.
pub fn per_second(rate: f64) -> String {
    match rate {
        rate if rate <= 0.0 => "0".to_owned(),
        rate if rate < 9.95 => format!("{rate:.1}"),
        rate => grouped(rate.round() as u64),
    }
}

/// Bits a second as Mbit/s.
pub fn mbit(bits: f64) -> String {
    let mbit = bits / 1e6;
    match mbit {
        mbit if mbit <= 0.0 => "0".to_owned(),
        mbit if mbit < 0.01 => "<0.01".to_owned(),
        mbit if mbit < 10.0 => format!("{mbit:.2}"),
        mbit if mbit < 1000.0 => format!("{mbit:.1}"),
        mbit => grouped(mbit.round() as u64),
    }
}

/// `text` in at most `width` columns of a terminal: what is too much is left out of its middle, since names differ most at their ends.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    if width == 0 {
        return String::new();
    }
    let take = |chars: &mut dyn Iterator<Item = char>, most: usize| {
        let mut used = 0;
        let fits = chars.take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= most
        });
        fits.collect::<Vec<char>>()
    };
    let head = (width - 1) / 3;
    let mut tail = take(&mut text.chars().rev(), width - 1 - head);
    tail.reverse();
    take(&mut text.chars(), head).into_iter().chain(['\u{2026}']).chain(tail).collect()
}

/// `text` followed by blanks up to `width` columns, or after them where `right`.
pub fn pad(text: &str, width: usize, right: bool) -> String {
    let text = cut(text, width);
    let blanks = " ".repeat(width - text.width().min(width));
    if right { blanks + &text } else { text + &blanks }
}

/// `text` as lines of at most `width` columns, broken between words; a word that is longer is [cut].
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_whitespace().map(|word| cut(word, width)) {
        if !line.is_empty() && line.width() + 1 + word.width() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += &word;
    }
    lines.push(line);
    lines
}

/// A time as its two largest units: `3m 12s`.
pub fn time(seconds: f64) -> String {
    let whole = std::time::Duration::from_secs(seconds.max(0.0) as u64);
    let shown = humantime::format_duration(whole).to_string();
    shown.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact_enough() {
        assert_eq!(
            [0, 999, 1_000, 12_345, 123_456, 1_234_567].map(grouped),
            ["0", "999", "1,000", "12,345", "123,456", "1,234,567"]
        );
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!([0.0, 0.25, 9.94, 9.96, 149_999.6].map(per_second), ["0", "0.2", "9.9", "10", "150,000"]);
        assert_eq!(
            [0.0, 5e3, 2.5e5, 9.5e6, 1.25e8, 1.2288e9].map(mbit),
            ["0", "<0.01", "0.25", "9.50", "125.0", "1,229"]
        );
        assert_eq!([0.4, 192.0, 90_061.0].map(time), ["0s", "3m 12s", "1day 1h"]);
    }

    #[test]
    fn what_is_too_long_keeps_both_ends() {
        assert_eq!(cut("feed-a", 6), "feed-a");
        assert_eq!(cut("eth0:239.1.1.1:5001", 10), "eth\u{2026}1:5001");
        assert_eq!(cut("abc", 0), "");
        assert_eq!(cut("abc", 1), "\u{2026}");
        // Each of these takes two columns.
        assert_eq!(cut("\u{6771}\u{4eac}\u{6771}\u{4eac}", 6).width(), 5);
        assert_eq!(pad("ab", 4, true), "  ab");
        assert_eq!(pad("ab", 4, false), "ab  ");
    }

    #[test]
    fn long_sentences_are_broken_between_words() {
        assert_eq!(wrapped("eth1 is down; fix it", 12), ["eth1 is", "down; fix it"]);
        assert_eq!(wrapped("a eth0:239.1.1.1:5001 b", 10), ["a", "eth\u{2026}1:5001", "b"]);
        assert_eq!(wrapped("", 10), [""]);
    }
}
