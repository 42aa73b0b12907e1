//! Which rule takes a packet: the same walk over shapes in the kernel and in the workers.

use crate::{
    flow::{Datagram, FlowKey, FlowValue, PortKind, Shape, Vlan},
    limits::{GROUP_SHAPES, TABLE_SHAPES},
};

/// The maps of rules, however they are reached.
pub trait FlowTable {
    /// The shape of this rank, in the order of [`Shape`]; [`Shape::END`] or `None` past the last.
    fn shape(&self, rank: u32) -> Option<Shape>;
    /// The group prefix lengths in use, as shapes of [`PortKind::Group`]; likewise.
    fn group_shape(&self, rank: u32) -> Option<Shape>;
    /// The entry of this key.
    fn get(&self, key: &FlowKey) -> Option<FlowValue>;
}

/// The entry of the most specific rule that takes `datagram` on `ifindex`.
#[inline(always)]
pub fn find<T: FlowTable + ?Sized>(table: &T, ifindex: u32, datagram: &Datagram) -> Option<FlowValue> {
    for rank in 0..TABLE_SHAPES {
        let shape = table.shape(rank)?;
        if shape.kind == 0 {
            return None;
        }
        if let Some(value) = table.get(&shape.key(ifindex, datagram.vlan, datagram)) {
            return Some(value);
        }
    }
    None
}

/// The entry of some rule on `ifindex` for `datagram`'s group, whatever its port and source, under the tag `vlan`.
#[inline(always)]
pub fn group_entry<T: FlowTable + ?Sized>(
    table: &T,
    ifindex: u32,
    vlan: Vlan,
    datagram: &Datagram,
) -> Option<FlowValue> {
    for rank in 0..GROUP_SHAPES {
        let shape = table.group_shape(rank)?;
        if shape.kind != PortKind::Group as u8 {
            return None;
        }
        if let Some(value) = table.get(&shape.key(ifindex, vlan, datagram)) {
            return Some(value);
        }
    }
    None
}
