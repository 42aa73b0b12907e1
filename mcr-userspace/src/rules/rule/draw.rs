//! What outputs may say, drawn at random for tests.

use proptest::prelude::*;

use super::{Source, Ttl, Vlan};

/// Any tag.
pub fn vlan() -> impl Strategy<Value = Vlan> {
    prop_oneof![Just(Vlan::None), Just(Vlan::Keep), (1u16..=4094).prop_map(Vlan::Set)]
}

/// Any TTL; mostly what a router does.
pub fn ttl() -> impl Strategy<Value = Ttl> {
    prop_oneof![3 => Just(Ttl::Decrement), 1 => Just(Ttl::Keep), 1 => (1u8..).prop_map(Ttl::Set)]
}

/// Any source; half of the time the interface's own.
pub fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        2 => Just(Source::Interface),
        1 => Just(Source::Keep),
        1 => any::<u32>().prop_map(|address| Source::Address(address.into()))
    ]
}
