//! Which groups the host itself has joined: /proc/net/igmp.

use std::{fs, net::Ipv4Addr};

/// The groups that sockets of this network namespace have joined on `interface`, and how many of them; none where the kernel does not
/// say.
pub fn joined(interface: &str) -> Vec<(Ipv4Addr, usize)> {
    groups(&fs::read_to_string("/proc/net/igmp").unwrap_or_default(), interface)
}

/// A line with a colon starts an interface; each line below it is a group, the address as the machine's own integer in hex, and its
/// users.
fn groups(text: &str, interface: &str) -> Vec<(Ipv4Addr, usize)> {
    let mut here = false;
    let mut groups = Vec::new();
    for line in text.lines().skip(1) {
        let mut words = line.split_whitespace();
        if !line.starts_with('\t') {
            here = words.nth(1) == Some(interface);
        } else if here && let Some(Ok(group)) = words.next().map(|word| u32::from_str_radix(word, 16)) {
            let users = words.next().and_then(|users| users.parse().ok()).unwrap_or(1);
            groups.push((Ipv4Addr::from(group.to_ne_bytes()), users));
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
        1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n\
        4\teth0      :     2      V3\n\t\t\t\t010101EF     3 0:00000000\t\t0\n\t\t\t\t010000E0     1 0:00000000\t\t0\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn groups_of_one_interface() {
        assert_eq!(groups(TEXT, "eth0"), [(Ipv4Addr::new(239, 1, 1, 1), 3), (Ipv4Addr::new(224, 0, 0, 1), 1)]);
        assert_eq!(groups(TEXT, "lo"), [(Ipv4Addr::new(224, 0, 0, 1), 1)]);
        assert!(groups(TEXT, "eth1").is_empty());
    }
}
