//! The memory that this process may use.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the hierarchy of control groups is.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Bytes of memory that there are for this process: the machine's, or the least that its control group, or a group above that, is
/// limited to (`memory.max` of cgroup v2, `memory.limit_in_bytes` of v1; Documentation/admin-guide/cgroup-v2.rst).
pub fn limit() -> u64 {
    let machine = machine().unwrap_or(u64::MAX);
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups(&own).iter().flat_map(|(path, file)| limits(path, file)).fold(machine, u64::min)
}

/// `MemTotal` of /proc/meminfo, in bytes.
fn machine() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The directories of this process's groups that may limit memory, and the file in each that says so.
fn groups(own: &str) -> Vec<(PathBuf, &'static str)> {
    let group = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        match controllers {
            "" => Some((Path::new(CGROUPS).join(path), "memory.max")),
            _ if controllers.split(',').any(|name| name == "memory") => {
                Some((Path::new(CGROUPS).join("memory").join(path), "memory.limit_in_bytes"))
            }
            _ => None,
        }
    };
    own.lines().filter_map(group).collect()
}

/// The limits of a group and of those above it. In a container the path may be the host's: then the root of what is mounted counts.
fn limits(group: &Path, file: &str) -> Vec<u64> {
    let directories = group.ancestors().take_while(|path| path.starts_with(CGROUPS));
    directories.filter_map(|path| fs::read_to_string(path.join(file)).ok()?.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_both_versions_are_found() {
        let v1 = "5:cpuset:/a\n4:memory,hugetlb:/docker/x\n0::/system.slice/mcr.service\n";
        let found = groups(v1);
        assert_eq!(
            found,
            [
                (PathBuf::from("/sys/fs/cgroup/memory/docker/x"), "memory.limit_in_bytes"),
                (PathBuf::from("/sys/fs/cgroup/system.slice/mcr.service"), "memory.max"),
            ]
        );
    }

    #[test]
    fn this_machine_has_memory() {
        let limit = limit();
        assert!((1 << 24..u64::MAX).contains(&limit), "{limit}");
    }
}
