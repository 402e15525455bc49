//! Linear memories.
//!
//! Invariant: the definition always tells the current place and size; a reserved memory never
//! moves, and the pages past its length fault.

use super::group::Group;
use super::store::Store;
use super::traps::Error;
use super::vmcontext::VMMemoryDefinition;
use crate::engine::compile::{GUARD_SIZE, MemoryStyle};
use crate::engine::sys::{Mmap, page_size};
use crate::engine::types::MemoryType;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A handle to a memory.
#[derive(Clone)]
pub struct Memory {
    group: Group,
    obj: NonNull<MemoryObj>,
}

/// A memory, owned by its group.
pub struct MemoryObj {
    ty: MemoryType,
    style: MemoryStyle,
    /// Where the memory lies: for a reserved one the guard before it comes first.
    mapping: Mmap,
    definition: Box<VMMemoryDefinition>,
}

/// Bytes that fault before a reserved memory.
const GUARD_BEFORE: usize = GUARD_SIZE as usize;
const RESERVED: usize = 4 << 30;

impl MemoryObj {
    /// A zeroed memory of the type's minimum size.
    pub(super) fn new(store: &Store, ty: MemoryType) -> Result<Box<MemoryObj>, Error> {
        let style = store.engine().tunables().style_of(&ty);
        let too_large = || Error::Internal(format!("a memory of {} pages is more than this engine can hold", ty.minimum));
        let bytes = bytes(&ty, ty.minimum).ok_or_else(too_large)?;
        let failed = |e| Error::Internal(format!("cannot allocate a memory of {bytes} bytes: {e}"));
        let (mapping, offset) = match style {
            MemoryStyle::Reserved => {
                let mapping = Mmap::reserve(GUARD_BEFORE + RESERVED + GUARD_SIZE as usize).map_err(failed)?;
                (mapping, GUARD_BEFORE)
            }
            MemoryStyle::Bounded => (Mmap::reserve(round_to_page(bytes)).map_err(failed)?, 0),
        };
        mapping.make_writable(offset..offset + round_to_page(bytes)).map_err(failed)?;
        // SAFETY: `offset` is inside the mapping.
        let base = unsafe { mapping.start().add(offset) };
        let definition = Box::new(VMMemoryDefinition { base, length: AtomicUsize::new(bytes) });
        Ok(Box::new(MemoryObj { ty, style, mapping, definition }))
    }

    pub(super) fn ty(&self) -> MemoryType {
        self.ty
    }

    pub(super) fn definition(&self) -> *mut VMMemoryDefinition {
        ptr::from_ref(&*self.definition).cast_mut()
    }

    pub(super) fn base(&self) -> *mut u8 {
        self.definition.base
    }

    pub(super) fn byte_len(&self) -> usize {
        self.definition.length.load(Ordering::Acquire)
    }

    pub(super) fn pages(&self) -> u64 {
        self.byte_len() as u64 >> self.ty.page_size_log2
    }

    /// Grows by `delta` pages and returns the old size, or `None` where the type, the engine or
    /// the machine has no more.
    pub(super) fn grow(&mut self, delta: u64) -> Option<u64> {
        let old = self.pages();
        let pages = old.checked_add(delta)?;
        if self.ty.maximum.is_some_and(|maximum| pages > maximum) {
            return None;
        }
        let bytes = bytes(&self.ty, pages)?;
        let (old_end, end) = (round_to_page(self.byte_len()), round_to_page(bytes));
        match self.style {
            MemoryStyle::Reserved => {
                self.mapping.make_writable(GUARD_BEFORE + old_end..GUARD_BEFORE + end).ok()?;
            }
            MemoryStyle::Bounded if end > self.mapping.len() => {
                let larger = Mmap::reserve(end).ok()?;
                larger.make_writable(0..end).ok()?;
                // SAFETY: both mappings are ours, distinct, and at least this long.
                unsafe { ptr::copy_nonoverlapping(self.base(), larger.start(), self.byte_len()) };
                self.definition.base = larger.start();
                self.mapping = larger;
            }
            MemoryStyle::Bounded => {}
        }
        self.definition.length.store(bytes, Ordering::Release);
        Some(old)
    }

    /// Whether `len` bytes at `start` are inside.
    pub(super) fn holds(&self, start: u64, len: u64) -> bool {
        start.checked_add(len).is_some_and(|end| end <= self.byte_len() as u64)
    }
}

fn round_to_page(bytes: usize) -> usize {
    bytes.next_multiple_of(page_size())
}

/// The size of so many pages, if the engine can hold it.
fn bytes(ty: &MemoryType, pages: u64) -> Option<usize> {
    let bytes = usize::try_from(pages.checked_shl(u32::from(ty.page_size_log2))?).ok()?;
    let intact = bytes as u64 >> ty.page_size_log2 == pages;
    let limit = if ty.memory64 { 1 << 46 } else { RESERVED };
    (intact && bytes <= limit).then_some(bytes)
}

impl Memory {
    pub fn new(store: &Store, ty: MemoryType) -> Result<Memory, Error> {
        let obj = MemoryObj::new(store, ty)?;
        let group = Group::new(store);
        let ptr = NonNull::from(&*obj);
        group.add(|members| members.memories.push(obj));
        Ok(Memory { group, obj: ptr })
    }

    pub(super) fn of(group: Group, obj: NonNull<MemoryObj>) -> Memory {
        Memory { group, obj }
    }

    fn obj(&self) -> &MemoryObj {
        // SAFETY: our group keeps the object; mutable access is only taken inside `grow`, which
        // calls nothing that could come back here.
        unsafe { self.obj.as_ref() }
    }

    /// The declared type; its minimum stays what it was when the memory was made.
    pub fn ty(&self) -> MemoryType {
        self.obj().ty()
    }

    /// Where the memory starts. Moves only when a bounded memory grows.
    pub fn base(&self) -> *mut u8 {
        self.obj().base()
    }

    pub fn byte_len(&self) -> usize {
        self.obj().byte_len()
    }

    /// Current size in pages.
    pub fn size(&self) -> u64 {
        self.obj().pages()
    }

    /// Grows by `delta` pages; the old size, or `None` if it cannot.
    pub fn grow(&self, delta: u64) -> Option<u64> {
        // SAFETY: as in `obj`; no reference to the object is held here.
        unsafe { (*self.obj.as_ptr()).grow(delta) }
    }

    /// The same for the same memory.
    pub fn id(&self) -> usize {
        self.obj.as_ptr() as usize
    }

    pub(super) fn group(&self) -> &Group {
        &self.group
    }

    pub(super) fn as_ptr(&self) -> NonNull<MemoryObj> {
        self.obj
    }
}
