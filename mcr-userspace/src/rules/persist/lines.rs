//! Line ends.

/// `new` with the bytes of `old` wherever a line is the same: toml_edit makes all line ends those of Unix. Lines that are new end as most
/// of the old ones do.
pub(super) fn keep(old: &str, new: &str) -> String {
    let (olds, news): (Vec<&str>, Vec<&str>) =
        (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let same = |(old, new): &(&&str, &&str)| unix(old) == unix(new);
    let before = olds.iter().zip(&news).take_while(same).count();
    let after = olds[before..].iter().rev().zip(news[before..].iter().rev()).take_while(same).count();
    let dos = olds.iter().filter(|line| line.ends_with("\r\n")).count() * 2 > olds.len();
    let mut text = olds[..before].concat();
    for line in &news[before..news.len() - after] {
        match unix(line) {
            (line, true) => {
                text += line;
                text += if dos { "\r\n" } else { "\n" };
            }
            (line, false) => text += line,
        }
    }
    text + &olds[olds.len() - after..].concat()
}

/// A line without its end, and whether it has one.
fn unix(line: &str) -> (&str, bool) {
    match line.strip_suffix('\n') {
        Some(line) => (line.strip_suffix('\r').unwrap_or(line), true),
        None => (line, false),
    }
}

#[cfg(test)]
mod tests {
    use super::keep;

    #[test]
    fn unchanged_lines_keep_theirs() {
        assert_eq!(keep("a\r\nb\r\nc\r\n", "a\nx\ny\nc\n"), "a\r\nx\r\ny\r\nc\r\n");
        assert_eq!(keep("a\nb\r\nc\n", "a\nb\nc\nd\n"), "a\nb\r\nc\nd\n", "mixed");
        assert_eq!(keep("a\r\nb", "a\nb\nc\n"), "a\r\nb\nc\n", "half is not most");
        assert_eq!(keep("a\r\nb\r\nc", "a\nb\nc\nd\n"), "a\r\nb\r\nc\r\nd\r\n");
        assert_eq!(keep("", "a\n"), "a\n");
        assert_eq!(keep("a\na\na\n", "a\na\n"), "a\na\n");
        assert_eq!(keep("a\n", ""), "");
    }
}
