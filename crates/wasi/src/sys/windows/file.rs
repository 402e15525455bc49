//! What is done to an open file.

use std::fs::{File, TryLockError};
use std::io::{Seek, SeekFrom};

use super::stat::{fstat, is_on_disk};
use crate::errno::Errno;
use crate::sys::{BorrowedHandle, LockKind};
use crate::types::{Advice, Fdflags, Filetype, Whence};

/// The open file once more, for what std does to files: position and locks are the same.
pub(super) fn file(handle: BorrowedHandle<'_>) -> Result<File, Errno> {
    Ok(handle.try_clone_to_owned()?.into())
}

/// Appending and not waiting are what each transfer is told. The others are settled when a file is opened.
pub fn set_fdflags(_: BorrowedHandle<'_>, _: Fdflags) -> Result<(), Errno> {
    Ok(())
}

pub fn seek(handle: BorrowedHandle<'_>, offset: i64, whence: Whence) -> Result<u64, Errno> {
    if !is_on_disk(handle) {
        return Err(Errno::Spipe);
    }
    let position = match whence {
        Whence::Set => SeekFrom::Start(u64::try_from(offset).map_err(|_| Errno::Inval)?),
        Whence::Cur => SeekFrom::Current(offset),
        Whence::End => SeekFrom::End(offset),
    };
    Ok(file(handle)?.seek(position)?)
}

/// Windows takes no advice about an open file. Where there are no positions it is refused.
pub fn advise(handle: BorrowedHandle<'_>, offset: u64, _: u64, _: Advice) -> Result<(), Errno> {
    if !is_on_disk(handle) {
        return Err(Errno::Spipe);
    }
    i64::try_from(offset).map_err(|_| Errno::Inval)?;
    Ok(())
}

/// What lies beyond the end of a file is made, which becomes so long. What it has already stays as it is.
pub fn allocate(handle: BorrowedHandle<'_>, offset: u64, len: u64) -> Result<(), Errno> {
    let end = offset.checked_add(len).ok_or(Errno::Fbig)?;
    if i64::try_from(end).is_err() {
        return Err(Errno::Fbig);
    }
    let file = file(handle)?;
    if end > file.metadata()?.len() {
        file.set_len(end)?;
    }
    Ok(())
}

pub fn set_size(handle: BorrowedHandle<'_>, size: u64) -> Result<(), Errno> {
    i64::try_from(size).map_err(|_| Errno::Fbig)?;
    Ok(file(handle)?.set_len(size)?)
}

/// What cannot be written to has nothing to be kept, and Windows refuses to.
pub fn sync(handle: BorrowedHandle<'_>) -> Result<(), Errno> {
    match file(handle)?.sync_all().map_err(Errno::from) {
        Err(Errno::Acces) if is_on_disk(handle) => Ok(()),
        done => done,
    }
}

pub use sync as datasync;

/// Takes, changes or gives up the lock of an open file; `EAGAIN` if somebody
/// else's is in the way.
pub fn try_lock(handle: BorrowedHandle<'_>, kind: Option<LockKind>) -> Result<(), Errno> {
    // Windows locks bytes, of which a directory has none.
    if fstat(handle)?.filetype == Filetype::Directory {
        return Err(Errno::Notsup);
    }
    let file = file(handle)?;
    // A lock is not changed but taken beside the other. To have none is no error.
    let _ = file.unlock();
    let taken = match kind {
        None => return Ok(()),
        Some(LockKind::Shared) => file.try_lock_shared(),
        Some(LockKind::Exclusive) => file.try_lock(),
    };
    taken.map_err(|error| match error {
        TryLockError::WouldBlock => Errno::Again,
        TryLockError::Error(error) => error.into(),
    })
}
