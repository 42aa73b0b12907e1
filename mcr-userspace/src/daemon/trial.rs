//! Whether zero-copy works, as the driver shows: it takes frames out of the fill ring, or it does not.
//!
//! A driver may grant zero-copy and never look into the fill ring: igb wakes only its sending side up to Linux 6.18
//! (`igb_xsk_wakeup()`), and where receiving has an interrupt of its own nothing is ever received (docs/kernel.md).

use std::{
    io, thread,
    time::{Duration, Instant},
};

use super::fit::frame_size;
use crate::{
    kernel::{
        ethtool::Ethtool,
        ifreq::has_link,
        netdev::{is_paired, xdp_features},
        nic::Nic,
    },
    xsk::{
        frame::Pool,
        port::{Bind, Port, Quota},
        umem::{FILL_RING, Memory},
    },
};

/// How long a driver may leave the fill ring alone, once the link is there.
const PATIENCE: Duration = Duration::from_secs(1);
/// And so many looks: a machine that had no time for anything has had none for the driver.
const LOOKS: u32 = 3;
/// How long a link is waited for that has gone because the program was attached.
const LINK_PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks that are waited for.
const PAUSE: Duration = Duration::from_millis(20);

/// What a look at the fill ring has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is too early to say.
    Open,
    /// The driver takes frames.
    Works,
    /// It takes none.
    Fails,
}

/// A socket that is watched until it is known whether the driver takes its frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trial {
    /// Since when there is a link, and how often that was looked at.
    since: Option<(Instant, u32)>,
}

impl Trial {
    /// Judges one look. Without a link no driver is to blame.
    pub fn look(&mut self, now: Instant, has_link: bool, takes_frames: bool) -> Verdict {
        if takes_frames {
            return Verdict::Works;
        }
        if !has_link {
            self.since = None;
            return Verdict::Open;
        }
        let (since, looks) = self.since.get_or_insert((now, 0));
        *looks += 1;
        if now - *since >= PATIENCE && *looks >= LOOKS { Verdict::Fails } else { Verdict::Open }
    }
}

/// What most rings hold by default.
const LEAST_FRAMES: u32 = 2048;
/// Frames for a question that will be refused.
const FEW_FRAMES: u32 = 64;
/// How long a driver that was bound with no frame may take to look for one: only then its answer to frames is seen.
const HUNGER: Duration = Duration::from_millis(200);

/// A socket on queue 0, made for the question on a UMEM of its own: one that has seen a refusal can be bound no more.
///
/// The kernel does not say at once that frames have left the fill ring. But a driver that found it empty asks to be woken, and asks no
/// more once it has what it needs; and one that looks into it again is counted, where it finds too little.
#[derive(Debug)]
pub struct Probe {
    port: Port,
    pool: Pool,
    _memory: Memory,
    name: String,
    began: Instant,
    /// How long a link is waited for.
    patience: Duration,
    /// How often the fill ring had been found empty when it was bound.
    empty: u64,
    was_hungry: bool,
    is_filled: bool,
    trial: Trial,
}

impl Probe {
    /// Binds it, with frames as they will be used; `None` where the kernel grants a copy instead. `had_link`: a link that has gone is
    /// waited for.
    pub fn new(nic: &Nic, had_link: bool) -> anyhow::Result<Option<Self>> {
        // A driver without zero-copy needs no frames to say so; another one is to be satisfied.
        let has_none = xdp_features(nic.ifindex).is_ok_and(|features| !features.zero_copy);
        let ring = Ethtool::new(&nic.name).and_then(|ethtool| ethtool.rings()).map_or(0, |rings| rings.rx);
        let frames = if has_none { FEW_FRAMES } else { (2 * ring).clamp(LEAST_FRAMES, FILL_RING) };
        let (memory, pool) = Memory::new(0, frames, frame_size(nic, true))?;
        let port = Port::open(&memory, &nic.name, 0, Bind::ZeroCopy, Quota { fill: 0, send: 0 })?;
        if !port.is_zero_copy() {
            return Ok(None);
        }
        Ok(Some(Self {
            empty: port.found_empty()?,
            port,
            pool,
            _memory: memory,
            name: nic.name.clone(),
            began: Instant::now(),
            patience: if had_link { LINK_PATIENCE } else { Duration::ZERO },
            was_hungry: false,
            is_filled: false,
            trial: Trial::default(),
        }))
    }

    /// Gives the driver frames, and looks what it makes of them; `None` while it is too early to say. One that stays open has no link.
    pub fn look(&mut self, now: Instant) -> io::Result<Option<Verdict>> {
        let has_link = has_link(&self.name);
        self.was_hungry |= self.port.is_hungry();
        if self.was_hungry || now - self.began >= HUNGER {
            self.is_filled = true;
            // Wakes a driver that waits for it, too.
            self.port.refill(&mut self.pool, FILL_RING);
        }
        let is_satisfied = self.was_hungry && !self.port.is_hungry();
        let takes_frames =
            self.is_filled && (is_satisfied || self.port.has_fed() || self.port.found_empty()? > self.empty);
        let verdict = self.trial.look(now, has_link, takes_frames);
        let is_over = verdict != Verdict::Open || (!has_link && now - self.began >= self.patience);
        Ok(is_over.then_some(verdict))
    }

    /// Looks until there is a verdict.
    pub fn wait(mut self) -> io::Result<Verdict> {
        loop {
            if let Some(verdict) = self.look(Instant::now())? {
                return Ok(verdict);
            }
            thread::sleep(PAUSE);
        }
    }
}

/// Why zero-copy does not work on an interface whose driver takes no frames; with what lifts it, where that is known.
pub fn why(nic: &Nic) -> String {
    explain(nic, is_paired(nic.ifindex, 0))
}

fn explain(nic: &Nic, is_paired: Option<bool>) -> String {
    let Nic { name, max_queues, .. } = nic;
    let fact = format!("{} takes no frame to receive into, so nothing would arrive", nic.driver_word());
    if is_paired != Some(false) {
        return fact;
    }
    let cause = format!("{fact}: receiving and sending have interrupts of their own, and it wakes only the latter");
    match *max_queues > nic.rx_queues {
        true => format!("{cause}; `ethtool -L {name} combined {max_queues}` pairs them"),
        false => cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_with_a_link_and_without_a_frame_taken() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut trial = Trial::default();
        assert_eq!(trial.look(at(0), true, false), Verdict::Open);
        assert_eq!(trial.look(at(500), true, false), Verdict::Open);
        assert_eq!(trial.look(at(1000), true, false), Verdict::Fails);

        let mut late = Trial::default();
        assert_eq!(late.look(at(0), true, false), Verdict::Open);
        assert_eq!(late.look(at(900), true, true), Verdict::Works);
    }

    #[test]
    fn no_link_is_no_fault_and_a_starved_machine_neither() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut trial = Trial::default();
        assert_eq!(trial.look(at(0), true, false), Verdict::Open);
        assert_eq!(trial.look(at(60), false, false), Verdict::Open);
        assert_eq!(trial.look(at(61), true, false), Verdict::Open);
        assert_eq!(trial.look(at(90), true, false), Verdict::Open, "two looks are too few");
        assert_eq!(trial.look(at(91), true, false), Verdict::Fails);
    }

    #[test]
    fn the_remedy_is_said_where_it_is_one() {
        let nic = |rx_queues| Nic {
            name: "eth7".into(),
            driver: "made_up".into(),
            rx_queues,
            max_queues: 8,
            ..Nic::default()
        };
        assert!(explain(&nic(2), Some(false)).ends_with("; `ethtool -L eth7 combined 8` pairs them"));
        for (queues, is_paired) in [(8, Some(false)), (2, Some(true)), (2, None)] {
            let why = explain(&nic(queues), is_paired);
            assert!(why.starts_with("made_up takes no frame") && !why.contains("ethtool"), "{why}");
        }
    }
}
