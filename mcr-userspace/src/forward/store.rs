//! A worker's UMEMs, each shared by a few interfaces: in zero-copy mode or in copy mode, for the kernel lets no UMEM be both.

use std::sync::Arc;

use mcr_common::counter::OutputDrop;

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
pub struct Stores(Vec<Option<Store>>);

impl Stores {
    /// Takes in a UMEM, all of whose frames are in `pool`. Its number is free.
    pub fn add(&mut self, memory: Arc<Memory>, pool: Pool) {
        let number = usize::from(memory.number());
        let flights = vec![Flight::default(); memory.frames() as usize].into();
        if self.0.len() <= number {
            self.0.resize_with(number + 1, || None);
        }
        self.0[number] = Some(Store { memory, pool, flights });
    }

    /// Gives up a UMEM that no socket uses any more: all of its frames are in the pool.
    pub fn forget(&mut self, number: usize) {
        let Some(store) = self.0.get_mut(number).and_then(Option::take) else { return };
        let (found, total) = (store.pool.len(), store.memory.frames());
        if found != total as usize {
            log::error!("UMEM {number}: {found} of {total} frames are accounted for; please report this");
        }
    }

    /// That of this number, which a frame or a socket of it has told: it is there as long as they are.
    #[inline]
    pub fn of(&mut self, number: u8) -> &mut Store {
        self.0[usize::from(number)].as_mut().expect("a UMEM outlives its frames and sockets")
    }

    #[inline]
    fn get(&self, number: u8) -> &Store {
        self.0[usize::from(number)].as_ref().expect("a UMEM outlives its frames and sockets")
    }

    /// The UMEM of a frame.
    #[inline]
    pub fn memory(&self, frame: &Frame) -> &Memory {
        &self.get(frame.memory()).memory
    }

    /// The UMEM of this number.
    #[inline]
    pub fn numbered(&self, number: u8) -> &Memory {
        &self.get(number).memory
    }

    /// Puts a frame back.
    #[inline]
    pub fn put(&mut self, frame: Frame) {
        self.of(frame.memory()).pool.put(frame);
    }

    /// A frame of this UMEM with the same packet as `frame`, which may be of another.
    ///
    /// # Errors
    /// [`OutputDrop::TooBig`] where that UMEM's frames are too small for the packet as it came: an MTU allows for one tag, and it may
    /// have two. [`OutputDrop::NoFrame`] where all frames are in use.
    #[inline]
    pub fn copy(&mut self, frame: &mut Frame, number: u8) -> Result<Frame, OutputDrop> {
        let store = self.of(number);
        if frame.len() > store.memory.capacity() {
            return Err(OutputDrop::TooBig);
        }
        let mut copy = store.pool.take().ok_or(OutputDrop::NoFrame)?;
        copy.copy_from(&self.get(number).memory, frame.bytes(self.memory(frame)));
        Ok(copy)
    }

    /// Each, by its number.
    pub fn iter(&self) -> impl Iterator<Item = &Store> {
        self.0.iter().flatten()
    }

    /// Frames in all pools.
    #[inline]
    pub fn free(&self) -> u64 {
        self.iter().map(|store| store.pool.len() as u64).sum()
    }

    /// Frames in all.
    pub fn frames(&self) -> u64 {
        self.iter().map(|store| u64::from(store.memory.frames())).sum()
    }
}
