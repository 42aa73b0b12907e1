//! DPDK's testpmd over AF_XDP. It swaps in Ethernet addresses and leaves all else as it was.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use netns_tests::{
    dpdk,
    process::{self, Process},
    programs,
};

use crate::{
    load::stage::Stage,
    machine::cpu::{ON_BOTH, RELAY},
};

/// Where Debian has libraries, below the root of its packages.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Why it cannot run here.
pub fn lacks() -> Option<String> {
    dpdk::fetched().err().map(|error| format!("Debian's packages of DPDK could not be fetched: {error:#}"))
}

/// See [`super::Contender::described`].
pub fn described() -> String {
    let said = dpdk::fetched().and_then(|root| {
        let mut command = Command::new(root.join("usr/bin/dpdk-testpmd"));
        command.envs(libraries(&root));
        // It tells its version on the way to whatever it does, and needs neither memory nor the lock of another that runs.
        process::finish(command.args("-v --in-memory --no-huge -m 64 --no-pci --no-telemetry -- --help".split(' ')))
    });
    // EAL: RTE Version: 'DPDK 22.11.11'
    let said = said.map(|finished| finished.stdout + &finished.stderr).unwrap_or_default();
    let version = said.lines().find_map(|line| line.strip_prefix("EAL: RTE Version: '")).unwrap_or("DPDK");
    let version = version.trim_end_matches('\'');
    format!("{version}: {} dpdk-testpmd {}", ON_BOTH.join(" "), words().join(" "))
}

/// Starts it between v1 and v2.
pub fn start(stage: &Stage) -> Result<Process> {
    let root = dpdk::fetched()?;
    let mut command = stage.network.relay().command(root.join("usr/bin/dpdk-testpmd"));
    // Each thread binds itself; the one that forwards is on the forwarder's CPU.
    command.args(words()).args(["--stats-period", "3600"]);
    Process::spawn(programs::before(&ON_BOTH, &command).envs(libraries(&root)))
}

/// Its libraries are not where the loader looks.
fn libraries(root: &Path) -> [(&'static str, PathBuf); 2] {
    let libraries = root.join(LIBRARIES);
    [("LIBXDP_OBJECT_PATH", libraries.join("bpf")), ("LD_LIBRARY_PATH", libraries)]
}

fn words() -> Vec<String> {
    let drivers = "-d librte_net_af_xdp.so.23 -d librte_mempool_ring.so.23";
    let port = |number: u32, interface: &str| {
        format!("--vdev net_af_xdp{number},iface={interface},start_queue=0,queue_count=1")
    };
    let line = format!(
        "-l 0,{RELAY} --main-lcore 0 --no-huge -m 1024 --no-pci {drivers} {} {} -- --forward-mode=mac --auto-start \
         --nb-cores=1 --total-num-mbufs=32768",
        port(0, "v1"),
        port(1, "v2")
    );
    line.split_whitespace().map(str::to_owned).collect()
}
