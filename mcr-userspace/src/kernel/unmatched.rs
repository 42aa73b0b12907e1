//! The program's record of what no rule takes: switched on while somebody asks, and read by each that does.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aya::maps::{Array, MapData, MapError, PerCpuHashMap};
use mcr_common::unmatched::{MAX_UNMATCHED, UnmatchedKey};

/// Packets of each flow.
pub type Flows = HashMap<UnmatchedKey, u64>;

/// The maps of the record. Who reads it holds no other lock.
pub struct Recorder(Mutex<Maps>);

struct Maps {
    /// `RECORDING`.
    recording: Array<MapData, u32>,
    /// `UNMATCHED`.
    flows: PerCpuHashMap<MapData, UnmatchedKey, u64>,
    askers: u32,
}

/// The program records for as long as one of these lives.
pub struct Recording {
    recorder: Arc<Recorder>,
    /// What others had it record before.
    before: Flows,
}

impl Recorder {
    /// Of a program that does not record yet.
    pub fn new(recording: Array<MapData, u32>, flows: PerCpuHashMap<MapData, UnmatchedKey, u64>) -> Self {
        Self(Mutex::new(Maps { recording, flows, askers: 0 }))
    }

    /// Lets the program record from now on.
    ///
    /// # Errors
    /// The kernel refuses to write or to read a map.
    pub fn begin(self: &Arc<Self>) -> io::Result<Recording> {
        let mut maps = self.maps();
        if maps.askers == 0 {
            for key in maps.read()?.keys() {
                match maps.flows.remove(key) {
                    Ok(()) | Err(MapError::KeyNotFound) => {}
                    Err(error) => return Err(io::Error::other(error)),
                }
            }
            maps.recording.set(0, 1, 0).map_err(io::Error::other)?;
            log::debug!("what no rule matches is recorded from now on");
        }
        maps.askers += 1;
        let before = maps.read();
        drop(maps);
        // From here on the record is ended by its drop, whatever was read.
        let mut recording = Recording { recorder: self.clone(), before: Flows::new() };
        recording.before = before?;
        Ok(recording)
    }

    fn maps(&self) -> MutexGuard<'_, Maps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Maps {
    /// Every flow. The kernel may move on to the first key again where it has just dropped one: the walk has an end all the same.
    fn read(&self) -> io::Result<Flows> {
        let mut flows = Flows::new();
        for key in self.flows.keys().take(4 * MAX_UNMATCHED as usize) {
            let key = key.map_err(io::Error::other)?;
            match self.flows.get(&key, 0) {
                Ok(packets) => drop(flows.insert(key, packets.iter().sum())),
                // Forgotten meanwhile, for another flow.
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(flows)
    }
}

impl Recording {
    /// What has come since it began.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn flows(&self) -> io::Result<Flows> {
        let mut flows = self.recorder.maps().read()?;
        for (key, packets) in &mut flows {
            // Less than before: it was forgotten, and has come anew.
            let before = self.before.get(key).copied().unwrap_or(0);
            *packets = packets.checked_sub(before).unwrap_or(*packets);
        }
        flows.retain(|_, packets| *packets > 0);
        Ok(flows)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let mut maps = self.recorder.maps();
        maps.askers -= 1;
        if maps.askers == 0 {
            match maps.recording.set(0, 0, 0) {
                Ok(()) => log::debug!("what no rule matches is recorded no more"),
                Err(error) => log::error!("the XDP program goes on recording what no rule matches: {error}"),
            }
        }
    }
}
