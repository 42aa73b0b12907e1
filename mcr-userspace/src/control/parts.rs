//! The parts of a batch, which a connection sends one by one: kept until it commits them, and gone with it.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::protocol::{ErrorCode, Operation, Request, Response};

/// Bytes that the parts of one connection may take in memory, and those of all connections.
const MOST: usize = 128 << 20;
const MOST_IN_ALL: usize = 192 << 20;
/// Bytes that an operation takes beside its texts, and one of its outputs, both rounded up.
const OPERATION: usize = 640;
const OUTPUT: usize = 256;

/// Bytes that the parts of all connections take.
#[derive(Debug, Default)]
pub(super) struct InAll(AtomicUsize);

/// What one connection has sent so far.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    in_all: &'a InAll,
    operations: Vec<Operation>,
    bytes: usize,
    /// Whether a part was refused, or a line was none: the rest must not be applied without it.
    lacks_a_part: bool,
}

impl<'a> Parts<'a> {
    pub(super) fn new(in_all: &'a InAll) -> Self {
        Self { in_all, operations: Vec::new(), bytes: 0, lacks_a_part: false }
    }

    /// A line was no request; it may have been a part.
    pub(super) fn has_missed_a_line(&mut self) {
        self.lacks_a_part = true;
    }

    /// Keeps a part, of a line of so many bytes.
    pub(super) fn keep(&mut self, operations: Vec<Operation>, line: usize) -> Response {
        let size = line + operations.iter().map(size).sum::<usize>();
        let most = if self.bytes + size > MOST {
            Some(MOST)
        } else {
            (self.in_all.0.fetch_add(size, SeqCst) + size > MOST_IN_ALL).then(|| {
                self.in_all.0.fetch_sub(size, SeqCst);
                MOST_IN_ALL
            })
        };
        if let Some(most) = most {
            self.clear();
            self.lacks_a_part = true;
            let all = if most == MOST { "a batch takes" } else { "the batches of all connections take" };
            let message =
                format!("{all} more than {} MiB of memory; write the rules into the file, and reload it", most >> 20);
            return Response::refused(ErrorCode::Unavailable, message);
        }
        self.bytes += size;
        self.operations.extend(operations);
        Response::BatchPart { operations: self.operations.len() as u64 }
    }

    /// The whole batch, of which these come last; or why it is none. Nothing is kept then.
    pub(super) fn commit(&mut self, last: Vec<Operation>, dry_run: bool) -> Result<Request, Response> {
        let mut operations = std::mem::take(&mut self.operations);
        let lacks_a_part = std::mem::take(&mut self.lacks_a_part);
        self.clear();
        if lacks_a_part {
            return Err(Response::usage("a part of this batch was refused, so none of it is applied; send it again"));
        }
        operations.extend(last);
        Ok(Request::Batch { operations, dry_run })
    }

    fn clear(&mut self) {
        self.operations = Vec::new();
        self.in_all.0.fetch_sub(std::mem::take(&mut self.bytes), SeqCst);
    }
}

impl Drop for Parts<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Bytes that an operation takes in memory beside its texts.
fn size(operation: &Operation) -> usize {
    let outputs = match &operation.request {
        Request::RuleAdd { rule, .. } => rule.output.len(),
        Request::RuleSet { change, .. } => change.output.len(),
        Request::RuleDel { names, .. } | Request::RuleSwitch { names, .. } => names.len(),
        Request::Batch { operations, .. } | Request::BatchPart { operations } => {
            return operations.iter().map(size).sum();
        }
        _ => 0,
    };
    OPERATION + OUTPUT * outputs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations(lines: std::ops::Range<u64>) -> Vec<Operation> {
        lines
            .map(|line| Operation {
                line,
                request: Request::RuleDel { name: Some(line.to_string()), names: vec![], persist: false },
            })
            .collect()
    }

    #[test]
    fn parts_are_one_batch_in_their_order() {
        let in_all = InAll::default();
        let mut parts = Parts::new(&in_all);
        assert_eq!(parts.keep(operations(0..2), 10), Response::BatchPart { operations: 2 });
        assert_eq!(parts.keep(operations(2..3), 10), Response::BatchPart { operations: 3 });
        let whole = parts.commit(operations(3..5), true);
        assert_eq!(whole, Ok(Request::Batch { operations: operations(0..5), dry_run: true }));
        assert_eq!(parts.commit(vec![], false), Ok(Request::Batch { operations: vec![], dry_run: false }));
        assert_eq!(in_all.0.load(SeqCst), 0);
        parts.keep(operations(0..2), 10);
        drop(parts);
        assert_eq!(in_all.0.load(SeqCst), 0);
    }

    #[test]
    fn a_batch_that_lacks_a_part_is_none() {
        let in_all = InAll::default();
        let mut parts = Parts::new(&in_all);
        let mut other = Parts::new(&in_all);
        other.keep(operations(0..1), MOST - 10_000);
        assert!(matches!(parts.keep(operations(0..1), MOST - 10_000), Response::Error { .. }), "all together");
        assert!(matches!(other.keep(operations(0..1), 20_000), Response::Error { .. }), "one by itself");
        assert!(matches!(parts.keep(operations(1..2), 10), Response::BatchPart { .. }));
        assert!(parts.commit(vec![], false).is_err());
        parts.has_missed_a_line();
        assert!(parts.commit(operations(0..1), false).is_err());
        assert!(parts.commit(operations(0..1), false).is_ok(), "the next one is another");
    }
}
