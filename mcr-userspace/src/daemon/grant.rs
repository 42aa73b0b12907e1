//! What the kernel is asked for, and what it granted: the one place where modes are decided.

use std::io;

use anyhow::bail;

use super::{
    fleet::{IN_HAND, Plan},
    interfaces::Role,
    sockets::{EGRESS_FILL, EGRESS_SEND, largest_mtu},
};
use crate::{
    config::{Mode, Profile},
    kernel::{
        nic::Nic,
        program::{Attachment, Program},
    },
    xsk::{
        port::{Bind, Port, Quota},
        umem::{FILL_RING, Memory},
    },
};

/// How workers are made for the interfaces known at start, with a reserve for one more of each kind.
pub fn plan_fleet(
    workers: u32,
    frames: Option<u32>,
    known: &[(Nic, Role, Mode)],
    profile: Profile,
) -> anyhow::Result<Plan> {
    let largest = known.iter().map(|(nic, ..)| nic.mtu).max().unwrap_or(0);
    let frame_size = if largest > largest_mtu(2048) { 4096 } else { 2048 };
    let mut need = IN_HAND + FILL_RING + EGRESS_SEND + EGRESS_FILL;
    for (nic, role, _) in known {
        need += match role {
            Role::Ingress => nic.xdp_rx_queues.div_ceil(workers) * FILL_RING,
            Role::Egress => EGRESS_FILL,
        } + EGRESS_SEND;
    }
    let demanded = known.iter().any(|(.., mode)| *mode == Mode::Zerocopy);
    let refusal = known.iter().find_map(|(nic, _, mode)| match mode {
        Mode::Copy | Mode::Skb => Some((nic, "its mode is set so".to_owned())),
        Mode::Auto | Mode::Zerocopy => zero_copy_refusal(nic).map(|why| (nic, why)),
    });
    if let (true, Some((nic, why))) = (demanded, &refusal) {
        bail!("--mode zerocopy: {} ({}) grants no zero-copy: {why}", nic.name, nic.driver);
    }
    let zero_copy = refusal.is_none() && !known.is_empty();
    Ok(Plan { workers, frames: frames.unwrap_or(need), frame_size, zero_copy, profile })
}
/// What can be refused before anything is touched.
pub fn check(nic: &Nic, role: Role, mode: Mode, plan: &Plan) -> anyhow::Result<()> {
    let Plan { workers, frame_size, .. } = *plan;
    if mode == Mode::Zerocopy && !plan.zero_copy {
        bail!(
            "{}: mode zerocopy, but the workers' frames are in copy mode since mcrd started; restart it with --mode zerocopy",
            nic.name
        );
    }
    if matches!(mode, Mode::Copy | Mode::Skb) && plan.zero_copy {
        bail!(
            "{}: its mode allows no zero-copy, which the workers' frames have since mcrd started; restart it with --mode copy",
            nic.name
        );
    }
    if let (true, Some(why)) = (plan.zero_copy, zero_copy_trap(nic)) {
        bail!("{}: the workers' frames are in zero-copy mode since mcrd started, and {why}", nic.name);
    }
    if nic.driver == "802.1Q VLAN Support" {
        bail!(
            "{}: a VLAN interface has no packets of its own for XDP; use the interface below it, with `vlan` in the rule",
            nic.name
        );
    }
    if role == Role::Egress && nic.tx_queues < workers {
        bail!(
            "{name}: {} transmit queues are fewer than the {workers} workers; `ethtool -L {name} combined {workers}`, or restart mcrd with --workers {}",
            nic.tx_queues,
            nic.tx_queues,
            name = nic.name
        );
    }
    let largest = largest_mtu(frame_size);
    if nic.mtu > largest {
        bail!(
            "{name}: its MTU of {} is above the {largest} bytes that a frame of {frame_size} holds; `ip link set {name} mtu {largest}`{}",
            nic.mtu,
            if frame_size < 4096 { ", or restart mcrd while the interface is there" } else { "" },
            name = nic.name
        );
    }
    Ok(())
}

/// Attaches the program in the best way that `mode` allows; why it is not the best of all, where it is not.
pub fn attach_program(nic: &Nic, mode: Mode, program: &mut Program) -> anyhow::Result<(Attachment, String)> {
    let name = &nic.name;
    let explain = |error: io::Error| match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => anyhow::anyhow!(
            "{name}: another XDP program is attached, perhaps another mcrd's; see it with `ip link show {name}`, and end its owner first"
        ),
        Some(libc::EPERM) => {
            anyhow::anyhow!("{name}: attaching an XDP program needs root, or CAP_NET_ADMIN and CAP_BPF")
        }
        Some(libc::ERANGE | libc::EOPNOTSUPP | libc::EINVAL) => {
            anyhow::anyhow!("{name}: its driver ({}) refuses XDP: {error}", nic.driver)
        }
        _ => anyhow::anyhow!("{name}: attaching the XDP program: {error}"),
    };
    if mode == Mode::Skb {
        program.attach(nic.ifindex, Attachment::Skb).map_err(explain)?;
        return Ok((Attachment::Skb, String::new()));
    }
    match program.attach(nic.ifindex, Attachment::Driver) {
        Ok(()) => Ok((Attachment::Driver, String::new())),
        Err(error) if mode == Mode::Zerocopy => Err(explain(error)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST | libc::EPERM)) => {
            Err(explain(error))
        }
        Err(error) => {
            program.attach(nic.ifindex, Attachment::Skb).map_err(explain)?;
            let driver = if nic.driver.is_empty() { "its driver" } else { &nic.driver };
            Ok((Attachment::Skb, format!("{driver} has no native XDP here: {error}")))
        }
    }
}

/// Why an interface is in copy mode though zero-copy was welcome.
pub fn copy_reason(nic: &Nic) -> String {
    match zero_copy_refusal(nic) {
        Some(error) => format!("{} grants no zero-copy: {error}", nic.driver),
        None => "another interface grants no zero-copy, and frames are shared with it".to_owned(),
    }
}

/// Asks the driver for zero-copy on a UMEM made for the question; why it refuses, if it does, or why it must not be used.
pub(crate) fn zero_copy_refusal(nic: &Nic) -> Option<String> {
    if let Some(why) = zero_copy_trap(nic) {
        return Some(why);
    }
    let quota = Quota { fill: 0, send: 0 };
    let asked = Memory::new(64, 2048).and_then(|(memory, _pool)| {
        Port::open(&memory, &nic.name, 0, Bind::ZeroCopy, quota).map_err(anyhow::Error::from)
    });
    match asked {
        Ok(port) if port.is_zero_copy() => None,
        Ok(_) => Some("granted a copy instead".to_owned()),
        Err(error) => Some(format!("{:#}", error)),
    }
}

/// Why zero-copy would kill the kernel. virtio_net gives the queues that it took for a program up with it, and then fails to take
/// the UMEM from those (`virtnet_xsk_pool_disable`, seen in 7.3): it is used after it was freed, at the latest when the next
/// program is attached. The order of ends is no way out, since the kernel ends a program before a socket after a SIGKILL.
fn zero_copy_trap(nic: &Nic) -> Option<String> {
    let more = nic.xdp_rx_queues.saturating_sub(nic.rx_queues);
    (more > 0).then(|| {
        format!(
            "it takes {more} more queues for XDP, which does not go together with zero-copy; `ethtool -L {} combined {}` leaves it none to take",
            nic.name, nic.max_queues
        )
    })
}
