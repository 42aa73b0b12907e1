//! The order of names, as people count.

use std::cmp::Ordering;

/// `k-2` before `k-10`.
pub fn natural(a: &str, b: &str) -> Ordering {
    alphanumeric_sort::compare_str(a, b).then_with(|| a.cmp(b))
}
