//! A procedure linkage table: the calls of functions that may not be compiled yet.
//!
//! Used by `code/lazy.rs`. Every function has an entry in the table, in executable pages, and a slot, in writable
//! ones. The entry jumps to the address in the slot. As long as the function has no code, that address leads to the
//! table's header, and from there to [`first_call`]. The instructions are in a file for each processor. Invariant: only
//! a slot ever changes, with one store of a word.

use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, Ordering};

#[cfg_attr(all(target_arch = "x86_64", not(miri)), path = "x86_64.rs")]
#[cfg_attr(all(target_arch = "aarch64", not(miri)), path = "aarch64.rs")]
#[cfg_attr(miri, path = "none.rs")]
mod machine;
pub use machine::{HAS_PLT, REACH, first_call};

/// Bytes of an entry, and of the header before the first one.
pub const ENTRY: usize = 16;
/// Bytes of a slot.
pub const SLOT: usize = 8;
/// Slots before the first function's: the address of [`first_call`].
pub const FIRST_SLOT: usize = 1;

/// What [`first_call`] calls, with the address for [`function_at`], and the frame of the stub: the caller's frame
/// pointer, then the return address in the caller. Returns null if the function has code now, else the `pc`, `sp`,
/// `fp` and `payload` to continue with.
pub type Make = unsafe extern "C" fn(called: usize, frame: *const [usize; 2]) -> *const [usize; 4];

static MAKE: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());

/// Sets what a function without code calls. Must be called before any such function is.
pub fn install(make: Make) {
    MAKE.store(make as *mut c_void, Ordering::Release);
}

/// The offset of a function's entry from the start of the table.
pub fn entry(index: usize) -> usize {
    ENTRY * (index + 1)
}

/// The function that is called without code, by the offset of the address that [`Make`] got from the start of the
/// slots. The first table is `slots` bytes behind them.
pub fn function_at(offset: usize, slots: usize) -> Option<usize> {
    machine::function_at(offset, slots)
}

/// The first value of a function's slot, as an offset from the start of the first table.
pub fn without_code(index: usize) -> usize {
    machine::without_code(index)
}

/// Writes a table for this many functions. The slots begin `slots` bytes before its start. Both starts are aligned to
/// pages.
pub fn write(table: &mut [u8], functions: usize, slots: usize) {
    let slot = |index: usize| (index * SLOT) as isize - slots as isize;
    machine::write_header(&mut table[..ENTRY], slot(0));
    for index in 0..functions {
        let at = entry(index);
        machine::write_entry(&mut table[at..at + ENTRY], at, slot(FIRST_SLOT + index));
    }
}
