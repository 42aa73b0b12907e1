//! A rate over time as a line of bars.

/// From an eighth to the whole of a line's height.
const BARS: [char; 8] =
    ['\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}'];

/// The last `width` values of `rates`, the newest on the right, against the largest of them. 0 is blank.
pub(super) fn bars(rates: impl DoubleEndedIterator<Item = f64> + ExactSizeIterator, width: usize) -> String {
    let skipped = rates.len().saturating_sub(width);
    let last: Vec<f64> = rates.skip(skipped).collect();
    let most = last.iter().copied().fold(0.0, f64::max);
    let bar = |rate: &f64| match *rate > 0.0 {
        true => BARS[((rate / most * 8.0).ceil() as usize).clamp(1, 8) - 1],
        false => ' ',
    };
    " ".repeat(width - last.len()) + &last.iter().map(bar).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_the_right_and_reach_the_top_once() {
        let shown = |rates: &[f64], width| bars(rates.iter().copied(), width);
        assert_eq!(shown(&[], 4), "    ");
        assert_eq!(shown(&[0.0, 1.0, 8.0], 5), "   \u{2581}\u{2588}");
        assert_eq!(shown(&[9.0, 4.0, 8.0], 2), "\u{2584}\u{2588}");
        assert_eq!(shown(&[1.0], 0), "");
    }
}
