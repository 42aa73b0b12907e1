//! Marks the map types as plain data, so that aya may copy them to and from the kernel.
#![allow(unsafe_code)]

use crate::{
    flow::{FlowKey, FlowValue, InterfaceFacts, Shape},
    skb::Offsets,
    unmatched::UnmatchedKey,
};

// SAFETY: each is `repr(C)`, made of integers alone, without padding, and valid for every bit pattern that the kernel or this
// workspace writes; `Vlan` is `repr(transparent)` over `u16`.
unsafe impl aya::Pod for FlowKey {}
// SAFETY: as above.
unsafe impl aya::Pod for FlowValue {}
// SAFETY: as above.
unsafe impl aya::Pod for Shape {}
// SAFETY: as above.
unsafe impl aya::Pod for InterfaceFacts {}
// SAFETY: as above.
unsafe impl aya::Pod for Offsets {}
// SAFETY: as above.
unsafe impl aya::Pod for UnmatchedKey {}
