//! The process's memory.

/// Bytes from which on a block of memory is mapped by itself, and so goes back to the kernel when it is free: the tables of a UMEM.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 128 << 10;

/// Has large blocks go back to the kernel for as long as the process runs. glibc would raise the bound with the first of them that is
/// freed (mallopt(3), "dynamic mmap threshold"), and keep what interfaces that come and go have left.
pub fn map_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes two integers.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}

/// Returns to the kernel what is free: reading a file and answering a large request take several times what stays.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes an integer, and touches only memory that nobody holds.
    unsafe {
        libc::malloc_trim(0);
    }
}
