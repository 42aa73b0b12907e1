//! `explain` and `unmatched`: why packets leave, or do not. Facts are taken with the state locked, for moments; packets are watched
//! without it.

mod arrival;
pub mod cause;
pub mod facts;
mod gather;
mod judge;
mod miss;
mod near;
mod obstacle;
mod outputs;
mod packet;
mod silence;
mod unmatched;

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{alter::no_rule, retire::Shared, traffic::difference};
use crate::{
    control::{
        peer::Peer,
        protocol::{
            ErrorCode::{NotFound, Unavailable},
            PacketExplained, PacketSpec, Response, RuleState, Unmatched,
        },
    },
    kernel::link::{self, alike},
};

use facts::{Facts, Flow, Watched};
use judge::{is_certain, judge};

/// The longest watch, in seconds.
const MAX_SECONDS: u32 = 3600;
/// Between two looks at whether the client is still there, and whether enough packets have come.
const LOOK: Duration = Duration::from_millis(100);
/// Packets are watched for so long at least where they match: what becomes of them shows within that.
const ENOUGH: Duration = Duration::from_secs(1);
/// How long `explain` waits for the state to follow a loss that it has found: the state covers the last five seconds with packets.
const STATE_FOLLOWS: Duration = Duration::from_secs(6);
/// The answer of a watch that was cut short.
const ENDED: &str = "mcrd ends, so packets were not watched for the whole time";
/// Flows that an answer holds.
const MOST_FLOWS: usize = 4096;

impl Shared {
    /// `explain NAME`.
    pub fn explain_rule(&self, name: &str, seconds: u32, peer: &Peer) -> Response {
        if let Some(refusal) = refuse(seconds) {
            return refusal;
        }
        let Some(rule) = self.lock().set.get(name).cloned() else { return no_rule(name) };
        let ports = match link::ports_of(&rule.matcher.interface) {
            Ok(ports) => ports,
            Err(error) => {
                return Response::refused(Unavailable, format!("the kernel does not list interfaces: {error}"));
            }
        };
        let Some(before) = self.lock().facts(name, &ports) else { return no_rule(name) };
        if is_certain(&before) {
            return Response::RuleExplained(judge(&before, None));
        }
        let recorder = self.lock().program.recorder();
        let recording = match recorder.begin() {
            Ok(recording) => recording,
            Err(error) => return Response::refused(Unavailable, format!("recording what no rule matches: {error}")),
        };
        let matched = before.reading.matched_packets;
        let begun = Instant::now();
        let is_enough = || begun.elapsed() >= ENOUGH && self.lock().matched(name).is_some_and(|now| now > matched);
        wait(Duration::from_secs(seconds.into()), peer, is_enough);
        self.settle();
        let seconds = begun.elapsed().as_secs_f64();
        let flows = recording.flows();
        drop(recording);
        let (after, names) = {
            let mut state = self.lock();
            let mut after = state.facts(name, &ports);
            if let Some(after) = &mut after {
                after.own_host = state.own_host_of(&after.rule);
            }
            (after, state.ingress_names())
        };
        let Some(after) = after else { return no_rule(name) };
        let mut flows = match flows {
            Ok(flows) => unmatched::flows(&flows, &names),
            Err(error) => return Response::refused(Unavailable, format!("reading what no rule matched: {error}")),
        };
        if peer.is_gone() {
            return Response::refused(Unavailable, ENDED);
        }
        self.lock().leave_to_others(&after.rule, &mut flows);
        let watched = watched(&before, &after, seconds, flows);
        let mut explained = judge(&after, Some(&watched));
        if explained.has_losses() && explained.state == RuleState::Active {
            wait(STATE_FOLLOWS, peer, || {
                let state = self.lock();
                let Some(rule) = state.set.get(name) else { return true };
                explained.state = state.standing(rule).state;
                explained.state != RuleState::Active
            });
        }
        Response::RuleExplained(explained)
    }

    /// `explain --in`.
    pub fn explain_packet(&self, spec: &PacketSpec) -> Response {
        let frame = match packet::frame(spec) {
            Ok(frame) => frame,
            Err(why) => return Response::usage(why),
        };
        let Some(datagram) = packet::datagram(&frame) else {
            let (why, reason) = packet::never(spec).unzip();
            return Response::PacketExplained(PacketExplained { why, reason, ..PacketExplained::default() });
        };
        let state = self.lock();
        if state.ingress_names().iter().all(|(_, name)| *name != spec.interface)
            && state.set.iter().all(|rule| rule.matcher.interface != spec.interface)
            && let Some(meant) = alike(&spec.interface)
        {
            return Response::refused(NotFound, format!("no interface {}; did you mean {meant}?", spec.interface));
        }
        Response::PacketExplained(state.explain_packet(spec, &frame, &datagram))
    }

    /// `unmatched`.
    pub fn unmatched(&self, interfaces: &[String], seconds: u32, peer: &Peer) -> Response {
        if let Some(refusal) = refuse(seconds) {
            return refusal;
        }
        let (names, recorder) = {
            let state = self.lock();
            (state.ingress_names(), state.program.recorder())
        };
        let unknown = interfaces.iter().find(|name| !names.iter().any(|(_, known)| known == *name));
        if let Some(name) = unknown {
            let known: Vec<&str> = names.iter().map(|(_, name)| name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let meant = alike(name).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            return Response::refused(NotFound, format!("mcrd does not receive on {name}{meant}; it does on: {known}"));
        }
        let flows = recorder.begin().and_then(|recording| {
            wait(Duration::from_secs(seconds.into()), peer, || false);
            recording.flows()
        });
        let flows = match flows {
            Ok(flows) => flows,
            Err(error) => return Response::refused(Unavailable, format!("recording what no rule matches: {error}")),
        };
        if peer.is_gone() {
            return Response::refused(Unavailable, ENDED);
        }
        let (names, candidates) = {
            let state = self.lock();
            (state.ingress_names(), state.candidates())
        };
        let mut flows = unmatched::flows(&flows, &names);
        flows.retain(|flow| interfaces.is_empty() || interfaces.contains(&flow.interface));
        flows.sort_by_key(|flow| std::cmp::Reverse(flow.packets));
        flows.truncate(MOST_FLOWS);
        let flows = flows.into_iter().map(|flow| unmatched::view(flow, &candidates)).collect();
        Response::Unmatched(Unmatched { seconds, flows })
    }
}

/// What the counters added between two looks.
fn watched(before: &Facts, after: &Facts, seconds: f64, flows: Vec<Flow>) -> Watched {
    let matched = |name: &str| before.stronger.iter().find(|rule| rule.name == name).map_or(0, |rule| rule.matched);
    let stronger = after.stronger.iter().filter(|rule| rule.matched > matched(&rule.name));
    Watched {
        seconds,
        added: difference(&after.reading, &before.reading),
        flows,
        stronger: stronger.cloned().collect(),
    }
}

/// Waits for `time`, until `is_enough`, or until the client hangs up.
fn wait(time: Duration, peer: &Peer, mut is_enough: impl FnMut() -> bool) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::sleep(left.min(LOOK));
        if peer.is_gone() || is_enough() {
            return;
        }
    }
}

fn refuse(seconds: u32) -> Option<Response> {
    let is_fine = (1..=MAX_SECONDS).contains(&seconds);
    (!is_fine).then(|| Response::usage(format!("--seconds {seconds}: write 1 to {MAX_SECONDS}")))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixStream, sync::Arc};

    use super::*;

    #[test]
    fn a_client_that_hangs_up_ends_the_wait() {
        let (ours, theirs) = UnixStream::pair().expect("two sockets");
        let peer = Peer::of(&Arc::new(ours));
        let mut theirs = Some(theirs);
        let mut looks = 0;
        wait(Duration::from_secs(3600), &peer, || {
            looks += 1;
            drop(theirs.take());
            false
        });
        assert_eq!(looks, 1, "after one look it is gone");
    }
}
