//! The sender: run by `BPF_PROG_TEST_RUN` with live frames, it makes each frame a numbered packet that leaves the interface
//! named in its context, at its time. Three million a second from one CPU, where a packet socket makes half of one.

use core::ffi::{c_long, c_void};

use aya_ebpf::{
    bindings::xdp_action,
    helpers::{bpf_ktime_get_ns, bpf_loop},
    macros::{map, xdp},
    maps::Array,
    programs::XdpContext,
};
use mcr_common::{
    checksum::{Sum, pseudo_header},
    wire::{group_mac, ipv4},
};

use crate::{
    head::{head, put},
    layout::{HEAD, MAGIC, NUMBER, Orders, PAYLOAD, RUN, TIME},
};

/// Time to live of all that is sent.
const TTL: u8 = 16;
/// Source port of all that is sent.
const SOURCE_PORT: u16 = 7777;
/// A sender that is later than this was held up (its CPU was taken), and goes on from there.
const HELD_UP: u64 = 50_000;
/// Looks at the clock at most: some tens of milliseconds.
const LOOKS: u32 = 1 << 20;

/// Its orders.
#[map]
static ORDERS: Array<Orders> = Array::with_max_entries(1, 0);

/// The next packet, at its time.
#[xdp]
fn send(mut ctx: XdpContext) -> u32 {
    let Some(orders) = ORDERS.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: one sender runs at a time, and the bench reads and writes the orders when none does.
    let orders = unsafe { &mut *orders };
    let Some(head) = head(&mut ctx) else { return xdp_action::XDP_ABORTED };
    let number = orders.next;
    orders.next += 1;
    let now = wait(orders, number);
    if number == 0 {
        orders.began = now;
    }
    orders.ended = now;
    write(head, orders, number as u32, now);
    xdp_action::XDP_TX
}

/// Waits until packet `number` is due; the time then.
#[inline(always)]
fn wait(orders: &mut Orders, number: u64) -> u64 {
    let now = now();
    if orders.interval == 0 {
        return now;
    }
    if number == 0 {
        orders.start = now;
        return now;
    }
    let mut due = orders.start + ((number * orders.interval) >> 10);
    if now >= due {
        if now > due + HELD_UP {
            orders.start += now - due;
        }
        return now;
    }
    // SAFETY: `look` is what the helper calls, with the address of `due`, which lives until it returns.
    unsafe { bpf_loop(LOOKS, look as *mut c_void, (&raw mut due).cast(), 0) };
    due
}

/// One look at the clock: 0 to go on, 1 to end.
#[inline(never)]
extern "C" fn look(_turn: u32, due: *mut u64) -> c_long {
    // SAFETY: `wait` passes its own, and nobody else has it meanwhile.
    c_long::from(now() >= unsafe { *due })
}

/// CLOCK_MONOTONIC in nanoseconds.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper has no arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// Writes all headers anew: frames come back as whoever had them left them.
#[inline(always)]
fn write(head: &mut [u8; HEAD], orders: &Orders, number: u32, now: u64) {
    let stream = orders.streams.of(number);
    let (group, port) = (orders.streams.group + stream, (orders.streams.port + stream) as u16);
    put(head, 0, group_mac(group));
    put(head, 6, orders.mac);
    put(head, 12, [8, 0, 0x45, 0]);
    put(head, 16, orders.length.to_be_bytes());
    put(head, 18, [0, 0, 0, 0, TTL, 17]);
    put(head, 26, orders.source.to_be_bytes());
    put(head, 30, group.to_be_bytes());
    let ip = Sum::default().word(0x4500).word(orders.length).word(u16::from_be_bytes([TTL, 17]));
    put(head, 14 + ipv4::CHECKSUM, ip.address(orders.source).address(group).finish().to_be_bytes());

    let length = orders.length - 20;
    put(head, 34, SOURCE_PORT.to_be_bytes());
    put(head, 36, port.to_be_bytes());
    put(head, 38, length.to_be_bytes());
    put(head, PAYLOAD, MAGIC.to_be_bytes());
    put(head, RUN, orders.run.to_ne_bytes());
    put(head, NUMBER, number.to_ne_bytes());
    put(head, TIME, now.to_ne_bytes());
    let mut udp = pseudo_header(orders.source, group, length).word(SOURCE_PORT).word(port).word(length).word(MAGIC);
    udp = udp.address(orders.run.to_be()).address(number.to_be());
    udp = udp.address((now as u32).to_be()).address(((now >> 32) as u32).to_be()).address(orders.filling);
    let checksum = match udp.finish() {
        // 0 says that there is none (RFC 768).
        0 => 0xffff,
        checksum => checksum,
    };
    put(head, 40, checksum.to_be_bytes());
}
