//! What the XDP program is told of an interface.

use mcr_common::flow::{Generic, InterfaceFacts};

use crate::{
    kernel::{nic::Nic, program::Attachment},
    xsk::umem::Memory,
};

/// Bytes of the longest packet: an Ethernet header with two tags, and 65,535 of IP.
const LONGEST: u32 = 65_535 + 22;

/// For an interface to which the program is attached so, and whose sockets are of this UMEM.
pub fn kernel_facts(nic: &Nic, attachment: Attachment, memory: &Memory) -> InterfaceFacts {
    let generic = match attachment {
        Attachment::Skb => Generic::Always,
        // tun and tap hand packets that are merged, or long, to generic XDP, and run the program themselves on all others
        // (`tun_build_skb()`, drivers/net/tun.c). No other driver does both.
        Attachment::Driver if nic.driver == "tun" => Generic::Sometimes,
        Attachment::Driver => Generic::Never,
    };
    InterfaceFacts {
        mac: nic.mac,
        generic: generic as u16,
        capacity: memory.capacity() as u32,
        merged: if memory.takes_chains() { LONGEST } else { 0 },
    }
}
