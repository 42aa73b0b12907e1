//! The host's interfaces in VLANs, such as `eth0.100`: only by them does it ask for groups there.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::kernel::link;

/// An interface in a VLAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Whether it is up: else the host reports nothing there.
    pub is_up: bool,
}

/// All of them, as they were a moment ago, by the interface that they are on and the VLAN's ID.
#[derive(Debug, Default)]
pub struct Vlans {
    pub(super) found: BTreeMap<(u32, u16), Vlan>,
    looked: Option<Instant>,
}

/// linux/if.h, `IFNAMSIZ` without its NUL.
const LONGEST_NAME: usize = 15;
/// How long that moment is where one is sought in vain: rules that come one after the other ask the kernel once.
const MOMENT: Duration = Duration::from_millis(20);

impl Vlans {
    /// Asks the kernel for all of them.
    pub fn look(&mut self) {
        self.looked = Some(Instant::now());
        let Ok(links) = link::all() else { return };
        let of = |link: link::Link| {
            let is_up = link.flags & libc::IFF_UP as u32 != 0;
            Some(((link.other_end?, link.vlan?), Vlan { ifindex: link.ifindex, name: link.name, is_up }))
        };
        self.found = links.into_iter().filter_map(of).collect();
    }

    /// The one in `vlan` on the interface; looked for where it is not known.
    pub fn find(&mut self, on: u32, vlan: u16) -> Option<&Vlan> {
        if !self.found.contains_key(&(on, vlan)) && self.looked.is_none_or(|looked| looked.elapsed() >= MOMENT) {
            self.look();
        }
        self.known(on, vlan)
    }

    /// The one that is known.
    pub fn known(&self, on: u32, vlan: u16) -> Option<&Vlan> {
        self.found.get(&(on, vlan))
    }
}

/// The command that makes an interface in a VLAN.
pub fn remedy(name: &str, vlan: u16) -> String {
    let mut new = format!("{name}.{vlan}");
    if new.len() > LONGEST_NAME {
        new = format!("vlan{vlan}");
    }
    format!("ip link add link {name} name {new} type vlan id {vlan} && ip link set {new} up")
}
