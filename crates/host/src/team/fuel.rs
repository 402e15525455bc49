//! The fuel of a guest with several threads.
//!
//! Used by `team` and `thread`. Invariant: what the threads have together and what is in the tank never grows by
//! itself, so all of them together execute no more operators than the guest was given.

use std::sync::atomic::{AtomicU64, Ordering};

/// Fuel that any thread of a guest may take.
pub struct Tank(AtomicU64);

/// The most that a thread takes at a time, and the least: seldom enough to cost nothing.
const MOST: u64 = 1 << 20;
const LEAST: u64 = 1 << 10;

/// What part of the fuel a thread takes, so that others find some.
const PART: u64 = 64;

impl Tank {
    pub fn new(fuel: u64) -> Tank {
        Tank(AtomicU64::new(fuel))
    }

    pub fn left(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, fuel: u64) {
        self.0.store(fuel, Ordering::Relaxed);
    }

    /// Takes at most so much.
    pub fn take(&self, most: u64) -> u64 {
        let taken =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left - most.min(left)));
        taken.map_or(0, |left| most.min(left))
    }

    /// Takes what a thread needs for a while; 0 if nothing is left.
    pub fn take_some(&self) -> u64 {
        self.take((self.left() / PART).clamp(LEAST, MOST))
    }

    pub fn give(&self, fuel: u64) {
        let _ =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_add(fuel)));
    }
}
