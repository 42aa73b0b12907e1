//! Debian's DPDK, for the bench: testpmd with the drivers for AF_XDP. Its packages would start a service, so they are unpacked
//! and not installed.

use std::path::PathBuf;

use anyhow::Result;

use crate::cache::{Cache, OLDEST_SUITE};

/// testpmd, what it loads at run time, and libraries that are not in a package called so; 23 is the libraries' version in that
/// suite.
const PACKAGES: [&str; 4] = ["dpdk-dev", "librte-net-af-xdp23", "librte-mempool-ring23", "ibverbs-providers"];
/// What it is called in the cache.
const NAME: &str = "dpdk";

/// The root of the unpacked packages in the cache, with `usr/bin/dpdk-testpmd` in it; fetched first where the cache lacks it.
pub fn fetched() -> Result<PathBuf> {
    Cache::lock()?.unpacked(NAME, "usr/bin/dpdk-testpmd", &[OLDEST_SUITE], |apt| apt.with_libraries(&PACKAGES))
}
