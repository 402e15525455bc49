//! What is done to an open file.

use std::os::fd::BorrowedFd;

use rustix::fs::SeekFrom;

use super::open::open_flags;
use crate::errno::Errno;
use crate::sys::LockKind;
use crate::types::{Advice, Fdflags, Whence};

pub fn set_fdflags(fd: BorrowedFd<'_>, flags: Fdflags) -> Result<(), Errno> {
    Ok(rustix::fs::fcntl_setfl(fd, open_flags(flags))?)
}

#[inline]
pub fn seek(fd: BorrowedFd<'_>, offset: i64, whence: Whence) -> Result<u64, Errno> {
    let position = match whence {
        Whence::Set => SeekFrom::Start(u64::try_from(offset).map_err(|_| Errno::Inval)?),
        Whence::Cur => SeekFrom::Current(offset),
        Whence::End => SeekFrom::End(offset),
    };
    Ok(rustix::fs::seek(fd, position)?)
}

#[cfg(target_os = "linux")]
pub fn advise(fd: BorrowedFd<'_>, offset: u64, len: u64, advice: Advice) -> Result<(), Errno> {
    use rustix::fs::Advice as Host;
    let advice = match advice {
        Advice::Normal => Host::Normal,
        Advice::Sequential => Host::Sequential,
        Advice::Random => Host::Random,
        Advice::Willneed => Host::WillNeed,
        Advice::Dontneed => Host::DontNeed,
        Advice::Noreuse => Host::NoReuse,
    };
    Ok(rustix::fs::fadvise(fd, offset, std::num::NonZeroU64::new(len), advice)?)
}

/// macOS takes one of them. Where there are no positions the others are refused, too.
#[cfg(not(target_os = "linux"))]
pub fn advise(fd: BorrowedFd<'_>, offset: u64, len: u64, advice: Advice) -> Result<(), Errno> {
    rustix::fs::tell(fd)?;
    i64::try_from(offset).map_err(|_| Errno::Inval)?;
    match advice {
        #[cfg(target_os = "macos")]
        Advice::Willneed => Ok(rustix::fs::fcntl_rdadvise(fd, offset, len.min(i32::MAX as u64))?),
        _ => {
            let _ = len;
            Ok(())
        }
    }
}

#[cfg(target_os = "linux")]
pub fn allocate(fd: BorrowedFd<'_>, offset: u64, len: u64) -> Result<(), Errno> {
    let flags = rustix::fs::FallocateFlags::empty();
    Ok(rustix::fs::fallocate(fd, flags, offset, len)?)
}

pub fn set_size(fd: BorrowedFd<'_>, size: u64) -> Result<(), Errno> {
    Ok(rustix::fs::ftruncate(fd, size)?)
}

#[cfg(not(target_os = "macos"))]
pub fn sync(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    Ok(rustix::fs::fsync(fd)?)
}

#[cfg(not(target_os = "macos"))]
pub fn datasync(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    Ok(rustix::fs::fdatasync(fd)?)
}

/// macOS hands data to the drive by `fsync`, and this has the drive keep them. Not all file systems know it.
#[cfg(target_os = "macos")]
pub fn sync(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    Ok(rustix::fs::fcntl_fullfsync(fd).or_else(|_| rustix::fs::fsync(fd))?)
}

#[cfg(target_os = "macos")]
pub use sync as datasync;

/// Takes, changes or gives up the lock of an open file; `EAGAIN` if somebody
/// else's is in the way.
pub fn try_lock(fd: BorrowedFd<'_>, kind: Option<LockKind>) -> Result<(), Errno> {
    use rustix::fs::FlockOperation;
    let operation = match kind {
        None => FlockOperation::NonBlockingUnlock,
        Some(LockKind::Shared) => FlockOperation::NonBlockingLockShared,
        Some(LockKind::Exclusive) => FlockOperation::NonBlockingLockExclusive,
    };
    Ok(rustix::fs::flock(fd, operation)?)
}
