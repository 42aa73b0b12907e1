//! A worker's UMEMs: interfaces in zero-copy mode share one, those in copy mode another, for the kernel lets no UMEM be both.

use std::sync::Arc;

use super::desk::Flight;
use crate::xsk::{
    frame::{Frame, Pool},
    umem::Memory,
};

/// A UMEM, and what a worker keeps about its frames.
pub struct Store {
    /// The UMEM.
    pub memory: Arc<Memory>,
    /// Those of its frames that are in no ring and in nobody's hands.
    pub pool: Pool,
    /// What those that are on their way out are, by frame number.
    pub flights: Box<[Flight]>,
}

/// All of them, each by its number ([`Memory::number`]).
#[derive(Default)]
pub struct Stores(Vec<Store>);

impl Stores {
    /// Takes in a UMEM, all of whose frames are in `pool`: of the next number, or in the place of one that no socket uses any more.
    pub fn add(&mut self, memory: Arc<Memory>, pool: Pool) {
        let number = usize::from(memory.number());
        let flights = vec![Flight::default(); memory.frames() as usize].into();
        let store = Store { memory, pool, flights };
        match self.0.get_mut(number) {
            Some(old) => {
                debug_assert_eq!(old.pool.len(), old.memory.frames() as usize);
                *old = store;
            }
            None => self.0.push(store),
        }
    }

    /// That of this number, which a frame or a socket of it has told.
    #[inline]
    pub fn of(&mut self, number: u8) -> &mut Store {
        &mut self.0[usize::from(number)]
    }

    /// The UMEM of a frame.
    #[inline]
    pub fn memory(&self, frame: &Frame) -> &Memory {
        &self.0[usize::from(frame.memory())].memory
    }

    /// Puts a frame back.
    #[inline]
    pub fn put(&mut self, frame: Frame) {
        self.of(frame.memory()).pool.put(frame);
    }

    /// A frame of this UMEM with the same packet as `frame`, which may be of another; `None` where all are in use.
    #[inline]
    pub fn copy(&mut self, frame: &mut Frame, number: u8) -> Option<Frame> {
        let mut copy = self.of(number).pool.take()?;
        copy.copy_from(&self.0[usize::from(number)].memory, frame.bytes(self.memory(frame)));
        Some(copy)
    }

    /// Each, by its number.
    pub fn iter(&self) -> impl Iterator<Item = &Store> {
        self.0.iter()
    }

    /// Frames in all pools.
    #[inline]
    pub fn free(&self) -> u64 {
        self.0.iter().map(|store| store.pool.len() as u64).sum()
    }

    /// Frames in all.
    pub fn frames(&self) -> u64 {
        self.0.iter().map(|store| u64::from(store.memory.frames())).sum()
    }
}
