//! Few file descriptors, and none left: what the kernel cannot be asked is no answer, and forwarding goes on.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use netns_tests::{
    connection::Connection,
    crossing::Crossing,
    daemon::{Daemon, Files},
    deadline::{SOON, until},
    needs_root,
    probe::Load,
    process::{finish, run},
    rules,
    topology::{Network, Topology},
};
use serde_json::json;

const ADDRESS: &str = "127.0.0.1:9469";
const LOAD: Load = Load { first: rules::SENT, streams: 2, rate: 2_000, size: 256, seconds: 1 };
/// Within this mcrd has looked at all interfaces by itself.
const LOOKED: Duration = Duration::from_millis(1500);

fn start(words: &[&str]) -> Result<(Network, Daemon)> {
    let network = Topology::chain(1).build()?;
    let files = Files::new(&rules::file(&rules::streams(2, "v1", "v2")))?;
    let daemon = Daemon::start_by(words, files, network.relay(), &["--metrics-listen", ADDRESS])?;
    Ok((network, daemon))
}

/// Something about interfaces changes, so that mcrd looks at them; they are as before then.
fn stir(network: &Network) -> Result<()> {
    network.relay().run("ip link set v2 alias other")?;
    network.relay().run("ip addr add 10.77.0.1/32 dev v1")?;
    thread::sleep(LOOKED);
    network.relay().run("ip addr del 10.77.0.1/32 dev v1")?;
    Ok(())
}

fn is_as_before(network: &Network, daemon: &Daemon) -> Result<()> {
    stir(network)?;
    Crossing::of_chain(network, &LOAD)?.exactly_once(&LOAD)?;
    let log = daemon.log();
    ensure!(!log.contains("is gone") && !log.contains(" waits"), "{log}");
    Ok(())
}

/// From now on a running daemon gets no descriptor numbered `most` or above.
fn limit(daemon: &Daemon, most: usize) -> Result<()> {
    run(Command::new("prlimit").args(["--pid", &daemon.pid().to_string(), &format!("--nofile={most}:")]))?;
    Ok(())
}

#[test]
fn clients_leave_descriptors_for_packets() -> Result<()> {
    needs_root!();
    let (network, daemon) = start(&["prlimit", "--nofile=512:512"])?;
    let address: SocketAddr = ADDRESS.parse()?;
    let scrapers = network.relay().enter(|| {
        (0..300).map(|_| Ok(TcpStream::connect_timeout(&address, SOON)?)).collect::<Result<Vec<TcpStream>>>()
    })?;
    let socket = daemon.files().socket();
    let clients: Vec<UnixStream> = (0..100).map_while(|_| UnixStream::connect(&socket).ok()).collect();
    ensure!(clients.len() == 100, "only {} connections", clients.len());
    is_as_before(&network, &daemon)?;
    // More than there are would be needed by a rule for a new interface; it needs what was kept for it.
    drop(clients);
    daemon.done(&["status"])?;
    daemon.done(&["rule", "add", "--in", "v2", "--group", "239.9.9.9", "--out", "v1"])?;
    drop(scrapers);
    is_as_before(&network, &daemon)?;
    daemon.stop()?;
    Ok(())
}

#[test]
fn without_any_descriptor_left_everything_stays_as_it_is() -> Result<()> {
    needs_root!();
    let (network, daemon) = start(&[])?;
    Crossing::of_chain(&network, &LOAD)?.exactly_once(&LOAD)?;
    let pid = daemon.pid().to_string();
    let limit = |most: usize| limit(&daemon, most);
    let open = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    limit(3)?;
    is_as_before(&network, &daemon)?;
    // Nobody is answered meanwhile: no connection can be taken.
    limit(open + 200)?;
    daemon.done(&["status"])?;
    is_as_before(&network, &daemon)?;
    // What the kernel says for sure is believed.
    network.relay().run("ip link del v1")?;
    until("v1 is missed", SOON, || Ok(daemon.log().contains("v1 is gone").then_some(())))?;
    daemon.stop()?;
    Ok(())
}

#[test]
fn too_few_descriptors_are_named() -> Result<()> {
    needs_root!();
    let network = Topology::fan(8, 3).build()?;
    for most in ["24", "63", "66", "70"] {
        let files = Files::new("")?;
        let flags =
            ["--workers", "8", "--iface-in", "v1", "--iface-out", "v2", "--iface-out", "v4", "--iface-out", "v6"];
        let command = files.command(network.relay(), &flags)?;
        let words = ["prlimit", &format!("--nofile={most}:{most}")];
        let finished = finish(&mut netns_tests::programs::before(&words, &command))?.exited(1)?;
        let said = finished.stderr.lines().last().unwrap_or_default();
        ensure!(said.contains("file descriptors") && said.contains(most), "{}", finished.told());
    }
    Ok(())
}

/// A membership that lacks a descriptor is asked for again once there is one.
#[test]
fn memberships_come_when_descriptors_do() -> Result<()> {
    needs_root!();
    let (network, daemon) = start(&[])?;
    let limit = |most: usize| limit(&daemon, most);
    let open = fs::read_dir(format!("/proc/{}/fd", daemon.pid()))?.count();
    // This client has its connection already, and nothing is left for a socket that joins.
    let mut client = Connection::open(&daemon)?;
    client.ask(&json!({"command": "status"}))?;
    limit(open + 1)?;
    for i in 0..40 {
        let matcher = json!({"interface": "v1", "group": format!("239.3.3.{i}"), "port": 1});
        let rule = json!({"match": matcher, "output": [{"interface": "v2"}]});
        let answer = client.ask(&json!({"command": "rule_add", "rule": rule}))?;
        ensure!(answer.get("rule_added").is_some(), "{answer}");
    }
    let joined = || -> Result<usize> { Ok(network.relay().run("cat /proc/net/igmp")?.matches("0303EF").count()) };
    let before = joined()?;
    ensure!(before < 40, "all of them were joined with {} descriptors", open + 1);
    limit(open + 100)?;
    until("all memberships", SOON, || Ok((joined()? == 40).then_some(())))?;
    is_as_before(&network, &daemon)?;
    daemon.stop()?;
    Ok(())
}
