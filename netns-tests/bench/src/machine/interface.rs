//! What the kernel knows of an interface, asked by a thread in its namespace: trials ask often, and processes would take longer
//! than they.

use std::{fs, io};

use anyhow::{Context, Result, ensure};
use netns_tests::netns::Namespace;

/// An interface's index.
pub fn index(namespace: &Namespace, name: &str) -> Result<u32> {
    let text = std::ffi::CString::new(name)?;
    namespace.enter(|| {
        // SAFETY: a string that ends with NUL and outlives the call.
        let index = unsafe { libc::if_nametoindex(text.as_ptr()) };
        ensure!(index != 0, "{name}: {}", io::Error::last_os_error());
        Ok(index)
    })
}

/// Packets that an interface dropped instead of sending: on a veth, those that its peer had no room for.
pub fn tx_dropped(namespace: &Namespace, name: &str) -> Result<u64> {
    let text =
        namespace.enter(|| fs::read_to_string("/proc/thread-self/net/dev").context("/proc/thread-self/net/dev"))?;
    dropped(&text, name).with_context(|| format!("/proc/net/dev has no tx_dropped of {name}"))
}

/// After the colon: eight fields received, then bytes, packets, errors and dropped sent.
fn dropped(table: &str, name: &str) -> Option<u64> {
    let fields = table.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'))?;
    fields.split_whitespace().nth(11)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_of_the_right_interface() {
        let table = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       1       2    3    4    5     6          7         8        9      10   11   12   13    14      15         16
   v10:       1       2    3    4    5     6          7         8        9      10   11  100   13    14      15         16
    v1:       1       2    3    4    5     6          7         8        9      10   11  101   13    14      15         16
";
        assert_eq!((dropped(table, "v1"), dropped(table, "v10"), dropped(table, "v2")), (Some(101), Some(100), None));
    }
}
