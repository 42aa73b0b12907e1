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

/// What one step of a lookup has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The entry of the most specific rule that takes the packet.
    Found(FlowValue),
    /// No rule of this rank's shape takes it; perhaps one of the next.
    Next,
    /// There are no more shapes.
    End,
}

/// Looks for a rule of the shape of one rank.
#[inline(always)]
pub fn step<T: FlowTable + ?Sized>(table: &T, rank: u32, ifindex: u32, datagram: &Datagram) -> Step {
    match table.shape(rank) {
        Some(shape) if shape.kind != 0 => match table.get(&shape.key(ifindex, datagram.vlan, datagram)) {
            Some(value) => Step::Found(value),
            None => Step::Next,
        },
        _ => Step::End,
    }
}

/// The entry of the most specific rule that takes `datagram` on `ifindex`: [`step`]s until one ends it. (The kernel's loop is its
/// own, `bpf_loop`, since its verifier would follow each turn of this one.)
#[inline]
pub fn find<T: FlowTable + ?Sized>(table: &T, ifindex: u32, datagram: &Datagram) -> Option<FlowValue> {
    (0..TABLE_SHAPES).find_map(|rank| match step(table, rank, ifindex, datagram) {
        Step::Found(value) => Some(Some(value)),
        Step::End => Some(None),
        Step::Next => None,
    })?
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
