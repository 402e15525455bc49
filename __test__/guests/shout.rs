//! A library for lib.fn(), as Rust has it: an allocator of its own, results as one i64. Built by
//! scripts/guests.mjs.

use std::alloc::{Layout, alloc as allocate, dealloc as deallocate};

#[unsafe(no_mangle)]
extern "C" fn alloc(size: usize) -> *mut u8 {
    unsafe { allocate(Layout::from_size_align_unchecked(size, 1)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dealloc(address: *mut u8, size: usize) {
    unsafe { deallocate(address, Layout::from_size_align_unchecked(size, 1)) }
}

/// The address in the high half, the length in the low one. The bytes belong to the caller.
fn give(bytes: Box<[u8]>) -> u64 {
    let length = bytes.len() as u64;
    ((Box::into_raw(bytes).cast::<u8>() as u64) << 32) | length
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shout(text: *const u8, length: usize) -> u64 {
    let text = unsafe { std::slice::from_raw_parts(text, length) };
    give(String::from_utf8_lossy(text).to_uppercase().into_bytes().into_boxed_slice())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn count(text: *const u8, length: usize) -> u32 {
    let text = unsafe { std::slice::from_raw_parts(text, length) };
    std::str::from_utf8(text).map_or(u32::MAX, |text| text.chars().count() as u32)
}
