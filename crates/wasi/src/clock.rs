//! The clocks a guest can read: the host's, or one that runs the same way
//! every time.
//!
//! Used by `abi/`, `poll.rs` and file systems in memory. Invariants: the host's monotonic clock is
//! handed out as it is, so that guests of one machine can compare it; a virtual clock never shows real
//! time.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::sys;
use crate::types::{Clockid, Timestamp};

/// Where the times of one context come from.
pub enum Clock {
    Host(HostClock),
    Virtual(VirtualClock),
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::Host(HostClock::default())
    }
}

impl Clock {
    #[inline]
    pub fn time(&self, id: Clockid) -> Timestamp {
        match self {
            Clock::Host(_) => sys::clock_time(id),
            Clock::Virtual(clock) => clock.time(id),
        }
    }

    #[inline]
    pub fn resolution(&self, id: Clockid) -> Duration {
        match self {
            Clock::Host(clock) => clock.resolution(id),
            Clock::Virtual(_) => VirtualClock::TICK,
        }
    }
}

/// The host's clocks, whose resolutions are asked once: they do not change.
#[derive(Default)]
pub struct HostClock {
    resolutions: [OnceLock<Duration>; 4],
}

impl HostClock {
    #[inline]
    fn resolution(&self, id: Clockid) -> Duration {
        let ask = || sys::clock_resolution(id);
        self.resolutions.get(id as usize).map_or_else(ask, |known| *known.get_or_init(ask))
    }
}

/// Time for reproducible runs. It stands still while the guest computes and moves a tick each time it is
/// read, so that a loop which waits for time to pass ends. Where the guest sleeps, it jumps to the end of
/// the sleep.
pub struct VirtualClock {
    start: u64,
    elapsed: AtomicU64,
}

impl VirtualClock {
    const TICK: Duration = Duration::from_micros(1);

    /// `start` is what the realtime clock shows first; the others start at 0.
    pub fn new(start: u64) -> VirtualClock {
        VirtualClock { start, elapsed: AtomicU64::new(0) }
    }

    fn time(&self, id: Clockid) -> Timestamp {
        let elapsed = self.elapsed.fetch_add(VirtualClock::TICK.as_nanos() as u64, Ordering::Relaxed);
        Timestamp::from_nanos(match id {
            Clockid::Realtime => self.start.saturating_add(elapsed),
            _ => elapsed,
        })
    }

    pub fn advance(&self, by: Duration) {
        let nanoseconds = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
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
        let time = |id| clock.time(id).as_nanos();
        assert_eq!(time(Clockid::Realtime), 1_000_000);
        assert_eq!(time(Clockid::Monotonic), 1_000);
        clock.advance(Duration::from_millis(5));
        assert_eq!(time(Clockid::Monotonic), 5_002_000);
        clock.advance(Duration::MAX);
        assert_eq!(time(Clockid::Realtime), u64::MAX);
    }
}
