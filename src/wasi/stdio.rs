//! Standard streams that live in memory.
//!
//! Used by the descriptor table; the host keeps the other end. Invariants: an
//! [`InputBuffer`] only moves forward; an [`OutputBuffer`] never holds more
//! than its limit, and a write beyond it is short, then `EFBIG`.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::errno::Errno;
use super::guest::IoVecs;

/// Bytes for a guest to read, then the end of the file.
pub struct InputBuffer {
    bytes: Vec<u8>,
    position: Mutex<usize>,
}

impl InputBuffer {
    pub fn new(bytes: Vec<u8>) -> InputBuffer {
        InputBuffer {
            bytes,
            position: Mutex::new(0),
        }
    }

    pub fn read(&self, into: &IoVecs<'_>) -> usize {
        let mut position = lock(&self.position);
        let read = into.scatter(self.bytes.get(*position..).unwrap_or_default());
        *position += read;
        read
    }

    pub fn remaining(&self) -> u64 {
        (self.bytes.len() - *lock(&self.position)) as u64
    }
}

/// Takes what a guest writes. Clones share the bytes, so the host keeps one to
/// read them, during the run or after it.
#[derive(Clone)]
pub struct OutputBuffer {
    bytes: Arc<Mutex<Vec<u8>>>,
    limit: usize,
    overflowed: Arc<AtomicBool>,
}

impl OutputBuffer {
    pub fn new(limit: usize) -> OutputBuffer {
        OutputBuffer {
            bytes: Arc::default(),
            limit,
            overflowed: Arc::default(),
        }
    }

    pub fn write(&self, from: &IoVecs<'_>) -> Result<usize, Errno> {
        let mut bytes = lock(&self.bytes);
        let room = self.limit - bytes.len().min(self.limit);
        if from.total() > room {
            self.overflowed.store(true, Ordering::Relaxed);
        }
        if room == 0 && from.total() > 0 {
            return Err(Errno::Fbig);
        }
        Ok(from.gather(&mut bytes, room))
    }

    /// Whether the guest has ever tried to write more than there was room for.
    pub fn has_overflowed(&self) -> bool {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// What was written and not taken yet; makes room for more.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.bytes))
    }
}

/// A panic elsewhere leaves these values whole, so a poisoned lock is no
/// reason to fail.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
