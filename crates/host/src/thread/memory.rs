//! The memories of a guest while it is idle.

use guest_memory::GuestMemory;

/// The address and length of a memory while its guest is idle.
#[derive(Clone, Copy)]
pub(super) struct IdleMemory {
    pub(super) base: *mut u8,
    pub(super) length: usize,
}

// SAFETY: this is only an address and a length. `Shared::idle_memories` says when they may be used.
unsafe impl Send for IdleMemory {}

/// Why the bytes of a memory cannot be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryError {
    /// The guest is running or has ended.
    NotIdle,
    OutOfBounds {
        size: usize,
    },
    /// There is no room for a copy of this many bytes.
    NoRoom {
        length: usize,
    },
}

impl IdleMemory {
    /// Runs a `copy` of `length` bytes out of the memory or into it.
    ///
    /// # Safety
    /// The guest is idle, and stays idle during the copy, or the memory is shared and somebody holds it.
    pub(super) unsafe fn copy<T>(
        self,
        length: usize,
        copy: impl FnOnce(GuestMemory<'_>) -> Result<T, guest_memory::Error>,
    ) -> Result<T, MemoryError> {
        // SAFETY: an idle guest neither moves nor frees its memories, and a shared memory never moves.
        let memory = unsafe { GuestMemory::from_raw(self.base, self.length) };
        copy(memory).map_err(|error| match error {
            guest_memory::Error::OutOfBounds => MemoryError::OutOfBounds { size: self.length },
            _ => MemoryError::NoRoom { length },
        })
    }
}
