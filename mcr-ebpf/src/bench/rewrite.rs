//! The limit: what mcr does with a packet for one output, done in the kernel at once. Group, port, source, TTL, Ethernet
//! addresses, checksums; then a redirect to the egress interface. One kind of rule, no counters, no losses told.

use aya_ebpf::{
    bindings::xdp_action,
    macros::{map, xdp},
    maps::{DevMap, HashMap},
    programs::XdpContext,
};
use mcr_common::{checksum::Change, wire::group_mac};

use crate::{
    head::{address, head, is_ours, put, word},
    layout::{FLOWS, HEAD, Rewrite},
};

/// By group (upper half) and port.
#[map]
static REWRITES: HashMap<u64, Rewrite> = HashMap::with_max_entries(FLOWS, 0);
/// The egress interface.
#[map]
static EGRESS: DevMap = DevMap::with_max_entries(1, 0);

/// Forwards a packet of the bench.
#[xdp]
fn rewrite(mut ctx: XdpContext) -> u32 {
    let Some(head) = head(&mut ctx) else { return xdp_action::XDP_PASS };
    if !is_ours(head) || head[22] < 2 {
        return xdp_action::XDP_PASS;
    }
    let key = u64::from(address(head, 30)) << 32 | u64::from(word(head, 36));
    // SAFETY: entries stay as they are while the program is attached.
    let Some(to) = (unsafe { REWRITES.get(key) }) else { return xdp_action::XDP_PASS };
    apply(head, to);
    EGRESS.redirect(0, 0).unwrap_or(xdp_action::XDP_ABORTED)
}

#[inline(always)]
fn apply(head: &mut [u8; HEAD], to: &Rewrite) {
    let addresses = Change::default().address(address(head, 26), to.source).address(address(head, 30), to.group);
    let life = word(head, 22);
    put(head, 24, addresses.word(life, life - 0x100).apply(word(head, 24)).to_be_bytes());
    head[22] -= 1;
    let checksum = match word(head, 40) {
        0 => 0,
        // An update gives 0 for the 0xffff that stands for it (RFC 768).
        checksum => match addresses.word(word(head, 36), to.port as u16).apply(checksum) {
            0 => 0xffff,
            checksum => checksum,
        },
    };
    put(head, 40, checksum.to_be_bytes());
    put(head, 26, to.source.to_be_bytes());
    put(head, 30, to.group.to_be_bytes());
    put(head, 36, (to.port as u16).to_be_bytes());
    put(head, 0, group_mac(to.group));
    let [a, b, c, d, e, f, ..] = to.mac;
    put(head, 6, [a, b, c, d, e, f]);
}
