//! The position of an open file of the host.
//!
//! Used by `fs/file.rs`. A file that this layer opened is nobody else's, so its position is kept here.
//! A seek then is no system call, and a transfer is one with an offset, which the kernel does without
//! locking the file. Invariants: reads, writes and seeks of one file see each other's
//! positions whole, from whichever thread; a file that is also somebody else's has its position at
//! the host.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::errno::Errno;
use crate::sys::{self, BorrowedHandle};
use crate::types::Whence;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Here; the host's own position means nothing.
    Here(u64),
    /// At the host, until a seek says where.
    AtHost,
    /// At the host for ever.
    Shared,
}

pub struct Position(Mutex<Kept>);

/// Every file system allows files of this size. Beyond it we ask the host.
const SURELY_VALID: u64 = 1 << 40;

impl Position {
    /// Of a file that has just been opened.
    pub fn start() -> Position {
        Position(Mutex::new(Kept::Here(0)))
    }

    /// Of a file that has no position, or whose position the host keeps.
    pub fn shared() -> Position {
        Position(Mutex::new(Kept::Shared))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves bytes at the position, and the position with them: by `at`, or by `anywhere` if the host
    /// has the position.
    #[inline]
    pub fn transfer(
        &self,
        at: impl FnOnce(u64) -> Result<usize, Errno>,
        anywhere: impl FnOnce() -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        let mut kept = self.lock();
        if let Kept::Here(offset) = *kept {
            match at(offset) {
                Ok(moved) => {
                    *kept = Kept::Here(offset + moved as u64);
                    return Ok(moved);
                }
                // A pipe, a terminal or the like.
                Err(Errno::Spipe) => *kept = Kept::AtHost,
                Err(errno) => return Err(errno),
            }
        }
        drop(kept);
        anywhere()
    }

    /// Hands the position to the host, which moves it with the end of the file when it appends.
    pub fn leave_to(&self, host: BorrowedHandle<'_>) -> Result<(), Errno> {
        let mut kept = self.lock();
        if let Kept::Here(offset) = *kept {
            give(host, offset)?;
            *kept = Kept::AtHost;
        }
        Ok(())
    }

    /// Hands it over for ever: the file will be somebody else's, too.
    pub fn share(&self, host: BorrowedHandle<'_>) -> Result<(), Errno> {
        let mut kept = self.lock();
        if let Kept::Here(offset) = *kept {
            give(host, offset)?;
        }
        *kept = Kept::Shared;
        Ok(())
    }

    /// Seeks. Unless the file is `regular`, only the host knows what a position means.
    #[inline]
    pub fn seek(
        &self,
        host: BorrowedHandle<'_>,
        regular: bool,
        offset: i64,
        whence: Whence,
    ) -> Result<u64, Errno> {
        let mut kept = self.lock();
        let now = match *kept {
            Kept::Shared => return sys::seek(host, offset, whence),
            Kept::Here(now) => Some(now),
            Kept::AtHost => None,
        };
        let wanted = match (whence, now) {
            (Whence::Set, _) => u64::try_from(offset).ok(),
            (Whence::Cur, Some(now)) => now.checked_add_signed(offset),
            _ => None,
        };
        if let Some(wanted) = wanted
            && regular
            && wanted <= SURELY_VALID
        {
            *kept = Kept::Here(wanted);
            return Ok(wanted);
        }
        // The host counts from its own position.
        if let (Whence::Cur, Some(now)) = (whence, now) {
            give(host, now)?;
        }
        let reached = sys::seek(host, offset, whence)?;
        *kept = if regular { Kept::Here(reached) } else { Kept::AtHost };
        Ok(reached)
    }
}

/// A stream has no position to be given.
fn give(host: BorrowedHandle<'_>, offset: u64) -> Result<(), Errno> {
    let offset = i64::try_from(offset).map_err(|_| Errno::Inval)?;
    match sys::seek(host, offset, Whence::Set) {
        Ok(_) | Err(Errno::Spipe) => Ok(()),
        Err(errno) => Err(errno),
    }
}
