//! The touched pair's packets: few, always, from an end that may be gone for a while; and what comes out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    ops::RangeInclusive,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use netns_tests::{
    deadline::SOON,
    netns::Namespace,
    packet::{Packet, is_stream},
    raw::Wire,
    topology::{GEN, Network, SINK},
};
use serde::Deserialize;

/// Groups and ports that rules `one` and `two` match.
pub const SENT: [(Ipv4Addr, u16); 2] = [(Ipv4Addr::new(239, 3, 0, 1), 5101), (Ipv4Addr::new(239, 3, 0, 2), 5102)];
/// What is added to a port on its way.
pub const PORT_CHANGE: u16 = 1_000;
/// Ends at gen that packets are sent from, and the thousand that their source ports begin with.
const ENTRANCES: [(&str, u16); 2] = [("w0", 7), ("x0", 8)];
/// Source ports of each: enough that every queue of four gets some.
const FLOWS: u16 = 16;
/// From one packet of each entrance and rule to the next.
const BEAT: Duration = Duration::from_millis(2);
/// How often the exits are looked at.
const LOOK: Duration = Duration::from_millis(1);
/// What is in a ring comes within it.
const QUIET: Duration = Duration::from_millis(50);

/// Sends until `stop`. `at` is the number of the last packet of rule `two` that w0 has taken; every rule and entrance has it.
pub fn beat(network: &Network, stop: &AtomicBool, at: &AtomicU64) {
    let gen_end = network.namespace(GEN);
    let mut wires: [Option<Wire>; 2] = [None, None];
    for number in 0u64.. {
        for (i, (name, thousand)) in ENTRANCES.into_iter().enumerate() {
            wires[i] = wires[i].take().or_else(|| Wire::open(gen_end, name).ok());
            let Some(wire) = &wires[i] else { continue };
            let sent = SENT.into_iter().try_for_each(|(group, port)| {
                let packet = Packet {
                    id: number as u16,
                    source_port: thousand * 1_000 + number as u16 % FLOWS,
                    payload: vec![0x55; 200],
                    ..Packet::new(group, port)
                };
                wire.send(&packet.frame())
            });
            match (sent, i) {
                (Ok(()), 0) => at.store(number, Relaxed),
                (Ok(()), _) => {}
                // It is down, or another by now.
                (Err(_), _) => wires[i] = None,
            }
        }
        if stop.load(Relaxed) {
            return;
        }
        sleep(BEAT);
    }
}

/// A MAC and an IPv4 address.
pub type Identity = ([u8; 6], Ipv4Addr);

/// A packet that came out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sight {
    /// Where it was sent from.
    pub entrance: &'static str,
    /// Whose it is: 1 or 2.
    pub rule: u16,
    /// Where it came out.
    pub exit: &'static str,
    /// Its source port.
    flow: u16,
    /// Its number's lower half.
    number: u16,
    /// Who sent it.
    from: Identity,
}

impl Sight {
    fn of(frame: &[u8], exit: &'static str) -> Option<Self> {
        let at = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let (flow, port) = (at(34), at(36).checked_sub(PORT_CHANGE)?);
        Some(Self {
            entrance: ENTRANCES.iter().find(|(_, thousand)| flow / 1_000 == *thousand)?.0,
            rule: SENT.iter().position(|(_, of)| *of == port)? as u16 + 1,
            exit,
            flow,
            number: at(18),
            from: (frame[6..12].try_into().ok()?, Ipv4Addr::new(frame[26], frame[27], frame[28], frame[29])),
        })
    }
}

/// Ends at sink, and all that comes out there from now on.
pub struct Exits(Vec<(&'static str, Wire)>);

impl Exits {
    /// Those of `names` that are there.
    pub fn open(network: &Network, names: &[&'static str]) -> Self {
        let open = |name: &&'static str| Some((*name, Wire::open(network.namespace(SINK), name).ok()?));
        Self(names.iter().filter_map(open).collect())
    }

    /// What has come since the last call. An end that has gone down is no error.
    pub fn seen(&self) -> Vec<Sight> {
        let frames = |(name, wire): &(&'static str, Wire)| {
            let frames = wire.received().unwrap_or_default();
            frames.into_iter().filter(|frame| is_stream(frame)).filter_map(|frame| Sight::of(&frame, name)).collect()
        };
        self.0.iter().flat_map(|end| -> Vec<Sight> { frames(end) }).collect()
    }

    /// Waits until of every flow of each of `ways` (entrance, rule, exit) a packet has come that is from who `from` says the
    /// exit's near end is; when that was.
    pub fn until_all(
        &self,
        ways: &[(&'static str, u16, &'static str)],
        from: impl Fn(&str) -> Option<Identity>,
    ) -> Result<Instant> {
        let mut missing: BTreeSet<_> = ways.iter().flat_map(|way| (0..FLOWS).map(move |flow| (*way, flow))).collect();
        let (start, mut others) = (Instant::now(), Vec::new());
        while !missing.is_empty() {
            for sight in self.seen() {
                let way = (sight.entrance, sight.rule, sight.exit);
                match from(sight.exit) == Some(sight.from) {
                    true => drop(missing.remove(&(way, sight.flow % 1_000))),
                    false => others.push(sight),
                }
            }
            if start.elapsed() > SOON {
                bail!(
                    "not within {SOON:?}: packets of {missing:?}; {} came of another source, the last: {:?}",
                    others.len(),
                    others.last()
                );
            }
            sleep(LOOK);
        }
        Ok(Instant::now())
    }

    /// Nothing comes that is `wrong`.
    pub fn none(&self, wrong: impl Fn(&Sight) -> bool) -> Result<()> {
        sleep(QUIET);
        self.seen();
        sleep(QUIET);
        let found: Vec<Sight> = self.seen().into_iter().filter(|sight| wrong(sight)).collect();
        ensure!(found.is_empty(), "{} packets came that should not, the last: {:?}", found.len(), found.last());
        Ok(())
    }
}

/// Whether each of these packets from w0 has come once, in whatever order: flows on different queues overtake one another.
pub fn each_once(sights: &[Sight], numbers: RangeInclusive<u64>) -> Result<()> {
    let mut came: BTreeMap<u16, u32> = BTreeMap::new();
    for sight in sights.iter().filter(|sight| sight.entrance == "w0") {
        *came.entry(sight.number).or_default() += 1;
    }
    let count = |number: u64| came.get(&(number as u16)).copied().unwrap_or(0);
    let wrong: Vec<(u64, u32)> =
        numbers.clone().map(|number| (number, count(number))).filter(|(_, count)| *count != 1).collect();
    ensure!(wrong.is_empty(), "of rule two's packets {numbers:?} at w5 these came so often: {wrong:?}");
    Ok(())
}

/// MAC and IPv4 address of each interface that has both, by its name.
pub fn identities(namespace: &Namespace) -> Result<BTreeMap<String, Identity>> {
    #[derive(Deserialize)]
    struct Link {
        ifname: String,
        address: String,
        addr_info: Vec<Address>,
    }
    #[derive(Deserialize)]
    struct Address {
        local: Ipv4Addr,
    }
    let links: Vec<Link> = serde_json::from_str(&namespace.run("ip -j addr show")?)?;
    let identity = |link: Link| {
        let bytes: Vec<u8> = link.address.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        Some((link.ifname, (bytes.try_into().ok()?, link.addr_info.first()?.local)))
    };
    Ok(links.into_iter().filter_map(identity).collect())
}
