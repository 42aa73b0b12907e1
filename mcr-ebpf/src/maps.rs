//! The maps that the daemon fills and reads. Sizes that depend on the configuration are set when it loads the program.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, XskMap},
};
use mcr_common::{
    counter::Verdict,
    flow::{FlowCount, FlowKey, FlowValue, Shape},
    limits::{DEFAULT_RULES, GROUP_SHAPES, MAX_INTERFACES, MAX_SOCKETS, SHAPE_BANKS, TABLE_SHAPES},
    lookup::FlowTable,
};

/// linux/bpf.h: entries are allocated as they are inserted.
const BPF_F_NO_PREALLOC: u32 = 1;

/// Which rule takes what.
#[map]
static FLOWS: HashMap<FlowKey, FlowValue> = HashMap::with_max_entries(DEFAULT_RULES * 4, BPF_F_NO_PREALLOC);

/// The shapes in use, in the order in which they are tried, twice.
#[map]
static SHAPES: Array<Shape> = Array::with_max_entries(TABLE_SHAPES * SHAPE_BANKS, 0);

/// The group prefix lengths in use, twice.
#[map]
static GROUPS: Array<Shape> = Array::with_max_entries(GROUP_SHAPES * SHAPE_BANKS, 0);

/// Which bank of `SHAPES` and `GROUPS` counts: 0 or 1.
#[map]
static BANK: Array<u32> = Array::with_max_entries(1, 0);

/// Packets and bytes steered, for each rule's slot.
#[map]
pub static COUNTS: PerCpuArray<FlowCount> = PerCpuArray::with_max_entries(DEFAULT_RULES, 0);

/// Packets by verdict, for each interface.
#[map]
pub static VERDICTS: PerCpuHashMap<u32, [u64; Verdict::COUNT]> = PerCpuHashMap::with_max_entries(MAX_INTERFACES, 0);

/// Slots whose fragments have been spoken of.
#[map]
pub static FRAGMENT_SAID: Array<u32> = Array::with_max_entries(DEFAULT_RULES, 0);

/// The sockets of each interface's queues, from the interface's `xsk_base` on.
#[map]
pub static XSKS: XskMap = XskMap::with_max_entries(MAX_SOCKETS, 0);

/// The table of rules as of one packet: the bank is chosen once.
pub struct Rules {
    bank: u32,
}

impl Rules {
    /// The table in use now.
    #[inline(always)]
    pub fn now() -> Self {
        Self { bank: BANK.get(0).copied().unwrap_or(0) & 1 }
    }
}

impl FlowTable for Rules {
    #[inline(always)]
    fn shape(&self, rank: u32) -> Option<Shape> {
        SHAPES.get(self.bank * TABLE_SHAPES + rank).copied()
    }

    #[inline(always)]
    fn group_shape(&self, rank: u32) -> Option<Shape> {
        GROUPS.get(self.bank * GROUP_SHAPES + rank).copied()
    }

    #[inline(always)]
    fn get(&self, key: &FlowKey) -> Option<FlowValue> {
        // SAFETY: an entry may be reused for another rule while it is read here. The slot read is then a live rule's all the
        // same, and the worker, which checks every frame against the rule of its slot, looks the packet up by itself.
        unsafe { FLOWS.get(key) }.copied()
    }
}
