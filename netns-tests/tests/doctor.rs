//! `mcrctl doctor`: what it finds is so, and what it says mends it does.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use mcr_userspace::{
    kernel::program::{Attachment, Program},
    xsk::{
        port::{Bind, Port, Quota},
        umem::Memory,
    },
};
use netns_tests::{
    daemon::Daemon,
    deadline::{SOON, until},
    doctor::{Report, words},
    needs_root,
    netns::Namespace,
    process::{Finished, finish},
    programs, rules,
    topology::{GEN, Network, Topology},
};

/// Where no daemon is.
const NOBODY: &str = "/nonexistent/mcrd.sock";

fn run(namespace: &Namespace, socket: &Path, interfaces: &[&str], json: bool) -> Result<Finished> {
    finish(namespace.command(programs::path("mcrctl")?).args(words(socket, interfaces, json)))
}

fn examine(namespace: &Namespace, interfaces: &[&str]) -> Result<Report> {
    Report::of(&run(namespace, Path::new(NOBODY), interfaces, true)?)
}

/// A chain, and `y0` beside it: down, too large, with one queue of the two that it may have; its peer is elsewhere.
fn chain() -> Result<Network> {
    let network = Topology::chain(1).build()?;
    let peer = network.namespace(GEN).name();
    network.relay().ip_batch(&format!(
        "link add y0 mtu 9000 numrxqueues 2 numtxqueues 2 type veth peer name y1 mtu 9000 numrxqueues 2 numtxqueues 2 netns {peer}\n"
    ))?;
    network.relay().run("ethtool -L y0 rx 1 tx 1")?;
    network.namespace(GEN).run("ip link set y1 up")?;
    Ok(network)
}

#[test]
fn every_command_mends_what_it_stands_beside() -> Result<()> {
    needs_root!();
    let network = chain()?;
    let before = examine(network.relay(), &["y0"])?;
    let severities = |report: &Report| -> Vec<(String, String)> {
        let findings = report.interfaces[0].findings.iter();
        findings.map(|finding| (finding.id.clone(), finding.severity.clone())).collect()
    };
    let expected = [
        ("kind", "ok"),
        ("link", "problem"),
        ("address", "note"),
        ("xdp-program", "ok"),
        // Its peer sends on two queues.
        ("xdp", "note"),
        ("zero-copy", "note"),
        ("queues", "note"),
        ("mtu", "problem"),
        ("vlan-offload", "note"),
        ("vlan-peer", "not_checked"),
        ("gro", "ok"),
        ("multicast-filter", "ok"),
        ("igmp-reports", "ok"),
        ("igmp-firewall", "ok"),
    ];
    assert_eq!(severities(&before), expected.map(|(id, severity)| (id.to_owned(), severity.to_owned())));
    let interface = &before.interfaces[0];
    assert_eq!((interface.driver.as_deref(), interface.mtu, interface.rx_queues), (Some("veth"), Some(9000), Some(1)));

    let mut mended = Vec::new();
    for finding in before.interfaces[0].findings.iter().filter(|finding| finding.severity != "ok") {
        if let Some(fix) = &finding.fix {
            finish(network.relay().command("sh").args(["-ec", fix]))?.success()?;
            mended.push(finding.id.as_str());
        }
    }
    assert_eq!(mended, ["link", "xdp", "queues", "mtu", "vlan-offload"]);
    let after = until("carrier", SOON, || {
        let after = examine(network.relay(), &["y0"])?;
        Ok((after.severity("link") == "ok").then_some(after))
    })?;
    for id in mended {
        // 3,822 bytes fit, in the larger frames.
        let wanted = if id == "mtu" { "note" } else { "ok" };
        assert_eq!(after.severity(id), wanted, "{:?}", after.find(id));
    }
    Ok(())
}

/// Where the peer is in sight, so is its remedy.
#[test]
fn a_peer_in_sight_is_mended_too() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    network.relay().ip_batch("link add x0 type veth peer name x1\n")?;
    let before = examine(network.relay(), &["x0"])?;
    let fix = before.find("vlan-peer").fix.as_deref().unwrap_or_default();
    assert_eq!(fix, "ethtool -K x1 tx-vlan-offload off");
    network.relay().run(fix)?;
    assert_eq!(examine(network.relay(), &["x0"])?.severity("vlan-peer"), "ok");
    Ok(())
}

#[test]
fn text_and_json_say_the_same() -> Result<()> {
    needs_root!();
    let network = chain()?;
    // One of everything: an interface in use, one that is not, one that is none.
    let names = ["v1", "y0", "y0", "nowhere0", "lo"];
    let report = examine(network.relay(), &names)?;
    let interfaces: Vec<&str> = report.interfaces.iter().map(|interface| interface.name.as_str()).collect();
    assert_eq!(interfaces, ["v1", "y0", "nowhere0", "lo"], "each once");
    let text = run(network.relay(), Path::new(NOBODY), &names, false)?.exited(1)?;
    let fixes: Vec<&str> = text.stdout.lines().filter_map(|line| line.strip_prefix("  fix: ")).collect();
    assert_eq!(fixes, report.all().filter_map(|finding| finding.fix.as_deref()).collect::<Vec<_>>());
    let findings = text.stdout.lines().filter(|line| line.starts_with("  ") && !line.starts_with("  fix: "));
    let found: Vec<(String, String)> = findings
        .map(|line| {
            let (severity, rest) = line[2..].split_at(11);
            let id = rest.split_whitespace().next().unwrap_or_default();
            (severity.trim().replace(' ', "_"), id.to_owned())
        })
        .collect();
    let told = report.all().map(|finding| (finding.severity.clone(), finding.id.clone()));
    assert_eq!(found, told.collect::<Vec<_>>(), "{}", text.told());
    Ok(())
}

#[test]
fn what_is_not_there_and_what_cannot_be_used() -> Result<()> {
    needs_root!();
    let network = chain()?;
    let relay = network.relay();
    for (name, part) in [
        ("v12", "alike: v1, v2"),
        ("a-name-that-is-too-long", "15 bytes"),
        ("", "name the interface"),
        ("../v1", "cannot be an interface's name"),
    ] {
        let report = examine(relay, &[name])?;
        let finding = report.find("name");
        ensure!(finding.severity == "problem" && finding.found.contains(part), "{name}: {finding:?}");
    }
    assert_eq!(examine(relay, &["lo"])?.severity("kind"), "problem");
    relay.ip_batch("link add br0 type bridge\nlink set y0 master br0\nlink set br0 up\n")?;
    let report = examine(relay, &["br0"])?;
    for (id, severity) in [("kind", "warning"), ("vlan-offload", "warning"), ("xdp", "note"), ("mtu", "problem")] {
        assert_eq!(report.severity(id), severity, "{report:?}");
    }
    ensure!(report.find("kind").found.contains("(y0)"), "{report:?}");
    ensure!(examine(relay, &["y0"])?.find("kind").found.contains("a port of br0"));
    // A word that a shell would take for more than a name comes quoted.
    relay.ip_batch("link add a;b type bridge\n")?;
    assert_eq!(examine(relay, &["a;b"])?.find("link").fix.as_deref(), Some("ip link set dev 'a;b' up"));
    // Usage is clap's.
    finish(Command::new(programs::path("mcrctl")?).args(["doctor", "--frobnicate"]))?.exited(2)?;
    Ok(())
}

/// With none named, those that are up; and no driver is asked for anything.
#[test]
fn none_named() -> Result<()> {
    needs_root!();
    let network = chain()?;
    let report = examine(network.relay(), &[])?;
    let interfaces: Vec<&str> = report.interfaces.iter().map(|interface| interface.name.as_str()).collect();
    assert_eq!(interfaces, ["v1", "v2"]);
    assert_eq!((report.severity("daemon"), report.severity("mtu")), ("note", "ok"));
    network.relay().ip_batch("link set v1 down\nlink set v2 down\n")?;
    assert_eq!(examine(network.relay(), &[])?.severity("interfaces"), "note");
    Ok(())
}

#[test]
fn beside_a_daemon() -> Result<()> {
    needs_root!();
    let network = chain()?;
    let relay = network.relay();
    let daemon = Daemon::start(relay, &rules::file(&rules::streams(1, "v1", "v2")), &[])?;
    let socket = daemon.files().socket();
    let report = Report::of(&run(relay, &socket, &[], true)?)?;
    let interfaces: Vec<&str> = report.interfaces.iter().map(|interface| interface.name.as_str()).collect();
    assert_eq!(interfaces, ["v1", "v2"], "the daemon's");
    for interface in &report.interfaces {
        let find =
            |id: &str| interface.findings.iter().find(|finding| finding.id == id).map(|finding| finding.found.as_str());
        ensure!(find("xdp-program").is_some_and(|found| found.contains("mcrd's own")), "{interface:?}");
        ensure!(find("xdp") == Some("mcrd runs here with native XDP"), "{interface:?}");
        ensure!(find("zero-copy").is_some_and(|found| found.contains("veth grants no zero-copy")), "{interface:?}");
    }
    // Another daemon's socket is named: whose program it is can be seen all the same.
    let report = examine(relay, &["v1"])?;
    let finding = report.find("xdp-program");
    let process = format!("by an mcrd, process {}", daemon.pid());
    ensure!(finding.severity == "ok" && finding.found.contains(&process), "{finding:?}");
    // From another namespace its interfaces are others.
    let report = Report::of(&run(network.namespace(GEN), &socket, &["v0"], true)?)?;
    ensure!(report.find("daemon").found.contains("another network namespace"), "{report:?}");
    assert_eq!(report.severity("xdp-program"), "ok");
    daemon.stop()?;
    Ok(())
}

#[test]
fn another_program_is_in_the_way() -> Result<()> {
    needs_root!();
    let network = chain()?;
    let relay = network.relay();
    // Loaded outside: what it needs of the machine is the same there.
    let (mut program, _maps) = Program::load(1, 1)?;
    let attached = relay.enter(|| {
        let index = index_of("v1");
        Ok(program.attach(index, Attachment::Skb).map(|()| index)?)
    })?;
    let report = examine(relay, &["v1"])?;
    let finding = report.find("xdp-program");
    let own = std::process::id();
    ensure!(finding.severity == "problem" && finding.found.contains("skb mode"), "{finding:?}");
    assert_eq!(finding.fix, Some(format!("kill {own}")));
    assert_eq!(report.severity("zero-copy"), "note", "veth has none, whoever asks");
    relay.enter(|| Ok(program.detach(attached)?))?;
    assert_eq!(examine(relay, &["v1"])?.severity("xdp-program"), "ok");
    Ok(())
}

/// Found even where the driver has no zero-copy: the queue is not to be had in any mode.
#[test]
fn another_socket_is_in_the_way() -> Result<()> {
    needs_root!();
    let network = chain()?;
    let socket = network.relay().enter(|| {
        let (memory, _pool) = Memory::new(0, 64, 2048)?;
        Ok(Port::open(&memory, "v1", 0, Bind::Copy, Quota { fill: 0, send: 0 })?)
    })?;
    let report = examine(network.relay(), &["v1"])?;
    let finding = report.find("zero-copy");
    ensure!(finding.severity == "problem" && finding.found.contains("AF_XDP socket"), "{finding:?}");
    drop(socket);
    assert_eq!(examine(network.relay(), &["v1"])?.severity("zero-copy"), "note");
    Ok(())
}

fn index_of(name: &str) -> u32 {
    let name = std::ffi::CString::new(name).expect("no NUL in it");
    // SAFETY: a string that ends with NUL and outlives the call.
    unsafe { libc::if_nametoindex(name.as_ptr()) }
}

/// A copy of `mcrctl` that everybody may run.
fn for_everybody(directory: &Path) -> Result<PathBuf> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    let copy = directory.join("mcrctl");
    fs::copy(programs::path("mcrctl")?, &copy)?;
    Ok(copy)
}

#[test]
fn without_privileges_nothing_counts_as_in_order_that_was_not_looked_at() -> Result<()> {
    needs_root!();
    let network = chain()?;
    let relay = network.relay();
    let directory = tempfile::tempdir()?;
    let copy = for_everybody(directory.path())?;
    let as_nobody = |socket: &Path, interface: &str| {
        let mut command = relay.command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]);
        let finished = finish(command.arg(&copy).args(words(socket, &[interface], true)))?;
        Report::of(&finished)
    };
    let report = as_nobody(Path::new(NOBODY), "v1")?;
    let finding = report.find("capabilities");
    assert_eq!(finding.severity, "problem");
    for name in ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF", "CAP_SYS_ADMIN"] {
        ensure!(finding.found.contains(name), "{finding:?}");
    }
    let fix = finding.fix.as_deref().unwrap_or_default();
    ensure!(fix.starts_with("sudo mcrctl doctor v1 ") && fix.contains("setcap cap_net_admin,"), "{fix}");
    // What needs none is found all the same.
    for (id, severity) in [("xdp-program", "ok"), ("link", "ok"), ("vlan-offload", "note"), ("multicast-filter", "ok")]
    {
        assert_eq!(report.severity(id), severity, "{report:?}");
    }

    let daemon = Daemon::start(relay, &rules::file(&rules::streams(1, "v1", "v2")), &[])?;
    fs::set_permissions(daemon.files().socket().parent().expect("a directory"), fs::Permissions::from_mode(0o755))?;
    let report = as_nobody(&daemon.files().socket(), "v1")?;
    ensure!(report.find("daemon").found.contains("no permission"), "{report:?}");
    assert_eq!((report.severity("daemon"), report.severity("xdp-program")), ("not_checked", "warning"));
    assert_eq!(report.find("xdp-program").fix.as_deref(), Some("sudo mcrctl doctor v1"));
    daemon.stop()?;
    Ok(())
}
