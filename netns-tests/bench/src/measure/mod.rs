//! What is measured, one file each.

pub mod search;

pub mod control;
pub mod cpu;
pub mod founding;
pub mod idle;
pub mod latency;
pub mod outputs;
pub mod overload;
pub mod rules;
pub mod throughput;

mod bench;
mod lossless;

use anyhow::Result;

pub use self::bench::Bench;

/// A measure.
pub type Measure = fn(&mut Bench) -> Result<()>;

/// All of them by name, in their order: some begin where an earlier one ended.
pub const MEASURES: [(&str, Measure); 9] = [
    ("throughput", throughput::measure),
    ("outputs", outputs::measure),
    ("latency", latency::measure),
    ("cpu", cpu::measure),
    ("rules", rules::measure),
    ("control", control::measure),
    ("rest", idle::measure),
    ("overload", overload::measure),
    ("founding", founding::measure),
];
