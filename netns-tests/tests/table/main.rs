//! A table of packets in, rules, and packets out on each interface, through the real `mcrd` in each of its ways to work.
//!
//! interface.md, "Matching" and "Packets": each row says in full what comes out, which is built from scratch and compared
//! byte for byte, what the host sees, and what is counted.

mod row;
mod judge;
mod run;
mod rows;

use anyhow::Result;
use netns_tests::needs_root;

#[test]
fn one_queue_copy() -> Result<()> {
    needs_root!();
    run::all_rows(1, &["--mode", "copy"])
}

#[test]
fn four_queues_copy() -> Result<()> {
    needs_root!();
    run::all_rows(4, &["--mode", "copy", "--workers", "4"])
}

#[test]
fn one_queue_skb() -> Result<()> {
    needs_root!();
    run::all_rows(1, &["--mode", "skb"])
}

#[test]
fn four_queues_skb() -> Result<()> {
    needs_root!();
    run::all_rows(4, &["--mode", "skb"])
}
