//! How much a store's guests may have, in one place.
//!
//! Memories, tables and instances ask here when they are made and when they grow; the stack is
//! limited at each entry (`call.rs`). Invariant: a limit in force when an object was made stays
//! that object's limit.

use super::traps::Error;
use std::fmt;

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
    /// Bytes of stack from where the host enters wasm; `None` is what the engine was made with.
    pub stack_bytes: Option<usize>,
}

/// What a module asked for and is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverLimit {
    Memory { bytes: usize, limit: usize },
    Table { elements: u64, limit: u64 },
    Instances { limit: usize },
}

impl fmt::Display for OverLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OverLimit::Memory { bytes, limit } => {
                write!(f, "a memory of {bytes} bytes is over the limit of {limit}")
            }
            OverLimit::Table { elements, limit } => {
                write!(f, "a table of {elements} elements is over the limit of {limit}")
            }
            OverLimit::Instances { limit } => write!(f, "one more instance is over the limit of {limit}"),
        }
    }
}

impl Default for Limits {
    /// No limit but those of the JS API: 10,000,000 elements a table.
    fn default() -> Limits {
        Limits {
            memory_bytes: usize::MAX,
            table_elements: 10_000_000,
            instances: usize::MAX,
            stack_bytes: None,
        }
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
        let over = OverLimit::Memory { bytes, limit: self.memory_bytes };
        self.allow_memory(bytes).then_some(()).ok_or(Error::Limit(over))
    }

    pub(super) fn check_table(&self, elements: u64) -> Result<(), Error> {
        let over = OverLimit::Table { elements, limit: self.table_elements };
        self.allow_table(elements).then_some(()).ok_or(Error::Limit(over))
    }

    pub(super) fn check_instances(&self, alive: usize) -> Result<(), Error> {
        let over = OverLimit::Instances { limit: self.instances };
        (alive < self.instances).then_some(()).ok_or(Error::Limit(over))
    }
}
