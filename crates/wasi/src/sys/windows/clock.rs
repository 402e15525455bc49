//! Clocks.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::types::{Clockid, Timestamp};

#[inline]
pub fn clock_time(id: Clockid) -> Timestamp {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = match id {
        Clockid::Realtime => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        // It counts from when somebody asked first.
        Clockid::Monotonic => START.get_or_init(Instant::now).elapsed(),
        Clockid::ProcessCputimeId => windows_calls::process_time(),
        Clockid::ThreadCputimeId => windows_calls::thread_time(),
    };
    Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// The steps in which Windows tells times.
pub fn clock_resolution(id: Clockid) -> Duration {
    match id {
        Clockid::Realtime | Clockid::Monotonic => Duration::from_nanos(100),
        // A tick of the scheduler.
        Clockid::ProcessCputimeId | Clockid::ThreadCputimeId => Duration::from_nanos(15_625_000),
    }
}
