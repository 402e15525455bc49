//! What ends a wait.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;

use crate::errno::Errno;

/// Something that another thread can make readable, once and for good.
pub struct Event(OwnedFd);

impl Event {
    pub fn new() -> Result<Event, Errno> {
        Ok(Event(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub fn set(&self) {
        // It can fail only when it is set already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    pub fn clear(&self) {
        // It can fail only when it is not set.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }

    pub fn handle(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
