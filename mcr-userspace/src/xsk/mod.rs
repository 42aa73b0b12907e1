//! AF_XDP: frames in a UMEM, and the sockets between which they move.
//!
//! A [`Frame`](frame::Frame) is move-only: whoever holds it owns its bytes, and handing it to a ring moves it. So a frame is in
//! exactly one place: the pool, a fill or RX ring, a worker's hands, a TX or completion ring.

pub mod frame;
pub mod umem;
pub mod options;
pub mod port;
pub mod anchor;
pub mod txring;
