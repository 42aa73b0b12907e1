//! Whether each output sends what it is offered.

use std::time::Duration;

use mcr_common::counter::OutputDrop;

use super::{
    super::{interfaces::absentees, sources::NO_ADDRESS, traffic::Finding},
    cause::repaired_output,
    facts::{Facts, InterfaceFacts, OutputFacts, Watched},
    judge::{Judged, command_in, link, ok, problem, rank, rate},
};
use crate::{
    doctor::quoted,
    rules::{
        rule::{Output, Rule, Source, Ttl},
        spec::OutputSpec,
    },
};

/// TTL that the fix sets: Linux's own default. `keep` would let the packets end at the next router.
const TTL: u8 = 64;

/// Judges each output.
pub fn judge(facts: &Facts, watched: Option<&Watched>) -> Vec<Judged> {
    facts.outputs.iter().enumerate().flat_map(|(at, output)| one(facts, watched, at, output)).collect()
}

fn one(facts: &Facts, watched: Option<&Watched>, at: usize, output: &OutputFacts) -> Vec<Judged> {
    let label = &output.label;
    if output.interface.absent.is_none()
        && let Some(why) = &output.lack
    {
        let (had, fix) = address(facts, at, output);
        return vec![problem(rank::OUTPUT, "output", label, format!("{label} waits: {why}{had}"), Some(fix))];
    }
    let mut linked = link(rank::OUTPUT, "output", &output.interface, &format!("{label} sends nothing"));
    linked.finding.place.clone_from(label);
    if let Some(now) = &output.interface.renamed {
        linked.finding.text += &format!("; it is called {now} now");
        linked.finding.fix = Some(to_new_name(facts, at, now));
    }
    if linked.rank == rank::OUTPUT {
        return vec![linked];
    }
    let added = watched.and_then(|watched| watched.added.outputs.get(at)).copied().unwrap_or_default();
    let mut judged = vec![linked];
    for reason in OutputDrop::ALL {
        let count = added.dropped[*reason as usize];
        // What was found before the watch counts where nothing has shown otherwise since.
        let is_known = facts.findings.contains(&Finding::NothingSent(at, *reason)) && added.sent == 0;
        let age = match count {
            0 if !is_known => continue,
            0 => facts.age,
            _ => watched.map_or(Duration::ZERO, |watched| Duration::from_secs_f64(watched.seconds)),
        };
        if let Some(repair) = repaired_output(*reason, &output.interface, output.longest, age) {
            let all = facts.reading.outputs.get(at).map_or(0, |output| output.dropped[*reason as usize]);
            let text = format!("{label} dropped {all} packets ({}) before {repair}", reason.name());
            judged.push(ok("output", label, text));
            continue;
        }
        let (why, fix) = remedy(*reason, facts, at, output);
        let what = match (count, added.sent) {
            (0, _) => "drops the last packets".to_owned(),
            (count, 0) => format!("drops all of its packets, {count}"),
            (count, _) => format!("drops {count} of {} packets", added.offered),
        };
        let text = format!("{label} {what} ({}): {why}", reason.name());
        judged.push(problem(rank::LOSS, "output", label, text, fix));
    }
    if judged.len() == 1
        && let Some(watched) = watched.filter(|_| added.sent > 0)
    {
        let text = format!("{label} sends {}", rate(added.sent, watched));
        judged.push(ok("output", label, text));
    }
    judged
}

/// The address that the interface has lost, and the command that gives it back; the sender's own where none is known.
fn address(facts: &Facts, at: usize, output: &OutputFacts) -> (String, String) {
    match &output.lost_address {
        Some(lost) => {
            (format!("; it had {lost}"), format!("ip address add {lost} dev {}", quoted(&output.interface.name)))
        }
        None => (String::new(), set_output(&facts.rule, at, |output| output.source = Source::Keep)),
    }
}

/// What a rule lacks that waits for an interface which was renamed, and the command that names it as it is now.
pub fn renamed(facts: &Facts, why: &str) -> Option<(String, String)> {
    let is_one = absentees(why).count() == 1;
    let called = |name: &str, now: &str| format!("; {} is called {now} now", if is_one { "it" } else { name });
    let waits_for = |interface: &InterfaceFacts| absentees(why).any(|name| name == interface.name);
    let new_name = |interface: &InterfaceFacts| interface.renamed.clone().filter(|_| waits_for(interface));
    let ingress = new_name(&facts.ingress);
    let mut outputs = facts.rule.outputs.clone();
    let mut texts: Vec<String> = ingress.iter().map(|now| called(&facts.ingress.name, now)).collect();
    let mut words: Vec<String> = ingress.iter().map(|now| format!(" --in {}", quoted(now))).collect();
    for (output, facts) in outputs.iter_mut().zip(&facts.outputs) {
        if let Some(now) = new_name(&facts.interface) {
            texts.push(called(&facts.interface.name, &now));
            output.interface = now;
        }
    }
    if outputs != facts.rule.outputs {
        words.push(format!(" {}", out_words(&outputs)));
    }
    texts.dedup();
    (!texts.is_empty()).then(|| {
        let fix = format!("mcrctl rule set {}{}", quoted(&facts.rule.name), words.concat());
        (texts.concat(), fix)
    })
}

fn to_new_name(facts: &Facts, at: usize, now: &str) -> String {
    set_output(&facts.rule, at, |output| now.clone_into(&mut output.interface))
}

/// The command for a rule that waits for the address of an output.
pub fn unaddressed(facts: &Facts, why: &str) -> Option<(String, String)> {
    let begins = |name: &str| why.strip_prefix(name).is_some_and(|rest| rest.starts_with(NO_ADDRESS));
    let at = facts.outputs.iter().position(|output| begins(&output.interface.name))?;
    Some(address(facts, at, &facts.outputs[at]))
}

/// Why, and the command that fixes it.
fn remedy(reason: OutputDrop, facts: &Facts, at: usize, output: &OutputFacts) -> (String, Option<String>) {
    let name = &output.interface.name;
    match reason {
        OutputDrop::TtlExpired => {
            let fix = set_output(&facts.rule, at, |output| output.ttl = Ttl::Set(TTL));
            let text = "the TTL of the packets ends here; raise it at the sender, or set one at the output";
            (text.to_owned(), Some(fix))
        }
        OutputDrop::TooBig if output.interface.mtu > output.interface.limit => (
            format!(
                "the packets are longer than the {} bytes that the frames of {name} hold; restart mcrd, which makes frames for the MTU of now, {}",
                output.interface.limit, output.interface.mtu
            ),
            None,
        ),
        OutputDrop::TooBig => {
            let needed = facts.ingress.mtu.max(output.longest);
            (
                format!(
                    "the packets are longer than the MTU of {name}, {}; raise it, or let the sender send shorter ones",
                    output.interface.mtu
                ),
                Some(format!("ip link set dev {} mtu {needed}", quoted(name))),
            )
        }
        OutputDrop::NoFrame => ("no frame is free; raise `frames` in [limits] and restart mcrd".to_owned(), None),
        OutputDrop::TxRingFull => {
            (format!("{name} sends more slowly than packets arrive; see `ip -s link show {name}`"), None)
        }
        OutputDrop::TxRefused => {
            (format!("the kernel refuses to send on {name}; see `ip -s link show {name}` and its carrier"), None)
        }
        OutputDrop::LinkDown => {
            (format!("{name} was down"), command_in(&format!("`ip link set dev {} up`", quoted(name))))
        }
        OutputDrop::NoSource => {
            let (had, fix) = address(facts, at, output);
            (format!("{name}{NO_ADDRESS}; add one, or keep the sender's{had}"), Some(fix))
        }
    }
}

/// The command that changes one output and repeats the others.
fn set_output(rule: &Rule, at: usize, change: impl FnOnce(&mut Output)) -> String {
    let mut outputs = rule.outputs.clone();
    if let Some(output) = outputs.get_mut(at) {
        change(output);
    }
    format!("mcrctl rule set {} {}", quoted(&rule.name), out_words(&outputs))
}

/// `--out` of each.
fn out_words(outputs: &[Output]) -> String {
    let words: Vec<String> = outputs.iter().map(|output| format!("--out {}", quoted(&words(output)))).collect();
    words.join(" ")
}

/// An output as `--out` takes it, without what is so by default.
fn words(output: &Output) -> String {
    let OutputSpec { name, interface, group, port, source, ttl, dscp, vlan } = output.into();
    let text = |value: Option<crate::rules::spec::Scalar>| value.map(|value| value.to_string());
    let parts = [
        ("name", name),
        ("group", group),
        ("port", text(port)),
        ("source", source.filter(|source| source != "interface")),
        ("ttl", text(ttl).filter(|ttl| ttl != "decrement")),
        ("dscp", text(dscp)),
        ("vlan", text(vlan).filter(|vlan| vlan != "none")),
    ];
    let given = parts.into_iter().filter_map(|(key, value)| Some(format!(",{key}={}", value?)));
    given.fold(interface, |line, part| line + &part)
}
