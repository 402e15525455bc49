//! The clocks a guest can read: the host's, or one that runs the same way
//! every time.
//!
//! Used by the ABI files and by `poll.rs`. Invariants: times are nanoseconds
//! in a `u64`; the host's monotonic clock is handed out as it is, so that
//! guests of one machine can compare it; a virtual clock never shows real
//! time.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys;
use crate::types::Clockid;

/// Where the times of one context come from.
#[derive(Default)]
pub enum Clock {
    #[default]
    Host,
    Virtual(VirtualClock),
}

impl Clock {
    #[inline]
    pub fn time(&self, id: Clockid) -> u64 {
        match self {
            Clock::Host => sys::clock_time(id),
            Clock::Virtual(clock) => clock.time(id),
        }
    }

    pub fn resolution(&self, id: Clockid) -> u64 {
        match self {
            Clock::Host => sys::clock_resolution(id),
            Clock::Virtual(_) => VirtualClock::TICK,
        }
    }
}

/// Time for reproducible runs. It stands still while the guest computes,
/// moves a tick each time it is read (so that a loop which waits for time to
/// pass ends), and where the guest sleeps it jumps to the end of the sleep.
pub struct VirtualClock {
    start: u64,
    elapsed: AtomicU64,
}

impl VirtualClock {
    const TICK: u64 = 1_000;

    /// `start` is what the realtime clock shows first; the others start at 0.
    pub fn new(start: u64) -> VirtualClock {
        VirtualClock { start, elapsed: AtomicU64::new(0) }
    }

    fn time(&self, id: Clockid) -> u64 {
        let elapsed = self.elapsed.fetch_add(VirtualClock::TICK, Ordering::Relaxed);
        match id {
            Clockid::Realtime => self.start.saturating_add(elapsed),
            _ => elapsed,
        }
    }

    pub fn advance(&self, nanoseconds: u64) {
        let _ = self.elapsed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |elapsed| {
            Some(elapsed.saturating_add(nanoseconds))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_time_moves_only_when_read_or_slept() {
        let clock = VirtualClock::new(1_000_000);
        assert_eq!(clock.time(Clockid::Realtime), 1_000_000);
        assert_eq!(clock.time(Clockid::Monotonic), 1_000);
        clock.advance(5_000_000);
        assert_eq!(clock.time(Clockid::Monotonic), 5_002_000);
        clock.advance(u64::MAX);
        assert_eq!(clock.time(Clockid::Realtime), u64::MAX);
    }
}
