//! Unix: mmap, POSIX signals, pthread stacks.

#[cfg(miri)]
mod miri;
mod mmap;
mod perf;
mod private;
mod sampling;
mod signals;
mod stack;

pub use mmap::{DISCARDS, Mmap, memory_file, page_size};
pub use perf::{monotonic_nanoseconds, name_for_perf, open_shared_log, thread_id};
pub use private::*;
pub use sampling::{Thread, install_sampling_handler};
pub use signals::install_fault_handler;
pub use stack::{GROWS_IN_ORDER, stack_bounds};

/// Keeps this library mapped for the rest of the process. Node closes an addon when the last of its
/// environments ends, but the fault handler must stay callable.
pub fn pin_library() {
    // SAFETY: `dladdr` gets the address of a function of this library and fills `info`. `dlopen` gets the
    // NUL-terminated name from it. The handle is leaked on purpose.
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(pin_library as *const libc::c_void, &mut info) != 0 && !info.dli_fname.is_null() {
            libc::dlopen(info.dli_fname, libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE);
        }
    }
}

/// Lets the system prefer other threads to the current one.
#[cfg(all(target_os = "linux", not(miri)))]
pub fn lower_priority() {
    // SAFETY: a call without pointers. For Linux the process 0 is the calling thread. If it fails, the thread keeps
    // its priority.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
}

/// Elsewhere a thread keeps its priority.
#[cfg(not(all(target_os = "linux", not(miri))))]
pub fn lower_priority() {}
