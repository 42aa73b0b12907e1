//! What a contender is to forward.

use std::net::Ipv4Addr;

use netns_tests::rules::{RECEIVED, SENT};

use crate::load::{layout::Streams, stage::streams};

/// What is to be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Streams, and as many rules.
    pub streams: u32,
    /// Outputs of each, on one interface.
    pub outputs: u32,
    /// Packets go over the streams in an order without pattern.
    pub scattered: bool,
}

impl Job {
    /// Streams with one output each, in turn.
    pub const fn of(streams: u32) -> Self {
        Self { streams, outputs: 1, scattered: false }
    }

    /// The streams as they are sent.
    pub fn streams(self) -> Streams {
        Streams { scattered: self.scattered.into(), ..streams(self.streams) }
    }

    /// Each stream and output: group and port as sent, and as they must come out.
    pub fn flows(self) -> impl Iterator<Item = ((Ipv4Addr, u16), (Ipv4Addr, u16))> {
        (0..self.streams).flat_map(move |stream| {
            (0..self.outputs).map(move |output| {
                let add = |(group, port): (Ipv4Addr, u16), output: u32| {
                    (Ipv4Addr::from_bits(group.to_bits() + stream + (output << 16)), port + stream as u16)
                };
                (add(SENT, 0), add(RECEIVED, output))
            })
        })
    }
}
