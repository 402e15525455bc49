//! The pages of a memory, and a pool of reservations for later memories.
//!
//! Used by `runtime/vm/memory.rs` and `runtime/vm/shared_memory.rs`. The engine owns the pool. Invariants:
//! pages never move. Pages that are not yet in use fault, and read as zero when they are first used. Pages
//! that another memory used are replaced with fresh ones from the kernel.

use crate::sys::{Mmap, page_size};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of inaccessible guard after (and before) the 4 GiB of a reserved memory.
pub const GUARD_SIZE: u64 = 32 << 20;
const GUARD_BEFORE: usize = GUARD_SIZE as usize;

/// Bytes of a reserved memory between its guards: the range of a 32-bit index.
pub const RESERVED: usize = 4 << 30;

pub fn round_to_page(bytes: usize) -> usize {
    bytes.next_multiple_of(page_size())
}

/// Unused address space for reserved memories. An engine has one pool.
#[derive(Default)]
pub struct Pool(Mutex<Vec<Mmap>>);

/// The maximum number of reservations in a pool.
const KEPT: usize = 32;

impl Pool {
    fn take(&self) -> Option<Mmap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give(&self, mapping: Mmap) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(mapping);
        }
    }
}

/// Address space that must remain after an allocation. Otherwise the host fails, and even the error cannot be
/// reported.
const SPARE: usize = 64 << 20;

/// Address space that must remain after reserving more than is needed now.
const AMPLE: usize = 256 << 20;

/// Fails if an allocation of this size leaves too little address space. Small ones are not checked.
pub fn check_spare(bytes: usize) -> io::Result<()> {
    if bytes < 1 << 20 {
        return Ok(());
    }
    Mmap::reserve(bytes.saturating_add(SPARE)).map(drop)
}

pub struct Pages {
    mapping: Mmap,
    /// The offset of byte 0 in the mapping.
    start: usize,
    /// The number of accessible bytes from there.
    used: AtomicUsize,
    /// The pool that the mapping is returned to. Bounded mappings are unmapped.
    pool: Option<Arc<Pool>>,
    /// Whether the mapping is never unmapped.
    abandoned: bool,
}

impl Pages {
    /// 4 GiB between guards, of which `bytes` are accessible.
    pub fn reserved(pool: &Arc<Pool>, bytes: usize) -> io::Result<Pages> {
        let mapping = match pool.take() {
            Some(mapping) => mapping,
            None => Mmap::reserve(GUARD_BEFORE + RESERVED + GUARD_SIZE as usize)?,
        };
        Pages::new(mapping, GUARD_BEFORE, Some(pool.clone()), bytes)
    }

    /// `bytes` accessible bytes, with address space for as much of `most` as leaves plenty for others.
    pub fn bounded(bytes: usize, most: usize) -> io::Result<Pages> {
        let (bytes, mut room) = (round_to_page(bytes), round_to_page(most.min(isize::MAX as usize)));
        while room > bytes && Mmap::reserve(room.saturating_add(room.max(AMPLE))).is_err() {
            // Try less each time, down to nothing.
            room = (room / 2).next_multiple_of(page_size()).min(room - page_size());
        }
        if room <= bytes {
            check_spare(bytes)?;
        }
        Pages::new(Mmap::reserve(room.max(bytes))?, 0, None, bytes)
    }

    fn new(mapping: Mmap, start: usize, pool: Option<Arc<Pool>>, bytes: usize) -> io::Result<Pages> {
        let pages = Pages { mapping, start, used: AtomicUsize::new(0), pool, abandoned: false };
        pages.make_accessible(bytes)?;
        Ok(pages)
    }

    /// No pages and no address space.
    pub fn none() -> Pages {
        Pages { mapping: Mmap::none(), start: 0, used: AtomicUsize::new(0), pool: None, abandoned: false }
    }

    pub fn base(&self) -> *mut u8 {
        self.mapping.start().wrapping_add(self.start)
    }

    /// The size of the address space in bytes.
    fn capacity(&self) -> usize {
        if self.pool.is_some() { RESERVED } else { self.mapping.len() - self.start }
    }

    /// Makes this many bytes accessible, if there is address space. Only one thread may call this at a time.
    pub fn make_accessible(&self, bytes: usize) -> io::Result<()> {
        let (used, end) = (self.used.load(Ordering::Relaxed), round_to_page(bytes));
        if end > self.capacity() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        if end > used {
            self.mapping.make_writable(self.start + used..self.start + end)?;
            self.used.store(end, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Like [`Pages::make_accessible`], but extends the address space if needed and possible.
    pub fn extend(&mut self, bytes: usize) -> io::Result<()> {
        let end = round_to_page(bytes);
        if end > self.capacity() && self.pool.is_none() {
            check_spare(end - self.capacity())?;
            self.mapping.extend(self.start + end)?;
        }
        self.make_accessible(bytes)
    }

    /// Returns the contents of pages to the system. They read as zero from then on.
    pub fn discard(&self, range: Range<usize>) -> io::Result<()> {
        self.mapping.discard(self.start + range.start..self.start + range.end)
    }

    /// New pages of the same kind. Only for reserved ones.
    pub fn fresh(&self, bytes: usize) -> io::Result<Pages> {
        let pool = self.pool.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        Pages::reserved(pool, bytes)
    }

    /// Makes everything after the first `from` bytes inaccessible again.
    pub fn make_inaccessible(&self, from: usize) -> io::Result<()> {
        let (used, end) = (self.used.load(Ordering::Relaxed), round_to_page(from));
        if end < used {
            self.mapping.renew(self.start + end..self.start + used)?;
            self.used.store(end, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Keeps the pages mapped for ever, because there may be users whose end is not reported.
    pub fn abandon(&mut self) {
        self.abandoned = true;
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let mapping = std::mem::replace(&mut self.mapping, Mmap::none());
        if self.abandoned {
            std::mem::forget(mapping);
        } else if let Some(pool) = &self.pool {
            // A mapping that cannot be renewed is unmapped.
            if mapping.renew(self.start..self.start + *self.used.get_mut()).is_ok() {
                pool.give(mapping);
            }
        }
    }
}
