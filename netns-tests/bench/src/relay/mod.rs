//! Who forwards: each contender, started in the chain for a job.

mod job;
mod limit;
mod mcr;
mod nftables;
mod smcroute;
mod socat;
mod testpmd;

pub use job::Job;
pub use mcr::rules as rules_of;
pub use socat::words as socat_words;

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result};
use netns_tests::{
    daemon::Daemon,
    process::Process,
    rules::{RECEIVED, SENT},
    smcroute::Smcroute,
};
use nix::unistd::Pid;

use crate::load::stage::{Outcome, Stage, Trial};

/// Against a start that never ends.
const LIMIT: Duration = Duration::from_secs(15);

/// Who forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contender {
    /// Nobody: sender and sink on one wire.
    Wire,
    /// An XDP program of our own that rewrites as mcr does and redirects.
    Limit,
    /// `fwd` at nftables' ingress hook.
    Nftables,
    /// The kernel's multicast routing with smcroute's routes; it changes the TTL only.
    Smcroute,
    /// DPDK's testpmd over AF_XDP; it changes Ethernet addresses only.
    Testpmd,
    /// mcrd, spinning.
    McrLowLatency,
    /// mcrd, as it is by default.
    McrEfficient,
    /// One process for each stream and output.
    Socat,
}

/// A contender at work, and the network that it works in.
pub struct Running {
    job: Job,
    to: (Ipv4Addr, u16),
    processes: Vec<Process>,
    /// mcrd.
    pub daemon: Option<Daemon>,
    _router: Option<Smcroute>,
    /// The network; last, so that it outlives the processes.
    pub stage: Stage,
}

impl Contender {
    /// All of them, the fastest ways first.
    pub const ALL: [Self; 8] = [
        Self::Wire,
        Self::Limit,
        Self::Nftables,
        Self::Smcroute,
        Self::Testpmd,
        Self::McrLowLatency,
        Self::McrEfficient,
        Self::Socat,
    ];

    /// Its name in tables, files and `--only`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wire => "wire",
            Self::Limit => "xdp-limit",
            Self::Nftables => "nftables",
            Self::Smcroute => "smcroute",
            Self::Testpmd => "testpmd",
            Self::McrLowLatency => "mcr-low-latency",
            Self::McrEfficient => "mcr-efficient",
            Self::Socat => "socat",
        }
    }

    /// Whether it is mcr.
    pub const fn is_mcr(self) -> bool {
        matches!(self, Self::McrLowLatency | Self::McrEfficient)
    }

    /// Whether processes of its own forward, and not the kernel alone.
    pub const fn has_processes(self) -> bool {
        matches!(self, Self::Testpmd | Self::McrLowLatency | Self::McrEfficient | Self::Socat)
    }

    /// Whether it can send each stream to more than one output.
    pub const fn fans_out(self) -> bool {
        matches!(self, Self::Nftables | Self::McrLowLatency | Self::McrEfficient | Self::Socat)
    }

    /// What it is, its version and how it is started, for whoever reads the results.
    pub fn described(self) -> String {
        match self {
            Self::Wire => "sender and sink on one veth pair".into(),
            Self::Limit => limit::DESCRIBED.into(),
            Self::Nftables => nftables::described(),
            Self::Smcroute => smcroute::described(),
            Self::Testpmd => testpmd::described(),
            Self::McrLowLatency => mcr::described("low-latency"),
            Self::McrEfficient => mcr::described("efficient"),
            Self::Socat => socat::described(),
        }
    }

    /// Why it cannot run on this machine.
    pub fn lacks(self) -> Option<String> {
        match self {
            Self::Nftables => nftables::lacks(),
            Self::Smcroute => smcroute::lacks(),
            Self::Testpmd => testpmd::lacks(),
            Self::Socat => socat::lacks(),
            Self::Wire | Self::Limit | Self::McrLowLatency | Self::McrEfficient => None,
        }
    }

    /// Starts it; every stream is forwarded when this returns.
    pub fn start(self, job: Job) -> Result<Running> {
        let mut stage = if self == Self::Wire { Stage::wire()? } else { Stage::chain()? };
        let (mut processes, mut daemon, mut router, mut to) = (Vec::new(), None, None, RECEIVED);
        match self {
            Self::Wire => to = SENT,
            Self::Limit => limit::start(&mut stage, job)?,
            Self::Nftables => nftables::start(&stage, job)?,
            Self::Smcroute => {
                to = SENT;
                router = Some(smcroute::start(&stage, job)?);
            }
            Self::Testpmd => {
                to = SENT;
                processes.push(testpmd::start(&stage)?);
            }
            Self::McrLowLatency => daemon = Some(mcr::start(&stage, job, "low-latency")?),
            Self::McrEfficient => daemon = Some(mcr::start(&stage, job, "efficient")?),
            Self::Socat => processes = socat::start(&stage, job)?,
        }
        let warm = stage.warm_up(job.streams(), to, job.outputs, LIMIT);
        warm.with_context(|| {
            let said = processes.iter().map(|process| process.stdout() + &process.stderr()).collect::<String>();
            format!("{}: {said}", self.name())
        })?;
        Ok(Running { job, to, processes, daemon, _router: router, stage })
    }
}

impl Running {
    /// One trial.
    pub fn trial(&mut self, trial: &Trial) -> Result<Outcome> {
        let outcome = self.stage.trial(trial, self.job.streams(), self.to, self.job.outputs)?;
        if log::log_enabled!(log::Level::Debug) {
            let told = self.daemon.as_ref().map(Daemon::stats).transpose()?.map(|stats| stats.totals);
            let told = told.map(|totals| (totals.dropped, totals.output_dropped));
            let Outcome { expected, wrong, sender_dropped, .. } = outcome;
            let (lost, rate) = (outcome.lost(), outcome.rate());
            let delays = [0.5, 0.99, 1.0].map(|part| outcome.delays.quantile(part));
            log::debug!(
                "{trial:?}: {rate:.0} a second, {lost} of {expected} lost, {wrong} wrong, {sender_dropped} by the \
                 sender's interface; delays {delays:?} ns; mcr has dropped {told:?}"
            );
        }
        Ok(outcome)
    }

    /// Its processes; none where the kernel does it all.
    pub fn pids(&self) -> Vec<Pid> {
        self.processes.iter().map(Process::pid).chain(self.daemon.iter().map(Daemon::pid)).collect()
    }
}
