//! Asks the machine: the one place that does.

mod firewall;

use std::{fs, io, path::Path};

use super::{
    check,
    facts::{Daemon, Host, Interface, ZeroCopy},
    finding::{Finding, Severity, quoted, shown},
    report::{Examined, Report},
};
use crate::{
    control::{
        client::Client,
        protocol::{CheckResult, Request, Response, RuleFinding},
    },
    daemon::{
        modes::{Answer, ask_for_zero_copy},
        suitable::{is_bundle, needs_skb, unsuitable},
    },
    kernel::{
        capabilities::effective,
        ethtool::{Ethtool, TX_VLAN_HW_INSERT},
        holders, interrupts,
        link::{self, Link},
        netdev::{is_paired, xdp_features},
        nic::{Altname, Nic},
        sched, version,
    },
};

/// Version of the report's object.
const VERSION: u32 = 1;

/// Examines these interfaces; where none is named, those of the daemon on `socket`, or else all that are up.
pub fn examine(names: &[String], socket: &Path) -> Report {
    let listed = link::all();
    let unlisted = listed.as_ref().err().map(|error| format!("the kernel does not list them: {error}"));
    let links = listed.unwrap_or_default();
    let host = host(names, socket);
    let wanted = if names.is_empty() { by_default(&links, &host.daemon) } else { unique(names) };
    let mut findings = check::host(&host);
    if let Some(why) = unlisted {
        findings.push(Finding::not_checked("interfaces", why));
    } else if wanted.is_empty() {
        findings.push(Finding::note("interfaces", "no Ethernet interface is up here; `ip link` lists all"));
    }
    // A driver is asked for a socket only where the user has named its interface: on some that starts a queue anew.
    let ask = !names.is_empty();
    let interfaces = wanted.iter().map(|name| interface(name, &links, &host, ask)).collect();
    Report { version: VERSION, host: findings, interfaces }
}

/// What stands between an ingress of mcrd and its senders, as far as this process sees it: a firewall, and who asks for memberships.
/// Where nothing arrives (`is_silent`) what may be wrong counts as wrong.
pub fn hearing(name: &str, socket: &Path, is_silent: bool) -> Vec<RuleFinding> {
    let host = host(&[], socket);
    if host.serves(name).is_none() {
        return Vec::new();
    }
    let (Ok(nic), Ok(links)) = (Nic::read(name), link::all()) else { return Vec::new() };
    let Some(link) = links.iter().find(|link| link.name == name) else { return Vec::new() };
    let facts = facts(nic, link, &links, &host, false);
    let told = check::hearing(&facts, &host).into_iter().filter_map(|finding| {
        let result = match finding.severity {
            Severity::Problem => CheckResult::Problem,
            Severity::Warning if is_silent => CheckResult::Problem,
            Severity::Ok | Severity::Note | Severity::Warning => CheckResult::Ok,
            Severity::NotChecked => return None,
        };
        let (check, place) = (finding.id.to_owned(), name.to_owned());
        Some(RuleFinding { check, place, result, text: finding.found, fix: finding.fix })
    });
    told.collect()
}

fn interface(name: &str, links: &[Link], host: &Host, ask: bool) -> Examined {
    let (nic, link) = match (Nic::read(name), links.iter().find(|link| link.name == name)) {
        (Ok(nic), Some(link)) => (nic, link),
        (Err(ref error), _) if let Some(Altname { name: real }) = altname(error) => {
            let finding = Finding::problem("name", format!("{} {error}", shown(name)));
            let findings = vec![finding.fix(format!("mcrctl doctor {}", quoted(real)))];
            return Examined { name: name.to_owned(), findings, ..Examined::default() };
        }
        (Err(error), _)
            if error.raw_os_error() != Some(libc::ENODEV) && error.kind() != io::ErrorKind::InvalidInput =>
        {
            let finding = Finding::not_checked("name", format!("the kernel does not describe it: {error}"));
            return Examined { name: name.to_owned(), findings: vec![finding], ..Examined::default() };
        }
        (Ok(_), None) if links.is_empty() => {
            let finding = Finding::not_checked("name", "the kernel does not list it");
            return Examined { name: name.to_owned(), findings: vec![finding], ..Examined::default() };
        }
        _ => {
            let others: Vec<String> = links.iter().map(|link| link.name.clone()).collect();
            let findings = vec![check::missing(name, &others)];
            return Examined { name: name.to_owned(), findings, ..Examined::default() };
        }
    };
    let facts = facts(nic, link, links, host, ask);
    let findings = check::interface(&facts, host);
    Examined {
        name: name.to_owned(),
        driver: Some(facts.nic.driver),
        bus: Some(facts.bus),
        kind: Some(facts.link.kind),
        mtu: Some(facts.nic.mtu),
        rx_queues: Some(facts.nic.rx_queues),
        tx_queues: Some(facts.nic.tx_queues),
        findings,
    }
}

fn altname(error: &io::Error) -> Option<&Altname> {
    error.get_ref()?.downcast_ref()
}

fn facts(nic: Nic, link: &Link, links: &[Link], host: &Host, ask: bool) -> Interface {
    let name_of =
        |index: Option<u32>| links.iter().find(|other| Some(other.ifindex) == index).map(|other| other.name.clone());
    let ports = links.iter().filter(|other| other.master == Some(link.ifindex)).map(|other| other.name.clone());
    let other_end = name_of(link.other_end);
    let keeps_tags = |name: &String| {
        let feature = Ethtool::new(name).and_then(|ethtool| ethtool.feature(TX_VLAN_HW_INSERT)).ok()??;
        Some(feature.on)
    };
    let ethtool = Ethtool::new(&nic.name).ok();
    let zero_copy = zero_copy(&nic, link, host, ask);
    Interface {
        link: link.clone(),
        bus: ethtool.as_ref().and_then(|ethtool| ethtool.driver().ok()).map(|driver| driver.bus).unwrap_or_default(),
        ports: ports.collect(),
        master: name_of(link.master),
        other_end_keeps_tags: other_end.as_ref().and_then(keeps_tags),
        other_end,
        rp_filter: rp_filter(&nic.name),
        wireless: fs::exists(format!("/sys/class/net/{}/phy80211", nic.name)).unwrap_or(false),
        channels: ethtool.as_ref().and_then(|ethtool| ethtool.channels().ok()),
        rings: ethtool.as_ref().and_then(|ethtool| ethtool.rings().ok()).filter(|rings| rings.rx > 0),
        features: ethtool.as_ref().and_then(|ethtool| ethtool.features().ok()).unwrap_or_default(),
        hashes_udp_ports: ethtool.as_ref().and_then(|ethtool| ethtool.hashes_udp_ports().ok()?),
        interrupts: interrupts::of(&nic.name),
        xdp_features: xdp_features(nic.ifindex).ok(),
        holders: link.xdp.map(|xdp| holders::of(xdp.program)).unwrap_or_default(),
        zero_copy,
        nic,
    }
}

/// The stricter of what holds for all interfaces and for this one.
fn rp_filter(name: &str) -> Option<u8> {
    let of = |name: &str| {
        let set = fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter")).ok()?;
        set.trim().parse().ok()
    };
    of(name).max(of("all"))
}

/// Asks the driver as mcrd does, where that disturbs nobody.
fn zero_copy(nic: &Nic, link: &Link, host: &Host, ask: bool) -> ZeroCopy {
    let not_asked = |why: &str| ZeroCopy::NotAsked(why.to_owned());
    if unsuitable(nic).is_some() || needs_skb(nic).is_some() {
        return not_asked("mcrd does not ask it either");
    }
    if link.xdp.is_some() {
        return not_asked("an XDP program is attached, and its packets might be interrupted");
    }
    if !host.is_privileged() {
        return not_asked("that needs root");
    }
    if !ask {
        return not_asked("that may interrupt its packets for a moment, so only an interface that is named is asked");
    }
    if link.flags & libc::IFF_UP as u32 == 0 {
        return not_asked("it is down");
    }
    let busy = io::Error::from_raw_os_error(libc::EBUSY).to_string();
    match ask_for_zero_copy(nic) {
        // It shows whether it works once a program is attached, which may take the link down.
        Answer::Granted if is_paired(nic.ifindex, 0) == Some(false) => ZeroCopy::Untried,
        Answer::Granted | Answer::Open => ZeroCopy::Granted,
        Answer::Doubtful(why) | Answer::Fails(why) => ZeroCopy::Doubtful(why),
        Answer::Refused(why) if why.contains(&busy) => ZeroCopy::InUse,
        Answer::Refused(why) => ZeroCopy::Refused(why),
        Answer::NotAsked(why) => ZeroCopy::NotAsked(format!("the kernel could not be asked: {why}")),
    }
}

fn host(names: &[String], socket: &Path) -> Host {
    let (release, kernel) = version::release();
    let words: Vec<String> =
        std::iter::once("doctor".to_owned()).chain(names.iter().map(|name| quoted(name))).collect();
    Host {
        release,
        kernel,
        capabilities: effective().map_or(0, |held| held.bits()),
        memlock: memlock(),
        cpus: sched::allowed_cpus().unwrap_or_default(),
        irqbalance: runs("irqbalance"),
        firewall: firewall::ruleset(),
        daemon: daemon(socket),
        mcrd: mcrd(),
        command: words.join(" "),
    }
}

/// The daemon of this socket, if it answers.
fn daemon(socket: &Path) -> Daemon {
    let silent = |why: String| Daemon::Silent { socket: fs::exists(socket).unwrap_or(true), why };
    let answer = Client::connect(socket).and_then(|mut client| client.call(&Request::Status {}));
    match answer {
        Ok(Response::Status(status)) => Daemon::Runs {
            elsewhere: is_elsewhere(status.pid),
            version: status.version,
            pid: status.pid,
            interfaces: status.interfaces,
            queries: status.queries,
            own_host: status.own_host,
            rules: status.streams,
            memberships: status.memberships,
        },
        Ok(_) => silent(format!("what answers on {} is not mcrd", socket.display())),
        Err(error) => silent(error.to_string()),
    }
}

/// Whether a process is in another network namespace; `false` where that cannot be seen.
fn is_elsewhere(pid: u32) -> bool {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    match (namespace("self"), namespace(&pid.to_string())) {
        (Some(own), Some(other)) => own != other,
        _ => false,
    }
}

/// The limit on locked memory; `None` where there is none.
fn memlock() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Memlock).current
}

fn runs(name: &str) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut names = processes.filter_map(|process| fs::read_to_string(process.path().join("comm")).ok());
    names.any(|comm| comm.trim() == name)
}

/// The mcrd beside this program, or what finds one.
fn mcrd() -> String {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name("mcrd")).filter(|path| path.is_file());
    beside.and_then(|path| path.to_str().map(quoted)).unwrap_or_else(|| "$(command -v mcrd)".to_owned())
}

/// The daemon's interfaces, or else all Ethernet ones that are up.
fn by_default(links: &[Link], daemon: &Daemon) -> Vec<String> {
    if let Daemon::Runs { elsewhere: false, interfaces, .. } = daemon
        && !interfaces.is_empty()
    {
        return interfaces.iter().map(|interface| interface.name.clone()).collect();
    }
    let is_up = |link: &Link| link.hardware == libc::ARPHRD_ETHER && link.flags & libc::IFF_UP as u32 != 0;
    let is_used = |link: &&Link| is_up(link) && !is_bundle(&link.port_of);
    links.iter().filter(is_used).map(|link| link.name.clone()).collect()
}

fn unique(names: &[String]) -> Vec<String> {
    let mut unique: Vec<String> = Vec::new();
    for name in names {
        if !unique.contains(name) {
            unique.push(name.clone());
        }
    }
    unique
}
