//! Writes the table of entries that the XDP program and the workers read: see [`mcr_common::places`].

use std::{
    io,
    os::fd::AsFd,
    sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::Release},
};

use mcr_common::{
    flow::{FlowKey, FlowValue},
    places::{self, BLOCK, Blocks, Head, Layout, PLACE, PLACES, PRESENT, key_words, marks, value_words},
};

use super::words::Words;

/// Buckets of the smallest table.
const LEAST: u32 = 32;
/// Entries for each bucket at most: half of the places. So both buckets of a key are hardly ever full, the first cache line of one
/// mostly serves, and all of it stays small.
const ENTRIES_A_BUCKET: u32 = PLACES as u32 / 2;

/// The blocks of a table.
#[derive(Debug)]
pub struct Memory {
    words: Words,
    layout: Layout,
}

impl Memory {
    /// Memory of our own for so many buckets a bank, all of them in use.
    fn owned(buckets: u32) -> Self {
        let layout = Layout { capacity: buckets };
        Self::start(Words::owned(layout.blocks() as usize * BLOCK), layout, buckets)
    }

    /// The memory of a map of blocks, an array with `BPF_F_MMAPABLE`; the table begins small.
    pub fn of_map(map: &impl AsFd, layout: Layout) -> io::Result<Self> {
        Ok(Self::start(Words::of_map(map, layout.blocks() as usize * BLOCK)?, layout, LEAST.min(layout.capacity)))
    }

    fn start(words: Words, layout: Layout, buckets: u32) -> Self {
        let memory = Self { words, layout };
        memory.at(0, 1).store(u64::from(layout.capacity), Relaxed);
        memory.at(0, 0).store(Head { bank: 0, buckets }.to_word(), Release);
        memory
    }

    fn at(&self, block: u32, word: usize) -> &AtomicU64 {
        &self.words[block as usize * BLOCK + word]
    }

    fn head(&self) -> Head {
        Head::from_word(self.at(0, 0).load(Relaxed))
    }
}

impl<'a> Blocks for &'a Memory {
    type Block = &'a [AtomicU64; BLOCK];

    fn layout(&self) -> Layout {
        self.layout
    }

    #[inline]
    fn block(&self, number: u32) -> Option<Self::Block> {
        self.words.get(number as usize * BLOCK..)?.first_chunk()
    }

    #[inline]
    fn word(block: Self::Block, at: usize) -> u64 {
        block[at].load(Relaxed)
    }
}

/// Places of a cache line.
const PLACES_A_LINE: u32 = places::PLACES_A_LINE as u32;

/// No place is left for an entry in either of its buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded;

/// The table and who has which place. The one writer of its memory.
#[derive(Debug)]
pub struct Places {
    memory: Memory,
    /// For each bucket in use, a bit for each place that has an entry or had one that readers may still look at.
    taken: Vec<u8>,
    /// Places whose entries are gone, until no reader can be looking at them.
    graves: Vec<(u32, usize)>,
    entries: u32,
    /// Entries gone since the filter was written: their bits are still set.
    stale: u32,
}

impl Default for Places {
    /// An empty table in memory of our own.
    fn default() -> Self {
        Self::new(Memory::owned(LEAST))
    }
}

impl Places {
    /// An empty table in a memory that is all zero.
    pub fn new(memory: Memory) -> Self {
        let buckets = memory.head().buckets as usize;
        Self { memory, taken: vec![0; buckets], graves: Vec::new(), entries: 0, stale: 0 }
    }

    /// A table of `count` entries in memory of our own, with room for so many.
    pub fn of<'a>(count: usize, entries: impl Iterator<Item = (&'a FlowKey, FlowValue)> + Clone) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let mut buckets = count.div_ceil(ENTRIES_A_BUCKET).clamp(LEAST, 1 << 24).next_power_of_two();
        loop {
            if let Ok(places) = Self::filled(buckets, entries.clone()) {
                return places;
            }
            // More than eight entries for two buckets: very rare, and in more buckets other ones.
            buckets *= 2;
        }
    }

    fn filled<'a>(buckets: u32, entries: impl Iterator<Item = (&'a FlowKey, FlowValue)>) -> Result<Self, Crowded> {
        let mut places = Self::new(Memory::owned(buckets));
        for (key, value) in entries {
            places.set(key, &value)?;
        }
        Ok(places)
    }

    /// The value of a key.
    #[inline]
    pub fn get(&self, key: &FlowKey) -> Option<FlowValue> {
        places::get(&&self.memory, self.memory.head(), key)
    }

    /// Whether `more` further entries want a larger table.
    pub fn is_small_for(&self, more: usize) -> bool {
        self.entries as usize + more > (self.memory.head().buckets * ENTRIES_A_BUCKET) as usize
    }

    /// Whether [`rebuild`](Self::rebuild) can make it larger.
    pub fn can_grow(&self) -> bool {
        self.memory.head().buckets < self.memory.layout.capacity
    }

    /// Whether the filter lets so many keys through in vain that the table is better written anew.
    pub fn is_stale(&self) -> bool {
        self.stale > self.memory.head().buckets
    }

    /// Gives `key` this value. A reader finds the old one or the new one.
    pub fn set(&mut self, key: &FlowKey, value: &FlowValue) -> Result<(), Crowded> {
        let (head, layout) = (self.memory.head(), self.memory.layout);
        let [present, socket] = value_words(key.shape, value);
        if let Some((block, at)) = self.find(key) {
            // The same interface, so the same socket: only the slot changes.
            self.memory.at(block, at + 3).store(socket, Relaxed);
            self.memory.at(block, at + PRESENT).store(present, Release);
            return Ok(());
        }
        let words = key_words(key);
        let marks = marks(&words, head.buckets);
        let [first, other] = marks.buckets;
        let load = |bucket: u32| self.taken[bucket as usize].count_ones();
        // The first bucket's first cache line is looked at first, so it is filled first.
        let bucket = if load(first) >= PLACES_A_LINE && load(other) < load(first) { other } else { first };
        let place = self.taken[bucket as usize].trailing_ones() as usize;
        if place >= PLACES {
            return Err(Crowded);
        }
        self.taken[bucket as usize] |= 1 << place;
        let (block, at) = (layout.bucket(head.bank, bucket), place * PLACE);
        for (word, value) in [(at, words[0]), (at + 1, words[1]), (at + 3, socket)] {
            self.memory.at(block, word).store(value, Relaxed);
        }
        // Last: a reader that sees it sees the rest.
        self.memory.at(block, at + PRESENT).store(present, Release);
        let (block, at) = layout.filter(head.bank, marks.word);
        self.memory.at(block, at).fetch_or(marks.bits, Release);
        self.entries += 1;
        Ok(())
    }

    /// Takes the entry of `key` out; its place stays empty until [`bury`](Self::bury).
    pub fn delete(&mut self, key: &FlowKey) {
        let (head, layout) = (self.memory.head(), self.memory.layout);
        if let Some((block, at)) = self.find(key) {
            self.memory.at(block, at + PRESENT).store(0, Release);
            self.graves.push((block - layout.bucket(head.bank, 0), at / PLACE));
            self.entries -= 1;
            self.stale += 1;
        }
    }

    /// Whether places wait for [`bury`](Self::bury).
    pub fn has_graves(&self) -> bool {
        !self.graves.is_empty()
    }

    /// No reader that runs now has begun before the last [`delete`](Self::delete): the places of what is gone are free.
    pub fn bury(&mut self) {
        for (bucket, place) in self.graves.drain(..) {
            self.taken[bucket as usize] &= !(1 << place);
        }
    }

    /// Writes a table of these entries, with room for `count`, into the bank that is not in use, which no reader may be looking at,
    /// and makes it the one in use.
    pub fn rebuild<'a>(
        &mut self,
        count: usize,
        entries: impl Iterator<Item = (&'a FlowKey, FlowValue)> + Clone,
    ) -> Result<(), Crowded> {
        let (layout, bank) = (self.memory.layout, self.memory.head().bank ^ 1);
        let mut next = Self::of(count, entries.clone());
        if next.memory.layout.capacity > layout.capacity {
            next = Self::filled(layout.capacity, entries)?;
        }
        let (small, buckets) = (next.memory.layout, next.memory.head().buckets);
        let copy = |from: u32, to: u32| {
            for word in 0..BLOCK {
                self.memory.at(to, word).store(next.memory.at(from, word).load(Relaxed), Relaxed);
            }
        };
        for word in (0..buckets / 2).step_by(BLOCK) {
            copy(small.filter(0, word).0, layout.filter(bank, word).0);
        }
        for bucket in 0..buckets {
            copy(small.bucket(0, bucket), layout.bucket(bank, bucket));
        }
        self.memory.at(0, 0).store(Head { bank, buckets }.to_word(), Release);
        (self.taken, self.entries, self.stale) = (next.taken, next.entries, 0);
        self.graves.clear();
        Ok(())
    }

    /// Block and word of the place that `key` has.
    fn find(&self, key: &FlowKey) -> Option<(u32, usize)> {
        let (head, layout) = (self.memory.head(), self.memory.layout);
        let words = key_words(key);
        let is_it = |block: u32, at: usize| {
            let word = |word: usize| self.memory.at(block, at + word).load(Relaxed);
            word(PRESENT) >> 32 == words[2] >> 32 && word(0) == words[0] && word(1) == words[1]
        };
        marks(&words, head.buckets).buckets.into_iter().find_map(|bucket| {
            let block = layout.bucket(head.bank, bucket);
            (0..PLACES).map(|place| place * PLACE).find(|&at| is_it(block, at)).map(|at| (block, at))
        })
    }
}

#[cfg(test)]
mod tests;
