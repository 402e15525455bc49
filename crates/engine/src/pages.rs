//! The pages that a memory lies in, and those that are kept for the next memory.
//!
//! For `runtime/vm/memory.rs` and `shared_memory.rs`; an engine has the pool. Invariants: pages never move; those that were not yet
//! asked for fault, and read as zero when they are; pages that another memory had are the kernel's
//! fresh ones.

use crate::sys::{Mmap, page_size};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that fault behind (and before) the 4 GiB of a reserved memory.
pub const GUARD_SIZE: u64 = 32 << 20;
const GUARD_BEFORE: usize = GUARD_SIZE as usize;

/// Bytes of a reserved memory between its guards: all that a 32-bit index reaches.
pub const RESERVED: usize = 4 << 30;

pub fn round_to_page(bytes: usize) -> usize {
    bytes.next_multiple_of(page_size())
}

/// Address space for reserved memories that nobody uses now. An engine has one.
#[derive(Default)]
pub struct Pool(Mutex<Vec<Mmap>>);

/// How many reservations a pool keeps.
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

/// What must be left when address space is taken, lest nothing works any more: not the host, and not
/// the error that says so.
const SPARE: usize = 64 << 20;

/// What must be left when more is taken than is needed now.
const AMPLE: usize = 256 << 20;

/// Fails unless an allocation of so many bytes leaves some for others. Small ones are not worth the
/// question.
pub fn check_spare(bytes: usize) -> io::Result<()> {
    if bytes < 1 << 20 {
        return Ok(());
    }
    Mmap::reserve(bytes.saturating_add(SPARE)).map(drop)
}

pub struct Pages {
    mapping: Mmap,
    /// Where byte 0 lies in the mapping.
    start: usize,
    /// How many bytes from there can be accessed.
    used: AtomicUsize,
    /// Where the mapping goes in the end; bounded ones are unmapped.
    pool: Option<Arc<Pool>>,
    /// Whether the pages outlive us.
    abandoned: bool,
}

impl Pages {
    /// 4 GiB between guards, of which so many bytes can be accessed.
    pub fn reserved(pool: &Arc<Pool>, bytes: usize) -> io::Result<Pages> {
        let mapping = match pool.take() {
            Some(mapping) => mapping,
            None => Mmap::reserve(GUARD_BEFORE + RESERVED + GUARD_SIZE as usize)?,
        };
        Pages::new(mapping, GUARD_BEFORE, Some(pool.clone()), bytes)
    }

    /// So many bytes, and address space for as much of `most` as leaves plenty to others.
    pub fn bounded(bytes: usize, most: usize) -> io::Result<Pages> {
        let (bytes, mut room) = (round_to_page(bytes), round_to_page(most.min(isize::MAX as usize)));
        while room > bytes && Mmap::reserve(room.saturating_add(room.max(AMPLE))).is_err() {
            // Less each time, down to nothing.
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

    /// No pages, with room for none.
    pub fn none() -> Pages {
        Pages { mapping: Mmap::none(), start: 0, used: AtomicUsize::new(0), pool: None, abandoned: false }
    }

    pub fn base(&self) -> *mut u8 {
        self.mapping.start().wrapping_add(self.start)
    }

    /// How many bytes there is address space for.
    fn capacity(&self) -> usize {
        if self.pool.is_some() { RESERVED } else { self.mapping.len() - self.start }
    }

    /// Makes so many bytes accessible, if there is address space for them. One thread at a time.
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

    /// [`Pages::make_accessible`], with more address space behind what there is, if it is free.
    pub fn extend(&mut self, bytes: usize) -> io::Result<()> {
        let end = round_to_page(bytes);
        if end > self.capacity() && self.pool.is_none() {
            check_spare(end - self.capacity())?;
            self.mapping.extend(self.start + end)?;
        }
        self.make_accessible(bytes)
    }

    /// Gives the contents of pages back: they read as zero from then on.
    pub fn discard(&self, range: Range<usize>) -> io::Result<()> {
        self.mapping.discard(self.start + range.start..self.start + range.end)
    }

    /// Pages of the same kind as these reserved ones.
    pub fn fresh(&self, bytes: usize) -> io::Result<Pages> {
        let pool = self.pool.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        Pages::reserved(pool, bytes)
    }

    /// Has all but the first so many bytes fault again.
    pub fn make_inaccessible(&self, from: usize) -> io::Result<()> {
        let (used, end) = (self.used.load(Ordering::Relaxed), round_to_page(from));
        if end < used {
            self.mapping.renew(self.start + end..self.start + used)?;
            self.used.store(end, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Has the pages stay for ever, because somebody may use them whose end nobody tells us.
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
            // What cannot be renewed is unmapped.
            if mapping.renew(self.start..self.start + *self.used.get_mut()).is_ok() {
                pool.give(mapping);
            }
        }
    }
}
