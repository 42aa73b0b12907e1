//! The XDP program: built in, loaded once, attached to each interface with a socket.

use std::{
    collections::BTreeMap,
    fmt, io,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed},
        },
    },
};

use anyhow::Context;
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, PerCpuHashMap, PerCpuValues, XskMap},
    programs::{
        ProgramError, Xdp, XdpMode,
        xdp::{XdpError, XdpLinkId},
    },
};
use mcr_common::{
    counter::Verdict,
    flow::{FlowCount, FlowKey, FlowValue, InterfaceFacts, Shape},
    places::Layout,
    skb::Offsets,
};

use super::{
    descriptors,
    places::{Memory, Places},
    skb,
    unmatched::Recorder,
    words::Words,
    xdp_log,
};

/// Words of a slot's counters, packets and bytes.
const COUNT: usize = size_of::<FlowCount>() / size_of::<u64>();

/// The object that the build script made of mcr-ebpf.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/mcr"));

/// How often a counter that changes all the time is read again.
const READINGS: u32 = 16;

/// Entries of the smallest table.
const LEAST_ENTRIES: u32 = 1024;

/// Name of the program and of its entry function.
const NAME: &str = "mcr";

/// How the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// In the driver, before an skb exists (native XDP).
    Driver,
    /// In the stack, on an skb (generic XDP).
    Skb,
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Driver => "driver",
            Self::Skb => "skb",
        })
    }
}

/// The maps that hold the rules: see [`Flows`](super::flows::Flows), which alone writes them.
pub struct FlowMaps {
    /// `TABLE`.
    pub places: Places,
    /// `GROUP_FLOWS`.
    pub groups_in_use: HashMap<MapData, FlowKey, FlowValue>,
    /// `SHAPES`.
    pub shapes: Array<MapData, Shape>,
    /// `GROUPS`.
    pub groups: Array<MapData, Shape>,
    /// `BANK`.
    pub bank: Array<MapData, u32>,
}

/// The loaded program and the maps that count.
pub struct Program {
    ebpf: Ebpf,
    links: BTreeMap<u32, XdpLinkId>,
    sockets: XskMap<MapData>,
    interfaces: Array<MapData, InterfaceFacts>,
    /// `COUNTS`: packets and bytes of each slot, for one CPU after the other.
    counts: Words,
    slots: u32,
    verdicts: PerCpuHashMap<MapData, u32, [u64; Verdict::COUNT]>,
    fragment_said: Array<MapData, u32>,
    recorder: Arc<Recorder>,
    cpus: usize,
}

impl Program {
    /// Loads the program for at most `rules` rules and counters for `slots`, and lets its log lines join `log`'s.
    pub fn load(slots: u32, rules: u32) -> anyhow::Result<(Self, FlowMaps)> {
        // A port range takes many entries, so even few rules get a good many.
        let layout = Layout::for_entries(rules.max(LEAST_ENTRIES));
        let cpus = aya::util::nr_cpus().map_err(|(file, error)| anyhow::anyhow!("{file}: {error}"))?;
        let counters = u32::try_from(cpus).ok().and_then(|cpus| slots.checked_mul(cpus));
        let counters = counters.with_context(|| {
            format!("{slots} rules on {cpus} CPUs have too many counters; lower `rules` in [limits]")
        })?;
        let load = |offsets: &Offsets| {
            let mut ebpf = EbpfLoader::new()
                .override_global("SLOTS", &slots, true)
                .override_global("OFFSETS", offsets, true)
                .map_max_entries("COUNTS", counters)
                .map_max_entries("FRAGMENT_SAID", slots)
                .map_max_entries("TABLE", layout.blocks())
                .map_max_entries("GROUP_FLOWS", slots.saturating_mul(2))
                .load(OBJECT)
                .map_err(|error| explain("loading the XDP program", error.into()))?;
            let program: &mut Xdp = ebpf.program_mut(NAME).expect("the object has the program").try_into()?;
            program.load().map_err(|error| explain("loading the XDP program", error.into()))?;
            anyhow::Ok(ebpf)
        };
        let mut ebpf = load_with(skb::offsets(), load)?;
        xdp_log::carry_over(&mut ebpf)?;

        let mut take = |name| ebpf.take_map(name).unwrap_or_else(|| panic!("the object has the map {name}"));
        let Map::Array(table) = take("TABLE") else { anyhow::bail!("the object's map TABLE is no array") };
        let maps = FlowMaps {
            places: Places::new(Memory::of_map(table.fd(), layout).context("mapping the table of rules")?),
            groups_in_use: take("GROUP_FLOWS").try_into()?,
            shapes: take("SHAPES").try_into()?,
            groups: take("GROUPS").try_into()?,
            bank: take("BANK").try_into()?,
        };
        let (sockets, verdicts) = (take("XSKS").try_into()?, take("VERDICTS").try_into()?);
        let (interfaces, fragment_said) = (take("INTERFACES").try_into()?, take("FRAGMENT_SAID").try_into()?);
        let recorder = Arc::new(Recorder::new(take("RECORDING").try_into()?, take("UNMATCHED").try_into()?));
        let Map::Array(counts) = take("COUNTS") else { anyhow::bail!("the object's map COUNTS is no array") };
        let counts = Words::of_map(counts.fd(), counters as usize * COUNT).context("mapping the counters")?;
        Ok((
            Self {
                ebpf,
                links: BTreeMap::new(),
                sockets,
                interfaces,
                counts,
                slots,
                verdicts,
                fragment_said,
                recorder,
                cpus,
            },
            maps,
        ))
    }

    /// What records the packets that no rule takes.
    pub fn recorder(&self) -> Arc<Recorder> {
        self.recorder.clone()
    }

    fn xdp(&mut self) -> &mut Xdp {
        let program = self.ebpf.program_mut(NAME).expect("the object has the program");
        program.try_into().expect("it is an XDP program")
    }

    /// The program itself, to run it on packets of one's own (`BPF_PROG_TEST_RUN`).
    pub fn program(&mut self) -> &Xdp {
        self.xdp()
    }

    /// Attaches the program to an interface; its packets are counted from then on.
    pub fn attach(&mut self, ifindex: u32, attachment: Attachment) -> io::Result<()> {
        // Known by another name: its counters must not be touched.
        if self.links.contains_key(&ifindex) {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        let zero = PerCpuValues::try_from(vec![[0; Verdict::COUNT]; self.cpus])?;
        self.verdicts.insert(ifindex, zero, 0).map_err(io::Error::other)?;
        self.link(ifindex, attachment).inspect_err(|_| {
            // It was put there above, and nothing counts in it.
            let _ = self.verdicts.remove(&ifindex);
        })
    }

    /// Attaches the program anew where it is attached; its packets are counted on. For a moment none is steered.
    pub fn attach_again(&mut self, ifindex: u32, attachment: Attachment) -> io::Result<()> {
        self.detach(ifindex)?;
        self.link(ifindex, attachment)
    }

    fn link(&mut self, ifindex: u32, attachment: Attachment) -> io::Result<()> {
        let mode = match attachment {
            Attachment::Driver => XdpMode::Driver,
            Attachment::Skb => XdpMode::Skb,
        };
        let link = self.xdp().attach_to_if_index(ifindex, mode).map_err(attach_error)?;
        self.links.insert(ifindex, link);
        Ok(())
    }

    /// Detaches the program; no packet of the interface is steered from then on. Its counters stay.
    pub fn detach(&mut self, ifindex: u32) -> io::Result<()> {
        match self.links.remove(&ifindex) {
            Some(link) => self.xdp().detach(link).map_err(io::Error::other),
            None => Ok(()),
        }
    }

    /// Takes back the counters of an interface that has the program no more.
    pub fn forget(&mut self, ifindex: u32) -> io::Result<()> {
        self.verdicts.remove(&ifindex).map_err(io::Error::other)
    }

    /// Says what the program needs to know of an interface whose queue 0 has the index `xsk_base` in `XSKS`.
    pub fn set_interface(&mut self, xsk_base: u32, facts: InterfaceFacts) -> io::Result<()> {
        self.interfaces.set(xsk_base, facts, 0).map_err(io::Error::other)
    }

    /// Puts a bound AF_XDP socket under an index of `XSKS`.
    pub fn set_socket(&mut self, index: u32, socket: &impl AsRawFd) -> io::Result<()> {
        self.sockets.set(index, socket.as_raw_fd(), 0).map_err(io::Error::other)
    }

    /// What was steered for a slot, over all CPUs: packets, and the bytes of exactly these.
    pub fn count(&self, slot: u32) -> FlowCount {
        self.counters(slot).fold(FlowCount::default(), |sum, cpu| {
            let FlowCount { packets, bytes } = whole(cpu);
            FlowCount { packets: sum.packets + packets, bytes: sum.bytes + bytes }
        })
    }

    /// Sets a slot's counters to zero. Nothing may be steered for it meanwhile.
    pub fn clear_count(&mut self, slot: u32) -> io::Result<()> {
        self.counters(slot).flatten().for_each(|counter| counter.store(0, Relaxed));
        self.fragment_said.set(slot, 0, 0).map_err(io::Error::other)
    }

    /// A slot's counters, CPU by CPU.
    fn counters(&self, slot: u32) -> impl Iterator<Item = &[AtomicU64; COUNT]> {
        let cpus = self.counts.chunks_exact(self.slots as usize * COUNT);
        cpus.filter_map(move |cpu| cpu.get(slot as usize * COUNT..)?.first_chunk())
    }

    /// Packets of an interface by verdict, over all CPUs.
    pub fn verdicts(&self, ifindex: u32) -> io::Result<[u64; Verdict::COUNT]> {
        let values = self.verdicts.get(&ifindex, 0).map_err(io::Error::other)?;
        let mut sums = [0; Verdict::COUNT];
        for counts in values.iter() {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        Ok(sums)
    }
}

/// Loads the program with these offsets; without them where it cannot be loaded so: reading the kernel's memory is forbidden where the
/// kernel is locked down to `confidentiality` (kernel_lockdown(7)).
fn load_with<T>(offsets: io::Result<Offsets>, load: impl Fn(&Offsets) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let why = match offsets.map(|offsets| load(&offsets)) {
        Ok(Ok(loaded)) => return Ok(loaded),
        Ok(Err(error)) => error,
        Err(error) => error.into(),
    };
    let loaded = load(&Offsets::UNKNOWN)?;
    log::warn!("merged datagrams cannot be told from single datagrams in skb mode: {}", why.root_cause());
    Ok(loaded)
}

/// Packets and bytes of one CPU that belong together. The program counts a packet, and next its bytes: what has not changed over a
/// moment was not caught between the two, unless an interrupt came between them, and that is over soon.
fn whole([packets, bytes]: &[AtomicU64; COUNT]) -> FlowCount {
    let read = || FlowCount { packets: packets.load(Acquire), bytes: bytes.load(Acquire) };
    let mut before = read();
    for _ in 0..READINGS {
        std::hint::spin_loop();
        let now = read();
        if (now.packets, now.bytes) == (before.packets, before.bytes) {
            break;
        }
        before = now;
    }
    before
}

/// The errno at the root of a chain of errors.
fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        next = error.source();
    }
    None
}

/// The kernel's answer alone: aya's error has the verifier's log with it, which may be thousands of lines. What capabilities lack has been
/// looked at before.
fn explain(what: &str, error: anyhow::Error) -> anyhow::Error {
    let Some(code) = error.chain().find_map(errno) else { return error.context(what.to_owned()) };
    log::debug!("{what}: {error:#}");
    if let Some(why) = descriptors::explain(&io::Error::from_raw_os_error(code)) {
        return anyhow::anyhow!("{what}: {why}");
    }
    let hint = match code {
        libc::EPERM => {
            "; the kernel asks for capabilities outside of any user namespace, and a lockdown, a seccomp filter or another security module may forbid it too"
        }
        _ => "; with RUST_LOG=debug the kernel's own account of it is in the log",
    };
    anyhow::anyhow!("{what}: {}{hint}", io::Error::from_raw_os_error(code))
}

/// An attachment's error with its errno, however aya wraps it.
fn attach_error(error: ProgramError) -> io::Error {
    match error {
        ProgramError::SyscallError(error) => error.io_error,
        ProgramError::XdpError(XdpError::NetlinkError(error)) => match errno(&error) {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::other(error),
        },
        error => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_program_that_may_not_read_the_kernel_is_loaded_all_the_same() {
        let known = Offsets { shared_info: 320, ..Offsets::UNKNOWN };
        let tried = RefCell::new(Vec::new());
        let load = |refused: &[Offsets], found: io::Result<Offsets>| {
            tried.borrow_mut().clear();
            load_with(found, |offsets| {
                tried.borrow_mut().push(*offsets);
                anyhow::ensure!(!refused.contains(offsets), "refused");
                Ok(*offsets)
            })
        };
        assert_eq!(load(&[], Ok(known)).expect("loaded"), known);
        assert_eq!(*tried.borrow(), [known]);
        assert_eq!(load(&[known], Ok(known)).expect("loaded"), Offsets::UNKNOWN);
        assert_eq!(load(&[], Err(io::ErrorKind::NotFound.into())).expect("loaded"), Offsets::UNKNOWN);
        assert_eq!(*tried.borrow(), [Offsets::UNKNOWN]);
        assert!(load(&[known, Offsets::UNKNOWN], Ok(known)).is_err());
    }
}
