//! The elements of large tables: pages of them that are filled when they are first used.
//!
//! A large program has thousands of functions in its table, and a short call of it uses few of them. Used by
//! `table.rs` and, through [`holds`], by the fault handler. Invariants: a page is inaccessible until all its elements
//! are there. Compiled code that accesses one before faults, [`touched`] fills the page, and the access is made again.
//! All other code asks for pages before it uses them.

use super::table::TableObj;
use super::traps::{self, Error};
use super::vmcontext::VMStoreContext;
use crate::sys::{Mmap, page_size};
use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Bytes of address space for one table.
const SLOT: usize = 1 << 20;
/// The smallest page of any system that we run on.
const SMALLEST_PAGE: usize = 4 << 10;
/// The most elements that a slot holds.
pub(crate) const MOST: u64 = (SLOT / size_of::<u64>()) as u64;

/// Slots that were reserved together.
struct Block {
    mapping: Mmap,
    /// The table in each slot. Null if there is none.
    tables: [AtomicPtr<TableObj>; Block::SLOTS],
}

/// The blocks so far. They stay for ever, as address space without memory, so that the fault handler may look at them.
static BLOCKS: [OnceLock<Block>; 128] = [const { OnceLock::new() }; 128];

/// Slots that no table has. All their pages are inaccessible.
static FREE: Mutex<Vec<Slot>> = Mutex::new(Vec::new());

impl Block {
    const SLOTS: usize = 64;

    fn range(&self) -> Range<usize> {
        let start = self.mapping.start() as usize;
        start..start + self.mapping.len()
    }
}

#[derive(Clone, Copy)]
struct Slot {
    block: &'static Block,
    number: usize,
}

impl Slot {
    /// A slot that nobody has, if there is address space.
    fn take() -> Option<Slot> {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if free.is_empty() {
            let place = BLOCKS.iter().find(|block| block.get().is_none())?;
            let mapping = Mmap::reserve(Block::SLOTS * SLOT).ok()?;
            let tables = [const { AtomicPtr::new(ptr::null_mut()) }; Block::SLOTS];
            let block = place.get_or_init(|| Block { mapping, tables });
            free.extend((0..Block::SLOTS).map(|number| Slot { block, number }));
        }
        free.pop()
    }

    /// These bytes of the slot in the block's mapping.
    fn bytes(self, range: Range<usize>) -> Range<usize> {
        let start = self.number * SLOT;
        start + range.start..start + range.end
    }

    fn table(self) -> &'static AtomicPtr<TableObj> {
        &self.block.tables[self.number]
    }
}

fn block_of(address: usize) -> Option<&'static Block> {
    BLOCKS.iter().map_while(OnceLock::get).find(|block| block.range().contains(&address))
}

/// Whether elements of some table may be at this address. Runs inside signal handlers.
pub(crate) fn holds(address: usize) -> bool {
    block_of(address).is_some()
}

/// The elements of one table. Dropping it gives them back.
pub(crate) struct TablePages {
    slot: Slot,
    /// The number of elements.
    len: usize,
    /// Which pages are filled, one bit each.
    filled: Cell<[u64; SLOT / SMALLEST_PAGE / 64]>,
}

impl TablePages {
    /// Room for the elements of a table, none of them filled. `None` if there are more than [`MOST`], or if address
    /// space is scarce.
    pub fn new(len: u64) -> Option<TablePages> {
        let len = usize::try_from(len).ok().filter(|len| *len as u64 <= MOST)?;
        Some(TablePages { slot: Slot::take()?, len, filled: Cell::default() })
    }

    /// Tells the fault handler whose pages they are. `table` must live as long as they do.
    pub fn belong_to(&self, table: NonNull<TableObj>) {
        self.slot.table().store(table.as_ptr(), Ordering::Release);
    }

    pub fn base(&self) -> *mut u64 {
        let start = self.slot.bytes(0..0).start;
        self.slot.block.mapping.start().wrapping_add(start).cast()
    }

    pub fn len(&self) -> usize {
        self.len
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
            let first = number * page;
            let bytes = first * size_of::<u64>()..(first + page) * size_of::<u64>();
            self.slot.block.mapping.make_writable(self.slot.bytes(bytes))?;
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
        if filled.iter().all(|word| *word == 0) {
            return Ok(());
        }
        let is_filled = |number: &usize| filled[number / 64] & 1 << (number % 64) != 0;
        let pages = || (0..filled.len() * 64).filter(is_filled);
        let (Some(first), Some(last)) = (pages().next(), pages().next_back()) else { return Ok(()) };
        let bytes = first * page_size()..(last + 1) * page_size();
        self.slot.block.mapping.renew(self.slot.bytes(bytes))?;
        self.filled.set(Default::default());
        Ok(())
    }
}

impl Drop for TablePages {
    fn drop(&mut self) {
        self.slot.table().store(ptr::null_mut(), Ordering::Release);
        // If the system refuses, nobody gets the slot again.
        if self.empty().is_ok() {
            FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self.slot);
        }
    }
}

/// Fills the page that compiled code has touched. `sys::arch::ask` calls it in place of the access, as an exit
/// trampoline calls a host function. `frame` holds the code's frame pointer and the pc of the access. Returns null
/// if the access is to be made again, else where to continue.
///
/// # Safety
/// Called by `sys::arch::ask` after the fault handler has noted the address in [`VMStoreContext::touched`].
pub(crate) unsafe extern "C" fn touched(frame: *const [usize; 2]) -> *const [usize; 4] {
    let vm = traps::current();
    // SAFETY: the fault handler has checked that there is a current store. It is alive because its wasm is on the
    // stack, and these fields are this thread's. The frame is that of our caller. An exit record has a return
    // address, and the instruction before that is the call.
    let address = unsafe {
        ((*vm).exit_fp, (*vm).exit_pc) = (frame as usize, (*frame)[1] + 1);
        (*vm).touched
    };
    // A panic must not unwind through wasm.
    let fill = || {
        let block = block_of(address)?;
        let table = block.tables[(address - block.range().start) / SLOT].load(Ordering::Acquire);
        // SAFETY: compiled code accesses only tables of its own group, which is alive while it runs.
        Some(unsafe { table.as_ref() }?.fill_at(address))
    };
    let error = match catch_unwind(AssertUnwindSafe(fill)) {
        Ok(Some(Ok(()))) => return ptr::null(),
        Ok(Some(Err(error))) => error,
        Ok(None) | Err(_) => Error::Internal("an element of no table was used: a bug in wasi-native".into()),
    };
    // SAFETY: as above. The exit record is complete, and the entry trampoline is in an older frame.
    unsafe {
        (*vm).failed = Some(Box::new(error));
        VMStoreContext::unwind_to_entry(vm);
        (&raw const (*vm).unwind).cast()
    }
}
