//! The clocks a guest can read.
//!
//! Used by the ABI files and by `poll.rs`. Invariant: times are nanoseconds in
//! a `u64`; the monotonic clock is the host's own, so that guests of one
//! machine can compare it.

#![forbid(unsafe_code)]

use super::sys;
use super::types::Clockid;

#[inline]
pub fn time(id: Clockid) -> u64 {
    sys::clock_time(id)
}

pub fn resolution(id: Clockid) -> u64 {
    sys::clock_resolution(id)
}
