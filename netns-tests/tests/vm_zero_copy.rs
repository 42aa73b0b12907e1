//! Zero-copy on virtio_net in a virtual machine: real programs, real rings, every packet once.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use netns_tests::{
    crossing::Crossing,
    daemon::Final,
    ledger::{self, Deleted},
    needs_root,
    probe::Load,
    rules::{self, Output, Rule},
    stats::Stats,
    topology::{GEN, Network, SINK},
    vm::{
        guest::Guest,
        kernel,
        machine::{Machine, Nic},
        relay::Relay,
        wire,
    },
};

/// What emulation carries with ease.
const LOAD: Load = Load { first: rules::SENT, streams: 50, rate: 2_000, size: 256, seconds: 3 };

/// One boot for all of it. eth2 and eth3 have pairs of queues to spare for a program when one is in use, and none when four are.
#[test]
fn every_packet_once() -> Result<()> {
    needs_root!();
    let nics = [2, 2, 5, 5].map(Nic::Tap).into();
    let guest = Machine { kernel: kernel::newest()?, cpus: 4, nics }.boot()?;
    eprintln!("{} answers after {:.1} s", guest.run("uname -r")?.trim(), guest.age().as_secs_f64());

    let pair = Pair { guest: &guest, network: wire::chain(&guest, 0, 1)?, interfaces: ["eth0", "eth1"] };
    pair.forward(1, "--mode zerocopy", 1, "zerocopy")?;
    pair.polled()?;
    pair.forward(2, "--mode zerocopy", 2, "zerocopy")?;
    pair.killed()?;
    pair.forward(2, "", 2, "zerocopy")?;

    let pair = Pair { guest: &guest, network: wire::chain(&guest, 2, 3)?, interfaces: ["eth2", "eth3"] };
    pair.with_queues_to_spare()?;
    pair.forward(4, "--mode zerocopy", 4, "zerocopy")?;
    guest.healthy()
}

/// A way in, a way out, and who is behind them.
struct Pair<'a> {
    guest: &'a Guest,
    network: Network,
    interfaces: [&'static str; 2],
}

impl Pair<'_> {
    fn set_queues(&self, queues: u32) -> Result<()> {
        for interface in self.interfaces {
            // It is an error to set what is set.
            self.guest
                .run(&format!("ethtool -L {interface} combined {queues} || ethtool -l {interface} >/dev/null"))?;
        }
        Ok(())
    }

    fn config(&self) -> String {
        rules::file(&rules::streams(LOAD.streams, self.interfaces[0], self.interfaces[1]))
    }

    /// Sends the load with so many queues set, and `served` with the program.
    fn forward(&self, queues: u32, flags: &str, served: u32, xsk: &str) -> Result<Stats> {
        self.forward_by(&self.config(), queues, flags, served, xsk)
    }

    /// The same, by another file.
    fn forward_by(&self, config: &str, queues: u32, flags: &str, served: u32, xsk: &str) -> Result<Stats> {
        self.set_queues(queues)?;
        let relay = Relay::start(self.guest, config, flags)?;
        let before = relay.stats_at_rest()?;
        let crossing = Crossing::of_chain(&self.network, &LOAD)?;
        let stats = relay.stats_at_rest()?;
        eprintln!("{}", relay.log()?);

        crossing.exactly_once(&LOAD).with_context(|| format!("{stats:?}\n{}", self.links()))?;
        for name in self.interfaces {
            let interface = stats.interface(name);
            let granted = (&*interface.driver, interface.queues, &*interface.xdp, &*interface.xsk);
            assert_eq!(granted, ("virtio_net", served, "driver", xsk), "{interface:?}");
        }
        ledger::check(&stats, Deleted::None)?;
        ledger::check_frames(&before, &stats)?;
        for worker in &stats.workers {
            ensure!(worker.rx_packets > 0, "worker {} carried nothing: {:?}", worker.id, stats.workers);
        }
        let (matched, sent) = (LOAD.packets(), LOAD.packets());
        assert_eq!(relay.stop()?, Final { matched, ingress_dropped: 0, sent, egress_dropped: 0 });
        eprintln!("{:?} with {served} queues, {xsk}: {matched} packets, each once", self.interfaces);
        self.guest.healthy()?;
        Ok(stats)
    }

    /// A worker that never sleeps takes packets from the driver by itself, so that the NIC need not interrupt as it does for one that
    /// sleeps. Where it sends to what it polled, it sends all the same.
    fn polled(&self) -> Result<()> {
        let flags = "--mode zerocopy --profile low-latency";
        self.defer_interrupts(2, 200_000)?;
        let asleep = self.interrupts_of(|| self.forward(1, "--mode zerocopy", 1, "zerocopy"))?;
        let polled = self.interrupts_of(|| self.forward(1, flags, 1, "zerocopy"))?;
        self.defer_interrupts(0, 0)?;
        let told = format!("{polled} interrupts where the driver is polled, {asleep} where it is not");
        eprintln!("{told}");
        ensure!(polled < asleep / 4, "{told}");

        let outputs =
            vec![Output { interface: self.interfaces[0].into(), group: Ipv4Addr::new(239, 20, 1, 2), port: 7002 }];
        let back = Rule {
            name: "back".into(),
            interface: self.interfaces[1].into(),
            group: Ipv4Addr::new(239, 20, 1, 1),
            port: 7001,
            outputs,
        };
        self.forward_by(&(rules::file(&[back]) + &self.config()), 1, flags, 1, "zerocopy")?;
        Ok(())
    }

    /// Turns without a packet, and nanoseconds without a poll, after which the driver goes back to interrupts.
    fn defer_interrupts(&self, turns: u32, timeout: u32) -> Result<()> {
        for interface in self.interfaces {
            let at = format!("/sys/class/net/{interface}");
            self.guest
                .run(&format!("echo {turns} >{at}/napi_defer_hard_irqs; echo {timeout} >{at}/gro_flush_timeout"))?;
        }
        Ok(())
    }

    /// Interrupts of the receiving queues of the way in, while something is done.
    fn interrupts_of(&self, what: impl FnOnce() -> Result<Stats>) -> Result<u64> {
        let count = || -> Result<u64> {
            let device = format!("$(basename $(readlink /sys/class/net/{}/device))", self.interfaces[0]);
            let lines = self.guest.run(&format!("grep -F {device}-input /proc/interrupts"))?;
            // The line's number, the count of each CPU, what kind it is and whose.
            let of = |line: &str| -> u64 {
                line.split_whitespace().skip(1).map_while(|word| word.parse::<u64>().ok()).sum()
            };
            Ok(lines.lines().map(of).sum())
        };
        let before = count()?;
        what()?;
        Ok(count()? - before)
    }

    /// The kernel takes a program from an interface before the sockets, and must have the UMEM back from the driver all the same.
    fn killed(&self) -> Result<()> {
        Relay::start(self.guest, &self.config(), "--mode zerocopy")?.kill()?;
        self.guest.healthy()
    }

    /// virtio_net takes more queues for the program where it has them, receives on them too, and leaves the kernel broken if they
    /// are zero-copy when it gives them up. `auto` serves them all in copy mode then, and the remedy is said.
    fn with_queues_to_spare(&self) -> Result<()> {
        let stats = self.forward(1, "", 5, "copy")?;
        let reason = &stats.interface(self.interfaces[0]).xsk_reason;
        let remedy = format!("ethtool -L {} combined 5", self.interfaces[0]);
        ensure!(reason.contains(&remedy), "{reason}");
        let refused = Relay::refused(self.guest, &self.config(), "--mode zerocopy")?;
        ensure!(refused.stderr.contains(&remedy), "{}", refused.told());
        Ok(())
    }

    /// What each interface on the way counted, for an error.
    fn links(&self) -> String {
        let show = |label| self.network.namespace(label).run("ip -s link").unwrap_or_default();
        let guest = self.guest.run("ip -s link; ethtool -S eth0; ethtool -S eth1").unwrap_or_default();
        format!("{GEN}:\n{}guest:\n{guest}{SINK}:\n{}", show(GEN), show(SINK))
    }
}
