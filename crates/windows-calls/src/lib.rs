//! Calls of Windows that `std` has not, safe to use. Empty elsewhere.
//!
//! Used by the `sys/windows/` of the crate `wasi`, which has no unsafe code, and by the addon. Knows nothing of
//! guests. Invariant: a handle is borrowed from its owner, so it is open during the call.

#![cfg(windows)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod directory;
mod file;
mod wait;

pub use directory::{Listed, list};
pub use file::{Identity, Kind, Times, identity, is_console, kind, path, reopen, times_of_file};
pub use wait::{Event, Thread, pending_input, process_time, thread_time, wait_for_any};

use std::io;

fn result(succeeded: i32) -> io::Result<()> {
    if succeeded != 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
