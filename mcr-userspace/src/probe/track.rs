//! One stream's sequence numbers: what came, what is missing, what came twice, what came late. Exact.
//!
//! A bit for each sequence number, in chunks that are allocated when touched and freed when complete: a
//! stream without loss holds one or two chunks however long it lasts, one with loss everywhere holds a bit
//! for each packet (1.1 MB for 9,000,000).

use super::payload::SEQ_END;

/// Sequence numbers of one chunk.
const CHUNK: u64 = 1 << 16;
/// How far past the highest number seen one may jump: over a minute of silence at 1,000,000 a second. A
/// number beyond is damage or forgery and must not be believed, as it would count everything below as lost.
pub const MAX_JUMP: u64 = 1 << 26;

/// What one sequence number was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// First time, and above all before it.
    New,
    /// First time, after a higher one.
    Late,
    /// Seen before.
    Again,
    /// Not believed: too far ahead, or more holes than the tracker may remember. Not counted in anything.
    Refused,
}

enum Chunk {
    Untouched,
    Partial { seen: u32, bits: Box<[u64; (CHUNK / 64) as usize]> },
    Complete,
}

/// Counts of one stream.
pub struct Tracker {
    chunks: Vec<Chunk>,
    /// Chunks that own a bitmap now, and how many may.
    partial: usize,
    max_partial: usize,
    /// One above the highest number seen; 0 before the first.
    end: u64,
    unique: u64,
    duplicated: u64,
    reordered: u64,
}

impl Tracker {
    /// Bytes of one chunk's bitmap.
    pub const CHUNK_BYTES: usize = (CHUNK / 8) as usize;

    /// An empty tracker that holds at most `max_partial` bitmaps of [`Self::CHUNK_BYTES`].
    pub fn new(max_partial: usize) -> Self {
        Self { chunks: Vec::new(), partial: 0, max_partial, end: 0, unique: 0, duplicated: 0, reordered: 0 }
    }

    /// Takes one received sequence number.
    pub fn observe(&mut self, seq: u64) -> Seen {
        if seq >= SEQ_END || seq >= self.end + MAX_JUMP {
            return Seen::Refused;
        }
        let index = (seq / CHUNK) as usize;
        if index >= self.chunks.len() {
            self.chunks.resize_with(index + 1, || Chunk::Untouched);
        }
        let chunk = &mut self.chunks[index];
        if let Chunk::Untouched = chunk {
            if self.partial == self.max_partial {
                return Seen::Refused;
            }
            self.partial += 1;
            *chunk = Chunk::Partial { seen: 0, bits: Box::new([0; _]) };
        }
        let Chunk::Partial { seen, bits } = chunk else {
            self.duplicated += 1;
            return Seen::Again;
        };
        let (word, bit) = ((seq % CHUNK / 64) as usize, 1 << (seq % 64));
        if bits[word] & bit != 0 {
            self.duplicated += 1;
            return Seen::Again;
        }
        bits[word] |= bit;
        *seen += 1;
        if u64::from(*seen) == CHUNK {
            *chunk = Chunk::Complete;
            self.partial -= 1;
        }
        self.unique += 1;
        if seq < self.end {
            self.reordered += 1;
            return Seen::Late;
        }
        self.end = seq + 1;
        Seen::New
    }

    /// Different sequence numbers received.
    pub fn unique(&self) -> u64 {
        self.unique
    }

    /// Packets whose number had come before.
    pub fn duplicated(&self) -> u64 {
        self.duplicated
    }

    /// Packets that came for the first time after a higher number.
    pub fn reordered(&self) -> u64 {
        self.reordered
    }

    /// One above the highest number seen.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Numbers from 0 to the highest seen that never came.
    pub fn holes(&self) -> u64 {
        self.end - self.unique
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(t: &Tracker) -> (u64, u64, u64, u64) {
        (t.unique(), t.holes(), t.duplicated(), t.reordered())
    }

    #[test]
    fn loss_duplicates_and_reordering_are_told_apart() {
        let mut t = Tracker::new(16);
        let seen = [0, 1, 4, 3, 3, 1, 6, 4].map(|seq| t.observe(seq));
        use Seen::*;
        assert_eq!(seen, [New, New, New, Late, Again, Again, New, Again]);
        // 2 and 5 never came
        assert_eq!(counts(&t), (5, 2, 3, 1));
    }

    #[test]
    fn what_is_missing_at_the_start_is_lost() {
        let mut t = Tracker::new(16);
        t.observe(1000);
        assert_eq!(counts(&t), (1, 1000, 0, 0));
    }

    #[test]
    fn nine_million_in_order_are_exact_and_hold_one_bitmap() {
        let mut t = Tracker::new(2);
        for seq in 0..9_000_000 {
            assert_eq!(t.observe(seq), Seen::New);
        }
        assert_eq!(t.partial, 1);
        assert_eq!(t.observe(5), Seen::Again); // in a chunk whose bitmap is gone
        assert_eq!(counts(&t), (9_000_000, 0, 1, 0));
    }

    #[test]
    fn a_shuffle_with_known_faults_gives_exactly_those() {
        // 7919 is coprime to 300,000, so this visits every number once
        let n = 300_000u64;
        let mut t = Tracker::new(16);
        let (mut lost, mut twice) = (0, 0);
        for i in 0..n {
            let seq = i * 7919 % n;
            if seq % 1000 == 77 {
                lost += 1;
                continue;
            }
            t.observe(seq);
            if seq % 500 == 3 {
                t.observe(seq);
                twice += 1;
            }
        }
        assert_eq!((t.unique(), t.holes(), t.duplicated()), (n - lost, lost, twice));
        assert!(t.reordered() > 0);
    }

    #[test]
    fn hostile_numbers_neither_count_nor_allocate() {
        let mut t = Tracker::new(8);
        t.observe(0);
        for seq in [MAX_JUMP + 1, SEQ_END - 1, SEQ_END, u64::MAX] {
            assert_eq!(t.observe(seq), Seen::Refused);
        }
        assert_eq!((counts(&t), t.chunks.len()), ((1, 0, 0, 0), 1));
        // believable jumps, each into a fresh chunk, until the bitmaps are used up
        let refused = (1..1000u64).filter(|i| t.observe(i * CHUNK * 10) == Seen::Refused).count();
        assert_eq!((t.partial, refused), (8, 999 - 7));
    }

    #[test]
    fn refused_for_lack_of_bitmaps_does_not_grow_the_index_without_bound() {
        let mut t = Tracker::new(1);
        t.observe(0);
        for _ in 0..100_000 {
            assert_eq!(t.observe(MAX_JUMP), Seen::Refused);
        }
        assert!(t.chunks.len() as u64 <= MAX_JUMP / CHUNK + 1);
    }
}
