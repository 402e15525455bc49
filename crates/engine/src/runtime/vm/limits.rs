//! The limits on what a store's guests may use, in one place.
//!
//! Memories, tables and exceptions check them when they are made and when they grow. The
//! stack is limited at each entry (`call.rs`). Invariant: the limits in force when an object was made
//! remain that object's limits.

use super::traps::Error;
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most that a store gives its guests. The growth of a shared memory is charged to the store whose
/// wasm grew it, until the memory goes.
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

/// What is left of [`Limits::total_bytes`], shared by all objects that are counted together, also by those of
/// several stores on their threads.
#[derive(Clone)]
pub struct Budget(Arc<Counts>);

struct Counts {
    limit: usize,
    used: AtomicUsize,
    usage: Option<Arc<Usage>>,
}

/// The bytes that several budgets have given out together.
#[derive(Default)]
pub struct Usage {
    bytes: AtomicUsize,
    most: AtomicUsize,
}

impl Usage {
    /// Now.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The most at any time.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    fn change(&self, before: usize, bytes: usize) {
        match bytes.checked_sub(before) {
            None => drop(self.bytes.fetch_sub(before - bytes, Ordering::Relaxed)),
            Some(more) => {
                let bytes = self.bytes.fetch_add(more, Ordering::Relaxed) + more;
                self.most.fetch_max(bytes, Ordering::Relaxed);
            }
        }
    }
}

impl Budget {
    pub fn new(limit: usize) -> Budget {
        Budget(Arc::new(Counts { limit, used: AtomicUsize::new(0), usage: None }))
    }

    /// What it gives out is counted in `usage`, too.
    pub fn counted(limit: usize, usage: Arc<Usage>) -> Budget {
        Budget(Arc::new(Counts { limit, used: AtomicUsize::new(0), usage: Some(usage) }))
    }

    /// Counts `bytes` in place of `before`. Fails if that exceeds the limit.
    fn change(&self, before: usize, bytes: usize) -> Result<(), Error> {
        let Counts { limit, used, usage } = &*self.0;
        let changed = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let total = (used - before).saturating_add(bytes);
            (bytes <= before || total <= *limit).then_some(total)
        });
        let over =
            |used: usize| OverLimit::Total { bytes: (used - before).saturating_add(bytes), limit: *limit };
        changed.map_err(|used| Error::Limit(over(used)))?;
        if let Some(usage) = usage {
            usage.change(before, bytes);
        }
        Ok(())
    }

    fn same(&self, other: &Budget) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The bytes of a shared memory, counted in the budgets of those that made and grew it, until it goes.
#[derive(Default)]
pub(crate) struct SharedCharges(Vec<(Budget, usize)>);

impl SharedCharges {
    /// Counts so many bytes more. Fails if that exceeds the limit of the budget.
    pub(crate) fn add(&mut self, budget: &Budget, bytes: usize) -> Result<(), Error> {
        budget.change(0, bytes)?;
        match self.0.iter_mut().find(|(other, _)| other.same(budget)) {
            Some((_, counted)) => *counted += bytes,
            None => self.0.push((budget.clone(), bytes)),
        }
        Ok(())
    }

    /// Takes back what was just added.
    pub(crate) fn take_back(&mut self, budget: &Budget, bytes: usize) {
        if let Some((_, counted)) = self.0.iter_mut().find(|(other, _)| other.same(budget)) {
            *counted -= bytes;
            // A smaller count cannot fail.
            let _ = budget.change(bytes, 0);
        }
    }
}

impl Drop for SharedCharges {
    fn drop(&mut self) {
        for (budget, bytes) in &self.0 {
            // A smaller count cannot fail.
            let _ = budget.change(*bytes, 0);
        }
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
        let before = self.bytes.get();
        self.budget.change(before, bytes)?;
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
