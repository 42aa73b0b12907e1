//! The limit: the XDP program `rewrite` of our own, which does in the kernel what mcr does for one output.

use anyhow::Result;

use super::job::Job;
use crate::load::{
    layout::Rewrite,
    stage::{Stage, mac},
};

/// See [`super::Contender::described`].
pub const DESCRIBED: &str =
    "mcr-ebpf/src/bench/rewrite.rs on v1 in driver mode: rewrites what mcr rewrites, redirects by DEVMAP to v2";

/// Attaches it for the job's streams, first outputs alone.
pub fn start(stage: &mut Stage, job: Job) -> Result<()> {
    let relay = stage.network.relay();
    let [a, b, c, d, e, f] = mac(relay, "v2")?;
    let source = u32::from_be_bytes([10, 2, 0, 1]);
    let flows = job.flows().map(|((from, port), (to, to_port))| {
        let rewrite = Rewrite { group: to.to_bits(), source, port: u32::from(to_port), mac: [a, b, c, d, e, f, 0, 0] };
        ((from.to_bits(), port), rewrite)
    });
    stage.programs.attach_rewrite(relay, ("v1", "v2"), flows)
}
