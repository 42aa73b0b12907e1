//! The machine: its clock, its CPUs and what they did, its memory, and what there is to say of it.

pub mod about;
pub mod clear;
pub mod clock;
pub mod cpu;
pub mod interface;
pub mod process;
