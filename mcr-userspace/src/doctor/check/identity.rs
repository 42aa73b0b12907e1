//! What an interface is, and whether it is in use at all: kind, link, address.

use super::super::{
    facts::{Host, Interface},
    finding::Finding,
};
use crate::daemon::suitable::unsuitable;

/// What it is, and whether mcr can use it.
pub fn kind(interface: &Interface) -> (Finding, bool) {
    let unusable = |found: String| (Finding::problem("kind", found), false);
    let below = interface.other_end.as_deref().unwrap_or("the interface below it");
    let ports = match interface.ports.is_empty() {
        true => "its ports".to_owned(),
        false => format!("its ports ({})", interface.ports.join(", ")),
    };
    let link = &interface.link;
    match link.kind.as_str() {
        "vlan" => {
            return unusable(format!(
                "a VLAN interface has no packets of its own for XDP, and mcrd refuses it: use {below}, with `vlan` in the rule"
            ));
        }
        _ => {
            if let Some(why) = unsuitable(&interface.nic) {
                return unusable(why);
            }
        }
    }
    let finding = match link.kind.as_str() {
        "bridge" => Finding::warning(
            "kind",
            format!(
                "a bridge: XDP here sees only what the bridge hands up to the host, which it goes on forwarding between {ports} too; use one of those"
            ),
        ),
        kind @ ("bond" | "team") => Finding::note(
            "kind",
            format!(
                "a {kind} of {ports}: name it, and not those, in rules; packets come through a fail-over, in skb mode"
            ),
        ),
        _ if interface.wireless => {
            Finding::warning("kind", "wireless, untested: multicast is slow there, and nobody repeats what is lost")
        }
        kind => {
            let what = if kind.is_empty() { "Ethernet".to_owned() } else { format!("Ethernet, {kind}") };
            match &interface.master {
                None => Finding::ok("kind", what),
                Some(master) => Finding::note(
                    "kind",
                    format!("{what}, a port of {master}: what a rule takes does not reach {master}"),
                ),
            }
        }
    };
    (finding, true)
}

/// Whether packets can come and go.
pub fn link(interface: &Interface, _: &Host) -> Option<Finding> {
    Some(if !interface.is_up() {
        Finding::problem("link", "it is down").fix(format!("ip link set dev {} up", interface.word()))
    } else if !interface.link.carrier {
        Finding::warning("link", "it is up, without a carrier: nobody is at the other end, or that one is down")
    } else {
        Finding::ok("link", "up, with a carrier")
    })
}

/// What `source = "interface"`, the default, needs.
pub fn address(interface: &Interface, _: &Host) -> Option<Finding> {
    Some(match interface.nic.address {
        Some(address) => Finding::ok("address", format!("{address} is the source of what is sent here")),
        None => Finding::note(
            "address",
            format!(
                "no IPv4 address: outputs here need source=keep or source=ADDRESS, or one by `ip addr add ADDRESS/LEN dev {}`",
                interface.word()
            ),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::finding::Severity,
        kernel::{
            link::Link,
            nic::{Master, Nic},
        },
    };

    fn of(kind: &str) -> Interface {
        Interface {
            link: Link { kind: kind.into(), ..Link::default() },
            nic: Nic { hardware: libc::ARPHRD_ETHER, kind: kind.into(), ..Nic::default() },
            ..Interface::default()
        }
    }

    #[test]
    fn what_to_use_instead_is_named() {
        let (finding, usable) = kind(&Interface { other_end: Some("eth0".into()), ..of("vlan") });
        assert!(!usable && finding.severity == Severity::Problem && finding.found.contains("use eth0"), "{finding:?}");
        let (finding, usable) = kind(&Interface { ports: vec!["a".into(), "b".into()], ..of("bridge") });
        assert!(usable && finding.severity == Severity::Warning && finding.found.contains("(a, b)"), "{finding:?}");
        let mut tunnel = of("tun");
        tunnel.nic.hardware = libc::ARPHRD_NONE;
        assert!(!kind(&tunnel).1);
        let mut port = of("veth");
        port.nic.master = Some(Master { name: "bond0".into(), kind: "bond".into() });
        let (finding, usable) = kind(&port);
        assert!(!usable && finding.found.contains("name bond0"), "{finding:?}");
        let (finding, usable) = kind(&Interface { ports: vec!["a".into(), "b".into()], ..of("bond") });
        assert!(usable && finding.severity == Severity::Note && finding.found.contains("and not those"), "{finding:?}");
        let (finding, _) = kind(&Interface { master: Some("br0".into()), ..of("veth") });
        assert_eq!((finding.severity, finding.found.contains("br0")), (Severity::Note, true));
        assert_eq!(kind(&of("")).0.severity, Severity::Ok);
    }

    #[test]
    fn down_and_without_carrier() {
        let mut interface = of("veth");
        let judged = |interface: &Interface| link(interface, &Host::default()).expect("always");
        assert_eq!(judged(&interface).severity, Severity::Problem);
        interface.link.flags = libc::IFF_UP as u32;
        assert_eq!(judged(&interface).severity, Severity::Warning);
        interface.link.carrier = true;
        assert_eq!(judged(&interface).severity, Severity::Ok);
    }
}
