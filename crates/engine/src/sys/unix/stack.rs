//! The bounds of the current thread's stack.

use std::ops::Range;

/// The address range of the current thread's stack.
pub fn stack_bounds() -> Range<usize> {
    let (low, high) = query();
    low..high
}

#[cfg(not(any(target_os = "macos", miri)))]
fn query() -> (usize, usize) {
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
        if size != 0 { (start as usize, start as usize + size) } else { assume() }
    }
}

#[cfg(target_os = "macos")]
fn query() -> (usize, usize) {
    // SAFETY: these only query the calling thread.
    unsafe {
        let thread = libc::pthread_self();
        let high = libc::pthread_get_stackaddr_np(thread) as usize;
        let size = libc::pthread_get_stacksize_np(thread);
        if size != 0 { (high - size, high) } else { assume() }
    }
}

/// Miri does not support the query.
#[cfg(miri)]
fn query() -> (usize, usize) {
    assume()
}

/// A minimum that every thread has, used if the system gives no bounds: a range just below the current frame.
fn assume() -> (usize, usize) {
    let marker = 0u8;
    let here = &raw const marker as usize;
    (here.saturating_sub(64 << 10), here)
}
