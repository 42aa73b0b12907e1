//! The host's own traffic in a guest: what mcrd must leave alone, and what draws on its fill rings under zero-copy.

use anyhow::{Result, ensure};

use super::guest::{Guest, LIMIT};
use crate::{deadline::until, netns::Namespace, process};

/// Bytes sent over TCP, each way.
const BYTES: usize = 100_000;

/// ARP, ping and TCP from `end` to `address`, which an interface of the guest has.
pub fn traffic(guest: &Guest, end: &Namespace, address: &str) -> Result<()> {
    end.run("ip neigh flush all")?;
    let ping = end.run(&format!("ping -n -c 5 -i 0.1 -W 10 {address}"))?;
    ensure!(ping.contains(" 0% packet loss"), "{ping}");
    tcp(guest, end, address)
}

/// A stream of bytes over TCP into the guest, and back as it came.
fn tcp(guest: &Guest, end: &Namespace, address: &str) -> Result<()> {
    let echo = guest.spawn("busybox nc -l -p 7000 -e busybox cat")?;
    until("a listener in the guest", LIMIT, || Ok(guest.run("cat /proc/net/tcp")?.contains(":1B58 ").then_some(())))?;
    let script = format!(
        "seq 50000 | head -c {BYTES} | socat -T 20 - TCP4:{address}:7000 | cksum; seq 50000 | head -c {BYTES} | cksum"
    );
    let sums = process::run(end.command("sh").args(["-ec", &script]))?;
    let sums: Vec<&str> = sums.lines().collect();
    ensure!(sums.len() == 2 && sums[0] == sums[1], "TCP to {address}: {sums:?}");
    echo.wait()?;
    Ok(())
}
