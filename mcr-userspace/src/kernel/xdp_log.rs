//! The XDP program's log lines, carried over to the daemon's log.

use std::{os::fd::AsRawFd, thread};

use aya::Ebpf;
use aya_log::EbpfLogger;

use super::ifreq::name_of;

/// Writes the program's lines with the name of the interface, of which the program knows the index alone.
struct Named;

/// How a line of the program's begins that is about an interface.
const ABOUT: &str = "interface ";

impl log::Log for Named {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        log::logger().enabled(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = record.args().to_string();
        let named = line.strip_prefix(ABOUT).and_then(|rest| {
            let (index, rest) = rest.split_once(':')?;
            Some(format!("{}:{rest}", name_of(index.parse().ok()?).ok()?))
        });
        let line = named.unwrap_or(line);
        let metadata = record.metadata().clone();
        log::logger().log(&log::Record::builder().metadata(metadata).args(format_args!("{line}")).build());
    }

    fn flush(&self) {
        log::logger().flush();
    }
}

/// Lets a thread carry the program's log lines over to `log`. It ends with the process.
pub(super) fn carry_over(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    let mut logger = EbpfLogger::init_with_logger(ebpf, Named)?;
    thread::Builder::new().name("mcr-xdp-log".into()).spawn(move || {
        loop {
            let mut ready = libc::pollfd { fd: logger.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one valid `pollfd`, and a descriptor that lives as long as the logger.
            unsafe { libc::poll(&mut ready, 1, -1) };
            logger.flush();
        }
    })?;
    Ok(())
}
