//! Comments that an edit would take with what they stand beside.

use std::collections::HashMap;

use similar::{DiffTag, TextDiff};
use toml_parser::{Source, lexer::TokenKind};

/// `new` with every comment of `old` that it lacks, each where it was, on a line of its own.
pub(super) fn keep(old: &str, new: &str) -> String {
    let mut lost: HashMap<&str, usize> = HashMap::new();
    let olds = comments(old);
    olds.values().for_each(|comment| *lost.entry(comment).or_default() += 1);
    for comment in comments(new).values() {
        if let Some(count) = lost.get_mut(comment) {
            *count = count.saturating_sub(1);
        }
    }
    if lost.values().all(|count| *count == 0) {
        return new.to_owned();
    }
    let (old_lines, new_lines): (Vec<&str>, Vec<&str>) =
        (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let mut text = String::new();
    for op in TextDiff::from_slices(&old_lines, &new_lines).ops() {
        let mut news = new_lines[op.new_range()].iter();
        for line in op.old_range().filter(|_| op.tag() != DiffTag::Equal) {
            if let Some(comment) = olds.get(&line)
                && lost.get_mut(comment).is_some_and(take_one)
            {
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push('\n');
                }
                let whole = old_lines[line];
                text += &whole[..whole.len() - whole.trim_start().len()];
                text += comment;
                text.push('\n');
            }
            // As far down as it was among the lines that have become these.
            text.extend(news.next().copied());
        }
        text.extend(news.copied());
    }
    // A line more where none may be, as within a text of several lines, would change what the file says.
    let says = |text: &str| text.parse::<toml::Table>().ok();
    if says(&text) == says(new) { text } else { new.to_owned() }
}

fn take_one(count: &mut usize) -> bool {
    let is_left = *count > 0;
    *count -= usize::from(is_left);
    is_left
}

/// The comment of each line that has one; lines are counted from 0.
fn comments(text: &str) -> HashMap<usize, &str> {
    let tokens = Source::new(text).lex().filter(|token| token.kind() == TokenKind::Comment);
    let (mut line, mut at) = (0, 0);
    tokens
        .filter_map(|token| {
            let span = token.span();
            line += text.get(at..span.start())?.matches('\n').count();
            at = span.start();
            Some((line, text.get(span.start()..span.end())?.trim_end()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::keep;

    #[test]
    fn a_comment_beside_what_goes_gets_a_line_of_its_own() {
        assert_eq!(keep("a = 1 # one\nb = 2\n", "b = 2\n"), "# one\nb = 2\n");
        assert_eq!(keep("# top\na = 1\n  b = 2 # two\n", "# top\na = 1\n"), "# top\na = 1\n  # two\n");
        assert_eq!(keep("a = 1 # c\nb = 2 # c\n", "a = 1 # c\n"), "a = 1 # c\n# c\n", "of two alike one is lost");
        assert_eq!(keep("a = 1\nb = 2 # two", "a = 1"), "a = 1\n# two\n");
    }

    #[test]
    fn a_list_keeps_the_comments_of_elements_that_go() {
        let old = "a = [ # list\n  # first\n  1, # one\n  # second\n  2, # two\n]\n";
        assert_eq!(keep(old, "a = [ # list\n  # second\n  2, # two\n]\n"), old.replace("  1, # one", "  # one"));
    }

    #[test]
    fn what_only_looks_like_a_comment_is_none() {
        assert_eq!(keep("a = \"x # y\"\nb = '#'\n", "a = \"z\"\n"), "a = \"z\"\n");
        assert_eq!(keep("a = \"\"\"\n# no\n\"\"\"\nb = 1 # yes\n", "b = 2\n"), "b = 2\n# yes\n");
        assert_eq!(keep("# a\nx = 1\n", "# a\nx = 2\n"), "# a\nx = 2\n", "nothing is lost");
    }
}
