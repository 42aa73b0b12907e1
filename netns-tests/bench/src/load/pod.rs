//! Marks the map types as plain data, so that aya may copy them to and from the kernel.

use super::layout::{Orders, Rewrite, Tally};

// SAFETY: each is `repr(C)`, made of integers alone, without padding, and valid for every bit pattern.
unsafe impl aya::Pod for Orders {}
// SAFETY: as above.
unsafe impl aya::Pod for Tally {}
// SAFETY: as above.
unsafe impl aya::Pod for Rewrite {}
