//! What this process may do (capabilities(7)), and what mcrd needs of it.

use std::io;

use rustix::thread::{CapabilitySet, capabilities};

/// Something that mcrd does, and the capabilities each of which lets it.
struct Need {
    any_of: &'static [CapabilitySet],
    name: &'static str,
    serves: &'static str,
}

/// The kernel takes CAP_SYS_ADMIN for CAP_BPF and CAP_PERFMON too (`bpf_capable`, `perfmon_capable`, linux/capability.h).
const NEEDS: [Need; 5] = [
    Need {
        any_of: &[CapabilitySet::NET_ADMIN],
        name: "CAP_NET_ADMIN",
        serves: "loading the XDP program, attaching it to interfaces",
    },
    Need { any_of: &[CapabilitySet::NET_RAW], name: "CAP_NET_RAW", serves: "AF_XDP sockets" },
    Need {
        any_of: &[CapabilitySet::BPF, CapabilitySet::SYS_ADMIN],
        name: "CAP_BPF",
        serves: "loading the XDP program and its maps",
    },
    Need {
        any_of: &[CapabilitySet::PERFMON, CapabilitySet::SYS_ADMIN],
        name: "CAP_PERFMON",
        serves: "the kernel's check of the XDP program, which computes with pointers",
    },
    Need {
        any_of: &[CapabilitySet::SYS_ADMIN],
        name: "CAP_SYS_ADMIN",
        serves: "a network namespace that holds the memory for packets",
    },
];

/// Memory for packets beyond the limit on locked memory.
pub const IPC_LOCK: CapabilitySet = CapabilitySet::IPC_LOCK;

/// The effective capabilities of this thread.
pub fn effective() -> io::Result<CapabilitySet> {
    Ok(capabilities(None)?.effective)
}

/// The capabilities that lack where these are held, with what each is for: `CAP_NET_RAW (AF_XDP sockets)`.
pub fn lacking(held: CapabilitySet) -> Vec<String> {
    let lack = NEEDS.iter().filter(|need| !need.any_of.iter().any(|one| held.contains(*one)));
    lack.map(|Need { name, serves, .. }| format!("{name} ({serves})")).collect()
}

/// Why memory of this many bytes cannot be locked, where these are held and so much may be locked without; `None` is any amount.
pub fn locks_too_little(held: CapabilitySet, limit: Option<u64>, bytes: u64) -> Option<String> {
    let limit = limit.filter(|limit| !held.contains(IPC_LOCK) && *limit < bytes)?;
    Some(format!(
        "CAP_IPC_LOCK (memory for packets: at least {} MiB, and only {} KiB may be locked without; LimitMEMLOCK=infinity or `ulimit -l unlimited` does as well)",
        bytes.div_ceil(1 << 20),
        limit >> 10
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_what_lacks_is_named() {
        use CapabilitySet as Cap;
        let all = Cap::NET_ADMIN | Cap::NET_RAW | Cap::SYS_ADMIN;
        assert_eq!(lacking(all), Vec::<String>::new(), "CAP_SYS_ADMIN stands for two others");
        let names = |held: Cap| -> Vec<String> {
            lacking(held).iter().map(|lack| lack.split(' ').next().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(names(Cap::NET_ADMIN | Cap::NET_RAW | Cap::BPF), ["CAP_PERFMON", "CAP_SYS_ADMIN"]);
        assert_eq!(names(all - Cap::NET_RAW), ["CAP_NET_RAW"]);
        assert_eq!(names(Cap::BPF | Cap::PERFMON | Cap::SYS_ADMIN), ["CAP_NET_ADMIN", "CAP_NET_RAW"]);
        assert_eq!(names(Cap::empty()).len(), NEEDS.len());
    }

    #[test]
    fn locked_memory() {
        assert_eq!(locks_too_little(IPC_LOCK, Some(0), 1 << 20), None);
        assert_eq!(locks_too_little(CapabilitySet::empty(), None, 1 << 20), None);
        assert_eq!(locks_too_little(CapabilitySet::empty(), Some(1 << 20), 1 << 20), None);
        let why = locks_too_little(CapabilitySet::empty(), Some(8 << 20), 28 << 20).expect("it is too little");
        assert!(why.contains("28 MiB") && why.contains("8192 KiB"), "{why}");
    }
}
