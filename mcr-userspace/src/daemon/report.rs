//! The state as others read it: `stats`, `status`, `rule list`, the log, the last line.

use std::{collections::BTreeMap, time::Instant};

use mcr_common::counter::{OutputDrop, RuleDrop, Verdict};

use super::{
    active::Reading,
    interfaces::{Interface, Place, Role},
    links::Link,
    others,
    standing::Standing,
    state::{State, Totals},
};
use crate::{
    control::protocol::{
        Dropped, InterfaceFrames, InterfaceStats, Origin, OutputStats, OwnHostView, RuleStats, RuleView, STATS_VERSION,
        Scheduling, Stats, Status, StreamView, Totals as TotalsView, WorkerStats,
    },
    rules::{
        rule::{Output, Ports, Rule, Vlan},
        spec::Scalar,
    },
};

/// What a queue of an interface was granted, in one line.
pub fn queue_line(interface: &Interface, queue: u32, workers: u32) -> String {
    let nic = &interface.nic;
    let reason = if interface.reason.is_empty() { String::new() } else { format!(" ({})", interface.reason) };
    format!(
        "{} queue {queue} of {}: worker {}, driver {}, XDP in {} mode, AF_XDP {}{reason}",
        nic.name,
        nic.rx_queues,
        queue % workers,
        if nic.driver.is_empty() { "unknown" } else { &nic.driver },
        interface.attachment,
        xsk(interface),
    )
}

/// `zerocopy`, `copy` or `none`.
pub fn xsk(interface: &Interface) -> &'static str {
    match (interface.has_sockets(), interface.zero_copy) {
        // They are opened anew.
        (false, _) => "none",
        (true, true) => "zerocopy",
        (true, false) => "copy",
    }
}

/// The last line that the daemon prints.
pub fn final_line(totals: &Totals) -> String {
    format!(
        "FINAL ingress matched={} dropped={} egress sent={} dropped={}",
        totals.matched_packets,
        totals.dropped.iter().sum::<u64>(),
        totals.outputs.sent,
        totals.output_dropped(),
    )
}

impl State {
    /// `stats` of all rules.
    pub fn stats(&self) -> Stats {
        Stats {
            version: STATS_VERSION,
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            totals: totals_view(&self.totals()),
            rules: self.set.iter().map(|rule| self.rule_stats(rule)).collect(),
            interfaces: self.interface_stats(),
            workers: self.worker_stats(),
            memberships: self.members.view(),
        }
    }

    /// `status`.
    pub fn status(&mut self) -> Status {
        let own_host = self.own_host();
        let config = &self.options.config;
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            profile: clap::ValueEnum::to_possible_value(&config.datapath.profile)
                .map(|value| value.get_name().to_owned())
                .unwrap_or_default(),
            scheduling: self.fleet.as_ref().map(|fleet| Scheduling {
                cpu_reserve_percent: fleet.plan.reserve.percent(),
                spinning: fleet.spinning() as u32,
            }),
            config: self.options.file.as_ref().map(|path| path.display().to_string()),
            interfaces: self.interface_stats(),
            workers: self.worker_stats(),
            memberships: self.members.view(),
            queries: self.members.queries(),
            rules: self.set.len() as u64,
            streams: self.streams(),
            warnings: self.warnings_with(&own_host),
            own_host,
        }
    }

    /// The warnings of `status`.
    pub fn all_warnings(&mut self) -> Vec<String> {
        let own_host = self.own_host();
        self.warnings_with(&own_host)
    }

    fn warnings_with(&self, own_host: &[OwnHostView]) -> Vec<String> {
        self.warnings().into_iter().chain(others::warnings(own_host)).collect()
    }

    /// A rule and its state.
    pub fn rule_view(&self, rule: &Rule) -> RuleView {
        let Standing { state, reason } = self.standing(rule);
        let origin = match self.origins.is_from_file(&rule.name) {
            true => Origin::File,
            false => Origin::Runtime,
        };
        let changed_at_run_time = self.origins.differs(rule);
        RuleView { origin, changed_at_run_time, ..RuleView::new(rule, state, reason) }
    }

    fn streams(&self) -> Vec<StreamView> {
        let now = Instant::now();
        let silence = |name: &str| self.live.get(name)?.hearing.silence(now).map(|silence| silence.as_secs_f64());
        let view = |rule: &Rule| {
            let Standing { state, reason: state_reason } = self.standing(rule);
            StreamView { rule: rule.name.clone(), state, state_reason, silent_seconds: silence(&rule.name) }
        };
        self.set.iter().map(view).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let is_on = |name: &str| self.set.get(name).is_some_and(|rule| rule.enabled);
        let waiting = self.live.iter().filter(|(name, live)| live.active.is_none() && is_on(name));
        let waiting = waiting.map(|(name, live)| format!("rule {name} waits: {}", live.waiting));
        let rules = self.live.values().filter_map(|live| live.active.as_ref()).map(|active| &active.rule);
        let outputs = rules.flat_map(|rule| {
            let why = rule.outputs.iter().filter_map(|output| self.lack(rule, output));
            why.map(|why| format!("rule {}: an output waits: {why}", rule.name))
        });
        let absent = self.interfaces.iter().filter(|(_, place)| place.interface.is_none());
        let absent = absent.map(|(_, place)| place.absent.clone());
        // What was refused at its attachment may have come later: an MTU above the frames.
        let there = || self.interfaces.iter().filter_map(|(_, place)| place.interface.as_ref());
        let faults = there().filter_map(|interface| Some((interface, interface.scrutiny.finding?)));
        let faults = faults.map(|(interface, finding)| {
            format!("{}: zero-copy fails: {}; mode auto takes copy then", interface.nic.name, finding.why())
        });
        let unfit = there().filter_map(|interface| self.fits(&interface.nic, Role::Ingress).err());
        let unfit = unfit.map(|error| format!("{error:#}"));
        let unseated = self.fleet.iter().filter_map(|fleet| fleet.warning.clone());
        unseated
            .chain(self.waits_for_confirmation())
            .chain(waiting)
            .chain(outputs)
            .chain(absent)
            .chain(faults)
            .chain(unfit)
            .chain(self.offloads.warnings(&self.set, |name| self.shows_tags(name)))
            .chain(self.members.warnings())
            .collect()
    }

    /// Whether tagged packets have matched on an interface.
    fn shows_tags(&self, interface: &str) -> bool {
        let rules = self.set.iter().filter(|rule| rule.matcher.vlan.is_some() && rule.matcher.interface == interface);
        let mut lives = rules.filter_map(|rule| self.live.get(&rule.name));
        lives.any(|live| live.hearing.silence(Instant::now()).is_some())
    }

    /// Why an output of an active rule cannot send now.
    pub fn lack(&self, rule: &Rule, output: &Output) -> Option<String> {
        let place = self.interfaces.place(&output.interface)?;
        match &place.interface {
            Some(interface) => self.lacks_source(rule, output, &interface.nic),
            None => Some(place.absent.clone()),
        }
    }

    /// What a rule has counted under its name: before it was replaced, in the one that is being replaced, and now.
    pub fn reading(&self, rule: &Rule) -> Reading {
        let mut reading = Reading { outputs: vec![Default::default(); rule.outputs.len()], ..Reading::default() };
        if let Some(live) = self.live.get(&rule.name) {
            reading.carry(&rule.outputs, &live.carried, &live.carried_outputs);
            let others = self.departing().filter(|other| other.lineage == live.lineage);
            for active in live.active.iter().chain(others) {
                let now = active.read(|| self.program.count(active.value.slot));
                reading.carry(&rule.outputs, &now, &active.rule.outputs);
            }
        }
        reading
    }

    /// One rule of `stats`.
    pub fn rule_stats(&self, rule: &Rule) -> RuleStats {
        let reading = self.reading(rule);
        let is_active = self.live.get(&rule.name).is_some_and(|live| live.active.is_some());
        let outputs = rule.outputs.iter().zip(&reading.outputs).map(|(output, counts)| OutputStats {
            waiting: is_active.then(|| self.lack(rule, output)).flatten(),
            name: output.name.clone(),
            interface: output.interface.clone(),
            vlan: match output.vlan {
                Vlan::None => None,
                Vlan::Keep => Some(Scalar::from("keep")),
                Vlan::Set(id) => Some(Scalar::Number(id.into())),
            },
            group: output.group.map_or_else(|| rule.matcher.group.to_string(), |group| group.to_string()),
            port: port(rule, output),
            offered_packets: counts.offered,
            sent_packets: counts.sent,
            sent_bytes: counts.sent_bytes,
            dropped: by_name(OutputDrop::ALL.iter().map(|reason| reason.name()), &counts.dropped),
        });
        let Standing { state, reason: state_reason } = self.standing(rule);
        RuleStats {
            name: rule.name.clone(),
            matched_packets: reading.matched_packets,
            matched_bytes: reading.matched_bytes,
            dropped: by_name(RuleDrop::ALL.iter().map(|reason| reason.name()), &reading.dropped),
            state,
            state_reason,
            outputs: outputs.collect(),
        }
    }

    /// Every interface of `stats`.
    pub fn interface_stats(&self) -> Vec<InterfaceStats> {
        let stats = |place: &Place| {
            let counts = place.verdicts(&self.program);
            let there = place.interface.as_ref();
            InterfaceStats {
                name: place.name.clone(),
                driver: there.map(|interface| interface.nic.driver.clone()).unwrap_or_default(),
                queues: there.map_or(0, |interface| interface.nic.rx_queues),
                up: matches!(place.link, Link::Up | Link::NoCarrier),
                carrier: place.link == Link::Up,
                mtu: there.map_or(0, |interface| interface.nic.mtu),
                xdp: there.map_or("none".to_owned(), |interface| interface.attachment.to_string()),
                xsk: there.map_or("none", xsk).to_owned(),
                frames: there.map(Interface::frames).map(|(rx, tx)| InterfaceFrames { rx, tx }).unwrap_or_default(),
                xsk_reason: there.map_or(&place.absent, |interface| &interface.reason).clone(),
                verdicts: Verdict::ALL
                    .iter()
                    .map(|verdict| (verdict.name().to_owned(), counts[*verdict as usize]))
                    .collect(),
            }
        };
        self.interfaces.iter().map(|(_, place)| stats(place)).collect()
    }

    /// Every worker of `stats`.
    pub fn worker_stats(&self) -> Vec<WorkerStats> {
        let Some(fleet) = &self.fleet else { return Vec::new() };
        let ingresses = self.interfaces.iter().filter_map(|(_, place)| place.interface.as_ref());
        let queues = ingresses.filter(|interface| interface.is_ingress).map(|interface| interface.nic.rx_queues).max();
        let queues = queues.unwrap_or(0);
        let stats = fleet.handles.iter().enumerate().map(|(id, handle)| WorkerStats {
            id: id as u32,
            cpu: handle.cpu,
            rx_queues: (0..queues).skip(id).step_by(fleet.handles.len()).collect(),
            rx_packets: handle.counters.rx_packets.get(),
            tx_packets: handle.counters.tx_packets.get(),
            frames_total: fleet.frames(),
            frames_limit: u64::from(fleet.plan.frames_limit),
            frames_free: handle.counters.frames_free.get(),
            own_lookups: handle.counters.own_lookups.get(),
        });
        stats.collect()
    }
}

/// Sums as `stats` has them.
pub fn totals_view(totals: &Totals) -> TotalsView {
    TotalsView {
        matched_packets: totals.matched_packets,
        matched_bytes: totals.matched_bytes,
        dropped: by_name(RuleDrop::ALL.iter().map(|reason| reason.name()), &totals.dropped),
        sent_packets: totals.outputs.sent,
        sent_bytes: totals.outputs.sent_bytes,
        output_dropped: by_name(OutputDrop::ALL.iter().map(|reason| reason.name()), &totals.outputs.dropped),
    }
}

/// Counters by their reasons' names, those that are not zero.
fn by_name(names: impl Iterator<Item = &'static str>, counts: &[u64]) -> Dropped {
    let counts = names.zip(counts).filter(|(_, count)| **count > 0);
    counts.map(|(name, count)| (name.to_owned(), *count)).collect::<BTreeMap<_, _>>()
}

/// The port that an output sends to, where it is one.
fn port(rule: &Rule, output: &Output) -> Option<u16> {
    output.port.or(match rule.matcher.ports {
        Ports::Exact(port) => Some(port),
        Ports::Range(..) | Ports::Any => None,
    })
}
