//! nftables in the netdev family: at the ingress hook of v1 it rewrites with constants and hands the packet to v2.

use std::{fmt::Write, process::Command};

use anyhow::Result;
use netns_tests::{
    packet::group_mac,
    process::{self, feed},
    programs,
};

use super::job::Job;
use crate::load::stage::{Stage, mac};

/// Why it cannot run here.
pub fn lacks() -> Option<String> {
    (!programs::installed("nft")).then(|| "there is no nft: apt-get install nftables".into())
}

/// See [`super::Contender::described`].
pub fn described() -> String {
    let version = process::run(Command::new("nft").arg("--version")).unwrap_or_default();
    format!(
        "{}: table netdev, hook ingress device v1; one vmap look-up, ether, ip and udp fields set to constants, \
         dup to v2 for each output but the last, fwd to v2",
        version.trim()
    )
}

/// Loads the job's rules.
pub fn start(stage: &Stage, job: Job) -> Result<()> {
    let relay = stage.network.relay();
    let own = mac(relay, "v2")?.map(|byte| format!("{byte:02x}")).join(":");
    let (mut chains, mut elements) = (String::new(), Vec::new());
    let flows: Vec<_> = job.flows().collect();
    for (i, outputs) in flows.chunks(job.outputs as usize).enumerate() {
        let (group, port) = outputs[0].0;
        elements.push(format!("{group} . {port} : goto s{i}"));
        writeln!(chains, "  chain s{i} {{\n    ether saddr set {own}\n    ip ttl set 15\n    ip saddr set 10.2.0.1")?;
        for (n, (_, (to, to_port))) in outputs.iter().enumerate() {
            let mac = group_mac(*to).map(|byte| format!("{byte:02x}")).join(":");
            let verb = if n + 1 == outputs.len() { "fwd" } else { "dup" };
            writeln!(
                chains,
                "    ether daddr set {mac}\n    ip daddr set {to}\n    udp dport set {to_port}\n    {verb} to \"v2\""
            )?;
        }
        chains += "  }\n";
    }
    let elements = elements.join(", ");
    let text = format!(
        "table netdev bench {{\n{chains}  chain ingress {{\n    type filter hook ingress device \"v1\" priority 0;\n    \
         ip daddr . udp dport vmap {{ {elements} }}\n  }}\n}}\n"
    );
    feed(relay.command("nft").args(["-f", "-"]), &text)
}
