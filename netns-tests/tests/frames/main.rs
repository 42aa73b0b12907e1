//! Frames for every interface: whatever the order and number in which interfaces come and go, each gets its sockets, and what is
//! released is given back.

mod come_and_go;
mod limits;
mod relay;
