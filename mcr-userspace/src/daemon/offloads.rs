//! VLAN tags must be in the packet for XDP to see them: a tag that the NIC takes out and keeps beside it makes a tagged packet look
//! untagged, and it would be matched by the wrong rule.
//!
//! So an ingress's `rx-vlan-offload` is turned off before the program is attached, and on again at the end. After a SIGKILL it stays
//! off, which costs the host a little work for each tagged packet and nothing else.

use std::{collections::BTreeMap, io};

use crate::{
    kernel::{
        answer::{is_gone, known},
        ethtool::{Ethtool, Feature, RX_VLAN_HW_PARSE, TX_VLAN_HW_INSERT},
        ifreq::name_of,
        link::{self, Link},
        nic::Nic,
    },
    rules::{rule::Rule, set::RuleSet},
};

/// What was changed on interfaces that rules match on.
#[derive(Debug, Default)]
pub struct Offloads {
    /// Indices of the interfaces whose offload was on.
    turned_off: Vec<u32>,
    /// All that were looked at, and whether the log has told the hint of each.
    ingresses: BTreeMap<String, bool>,
}

/// The other end of an ingress.
enum Peer {
    /// There is none: it is no veth.
    None,
    /// In another network namespace.
    OutOfSight,
    /// Of this name.
    Here(String),
}

impl Offloads {
    /// Sees to it that `nic` leaves tags in packets; a failure is a warning and no more. Whether something was changed.
    pub fn keep_tags(&mut self, nic: &Nic) -> bool {
        let name = &nic.name;
        let turned = turn_off(name).unwrap_or_else(|error| {
            log::warn!("{name}: turning its rx-vlan-offload off: {error}");
            false
        });
        if turned {
            log::info!("{name}: rx-vlan-offload is off while mcrd runs, so that it sees VLAN tags");
            self.turned_off.push(nic.ifindex);
        }
        self.ingresses.entry(name.clone()).or_default();
        let links = link::all().unwrap_or_default();
        stripped(name).into_iter().chain(kept_beside(name, &links)).for_each(|warning| log::warn!("{warning}"));
        turned
    }

    /// Says once for an interface what stands in the way of `rule`, where that needs tags.
    pub fn hint(&mut self, rule: &Rule) {
        let name = &rule.matcher.interface;
        if let Some(said) = self.ingresses.get_mut(name).filter(|said| needs_tags(rule) && !**said) {
            *said = true;
            let links = link::all().unwrap_or_default();
            hint_of(name, &links).into_iter().for_each(|warning| log::warn!("{warning}"));
        }
    }

    /// Why tags are, or may be, invisible to `rules`, each in one line; `shows_tags` tells where tagged packets have matched.
    pub fn warnings(&self, rules: &RuleSet, shows_tags: impl Fn(&str) -> bool) -> Vec<String> {
        let links = link::all().unwrap_or_default();
        let of = |name: &String| {
            let needed = rules.iter().any(|rule| rule.matcher.interface == *name && needs_tags(rule));
            let perhaps = (needed && !shows_tags(name)).then(|| hint_of(name, &links)).flatten();
            stripped(name).into_iter().chain(kept_beside(name, &links)).chain(perhaps)
        };
        self.ingresses.keys().flat_map(of).collect()
    }

    /// Makes `nic` what it was, after its attachment failed.
    pub fn restore(&mut self, nic: &Nic) {
        self.turned_off.retain(|&ifindex| ifindex != nic.ifindex);
        self.ingresses.remove(&nic.name);
        turn_on(nic.ifindex);
    }

    /// Makes all interfaces what they were.
    pub fn restore_all(&mut self) {
        self.turned_off.drain(..).for_each(turn_on);
    }
}

/// For ends without [`Offloads::restore_all`]: an error at the start, a panic.
impl Drop for Offloads {
    fn drop(&mut self) {
        self.restore_all();
    }
}

fn needs_tags(rule: &Rule) -> bool {
    rule.matcher.vlan.is_some()
}

/// Turns the offload off where it is on and can be changed; whether it was so.
fn turn_off(name: &str) -> io::Result<bool> {
    let ethtool = Ethtool::new(name)?;
    match known(ethtool.feature(RX_VLAN_HW_PARSE))?.flatten() {
        Some(Feature { on: true, changeable: true }) => ethtool.set_feature(RX_VLAN_HW_PARSE, false).map(|()| true),
        // What tells of no such offload takes no tag.
        _ => Ok(false),
    }
}

fn turn_on(ifindex: u32) {
    // By index: it may have been renamed.
    let name = match name_of(ifindex) {
        Ok(name) => name,
        Err(error) if is_gone(&error) => return log::debug!("interface {ifindex} is gone"),
        Err(error) => {
            return log::warn!(
                "interface {ifindex}: its rx-vlan-offload stays off, since it has not been found: {error}"
            );
        }
    };
    if let Err(error) = Ethtool::new(&name).and_then(|ethtool| ethtool.set_feature(RX_VLAN_HW_PARSE, true)) {
        log::warn!(
            "{name}: its rx-vlan-offload stays off: {error}; `ethtool -K {name} rx-vlan-offload on` restores it"
        );
    }
}

/// Where the offload is on all the same.
fn stripped(name: &str) -> Option<String> {
    let feature = Ethtool::new(name).and_then(|ethtool| ethtool.feature(RX_VLAN_HW_PARSE)).ok()??;
    let remedy = match feature.changeable {
        true => format!("`ethtool -K {name} rx-vlan-offload off`"),
        false => "its driver cannot turn it off".to_owned(),
    };
    feature.on.then(|| {
        format!("{name}: its rx-vlan-offload is on and takes tags out of packets before mcr sees them: a rule with `vlan` matches nothing, and one without matches tagged packets too; {remedy}")
    })
}

/// Where a veth's peer leaves tags beside the packets that it sends: they cross so.
fn kept_beside(name: &str, links: &[Link]) -> Option<String> {
    let Peer::Here(peer) = peer(name, links) else { return None };
    let feature = Ethtool::new(&peer).and_then(|ethtool| ethtool.feature(TX_VLAN_HW_INSERT)).ok()??;
    feature.on.then(|| {
        format!("{name}: its peer {peer} may leave a VLAN tag beside the packet, where mcr does not see it; `ethtool -K {peer} tx-vlan-offload off`")
    })
}

/// What rules that match on tags meet here: a bridge, or a peer of which nothing can be known.
fn hint_of(name: &str, links: &[Link]) -> Option<String> {
    let begins = format!("{name}: rules match on VLAN tags here, and");
    if links.iter().any(|link| link.name == name && link.kind == "bridge") {
        return Some(format!(
            "{begins} a bridge takes those out of packets before mcr sees them; use the bridge's ports"
        ));
    }
    matches!(peer(name, links), Peer::OutOfSight).then(|| {
        format!("{begins} its peer, in another network namespace, may leave them beside the packets, where mcr does not see them; there, for the PEER of {name}: `ethtool -K PEER tx-vlan-offload off`")
    })
}

fn peer(name: &str, links: &[Link]) -> Peer {
    let Some(link) = links.iter().find(|link| link.name == name && link.kind == "veth") else { return Peer::None };
    match links.iter().find(|other| Some(other.ifindex) == link.other_end) {
        Some(other) => Peer::Here(other.name.clone()),
        None => Peer::OutOfSight,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_here_or_out_of_sight() {
        let link = |ifindex, name: &str, kind: &str, other_end| Link {
            ifindex,
            name: name.into(),
            kind: kind.into(),
            other_end,
            ..Link::default()
        };
        let links = [link(1, "a", "veth", Some(2)), link(2, "b", "veth", Some(1)), link(3, "c", "veth", None)];
        assert!(matches!(peer("a", &links), Peer::Here(other) if other == "b"));
        assert!(matches!(peer("c", &links), Peer::OutOfSight));
        let vlan = [link(4, "d", "vlan", Some(1))];
        assert!(matches!(peer("d", &vlan), Peer::None));
        assert!(hint_of("br0", &[link(5, "br0", "bridge", None)]).is_some_and(|hint| hint.contains("ports")));
        assert!(hint_of("c", &links).is_some_and(|hint| hint.contains("tx-vlan-offload off")));
        assert_eq!(hint_of("a", &links), None);
    }
}
