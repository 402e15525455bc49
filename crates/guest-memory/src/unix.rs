//! The vectored calls themselves, on raw iovecs. They use libc because
//! every safe wrapper needs Rust slices, and guest memory must not become one.
//!
//! Used only by `iovecs.rs`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

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
