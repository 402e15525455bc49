//! Where the current thread's stack ends.

use std::ops::Range;

/// The addresses of the current thread's stack, lowest first.
pub fn stack_bounds() -> Range<usize> {
    let (low, high) = query();
    low..high
}

#[cfg(not(any(target_os = "macos", miri)))]
fn query() -> (usize, usize) {
    // SAFETY: `pthread_getattr_np` initialises `attributes` for the calling thread, which is
    // read and destroyed once.
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
    // SAFETY: queries of the calling thread.
    unsafe {
        let thread = libc::pthread_self();
        let high = libc::pthread_get_stackaddr_np(thread) as usize;
        let size = libc::pthread_get_stacksize_np(thread);
        if size != 0 { (high - size, high) } else { assume() }
    }
}

/// Miri has no such question.
#[cfg(miri)]
fn query() -> (usize, usize) {
    assume()
}

/// What every thread has, when the system does not tell: a little below where we are.
fn assume() -> (usize, usize) {
    let marker = 0u8;
    let here = &raw const marker as usize;
    (here.saturating_sub(64 << 10), here)
}
