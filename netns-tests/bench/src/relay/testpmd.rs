//! DPDK's testpmd over AF_XDP. It swaps in Ethernet addresses and leaves all else as it was.

use std::{path::Path, process::Command};

use anyhow::Result;
use netns_tests::{
    dpdk,
    process::{self, Process},
};

use crate::{load::stage::Stage, machine::cpu::RELAY};

/// Where Debian has libraries, below the root of its packages.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Why it cannot run here.
pub fn lacks() -> Option<String> {
    dpdk::fetched().err().map(|error| format!("Debian's packages of DPDK could not be fetched: {error:#}"))
}

/// See [`super::Contender::described`].
pub fn described() -> String {
    let version = dpdk::fetched().and_then(|root| {
        let mut command = command(Command::new(root.join("usr/bin/dpdk-testpmd")), &root);
        process::run(command.arg("--version"))
    });
    // EAL: RTE Version: 'DPDK 22.11.11'
    let version = version.unwrap_or_default();
    let version = version.split('\'').nth(1).unwrap_or("DPDK").to_owned();
    format!("{version}: dpdk-testpmd {}", words().join(" "))
}

/// Starts it between v1 and v2.
pub fn start(stage: &Stage) -> Result<Process> {
    let root = dpdk::fetched()?;
    let mut command = command(stage.network.relay().command(root.join("usr/bin/dpdk-testpmd")), &root);
    // Each thread binds itself; the one that forwards is on the forwarder's CPU.
    Process::spawn(command.args(words()).args(["--stats-period", "3600"]))
}

/// With its libraries, which are not where the loader looks.
fn command(mut command: Command, root: &Path) -> Command {
    let libraries = root.join(LIBRARIES);
    command.env("LD_LIBRARY_PATH", &libraries).env("LIBXDP_OBJECT_PATH", libraries.join("bpf"));
    command
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
