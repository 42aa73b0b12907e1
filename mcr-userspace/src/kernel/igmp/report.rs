//! IGMP membership reports as bytes: those that answer a query, never one that leaves a group.

use std::net::Ipv4Addr;

use mcr_common::{checksum::Sum, wire::IPV4_MIN_LEN};

use super::proc::Version;

/// A report has at most so many bytes, IPv4 header included: every interface carries that much (RFC 1122 section 3.3.2).
const LONGEST: usize = 576;
/// The IPv4 header with the option Router Alert.
const HEADER: usize = IPV4_MIN_LEN + ROUTER_ALERT.len();
/// RFC 2113.
const ROUTER_ALERT: [u8; 4] = [0x94, 4, 0, 0];
/// Internetwork control (RFC 3376 section 4).
const TOS: u8 = 0xc0;
/// linux/in.h, `IPPROTO_IGMP`.
pub(super) const PROTOCOL: u8 = 2;
/// Don't fragment.
const FLAGS: u8 = 0x40;
/// Where IGMPv3 reports go (RFC 3376 section 4.2.14).
const ALL_V3_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
// linux/igmp.h: types of messages, and of group records.
const V1_REPORT: u8 = 0x12;
const V2_REPORT: u8 = 0x16;
const V3_REPORT: u8 = 0x22;
const MODE_IS_INCLUDE: u8 = 1;
const MODE_IS_EXCLUDE: u8 = 2;
/// Bytes of an IGMPv3 report before its records, and of a record before its sources.
const REPORT: usize = 8;
const RECORD: usize = 8;
/// Sources of one record at most, so that a report has room for it.
const MOST_SOURCES: usize = (LONGEST - HEADER - REPORT - RECORD) / 4;

/// What the host wants of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All sources.
    All,
    /// These alone.
    Sources(Vec<Ipv4Addr>),
}

/// The packets, IPv4 header included, that repeat the membership in these groups, and the group that each is sent to.
pub(super) fn packets(version: Version, source: Ipv4Addr, groups: &[(Ipv4Addr, Wanted)]) -> Vec<(Ipv4Addr, Vec<u8>)> {
    let short = |kind: u8| {
        let one = |(group, _): &(Ipv4Addr, _)| {
            let [a, b, c, d] = group.octets();
            (*group, packet(source, *group, &mut [kind, 0, 0, 0, a, b, c, d]))
        };
        groups.iter().map(one).collect()
    };
    match version {
        Version::V1 => short(V1_REPORT),
        Version::V2 => short(V2_REPORT),
        Version::V3 => {
            let reports = reports(&records(groups));
            reports.into_iter().map(|mut igmp| (ALL_V3_ROUTERS, packet(source, ALL_V3_ROUTERS, &mut igmp))).collect()
        }
    }
}

/// Current-state records (RFC 3376 section 4.2.12); the sources of a group may stand in several.
fn records(groups: &[(Ipv4Addr, Wanted)]) -> Vec<Vec<u8>> {
    let record = |kind: u8, group: Ipv4Addr, sources: &[Ipv4Addr]| {
        let mut bytes = vec![kind, 0];
        bytes.extend((sources.len() as u16).to_be_bytes());
        bytes.extend(group.octets());
        bytes.extend(sources.iter().flat_map(Ipv4Addr::octets));
        bytes
    };
    let mut records = Vec::new();
    for (group, wanted) in groups {
        match wanted {
            Wanted::All => records.push(record(MODE_IS_EXCLUDE, *group, &[])),
            // Of no source there is nothing to say: the record would leave the group.
            Wanted::Sources(sources) => {
                records.extend(sources.chunks(MOST_SOURCES).map(|some| record(MODE_IS_INCLUDE, *group, some)));
            }
        }
    }
    records
}

/// As few reports as hold the records.
fn reports(records: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut reports: Vec<(u16, Vec<u8>)> = Vec::new();
    for record in records {
        match reports.last_mut() {
            Some((count, report)) if HEADER + report.len() + record.len() <= LONGEST => {
                *count += 1;
                report.extend(record);
            }
            _ => reports.push((1, [&[V3_REPORT, 0, 0, 0, 0, 0, 0, 0], record.as_slice()].concat())),
        }
    }
    let numbered = |(count, mut report): (u16, Vec<u8>)| {
        report[6..REPORT].copy_from_slice(&count.to_be_bytes());
        report
    };
    reports.into_iter().map(numbered).collect()
}

/// An IGMP message, whose checksum is filled in, behind an IPv4 header.
fn packet(source: Ipv4Addr, to: Ipv4Addr, igmp: &mut [u8]) -> Vec<u8> {
    let checksum = Sum::default().bytes(igmp).finish();
    igmp[2..4].copy_from_slice(&checksum.to_be_bytes());
    let length = ((HEADER + igmp.len()) as u16).to_be_bytes();
    let mut packet = vec![0x40 | (HEADER / 4) as u8, TOS, length[0], length[1], 0, 0, FLAGS, 0, 1, PROTOCOL, 0, 0];
    packet.extend(source.octets());
    packet.extend(to.octets());
    packet.extend(ROUTER_ALERT);
    let checksum = Sum::default().bytes(&packet).finish();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend_from_slice(igmp);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);

    fn group(i: usize) -> Ipv4Addr {
        Ipv4Addr::from_bits(Ipv4Addr::new(239, 1, 0, 0).to_bits() + i as u32)
    }

    /// The checksums of header and message are right where their sums with what they cover are.
    fn is_whole(packet: &[u8]) -> bool {
        let right = |bytes: &[u8]| Sum::default().bytes(bytes).finish() == 0;
        right(&packet[..HEADER]) && right(&packet[HEADER..]) && packet.len() <= LONGEST
    }

    #[test]
    fn the_older_versions_name_one_group_each() {
        let groups = [(group(1), Wanted::All), (group(2), Wanted::Sources(vec![FROM]))];
        for (version, kind) in [(Version::V1, V1_REPORT), (Version::V2, V2_REPORT)] {
            let packets = packets(version, FROM, &groups);
            assert_eq!(packets.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [group(1), group(2)]);
            for (to, packet) in packets {
                assert!(is_whole(&packet));
                assert_eq!((packet[HEADER], &packet[HEADER + 4..]), (kind, &to.octets()[..]));
                assert_eq!((packet[1], packet[8], packet[9]), (0xc0, 1, 2), "TOS, TTL, protocol");
            }
        }
    }

    #[test]
    fn version_3_says_everything_in_few_packets() {
        let mut groups: Vec<_> = (0..100).map(|i| (group(i), Wanted::All)).collect();
        groups.push((group(200), Wanted::Sources((0..300).map(group).collect())));
        groups.push((group(201), Wanted::Sources(Vec::new())));
        let packets = packets(Version::V3, FROM, &groups);
        assert!(packets.iter().all(|(to, packet)| *to == ALL_V3_ROUTERS && is_whole(packet)));
        let (mut whole, mut sources) = (0, 0);
        for (_, packet) in &packets {
            let mut rest = &packet[HEADER + REPORT..];
            let count = u16::from_be_bytes([packet[HEADER + 6], packet[HEADER + 7]]);
            for _ in 0..count {
                let (kind, of) = (rest[0], usize::from(u16::from_be_bytes([rest[2], rest[3]])));
                assert!((kind == MODE_IS_EXCLUDE && of == 0) || (kind == MODE_IS_INCLUDE && of > 0), "{kind} {of}");
                (whole, sources) = (whole + usize::from(of == 0), sources + of);
                rest = &rest[RECORD + 4 * of..];
            }
            assert!(rest.is_empty());
        }
        assert_eq!((whole, sources), (100, 300));
        assert!(packets.len() <= 5, "{}", packets.len());
    }
}
