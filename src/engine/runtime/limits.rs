//! How much a store's guests may have, in one place.
//!
//! Memories, tables and instances ask here when they are made and when they grow. Invariant: a
//! limit in force when an object was made stays that object's limit.

use super::traps::Error;

/// The most a store gives its guests. Shared memories count when they are made; their growth is
/// limited by their type alone, as several stores may use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one memory.
    pub memory_bytes: usize,
    /// Elements of one table.
    pub table_elements: u64,
    /// Instances alive at the same time.
    pub instances: usize,
}

impl Default for Limits {
    /// No limit but those of the JS API: 10,000,000 elements a table.
    fn default() -> Limits {
        Limits { memory_bytes: usize::MAX, table_elements: 10_000_000, instances: usize::MAX }
    }
}

impl Limits {
    pub(super) fn allow_memory(&self, bytes: usize) -> bool {
        bytes <= self.memory_bytes
    }

    pub(super) fn allow_table(&self, elements: u64) -> bool {
        elements <= self.table_elements
    }

    pub(super) fn check_memory(&self, bytes: usize) -> Result<(), Error> {
        let Limits { memory_bytes, .. } = self;
        check(self.allow_memory(bytes), || format!("a memory of {bytes} bytes is over the limit of {memory_bytes}"))
    }

    pub(super) fn check_table(&self, elements: u64) -> Result<(), Error> {
        let Limits { table_elements, .. } = self;
        check(self.allow_table(elements), || {
            format!("a table of {elements} elements is over the limit of {table_elements}")
        })
    }

    pub(super) fn check_instances(&self, alive: usize) -> Result<(), Error> {
        let Limits { instances, .. } = self;
        check(alive < *instances, || format!("one more instance is over the limit of {instances}"))
    }
}

fn check(allowed: bool, message: impl FnOnce() -> String) -> Result<(), Error> {
    if allowed { Ok(()) } else { Err(Error::Internal(message())) }
}
