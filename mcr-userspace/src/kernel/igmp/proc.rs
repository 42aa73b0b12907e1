//! /proc/net/igmp and /proc/net/mcfilter (Linux, net/ipv4/igmp.c), of the calling thread's network namespace.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    net::Ipv4Addr,
};

/// The version of IGMP that the host speaks on an interface: that of the oldest querier there (RFC 3376 section 7.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// RFC 1112.
    V1,
    /// RFC 2236.
    V2,
    /// RFC 3376.
    #[default]
    V3,
}

/// What the host has joined on an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// The interface's name.
    pub name: String,
    /// What it speaks there.
    pub version: Version,
    /// The groups, and how many sockets have joined each.
    pub groups: Vec<(Ipv4Addr, usize)>,
}

/// What the host has joined, by interface index.
///
/// # Errors
///
/// When the kernel does not say.
pub fn members() -> io::Result<BTreeMap<u32, Joined>> {
    Ok(read_members(&fs::read_to_string("/proc/net/igmp")?))
}

/// A line that starts with an index starts an interface; each line below it is a group, the address as the machine's own integer in hex,
/// and its users.
fn read_members(text: &str) -> BTreeMap<u32, Joined> {
    let mut all = BTreeMap::new();
    let mut here = None;
    for line in text.lines().skip(1) {
        let mut words = line.split_whitespace();
        if !line.starts_with('\t') {
            let (index, name) = (words.next().and_then(|index| index.parse().ok()), words.next().unwrap_or_default());
            let version = match words.next_back() {
                Some("V1") => Version::V1,
                Some("V2") => Version::V2,
                _ => Version::V3,
            };
            here = index;
            if let Some(index) = index {
                all.insert(index, Joined { name: name.to_owned(), version, groups: Vec::new() });
            }
        } else if let Some(joined) = here.and_then(|index| all.get_mut(&index))
            && let Some(Ok(group)) = words.next().map(|word| u32::from_str_radix(word, 16))
        {
            let users = words.next().and_then(|users| users.parse().ok()).unwrap_or(1);
            joined.groups.push((Ipv4Addr::from(group.to_ne_bytes()), users));
        }
    }
    all
}

/// The sources that sockets want to hear in each group on the interface, and how many sockets want each.
pub(super) fn included(ifindex: u32) -> io::Result<HashMap<Ipv4Addr, Vec<(Ipv4Addr, usize)>>> {
    Ok(read_included(&fs::read_to_string("/proc/net/mcfilter")?, ifindex))
}

/// A line is index, device, group and source (both `0x` and hex, in network order), sockets that include it, sockets that exclude it.
fn read_included(text: &str, ifindex: u32) -> HashMap<Ipv4Addr, Vec<(Ipv4Addr, usize)>> {
    let address = |word: &str| u32::from_str_radix(word.strip_prefix("0x")?, 16).ok().map(Ipv4Addr::from);
    let read = |line: &str| {
        let mut words = line.split_whitespace();
        let index: u32 = words.next()?.parse().ok()?;
        let (group, source) = (address(words.nth(1)?)?, address(words.next()?)?);
        let including: usize = words.next()?.parse().ok()?;
        (index == ifindex && including > 0).then_some((group, (source, including)))
    };
    let mut all: HashMap<_, Vec<_>> = HashMap::new();
    for (group, source) in text.lines().skip(1).filter_map(read) {
        all.entry(group).or_default().push(source);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
        1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n\
        4\teth0      :     2      V2\n\t\t\t\t010101EF     3 0:00000000\t\t0\n\t\t\t\t010000E0     1 0:00000000\t\t0\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn groups_of_each_interface() {
        let all = read_members(TEXT);
        let groups = vec![(Ipv4Addr::new(239, 1, 1, 1), 3), (Ipv4Addr::new(224, 0, 0, 1), 1)];
        assert_eq!(all[&4], Joined { name: "eth0".into(), version: Version::V2, groups });
        assert_eq!(
            (all[&1].version, all[&1].groups.as_slice()),
            (Version::V3, &[(Ipv4Addr::new(224, 0, 0, 1), 1)][..])
        );
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn sources_of_one_interface() {
        let text = "Idx Device        MCA        SRC    INC    EXC\n  \
            4   eth0 0xef010101 0x0a010101      2      0\n  4   eth0 0xef010101 0x0a010102      0      1\n  \
            5   eth1 0xef010101 0x0a010103      1      0\n";
        let group = Ipv4Addr::new(239, 1, 1, 1);
        assert_eq!(read_included(text, 4), [(group, vec![(Ipv4Addr::new(10, 1, 1, 1), 2)])].into());
        assert!(read_included(text, 6).is_empty());
    }
}
