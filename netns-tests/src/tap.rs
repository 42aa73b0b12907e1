//! A tap whose other end is the test, as a virtual machine's is its hypervisor: frames may be merged, and their checksums partial.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    mem,
    os::fd::AsRawFd,
};

use anyhow::{Context, Result, bail};

use crate::{
    netns::Namespace,
    packet::{Checksum, Packet},
};

/// linux/if_tun.h.
const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
const TUNSETVNETHDRSZ: libc::Ioctl = 0x4004_54d8;
/// linux/virtio_net.h: `struct virtio_net_hdr`, bytes; the checksum is partial; datagrams of one size.
const HEADER: libc::c_int = 10;
const NEEDS_CSUM: u8 = 1;
const GSO_UDP_L4: u8 = 5;
/// Offsets in an untagged frame without options: of the UDP header and of the payload; in the UDP header: of its checksum.
const UDP: u16 = 34;
const PAYLOAD: u16 = 42;
const CHECKSUM: u16 = 6;

/// A tap. It goes when this is dropped.
pub struct Tap(File);

impl Tap {
    /// Makes `name` in `namespace` and sets it up.
    pub fn new(namespace: &Namespace, name: &str) -> Result<Self> {
        let file = namespace.enter(|| {
            let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun").context("/dev/net/tun")?;
            // SAFETY: `ifreq` is integers, bytes and a pointer: all zero is a value of it.
            let mut request: libc::ifreq = unsafe { mem::zeroed() };
            for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
                *to = from as libc::c_char;
            }
            request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
            // SAFETY: the request is a whole `ifreq`, which the kernel reads and writes.
            cvt(unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) }).context("TUNSETIFF")?;
            let header = HEADER;
            // SAFETY: the kernel reads one integer.
            cvt(unsafe { libc::ioctl(file.as_raw_fd(), TUNSETVNETHDRSZ, &raw const header) })
                .context("TUNSETVNETHDRSZ")?;
            Ok(file)
        })?;
        namespace.run(&format!("ip link set {name} up"))?;
        Ok(Self(file))
    }

    /// Sends a frame of one datagram, or of several of `size` bytes of payload each, with its checksum left to whoever cuts it.
    pub fn send(&mut self, packet: Packet, size: Option<usize>) -> Result<()> {
        let packet = Packet { checksum: Checksum::Partial, ..packet };
        let size = size.map(u16::try_from).transpose()?.unwrap_or(0);
        let mut bytes = vec![NEEDS_CSUM, if size > 0 { GSO_UDP_L4 } else { 0 }];
        for word in [PAYLOAD, size, UDP, CHECKSUM] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(packet.frame());
        let written = (&self.0).write(&bytes).context("writing to the tap")?;
        if written != bytes.len() {
            bail!("the tap took {written} of {} bytes", bytes.len());
        }
        Ok(())
    }
}

fn cvt(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
