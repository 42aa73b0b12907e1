//! The rows.

mod headers;
mod ranges;
mod choice;
mod tags;
mod outputs;
mod lengths;
mod checksums;
mod malformed;
mod host;
mod martians;

use crate::row::Table;

/// Every row.
pub fn all(table: &mut Table) {
    headers::rows(table);
    ranges::rows(table);
    choice::rows(table);
    tags::rows(table);
    outputs::rows(table);
    lengths::rows(table);
    checksums::rows(table);
    malformed::rows(table);
    host::rows(table);
    martians::rows(table);
}
