//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

use crate::wire::IPV4_MIN_LEN;

/// A running one's complement sum of 16-bit big-endian words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Adds one word.
    #[inline]
    #[must_use]
    pub const fn word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// Adds the two words of an address, host byte order.
    #[inline]
    #[must_use]
    pub const fn address(self, address: u32) -> Self {
        Self(self.0 + (address >> 16) as u64 + (address & 0xffff) as u64)
    }

    /// Adds bytes that start on a word; an odd last one is padded with zero.
    #[inline]
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        // Eight bytes at a time in native order: the sum of swapped words is the swapped sum (RFC 1071 section 2 B).
        let mut chunks = bytes.chunks_exact(8);
        let mut wide = 0u128;
        for chunk in &mut chunks {
            if let Some(chunk) = chunk.first_chunk() {
                wide += u128::from(u64::from_ne_bytes(*chunk));
            }
        }
        let mut sum = (wide as u64 & 0xffff_ffff) + (wide as u64 >> 32) + (wide >> 64) as u64;
        sum = (sum & 0xffff_ffff) + (sum >> 32);
        let folded = u16::from_be(fold(sum));
        let mut sum = self.0 + u64::from(folded);
        let rest = chunks.remainder();
        let mut words = rest.chunks_exact(2);
        for word in &mut words {
            sum += u64::from(u16::from_be_bytes([word[0], word[1]]));
        }
        if let [last] = words.remainder() {
            sum += u64::from(u16::from_be_bytes([*last, 0]));
        }
        Self(sum)
    }

    /// Adds an IPv4 header: the same as [`bytes`](Self::bytes), sooner where it has no options.
    #[inline]
    #[must_use]
    pub fn header(self, header: &[u8]) -> Self {
        let Ok(fixed) = <&[u8; IPV4_MIN_LEN]>::try_from(header) else { return self.bytes(header) };
        let word = |at: usize| u64::from(u32::from_ne_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]));
        let sum = word(0) + word(4) + word(8) + word(12) + word(16);
        Self(self.0 + u64::from(u16::from_be(fold(sum))))
    }

    /// The sum in 16 bits, not complemented.
    #[inline]
    pub const fn fold(self) -> u16 {
        fold(self.0)
    }

    /// The checksum: the complement of the sum.
    #[inline]
    pub const fn finish(self) -> u16 {
        !self.fold()
    }
}

/// Adds carries back in until 16 bits are left.
#[inline]
const fn fold(mut sum: u64) -> u16 {
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// What changes in a checksummed header, collected so that the checksum is updated once: RFC 1624, equation 3.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change(Sum);

impl Change {
    /// A word that goes from `old` to `new`.
    #[inline]
    #[must_use]
    pub const fn word(self, old: u16, new: u16) -> Self {
        Self(self.0.word(!old).word(new))
    }

    /// An address that goes from `old` to `new`, host byte order.
    #[inline]
    #[must_use]
    pub const fn address(self, old: u32, new: u32) -> Self {
        Self(self.0.address(!old).address(new))
    }

    /// `checksum` (host byte order) after the change.
    #[inline]
    pub const fn apply(self, checksum: u16) -> u16 {
        self.0.word(!checksum).finish()
    }
}

/// The sum over the UDP pseudo-header (RFC 768): addresses in host byte order, `length` of UDP header and payload.
#[inline]
pub const fn pseudo_header(source: u32, destination: u32, length: u16) -> Sum {
    Sum(0).address(source).address(destination).word(crate::wire::PROTOCOL_UDP as u16).word(length)
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(2_000) })]

        /// Words of 0 and 0xffff, the two zeroes of one's complement, come up often.
        #[test]
        fn an_update_is_what_a_new_sum_gives(
            kept in 1u16..,
            changes in proptest::collection::vec((prop_oneof![any::<u16>(), Just(0), Just(0xffff)], prop_oneof![any::<u16>(), Just(0), Just(0xffff)]), 1..12),
        ) {
            let sum = |words: &mut dyn Iterator<Item = u16>| words.fold(Sum::default().word(kept), Sum::word).finish();
            let old = sum(&mut changes.iter().map(|(old, _)| *old));
            let new = sum(&mut changes.iter().map(|(_, new)| *new));
            let change = changes.iter().fold(Change::default(), |change, (old, new)| change.word(*old, *new));
            // `kept` keeps the true sum from being 0, and the update's too, unless it adds nothing but zeroes.
            let updated = match change.apply(old) {
                0xffff if old == 0xffff => 0,
                updated => updated,
            };
            prop_assert_eq!(updated, new);
        }

        #[test]
        fn etherparse_sums_alike(bytes in proptest::collection::vec(any::<u8>(), 0..1600), source: u32, group: u32) {
            let mut theirs = etherparse::checksum::Sum16BitWords::new().add_slice(&bytes);
            prop_assert_eq!(Sum::default().bytes(&bytes).finish(), theirs.ones_complement().to_be());
            let length = bytes.len() as u16;
            let theirs = theirs.add_4bytes(source.to_be_bytes()).add_4bytes(group.to_be_bytes());
            let theirs = theirs.add_2bytes([0, 17]).add_2bytes(length.to_be_bytes());
            prop_assert_eq!(pseudo_header(source, group, length).bytes(&bytes).finish(), theirs.ones_complement().to_be());
        }
    }

    #[test]
    fn rfc_1071_example() {
        assert_eq!(Sum::default().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).fold(), 0xddf2);
    }

    #[test]
    fn rfc_1624_example() {
        // Section 4: the checksum is 0xdd2f, a field goes from 0x5555 to 0x3285, the result is 0x0000.
        assert_eq!(Change::default().word(0x5555, 0x3285).apply(0xdd2f), 0x0000);
    }

    #[test]
    fn wide_sum_equals_word_by_word() {
        let bytes: [u8; 67] = core::array::from_fn(|i| (i * 151 + 250) as u8);
        for length in 0..bytes.len() {
            let slow = bytes[..length]
                .chunks(2)
                .fold(Sum::default(), |sum, w| sum.word(u16::from_be_bytes([w[0], *w.get(1).unwrap_or(&0)])));
            assert_eq!(Sum::default().bytes(&bytes[..length]).fold(), slow.fold(), "length {length}");
        }
        for words in 5..=15 {
            let header = &bytes[..words * 4];
            assert_eq!(Sum::default().header(header).fold(), Sum::default().bytes(header).fold(), "{words} words");
        }
        assert_eq!(Sum::default().bytes(&[0xff; 1500]).fold(), 0xffff);
    }
}
