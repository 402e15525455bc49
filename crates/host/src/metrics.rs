//! What the programs of one host object take.
//!
//! Written by guests as they run, read by the host. Invariant: several threads may count at the same time.

use engine::Usage;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wasi::CallMetrics;

#[derive(Default)]
pub struct Metrics {
    /// The calls of WASI functions.
    pub calls: Arc<CallMetrics>,
    /// The bytes of memories, tables and exceptions.
    pub memory: Arc<Usage>,
    started: AtomicU64,
    ended: AtomicU64,
    nanoseconds: AtomicU64,
}

/// A guest that runs until this is dropped.
pub(crate) struct Running(Arc<Metrics>);

impl Metrics {
    /// How many guests got threads of their own.
    pub fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// How many of them are there.
    pub fn running(&self) -> u64 {
        self.started().saturating_sub(self.ended.load(Ordering::Relaxed))
    }

    /// How long calls of guests on threads of their own took that have ended, what they waited for included.
    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    pub(crate) fn timed<T>(&self, call: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let result = call();
        let time = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(time, Ordering::Relaxed);
        result
    }
}

impl Running {
    pub(crate) fn of(metrics: &Arc<Metrics>) -> Running {
        metrics.started.fetch_add(1, Ordering::Relaxed);
        Running(metrics.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}
