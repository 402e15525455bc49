//! Standard streams that live in memory.
//!
//! Used by the descriptor table; the host keeps the other end. Invariants: an
//! [`InputBuffer`] only moves forward; an [`OutputBuffer`] never holds more
//! than its limit. A write beyond it ends the guest, or is short and then
//! `EFBIG`, as whoever made the buffer chose.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::errno::{Ending, Errno, Error, OutputLimit};
use guest_memory::IoVecs;

/// Bytes for a guest to read, then the end of the file.
pub struct InputBuffer {
    bytes: Vec<u8>,
    position: Mutex<usize>,
}

impl InputBuffer {
    pub fn new(bytes: Vec<u8>) -> InputBuffer {
        InputBuffer { bytes, position: Mutex::new(0) }
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
    /// The name of the stream, if what goes beyond the limit ends the guest.
    ends: Option<&'static str>,
}

impl OutputBuffer {
    /// One whose writes are short at the limit, and then `EFBIG`: for a host
    /// that takes out what is written as it comes.
    pub fn new(limit: usize) -> OutputBuffer {
        OutputBuffer { bytes: Arc::default(), limit, ends: None }
    }

    /// One that takes what fits and then ends the guest: for a host that keeps
    /// all of a stream, which is called `name`.
    pub fn capture(name: &'static str, limit: usize) -> OutputBuffer {
        OutputBuffer { ends: Some(name), ..OutputBuffer::new(limit) }
    }

    pub fn write(&self, from: &IoVecs<'_>) -> Result<usize, Error> {
        let mut bytes = lock(&self.bytes);
        let room = self.limit - bytes.len().min(self.limit);
        let written = from.gather(&mut bytes, room)?;
        match self.ends {
            Some(stream) if from.total() > room => {
                Err(Ending::OutputLimit(OutputLimit { stream, limit: self.limit }).into())
            }
            None if room == 0 && from.total() > 0 => Err(Errno::Fbig.into()),
            _ => Ok(written),
        }
    }

    /// A copy of what was written and not taken yet.
    pub fn peek(&self) -> Vec<u8> {
        lock(&self.bytes).clone()
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
