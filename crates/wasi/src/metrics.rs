//! How often programs call which function, and how long that takes.
//!
//! Written by `abi/functions.rs` for contexts that have it, read by the host. Invariant: several threads may count at
//! the same time, and no count is lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::errno::Error;
use crate::names;

/// The calls of one or several programs, by function.
pub struct CallMetrics(Box<[Counter]>);

#[derive(Default)]
struct Counter {
    calls: AtomicU64,
    failed: AtomicU64,
    nanoseconds: AtomicU64,
}

/// What is known of one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    pub module: &'static str,
    pub name: &'static str,
    pub calls: u64,
    /// Those that ended with an errno.
    pub failed: u64,
    /// All of them together, the time in which they waited included.
    pub time: Duration,
}

impl Default for CallMetrics {
    fn default() -> CallMetrics {
        CallMetrics(names::all().map(|_| Counter::default()).collect())
    }
}

impl CallMetrics {
    pub(crate) fn counted(
        &self,
        number: usize,
        body: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let begin = Instant::now();
        let outcome = body();
        if let Some(counter) = self.0.get(number) {
            let time = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
            counter.calls.fetch_add(1, Ordering::Relaxed);
            counter.nanoseconds.fetch_add(time, Ordering::Relaxed);
            if matches!(outcome, Err(Error::Errno(_))) {
                counter.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        outcome
    }

    /// The functions that were called.
    pub fn calls(&self) -> impl Iterator<Item = Calls> {
        let all = names::all().zip(&self.0).map(|(function, counter)| Calls {
            module: function.module,
            name: function.name,
            calls: counter.calls.load(Ordering::Relaxed),
            failed: counter.failed.load(Ordering::Relaxed),
            time: Duration::from_nanos(counter.nanoseconds.load(Ordering::Relaxed)),
        });
        all.filter(|function| function.calls > 0)
    }
}
