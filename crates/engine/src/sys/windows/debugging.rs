//! What Linux's `perf` wants of a process that makes code. There is no `perf` here.
//!
//! Used by `debug/perf.rs`.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;
use windows_sys::Win32::System::Threading::GetCurrentThreadId;

/// Opens a file to append to, also if somebody in this process (V8) is writing to it. That needs a way to make the
/// other one append, too, which Windows has not.
pub fn open_shared_log(_: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

pub fn name_for_perf(_: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A clock that never goes back, in nanoseconds.
pub fn monotonic_nanoseconds() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The number of this thread.
pub fn thread_id() -> u32 {
    // SAFETY: a query without arguments.
    unsafe { GetCurrentThreadId() }
}
