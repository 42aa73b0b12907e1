//! Says once for each rule that its packets are too long to be forwarded, and what helps.

use mcr_common::counter::RuleDrop;

use super::{fit::largest_mtu, interfaces::Interface, state::State};
use crate::{
    control::protocol::{Event, EventKind},
    kernel::program::Attachment,
};

impl State {
    /// Looks at every rule's `oversize`.
    pub fn say_oversize(&mut self) {
        for (name, live) in &mut self.live {
            let Some(active) = live.active.as_ref().filter(|_| !live.said_oversize) else { continue };
            if active.counters.iter().all(|counters| counters.dropped[RuleDrop::Oversize as usize].get() == 0) {
                continue;
            }
            live.said_oversize = true;
            let ingress = &active.rule.matcher.interface;
            let remedy = self.interfaces.find(ingress).map(|(_, interface)| remedy(interface)).unwrap_or_default();
            let told = format!("packets on {ingress} are longer than a frame takes and are dropped (oversize){remedy}");
            log::warn!("rule {name}: {told}");
            self.journal.note(Event::now(EventKind::Alarm).rule(name).reason(told));
        }
    }
}

/// What helps on this interface, to be put behind what is said.
pub fn remedy(interface: &Interface) -> String {
    let (name, capacity) = (&interface.nic.name, interface.facts.capacity);
    // A frame's length is that of the packets, less the room before them.
    let largest = largest_mtu(capacity + mcr_common::limits::XDP_HEADROOM);
    if interface.nic.mtu > largest {
        return format!(
            ": its MTU is {}, and frames hold packets of {largest}; `ip link set {name} mtu {largest}`, or restart mcrd while the MTU is so",
            interface.nic.mtu
        );
    }
    if interface.attachment == Attachment::Skb || interface.nic.driver == "tun" {
        return format!(
            ": datagrams come merged; where they are sent, for the sending INTERFACE: `ethtool -K INTERFACE tx-udp-segmentation off`; on {name} and each port of a bridge: `ethtool -K {name} rx-udp-gro-forwarding off rx-gro-list off`"
        );
    }
    format!(": its sender's packets are to be at most {largest} bytes of IP")
}
