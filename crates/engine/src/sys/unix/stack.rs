//! The bounds of the current thread's stack.

use std::cell::Cell;
use std::ops::Range;

/// Whether the system makes a stack's pages in order, from the top: then no function may leave one out.
pub const GROWS_IN_ORDER: bool = false;

/// The address range of the current thread's stack. Of the main thread the C library knows it only from a list of
/// all mappings, which takes tens of microseconds, so each thread asks once.
pub fn stack_bounds() -> Range<usize> {
    thread_local!(static KNOWN: Cell<Option<(usize, usize)>> = const { Cell::new(None) });
    let known = KNOWN.get().or_else(query);
    KNOWN.set(known);
    let (low, high) = known.unwrap_or_else(assume);
    low..high
}

#[cfg(not(any(target_os = "macos", miri)))]
fn query() -> Option<(usize, usize)> {
    // SAFETY: `pthread_getattr_np` initialises `attributes` for the calling thread. They are read and
    // destroyed once.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        let mut start = std::ptr::null_mut();
        let mut size = 0;
        if libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) == 0 {
            libc::pthread_attr_getstack(&attributes, &mut start, &mut size);
            libc::pthread_attr_destroy(&mut attributes);
        }
        (size != 0).then_some((start as usize, start as usize + size))
    }
}

#[cfg(target_os = "macos")]
fn query() -> Option<(usize, usize)> {
    // SAFETY: these only query the calling thread.
    unsafe {
        let thread = libc::pthread_self();
        let high = libc::pthread_get_stackaddr_np(thread) as usize;
        let size = libc::pthread_get_stacksize_np(thread);
        (size != 0).then_some((high - size, high))
    }
}

/// Miri does not support the query.
#[cfg(miri)]
fn query() -> Option<(usize, usize)> {
    None
}

/// A minimum that every thread has, used if the system gives no bounds: a range just below the current frame.
fn assume() -> (usize, usize) {
    let marker = 0u8;
    let here = &raw const marker as usize;
    (here.saturating_sub(64 << 10), here)
}
