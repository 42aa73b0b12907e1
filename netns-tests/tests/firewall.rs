//! Firewalls that drop IGMP queries, and those that do not: the kernel, which a bridge asks each second, is the judge of what is said.

use std::{
    collections::BTreeSet,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use netns_tests::{
    daemon::Daemon,
    deadline::{SOON, until},
    doctor::{Report, words},
    needs_root,
    netns::Namespace,
    process::{feed, finish},
    programs, rules,
    topology::{BRIDGES, Network, Topology},
};

/// A bridge that asks each second, and forgets within three.
fn asking() -> Result<Network> {
    let network = Topology::dual_bridge(1, 1).with_igmp(3).build()?;
    let bridges = network.namespace(BRIDGES);
    bridges.run("ip link set br0 type bridge mcast_querier 0")?;
    bridges.run("ip link set br0 type bridge mcast_query_interval 100 mcast_startup_query_interval 100 mcast_membership_interval 300")?;
    bridges.run("ip link set br0 type bridge mcast_querier 1")?;
    Ok(network)
}

fn start(network: &Network) -> Result<Daemon> {
    Daemon::start(network.relay(), &rules::file(&rules::streams(1, "v1", "v2")), &[])
}

/// Has the relay's nftables hold this alone.
fn nft(relay: &Namespace, rules: &str) -> Result<()> {
    // A block ends with its line.
    let rules = rules.replace("; } ", "; }\n");
    feed(relay.command("nft").args(["-f", "-"]), &format!("flush ruleset\n{rules}\n"))
}

fn shell(relay: &Namespace, line: &str) -> Result<()> {
    finish(relay.command("sh").args(["-ec", line]))?.success().map(drop)
}

/// What `mcrctl doctor v1` says, with the daemon or without.
fn doctor(network: &Network, daemon: Option<&Daemon>) -> Result<Report> {
    let socket = daemon.map_or("/nonexistent/mcrd.sock".into(), |daemon| daemon.files().socket());
    let mut mcrctl = network.relay().command(programs::path("mcrctl")?);
    Report::of(&finish(mcrctl.args(words(&socket, &["v1"], true)))?)
}

/// Whether the host has heard the last query, as mcrd tells once another has come.
fn hears(daemon: &Daemon) -> Result<bool> {
    // The first query after a change of the rules, and the time that the host may take.
    let start = Instant::now();
    until("a query", SOON, || {
        let status: serde_json::Value = serde_json::from_str(&daemon.done(&["--json", "status"])?)?;
        let queries = &status["queries"][0];
        let Some((seen, answered)) = queries["seen_seconds"].as_f64().zip(queries["answered"].as_bool()) else {
            return Ok(None);
        };
        let warned = status["warnings"].to_string().contains("do not reach the host");
        ensure!(answered != warned, "answered {answered}, warned {warned}");
        Ok((start.elapsed() > Duration::from_secs(4) && seen < 3.0).then_some(answered))
    })
}

/// Rules and what they do: `drops`, `passes`, or `may` with what the kernel does.
const NFT: &[(&str, &str, &str)] = &[
    (
        "a policy",
        "table inet filter { chain input { type filter hook input priority 0; policy drop; ct state vmap { established : accept, related : accept, invalid : drop }; iif lo accept; tcp dport 22 accept; ip protocol icmp accept; } }",
        "drops",
    ),
    (
        "a policy, with IGMP let in",
        "table inet filter { chain input { type filter hook input priority 0; policy drop; ct state established,related accept; ip protocol { icmp, igmp } accept; } }",
        "passes",
    ),
    (
        "a rule",
        "table ip t { chain c { type filter hook input priority 10; ip protocol igmp counter drop; } }",
        "drops",
    ),
    (
        "queries by name",
        "table inet t { chain c { type filter hook input priority 0; igmp type membership-query drop; } }",
        "drops",
    ),
    (
        "reports by name",
        "table inet t { chain c { type filter hook input priority 0; igmp type membership-report-v2 drop; } }",
        "passes",
    ),
    (
        "early",
        "table ip raw { chain pre { type filter hook prerouting priority raw; meta l4proto igmp drop; } }",
        "drops",
    ),
    (
        "by jumps and a set",
        "table inet t { set many { type ipv4_addr; flags interval; elements = { 224.0.0.0/4 }; } chain m { ip daddr @many drop; } chain n { goto m; } chain c { type filter hook input priority 0; meta pkttype multicast jump n; accept; } }",
        "drops",
    ),
    (
        "elsewhere",
        "table inet t { chain c { type filter hook input priority 0; iifname \"v2\" ip protocol igmp drop; } }",
        "passes",
    ),
    (
        "all but elsewhere",
        "table inet t { chain c { type filter hook input priority 0; iifname != { \"v2\", \"lo\" } drop; } }",
        "drops",
    ),
    (
        "ingress",
        "table netdev t { chain c { type filter hook ingress device \"v1\" priority 0; ip protocol igmp drop; } }",
        "drops",
    ),
    (
        "ingress elsewhere",
        "table netdev t { chain c { type filter hook ingress device \"v2\" priority 0; policy drop; } }",
        "passes",
    ),
    // The bridge has no address, and asks from 0.0.0.0.
    (
        "by who asks",
        "table ip t { chain c { type filter hook input priority 0; policy drop; ip saddr 10.1.0.0/16 ip protocol igmp accept; } }",
        "may, and drops",
    ),
    (
        "by a limit",
        "table ip t { chain c { type filter hook input priority 0; policy drop; limit rate 1000/second accept; } }",
        "may, and passes",
    ),
];

/// Each rule set of a third of them, since each takes seconds.
fn nft_rules(third: usize) -> Result<()> {
    let network = asking()?;
    let daemon = start(&network)?;
    for (name, rules, expected) in NFT.iter().skip(third).step_by(3) {
        nft(network.relay(), rules)?;
        judged(&network, &daemon, expected).with_context(|| (*name).to_owned())?;
        nft(network.relay(), "")?;
    }
    Ok(())
}

/// What the kernel does, and what is said of it; and what is said to help does.
fn judged(network: &Network, daemon: &Daemon, expected: &str) -> Result<()> {
    let alone = doctor(network, None)?;
    let heard = hears(daemon)?;
    ensure!(heard != expected.ends_with("drops"), "the host hears: {heard}");
    let severity = match expected.split(',').next() {
        Some("passes") => "ok",
        _ => "warning",
    };
    let finding = alone.find("igmp-firewall");
    ensure!(finding.severity == severity, "{finding:?}");
    ensure!(finding.found.contains("may be dropped") == expected.starts_with("may"), "{finding:?}");
    let beside = doctor(network, Some(daemon))?;
    ensure!(beside.severity("igmp-queries") == if heard { "ok" } else { "problem" }, "{beside:?}");
    if heard {
        ensure!(beside.severity("igmp-firewall") == "ok", "{beside:?}");
        return Ok(());
    }
    let fix = beside.find("igmp-queries").fix.clone().context("no remedy")?;
    ensure!(finding.fix.as_ref() == Some(&fix), "{fix}, {finding:?}");
    shell(network.relay(), &fix).with_context(|| fix.clone())?;
    ensure!(hears(daemon)?, "`{fix}` does not help");
    let after = doctor(network, Some(daemon))?;
    let both: BTreeSet<&str> = ["igmp-firewall", "igmp-queries"].map(|id| after.severity(id)).into();
    ensure!(both == ["ok"].into(), "{after:?}");
    Ok(())
}

#[test]
fn nft_one_third() -> Result<()> {
    needs_root!();
    nft_rules(0)
}

#[test]
fn nft_another_third() -> Result<()> {
    needs_root!();
    nft_rules(1)
}

#[test]
fn nft_the_rest() -> Result<()> {
    needs_root!();
    nft_rules(2)
}

/// iptables in both kinds: the older one, and the one that is nftables underneath.
#[test]
fn iptables() -> Result<()> {
    needs_root!();
    let network = asking()?;
    let relay = network.relay();
    let daemon = start(&network)?;
    for program in ["iptables-legacy", "iptables-nft"] {
        for (lines, expected) in [
            (
                &[
                    "-P INPUT DROP",
                    "-A INPUT -i lo -j ACCEPT",
                    "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                ][..],
                "drops",
            ),
            (&["-P INPUT DROP", "-A INPUT -p igmp -j ACCEPT"], "passes"),
            (&["-N M", "-A INPUT -d 224.0.0.0/4 -j M", "-A M -p igmp -j DROP"], "drops"),
            (&["-A INPUT -i v2 -p igmp -j DROP"], "passes"),
            (&["-t raw -A PREROUTING -p igmp -j DROP"], "drops"),
        ] {
            // The newer kind judges connections by a match that nft does not name.
            let expected = if program == "iptables-nft" && lines.len() == 3 && lines[0].starts_with("-P") {
                "may, and drops"
            } else {
                expected
            };
            for line in lines {
                relay.run(&format!("{program} {line}"))?;
            }
            judged(&network, &daemon, expected).with_context(|| format!("{program} {lines:?}"))?;
            for line in ["-P INPUT ACCEPT", "-F", "-X", "-t raw -F"] {
                relay.run(&format!("{program} {line}"))?;
            }
        }
        nft(relay, "")?;
    }
    Ok(())
}

/// The stream ends with the membership, which nothing else tells; with the remedy it is back.
#[test]
fn what_becomes_of_the_membership() -> Result<()> {
    needs_root!();
    let network = asking()?;
    let daemon = start(&network)?;
    let is_asked = |wanted: bool| {
        until("the bridge's database", SOON, || {
            let all = network.namespace(BRIDGES).run("bridge mdb show dev br0")?;
            Ok((all.contains("port v1 grp 239.1.1.1") == wanted).then_some(()))
        })
    };
    is_asked(true)?;
    nft(network.relay(), "table inet filter { chain input { type filter hook input priority 0; policy drop; } }")?;
    is_asked(false)?;
    until("a warning in the log", SOON, || Ok(daemon.log().contains("do not reach the host").then_some(())))?;
    // A new rule is told at once.
    let added = daemon.ctl(&["rule", "add", "--in", "v1", "--group", "239.1.1.9", "--out", "v2"])?.success()?;
    ensure!(added.stderr.contains("`mcrctl doctor v1` tells which"), "{}", added.told());
    let fix = doctor(&network, Some(&daemon))?.find("igmp-firewall").fix.clone().context("no remedy")?;
    shell(network.relay(), &fix)?;
    is_asked(true)
}

/// Firewalls on the way out: whether the switch hears of the membership, and what is said of it.
#[test]
fn reports_that_do_not_get_out() -> Result<()> {
    needs_root!();
    let network = asking()?;
    let daemon = start(&network)?;
    let is_known = || -> Result<bool> {
        Ok(network.namespace(BRIDGES).run("bridge mdb show dev br0")?.contains("port v1 grp 239.1.1.1"))
    };
    let known = |wanted: bool| until("the bridge's database", SOON, || Ok((is_known()? == wanted).then_some(())));
    known(true)?;
    for (rules, passes) in [
        ("table ip t { chain o { type filter hook output priority 0; ip protocol igmp drop; } }", false),
        (
            "table inet t { chain o { type filter hook postrouting priority 0; oifname \"v1\" igmp type membership-report-v3 drop; } }",
            false,
        ),
        (
            "table inet t { chain o { type filter hook output priority 0; policy drop; oif lo accept; ct state established accept; } }",
            false,
        ),
        (
            "table netdev t { chain o { type filter hook egress device \"v1\" priority 0; ip daddr 224.0.0.22 drop; } }",
            false,
        ),
        (
            "table inet t { chain o { type filter hook output priority 0; oifname != \"v1\" ip protocol igmp drop; iifname \"v1\" drop; } }",
            true,
        ),
        ("table inet t { chain o { type filter hook output priority 0; igmp type membership-query drop; } }", true),
    ] {
        nft(network.relay(), rules)?;
        if passes {
            // Longer than the bridge remembers.
            sleep(Duration::from_secs(5));
            ensure!(is_known()?, "{rules}");
        } else {
            known(false).with_context(|| rules.to_owned())?;
        }
        let finding = doctor(&network, Some(&daemon))?.find("igmp-reports").clone();
        ensure!(finding.severity == if passes { "ok" } else { "problem" }, "{rules}: {finding:?}");
        if !passes {
            // It looks at the firewall of its own namespace.
            let mut mcrctl = network.relay().command(programs::path("mcrctl")?);
            mcrctl.arg("--socket").arg(daemon.files().socket()).args(["explain", "stream-0"]);
            let explained = finish(&mut mcrctl)?.stdout;
            ensure!(explained.lines().next().is_some_and(|line| line.contains("reports")), "{rules}: {explained}");
            shell(network.relay(), finding.fix.as_deref().context("no remedy")?)?;
            known(true).with_context(|| format!("{rules}: {:?}", finding.fix))?;
        }
        nft(network.relay(), "")?;
    }
    Ok(())
}

/// No firewall: the bridge takes the queries, and the interface's own memberships are not answered for.
#[test]
fn a_port_of_a_bridge() -> Result<()> {
    needs_root!();
    let network = asking()?;
    network.relay().ip_batch("link add b9 type bridge\nlink set v1 master b9\nlink set b9 up\n")?;
    let daemon = start(&network)?;
    ensure!(!hears(&daemon)?);
    let report = doctor(&network, Some(&daemon))?;
    let finding = report.find("igmp-queries");
    ensure!(finding.severity == "problem" && finding.found.contains("a port of b9"), "{finding:?}");
    network.relay().run("ip link set v1 nomaster")?;
    ensure!(hears(&daemon)?);
    Ok(())
}

/// No firewall: the host checks the way back to who asks.
#[test]
fn reverse_path_filtering() -> Result<()> {
    needs_root!();
    let network = asking()?;
    let relay = network.relay();
    let bridges = network.namespace(BRIDGES);
    bridges.run("ip addr add 192.0.2.9/24 dev br0")?;
    bridges.run("ip link set br0 type bridge mcast_query_use_ifaddr 1")?;
    let daemon = start(&network)?;
    ensure!(hears(&daemon)?);
    relay.run("sysctl -q -w net.ipv4.conf.v1.rp_filter=1")?;
    ensure!(!hears(&daemon)?);
    let report = doctor(&network, Some(&daemon))?;
    let finding = report.find("igmp-queries");
    ensure!(finding.severity == "problem" && finding.found.contains("192.0.2.9"), "{finding:?}");
    shell(relay, finding.fix.as_deref().context("no remedy")?)?;
    ensure!(hears(&daemon)?);
    Ok(())
}
