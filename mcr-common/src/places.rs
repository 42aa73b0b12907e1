//! Where the entries of the table of rules lie, so that finding one touches few cache lines however many there are.
//!
//! A block of memory is 128 bytes, sixteen words. The first holds the [`Head`]; then come, twice (one bank is written while the
//! other is in use), the words of a filter and the buckets. An entry lies in one of the two buckets that its key's hash names,
//! each a block of four places. Before a bucket is looked at the filter is asked: an entry has set two bits of one of its words,
//! so the many keys that no rule has cost one load each from a few kilobytes, and not a cache line from megabytes.

use crate::flow::{FlowKey, FlowValue, Shape};

/// Words of a block.
pub const BLOCK: usize = 16;
/// Places of a bucket.
pub const PLACES: usize = 4;
/// Words of a place: interface, port and VLAN; source and group; shape and slot; index of queue 0 and queues. The third says
/// whether there is an entry (a shape is never 0), and is written last.
pub const PLACE: usize = BLOCK / PLACES;
/// Places of a cache line.
pub const PLACES_A_LINE: usize = 64 / (PLACE * size_of::<u64>());
/// Word of a place that says whether there is an entry.
pub const PRESENT: usize = 2;
/// Buckets for each block of a filter: a word for two of them, eight bits for each place.
const BUCKETS_A_FILTER_BLOCK: u32 = 2 * BLOCK as u32;

/// Which bank counts, and how much of it is in use: the first word of the memory, so that a reader has both at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// 0 or 1.
    pub bank: u32,
    /// Buckets in use, a power of two.
    pub buckets: u32,
}

impl Head {
    /// As one word.
    pub const fn to_word(self) -> u64 {
        (self.buckets as u64) << 32 | self.bank as u64
    }

    /// From one word.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self { bank: word as u32 & 1, buckets: (word >> 32) as u32 }
    }
}

/// Where things are in a memory for at most `capacity` buckets a bank (a power of two, at least 32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Buckets of a bank at most.
    pub capacity: u32,
}

impl Layout {
    /// The layout of a memory that has room for so many entries and, packed, three times as many.
    pub fn for_entries(entries: u32) -> Self {
        Self { capacity: entries.clamp(BUCKETS_A_FILTER_BLOCK, 1 << 24).next_power_of_two() }
    }

    /// Blocks of the whole memory.
    pub const fn blocks(self) -> u32 {
        1 + 2 * (self.filter_blocks() + self.capacity)
    }

    #[inline(always)]
    const fn filter_blocks(self) -> u32 {
        self.capacity / BUCKETS_A_FILTER_BLOCK
    }

    /// Block and word in it of a filter's word.
    #[inline(always)]
    pub const fn filter(self, bank: u32, word: u32) -> (u32, usize) {
        (1 + bank * self.filter_blocks() + word / BLOCK as u32, word as usize % BLOCK)
    }

    /// Block of a bucket.
    #[inline(always)]
    pub const fn bucket(self, bank: u32, bucket: u32) -> u32 {
        1 + 2 * self.filter_blocks() + bank * self.capacity + bucket
    }
}

/// What a key's hash says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Word of the filter.
    pub word: u32,
    /// Bits of it.
    pub bits: u64,
    /// The two buckets; may be the same.
    pub buckets: [u32; 2],
}

/// The three words of a key, as they stand in a place (the slot's half of the third is 0).
#[inline(always)]
pub const fn key_words(key: &FlowKey) -> [u64; 3] {
    [
        (key.ifindex as u64) << 32 | (key.port as u64) << 16 | key.vlan.bits() as u64,
        (key.source as u64) << 32 | key.group as u64,
        (key.shape.to_bits() as u64) << 32,
    ]
}

/// The last two words of a place, for this entry.
#[inline(always)]
pub const fn value_words(shape: Shape, value: &FlowValue) -> [u64; 2] {
    [(shape.to_bits() as u64) << 32 | value.slot as u64, (value.xsk_base as u64) << 32 | value.queues as u64]
}

/// What the hash of a key's words says in a table of so many buckets (a power of two, at least two).
///
/// Multiplications that carry into the upper half, and shifts that bring it down (as in MurmurHash3's finaliser).
#[inline(always)]
pub const fn marks(words: &[u64; 3], buckets: u32) -> Marks {
    let mut hash = (words[0] ^ words[2].rotate_left(17)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 32;
    hash = (hash ^ words[1]).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(0x9fb2_1c65_1e98_df25);
    hash ^= hash >> 32;
    let mask = buckets - 1;
    let other = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    Marks {
        word: (other >> 40) as u32 & (mask >> 1),
        bits: 1 << (other >> 34 & 63) | 1 << (other >> 28 & 63),
        buckets: [hash as u32 & mask, (hash >> 32) as u32 & mask],
    }
}

/// A memory of blocks, however it is reached.
pub trait Blocks {
    /// A block.
    type Block: Copy;
    /// Where things are.
    fn layout(&self) -> Layout;
    /// Block `number`, `None` beyond the end.
    fn block(&self, number: u32) -> Option<Self::Block>;
    /// Word `at`, below [`BLOCK`], of a block.
    fn word(block: Self::Block, at: usize) -> u64;
}

/// The value of `key`, if the table that `head` describes has it.
#[inline(always)]
pub fn get<B: Blocks>(memory: &B, head: Head, key: &FlowKey) -> Option<FlowValue> {
    let words = key_words(key);
    let marks = marks(&words, head.buckets);
    let layout = memory.layout();
    let (block, at) = layout.filter(head.bank, marks.word);
    if B::word(memory.block(block)?, at) & marks.bits != marks.bits {
        return None;
    }
    for bucket in marks.buckets {
        let block = memory.block(layout.bucket(head.bank, bucket))?;
        for line in (0..BLOCK).step_by(PLACES_A_LINE * PLACE) {
            // The places of a cache line at once and without a branch: the kernel's verifier follows every one.
            let (mut present, mut socket) = (0, 0);
            for place in (0..PLACES_A_LINE).map(|place| line + place * PLACE) {
                let third = B::word(block, place + PRESENT);
                let other = (B::word(block, place) ^ words[0])
                    | (B::word(block, place + 1) ^ words[1])
                    | (third >> 32 ^ words[2] >> 32);
                // All ones where nothing differs: of a number and its negative one has the top bit, but of 0.
                let equal = ((other | other.wrapping_neg()) >> 63).wrapping_sub(1);
                present |= third & equal;
                socket |= B::word(block, place + 3) & equal;
            }
            if present != 0 {
                return Some(FlowValue {
                    slot: present as u32,
                    xsk_base: (socket >> 32) as u32,
                    queues: socket as u32,
                });
            }
        }
    }
    None
}
