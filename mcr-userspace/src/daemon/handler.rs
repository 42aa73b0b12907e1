//! What each request does. The lock is held for a change as a whole, so requests of several clients take turns; it is never held while
//! a file is read or written.

use std::{io, os::unix::net::UnixStream, time::Duration};

use super::{alter::no_rule, journal, level, retire::Shared, state::State};
use crate::{
    control::{
        peer::Peer,
        protocol::{Request, Response},
        server::Handler,
    },
    memory,
    rules::set::{Change, RuleSet},
};

impl Handler for Shared {
    fn handle(&self, request: Request, peer: &Peer) -> Response {
        match request {
            Request::RuleAdd { rule, wait, replace, persist } => self.rule_add(&rule, wait, replace, persist, peer),
            Request::RuleSet { name, change, wait, persist } => {
                let response = self.rule_set(&name, &change, wait, persist, peer);
                self.ring();
                response
            }
            Request::RuleDel { name, names, persist } => {
                self.rule_del(&name.into_iter().chain(names).collect::<Vec<_>>(), persist, peer)
            }
            Request::RuleSwitch { names, enabled, persist } => self.rule_switch(&names, enabled, persist, peer),
            Request::BatchPart { .. } => Response::usage("a part of a batch belongs to its connection"),
            Request::Batch { operations, dry_run } => {
                let response = self.batch(operations, dry_run, peer);
                memory::give_back();
                response
            }
            Request::Export {} => self.export(),
            Request::RuleList {} => {
                let state = self.lock();
                Response::Rules(state.set.iter().map(|rule| state.rule_view(rule)).collect())
            }
            Request::RuleShow { name } => {
                let state = self.lock();
                match state.set.get(&name) {
                    Some(rule) => Response::Rule(state.rule_view(rule)),
                    None => no_rule(&name),
                }
            }
            Request::Reload(how) => {
                let response = self.reload(&how, peer);
                memory::give_back();
                response
            }
            Request::Confirm {} => self.confirm(peer),
            Request::Stats { rule, rules } => self.chosen_stats(rule.into_iter().chain(rules).collect()),
            Request::Top {} => self.top(),
            Request::ExplainRule { name, seconds } => self.explain_rule(&name, seconds, peer),
            Request::ExplainPacket { packet } => self.explain_packet(&packet),
            Request::Unmatched { interfaces, seconds } => self.unmatched(&interfaces, seconds, peer),
            Request::Events { after, wait } => {
                let patience = if wait { journal::PATIENCE } else { Duration::ZERO };
                Response::Events(self.journal.read(after, patience))
            }
            Request::Capture(spec) => self.begin_capture(&spec, peer),
            Request::LogLevel { level } => {
                level.into_iter().for_each(|level| level::change(level, peer));
                Response::LogLevel(level::now())
            }
            Request::Status {} => Response::Status(self.lock().status()),
        }
    }

    fn stream(&self, capture: u64, to: &UnixStream) -> io::Result<()> {
        self.stream_capture(capture, to)
    }
}

impl State {
    /// Holds exactly the rules of `set`, by `changes`; its warnings.
    pub(super) fn become_set(&mut self, set: RuleSet, changes: &[Change]) -> Vec<String> {
        self.set = set;
        self.apply_all(changes)
    }
}
