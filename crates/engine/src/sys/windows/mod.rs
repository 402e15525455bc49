//! Windows: VirtualAlloc, vectored exception handling, access control lists.

mod debugging;
mod exceptions;
mod private;
mod sampling;
mod stack;
mod virtual_memory;

pub use debugging::{monotonic_nanoseconds, name_for_perf, open_shared_log, thread_id};
pub use exceptions::install_fault_handler;
pub use private::*;
pub use sampling::{Thread, install_sampling_handler};
pub use stack::{GROWS_IN_ORDER, stack_bounds};
pub use virtual_memory::{DISCARDS, Mmap, memory_file, page_size};

use windows_sys::Win32::Foundation::HMODULE;
use windows_sys::Win32::System::LibraryLoader::{
    GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GET_MODULE_HANDLE_EX_FLAG_PIN, GetModuleHandleExW,
};
use windows_sys::Win32::System::Threading::{
    GetCurrentThread, SetThreadPriority, THREAD_PRIORITY_BELOW_NORMAL,
};

/// Keeps this library loaded for the rest of the process. Node unloads an addon when the last of its
/// environments ends, but the fault handler must stay callable.
pub fn pin_library() {
    let mut module: HMODULE = std::ptr::null_mut();
    let flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN;
    // SAFETY: with this flag the name is an address in the library, here a function's.
    unsafe { GetModuleHandleExW(flags, (pin_library as fn() as *const ()).cast(), &mut module) };
}

/// Lets the system prefer other threads to the current one.
pub fn lower_priority() {
    // SAFETY: a call without pointers about the calling thread. If it fails, the thread keeps its priority.
    unsafe { SetThreadPriority(GetCurrentThread(), THREAD_PRIORITY_BELOW_NORMAL) };
}
