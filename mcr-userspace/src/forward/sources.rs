//! Source addresses that an egress uses for some of its outputs alone.

use std::{net::Ipv4Addr, sync::Arc};

/// Where outputs send, and the address that they send from there. Groups in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Special {
    /// The VLAN ID of the tag; `None` is untagged.
    pub vlan: Option<u16>,
    /// The first group.
    pub first: u32,
    /// The last group.
    pub last: u32,
    /// The address; `None` where there is none to send from.
    pub address: Option<Ipv4Addr>,
}

/// All of them; a clone shares them. Most interfaces have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources(Arc<[Special]>);

impl Default for Sources {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

impl Sources {
    /// These.
    pub fn new(mut specials: Vec<Special>) -> Self {
        specials.sort_unstable();
        specials.dedup();
        Self(specials.into())
    }

    /// What packets to this group are sent from in this VLAN, where that is special.
    #[inline]
    pub fn of(&self, vlan: Option<u16>, group: u32) -> Option<&Special> {
        if self.0.is_empty() {
            return None;
        }
        let after = self.0.partition_point(|special| (special.vlan, special.first) <= (vlan, group));
        let mut before = self.0[..after].iter().rev().take_while(|special| special.vlan == vlan);
        before.find(|special| group <= special.last)
    }

    /// Whether outputs to exactly these groups in this VLAN are known.
    pub fn has(&self, vlan: Option<u16>, groups: (u32, u32)) -> bool {
        self.0.iter().any(|special| (special.vlan, special.first, special.last) == (vlan, groups.0, groups.1))
    }

    /// All.
    pub fn iter(&self) -> impl Iterator<Item = &Special> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_vlan_and_group() {
        let special = |vlan, first, last, n| Special { vlan, first, last, address: Some(Ipv4Addr::new(10, 0, 0, n)) };
        let sources = Sources::new(vec![
            special(Some(100), 0, 900, 1),
            special(None, 10, 20, 2),
            special(Some(100), 40, 50, 3),
            special(Some(200), 7, 7, 4),
        ]);
        let of = |vlan, group| sources.of(vlan, group)?.address.map(|address| address.octets()[3]);
        let cases = [
            (None, 9, None),
            (None, 10, Some(2)),
            (None, 20, Some(2)),
            (None, 21, None),
            (Some(100), 39, Some(1)),
            (Some(100), 40, Some(3)),
            (Some(100), 51, Some(1)),
            (Some(100), 901, None),
            (Some(200), 7, Some(4)),
            (Some(200), 8, None),
            (Some(300), 7, None),
        ];
        for (vlan, group, expected) in cases {
            assert_eq!(of(vlan, group), expected, "{vlan:?} {group}");
        }
        assert!(sources.has(Some(200), (7, 7)) && !sources.has(Some(200), (7, 8)));
        assert_eq!(Sources::default().of(None, 1), None);
    }
}
