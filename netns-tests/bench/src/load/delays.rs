//! How long packets took: counts by class of delay, as the sink has them.

use serde::{Deserialize, Serialize};

use super::layout::CLASSES;

/// Packets by class of delay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delays(Vec<(u32, u64)>);

impl Delays {
    /// Of counts by class, in their order.
    pub fn of(counts: impl IntoIterator<Item = u64>) -> Self {
        Self((0..).zip(counts).filter(|(_, count)| *count != 0).collect())
    }

    /// Packets in all.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// The delay in nanoseconds that a part of all packets (0.5: the median) did not exceed; `None` when nothing came.
    pub fn quantile(&self, part: f64) -> Option<u64> {
        let wanted = (self.count() as f64 * part).ceil().max(1.0) as u64;
        let mut sum = 0;
        self.0.iter().find_map(|(class, count)| {
            sum += count;
            (sum >= wanted).then(|| upper(*class))
        })
    }

    /// These and others together.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let mut all = vec![0; CLASSES as usize];
        for (class, count) in self.0.iter().chain(&other.0) {
            all[*class as usize] += count;
        }
        Self::of(all)
    }

    /// Points of the distribution: the delay in nanoseconds, and the part of all packets that took no longer.
    pub fn curve(&self) -> Vec<(u64, f64)> {
        let all = self.count() as f64;
        let mut sum = 0;
        let step = |(class, count): &(u32, u64)| {
            sum += count;
            (upper(*class), sum as f64 / all)
        };
        self.0.iter().map(step).collect()
    }
}

/// The largest delay of a class.
fn upper(class: u32) -> u64 {
    match class {
        0..64 => u64::from(class),
        _ => {
            let (shift, value) = ((class - 64) / 64, u64::from((class - 64) % 64 + 64));
            // A class of the first doubling holds one value, and each further doubling twice as many.
            ((value + 1) << shift) - 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::layout::class, *};

    #[test]
    fn a_class_ends_where_the_next_begins() {
        for class_number in 0..CLASSES - 1 {
            let last = upper(class_number);
            assert_eq!(class(last), class_number, "{last} ns");
            assert_eq!(class(last + 1), class_number + 1, "{} ns", last + 1);
        }
        assert_eq!(class(u64::MAX), CLASSES - 1);
    }

    #[test]
    fn quantiles_are_within_a_class() {
        let mut counts = vec![0; CLASSES as usize];
        for nanoseconds in 1..=100_000u64 {
            counts[class(nanoseconds) as usize] += 1;
        }
        let delays = Delays::of(counts);
        for (part, exact) in [(0.5, 50_000.0), (0.99, 99_000.0), (0.999, 99_900.0), (1.0, 100_000.0)] {
            let found = delays.quantile(part).unwrap() as f64;
            assert!((found / exact - 1.0).abs() < 0.02, "{part}: {found}");
        }
        assert_eq!(Delays::default().quantile(0.5), None);
    }

    #[test]
    fn two_runs_add_up() {
        let (a, b) = (Delays::of([1, 0, 2]), Delays::of([0, 3]));
        assert_eq!(a.with(&b), Delays::of([1, 3, 2]));
        assert_eq!(a.with(&b).curve().last(), Some(&(2, 1.0)));
    }
}
