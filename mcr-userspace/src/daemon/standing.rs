//! What each rule is doing, with the reason in words; each change of it is one line of the log and one event.

use std::time::{Duration, Instant};

use mcr_common::counter::{OutputDrop, RuleDrop, Verdict};

use super::{
    explain::{
        cause::{repaired_output, repaired_rule},
        facts::InterfaceFacts,
    },
    links::Link,
    state::{Live, State},
    traffic::Finding,
};
use crate::{
    control::protocol::{Event, EventKind, RuleState},
    rules::{
        edit,
        rule::{Output, Rule},
    },
};

/// Without packets for so long, a rule without `stall_after` is idle.
const IDLE: Duration = Duration::from_secs(10);
/// Rules that one look names in the log: an interface may have thousands.
const MOST_LINES: usize = 20;

/// A state and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The state.
    pub state: RuleState,
    /// Why it is not `active`.
    pub reason: Option<String>,
}

impl Standing {
    fn new(state: RuleState, reason: impl Into<String>) -> Self {
        Self { state, reason: Some(reason.into()) }
    }
}

impl State {
    /// What the rule of this name is doing now.
    pub fn standing(&self, rule: &Rule) -> Standing {
        use RuleState::{Active, Degraded, Disabled, Idle, Stalled, Waiting};
        if !rule.enabled {
            return Standing::new(
                Disabled,
                format!("it is switched off; `mcrctl rule enable {}`", edit::argument(&rule.name)),
            );
        }
        let Some(live) = self.live.get(&rule.name) else { return Standing::new(Waiting, "it starts") };
        if live.active.is_none() {
            return Standing::new(Waiting, live.waiting.as_str());
        }
        if let Some(why) = self.trouble(rule, live) {
            return Standing::new(Degraded, why);
        }
        let silence = live.hearing.silence(Instant::now());
        let shown = |time: Duration| humantime::format_duration(time).to_string();
        let ingress = &rule.matcher.interface;
        match (silence, rule.stall_after) {
            _ if live.hearing.is_stalled() => {
                let after = shown(rule.stall_after.unwrap_or_default());
                Standing::new(
                    Stalled,
                    match silence {
                        Some(_) => format!("no packet for {after} or longer on {ingress}"),
                        None => {
                            format!("no packet has come on {ingress} since the rule started, for {after} or longer")
                        }
                    },
                )
            }
            (None, _) => Standing::new(Idle, format!("no packet has come on {ingress} so far")),
            (Some(silence), None) if silence >= IDLE => {
                Standing::new(Idle, format!("no packet for {} or longer on {ingress}", shown(IDLE)))
            }
            _ => Standing { state: Active, reason: None },
        }
    }

    /// What is wrong with an active rule, where its packets may pass all the same.
    fn trouble(&self, rule: &Rule, live: &Live) -> Option<String> {
        let ingress = self.interfaces.place(&rule.matcher.interface);
        let finding = ingress.and_then(|place| place.interface.as_ref()?.scrutiny.finding);
        if let Some(finding) = finding {
            return Some(format!("{}: zero-copy fails: {}", rule.matcher.interface, finding.why()));
        }
        if let Some(why) = ingress.and_then(|place| place.link.trouble(&place.name)) {
            return Some(format!("the ingress {why}"));
        }
        let output = |at: usize| rule.outputs.get(at).map(|output| output_name(at, output)).unwrap_or_default();
        let waits = rule.outputs.iter().enumerate().find_map(|(at, output)| Some((at, self.lack(rule, output)?)));
        if let Some((at, why)) = waits {
            return Some(format!("{} waits: {why}", output(at)));
        }
        let down = rule.outputs.iter().enumerate().find_map(|(at, output)| {
            let place = self.interfaces.place(&output.interface)?;
            Some((at, place.link.trouble(&place.name)?))
        });
        if let Some((at, why)) = down {
            return Some(format!("{}: {why}", output(at)));
        }
        let is_present = |finding: &&Finding| self.repaired(rule, live, **finding).is_none();
        Some(match *live.traffic.findings().iter().find(is_present)? {
            Finding::AllDropped(reason) => {
                format!("every packet is dropped ({}): {}", reason.name(), rule_drop(reason))
            }
            Finding::NothingSent(at, reason) => {
                let output_at = rule.outputs.get(at)?;
                let why = self.output_drop(reason, output_at);
                format!("{} sends none of its packets ({}): {why}", output(at), reason.name())
            }
        })
    }

    /// What has changed since the packets of a finding came, so that it is over.
    fn repaired(&self, rule: &Rule, live: &Live, finding: Finding) -> Option<String> {
        let age = live.traffic.age(Instant::now());
        match finding {
            Finding::AllDropped(reason) => repaired_rule(reason, &self.interface_facts(&rule.matcher.interface), age),
            Finding::NothingSent(at, reason) => {
                let longest = live.active.as_ref().map_or(0, |active| active.longest(at));
                repaired_output(reason, &self.interface_facts(&rule.outputs.get(at)?.interface), longest, age)
            }
        }
    }

    fn output_drop(&self, reason: OutputDrop, output: &Output) -> String {
        let name = &output.interface;
        match reason {
            OutputDrop::TtlExpired => {
                "their TTL ends here; raise the sender's TTL, or set ttl=N at the output".to_owned()
            }
            OutputDrop::TooBig => {
                let InterfaceFacts { mtu, limit, .. } = self.interface_facts(name);
                if mtu > limit {
                    return format!(
                        "they are longer than the {limit} bytes that the frames of {name} hold; restart mcrd while its MTU is {mtu}"
                    );
                }
                format!(
                    "they are longer than the MTU of {name}, {mtu}; `ip link set dev {name} mtu N`, or send shorter packets"
                )
            }
            OutputDrop::NoFrame => "no frame is free; raise `frames` in [limits]".to_owned(),
            OutputDrop::TxRingFull => format!("{name} sends more slowly than they come"),
            OutputDrop::TxRefused => format!("the kernel refuses to send on {name}; look at `ip -s link show {name}`"),
            OutputDrop::LinkDown => format!("{name} was down"),
            OutputDrop::NoSource => {
                format!("{name} has no IPv4 address to send from; `ip addr add ADDRESS/LEN dev {name}`")
            }
        }
    }

    /// Looks at what comes and what becomes of it, and tells of each rule whose state has changed.
    pub fn note_standings(&mut self) {
        self.look_at_traffic();
        let mut changed: Vec<(String, Option<RuleState>, Standing)> = Vec::new();
        for (name, live) in &self.live {
            let Some(rule) = self.set.get(name) else { continue };
            let now = self.standing(rule);
            if live.told != Some(now.state) {
                changed.push((name.clone(), live.told, now));
            }
        }
        let told = changed.iter().filter(|(_, old, _)| old.is_some()).count();
        let mut lines = 0;
        for (name, old, now) in changed {
            if let Some(live) = self.live.get_mut(&name) {
                live.told = Some(now.state);
            }
            if let Some(old) = old {
                lines += 1;
                match lines {
                    1..=MOST_LINES => log_change(&name, old, &now),
                    _ if lines == MOST_LINES + 1 => {
                        log::warn!("{} more rules have changed their state; `mcrctl rule list`", told - MOST_LINES);
                    }
                    _ => {}
                }
            }
            let event = Event::now(EventKind::RuleState).rule(&name);
            self.journal.note(event.change(old.map(RuleState::name), Some(now.state.name())).reason(now.reason));
        }
    }

    fn look_at_traffic(&mut self) {
        let now = Instant::now();
        for (_, place) in self.interfaces.iter_mut().filter(|(_, place)| place.receives()) {
            let unmatched = [Verdict::PassNoRule, Verdict::PassVlan];
            let mut passed = std::mem::take(&mut place.passed);
            // The kernel is asked only once a sample is due.
            passed.look(now, || {
                let counted = place.verdicts(&self.program);
                unmatched.iter().map(|verdict| counted[*verdict as usize]).sum()
            });
            place.passed = passed;
        }
        for (name, live) in &mut self.live {
            let (Some(active), Some(rule)) = (&live.active, self.set.get(name)) else { continue };
            let steered = || self.program.count(active.value.slot);
            let came = live.hearing.look(steered().packets, now, rule.stall_after);
            if came && live.heard_as.as_ref() != Some(&active.rule.matcher) {
                live.heard_as = Some(active.rule.matcher.clone());
            }
            live.traffic.look(now, || active.read(steered));
        }
    }
}

impl Link {
    /// What is wrong with an interface of this link: `eth1 is down`.
    pub fn trouble(self, name: &str) -> Option<String> {
        match self {
            Self::Down => Some(format!("{name} is down; `ip link set dev {name} up`")),
            Self::NoCarrier => Some(format!("{name} has no carrier; look at its cable, or at its peer")),
            Self::Absent | Self::Up => None,
        }
    }
}

/// `output 2 (eth1)`, or with the name that the user gave it.
pub fn output_name(at: usize, output: &Output) -> String {
    match &output.name {
        Some(name) => format!("output {name} ({})", output.interface),
        None => format!("output {} ({})", at + 1, output.interface),
    }
}

fn rule_drop(reason: RuleDrop) -> &'static str {
    match reason {
        RuleDrop::RxRing => "the rings between the kernel and the worker lose it",
        RuleDrop::RuleGone => "it waited while the rule was changed",
        RuleDrop::Malformed => "its IPv4 header checksum or its length is wrong; look at the sender",
        RuleDrop::Oversize => "it is longer than a frame, or datagrams come merged; the log says what helps",
        RuleDrop::MartianSource => "it comes from an address that no datagram on a network may come from",
    }
}

/// `rule feed-a: active -> degraded: output 1 (eth1): eth1 is down`.
fn log_change(name: &str, old: RuleState, now: &Standing) {
    let reason = now.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let level = if now.state.is_trouble() { log::Level::Warn } else { log::Level::Info };
    log::log!(level, "rule {name}: {old} -> {}{reason}", now.state);
}
