//! The pages of large tables, which are filled when they are first used, and a pool of them for later tables.
//!
//! A large program has thousands of functions in its table, and a short call of it uses few of them. Used by
//! `runtime/vm/table.rs` and, through [`TablePool::holds`], by the fault handler. The engine owns the pool. Invariant: a
//! page is inaccessible until all its elements are there, so compiled code that uses one before faults.

use crate::sys::{Mmap, page_size};
use std::cell::Cell;
use std::ffi::c_void;
use std::io;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Bytes of address space for one table.
const SLOT: usize = 1 << 20;
/// Slots that are reserved together.
const SLOTS: usize = 64;
/// So many times at most.
const BLOCKS: usize = 128;
/// The smallest page of any system that we run on.
const SMALLEST_PAGE: usize = 4 << 10;

/// Address space for tables. An engine has one pool.
pub struct TablePool {
    /// They stay as long as the pool, so that the fault handler may look at them.
    blocks: [OnceLock<Box<Block>>; BLOCKS],
    /// The numbers of the slots that no table has. All their pages are inaccessible.
    free: Mutex<Vec<usize>>,
}

struct Block {
    mapping: Mmap,
    /// What has each slot. Null if nothing has.
    owners: [AtomicPtr<c_void>; SLOTS],
}

impl Default for TablePool {
    fn default() -> TablePool {
        TablePool { blocks: [const { OnceLock::new() }; BLOCKS], free: Mutex::default() }
    }
}

impl TablePool {
    /// Whether elements of some table may be at this address. Takes no lock, for the fault handler.
    pub fn holds(&self, address: usize) -> bool {
        self.slot_at(address).is_some()
    }

    /// What [`TablePages::belong_to`] was told for the pages at this address.
    pub fn owner_at(&self, address: usize) -> Option<NonNull<c_void>> {
        NonNull::new(self.owner(self.slot_at(address)?)?.load(Ordering::Acquire))
    }

    fn slot_at(&self, address: usize) -> Option<usize> {
        self.blocks.iter().map_while(OnceLock::get).enumerate().find_map(|(place, block)| {
            let offset = address.checked_sub(block.mapping.start() as usize)?;
            (offset < block.mapping.len()).then_some(place * SLOTS + offset / SLOT)
        })
    }

    fn block(&self, slot: usize) -> Option<&Block> {
        self.blocks[slot / SLOTS].get().map(|block| &**block)
    }

    fn owner(&self, slot: usize) -> Option<&AtomicPtr<c_void>> {
        self.block(slot).map(|block| &block.owners[slot % SLOTS])
    }

    /// A slot that nothing has, if there is address space.
    fn take(&self) -> Option<usize> {
        let mut free = self.free();
        if free.is_empty() {
            let place = self.blocks.iter().position(|block| block.get().is_none())?;
            let mapping = Mmap::reserve(SLOTS * SLOT).ok()?;
            let owners = [const { AtomicPtr::new(ptr::null_mut()) }; SLOTS];
            self.blocks[place].get_or_init(|| Box::new(Block { mapping, owners }));
            free.extend((place * SLOTS..(place + 1) * SLOTS).rev());
        }
        free.pop()
    }

    /// Ignores poisoning: no code that can panic runs under this lock.
    fn free(&self) -> MutexGuard<'_, Vec<usize>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The elements of one table. Dropping it gives the pages back.
pub struct TablePages {
    pool: Arc<TablePool>,
    slot: usize,
    start: NonNull<u64>,
    /// The number of elements.
    len: usize,
    /// Which pages are filled, one bit each.
    filled: Cell<[u64; SLOT / SMALLEST_PAGE / 64]>,
}

impl TablePages {
    /// Room for so many elements, none of them filled. `None` if they are too many, or if address space is scarce.
    pub fn new(pool: &Arc<TablePool>, len: u64) -> Option<TablePages> {
        let len = usize::try_from(len).ok().filter(|len| *len <= SLOT / size_of::<u64>())?;
        let slot = pool.take()?;
        let start = pool.block(slot)?.mapping.start().wrapping_add(slot % SLOTS * SLOT);
        Some(TablePages {
            pool: pool.clone(),
            slot,
            start: NonNull::new(start.cast())?,
            len,
            filled: Cell::default(),
        })
    }

    /// Notes whose pages they are, for [`TablePool::owner_at`].
    pub fn belong_to(&self, owner: NonNull<c_void>) {
        self.set_owner(owner.as_ptr());
    }

    fn set_owner(&self, owner: *mut c_void) {
        if let Some(place) = self.pool.owner(self.slot) {
            place.store(owner, Ordering::Release);
        }
    }

    pub fn base(&self) -> *mut u64 {
        self.start.as_ptr()
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The mapping, and where these pages of ours are in it.
    fn pages(&self, numbers: Range<usize>) -> io::Result<(&Mmap, Range<usize>)> {
        let block = self.pool.block(self.slot).ok_or_else(|| io::Error::other("a slot of no block"))?;
        let start = self.slot % SLOTS * SLOT;
        let page = page_size();
        Ok((&block.mapping, start + numbers.start * page..start + numbers.end * page))
    }

    /// Makes the pages with these elements accessible. `fill` writes the elements from a number on, for each page that
    /// is not filled yet.
    pub fn fill(&self, elements: Range<usize>, fill: impl Fn(usize, &mut [u64])) -> io::Result<()> {
        if elements.is_empty() {
            return Ok(());
        }
        let page = page_size() / size_of::<u64>();
        for number in elements.start / page..elements.end.div_ceil(page) {
            let mut filled = self.filled.get();
            let (word, bit) = (number / 64, 1 << (number % 64));
            if filled[word] & bit != 0 {
                continue;
            }
            let (mapping, place) = self.pages(number..number + 1)?;
            mapping.make_writable(place)?;
            let first = number * page;
            let count = page.min(self.len - first);
            // SAFETY: the elements are in our slot, on a page that was just made accessible. Only this thread uses
            // them, and compiled code waits.
            let slots = unsafe { std::slice::from_raw_parts_mut(self.base().add(first), count) };
            fill(first, slots);
            filled[word] |= bit;
            self.filled.set(filled);
        }
        Ok(())
    }

    /// Makes all pages as they were at first.
    pub fn empty(&self) -> io::Result<()> {
        let filled = self.filled.get();
        let words = filled.iter().enumerate().filter(|(_, word)| **word != 0);
        let first = words.clone().map(|(place, word)| place * 64 + word.trailing_zeros() as usize).next();
        let last = words.map(|(place, word)| place * 64 + 63 - word.leading_zeros() as usize).next_back();
        if let (Some(first), Some(last)) = (first, last) {
            let (mapping, place) = self.pages(first..last + 1)?;
            mapping.renew(place)?;
            self.filled.set(Default::default());
        }
        Ok(())
    }
}

impl Drop for TablePages {
    fn drop(&mut self) {
        self.set_owner(ptr::null_mut());
        // If the system refuses, nothing gets the slot again.
        if self.empty().is_ok() {
            self.pool.free().push(self.slot);
        }
    }
}
