//! The lookup's loop over shapes, as a helper's: the verifier looks at one turn, not at 257 times all ways to come to it.

use core::ffi::{c_long, c_void};

use aya_ebpf::helpers::bpf_loop;
use mcr_common::{
    flow::{Datagram, FlowValue},
    limits::TABLE_SHAPES,
    lookup::{Step, step},
};

use crate::maps::Rules;

/// What the turns of one lookup share.
struct Search {
    rules: Rules,
    ifindex: u32,
    datagram: Datagram,
    found: Option<FlowValue>,
}

/// The entry of the most specific rule that takes `datagram`: [`mcr_common::lookup::find`], by `bpf_loop` (Linux 5.17).
#[inline(always)]
pub fn find(rules: Rules, ifindex: u32, datagram: &Datagram) -> Option<FlowValue> {
    let mut search = Search { rules, ifindex, datagram: *datagram, found: None };
    // SAFETY: `turn` is what the helper calls, with the address of `search`, which lives until it returns.
    unsafe { bpf_loop(TABLE_SHAPES, turn as *mut c_void, (&raw mut search).cast(), 0) };
    search.found
}

/// One turn: 0 to go on, 1 to end.
#[inline(never)]
extern "C" fn turn(rank: u32, search: *mut Search) -> c_long {
    // SAFETY: `find` passes its own, and nobody else has it meanwhile.
    let search = unsafe { &mut *search };
    match step(&search.rules, rank, search.ifindex, &search.datagram) {
        Step::Next => 0,
        Step::End => 1,
        Step::Found(value) => {
            search.found = Some(value);
            1
        }
    }
}
