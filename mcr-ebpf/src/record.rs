//! What no rule takes, recorded while somebody asks (`mcrctl unmatched`, `mcrctl explain`).

use mcr_common::{counter::Verdict, flow::Datagram, unmatched::UnmatchedKey};

use crate::maps::{RECORDING, UNMATCHED};

/// Records a packet that goes on to the host, where somebody asks; its verdict, as given.
#[inline(always)]
pub fn passed(ifindex: u32, datagram: &Datagram, verdict: Verdict) -> Verdict {
    if RECORDING.get(0).is_some_and(|recording| *recording != 0) {
        record(ifindex, datagram, verdict);
    }
    verdict
}

/// One copy in the program, off every path but this.
#[inline(never)]
fn record(ifindex: u32, datagram: &Datagram, verdict: Verdict) {
    let key = UnmatchedKey::new(ifindex, datagram, verdict);
    match UNMATCHED.get_ptr_mut(key) {
        // SAFETY: this CPU's own value, and XDP programs do not nest. The kernel may give it to another flow meanwhile, which then counts
        // one too many.
        Some(count) => unsafe { *count += 1 },
        // No room: one more flow that is not told of.
        None => drop(UNMATCHED.insert(key, 1, 0)),
    }
}
