//! The memories of a guest while it is idle.

use guest_memory::GuestMemory;

/// Where a memory lies while its guest is idle.
#[derive(Clone, Copy)]
pub(super) struct IdleMemory {
    pub(super) base: *mut u8,
    pub(super) length: usize,
}

// SAFETY: a place in memory; `Shared::idle_memories` says when it may be used.
unsafe impl Send for IdleMemory {}

/// Why the bytes of a memory cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryError {
    /// The guest is at work or has ended.
    NotIdle,
    OutOfBounds {
        size: usize,
    },
    /// For a copy of so many bytes.
    NoRoom {
        length: usize,
    },
}

impl IdleMemory {
    /// Copies `length` bytes out of the memory or into it.
    ///
    /// # Safety
    /// The guest is idle, and stays so meanwhile.
    pub(super) unsafe fn copy<T>(
        self,
        length: usize,
        copy: impl FnOnce(GuestMemory<'_>) -> Result<T, guest_memory::Error>,
    ) -> Result<T, MemoryError> {
        // SAFETY: an idle guest neither moves its memories nor lets them go.
        let memory = unsafe { GuestMemory::from_raw(self.base, self.length) };
        copy(memory).map_err(|error| match error {
            guest_memory::Error::OutOfBounds => MemoryError::OutOfBounds { size: self.length },
            _ => MemoryError::NoRoom { length },
        })
    }
}
