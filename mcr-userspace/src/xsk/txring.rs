//! A second view of a socket's TX ring, to take back descriptors that the kernel will not look at.
//!
//! While an interface is down `sendto` answers ENETDOWN and leaves the ring as it is; when the interface comes up again, what was
//! queued would go out late, after it was counted as lost. libxdp cannot take a submitted descriptor back; here it is made
//! invalid, so that the kernel does not send it (net/xdp/xsk_queue.h, `xskq_cons_is_valid_desc`). Linux 6.18 completes it all the
//! same, with the invalid address.

use std::{
    io, mem,
    os::fd::RawFd,
    ptr::{self, NonNull},
};

/// linux/if_xdp.h, `struct xdp_ring_offset`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct RingOffset {
    producer: u64,
    consumer: u64,
    desc: u64,
    flags: u64,
}

/// linux/if_xdp.h, `struct xdp_mmap_offsets`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct MmapOffsets {
    rx: RingOffset,
    tx: RingOffset,
    fill: RingOffset,
    completion: RingOffset,
}

/// linux/if_xdp.h, `struct xdp_desc`.
#[repr(C)]
struct Desc {
    addr: u64,
    len: u32,
    options: u32,
}

/// The TX ring's mapping.
#[derive(Debug)]
pub struct TxRing {
    mapping: NonNull<libc::c_void>,
    bytes: usize,
    descs: *mut Desc,
    mask: u32,
}

// SAFETY: the mapping belongs to this value alone, and its methods need `&mut`.
unsafe impl Send for TxRing {}

impl TxRing {
    /// Maps the TX ring of `size` descriptors (a power of two) of the AF_XDP socket `fd`.
    pub fn map(fd: RawFd, size: u32) -> io::Result<Self> {
        let mut offsets = MmapOffsets::default();
        let mut length = mem::size_of::<MmapOffsets>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes of plain integers into `offsets`.
        let result = unsafe {
            libc::getsockopt(fd, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS, ptr::from_mut(&mut offsets).cast(), &mut length)
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        let bytes = offsets.tx.desc as usize + size as usize * mem::size_of::<Desc>();
        // SAFETY: a fresh shared mapping of the ring that the kernel made for this socket.
        let mapping = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                fd,
                libc::XDP_PGOFF_TX_RING as libc::off_t,
            )
        };
        if mapping == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mapping = NonNull::new(mapping).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: the descriptors start within the mapping, by its size.
        let descs = unsafe { mapping.as_ptr().byte_add(offsets.tx.desc as usize).cast() };
        Ok(Self { mapping, bytes, descs, mask: size - 1 })
    }

    /// Makes the kernel skip the descriptor that was submitted as number `sequence`.
    ///
    /// To be called only in copy mode and outside `sendto`: then the kernel does not read the ring.
    pub fn void(&mut self, sequence: u64) {
        let index = (sequence as u32 & self.mask) as usize;
        // SAFETY: the index lies within the ring; no one else reads or writes the descriptor meanwhile, by the contract above.
        unsafe { self.descs.add(index).write_volatile(Desc { addr: u64::MAX, len: 0, options: 0 }) };
    }
}

impl Drop for TxRing {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map`, and nothing refers to it any more.
        unsafe { libc::munmap(self.mapping.as_ptr(), self.bytes) };
    }
}
