//! Faults made on purpose, by kind: the first line of `explain NAME` names the cause, the rule is not `active`, and once the printed
//! command has run, or the cause is gone where it lies, the stream arrives. `unmatched` shows what no rule matches; `explain --in` says
//! what the data path does.

mod endings;
mod fault;
mod hidden;
mod interfaces;
mod joins;
mod match_fields;
mod packets;
mod paths;
mod rules;
mod stream;
mod switches;
mod unmatched;
