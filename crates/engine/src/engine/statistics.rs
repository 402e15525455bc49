//! What it took to make an engine's modules.
//!
//! Written where modules are made, read by embedders. Invariant: a module counts once, when it is made, and not each
//! time that it is found.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Sums over all modules of an engine, those that are gone included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Modules that were compiled.
    pub compiled: u64,
    /// Their bytes.
    pub compiled_bytes: u64,
    /// The time until they could run. Functions that are compiled later are not in it.
    pub compile_time: Duration,
    /// Modules whose code the cache had.
    pub from_cache: u64,
}

impl AddAssign for Statistics {
    fn add_assign(&mut self, other: Statistics) {
        self.compiled += other.compiled;
        self.compiled_bytes += other.compiled_bytes;
        self.compile_time += other.compile_time;
        self.from_cache += other.from_cache;
    }
}

#[derive(Default)]
pub struct Counts {
    compiled: AtomicU64,
    compiled_bytes: AtomicU64,
    compile_time: AtomicU64,
    from_cache: AtomicU64,
}

impl Counts {
    pub fn compiled(&self, bytes: usize, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.compiled.fetch_add(1, Ordering::Relaxed);
        self.compiled_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.compile_time.fetch_add(time, Ordering::Relaxed);
    }

    pub fn found_in_cache(&self) {
        self.from_cache.fetch_add(1, Ordering::Relaxed);
    }

    pub fn read(&self) -> Statistics {
        Statistics {
            compiled: self.compiled.load(Ordering::Relaxed),
            compiled_bytes: self.compiled_bytes.load(Ordering::Relaxed),
            compile_time: Duration::from_nanos(self.compile_time.load(Ordering::Relaxed)),
            from_cache: self.from_cache.load(Ordering::Relaxed),
        }
    }
}
