//! Zero-copy on Intel's 82576 (driver igb): where it is granted it works, and every packet comes out once and whole; where it is granted
//! and does not work, mcrd copies and says why, until what lifts it is done.
//!
//! Two boots, one for each kernel. With `MCR_LONG=1` each number of queues meets each `--mode`.

mod frames;

use anyhow::{Context, Result, ensure};
use netns_tests::{
    daemon::Final,
    deadline::until,
    ledger::{self, Deleted},
    needs_root,
    topology::Network,
    vm::{
        guest::{Guest, LIMIT},
        kernel::{self, Kernel},
        machine::{Machine, Nic},
        relay::Relay,
        wire,
    },
};

const INTERFACES: [&str; 2] = ["eth0", "eth1"];
/// Queues whose receiving and sending have interrupts of their own, and queues that do not.
const UNPAIRED: [u32; 2] = [1, 2];
const PAIRED: u32 = 8;

/// A guest with an igb at each end of the way through it.
struct Bench {
    guest: Guest,
    network: Network,
    /// Whether the driver wakes both of receiving and sending.
    wakes_both: bool,
}

/// Up to Linux 6.18 the driver wakes only its sending side.
#[test]
fn where_the_driver_wakes_only_senders() -> Result<()> {
    needs_root!();
    let bench = Bench::boot(0)?;
    ensure!(!bench.wakes_both, "{} is too new for this", bench.guest.run("uname -r")?);
    bench.every_mode(&[(1, "auto"), (2, "copy")])?;
    bench.refused(2)?;
    bench.remedy()?;
    bench.down_at_first()?;
    bench.guest.healthy()
}

/// And later both.
#[test]
fn where_the_driver_wakes_both() -> Result<()> {
    needs_root!();
    let bench = Bench::boot(1)?;
    ensure!(bench.wakes_both, "{} is too old for this", bench.guest.run("uname -r")?);
    bench.every_mode(&[(1, "auto"), (2, "zerocopy"), (PAIRED, "auto")])?;
    bench.larger_packets()?;
    bench.cut_in_two()?;
    bench.guest.healthy()
}

impl Bench {
    fn boot(number: usize) -> Result<Self> {
        let kernels: Vec<Kernel> = kernel::fetched(&kernel::ORDINARY)?;
        let kernel = kernels[number].clone();
        let wakes_both = kernel.version() > (6, 18);
        let guest = Machine { kernel, cpus: 2, nics: vec![Nic::Igb, Nic::Igb] }.boot()?;
        for name in INTERFACES {
            // So that the NIC lets the tag through.
            guest.run(&format!("ip link add link {name} name {name}.{v} type vlan id {v}", v = frames::VLAN))?;
        }
        let network = wire::chain(&guest, 0, 1)?;
        for name in INTERFACES {
            guest.run(&format!("ip link set {name}.{} up", frames::VLAN))?;
        }
        Ok(Self { guest, network, wakes_both })
    }

    fn set_queues(&self, queues: u32) -> Result<()> {
        for name in INTERFACES {
            // It is an error to set what is set.
            self.guest.run(&format!("ethtool -L {name} combined {queues} || ethtool -l {name} >/dev/null"))?;
        }
        Ok(())
    }

    /// What AF_XDP is to be, where that many queues meet that mode; nothing where mcrd refuses.
    fn granted(&self, queues: u32, mode: &str) -> Option<&'static str> {
        let works = self.wakes_both || !UNPAIRED.contains(&queues);
        match (mode, works) {
            ("copy", _) | ("auto", false) => Some("copy"),
            (_, true) => Some("zerocopy"),
            (_, false) => None,
        }
    }

    /// These cells of the table, or all of it.
    fn every_mode(&self, some: &[(u32, &str)]) -> Result<()> {
        let all = UNPAIRED.into_iter().chain([PAIRED]);
        let all = all.flat_map(|queues| ["auto", "zerocopy", "copy"].map(|mode| (queues, mode)));
        let cells = if std::env::var_os("MCR_LONG").is_some() { all.collect() } else { some.to_vec() };
        for (queues, mode) in cells {
            let told = format!("{queues} queues, --mode {mode}");
            self.cell(queues, mode).with_context(|| told.clone())?;
            eprintln!("{told}: as it must be");
        }
        Ok(())
    }

    fn cell(&self, queues: u32, mode: &str) -> Result<()> {
        let Some(xsk) = self.granted(queues, mode) else { return self.refused(queues) };
        self.set_queues(queues)?;
        let relay = Relay::start(&self.guest, &frames::rules(), &format!("--mode {mode}"))?;
        self.is(&relay, xsk)?;
        for name in INTERFACES {
            self.is_explained(&relay, name, queues, xsk == "copy" && mode == "auto")?;
        }
        self.crosses(&relay)?;
        let all = frames::count();
        assert_eq!(relay.stop()?, Final { matched: all, ingress_dropped: 0, sent: all, egress_dropped: 0 });
        Ok(())
    }

    /// Waits until both are so, and have a link: the driver resets it whenever the program comes or goes.
    fn is(&self, relay: &Relay<'_>, xsk: &str) -> Result<()> {
        until(&format!("both interfaces to be {xsk}, with a link"), LIMIT, || {
            let stats = relay.stats()?;
            let links = self.guest.run("cat /sys/class/net/eth0/carrier /sys/class/net/eth1/carrier")?;
            let are_so = INTERFACES.iter().all(|name| stats.interface(name).xsk == xsk);
            Ok((are_so && links.split_whitespace().all(|link| link == "1")).then_some(()))
        })
        .with_context(|| relay.log().unwrap_or_default())
    }

    /// Status, log and doctor say why it copies, and what lifts it; and say nothing of the sort where it need not.
    fn is_explained(&self, relay: &Relay<'_>, name: &str, queues: u32, copies: bool) -> Result<()> {
        let reason = relay.stats()?.interface(name).xsk_reason.clone();
        let remedy = format!("`ethtool -L {name} combined {PAIRED}`");
        ensure!(reason.contains(&remedy) == copies && reason.is_empty() != copies, "{queues} queues: {reason:?}");
        for told in [relay.ctl("status")?.success()?.stdout, relay.log()?, relay.ctl(&format!("doctor {name}"))?.stdout]
        {
            ensure!(told.contains(&remedy) == copies, "{queues} queues: {told}");
        }
        Ok(())
    }

    /// Every frame once and whole, every frame of the memory back.
    fn crosses(&self, relay: &Relay<'_>) -> Result<()> {
        let before = relay.stats_at_rest()?;
        let wrong = frames::cross(&self.network)?;
        let stats = relay.stats_at_rest()?;
        ensure!(wrong.is_empty(), "{}\n{stats:?}\n{}", wrong.join("\n"), relay.log()?);
        ledger::check(&stats, Deleted::None)?;
        ledger::check_frames(&before, &stats)
    }

    fn refused(&self, queues: u32) -> Result<()> {
        self.set_queues(queues)?;
        let flags = "--mode zerocopy --iface-in eth0";
        let refused = Relay::refused(&self.guest, &frames::rules(), flags)?;
        let remedy = format!("`ethtool -L eth0 combined {PAIRED}`");
        ensure!(refused.stderr.contains(&remedy), "{}", refused.told());
        Ok(())
    }

    /// What lifts it is done while mcrd runs. Then the link goes and comes back.
    fn remedy(&self) -> Result<()> {
        self.set_queues(2)?;
        let relay = Relay::start(&self.guest, &frames::rules(), "")?;
        self.is(&relay, "copy")?;
        for name in INTERFACES {
            self.is_explained(&relay, name, 2, true)?;
        }
        self.crosses(&relay)?;
        self.set_queues(PAIRED)?;
        self.is(&relay, "zerocopy")?;
        self.crosses(&relay)?;
        self.guest.run("ip link set eth0 down; ip link set eth1 down; ip link set eth0 up; ip link set eth1 up")?;
        self.is(&relay, "zerocopy")?;
        self.crosses(&relay)?;
        let all = 3 * frames::count();
        assert_eq!(relay.stop()?, Final { matched: all, ingress_dropped: 0, sent: all, egress_dropped: 0 });
        Ok(())
    }

    /// Interfaces that are down are judged when they are up.
    fn down_at_first(&self) -> Result<()> {
        self.set_queues(2)?;
        self.guest.run("ip link set eth0 down; ip link set eth1 down")?;
        let relay = Relay::start(&self.guest, &frames::rules(), "")?;
        self.guest.run("ip link set eth0 up; ip link set eth1 up")?;
        self.guest.run(&format!("ip link set eth0.{v} up; ip link set eth1.{v} up", v = frames::VLAN))?;
        self.is(&relay, "copy")?;
        for name in INTERFACES {
            self.is_explained(&relay, name, 2, true)?;
        }
        self.crosses(&relay)?;
        relay.stop()?;
        Ok(())
    }

    /// The driver asks that a packet of the MTU fits a frame.
    fn larger_packets(&self) -> Result<()> {
        let mtu = |mtu| self.guest.run(&format!("ip link set eth0 mtu {mtu}; ip link set eth1 mtu {mtu}"));
        self.set_queues(PAIRED)?;
        mtu(2000)?;
        let relay = Relay::start(&self.guest, &frames::rules(), "--mode zerocopy")?;
        self.is(&relay, "zerocopy")?;
        self.crosses(&relay)?;
        relay.stop()?;
        mtu(1500).map(drop)
    }

    /// With small frames, as never used outside of tests, the driver cuts packets in two: that is noticed.
    fn cut_in_two(&self) -> Result<()> {
        const SMALL: &str = "MCR_TEST_SMALL_FRAMES=1";
        self.set_queues(PAIRED)?;
        for mode in ["auto", "zerocopy"] {
            let relay = Relay::start_with(&self.guest, SMALL, &frames::rules(), &format!("--mode {mode}"))?;
            self.is(&relay, "zerocopy")?;
            let found = || -> Result<bool> {
                let (stats, status) = (relay.stats()?, relay.ctl("status")?.success()?);
                // A reason stands in the table, a warning on stderr.
                let told = status.stdout + &status.stderr;
                let is_degraded = stats.rules.iter().all(|rule| rule.state == "degraded");
                let copies = stats.interface("eth0").xsk == "copy";
                Ok(told.contains("cut in two") && if mode == "auto" { copies && !is_degraded } else { is_degraded })
            };
            until("packets found to be cut", LIMIT, || {
                let wrong = frames::cross(&self.network)?;
                let found = found()?;
                ensure!(found || !wrong.is_empty(), "nothing was cut: nothing is shown");
                Ok(found.then_some(()))
            })
            .with_context(|| relay.log().unwrap_or_default())?;
            if mode == "auto" {
                self.is(&relay, "copy").ok();
                self.crosses(&relay)?;
            }
            relay.stop()?;
        }
        Ok(())
    }
}
