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
        (size != 0).then(|| grown((start as usize, start as usize + size)))
    }
}

/// Where a thread's stack may grow to: what the C library says.
#[cfg(not(any(target_env = "musl", target_os = "macos", miri)))]
fn grown(known: (usize, usize)) -> (usize, usize) {
    known
}

/// musl tells of the main thread only the pages that there are yet, which are few when a program begins.
#[cfg(all(target_env = "musl", not(miri)))]
fn grown(known: (usize, usize)) -> (usize, usize) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: these ask for numbers, of which one is written to `limit`.
    let is_main = unsafe { libc::gettid() == libc::getpid() };
    // SAFETY: as above.
    if !is_main || unsafe { libc::getrlimit(libc::RLIMIT_STACK, &mut limit) } != 0 {
        return known;
    }
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    growth(&maps, known.1 - 1, usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)).unwrap_or(known)
}

/// The range that a stack which grows downwards may have, by the process's list of mappings: so much below the end of
/// the mapping with the address, but not near the mapping before it.
#[cfg(any(target_env = "musl", test))]
fn growth(maps: &str, address: usize, limit: usize) -> Option<(usize, usize)> {
    /// The kernel keeps 256 pages free below a stack; a system may have set more.
    const GAP: usize = 2 << 20;
    let mut before = 0;
    for line in maps.lines() {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        if (start..end).contains(&address) {
            let low = end.saturating_sub(limit).max(before + GAP);
            return Some((low.min(start), end));
        }
        before = end;
    }
    None
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_stack_grows_as_far_as_its_limit_and_the_mapping_before_it_let_it() {
        let maps = "7f0000000000-7f0000100000 r-xp 00000000 fe:00 12  /lib/ld-musl-x86_64.so.1\n\
            7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0          [stack]\n\
            7ffc00400000-7ffc00404000 r--p 00000000 00:00 0          [vvar]\n";
        let end = 0x7ffc_0002_1000;
        assert_eq!(growth(maps, end - 1, 8 << 20), Some((end - (8 << 20), end)));
        assert_eq!(growth(maps, end - 1, usize::MAX), Some((0x7f00_0010_0000 + (2 << 20), end)));
        // What is there is there.
        assert_eq!(growth(maps, end - 1, 4096), Some((end - 0x21000, end)));
        assert_eq!(growth(maps, 0x1000, 8 << 20), None);
        assert_eq!(growth("", 0x1000, 8 << 20), None);
    }
}
