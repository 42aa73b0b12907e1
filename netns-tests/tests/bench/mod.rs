//! The XDP program in the kernel, with rules in its maps, and a packet's way through it (`BPF_PROG_TEST_RUN`).

use anyhow::{Context, Result, ensure};
use aya::programs::{TestRun, TestRunOptions};
use mcr_common::{
    counter::Verdict,
    flow::{FlowValue, Generic, InterfaceFacts},
    steered::{Kind, Steered},
};
use mcr_userspace::{
    kernel::{
        flows::{FlowIndex, Flows},
        program::{Attachment, Program},
    },
    rules::rule::Match,
    xsk::{
        port::{Bind, Port, Quota},
        umem::Memory,
    },
};

/// Test runs come in on the loopback interface of the caller's namespace, queue 0.
pub const LOOPBACK: u32 = 1;
/// The Ethernet address that the program takes for the interface's own.
pub const OWN_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x10];
/// Bytes of the longest frame that is steered whole.
pub const CAPACITY: u32 = 2048 - 256;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

/// The program, loaded and attached to the loopback interface of a namespace of this thread's own, with one socket.
pub struct Bench {
    /// The program.
    pub program: Program,
    flows: Flows,
    /// The same rules in user space.
    pub index: FlowIndex,
    _port: Port,
    _memory: Memory,
}

/// What the program did with a packet.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// The one that was counted.
    pub verdict: Verdict,
    /// The slot in the metadata.
    pub slot: Option<u32>,
    /// Whether the packet was cut to its headers.
    pub is_cut: bool,
    /// The packet afterwards, without metadata.
    pub packet: Vec<u8>,
}

impl Bench {
    /// A namespace in which queue 0 of the loopback interface is served, where `served`.
    pub fn new(served: bool) -> Result<Self> {
        // The thread that runs this test leaves for good: libtest gives each test its own.
        leave_for_own_namespace()?;
        let (mut program, maps) = Program::load(1024, 4096)?;
        program.attach(LOOPBACK, Attachment::Skb)?;
        let (memory, _pool) = Memory::new(0, 64, 2048)?;
        let port = Port::open(&memory, "lo", 0, Bind::Copy, Quota { fill: 0, send: 0 })?;
        let facts = InterfaceFacts { mac: OWN_MAC, generic: Generic::Never as u16, capacity: CAPACITY, merged: 0 };
        program.set_interface(0, facts)?;
        if served {
            program.set_socket(0, &port.fd())?;
        }
        Ok(Self { program, flows: Flows::new(maps), index: FlowIndex::default(), _port: port, _memory: memory })
    }

    /// Enters a rule; one whose interface is not the loopback interface is another's.
    pub fn add(&mut self, slot: u32, matcher: &Match) -> Result<()> {
        self.index.insert(ifindex(matcher), matcher, value(slot));
        Ok(self.flows.insert(ifindex(matcher), matcher, value(slot))?)
    }

    /// Takes a rule out that was entered with the same arguments.
    pub fn remove(&mut self, slot: u32, matcher: &Match) -> Result<()> {
        self.index.remove(ifindex(matcher), matcher, value(slot));
        Ok(self.flows.remove(ifindex(matcher), matcher, value(slot))?)
    }

    /// Lets the kernel forget shapes that no rule uses.
    pub fn tidy(&mut self) -> Result<()> {
        Ok(self.flows.tidy()?)
    }

    /// Runs the program once.
    pub fn run(&mut self, packet: &[u8]) -> Result<Outcome> {
        let before = self.program.verdicts(LOOPBACK)?;
        let mut out = vec![0; packet.len() + Steered::LEN];
        let mut options = TestRunOptions::new();
        options.data_in = Some(packet);
        options.data_out = Some(&mut out);
        let result = self.program.program().test_run(options)?;
        let len = result.data_size_out as usize;
        let after = self.program.verdicts(LOOPBACK)?;
        let raised: Vec<_> =
            Verdict::ALL.iter().filter(|verdict| after[**verdict as usize] != before[**verdict as usize]).collect();
        let [verdict] = raised[..] else { anyhow::bail!("{} verdicts were counted", raised.len()) };
        ensure!(after[*verdict as usize] == before[*verdict as usize] + 1, "{verdict:?} was counted more than once");
        let expected = if *verdict == Verdict::Steered { XDP_REDIRECT } else { XDP_PASS };
        ensure!(result.return_value == expected, "{verdict:?} was counted, and {} returned", result.return_value);
        let steered = out.first_chunk().and_then(|bytes| Steered::read(*bytes));
        let metadata = if *verdict == Verdict::Steered { Steered::LEN } else { 0 };
        ensure!(steered.is_some() == (metadata > 0), "{verdict:?} and metadata {steered:?}");
        Ok(Outcome {
            verdict: *verdict,
            slot: steered.map(|(_, slot)| slot),
            is_cut: steered.is_some_and(|(kind, _)| kind == Kind::Cut),
            packet: out[metadata..len].to_vec(),
        })
    }
}

/// Leaves for a new network namespace.
fn leave_for_own_namespace() -> Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).context("a network namespace of the thread's own")
}

fn ifindex(matcher: &Match) -> u32 {
    if matcher.interface == "lo" { LOOPBACK } else { LOOPBACK + 1 }
}

/// A rule's entry: the loopback interface has one queue, whose socket is number 0.
fn value(slot: u32) -> FlowValue {
    FlowValue { slot, xsk_base: 0, queues: 1 }
}
