//! Several runs of one measurement: their median, and how far apart they lie.

use serde::Serialize;

/// The runs' values, in the order in which they were taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Runs(pub Vec<f64>);

impl Runs {
    /// The middle value, or the mean of the two in the middle; `None` of no run.
    pub fn median(&self) -> Option<f64> {
        let mut values = self.0.clone();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            n if n % 2 == 1 => Some(values[middle]),
            _ => Some((values[middle - 1] + values[middle]) / 2.0),
        }
    }

    /// The least and the greatest value.
    pub fn range(&self) -> Option<(f64, f64)> {
        let least = self.0.iter().copied().min_by(f64::total_cmp)?;
        Some((least, self.0.iter().copied().max_by(f64::total_cmp)?))
    }

    /// Greatest minus least, as a part of the median.
    pub fn spread(&self) -> Option<f64> {
        let ((least, greatest), median) = (self.range()?, self.median()?);
        (median != 0.0).then(|| (greatest - least) / median)
    }
}

/// The median over repeats of the ratio within one: what disturbs a repeat disturbs both sides of its ratio.
pub fn ratio(of: &Runs, to: &Runs) -> Option<f64> {
    Runs(of.0.iter().zip(&to.0).filter(|(_, to)| **to > 0.0).map(|(of, to)| of / to).collect()).median()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_spread() {
        assert_eq!(Runs(vec![]).median(), None);
        assert_eq!(Runs(vec![3.0]).median(), Some(3.0));
        assert_eq!(Runs(vec![9.0, 1.0, 2.0]).median(), Some(2.0));
        assert_eq!(Runs(vec![4.0, 1.0, 2.0, 9.0]).median(), Some(3.0));
        assert_eq!(Runs(vec![9.0, 1.0, 2.0]).range(), Some((1.0, 9.0)));
        assert_eq!(Runs(vec![9.0, 1.0, 2.0]).spread(), Some(4.0));
        assert_eq!(Runs(vec![0.0, 0.0]).spread(), None);
    }

    #[test]
    fn ratios_are_taken_within_a_repeat() {
        // The machine was half as fast in the second repeat.
        let (fast, slow) = (Runs(vec![100.0, 50.0, 100.0]), Runs(vec![50.0, 25.0, 50.0]));
        assert_eq!(ratio(&fast, &slow), Some(2.0));
        assert_eq!(ratio(&fast, &Runs(vec![0.0])), None);
        assert_eq!(ratio(&Runs::default(), &slow), None);
    }
}
