//! The maps that the daemon fills and reads. Sizes that depend on the configuration are set when it loads the program.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruPerCpuHashMap, PerCpuHashMap, XskMap},
};
use mcr_common::{
    counter::Verdict,
    flow::{FlowCount, FlowKey, FlowValue, InterfaceFacts, PortKind, Shape},
    limits::{DEFAULT_RULES, GROUP_SHAPES, MAX_INTERFACES, MAX_SOCKETS, SHAPE_BANKS, TABLE_SHAPES},
    lookup::FlowTable,
    places::{self, BLOCK, Blocks, Head, Layout},
    unmatched::{MAX_UNMATCHED, UnmatchedKey},
};

/// linux/bpf.h: entries are allocated as they are inserted.
const BPF_F_NO_PREALLOC: u32 = 1;
/// linux/bpf.h: the daemon writes the memory itself.
const BPF_F_MMAPABLE: u32 = 1 << 10;

/// Which rule takes what: see [`places`].
#[map]
static TABLE: Array<[u64; BLOCK]> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// For packets that no rule takes: the groups that rules are for ([`PortKind::Group`](mcr_common::flow::PortKind::Group)).
#[map]
static GROUP_FLOWS: HashMap<FlowKey, FlowValue> = HashMap::with_max_entries(DEFAULT_RULES * 2, BPF_F_NO_PREALLOC);

/// The shapes in use, in the order in which they are tried, twice.
#[map]
static SHAPES: Array<Shape> = Array::with_max_entries(TABLE_SHAPES * SHAPE_BANKS, 0);

/// The group prefix lengths in use, twice.
#[map]
static GROUPS: Array<Shape> = Array::with_max_entries(GROUP_SHAPES * SHAPE_BANKS, 0);

/// Which bank of `SHAPES` and `GROUPS` counts: 0 or 1.
#[map]
static BANK: Array<u32> = Array::with_max_entries(1, 0);

/// Packets and bytes steered, for each CPU and rule's slot: see [`count::steered`](crate::count::steered).
#[map]
pub static COUNTS: Array<FlowCount> = Array::with_max_entries(DEFAULT_RULES, BPF_F_MMAPABLE);

/// Slots of each CPU in [`COUNTS`]; the daemon sets it when it loads the program.
#[unsafe(no_mangle)]
pub static SLOTS: u32 = 0;

/// Packets by verdict, for each interface.
#[map]
pub static VERDICTS: PerCpuHashMap<u32, [u64; Verdict::COUNT]> = PerCpuHashMap::with_max_entries(MAX_INTERFACES, 0);

/// Slots whose fragments have been spoken of.
#[map]
pub static FRAGMENT_SAID: Array<u32> = Array::with_max_entries(DEFAULT_RULES, 0);

/// Whether anybody asks for what no rule takes: 0 or 1. Read of such packets alone.
#[map]
pub static RECORDING: Array<u32> = Array::with_max_entries(1, 0);

/// Packets that no rule takes, by what they are, while somebody asks. Each CPU has a count of its own.
#[map]
pub static UNMATCHED: LruPerCpuHashMap<UnmatchedKey, u64> = LruPerCpuHashMap::with_max_entries(MAX_UNMATCHED, 0);

/// The sockets of each interface's queues, from the interface's `xsk_base` on.
#[map]
pub static XSKS: XskMap = XskMap::with_max_entries(MAX_SOCKETS, 0);

/// What is to be known of each interface, at its `xsk_base`.
#[map]
pub static INTERFACES: Array<InterfaceFacts> = Array::with_max_entries(MAX_SOCKETS, 0);

/// The table of rules as of one packet: the banks are chosen once.
pub struct Rules {
    shape_bank: u32,
    head: Head,
    layout: Layout,
}

impl Rules {
    /// The table in use now; `None` only where the daemon has not set it up.
    #[inline(always)]
    pub fn now() -> Option<Self> {
        let block = TABLE.get_ptr(0)?;
        let head = Head::from_word(Self::word(block, 0));
        // A table without buckets has no entries, and no mask to find them by.
        if head.buckets == 0 {
            return None;
        }
        let layout = Layout { capacity: Self::word(block, 1) as u32 };
        Some(Self { shape_bank: BANK.get(0).copied().unwrap_or(0) & 1, head, layout })
    }
}

impl Blocks for Rules {
    type Block = *const [u64; BLOCK];

    #[inline(always)]
    fn layout(&self) -> Layout {
        self.layout
    }

    #[inline(always)]
    fn block(&self, number: u32) -> Option<Self::Block> {
        TABLE.get_ptr(number)
    }

    #[inline(always)]
    fn word(block: Self::Block, at: usize) -> u64 {
        // SAFETY: the block lies in the map, which outlives the program, and the mask keeps the word within the block. The daemon
        // may write the word meanwhile: the read is volatile, and one load.
        unsafe { block.cast::<u64>().add(at % BLOCK).read_volatile() }
    }
}

impl FlowTable for Rules {
    #[inline(always)]
    fn shape(&self, rank: u32) -> Option<Shape> {
        SHAPES.get(self.shape_bank * TABLE_SHAPES + rank).copied()
    }

    #[inline(always)]
    fn group_shape(&self, rank: u32) -> Option<Shape> {
        GROUPS.get(self.shape_bank * GROUP_SHAPES + rank).copied()
    }

    #[inline(always)]
    fn get(&self, key: &FlowKey) -> Option<FlowValue> {
        if key.shape.kind == PortKind::Group as u8 {
            // SAFETY: an entry may be reused for another group while it is read here. Its slot serves to say once that fragments
            // come, and nothing else.
            return unsafe { GROUP_FLOWS.get(key) }.copied();
        }
        places::get(self, self.head, key)
    }
}
