//! Large ranges of bytes, moved by two threads: one alone does not use up what the memory can do.
//!
//! For the checked methods of [`GuestMemory`](crate::GuestMemory). Invariants: no reference to any of the bytes is
//! made, which others may write meanwhile. The second thread touches only parts that it has taken, and the caller
//! goes on when all parts are done: where no processor is free, it does them itself and waits for nobody.

use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

/// From so many bytes on, a second thread is worth its start.
const LARGE: usize = 4 << 20;
/// Bytes that a thread takes at a time.
const PART: usize = 256 << 10;
/// Bytes that are compared and written at a time.
const CHUNK: usize = 64 << 10;

/// Where bytes come from and go to. They do not overlap.
#[derive(Clone, Copy)]
pub(crate) struct Move {
    pub from: *const u8,
    pub to: *mut u8,
    pub len: usize,
}

// SAFETY: the addresses are used only for parts, each by the thread that has taken it, while the call lasts whose
// caller says that the bytes are there.
unsafe impl Send for Move {}

impl Move {
    /// Copies the bytes.
    ///
    /// # Safety
    /// There are `len` bytes at both places until this returns.
    pub unsafe fn copy(self) {
        // SAFETY: by this function's contract.
        self.in_parts(|part| unsafe { ptr::copy_nonoverlapping(part.from, part.to, part.len) });
    }

    /// Copies what is not the same: bytes that are stay unwritten, so far as chunks allow.
    ///
    /// # Safety
    /// As for [`Move::copy`].
    pub unsafe fn copy_changes(self) {
        self.in_parts(|part| {
            for start in (0..part.len).step_by(CHUNK) {
                let Move { from, to, len } = part.part(start, CHUNK);
                // SAFETY: by this function's contract. C's function makes no references.
                unsafe {
                    if libc::memcmp(from.cast(), to.cast_const().cast(), len) != 0 {
                        ptr::copy_nonoverlapping(from, to, len);
                    }
                }
            }
        });
    }

    /// At most `len` bytes from `start` on.
    fn part(self, start: usize, len: usize) -> Move {
        let len = len.min(self.len - start);
        Move { from: self.from.wrapping_add(start), to: self.to.wrapping_add(start), len }
    }

    /// Has `work` done for all of the bytes, by another thread as well if that is worth it.
    fn in_parts(self, work: fn(Move)) {
        if self.len < LARGE || !has_two_processors() {
            return work(self);
        }
        let parts = Arc::new(Parts::default());
        let of_other = parts.clone();
        // If there is no thread to be had, nobody else takes a part.
        let _ = thread::Builder::new().spawn(move || of_other.take(self, work));
        parts.take(self, work);
        while parts.done.load(Ordering::Acquire) < self.len.div_ceil(PART) {
            thread::yield_now();
        }
    }
}

/// Who does which part.
#[derive(Default)]
struct Parts {
    next: AtomicUsize,
    done: AtomicUsize,
}

impl Parts {
    /// Does parts until all are taken.
    fn take(&self, all: Move, work: fn(Move)) {
        loop {
            let start = self.next.fetch_add(1, Ordering::Relaxed).saturating_mul(PART);
            if start >= all.len {
                return;
            }
            work(all.part(start, PART));
            self.done.fetch_add(1, Ordering::Release);
        }
    }
}

fn has_two_processors() -> bool {
    static TWO: OnceLock<bool> = OnceLock::new();
    *TWO.get_or_init(|| thread::available_parallelism().is_ok_and(|count| count.get() > 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_of_a_large_range_arrive_and_only_what_changed_is_written() {
        let len = if cfg!(miri) { CHUNK + 7 } else { LARGE + 12_345 };
        let from: Vec<u8> = (0..len).map(|place| (place * 31 % 251) as u8).collect();
        let mut to = vec![0; len];
        let all = |to: &mut Vec<u8>| Move { from: from.as_ptr(), to: to.as_mut_ptr(), len };
        // SAFETY: both vectors have so many bytes.
        unsafe { all(&mut to).copy() };
        assert!(to == from);
        for place in [0, len / 2 - 1, len / 2, len / 2 + CHUNK, len - 1] {
            to[place.min(len - 1)] ^= 255;
        }
        // SAFETY: as above.
        unsafe { all(&mut to).copy_changes() };
        assert!(to == from);
    }
}
