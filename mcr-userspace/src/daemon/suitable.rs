//! Interfaces that cannot be used at all, by what the kernel says that they are.

use crate::kernel::nic::Nic;

/// Kinds that bundle several interfaces into one (drivers/net/bonding, drivers/net/team).
const BUNDLES: [&str; 2] = ["bond", "team"];

/// Whether interfaces of this kind bundle others, which are for nothing else then.
pub fn is_bundle(kind: &str) -> bool {
    BUNDLES.contains(&kind)
}

/// Why nothing can be received from, nor sent to, `nic`, and what to name in its place; without its name.
pub fn unsuitable(nic: &Nic) -> Option<String> {
    if nic.hardware != libc::ARPHRD_ETHER {
        let behind = if nic.hardware == libc::ARPHRD_LOOPBACK { ", and no segment is behind it" } else { "" };
        return Some(format!(
            "it has no Ethernet (link/{}){behind}: mcr receives and sends Ethernet frames; name an Ethernet interface, which `ip link` lists as link/ether",
            link_type(nic.hardware)
        ));
    }
    let bundle = nic.master.as_ref().filter(|master| is_bundle(&master.kind))?;
    Some(format!(
        "it is a port of the {kind} {master}, which takes its packets; name {master} in its place",
        kind = bundle.kind,
        master = bundle.name
    ))
}

/// Refuses what is [`unsuitable`].
pub fn check(nic: &Nic) -> anyhow::Result<()> {
    unsuitable(nic).map_or(Ok(()), |why| Err(anyhow::anyhow!("{}: {why}", nic.name)))
}

/// Why the program must run in skb mode on `nic`, though the driver may have native XDP: a bond's is run by its ports, on queues of
/// theirs, and a socket takes packets of the interface alone that it is bound to (`xsk_rcv_check`, net/xdp/xsk.c).
pub fn needs_skb(nic: &Nic) -> Option<String> {
    BUNDLES
        .contains(&nic.kind.as_str())
        .then(|| format!("native XDP runs in the ports of a {}, on queues that are not {}'s", nic.kind, nic.name))
}

/// The type of a link as `ip link` shows it (linux/if_arp.h).
fn link_type(hardware: u16) -> String {
    let name = match hardware {
        libc::ARPHRD_LOOPBACK => "loopback",
        libc::ARPHRD_NONE => "none",
        libc::ARPHRD_PPP => "ppp",
        libc::ARPHRD_CAN => "can",
        libc::ARPHRD_INFINIBAND => "infiniband",
        libc::ARPHRD_TUNNEL => "ipip",
        libc::ARPHRD_TUNNEL6 => "tunnel6",
        libc::ARPHRD_SIT => "sit",
        libc::ARPHRD_IPGRE => "gre",
        other => return other.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::nic::Master;

    #[test]
    fn what_is_refused_says_what_it_is() {
        let ethernet = Nic { name: "a".into(), hardware: libc::ARPHRD_ETHER, ..Nic::default() };
        let port = |kind: &str| {
            let master = Master { name: "up0".into(), kind: kind.into() };
            unsuitable(&Nic { master: Some(master), ..ethernet.clone() })
        };
        assert_eq!(unsuitable(&ethernet), None);
        assert_eq!((port("bridge"), port("vrf")), (None, None));
        for kind in BUNDLES {
            assert!(port(kind).is_some_and(|why| why.contains(&format!("{kind} up0"))));
            assert!(needs_skb(&Nic { kind: kind.into(), ..ethernet.clone() }).is_some());
        }
        assert_eq!(needs_skb(&ethernet), None);
        for (hardware, shown) in
            [(libc::ARPHRD_LOOPBACK, "link/loopback"), (libc::ARPHRD_NONE, "link/none"), (999, "link/999")]
        {
            let why = unsuitable(&Nic { hardware, ..ethernet.clone() }).expect("it is no Ethernet");
            assert!(why.contains(shown), "{why}");
        }
    }
}
