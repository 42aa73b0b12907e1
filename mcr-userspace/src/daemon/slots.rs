//! Which slots of the kernel's counters are free.

/// Slots beyond the limit of rules: for rules that are gone, while packets of theirs may still be under way.
pub const QUARANTINE: u32 = 4096;

/// The free slots.
#[derive(Debug)]
pub struct Slots {
    free: Vec<u32>,
    next: u32,
    total: u32,
}

impl Slots {
    /// Slots for so many rules.
    pub fn new(rules: u32) -> Self {
        Self { free: Vec::new(), next: 0, total: Self::total(rules) }
    }

    /// Slots that so many rules need.
    pub const fn total(rules: u32) -> u32 {
        rules.saturating_add(QUARANTINE)
    }

    /// A slot whose counters are zero and that no packet carries.
    pub fn take(&mut self) -> Option<u32> {
        self.free.pop().or_else(|| {
            (self.next < self.total).then(|| {
                self.next += 1;
                self.next - 1
            })
        })
    }

    /// How many can be taken.
    pub fn left(&self) -> usize {
        self.free.len() + (self.total - self.next) as usize
    }

    /// Puts a slot back.
    pub fn put(&mut self, slot: u32) {
        self.free.push(slot);
    }
}
