//! The host and this process: kernel, capabilities, locked memory, the daemon.

use rustix::thread::CapabilitySet;

use super::super::{
    facts::{CAP_IPC_LOCK, Daemon, Host},
    finding::Finding,
};
use crate::kernel::capabilities::lacking;

/// MiB that one worker's memory takes, about: the daemon sizes it by the number of queues.
const WORKER_MIB: u64 = 64;

/// See docs/kernel.md.
pub fn kernel(host: &Host) -> Finding {
    let Some(version) = host.kernel else {
        return Finding::not_checked("kernel", format!("the release {} has no number that can be read", host.release));
    };
    let release = &host.release;
    if version < (5, 17) {
        let found = format!("Linux {release} has no bpf_loop, which the XDP program needs: mcr runs from 5.17");
        return Finding::problem("kernel", found);
    }
    if version < (6, 1) {
        return Finding::warning(
            "kernel",
            format!("Linux {release} is older than 6.1, the oldest that mcr is tested on"),
        );
    }
    if version < (6, 17) {
        let found = format!(
            "Linux {release}: from 6.17 copy mode sends larger batches, and a refused packet is always counted for its own output"
        );
        return Finding::note("kernel", found);
    }
    Finding::ok("kernel", format!("Linux {release} has all that mcr uses"))
}

/// What mcrd would need, started as this process was.
pub fn capabilities(host: &Host) -> Finding {
    let lacking = lacking(CapabilitySet::from_bits_retain(host.capabilities));
    if lacking.is_empty() {
        return Finding::ok("capabilities", "this process has all that mcrd needs");
    }
    let found = format!("this process lacks {}: mcrd would not start so", lacking.join(", "));
    let all = "cap_net_admin,cap_net_raw,cap_bpf,cap_sys_admin,cap_ipc_lock+ep";
    Finding::problem("capabilities", found)
        .fix(format!("sudo mcrctl {}  # or, for mcrd itself: sudo setcap {all} {}", host.command, host.mcrd))
}

/// The kernel counts a UMEM against the limit unless the process has CAP_IPC_LOCK (`xdp_umem_account_pages`); it has not counted BPF
/// maps since 5.11.
pub fn memlock(host: &Host) -> Finding {
    let needed = WORKER_MIB * host.cpus.len().max(1) as u64;
    match host.memlock {
        _ if host.has(CAP_IPC_LOCK) => {
            Finding::ok("memlock", "the limit on locked memory does not hold for this process (CAP_IPC_LOCK)")
        }
        None => Finding::ok("memlock", "memory may be locked without a limit"),
        Some(limit) if limit >> 20 >= needed => {
            Finding::ok("memlock", format!("{} MiB may be locked; the workers need some {needed}", limit >> 20))
        }
        Some(limit) => {
            let found = format!(
                "{} KiB may be locked and CAP_IPC_LOCK is lacking: the workers need some {needed} MiB",
                limit >> 10
            );
            Finding::warning("memlock", found).fix("sudo prlimit --pid $$ --memlock=unlimited")
        }
    }
}

/// Whether mcrd answers: what it was granted is taken from it then.
pub fn daemon(host: &Host) -> Finding {
    match &host.daemon {
        Daemon::Silent { socket: false, .. } => Finding::note("daemon", "mcrd does not run here"),
        Daemon::Silent { socket: true, why } => Finding::not_checked("daemon", why),
        Daemon::Runs { pid, elsewhere: true, .. } => {
            Finding::note("daemon", format!("mcrd, process {pid}, runs in another network namespace"))
                .fix(format!("nsenter --net=/proc/{pid}/ns/net mcrctl {}", host.command))
        }
        Daemon::Runs { version, pid, interfaces, .. } => {
            let names: Vec<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
            let on = if names.is_empty() { "no interface".to_owned() } else { names.join(", ") };
            Finding::ok("daemon", format!("mcrd {version}, process {pid}, runs on {on}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Severity::{self, NotChecked, Note, Ok, Problem, Warning};

    fn all() -> u64 {
        CapabilitySet::all().bits()
    }

    #[test]
    fn kernels() {
        let judged = |version| kernel(&Host { kernel: version, ..Host::default() }).severity;
        let expected: [(_, Severity); 5] = [
            (Some((5, 16)), Problem),
            (Some((5, 17)), Warning),
            (Some((6, 16)), Note),
            (Some((7, 3)), Ok),
            (None, NotChecked),
        ];
        for (version, severity) in expected {
            assert_eq!(judged(version), severity, "{version:?}");
        }
    }

    #[test]
    fn each_lack_is_named() {
        let host = Host {
            capabilities: all() & !CapabilitySet::NET_RAW.bits(),
            command: "doctor eth0".into(),
            ..Host::default()
        };
        let finding = capabilities(&host);
        assert_eq!(finding.severity, Problem);
        assert!(finding.found.contains("CAP_NET_RAW") && !finding.found.contains("CAP_BPF"), "{finding:?}");
        assert!(finding.fix.is_some_and(|fix| fix.starts_with("sudo mcrctl doctor eth0 ")));
        // CAP_SYS_ADMIN stands for CAP_BPF.
        let host = Host { capabilities: all() & !CapabilitySet::BPF.bits(), ..Host::default() };
        assert_eq!(capabilities(&host).severity, Ok);
    }

    #[test]
    fn locked_memory() {
        let judged = |capabilities, limit| {
            memlock(&Host { capabilities, memlock: limit, cpus: vec![0, 1], ..Host::default() }).severity
        };
        assert_eq!(judged(all(), Some(0)), Ok);
        assert_eq!(judged(0, None), Ok);
        assert_eq!(judged(0, Some(1 << 30)), Ok);
        assert_eq!(judged(0, Some(8 << 20)), Warning);
    }
}
