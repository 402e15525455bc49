//! A thread that watches deadlines for others.
//!
//! Used by the addon. Knows neither engine nor WASI. Invariant: a watched object is told once, at its
//! deadline or later, on the watchdog's thread, if somebody else still keeps it alive. The thread ends with
//! the `Watchdog`.

use engine::pin_library;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::Builder;
use std::time::Instant;

/// An object with a deadline.
pub trait Timed: Send + Sync {
    /// The time is over. Must not block for long.
    fn expire(&self);
}

pub struct Watchdog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    entries: BinaryHeap<Entry>,
    ended: bool,
}

struct Entry {
    at: Instant,
    what: Weak<dyn Timed>,
}

/// The earliest entry is the greatest, because a `BinaryHeap` pops the greatest first.
impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

impl Watchdog {
    /// # Errors
    /// If the system cannot create a thread.
    pub fn start() -> io::Result<Watchdog> {
        pin_library();
        let shared = Arc::<Shared>::default();
        let of_thread = shared.clone();
        Builder::new().name("wasi-native watchdog".into()).spawn(move || of_thread.serve())?;
        Ok(Watchdog(shared))
    }

    /// Calls `what.expire()` at the time `at`, if `what` still exists then.
    pub fn watch(&self, at: Instant, what: Weak<dyn Timed>) {
        let mut state = self.0.lock();
        // Most calls end long before their deadline. Their entries must not pile up.
        if state.entries.len() == state.entries.capacity() {
            state.entries.retain(|entry| entry.what.strong_count() > 0);
        }
        state.entries.push(Entry { at, what });
        self.0.changed.notify_one();
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut state = self.lock();
        while !state.ended {
            let now = Instant::now();
            let next = state.entries.peek().map(|entry| entry.at.saturating_duration_since(now));
            state = match next {
                Some(left) if left.is_zero() => {
                    let due = state.entries.pop().and_then(|entry| entry.what.upgrade());
                    drop(state);
                    if let Some(due) = due {
                        due.expire();
                    }
                    self.lock()
                }
                Some(left) => {
                    let woken = self.changed.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}
