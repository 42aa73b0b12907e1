//! Words that one side writes while another reads them: memory of a map of the kernel's, or of our own.

use std::{
    io,
    ops::Deref,
    os::fd::{AsFd, AsRawFd},
    ptr::{self, NonNull},
    sync::atomic::AtomicU64,
};

/// A fixed number of words, reached as atomics only.
#[derive(Debug)]
pub struct Words {
    words: NonNull<AtomicU64>,
    len: usize,
    is_map: bool,
}

// SAFETY: the memory belongs to this value, and is only reached as atomics.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// Zeroes in memory of our own; what is never written takes none.
    pub fn owned(len: usize) -> Self {
        let words = Box::leak(vec![0u64; len].into_boxed_slice());
        Self { words: NonNull::from(words).cast(), len, is_map: false }
    }

    /// The first `len` words of an array map with `BPF_F_MMAPABLE`, whose values are whole words.
    pub fn of_map(map: &impl AsFd, len: usize) -> io::Result<Self> {
        // SAFETY: a fresh shared mapping; the kernel refuses one that is longer than the map.
        let mapping = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len * size_of::<u64>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_fd().as_raw_fd(),
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let words = NonNull::new(mapping.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { words, len, is_map: true })
    }
}

impl Deref for Words {
    type Target = [AtomicU64];

    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: so many words are there for as long as this value is, all of them atomics.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), self.len) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        if self.is_map {
            // SAFETY: the mapping was made by `of_map`, and nothing refers to it any more.
            unsafe { libc::munmap(self.words.as_ptr().cast(), self.len * size_of::<u64>()) };
        } else {
            let all = NonNull::slice_from_raw_parts(self.words.cast::<u64>(), self.len);
            // SAFETY: `owned` leaked a box of so many words, and nothing refers to it any more.
            drop(unsafe { Box::from_raw(all.as_ptr()) });
        }
    }
}
