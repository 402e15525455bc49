//! Looks at where a thread is: not yet on Windows.
//!
//! Used by `runtime/vm/profile/`, which says so. There are no signals: the thread would be suspended, and what its
//! handler reads of its own would have to be found from outside.

use crate::sys::Registers;
use std::io;

/// Called on the interrupted thread.
type Handler = fn(Registers);

/// A thread that can be interrupted as long as it exists.
pub struct Thread {}

impl Thread {
    /// The calling thread.
    pub fn current() -> io::Result<Thread> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Nanoseconds that the thread has been running on a processor. `None` if the system does not tell.
    ///
    /// # Safety
    /// The thread exists.
    pub unsafe fn cpu_time(&self) -> Option<u64> {
        None
    }

    /// Has the handler run on the thread. False if it cannot be reached.
    ///
    /// # Safety
    /// The thread exists.
    pub unsafe fn interrupt(&self) -> bool {
        false
    }
}

pub fn install_sampling_handler(_: Handler) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "threads cannot be sampled on Windows yet"))
}
