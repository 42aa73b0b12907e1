//! The parser against etherparse, on sound frames, spoilt ones and cut ones.

use etherparse::{EtherType, Ethernet2HeaderSlice, IpNumber, Ipv4HeaderSlice, SingleVlanHeaderSlice, UdpHeaderSlice};
use proptest::{prelude::*, sample::select, test_runner::RngSeed};

use super::*;
use crate::hidden::{self, Hidden, Tags};

/// The fields of a frame that the parser reads; an IHL above 5 brings that many bytes of options.
#[derive(Clone, Debug)]
struct Frame {
    mac: u8,
    tags: Vec<(u16, u16)>,
    ethertype: u16,
    version_ihl: u8,
    protocol: u8,
    fragment: u16,
    source: u32,
    destination: u32,
    port: u16,
    payload: usize,
}

impl Frame {
    /// A sound datagram.
    fn new(destination: u32, port: u16) -> Self {
        Self {
            mac: 0x01,
            tags: Vec::new(),
            ethertype: 0x0800,
            version_ihl: 0x45,
            protocol: 17,
            fragment: 0x4000,
            source: 0x0a00_0005,
            destination,
            port,
            payload: 8,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.mac, 0x00, 0x5e, 1, 1, 1, 2, 0, 0, 0, 0, 1];
        for (tpid, tci) in &self.tags {
            bytes.extend(tpid.to_be_bytes());
            bytes.extend(tci.to_be_bytes());
        }
        bytes.extend(self.ethertype.to_be_bytes());
        let header_len = usize::from(self.version_ihl & 15) * 4;
        let total = (header_len + 8 + self.payload) as u16;
        let mut ip = vec![self.version_ihl, 0];
        for word in [total, 7, self.fragment, u16::from_be_bytes([16, self.protocol]), 0] {
            ip.extend(word.to_be_bytes());
        }
        ip.extend(self.source.to_be_bytes());
        ip.extend(self.destination.to_be_bytes());
        ip.resize(header_len.max(20), 1);
        bytes.extend(ip);
        for word in [4000, self.port, 8 + self.payload as u16, 0] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.resize(bytes.len() + self.payload, 0xa5);
        bytes
    }

    fn parsed(&self) -> Parsed {
        parse(self.bytes().as_slice())
    }
}

const GROUP: u32 = 0xef01_0101;

/// What etherparse makes of a frame; `None` where it wants more bytes of an IPv4 header than mcr needs to see a fragment.
fn oracle(frame: &[u8]) -> Option<Parsed> {
    let Ok(ethernet) = Ethernet2HeaderSlice::from_slice(frame) else { return Some(Parsed::Other) };
    let (mut ethertype, mut at, mut vlan) = (ethernet.ether_type(), 14, 0);
    // One tag; or a priority tag, which may be a provider's, and one tag behind it.
    for first in [true, false] {
        let is_tag = ethertype == EtherType::VLAN_TAGGED_FRAME || first && ethertype == EtherType::PROVIDER_BRIDGING;
        if is_tag && vlan == 0 {
            let Ok(tag) = SingleVlanHeaderSlice::from_slice(&frame[at..]) else { return Some(Parsed::Other) };
            vlan = tag.vlan_identifier().value();
            if ethertype == EtherType::PROVIDER_BRIDGING && vlan != 0 {
                return Some(Parsed::Other);
            }
            (ethertype, at) = (tag.ether_type(), at + 4);
        }
    }
    if ethertype != EtherType::IPV4 {
        return Some(Parsed::Other);
    }
    let rest = &frame[at..];
    let ip = match Ipv4HeaderSlice::from_slice(rest) {
        Ok(ip) => ip,
        Err(etherparse::err::ipv4::HeaderSliceError::Len(_)) if rest.len() >= 20 => return None,
        Err(_) => return Some(Parsed::Other),
    };
    let group = ip.destination_addr();
    if ip.protocol() != IpNumber::UDP || !group.is_multicast() || group.octets()[..3] == [224, 0, 0] {
        return Some(Parsed::Other);
    }
    let mut datagram = Datagram {
        source: ip.source_addr().into(),
        group: group.into(),
        port: 0,
        vlan: Vlan::tagged(vlan),
        is_unicast: ethernet.destination()[0] & 1 == 0,
        ip_offset: at as u8,
        udp_offset: (at + ip.slice().len()) as u16,
    };
    if ip.is_fragmenting_payload() {
        return Some(Parsed::Fragment(datagram));
    }
    let Ok(udp) = UdpHeaderSlice::from_slice(&rest[ip.slice().len()..]) else { return Some(Parsed::Other) };
    datagram.port = udp.destination_port();
    Some(match datagram.port {
        319 | 320 => Parsed::Other,
        _ => Parsed::Datagram(datagram),
    })
}

fn agrees(frame: &[u8]) -> Result<(), TestCaseError> {
    let found = parse(frame);
    match oracle(frame) {
        Some(wanted) => prop_assert_eq!(found, wanted),
        None => prop_assert!(!matches!(found, Parsed::Datagram(_)), "{:?} of a frame cut in its options", found),
    }
    Ok(())
}

/// Sound frames for the most part, each field spoilt now and then.
fn frames() -> impl Strategy<Value = Frame> {
    let mostly = |usual: u16, others: Vec<u16>| prop_oneof![8 => Just(usual), 1 => select(others), 1 => any::<u16>()];
    let tag = (prop_oneof![9 => Just(0x8100u16), 1 => Just(0x88a8)], prop_oneof![any::<u16>(), Just(0), Just(0xe000)]);
    let group = prop_oneof![
        8 => 0xe000_0000u32..=0xefff_ffff,
        2 => 0xe000_0000u32..=0xe000_01ff,
        1 => select(vec![0xdfff_ffff, 0xf000_0000, 0xffff_ffff, 0x0a00_0001]),
    ];
    (
        (prop_oneof![9 => Just(0x01u8), 1 => any::<u8>()], proptest::collection::vec(tag, 0..=2)),
        mostly(0x0800, vec![0x86dd, 0x8100, 0x0806]),
        prop_oneof![8 => (5u8..=15).prop_map(|ihl| 0x40 | ihl), 2 => any::<u8>()],
        mostly(17, vec![1, 2, 6]),
        mostly(0, vec![0x4000, 0x2000, 0x0001, 0x2001, 0x8000, 0x1fff]),
        any::<u32>(),
        group,
        mostly(5001, vec![0, 318, 319, 320, 321, 65_535]),
        0usize..40,
    )
        .prop_map(
            |((mac, tags), ethertype, version_ihl, protocol, fragment, source, destination, port, payload)| Frame {
                mac,
                tags,
                ethertype,
                version_ihl,
                protocol: protocol as u8,
                fragment,
                source,
                destination,
                port,
                payload,
            },
        )
}

/// The same behind up to four tags of every type.
fn tagged_frames() -> impl Strategy<Value = Frame> {
    let ethertype = select(vec![0x8100u16, 0x8100, 0x88a8, 0x9100, 0x9200, 0x9300]);
    let tag = (ethertype, prop_oneof![any::<u16>(), Just(0), Just(0xe000)]);
    (frames(), proptest::collection::vec(tag, 0..=4)).prop_map(|(frame, tags)| Frame { tags, ..frame })
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(4_000) })]

    #[test]
    fn frames_are_what_etherparse_reads(frame in frames()) {
        agrees(&frame.bytes())?;
    }

    /// The second look finds what the parser reads, PTP, and what is behind other tags; each is told by what is in its way.
    #[test]
    fn the_second_look_reads_as_the_parser_does(frame in tagged_frames()) {
        let bytes = frame.bytes();
        let found = hidden::look(bytes.as_slice());
        let read = match parse(bytes.as_slice()) {
            Parsed::Datagram(datagram) => Some(Hidden { datagram, is_fragment: false, tags: Tags::NONE }),
            Parsed::Fragment(datagram) => Some(Hidden { datagram, is_fragment: true, tags: Tags::NONE }),
            Parsed::Other => None,
        };
        match found {
            Some(found) if found.tags != Tags::NONE => {
                prop_assert_eq!(read, None);
                let bare = Frame { tags: Vec::new(), ..frame.clone() };
                let behind = hidden::look(bare.bytes().as_slice()).map(|bare| (bare.datagram.group, bare.datagram.port, bare.is_fragment));
                prop_assert_eq!(behind, Some((found.datagram.group, found.datagram.port, found.is_fragment)));
                let (ethertype, first) = frame.tags[0];
                prop_assert_eq!((usize::from(found.tags.count), found.tags.ethertype), (frame.tags.len(), ethertype));
                prop_assert_eq!(found.datagram.vlan.bits(), first & 0xfff);
                prop_assert_eq!(found.tags.inner.bits(), frame.tags.get(1).map_or(0, |(_, second)| second & 0xfff));
            }
            Some(found) if !found.is_fragment && wire::PTP_PORTS.contains(&found.datagram.port) => prop_assert_eq!(read, None),
            found => prop_assert_eq!(found, read),
        }
    }

    #[test]
    fn the_second_look_stands_rubbish(bytes in proptest::collection::vec(any::<u8>(), 0..120), frame in tagged_frames(), keep in 0usize..100) {
        let _ = hidden::look(bytes.as_slice());
        let bytes = frame.bytes();
        let whole = hidden::look(bytes.as_slice());
        // Fewer bytes show the same or nothing.
        let cut = hidden::look(&bytes[..keep.min(bytes.len())]);
        prop_assert!(cut.is_none() || cut == whole, "{:?}, {:?}", cut, whole);
    }

    #[test]
    fn cut_frames_are_what_etherparse_reads(frame in frames(), keep in 0usize..100) {
        let bytes = frame.bytes();
        agrees(&bytes[..keep.min(bytes.len())])?;
    }

    #[test]
    fn spoilt_frames_are_what_etherparse_reads(frame in frames(), hits in proptest::collection::vec((0usize..64, any::<u8>()), 1..4)) {
        let mut bytes = frame.bytes();
        for (at, value) in hits {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        agrees(&bytes)?;
    }

    #[test]
    fn rubbish_is_what_etherparse_reads(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        agrees(&bytes)?;
    }
}

#[test]
fn a_datagram_is_read_behind_options_and_a_tag() {
    let datagram = |vlan, ip_offset, udp_offset| {
        let (source, is_unicast) = (0x0a00_0005, false);
        Parsed::Datagram(Datagram { source, group: GROUP, port: 5001, vlan, is_unicast, ip_offset, udp_offset })
    };
    let plain = Frame::new(GROUP, 5001);
    assert_eq!(plain.parsed(), datagram(Vlan::UNTAGGED, 14, 34));
    let options = Frame { version_ihl: 0x4f, ..plain.clone() };
    assert_eq!(options.parsed(), datagram(Vlan::UNTAGGED, 14, 74));
    // Priority and drop eligibility are no part of the VLAN.
    let tagged = Frame { tags: vec![(0x8100, 0xf064)], ..options };
    assert_eq!(tagged.parsed(), datagram(Vlan::tagged(100), 18, 78));
}

/// IEEE 802.1Q section 6.9: VLAN ID 0 names no VLAN. The tag behind a priority tag names it.
#[test]
fn a_priority_tag_is_no_vlan() {
    for (tags, vlan, ip_offset) in [
        (vec![(0x8100, 0x6000)], Vlan::UNTAGGED, 18),
        (vec![(0x88a8, 0xf000)], Vlan::UNTAGGED, 18),
        (vec![(0x8100, 0xe000), (0x8100, 0x6064)], Vlan::tagged(100), 22),
        (vec![(0x88a8, 0), (0x8100, 100)], Vlan::tagged(100), 22),
        (vec![(0x8100, 0), (0x8100, 0xe000)], Vlan::UNTAGGED, 22),
    ] {
        let frame = Frame { tags, ..Frame::new(GROUP, 5001) };
        let Parsed::Datagram(datagram) = frame.parsed() else { panic!("{frame:?} hides no datagram") };
        assert_eq!((datagram.vlan, datagram.ip_offset), (vlan, ip_offset), "{frame:?}");
    }
}

#[test]
fn a_unicast_frame_is_told() {
    for (mac, is_unicast) in [(0x01, false), (0xff, false), (0x02, true), (0x00, true)] {
        let frame = Frame { mac, ..Frame::new(GROUP, 5001) };
        let Parsed::Datagram(datagram) = frame.parsed() else { panic!("{frame:?} hides no datagram") };
        assert_eq!(datagram.is_unicast, is_unicast, "{mac:#x}");
    }
}

#[test]
fn two_tags_and_service_tags_are_passed() {
    for tags in [
        vec![(0x8100, 7), (0x8100, 8)],
        vec![(0x8100, 7), (0x8100, 0)],
        vec![(0x88a8, 7), (0x8100, 8)],
        vec![(0x88a8, 7)],
        vec![(0x8100, 0), (0x88a8, 7)],
        vec![(0x8100, 0), (0x8100, 0), (0x8100, 7)],
        vec![(0x9100, 7)],
        vec![(0x9100, 0)],
    ] {
        let frame = Frame { tags, ..Frame::new(GROUP, 5001) };
        assert_eq!(frame.parsed(), Parsed::Other, "{frame:?}");
    }
}

#[test]
fn every_fragment_is_one_and_shows_no_port() {
    // First, middle, last; then the flags that make none.
    for fragment in [0x2000, 0x2001, 0x3fff, 0x0001, 0x1fff, 0x6000, 0xa000] {
        let frame = Frame { fragment, ..Frame::new(GROUP, 319) };
        let Parsed::Fragment(datagram) = frame.parsed() else { panic!("{fragment:#x}: {:?}", frame.parsed()) };
        assert_eq!((datagram.group, datagram.port, datagram.udp_offset), (GROUP, 0, 34));
        // A last one may hold fewer bytes than a UDP header.
        assert!(matches!(parse(&frame.bytes()[..34]), Parsed::Fragment(_)), "{fragment:#x}");
    }
    for fragment in [0x0000, 0x4000, 0x8000, 0xc000] {
        assert!(matches!(Frame { fragment, ..Frame::new(GROUP, 1) }.parsed(), Parsed::Datagram(_)), "{fragment:#x}");
    }
}

#[test]
fn ptp_and_what_is_no_group_of_ours_stay_with_the_host() {
    let is_datagram = |frame: &Frame| matches!(frame.parsed(), Parsed::Datagram(_));
    for (port, forwarded) in [(318, true), (319, false), (320, false), (321, true), (0, true)] {
        assert_eq!(is_datagram(&Frame::new(GROUP, port)), forwarded, "port {port}");
    }
    let groups = [
        (0xdfff_ffff, false),
        (0xe000_0000, false),
        (0xe000_00ff, false),
        (0xe000_0100, true),
        (0xefff_ffff, true),
        (0xf000_0000, false),
        (0xffff_ffff, false),
    ];
    for (group, forwarded) in groups {
        assert_eq!(is_datagram(&Frame::new(group, 5001)), forwarded, "group {group:#x}");
        let fragment = Frame { fragment: 0x2000, ..Frame::new(group, 5001) };
        assert_eq!(matches!(fragment.parsed(), Parsed::Fragment(_)), forwarded, "group {group:#x}");
    }
}

#[test]
fn bad_headers_are_passed() {
    let plain = Frame::new(GROUP, 5001);
    for version_ihl in [0x65, 0x05, 0x55, 0x44, 0x40, 0xf5] {
        assert_eq!(Frame { version_ihl, ..plain.clone() }.parsed(), Parsed::Other, "{version_ihl:#x}");
    }
    for protocol in [0, 1, 2, 6, 16, 18, 136] {
        assert_eq!(Frame { protocol, ..plain.clone() }.parsed(), Parsed::Other, "protocol {protocol}");
    }
    // Each byte short of the UDP header's end is one too few; from there on all are read.
    for frame in [plain.clone(), Frame { version_ihl: 0x4f, tags: vec![(0x8100, 7)], ..plain }] {
        let bytes = frame.bytes();
        let needed = bytes.len() - frame.payload;
        for length in 0..bytes.len() {
            assert_eq!(parse(&bytes[..length]) != Parsed::Other, length >= needed, "{length} bytes of {frame:?}");
        }
    }
}
