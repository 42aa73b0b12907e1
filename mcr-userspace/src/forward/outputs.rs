//! Something for each output of a rule, the first in line with the rule itself.

use std::sync::Arc;

/// At least one `T`. Most rules have one output, and among thousands of rules that one costs no cache line of its own; a clone shares
/// the others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Outputs<T> {
    first: T,
    rest: Arc<[T]>,
}

impl<T> Outputs<T> {
    /// All of `items`; `None` where there is none.
    pub fn new(items: impl IntoIterator<Item = T>) -> Option<Self> {
        let mut items = items.into_iter();
        Some(Self { first: items.next()?, rest: items.collect() })
    }

    /// Each, in the rule's order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.first).chain(self.rest.iter())
    }

    /// That of output `number`, from 0.
    #[inline]
    pub fn get(&self, number: usize) -> Option<&T> {
        match number {
            0 => Some(&self.first),
            _ => self.rest.get(number - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_there_in_order() {
        assert_eq!(Outputs::<u8>::new([]), None);
        for many in 1..5_u8 {
            let outputs = Outputs::new(0..many).expect("some");
            assert!(outputs.iter().copied().eq(0..many));
            assert!((0..many + 2).all(|i| outputs.get(i.into()).copied() == (i < many).then_some(i)));
        }
    }
}
