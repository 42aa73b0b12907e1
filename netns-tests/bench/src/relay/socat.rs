//! socat as its users run it: a process for each stream and output.

use std::{net::Ipv4Addr, process::Command};

use anyhow::Result;
use netns_tests::{
    process::{self, Process},
    programs,
};

use super::job::Job;
use crate::{load::stage::Stage, machine::cpu::ON_RELAY};

/// Group and port.
type Flow = (Ipv4Addr, u16);

/// The addresses of v1 and v2.
const RELAY: (&str, &str) = ("10.1.0.2", "10.2.0.1");

/// Why it cannot run here.
pub fn lacks() -> Option<String> {
    (!programs::installed("socat")).then(|| "there is no socat: apt-get install socat".into())
}

/// See [`super::Contender::described`].
pub fn described() -> String {
    let version = process::run(Command::new("socat").arg("-V")).unwrap_or_default();
    let version = version.lines().find_map(|line| line.strip_prefix("socat version ")).unwrap_or("of unknown version");
    let mut flows = Job::of(1).flows();
    let words = flows.next().map(|(from, to)| words(from, to, RELAY).join(" ")).unwrap_or_default();
    format!("socat {}: {} {words}", version.split(' ').next().unwrap_or_default(), ON_RELAY.join(" "))
}

/// Starts all of them.
pub fn start(stage: &Stage, job: Job) -> Result<Vec<Process>> {
    job.flows()
        .map(|(from, to)| {
            let [program, words @ ..] = words(from, to, RELAY);
            let mut socat = stage.network.relay().command(program);
            socat.args(words);
            Process::spawn(&mut programs::before(&ON_RELAY, &socat))
        })
        .collect()
}

/// The command that relays one group and port to another, between interfaces with these two addresses.
pub fn words((group, port): Flow, (to, to_port): Flow, (ingress, egress): (&str, &str)) -> [String; 4] {
    [
        "socat".into(),
        "-u".into(),
        format!("UDP4-RECV:{port},bind={group},reuseaddr,ip-add-membership={group}:{ingress}"),
        format!("UDP4-DATAGRAM:{to}:{to_port},ip-multicast-if={egress},ip-multicast-ttl=15"),
    ]
}
