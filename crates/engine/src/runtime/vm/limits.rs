//! The limits on what a store's guests may use, in one place.
//!
//! Memories, tables and exceptions check them when they are made and when they grow. The
//! stack is limited at each entry (`call.rs`). Invariant: the limits in force when an object was made
//! remain that object's limits.

use super::traps::Error;
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

/// The most that a store gives its guests. The growth of a shared memory is charged to the store whose
/// wasm grew it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one memory.
    pub memory_bytes: usize,
    /// Elements of one table.
    pub table_elements: u64,
    /// Bytes of all memories, tables and live exceptions together.
    pub total_bytes: usize,
    /// Bytes of stack from the place where the host enters wasm. `None` means the engine's setting.
    pub stack_bytes: Option<usize>,
}

/// Which limit a module's request exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverLimit {
    Memory { bytes: usize, limit: usize },
    Table { elements: u64, limit: u64 },
    Total { bytes: usize, limit: usize },
    Exceptions { limit: usize },
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
            OverLimit::Total { bytes, limit } => {
                write!(f, "{bytes} bytes in all memories and tables are over the limit of {limit}")
            }
            OverLimit::Exceptions { limit } => {
                write!(f, "the exceptions that are alive take more than {limit} bytes")
            }
        }
    }
}

impl Default for Limits {
    /// No limits except those of the JS API: 10,000,000 elements per table.
    fn default() -> Limits {
        Limits {
            memory_bytes: usize::MAX,
            table_elements: 10_000_000,
            total_bytes: usize::MAX,
            stack_bytes: None,
        }
    }
}

impl Limits {
    pub(crate) fn allow_memory(&self, bytes: usize) -> bool {
        bytes <= self.memory_bytes
    }

    pub(crate) fn allow_table(&self, elements: u64) -> bool {
        elements <= self.table_elements
    }

    pub(crate) fn check_memory(&self, bytes: usize) -> Result<(), Error> {
        let over = OverLimit::Memory { bytes, limit: self.memory_bytes };
        self.allow_memory(bytes).then_some(()).ok_or(Error::Limit(over))
    }

    pub(crate) fn check_table(&self, elements: u64) -> Result<(), Error> {
        let over = OverLimit::Table { elements, limit: self.table_elements };
        self.allow_table(elements).then_some(()).ok_or(Error::Limit(over))
    }
}

/// What is left of [`Limits::total_bytes`], shared by all objects that are counted together.
#[derive(Clone)]
pub struct Budget(Rc<Counts>);

struct Counts {
    limit: usize,
    used: Cell<usize>,
}

impl Budget {
    pub fn new(limit: usize) -> Budget {
        Budget(Rc::new(Counts { limit, used: Cell::new(0) }))
    }
}

/// The bytes of an object, counted in its program's budget and in its store's total.
pub(crate) struct Charge {
    budget: Budget,
    of_store: Rc<Cell<usize>>,
    bytes: Cell<usize>,
}

impl Charge {
    /// A charge of zero bytes.
    pub(crate) fn new(budget: Budget, of_store: Rc<Cell<usize>>) -> Charge {
        Charge { budget, of_store, bytes: Cell::new(0) }
    }

    /// Changes the charge to `bytes`. Fails if that exceeds the limit.
    pub(crate) fn set(&self, bytes: usize) -> Result<(), Error> {
        let Counts { limit, used } = &*self.budget.0;
        let before = self.bytes.get();
        let total = (used.get() - before).saturating_add(bytes);
        if bytes > before && total > *limit {
            return Err(Error::Limit(OverLimit::Total { bytes: total, limit: *limit }));
        }
        used.set(total);
        self.of_store.set((self.of_store.get() - before).saturating_add(bytes));
        self.bytes.set(bytes);
        Ok(())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.get()
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        // A smaller charge cannot fail.
        let _ = self.set(0);
    }
}
