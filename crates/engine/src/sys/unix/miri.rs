//! The system's memory functions for Miri, on the heap: Miri has neither page protection nor `madvise`.
//!
//! Used only by `mmap.rs`. An access that faults on a real machine is an ordinary access here.

use super::page_size;
use libc::{MAP_FAILED, MAP_FIXED, c_int, c_void};
use std::alloc::{Layout, alloc_zeroed, dealloc};

fn layout(len: usize) -> Layout {
    Layout::from_size_align(len, page_size()).unwrap_or_else(|_| panic!("no layout of {len} bytes"))
}

/// # Safety
/// As for the system function, with or without an address in one of our mappings.
pub unsafe fn mmap(
    address: *mut c_void,
    len: usize,
    _: c_int,
    flags: c_int,
    _: c_int,
    _: i64,
) -> *mut c_void {
    if len > 1 << 36 {
        return MAP_FAILED;
    }
    // SAFETY: by this function's contract. A mapping is never empty.
    unsafe {
        if flags & MAP_FIXED == 0 {
            return alloc_zeroed(layout(len)).cast();
        }
        address.cast::<u8>().write_bytes(0, len);
    }
    address
}

/// # Safety
/// As for the system function, for a whole mapping.
pub unsafe fn munmap(address: *mut c_void, len: usize) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { dealloc(address.cast(), layout(len)) };
    0
}

/// # Safety
/// As for the system function.
pub unsafe fn mprotect(_: *mut c_void, _: usize, _: c_int) -> c_int {
    0
}

/// # Safety
/// As for the system function.
pub unsafe fn madvise(address: *mut c_void, len: usize, _: c_int) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { address.cast::<u8>().write_bytes(0, len) };
    0
}
