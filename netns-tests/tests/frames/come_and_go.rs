//! Interfaces that come late, one by one, in any order, and go again.

use anyhow::{Result, ensure};
use netns_tests::{
    daemon::Daemon,
    deadline::{SOON, until},
    ledger, needs_root,
    rules::{self, Rule},
};

use crate::relay::{Relay, all_active, resident, rule};

/// Ingresses, and as many egresses.
const PAIRS: usize = 16;
/// Memory that a daemon may have more at the end than after the first round.
const MORE: u64 = 8 << 20;

/// xorshift64*: the same order in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        (1..count).for_each(|at| order.swap(at, self.below(at + 1)));
        order
    }
}

/// Waits until no interface has a socket, and so no worker a frame.
fn all_released(daemon: &Daemon) -> Result<()> {
    let mut left = Vec::new();
    let released = until("all interfaces to be released", SOON, || {
        let stats = daemon.stats()?;
        left = stats.interfaces.into_iter().map(|interface| interface.name).collect();
        Ok((left.is_empty() && stats.workers.iter().all(|worker| worker.frames_total == 0)).then_some(()))
    });
    released.map_err(|error| error.context(format!("{left:?} are left")))
}

/// Rules added by hand in random order, each over an ingress and an egress of its own; then deleted, or their interfaces are. Nothing
/// is refused, every round carries packets, and in the end all memory is back.
#[test]
fn one_by_one_in_random_order_and_again() -> Result<()> {
    needs_root!();
    let rounds = if std::env::var_os("MCR_LONG").is_some() { 50 } else { 5 };
    let relay = Relay::new()?;
    relay.link(0..PAIRS)?;
    let daemon = Daemon::start(&relay.relay, "", &[])?;
    let mut random = Random(0x6d63_7231);
    let at_start = resident(&daemon)?;
    let mut after_first = None;
    for round in 0..rounds {
        let egresses = random.order(PAIRS);
        let of: Vec<Rule> = (0..PAIRS).map(|number| rule(number, egresses[number])).collect();
        for number in random.order(PAIRS) {
            daemon.done(&of[number].add())?;
        }
        all_active(&daemon, PAIRS)?;
        relay.carries(&of[random.below(PAIRS)])?;
        let stats = daemon.stats_at_rest()?;
        for interface in &stats.interfaces {
            ensure!(interface.frames.rx >= 512 && interface.frames.tx >= 256, "{interface:?}");
        }
        // What is not free is in the fill rings.
        let receiving: u64 = stats.interfaces.iter().map(|interface| interface.frames.rx).sum();
        let (total, free) = (stats.workers[0].frames_total, stats.workers[0].frames_free);
        ensure!(total - free == receiving, "round {round}: {total} frames, {free} free, {receiving} for receiving");
        ensure!(total <= stats.workers[0].frames_limit, "{:?}", stats.workers);
        if round % 2 == 1 {
            for number in random.order(PAIRS) {
                relay.unlink(number)?;
            }
            until("all rules to wait", SOON, || {
                Ok(daemon.stats()?.rules.iter().all(|rule| rule.state == "waiting").then_some(()))
            })?;
            relay.link(0..PAIRS)?;
            all_active(&daemon, PAIRS)?;
            relay.carries(&of[random.below(PAIRS)])?;
        }
        for number in random.order(PAIRS) {
            daemon.done(&["rule", "del", &of[number].name])?;
        }
        all_released(&daemon)?;
        let now = resident(&daemon)?;
        let first = *after_first.get_or_insert(now);
        ensure!(
            now <= first + MORE,
            "round {round}: {now} bytes are resident, {first} after the first round, {at_start} at the start"
        );
        eprintln!("round {round}: {} KiB resident, {} at the start", now >> 10, at_start >> 10);
    }
    ledger::check(&daemon.stats_at_rest()?, ledger::Deleted::Some)
}

/// All of a file's interfaces come after the start, the egresses of some rules before their ingresses.
#[test]
fn all_interfaces_of_a_file_come_after_the_start() -> Result<()> {
    needs_root!();
    let relay = Relay::new()?;
    let of: Vec<Rule> = (0..PAIRS).map(|number| rule(number, (number + 5) % PAIRS)).collect();
    let daemon = Daemon::start(&relay.relay, &rules::file(&of), &[])?;
    for number in 0..PAIRS {
        relay.link([number])?;
    }
    all_active(&daemon, PAIRS)?;
    relay.carries(&of[PAIRS - 1])?;
    ledger::check(&daemon.stats_at_rest()?, ledger::Deleted::None)
}

/// A file with 200 interfaces: every rule forwards from the start, and memory is for each interface, not for each pair of them.
#[test]
fn two_hundred_interfaces_of_a_file() -> Result<()> {
    needs_root!();
    let relay = Relay::new()?;
    relay.link(0..100)?;
    let of: Vec<Rule> = (0..100).map(|number| rule(number, 99 - number)).collect();
    let daemon = Daemon::start(&relay.relay, &rules::file(&of), &[])?;
    all_active(&daemon, 100)?;
    relay.carries(&of[99])?;
    let resident = resident(&daemon)?;
    ensure!(resident < 1536 << 20, "{} MiB are resident", resident >> 20);
    drop(daemon);
    Ok(())
}

/// The last rule gone, its interfaces are as they were without mcrd; those that flags name stay. So are those of a refused rule.
#[test]
fn what_no_rule_names_is_released() -> Result<()> {
    needs_root!();
    let relay = Relay::new()?;
    relay.link(0..3)?;
    let daemon = Daemon::start(&relay.relay, "", &["--iface-out", "o0"])?;
    let has_program =
        |name: &str| Ok::<_, anyhow::Error>(relay.relay.run(&format!("ip link show {name}"))?.contains("xdp"));
    daemon.done(&rule(1, 0).add())?;
    ensure!(has_program("i1")?, "a rule matches on it");
    daemon.done(&["rule", "del", "r1"])?;
    until("i1 without a program", SOON, || Ok((!has_program("i1")?).then_some(())))?;
    ensure!(has_program("o0")?, "a flag names it");
    // Its egress is refused after its ingress was attached.
    relay.relay.run("ip link set o2 mtu 9000")?;
    daemon.ctl(&rule(2, 2).add())?.exited(1)?;
    until("i2 without a program", SOON, || Ok((!has_program("i2")?).then_some(())))?;
    let names: Vec<String> = daemon.stats()?.interfaces.into_iter().map(|interface| interface.name).collect();
    ensure!(names == ["o0"], "{names:?}");
    Ok(())
}
