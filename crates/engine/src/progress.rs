//! How far the compilation of a module is.
//!
//! Used by the code that makes modules, and through `Compiling` and `Module` by embedders. Invariant: `done` never exceeds
//! `total`, and they are equal once all functions have their best code.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of function bodies: those whose best code is made, of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub done: usize,
    /// 0 before the module's functions are known.
    pub total: usize,
}

/// Counts for one module. Any thread may read it at any time.
#[derive(Debug, Default)]
pub struct Tally {
    done: AtomicUsize,
    total: AtomicUsize,
}

impl Tally {
    /// Compiling begins, perhaps not for the first time.
    pub fn begin(&self, total: usize) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    /// The best code of a body of this length is made.
    pub fn add(&self, len: usize) {
        self.done.fetch_add(len, Ordering::Relaxed);
    }

    pub fn progress(&self) -> Progress {
        let total = self.total.load(Ordering::Relaxed);
        Progress { done: self.done.load(Ordering::Relaxed).min(total), total }
    }
}
