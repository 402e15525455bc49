//! Clocks.

// The widths of the fields of `timespec` differ among Unixes.
#![allow(clippy::unnecessary_cast)]

use std::time::Duration;

use crate::types::{Clockid, Timestamp};

fn clock(id: Clockid) -> rustix::time::ClockId {
    match id {
        Clockid::Realtime => rustix::time::ClockId::Realtime,
        Clockid::Monotonic => rustix::time::ClockId::Monotonic,
        Clockid::ProcessCputimeId => rustix::time::ClockId::ProcessCPUTime,
        Clockid::ThreadCputimeId => rustix::time::ClockId::ThreadCPUTime,
    }
}

#[inline]
pub fn clock_time(id: Clockid) -> Timestamp {
    let now = rustix::time::clock_gettime(clock(id));
    Timestamp::from_parts(now.tv_sec as i64, now.tv_nsec as u64)
}

pub fn clock_resolution(id: Clockid) -> Duration {
    let resolution = rustix::time::clock_getres(clock(id));
    Duration::new(resolution.tv_sec as u64, resolution.tv_nsec as u32)
}
