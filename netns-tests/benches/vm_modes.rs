//! What a packet costs a guest under each pair of modes: whether zero-copy and copy interfaces are better off with a memory each, or
//! with copies at both ends. Under emulation, where each instruction takes as long as any other: ratios of one run, and no figure of any real machine.
//!
//!     cargo build --release --workspace
//!     MCR_BIN_DIR=target/release cargo bench -p netns-tests --bench vm_modes

use anyhow::{Context, Result, ensure};
use netns_tests::{
    crossing::Crossing,
    probe::Load,
    rules,
    topology::Network,
    vm::{
        guest::Guest,
        kernel,
        machine::{Machine, Nic},
        relay::Relay,
        wire,
    },
};

const LOAD: Load = Load { first: rules::SENT, streams: 10, rate: 3_000, size: 1_024, seconds: 8 };
const MODES: [&str; 2] = ["zerocopy", "copy"];
const ROUNDS: usize = 3;

fn main() -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "taps and namespaces need root");
    let nics = [Nic::Tap(1), Nic::Tap(1)].into();
    let guest = Machine { kernel: kernel::newest()?, cpus: 1, nics }.boot_counting()?;
    let network = wire::chain(&guest, 0, 1)?;
    let mut pairs: Vec<(&str, &str, Vec<f64>)> = Vec::new();
    for ingress in MODES {
        pairs.extend(MODES.map(|egress| (ingress, egress, Vec::new())));
    }
    for _ in 0..ROUNDS {
        for (ingress, egress, costs) in &mut pairs {
            costs.push(cost(&guest, &network, ingress, egress)?);
        }
    }
    println!(
        "EMULATED: {} under QEMU without KVM, one processor, {} packets a second of {} bytes; median of {ROUNDS}\n",
        guest.run("uname -r")?.trim(),
        LOAD.rate,
        LOAD.size
    );
    let copies = median(&pairs.last().context("pairs")?.2);
    println!("{:<10} {:<10} {:>22} {:>18}", "ingress", "egress", "guest us a packet", "of copy to copy");
    for (ingress, egress, costs) in &pairs {
        let cost = median(costs);
        println!("{ingress:<10} {egress:<10} {cost:>22.1} {:>18.2}   {costs:.1?}", cost / copies);
    }
    Ok(())
}

/// Microseconds of the guest's processor for each packet, all that it does counted.
fn cost(guest: &Guest, network: &Network, ingress: &str, egress: &str) -> Result<f64> {
    let modes = [("eth0", ingress), ("eth1", egress)];
    let sections = modes.map(|(name, mode)| format!("[[interface]]\nname = \"{name}\"\nmode = \"{mode}\"\n\n"));
    let config = sections.concat() + &rules::file(&rules::streams(LOAD.streams, "eth0", "eth1"));
    let relay = Relay::start(guest, &config, "")?;
    let stats = relay.stats()?;
    for (name, mode) in modes {
        ensure!(stats.interface(name).xsk == mode, "{name} is not in {mode} mode: {stats:?}");
    }
    let before = busy(guest)?;
    let crossing = Crossing::of_chain(network, &LOAD)?;
    let ticks = busy(guest)? - before;
    let wrong = crossing.miscounted(&LOAD);
    ensure!(wrong.is_empty(), "{ingress} to {egress}: {}", wrong.join("; "));
    relay.stop()?;
    // USER_HZ is 100.
    Ok(ticks as f64 * 10_000.0 / LOAD.packets() as f64)
}

/// Ticks in which the guest was not idle.
fn busy(guest: &Guest) -> Result<u64> {
    let line = guest.run("head -n 1 /proc/stat")?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = ticks[..] else { anyhow::bail!("/proc/stat: {line}") };
    Ok(user + nice + system + irq + softirq)
}

fn median(costs: &[f64]) -> f64 {
    let mut costs = costs.to_vec();
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}
