//! Reads and writes on raw buffers. They use the plain calls because every safe wrapper needs Rust slices, and
//! guest memory must not become one.
//!
//! Used only by `iovecs.rs`. Windows has no vectored calls for files that are read in order, so each buffer is one
//! call. A stream gives what one call gives: a second one might wait.

use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle};
use std::ptr;
use windows_sys::Win32::Foundation::{ERROR_BROKEN_PIPE, ERROR_HANDLE_EOF, ERROR_SEEK_ON_DEVICE};
use windows_sys::Win32::Storage::FileSystem::{FILE_TYPE_DISK, GetFileType, ReadFile, WriteFile};
use windows_sys::Win32::System::IO::{OVERLAPPED, OVERLAPPED_0, OVERLAPPED_0_0};

pub type Handle<'a> = BorrowedHandle<'a>;

#[derive(Clone, Copy)]
pub struct RawIoVec {
    base: *mut u8,
    len: usize,
}

/// How many buffers are moved at a time, as on other systems.
pub const MOST: usize = 1024;

#[inline]
pub fn raw_iovec(base: *mut u8, len: usize) -> RawIoVec {
    RawIoVec { base, len }
}

#[inline]
pub fn iovec_parts(entry: &RawIoVec) -> (*mut u8, usize) {
    (entry.base, entry.len)
}

fn is_file(handle: BorrowedHandle<'_>) -> bool {
    // SAFETY: the handle is open.
    unsafe { GetFileType(handle.as_raw_handle()) == FILE_TYPE_DISK }
}

fn overlapped(offset: u64) -> OVERLAPPED {
    let place = OVERLAPPED_0_0 { Offset: offset as u32, OffsetHigh: (offset >> 32) as u32 };
    OVERLAPPED { Anonymous: OVERLAPPED_0 { Anonymous: place }, ..OVERLAPPED::default() }
}

/// Reads at the handle's position, or at `offset`.
///
/// # Safety
/// The entry describes memory that is writable and stays mapped during the call.
unsafe fn read(handle: BorrowedHandle<'_>, entry: &RawIoVec, offset: Option<u64>) -> io::Result<usize> {
    let (len, mut moved) = (u32::try_from(entry.len).unwrap_or(u32::MAX), 0);
    let mut at = offset.map(overlapped);
    let at = at.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: by this function's contract. The handle waits, so nothing is under way when the call returns.
    if unsafe { ReadFile(handle.as_raw_handle(), entry.base, len, &mut moved, at) } != 0 {
        return Ok(moved as usize);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error().map(|code| code as u32) {
        // The end of the file, and of a pipe whose writers are gone.
        Some(ERROR_HANDLE_EOF | ERROR_BROKEN_PIPE) => Ok(0),
        _ => Err(error),
    }
}

/// # Safety
/// As for [`read`], of memory that is readable.
unsafe fn write(handle: BorrowedHandle<'_>, entry: &RawIoVec, offset: Option<u64>) -> io::Result<usize> {
    let (len, mut moved) = (u32::try_from(entry.len).unwrap_or(u32::MAX), 0);
    let mut at = offset.map(overlapped);
    let at = at.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: as in `read`.
    match unsafe { WriteFile(handle.as_raw_handle(), entry.base, len, &mut moved, at) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(moved as usize),
    }
}

/// Moves one buffer after the other, until one is not moved as a whole. What went wrong after something was moved
/// is what the next call will meet.
fn each(
    entries: &[RawIoVec],
    mut transfer: impl FnMut(&RawIoVec, usize) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut total = 0;
    for entry in entries {
        match transfer(entry, total) {
            Ok(moved) => {
                total += moved;
                if moved < entry.len {
                    break;
                }
            }
            Err(error) if total == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(total)
}

fn only_files_have_positions(handle: BorrowedHandle<'_>) -> io::Result<()> {
    if is_file(handle) { Ok(()) } else { Err(io::Error::from_raw_os_error(ERROR_SEEK_ON_DEVICE as i32)) }
}

/// # Safety
/// For all of these: the entries describe memory that is writable (for writes: readable) and stays mapped during
/// the call.
#[inline]
pub unsafe fn readv(handle: BorrowedHandle<'_>, entries: &[RawIoVec]) -> io::Result<usize> {
    let entries = if is_file(handle) { entries } else { entries.get(..1).unwrap_or(entries) };
    // SAFETY: here and below, by the caller's promise.
    each(entries, |entry, _| unsafe { read(handle, entry, None) })
}

#[inline]
pub unsafe fn writev(handle: BorrowedHandle<'_>, entries: &[RawIoVec]) -> io::Result<usize> {
    // SAFETY: as in `readv`.
    each(entries, |entry, _| unsafe { write(handle, entry, None) })
}

#[inline]
pub unsafe fn preadv(handle: BorrowedHandle<'_>, entries: &[RawIoVec], offset: u64) -> io::Result<usize> {
    only_files_have_positions(handle)?;
    // SAFETY: as in `readv`.
    each(entries, |entry, done| unsafe { read(handle, entry, Some(offset.saturating_add(done as u64))) })
}

#[inline]
pub unsafe fn pwritev(handle: BorrowedHandle<'_>, entries: &[RawIoVec], offset: u64) -> io::Result<usize> {
    only_files_have_positions(handle)?;
    // SAFETY: as in `readv`.
    each(entries, |entry, done| unsafe { write(handle, entry, Some(offset.saturating_add(done as u64))) })
}

/// Writes at the end of a file, wherever that is then.
pub unsafe fn append(handle: BorrowedHandle<'_>, entries: &[RawIoVec]) -> io::Result<usize> {
    /// What Windows takes for the end.
    const END: u64 = u64::MAX;
    let at = is_file(handle).then_some(END);
    // SAFETY: as in `readv`.
    each(entries, |entry, _| unsafe { write(handle, entry, at) })
}

/// Windows has no call for handles of this kind that does not wait: who waits is ended from outside.
pub use {readv as readv_now, writev as writev_now};

/// Sockets are not served yet.
pub unsafe fn recvmsg(_: BorrowedHandle<'_>, _: &[RawIoVec], _: bool, _: bool) -> io::Result<(usize, bool)> {
    Err(io::ErrorKind::Unsupported.into())
}

pub unsafe fn sendmsg(_: BorrowedHandle<'_>, _: &[RawIoVec]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
