//! The sink: counts each packet of the run once, by its number, notes how long it took, and drops it. All else goes on to the
//! host.
//!
//! Its interface has one queue, so one program runs at a time and nothing here needs to be atomic.

use aya_ebpf::{
    bindings::xdp_action,
    macros::{map, xdp},
    maps::Array,
    programs::XdpContext,
};

use crate::{
    head::{address, head, is_ours, native32, native64, word},
    layout::{CLASSES, HEAD, NUMBER, NUMBERS, RUN, TIME, Tally, WORDS, class},
    send::now,
};

/// What is expected, and what came.
#[map]
static TALLY: Array<Tally> = Array::with_max_entries(1, 0);
/// Numbers that came: 32 to a word, below the run that the word is of; the outputs one after the other.
#[map]
static SEEN: Array<u64> = Array::with_max_entries(WORDS, 0);
/// Packets by [`class`] of delay.
#[map]
static DELAYS: Array<u64> = Array::with_max_entries(CLASSES, 0);

/// Takes every packet of the bench.
#[xdp]
fn sink(mut ctx: XdpContext) -> u32 {
    let bytes = ctx.data_end() - ctx.data();
    let Some(head) = head(&mut ctx) else { return xdp_action::XDP_PASS };
    if !is_ours(head) {
        return xdp_action::XDP_PASS;
    }
    if let Some(tally) = TALLY.get_ptr_mut(0) {
        // SAFETY: array entries live as long as the map, and one program runs at a time.
        count(unsafe { &mut *tally }, head, bytes);
    }
    xdp_action::XDP_DROP
}

#[inline(always)]
fn count(tally: &mut Tally, head: &[u8; HEAD], bytes: usize) {
    if native32(head, RUN) != tally.run {
        tally.stale += 1;
        return;
    }
    let number = native32(head, NUMBER);
    let Some(seen) = place(tally, head, number).and_then(|at| SEEN.get_ptr_mut(at)) else {
        tally.foreign += 1;
        return;
    };
    // SAFETY: as for the tally.
    let seen = unsafe { &mut *seen };
    let (run, bit) = (u64::from(tally.run) << 32, 1 << (number % NUMBERS));
    let before = if *seen >> 32 == u64::from(tally.run) { *seen } else { run };
    if before & bit != 0 {
        tally.duplicated += 1;
        return;
    }
    *seen = before | bit;
    tally.unique += 1;
    tally.bytes += bytes as u64;
    let now = now();
    if tally.first == 0 {
        tally.first = now;
    }
    tally.last = now;
    if number & tally.unsampled == 0
        && let Some(delays) = DELAYS.get_ptr_mut(class(now.saturating_sub(native64(head, TIME))))
    {
        // SAFETY: as for the tally.
        unsafe { *delays += 1 };
    }
}

/// The bitmap word of a packet that came as it must.
#[inline(always)]
fn place(tally: &Tally, head: &[u8; HEAD], number: u32) -> Option<u32> {
    let offset = address(head, 30).wrapping_sub(tally.streams.group);
    let (output, stream) = (offset >> 16, offset & 0xffff);
    if output >= tally.outputs
        || stream != tally.streams.of(number)
        || u32::from(word(head, 36)) != tally.streams.port + stream
    {
        return None;
    }
    let words = WORDS / tally.outputs;
    let at = number / NUMBERS;
    (at < words).then_some(output * words + at)
}
