//! Everything that befalls a link, on one pair of interfaces, while another pair carries 50,000 packets a second.

mod beside;
mod pulse;
mod rows;
mod step;

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use beside::{Beside, STREAMS};
use netns_tests::{
    account::trials,
    daemon::Daemon,
    deadline::{SOON, until},
    ledger::{self, Deleted},
    needs_root,
    rules::{self, Output, Rule},
    stats::Stats,
    topology::{End, GEN, Link, Network, RELAY, SINK, Topology},
};
use pulse::{Exits, identities};
use rows::{ROWS, Row};
use step::{AWAY, take_all};

/// Within it a touched pair that has all it needs carries again.
const RECOVERY: Duration = Duration::from_secs(1);

/// Chain v0-v1, v2-v3 is untouched. Rule `one` goes from w0-w1 to w2-w3, rule `two` from there to w2-w3 and w4-w5. Of x0-x1 and
/// x2-x3 no rule speaks: they change names with w1 and w2.
fn topology() -> Topology {
    let mut topology = Topology::chain(2);
    topology.namespaces.push(AWAY.into());
    for (far, far_end, near_end, net) in [
        (GEN, "w0", "w1", 100),
        (SINK, "w3", "w2", 101),
        (SINK, "w5", "w4", 102),
        (GEN, "x0", "x1", 110),
        (SINK, "x3", "x2", 111),
    ] {
        let (near, other) = if far == GEN { (2, 1) } else { (1, 2) };
        let ends = [
            End::host(RELAY, near_end, format!("10.{net}.0.{near}/24")),
            End::host(far, far_end, format!("10.{net}.0.{other}/24")),
        ];
        topology.links.push(Link { queues: 4, ends });
    }
    topology
}

fn touched() -> [Rule; 2] {
    let rule = |i: usize, name: &str, interfaces: &[&str]| {
        let (group, port) = pulse::SENT[i];
        let output = |interface: &&str| Output {
            interface: (*interface).into(),
            group: std::net::Ipv4Addr::from_bits(group.to_bits() + (27 << 16)),
            port: port + pulse::PORT_CHANGE,
        };
        Rule {
            name: name.into(),
            interface: "w1".into(),
            group,
            port,
            outputs: interfaces.iter().map(output).collect(),
        }
    };
    [rule(0, "one", &["w2"]), rule(1, "two", &["w2", "w4"])]
}

/// What all rows share.
struct Bench<'a> {
    network: &'a Network,
    daemon: &'a Daemon,
    /// See [`pulse::beat`].
    at: &'a AtomicU64,
}

/// Ends the pulse, after a failure too.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn link_events_beside_a_load() -> Result<()> {
    needs_root!();
    let network = topology().build()?;
    let mut all = rules::streams(STREAMS, "v1", "v2");
    all.extend(touched());
    let daemon = Daemon::start(network.relay(), &rules::file(&all), &["--workers", "2"])?;
    let before = daemon.stats_at_rest()?;
    let (stop, at) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let _ending = Ending(&stop);
        scope.spawn(|| pulse::beat(&network, &stop, &at));
        let bench = Bench { network: &network, daemon: &daemon, at: &at };
        bench.all_carry()?;
        ROWS.iter().try_for_each(|row| bench.row(row).with_context(|| format!("row {:?}", row.name)))
    })?;

    let after = daemon.stats_at_rest()?;
    eprintln!("{after:?}");
    ledger::check(&after, Deleted::None)?;
    ledger::check_frames(&before, &after)?;
    assert_eq!(after.memberships, before.memberships);
    ensure!(after.rules.iter().all(|rule| rule.outcome() == "forwards"), "{:?}", after.rules);
    daemon.stop()?;
    Ok(())
}

impl Bench<'_> {
    /// One row, until nothing was wrong: the machine itself may take packets and time.
    fn row(&self, row: &Row) -> Result<()> {
        trials(|| {
            let before = self.daemon.stats()?;
            let wrong = self.trial(row)?;
            never_back(&before, &self.daemon.stats()?)?;
            Ok(wrong)
        })
    }

    /// What was lost or late, in words.
    ///
    /// # Errors
    /// Whatever a busy machine does not explain.
    fn trial(&self, row: &Row) -> Result<Vec<String>> {
        let Self { network, daemon, .. } = self;
        let load = Beside::start(network, daemon)?;
        let other_output = Exits::open(network, &["w5"]);
        // The next one may be on its way already.
        let opened = self.at.load(Relaxed) + 1;
        take_all(row.breaks, network)?;
        self.meanwhile(row).context("meanwhile")?;
        take_all(row.mends, network)?;
        let (mended, done) = (Instant::now(), self.at.load(Relaxed));
        let recovery = self.all_carry().context("once it was mended")?.saturating_duration_since(mended);
        eprintln!("{}: carries again after {recovery:?}", row.name);

        let mut wrong = Vec::new();
        if recovery > RECOVERY {
            wrong.push(format!("it carried again after {recovery:?}, not {RECOVERY:?}"));
        }
        if row.egress_alone {
            wrong
                .extend(pulse::each_once(&other_output.seen(), opened + 1..=done).err().map(|error| error.to_string()));
        }
        for name in ["one", "two"] {
            until(&format!("rule {name} to be as before"), SOON, || {
                let stats = daemon.stats()?;
                let rule = stats.rule(name);
                let outputs = rule.outputs.iter().all(|output| output.waiting.is_none());
                Ok((rule.outcome() == "forwards" && outputs).then_some(()))
            })?;
        }
        wrong.extend(load.end().context("the untouched pair")?);
        Ok(wrong)
    }

    /// Rule one is in the state that the row says, and its packets take the way that the row says.
    fn meanwhile(&self, row: &Row) -> Result<()> {
        let Self { network, daemon, .. } = self;
        until(&format!("rule one to be {:?}", row.state), SOON, || {
            Ok(daemon.stats()?.rule("one").outcome().starts_with(row.state).then_some(()))
        })?;
        if let Some(reason) = row.state.strip_prefix("waiting: ") {
            let stats = daemon.stats()?;
            let lost = stats.interface(reason.trim_start_matches("no interface "));
            ensure!((&*lost.xdp, &*lost.xsk, &*lost.xsk_reason) == ("none", "none", reason), "{lost:?}");
            if row.egress_alone {
                let two = stats.rule("two");
                ensure!(two.outcome() == "forwards" && two.outputs[0].waiting.as_deref() == Some(reason), "{two:?}");
            }
        }
        let exits = Exits::open(network, &["w3", "x3"]);
        let near = identities(network.relay())?.get("w2").copied();
        let ways: Vec<_> = row.carries.iter().map(|(entrance, exit)| (*entrance, 1, *exit)).collect();
        exits.until_all(&ways, |_| near)?;
        exits.none(|sight| sight.rule == 1 && !ways.contains(&(sight.entrance, sight.rule, sight.exit)))
    }

    /// Waits until every flow of both rules comes out where it belongs; when that was. Nothing else comes out then.
    fn all_carry(&self) -> Result<Instant> {
        let exits = Exits::open(self.network, &["w3", "x3", "w5"]);
        let near = identities(self.network.relay())?;
        let from = |exit: &str| near.get(if exit == "w5" { "w4" } else { "w2" }).copied();
        let ways = [("w0", 1, "w3"), ("w0", 2, "w3"), ("w0", 2, "w5")];
        let carried = exits.until_all(&ways, from)?;
        exits.none(|sight| !ways.contains(&(sight.entrance, sight.rule, sight.exit)))?;
        Ok(carried)
    }
}

/// No counter is lower than it was, of the interfaces that rules name.
fn never_back(before: &Stats, after: &Stats) -> Result<()> {
    for name in ["v1", "v2", "w1", "w2", "w4"] {
        let (then, now) = (before.interface(name), after.interface(name));
        for (verdict, count) in &then.verdicts {
            ensure!(now.verdicts[verdict] >= *count, "{}: {verdict} went back: {then:?}, {now:?}", then.name);
        }
    }
    for then in &before.rules {
        let now = after.rule(&then.name);
        ensure!(now.matched_packets >= then.matched_packets, "went back: {then:?}, {now:?}");
        for (then, now) in then.outputs.iter().zip(&now.outputs) {
            ensure!(
                now.offered_packets >= then.offered_packets && now.sent_packets >= then.sent_packets,
                "went back: {then:?}, {now:?}"
            );
        }
    }
    Ok(())
}
