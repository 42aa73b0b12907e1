//! Network namespaces need root: a test without it is skipped in words, and fails where root was promised.

use nix::unistd::geteuid;

use crate::programs;

/// Set to `1` where root is promised (CI): a skip is then a failure.
pub const REQUIRE: &str = "MCR_REQUIRE_ROOT";

/// Whether this process is root. Where it is not, says on stderr that `what` is skipped.
///
/// # Panics
/// When it is not root although [`REQUIRE`] is `1`.
pub fn have(what: &str) -> bool {
    if geteuid().is_root() {
        return true;
    }
    let required = std::env::var(REQUIRE).is_ok_and(|value| value == "1");
    assert!(!required, "{what} needs root, and {REQUIRE}=1 promises it");
    eprintln!("SKIPPED {what}: network namespaces need root (`cargo xtask test` asks sudo for it)");
    false
}

/// Whether there is QEMU for a virtual machine that needs nothing else of the host. Where there is none, says on stderr that `what` is
/// skipped.
///
/// # Panics
/// When there is none although [`REQUIRE`] is `1`.
pub fn have_machines(what: &str) -> bool {
    if programs::installed(crate::vm::qemu::QEMU) {
        return true;
    }
    let required = std::env::var(REQUIRE).is_ok_and(|value| value == "1");
    assert!(!required, "{what} needs QEMU, and {REQUIRE}=1 promises all that tests need (`cargo xtask setup`)");
    eprintln!("SKIPPED {what}: it needs QEMU (`cargo xtask setup` installs it)");
    false
}

/// The first line of a test whose virtual machines need no privileges: leaves it where there is no QEMU, saying so (see
/// [`have_machines`]), and has libtest keep what its processes say.
#[macro_export]
macro_rules! needs_machines {
    () => {
        $crate::process::show_output();
        if !$crate::root::have_machines(std::thread::current().name().unwrap_or(module_path!())) {
            return Ok(());
        }
    };
}

/// The first line of every other test here: leaves it when it is not root, saying so (see [`have`]), and has libtest keep
/// what its processes say.
#[macro_export]
macro_rules! needs_root {
    () => {
        $crate::process::show_output();
        if !$crate::root::have(std::thread::current().name().unwrap_or(module_path!())) {
            return Ok(());
        }
    };
}
