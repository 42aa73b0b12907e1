//! What the kernel is asked for, and what it granted: the one place where modes are decided.
//!
//! Each interface gets the best by itself. Two that are zero-copy share UMEMs, two that copy do, and a packet between one of each is
//! copied once by its worker; so an interface that can only copy slows no other down (docs/kernel.md has the figures).

use std::{io, path::Path};

use anyhow::bail;

use super::{
    retry::MayPass,
    suitable::needs_skb,
    trial::{self, Probe, Verdict},
};
use crate::{
    config::Mode,
    doctor::quoted,
    kernel::{
        answer, descriptors,
        holders::{self, Holder},
        ifreq::has_link,
        link::{self, Link},
        nic::Nic,
        program::{Attachment, Program},
    },
};

/// What an interface was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// How the program is attached.
    pub attachment: Attachment,
    /// Whether its sockets may be zero-copy.
    pub zero_copy: bool,
    /// Why it is not the best of all, or what is doubtful about it; empty where it is, or where no better was asked for.
    pub reason: String,
    /// What zero-copy has shown, where it was granted and asked for.
    pub shown: Option<Verdict>,
}

/// A mode was demanded, and the driver does not grant it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotGranted(pub String);

/// What comes of asking for zero-copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The kernel grants it, and it works.
    Granted,
    /// The kernel grants it; whether it works is not seen without a link.
    Open,
    /// It grants it, and yet packets may be lost, for this reason: only who demands it gets it.
    Doubtful(String),
    /// It grants it, and then it does not work.
    Fails(String),
    /// It refuses, or it must not be used.
    Refused(String),
    /// It could not be asked, for lack of a descriptor or of memory.
    NotAsked(String),
}

/// Attaches the program in the best way that `mode` allows, and tries zero-copy, with frames as they will be used. Where it is refused
/// the program is gone again.
pub fn grant(nic: &Nic, mode: Mode, program: &mut Program) -> anyhow::Result<Grant> {
    let mut is_attached = false;
    // A driver may take its link down for a moment when the program comes.
    let had_link = has_link(&nic.name);
    let zero_copy = || zero_copy_trap(nic).map_or_else(|| try_zero_copy(nic, had_link), Answer::Refused);
    let attach = |how| program.attach(nic.ifindex, how).inspect(|()| is_attached = true);
    let granted = decide(nic, mode, attach, zero_copy);
    if granted.is_err() && is_attached {
        // The error that matters is the first.
        let _ = program.detach(nic.ifindex);
    }
    granted
}

/// The decision, from the kernel's answers: whether the program goes on in one way or another, and what comes of asking for zero-copy.
fn decide(
    nic: &Nic,
    mode: Mode,
    mut attach: impl FnMut(Attachment) -> io::Result<()>,
    zero_copy: impl FnOnce() -> Answer,
) -> anyhow::Result<Grant> {
    let (name, driver) = (&nic.name, nic.driver_word());
    let copy = |attachment, reason: String| Ok(Grant { attachment, zero_copy: false, reason, shown: None });
    if mode == Mode::Skb {
        attach(Attachment::Skb).map_err(|error| refused(nic, error))?;
        return copy(Attachment::Skb, String::new());
    }
    if let Some(why) = needs_skb(nic) {
        if mode != Mode::Auto {
            let word = if mode == Mode::Zerocopy { "zerocopy" } else { "copy" };
            bail!("{name}: mode {word}, but {why}; leave the choice to mcrd with mode auto");
        }
        attach(Attachment::Skb).map_err(|error| refused(nic, error))?;
        return copy(Attachment::Skb, why);
    }
    if let Err(error) = attach(Attachment::Driver) {
        let belongs_to_others = matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST | libc::EPERM));
        // Drivers say that they have too few queues by ENOMEM.
        let says_nothing = answer::is_none(&error) && error.raw_os_error() != Some(libc::ENOMEM);
        if mode != Mode::Auto || belongs_to_others || says_nothing {
            return Err(refused(nic, error));
        }
        attach(Attachment::Skb).map_err(|error| refused(nic, error))?;
        return copy(Attachment::Skb, format!("{driver} has no native XDP here: {error}"));
    }
    if mode == Mode::Copy {
        return copy(Attachment::Driver, String::new());
    }
    let granted =
        |reason, shown| Ok(Grant { attachment: Attachment::Driver, zero_copy: true, reason, shown: Some(shown) });
    match zero_copy() {
        Answer::Granted => granted(String::new(), Verdict::Works),
        Answer::Open => granted(String::new(), Verdict::Open),
        Answer::Doubtful(why) if mode == Mode::Zerocopy => granted(why, Verdict::Works),
        Answer::Doubtful(why) => copy(Attachment::Driver, format!("{why}; mode zerocopy takes it all the same")),
        Answer::NotAsked(why) => bail!(MayPass(format!("{name}: the kernel could not be asked for zero-copy: {why}"))),
        Answer::Fails(why) if mode == Mode::Zerocopy => bail!(NotGranted(demanded_in_vain(nic, &why))),
        Answer::Fails(why) => {
            let grant = copy(Attachment::Driver, fails(nic, &why))?;
            Ok(Grant { shown: Some(Verdict::Fails), ..grant })
        }
        Answer::Refused(why) if mode == Mode::Zerocopy => bail!(NotGranted(format!(
            "{name}: mode zerocopy, but {driver} grants no zero-copy: {why}; leave the choice to mcrd with mode auto"
        ))),
        Answer::Refused(why) => copy(Attachment::Driver, format!("{driver} grants no zero-copy: {why}")),
    }
}

/// What it means to the user that the program cannot be attached.
fn refused(nic: &Nic, error: io::Error) -> anyhow::Error {
    let name = &nic.name;
    match error.raw_os_error() {
        Some(libc::EEXIST) if let Some(why) = program_above(nic.ifindex) => MayPass(format!("{name}: {why}")).into(),
        Some(libc::EBUSY | libc::EEXIST) => MayPass(in_the_way(nic)).into(),
        Some(libc::EPERM) => {
            anyhow::anyhow!("{name}: attaching an XDP program needs root, or CAP_NET_ADMIN and CAP_BPF")
        }
        Some(libc::ERANGE | libc::EOPNOTSUPP | libc::EINVAL) => {
            NotGranted(format!("{name}: {} refuses native XDP: {error}; mode skb does without", nic.driver_word()))
                .into()
        }
        _ => match descriptors::explain(&error) {
            Some(why) => MayPass(format!("{name}: attaching the XDP program: {why}")).into(),
            None => anyhow::anyhow!("{name}: attaching the XDP program: {error}"),
        },
    }
}

/// Which program is attached already, and the command that takes it away.
fn in_the_way(nic: &Nic) -> String {
    let name = &nic.name;
    let (whose, remedy) = match owner_of_program(nic.ifindex) {
        // An attachment that a process holds ends with it, and not by `ip`.
        Some(owner) if owner.link => {
            (format!(", by {} (process {})", owner.name, owner.pid), format!("end it first: `kill {}`", owner.pid))
        }
        owner => {
            let whose = owner.map(|owner| format!(", by {} (process {})", owner.name, owner.pid)).unwrap_or_default();
            let off = link::of(nic.ifindex).ok().and_then(|link| link.xdp).map_or("xdp", |xdp| xdp.mode.word());
            (whose, format!("take it away first: `ip link set dev {} {off} off`", quoted(name)))
        }
    };
    format!("{name}: another XDP program is attached{whose}; {remedy}")
}

/// Why an interface without a program takes none: one that is on top of it has one (`dev_xdp_attach`, net/core/dev.c), such as a
/// macvlan, or the bridge that it is a port of.
fn program_above(ifindex: u32) -> Option<String> {
    let links = link::all().ok()?;
    let below = links.iter().find(|link| link.ifindex == ifindex).filter(|link| link.xdp.is_none())?;
    let is_above =
        |link: &&Link| below.master == Some(link.ifindex) || link.kind != "veth" && link.other_end == Some(ifindex);
    let above = links.iter().filter(is_above).find(|link| link.xdp.is_some())?;
    let owner = owner_of_program(above.ifindex);
    let is_own = owner.as_ref().is_some_and(|owner| owner.pid == std::process::id());
    let whose = match owner {
        Some(_) if is_own => "mcrd's own, since a rule or a flag names it".to_owned(),
        Some(owner) => format!("of {} (process {})", owner.name, owner.pid),
        None => "another's".to_owned(),
    };
    let above = &above.name;
    let remedy = if is_own {
        format!("name one of the two alone: {above}, or this one")
    } else {
        "end its owner first".to_owned()
    };
    Some(format!("the kernel takes no XDP program below {above}, which has one, {whose}; {remedy}"))
}

/// Who has attached the program that an interface has, as far as that can be seen.
fn owner_of_program(ifindex: u32) -> Option<Holder> {
    let program = link::of(ifindex).ok()?.xdp?.program;
    holders::of(program).into_iter().next()
}

/// Why an interface copies whose driver grants zero-copy.
pub fn fails(nic: &Nic, why: &str) -> String {
    format!("{} grants zero-copy, which does not work here: {why}", nic.driver_word())
}

/// What it means to the user that zero-copy does not work where nothing else will do.
pub fn demanded_in_vain(nic: &Nic, why: &str) -> String {
    format!("{}: mode zerocopy, but {}; leave the choice to mcrd with mode auto", nic.name, fails(nic, why))
}

/// Asks the driver whether it grants zero-copy, where no program is attached: whether it works is seen only with one.
pub fn ask_for_zero_copy(nic: &Nic) -> Answer {
    match zero_copy_trap(nic) {
        Some(why) => Answer::Refused(why),
        None => asked(nic, Probe::new(nic, false).map(|probe| probe.map(|_| Verdict::Works))),
    }
}

/// Asks for it where the program is attached, and waits until the driver has shown whether it works. `had_link`: a link that has gone
/// is waited for.
fn try_zero_copy(nic: &Nic, had_link: bool) -> Answer {
    let wait = |probe: Option<Probe>| Ok(probe.map(Probe::wait).transpose()?);
    asked(nic, Probe::new(nic, had_link).and_then(wait))
}

/// What comes of what a [`Probe`] has shown.
pub fn asked(nic: &Nic, shown: anyhow::Result<Option<Verdict>>) -> Answer {
    match shown {
        Ok(Some(Verdict::Fails)) => Answer::Fails(trial::why(nic)),
        Ok(Some(shown)) => match zero_copy_doubt(nic, Path::new(VIRTIO_NET_STATE).exists()) {
            Some(why) => Answer::Doubtful(why),
            None if shown == Verdict::Open => Answer::Open,
            None => Answer::Granted,
        },
        Ok(None) => Answer::Refused("granted a copy instead".to_owned()),
        Err(error) if error.chain().filter_map(|cause| cause.downcast_ref()).any(answer::is_none) => {
            Answer::NotAsked(format!("{:#}", descriptors::explained(error)))
        }
        Err(error) => Answer::Refused(format!("{error:#}")),
    }
}

/// Exists where virtio_net is a module, and not where it is part of the kernel.
const VIRTIO_NET_STATE: &str = "/sys/module/virtio_net/initstate";

/// Why packets may be lost though the kernel grants zero-copy. virtio_net sends a header of zeros before each packet, a variable of
/// its own (`xsk_hdr`), which it maps as if it were the kernel's (`virtqueue_map_single_attrs()`, 6.13 to 7.3 at least). A module's
/// variables lie elsewhere, so that the host reads other memory: zeros most of the time, and else a header that makes it drop every
/// packet, while the driver counts them as sent (docs/kernel.md).
fn zero_copy_doubt(nic: &Nic, is_module: bool) -> Option<String> {
    (nic.driver == "virtio_net" && is_module).then(|| {
        "virtio_net is a module, whose zero-copy sends a header from wrong memory: the host may drop all that is sent".to_owned()
    })
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

#[cfg(test)]
mod tests;
