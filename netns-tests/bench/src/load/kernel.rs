//! The bench's programs in the kernel: the sender, the sink, and the forwarder that is the limit.

use anyhow::{Context, Result, ensure};
use aya::{
    Ebpf,
    maps::{Array, DevMap, HashMap, MapData},
    programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp, XdpMode},
};
use netns_tests::netns::Namespace;

use super::{
    delays::Delays,
    frame::{self, Origin},
    layout::{CLASSES, NUMBERS, Orders, Rewrite, Streams, Tally, WORDS},
};
use crate::machine::{
    cpu::{self, SENDER},
    interface::index,
};

/// The object that the build script made of mcr-ebpf's program `bench`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench"));

/// Frames that leave the sender at once, at most: as many as the kernel hands to a driver in one call.
const BATCH: u32 = 16;
/// Seconds for which a frame waits for others to leave with it, at most.
const BUNCH: f64 = 10e-6;
/// Packets of one order at most: what fits the sink's bitmap.
pub const MOST: u32 = WORDS * NUMBERS;

/// All three, loaded; whatever is attached is detached at drop.
pub struct Programs {
    ebpf: Ebpf,
    orders: Array<MapData, Orders>,
    tally: Array<MapData, Tally>,
    delays: Array<MapData, u64>,
    rewrites: HashMap<MapData, u64, Rewrite>,
    egress: DevMap<MapData>,
    run: u32,
}

impl Programs {
    /// Loads them; nothing is attached yet.
    pub fn load() -> Result<Self> {
        let mut ebpf = Ebpf::load(OBJECT).context("loading the bench's BPF programs")?;
        for name in ["send", "sink", "rewrite"] {
            xdp(&mut ebpf, name)?.load().with_context(|| format!("loading {name}"))?;
        }
        let mut take = |name: &str| ebpf.take_map(name).with_context(|| format!("the object has no map {name}"));
        Ok(Self {
            orders: take("ORDERS")?.try_into()?,
            tally: take("TALLY")?.try_into()?,
            delays: take("DELAYS")?.try_into()?,
            rewrites: take("REWRITES")?.try_into()?,
            egress: take("EGRESS")?.try_into()?,
            ebpf,
            run: 0,
        })
    }

    /// Attaches the sink to an interface.
    pub fn attach_sink(&mut self, namespace: &Namespace, interface: &str) -> Result<()> {
        self.attach("sink", namespace, interface)
    }

    /// Attaches the limit to an interface; it forwards by `flows` (group and port, and what becomes of them) to `egress`.
    pub fn attach_rewrite(
        &mut self,
        namespace: &Namespace,
        (interface, egress): (&str, &str),
        flows: impl IntoIterator<Item = ((u32, u16), Rewrite)>,
    ) -> Result<()> {
        for ((group, port), rewrite) in flows {
            self.rewrites.insert(u64::from(group) << 32 | u64::from(port), rewrite, 0)?;
        }
        // The map takes an index of the namespace that the calling thread is in.
        let to = index(namespace, egress)?;
        let map = &mut self.egress;
        namespace.enter(|| Ok(map.set(0, to, None, 0)?)).context("the limit's egress interface")?;
        self.attach("rewrite", namespace, interface)
    }

    fn attach(&mut self, name: &str, namespace: &Namespace, interface: &str) -> Result<()> {
        let index = index(namespace, interface)?;
        let program = xdp(&mut self.ebpf, name)?;
        namespace
            .enter(|| Ok(program.attach_to_if_index(index, XdpMode::Driver).map(drop)?))
            .with_context(|| format!("attaching {name} to {interface}"))
    }

    /// Lets the sink expect a new run of packets: `streams` at each of `outputs`; the run's number.
    ///
    /// Delays are taken of every packet, or of one in 16.
    pub fn expect(&mut self, streams: Streams, outputs: u32, packets: u32, every_delay: bool) -> Result<u32> {
        ensure!(
            u64::from(packets) * u64::from(outputs) <= u64::from(MOST),
            "{packets} packets to {outputs} outputs are too many"
        );
        self.run += 1;
        for class in 0..CLASSES {
            self.delays.set(class, 0, 0)?;
        }
        let unsampled = if every_delay { 0 } else { 15 };
        self.tally.set(0, Tally { streams, outputs, run: self.run, unsampled, ..Tally::default() }, 0)?;
        Ok(self.run)
    }

    /// What has come of the run so far.
    pub fn tally(&self) -> Result<Tally> {
        Ok(self.tally.get(&0, 0)?)
    }

    /// How long it took.
    pub fn delays(&self) -> Result<Delays> {
        let counts: Result<Vec<u64>, _> = (0..CLASSES).map(|class| self.delays.get(&class, 0)).collect();
        Ok(Delays::of(counts?))
    }

    /// Sends `packets` from `interface` by the in-kernel sender, on the sender's CPU: `rate` a second, or as fast as it goes.
    /// The seconds that it took.
    pub fn send(
        &mut self,
        namespace: &Namespace,
        interface: &str,
        (streams, origin): (Streams, Origin),
        (size, packets, rate): (u32, u32, Option<f64>),
    ) -> Result<f64> {
        let orders = Orders {
            interval: rate.map_or(0, |rate| (1024e9 / rate).max(1.0) as u64),
            streams,
            source: origin.source.to_bits(),
            mac: origin.mac,
            length: frame::total_length(size),
            filling: u32::from(frame::filling_sum(size)),
            run: self.run,
            ..Orders::default()
        };
        self.orders.set(0, orders, 0)?;
        let context = context(size, index(namespace, interface)?);
        let program = xdp(&mut self.ebpf, "send")?;
        namespace.enter(|| {
            cpu::bind(SENDER)?;
            cpu::prefer()?;
            let mut options = TestRunOptions::new();
            let frame = frame::blank(size);
            (options.data_in, options.ctx_in) = (Some(&frame[..]), Some(&context[..]));
            let batch = rate.map_or(BATCH, |rate| ((rate * BUNCH) as u32).clamp(1, BATCH));
            (options.repeat, options.attrs) = (packets, TestRunAttrs::new().xdp_live_frames(batch));
            program.test_run(options).context("the in-kernel sender (Linux 5.18) did not run")?;
            Ok(())
        })?;
        let done = self.orders.get(&0, 0)?;
        ensure!(done.next >= u64::from(packets), "the in-kernel sender sent {} of {packets} packets", done.next);
        Ok((done.ended - done.began) as f64 / 1e9)
    }
}

fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    Ok(ebpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?.try_into()?)
}

/// A `struct xdp_md` for a frame of `size` bytes that comes in, and with XDP_TX goes out, at an interface.
fn context(size: u32, ifindex: u32) -> Vec<u8> {
    // data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
    [0, size, 0, ifindex, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect()
}
