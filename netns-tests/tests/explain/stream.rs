//! The stream that meets a fault, and its packets at the other end.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use netns_tests::{
    packet::{Packet, Tag},
    raw::Wire,
    topology::{GEN, Network},
};
use serde_json::{Value, json};

/// Between two packets of a stream.
const PERIOD: Duration = Duration::from_millis(4);

/// What the rule `feed` wants, from the sender's own address.
pub fn packet() -> Packet {
    Packet { source: Ipv4Addr::new(10, 1, 0, 1), ..Packet::new([239, 1, 1, 1].into(), 5001) }
}

/// The same in a VLAN.
pub fn tagged(vlan: u16) -> Packet {
    Packet { tag: Some(Tag { priority: 0, drop_eligible: false, id: vlan }), ..packet() }
}

/// One frame, again and again, for as long as this lives; none where the frame is empty.
pub struct Stream {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    /// Begins to send on an interface of gen.
    pub fn begin(network: &Network, interface: &str, frame: Vec<u8>) -> Result<Self> {
        let wire = Wire::open(network.namespace(GEN), interface)?;
        let ended = Arc::new(AtomicBool::new(false));
        let ends = ended.clone();
        let thread = thread::spawn(move || {
            while !ends.load(Relaxed) {
                if !frame.is_empty() {
                    // The other end may be down, which is what the fault is about.
                    let _ = wire.send(&frame);
                }
                thread::sleep(PERIOD);
            }
        });
        Ok(Self { ended, thread: Some(thread) })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A frame's source port, and what it is as an output of `explain --in` tells it; `None` for what is no multicast UDP.
pub fn read(near: &str, frame: &[u8]) -> Option<(u16, String, Value)> {
    let sliced = SlicedPacket::from_ethernet(frame).ok()?;
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) = (&sliced.net, &sliced.transport) else {
        return None;
    };
    let header = ip.header();
    if !header.destination_addr().is_multicast() || header.destination_addr().octets()[..3] == [224, 0, 0] {
        return None;
    }
    let output = json!({
        "interface": near,
        "vlan": sliced.vlan_ids().first().map(|id| id.value()),
        "source": header.source_addr(),
        "group": header.destination_addr(),
        "port": udp.destination_port(),
        "ttl": header.ttl(),
        "bytes": frame.len(),
    });
    Some((udp.source_port(), output["interface"].to_string(), output))
}
