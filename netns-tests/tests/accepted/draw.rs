//! Random rules whose packets go to v2 untagged, and packets that each takes and sends. Always the same ones.

use std::net::Ipv4Addr;

use netns_tests::packet::{Checksum, Packet};
use proptest::{
    prelude::*,
    sample::{Index, select},
    strategy::ValueTree,
    test_runner::TestRunner,
};

const STREAMS: u32 = 200;
const PACKETS: usize = 10;

/// First group of the first stream's own block, which has `BLOCK` groups, as it comes in and as it goes out.
const SENT: u32 = 0xef40_0000;
const GOES: u32 = 0xee40_0000;
const BLOCK: u32 = 1 << 12;

/// A rule, and one group and port that its packets are sent to.
#[derive(Clone, Debug)]
pub struct Stream {
    /// As a `[[rule]]` table.
    pub rule: String,
    /// Where the packets are sent to.
    group: Ipv4Addr,
    port: u16,
    /// Sources that the rule takes.
    sources: (u32, u8),
    /// Where they arrive.
    pub arrives: (Ipv4Addr, u16),
    /// From where: `None` is their own source.
    source: Option<Ipv4Addr>,
    /// The lowest TTL with which they are sent on.
    least_ttl: u8,
}

/// All of it.
pub struct Case {
    pub streams: Vec<Stream>,
    /// With the position of their stream, all streams mixed.
    pub packets: Vec<(usize, Packet)>,
}

impl Stream {
    /// The source with which a packet arrives.
    pub fn source_of(&self, packet: &Packet) -> Ipv4Addr {
        self.source.unwrap_or(packet.source)
    }
}

/// The case: its generator starts from the same seed each time.
pub fn case() -> Case {
    let mut runner = TestRunner::deterministic();
    let streams: Vec<Stream> = (0..STREAMS).map(|number| drawn(&mut runner, stream(number))).collect();
    let mut packets = Vec::new();
    for _ in 0..PACKETS {
        for (number, stream) in streams.iter().enumerate() {
            packets.push((number, drawn(&mut runner, packet(stream))));
        }
    }
    Case { streams, packets }
}

fn drawn<T>(runner: &mut TestRunner, strategy: impl Strategy<Value = T>) -> T {
    strategy.new_tree(runner).expect("nothing is filtered").current()
}

fn mask(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

/// An address with the first `length` bits of `prefix`.
fn within(prefix: u32, length: u8, bits: u32) -> u32 {
    prefix & mask(length) | bits & !mask(length)
}

/// Ports above those that tcpdump takes for a protocol before it looks at the checksum.
const LOWEST_PORT: u16 = 3_000;

fn stream(number: u32) -> impl Strategy<Value = Stream> {
    let groups = (select(vec![20u8, 24, 28, 32]), 0..BLOCK, prop::option::of(0..BLOCK));
    let ports = (0u8..4, LOWEST_PORT..=60_000, 0..500u16, 1..500u16, any::<Index>(), any::<bool>());
    let sources = (select(vec![0u8, 12, 24, 32]), select(vec![0xac14_0909u32, 0xc612_0305]));
    let source = (0u8..3, 0x0a63_0001u32..0x0a63_fffe);
    let ttl = prop_oneof![3 => Just(None), 1 => Just(Some(0u8)), 1 => (1u8..).prop_map(Some)];
    let others = (ttl, prop::option::of(0u8..64));
    (groups, ports, sources, source, others).prop_map(
        move |(groups, ports, sources, (source, address), (ttl, dscp))| {
            let mut output = "interface = \"v2\"".to_owned();
            let mut matcher = "interface = \"v1\"".to_owned();

            let (length, at, to) = groups;
            let group = SENT + number * BLOCK + at;
            matcher += &format!(", group = \"{}/{length}\"", Ipv4Addr::from(group & mask(length)));
            let arrives = to.map_or(group, |to| {
                let base = (GOES + number * BLOCK + to) & mask(length);
                output += &format!(", group = \"{}\"", Ipv4Addr::from(base));
                within(base, length, group)
            });

            let (kind, port, below, above, new, is_new) = ports;
            // Where in the match's ports this one is, and how many they are.
            let (offset, width) = match kind {
                0 => (0, 1),
                1 => {
                    matcher += &format!(", port = {port}");
                    (0, 1)
                }
                _ => {
                    matcher += &format!(", port = \"{}-{}\"", port - below, port + above);
                    (below, below + above + 1)
                }
            };
            let base = LOWEST_PORT + new.index(usize::from(u16::MAX - LOWEST_PORT - width) + 1) as u16;
            let arrives_at = if is_new { base + offset } else { port };
            if is_new {
                output += &format!(", port = {base}");
            }

            let (source_length, prefix) = sources;
            if source_length > 0 {
                let base = Ipv4Addr::from(prefix & mask(source_length));
                matcher += &format!(", source = \"{base}/{source_length}\"");
            }
            let source = match source {
                0 => Some(Ipv4Addr::new(10, 2, 0, 1)),
                1 => {
                    output += ", source = \"keep\"";
                    None
                }
                _ => {
                    output += &format!(", source = \"{}\"", Ipv4Addr::from(address));
                    Some(address.into())
                }
            };
            let least_ttl = match ttl {
                None => 2,
                Some(0) => {
                    output += ", ttl = \"keep\"";
                    1
                }
                Some(ttl) => {
                    output += &format!(", ttl = {ttl}");
                    0
                }
            };
            if let Some(dscp) = dscp {
                output += &format!(", dscp = {dscp}");
            }
            Stream {
                rule: format!("[[rule]]\nname = \"r{number}\"\nmatch = {{ {matcher} }}\noutput = [{{ {output} }}]\n"),
                group: group.into(),
                port,
                sources: (prefix, source_length),
                arrives: (arrives.into(), arrives_at),
                source,
                least_ttl,
            }
        },
    )
}

fn packet(stream: &Stream) -> impl Strategy<Value = Packet> + use<> {
    let stream = stream.clone();
    let payload = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..64),
        2 => (0usize..=1432, any::<u8>()).prop_map(|(length, seed)| {
            (0..length).map(|at| seed.wrapping_add((at * 37) as u8)).collect()
        }),
        1 => (0usize..=1432, select(vec![0u8, 0xff])).prop_map(|(length, fill)| vec![fill; length]),
    ];
    let checksum = prop_oneof![
        4 => Just(Checksum::Right),
        2 => Just(Checksum::Partial),
        1 => Just(Checksum::Zero),
        1 => (1u16..0xffff).prop_map(Checksum::Damaged),
    ];
    let ttl = prop_oneof![stream.least_ttl..=3, stream.least_ttl..];
    let bits = (0u8..64, 0u8..4, any::<bool>(), ttl);
    // Of sources that the receiving kernel takes for a host's: never its own, a broadcast, a loopback.
    let any_source = prop_oneof![0xac10_0001u32..0xac1f_fffe, 0x0a4d_0001u32..0x0a4d_fffe];
    (bits, 0usize..=10, any_source, any::<u32>(), 1u16.., payload, checksum, prop::bool::weighted(0.1)).prop_map(
        move |((dscp, ecn, dont_fragment, ttl), words, any_source, bits, source_port, payload, checksum, balanced)| {
            let source = match stream.sources {
                (_, 0) => any_source,
                (prefix, length) => within(prefix, length, bits),
            };
            let source_port = source_port.max(LOWEST_PORT);
            let mut packet = Packet {
                dscp,
                ecn,
                dont_fragment,
                ttl,
                options: vec![1; words * 4],
                source: source.into(),
                source_port,
                payload,
                checksum,
                ..Packet::new(stream.group, stream.port)
            };
            if balanced && packet.payload.len() >= 2 {
                // Its checksum as it arrives is computed as 0.
                let mut arrives = Packet {
                    source: stream.source_of(&packet),
                    group: stream.arrives.0,
                    port: stream.arrives.1,
                    ..packet.clone()
                };
                arrives.balance();
                packet.payload = arrives.payload;
            }
            packet
        },
    )
}
