//! The vectored calls themselves, on raw iovecs. They use libc because
//! every safe wrapper needs Rust slices, and guest memory must not become one.
//!
//! Used only by `iovecs.rs`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

pub type Handle<'a> = BorrowedFd<'a>;

pub type RawIoVec = libc::iovec;

/// `IOV_MAX`: the most buffers that the vectored calls accept, on every Unix that we know.
pub const MOST: usize = 1024;

#[inline]
pub fn raw_iovec(base: *mut u8, len: usize) -> RawIoVec {
    libc::iovec { iov_base: base.cast(), iov_len: len }
}

#[inline]
pub fn iovec_parts(entry: &RawIoVec) -> (*mut u8, usize) {
    (entry.iov_base.cast(), entry.iov_len)
}

fn invalid() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

#[inline]
fn moved(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

#[inline]
fn count(entries: &[RawIoVec]) -> io::Result<libc::c_int> {
    libc::c_int::try_from(entries.len()).map_err(|_| invalid())
}

#[inline]
fn position(offset: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(offset).map_err(|_| invalid())
}

// A single buffer is by far the most common. It uses the plain call, for
// which the kernel has no array to copy in and check.

/// The plain calls as system calls. Those of the C library are cancellation points,
/// which costs some preparation in each call. Our threads are never cancelled.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod plain {
    use super::RawIoVec;
    use libc::{SYS_pread64, SYS_pwrite64, SYS_read, SYS_write, c_int, off_t, syscall};

    // Safety, for these four: as for `readv`.

    #[inline]
    pub unsafe fn read(fd: c_int, one: &RawIoVec) -> isize {
        // SAFETY: here and below, by the caller's promise.
        unsafe { syscall(SYS_read, fd, one.iov_base, one.iov_len) as isize }
    }

    #[inline]
    pub unsafe fn write(fd: c_int, one: &RawIoVec) -> isize {
        // SAFETY: as in `read`.
        unsafe { syscall(SYS_write, fd, one.iov_base, one.iov_len) as isize }
    }

    #[inline]
    pub unsafe fn pread(fd: c_int, one: &RawIoVec, at: off_t) -> isize {
        // SAFETY: as in `read`.
        unsafe { syscall(SYS_pread64, fd, one.iov_base, one.iov_len, at) as isize }
    }

    #[inline]
    pub unsafe fn pwrite(fd: c_int, one: &RawIoVec, at: off_t) -> isize {
        // SAFETY: as in `read`.
        unsafe { syscall(SYS_pwrite64, fd, one.iov_base, one.iov_len, at) as isize }
    }
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
mod plain {
    use super::RawIoVec;
    use libc::{c_int, off_t};

    // Safety, for these four: as for `readv`.

    #[inline]
    pub unsafe fn read(fd: c_int, one: &RawIoVec) -> isize {
        // SAFETY: here and below, by the caller's promise.
        unsafe { libc::read(fd, one.iov_base, one.iov_len) }
    }

    #[inline]
    pub unsafe fn write(fd: c_int, one: &RawIoVec) -> isize {
        // SAFETY: as in `read`.
        unsafe { libc::write(fd, one.iov_base, one.iov_len) }
    }

    #[inline]
    pub unsafe fn pread(fd: c_int, one: &RawIoVec, at: off_t) -> isize {
        // SAFETY: as in `read`.
        unsafe { libc::pread(fd, one.iov_base, one.iov_len, at) }
    }

    #[inline]
    pub unsafe fn pwrite(fd: c_int, one: &RawIoVec, at: off_t) -> isize {
        // SAFETY: as in `read`.
        unsafe { libc::pwrite(fd, one.iov_base, one.iov_len, at) }
    }
}

/// # Safety
/// For these six: the entries describe memory that is writable (for writes: readable) and stays mapped during
/// the call.
#[inline]
pub unsafe fn readv(fd: BorrowedFd<'_>, entries: &[RawIoVec]) -> io::Result<usize> {
    let fd = fd.as_raw_fd();
    moved(match entries {
        // SAFETY: by this function's contract.
        [one] => unsafe { plain::read(fd, one) },
        // SAFETY: by this function's contract, and the kernel reads as many entries as there are.
        _ => unsafe { libc::readv(fd, entries.as_ptr(), count(entries)?) },
    })
}

#[inline]
pub unsafe fn writev(fd: BorrowedFd<'_>, entries: &[RawIoVec]) -> io::Result<usize> {
    let fd = fd.as_raw_fd();
    moved(match entries {
        // SAFETY: by this function's contract.
        [one] => unsafe { plain::write(fd, one) },
        // SAFETY: by this function's contract, and the kernel reads as many entries as there are.
        _ => unsafe { libc::writev(fd, entries.as_ptr(), count(entries)?) },
    })
}

#[inline]
pub unsafe fn preadv(fd: BorrowedFd<'_>, entries: &[RawIoVec], offset: u64) -> io::Result<usize> {
    let (fd, at) = (fd.as_raw_fd(), position(offset)?);
    moved(match entries {
        // SAFETY: by this function's contract.
        [one] => unsafe { plain::pread(fd, one, at) },
        // SAFETY: by this function's contract, and the kernel reads as many entries as there are.
        _ => unsafe { libc::preadv(fd, entries.as_ptr(), count(entries)?, at) },
    })
}

#[inline]
pub unsafe fn pwritev(fd: BorrowedFd<'_>, entries: &[RawIoVec], offset: u64) -> io::Result<usize> {
    let (fd, at) = (fd.as_raw_fd(), position(offset)?);
    moved(match entries {
        // SAFETY: by this function's contract.
        [one] => unsafe { plain::pwrite(fd, one, at) },
        // SAFETY: by this function's contract, and the kernel reads as many entries as there are.
        _ => unsafe { libc::pwritev(fd, entries.as_ptr(), count(entries)?, at) },
    })
}

/// What can be moved without waiting, and `EAGAIN` if that is nothing. Where the kernel has no such call for what is open,
/// it is asked whether that is ready: then the plain call does not wait, if a write is no longer than what a pipe takes as
/// one.
///
/// # Safety
/// As for the six above.
pub unsafe fn readv_now(fd: BorrowedFd<'_>, entries: &[RawIoVec]) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    // SAFETY: by this function's contract.
    if let Some(read) = unsafe { now(libc::SYS_preadv2, fd, entries) } {
        return read;
    }
    // SAFETY: by this function's contract.
    if_ready(fd, libc::POLLIN, || unsafe { readv(fd, entries) })
}

/// # Safety
/// As for [`readv_now`].
pub unsafe fn writev_now(fd: BorrowedFd<'_>, entries: &[RawIoVec]) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    // SAFETY: by this function's contract.
    if let Some(written) = unsafe { now(libc::SYS_pwritev2, fd, entries) } {
        return written;
    }
    let Some(first) = entries.first() else { return Ok(0) };
    let start = libc::iovec { iov_len: first.iov_len.min(libc::PIPE_BUF), ..*first };
    // SAFETY: by this function's contract: a part of an entry is as valid.
    if_ready(fd, libc::POLLOUT, || unsafe { writev(fd, &[start]) })
}

/// Makes a call that does not wait if what is open is ready for it. One thread at a time does so: else another one of this
/// process might come between the answer and the call.
fn if_ready(
    fd: BorrowedFd<'_>,
    events: libc::c_short,
    call: impl FnOnce() -> io::Result<usize>,
) -> io::Result<usize> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut asked = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: one entry, which is ours.
    match unsafe { libc::poll(&mut asked, 1, 0) } {
        0 => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
        ..0 => Err(io::Error::last_os_error()),
        _ => call(),
    }
}

/// A vectored call at the file's own position that does not wait. `None` if the kernel has none for what is open.
///
/// # Safety
/// The number is that of `preadv2` or `pwritev2`; else as for [`readv_now`].
#[cfg(target_os = "linux")]
unsafe fn now(number: libc::c_long, fd: BorrowedFd<'_>, entries: &[RawIoVec]) -> Option<io::Result<usize>> {
    const RWF_NOWAIT: libc::c_long = 8;
    const OWN_POSITION: libc::c_long = -1;
    let (fd, first, count) = (fd.as_raw_fd(), entries.as_ptr(), entries.len());
    // SAFETY: by this function's contract, and the kernel reads as many entries as there are. C libraries of before 2018
    // have no function for it. The position is given in two halves, of which 64-bit systems take the first.
    let result =
        unsafe { libc::syscall(number, fd, first, count, OWN_POSITION, OWN_POSITION, RWF_NOWAIT) } as isize;
    match moved(result) {
        // It is too old, or forbids the call, or is another system that is like Linux.
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::EPERM)
            ) =>
        {
            None
        }
        result => Some(result),
    }
}

/// The kernel knows which files are appended to.
pub use writev as append;

fn message(entries: &[RawIoVec]) -> libc::msghdr {
    // SAFETY: all zero is a valid message without name, control data or buffers.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = entries.as_ptr().cast_mut();
    message.msg_iovlen = entries.len() as _;
    message
}

pub unsafe fn recvmsg(
    fd: BorrowedFd<'_>,
    entries: &[RawIoVec],
    peek: bool,
    wait_all: bool,
) -> io::Result<(usize, bool)> {
    let mut flags = 0;
    if peek {
        flags |= libc::MSG_PEEK;
    }
    if wait_all {
        flags |= libc::MSG_WAITALL;
    }
    let mut message = message(entries);
    // SAFETY: by this function's contract.
    let received = moved(unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, flags) })?;
    Ok((received, message.msg_flags & libc::MSG_TRUNC != 0))
}

pub unsafe fn sendmsg(fd: BorrowedFd<'_>, entries: &[RawIoVec]) -> io::Result<usize> {
    // SAFETY: by this function's contract.
    moved(unsafe { libc::sendmsg(fd.as_raw_fd(), &message(entries), 0) })
}
