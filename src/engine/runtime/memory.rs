//! Linear memories.
//!
//! Invariant: the definition always tells the current place and size; a reserved memory never
//! moves, and the pages past its length fault. What threads share is in `shared_memory.rs`.

use super::group::Group;
use super::limits::Limits;
use super::shared_memory::{MemoryHost, SharedMemory};
use super::store::Store;
use super::traps::Error;
use super::vmcontext::VMMemoryDefinition;
use crate::engine::compile::{GUARD_SIZE, MemoryStyle};
use crate::engine::sys::{Mmap, page_size};
use crate::engine::types::MemoryType;
use std::io;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A handle to a memory.
#[derive(Clone)]
pub struct Memory {
    group: Group,
    obj: NonNull<MemoryObj>,
}

/// A memory, owned by its group.
pub enum MemoryObj {
    Own(OwnMemory),
    /// The group's share of a memory that other threads may use, too.
    Shared(SharedMemory, Option<Rc<dyn MemoryHost>>),
}

/// A memory of one group alone.
pub struct OwnMemory {
    ty: MemoryType,
    style: MemoryStyle,
    limits: Limits,
    /// Where the memory lies: for a reserved one the guard before it comes first.
    mapping: Mmap,
    definition: Box<VMMemoryDefinition>,
}

/// Bytes that fault before a reserved memory.
const GUARD_BEFORE: usize = GUARD_SIZE as usize;
pub(super) const RESERVED: usize = 4 << 30;

/// Address space for a reserved memory, and where in it the memory starts.
pub(super) fn reserve_guarded() -> io::Result<(Mmap, usize)> {
    let mapping = Mmap::reserve(GUARD_BEFORE + RESERVED + GUARD_SIZE as usize)?;
    Ok((mapping, GUARD_BEFORE))
}

impl OwnMemory {
    fn new(store: &Store, ty: MemoryType) -> Result<OwnMemory, Error> {
        let style = store.engine().tunables().style_of(&ty);
        let bytes = byte_len(&ty, ty.minimum).ok_or_else(|| too_large(&ty))?;
        let limits = store.limits();
        limits.check_memory(bytes)?;
        let failed = |e| cannot_allocate(bytes, e);
        let (mapping, offset) = match style {
            MemoryStyle::Reserved => reserve_guarded().map_err(failed)?,
            MemoryStyle::Bounded => (Mmap::reserve(round_to_page(bytes)).map_err(failed)?, 0),
        };
        mapping.make_writable(offset..offset + round_to_page(bytes)).map_err(failed)?;
        // SAFETY: `offset` is inside the mapping.
        let base = unsafe { mapping.start().add(offset) };
        let definition = Box::new(VMMemoryDefinition { base, length: AtomicUsize::new(bytes) });
        Ok(OwnMemory { ty, style, limits, mapping, definition })
    }

    fn byte_len(&self) -> usize {
        self.definition.length.load(Ordering::Relaxed)
    }

    /// Gives the bytes back and is an empty memory from then on, for good. The pages stay mapped: a
    /// buffer over them may live on.
    fn close(&mut self) {
        let offset = self.definition.base as usize - self.mapping.start() as usize;
        // Where the system refuses, the bytes go with the mapping.
        let _ = self.mapping.discard(offset..offset + round_to_page(self.byte_len()));
        self.definition.length.store(0, Ordering::Relaxed);
        self.limits.memory_bytes = 0;
    }

    fn shrink(&mut self, len: usize) -> Result<(), Error> {
        let old = self.byte_len();
        if len >= old {
            return Ok(());
        }
        self.zero(len..old)?;
        let offset = self.definition.base as usize - self.mapping.start() as usize;
        if self.style == MemoryStyle::Reserved {
            // What wasm does not check must fault.
            let beyond = offset + round_to_page(len)..offset + round_to_page(old);
            self.mapping.make_inaccessible(beyond).map_err(cannot_reset)?;
        }
        self.definition.length.store(len, Ordering::Relaxed);
        Ok(())
    }

    /// Makes bytes zero: whole pages by giving them back.
    fn zero(&mut self, range: Range<usize>) -> Result<(), Error> {
        let offset = self.definition.base as usize - self.mapping.start() as usize;
        let (first, last) = (round_to_page(range.start), range.end - range.end % page_size());
        let pages = first..last.max(first);
        self.mapping.discard(offset + pages.start..offset + pages.end).map_err(cannot_reset)?;
        for part in [range.start..first.min(range.end), pages.end.max(range.start)..range.end.max(pages.end)] {
            // SAFETY: inside the memory, and wasm, its other user, does not run.
            unsafe { self.definition.base.add(part.start).write_bytes(0, part.len()) };
        }
        Ok(())
    }

    fn grow(&mut self, delta: u64) -> Option<u64> {
        let len = self.byte_len();
        let old = len as u64 >> self.ty.page_size_log2;
        let bytes = grown_len(&self.ty, old, delta).filter(|bytes| self.limits.allow_memory(*bytes))?;
        let (old_end, end) = (round_to_page(len), round_to_page(bytes));
        match self.style {
            MemoryStyle::Reserved => {
                self.mapping.make_writable(GUARD_BEFORE + old_end..GUARD_BEFORE + end).ok()?;
            }
            MemoryStyle::Bounded if end > self.mapping.len() => {
                let larger = Mmap::reserve(end).ok()?;
                larger.make_writable(0..end).ok()?;
                // SAFETY: both mappings are ours, distinct, and at least this long.
                unsafe { ptr::copy_nonoverlapping(self.definition.base, larger.start(), len) };
                self.definition.base = larger.start();
                self.mapping = larger;
            }
            MemoryStyle::Bounded => {}
        }
        self.definition.length.store(bytes, Ordering::Relaxed);
        Some(old)
    }
}

impl MemoryObj {
    /// A zeroed memory of the type's minimum size.
    pub(super) fn new(store: &Store, ty: MemoryType) -> Result<Box<MemoryObj>, Error> {
        Ok(Box::new(if ty.shared {
            let shared = SharedMemory::new(store.engine(), ty)?;
            store.limits().check_memory(shared.byte_len())?;
            MemoryObj::Shared(shared, None)
        } else {
            MemoryObj::Own(OwnMemory::new(store, ty)?)
        }))
    }

    pub(super) fn ty(&self) -> MemoryType {
        match self {
            MemoryObj::Own(own) => own.ty,
            MemoryObj::Shared(shared, _) => shared.ty(),
        }
    }

    pub(super) fn definition(&self) -> *mut VMMemoryDefinition {
        match self {
            MemoryObj::Own(own) => ptr::from_ref(&*own.definition).cast_mut(),
            MemoryObj::Shared(shared, _) => shared.definition(),
        }
    }

    pub(super) fn base(&self) -> *mut u8 {
        match self {
            MemoryObj::Own(own) => own.definition.base,
            MemoryObj::Shared(shared, _) => shared.base(),
        }
    }

    pub(super) fn byte_len(&self) -> usize {
        match self {
            MemoryObj::Own(own) => own.byte_len(),
            MemoryObj::Shared(shared, _) => shared.byte_len(),
        }
    }

    pub(super) fn pages(&self) -> u64 {
        self.byte_len() as u64 >> self.ty().page_size_log2
    }

    /// Grows by `delta` pages and returns the old size, or `None` where the type, the engine or
    /// the machine has no more.
    pub(super) fn grow(&mut self, delta: u64) -> Option<u64> {
        match self {
            MemoryObj::Own(own) => own.grow(delta),
            MemoryObj::Shared(shared, host) => shared.grow_with(delta, host.as_deref()),
        }
    }

    /// Who keeps the bytes, if they are the host's.
    pub(super) fn host(&self) -> Option<&Rc<dyn MemoryHost>> {
        match self {
            MemoryObj::Own(_) => None,
            MemoryObj::Shared(_, host) => host.as_ref(),
        }
    }

    /// Gives the bytes back at once; those of a shared memory are others', too, and stay.
    pub(super) fn close(&mut self) {
        if let MemoryObj::Own(own) = self {
            own.close();
        }
    }

    /// Has no more than `len` bytes; what was behind them is gone. A buffer over them must not be used
    /// any more. Shared memories stay as they are.
    pub(super) fn shrink(&mut self, len: usize) -> Result<(), Error> {
        match self {
            MemoryObj::Own(own) => own.shrink(len),
            MemoryObj::Shared(..) => Ok(()),
        }
    }

    /// Makes bytes zero by giving their pages back. Inside the memory.
    pub(super) fn discard(&mut self, range: Range<usize>) -> Result<(), Error> {
        match self {
            MemoryObj::Own(own) => own.zero(range),
            MemoryObj::Shared(..) => Ok(()),
        }
    }

    /// Whether `len` bytes at `start` are inside.
    pub(super) fn holds(&self, start: u64, len: u64) -> bool {
        start.checked_add(len).is_some_and(|end| end <= self.byte_len() as u64)
    }
}

fn cannot_reset(e: io::Error) -> Error {
    Error::Internal(format!("cannot give pages of a memory back: {e}"))
}

pub(super) fn round_to_page(bytes: usize) -> usize {
    bytes.next_multiple_of(page_size())
}

/// The size of so many pages, if the engine can hold it.
pub(super) fn byte_len(ty: &MemoryType, pages: u64) -> Option<usize> {
    let bytes = usize::try_from(pages.checked_shl(u32::from(ty.page_size_log2))?).ok()?;
    let intact = bytes as u64 >> ty.page_size_log2 == pages;
    // The size in pages must fit the index type, of which 2^32 pages of one byte do not.
    let countable = ty.memory64 || pages <= u64::from(u32::MAX);
    let limit = if ty.memory64 { 1 << 46 } else { RESERVED };
    (intact && countable && bytes <= limit).then_some(bytes)
}

/// The size after growing from `old` pages, if the type and the engine allow it.
pub(super) fn grown_len(ty: &MemoryType, old: u64, delta: u64) -> Option<usize> {
    let pages = old.checked_add(delta)?;
    if ty.maximum.is_some_and(|maximum| pages > maximum) {
        return None;
    }
    byte_len(ty, pages)
}

pub(super) fn too_large(ty: &MemoryType) -> Error {
    Error::Internal(format!("a memory of {} pages is more than this engine can hold", ty.minimum))
}

pub(super) fn cannot_allocate(bytes: usize, e: io::Error) -> Error {
    Error::Internal(format!("cannot allocate a memory of {bytes} bytes: {e}"))
}

impl Memory {
    pub fn new(store: &Store, ty: MemoryType) -> Result<Memory, Error> {
        Ok(Memory::adopt(store, MemoryObj::new(store, ty)?))
    }

    pub(super) fn of_shared(store: &Store, shared: SharedMemory, host: Option<Rc<dyn MemoryHost>>) -> Memory {
        Memory::adopt(store, Box::new(MemoryObj::Shared(shared, host)))
    }

    fn adopt(store: &Store, obj: Box<MemoryObj>) -> Memory {
        let group = Group::new(store);
        let ptr = NonNull::from(&*obj);
        group.add(|members| members.memories.push(obj));
        Memory { group, obj: ptr }
    }

    pub(super) fn of(group: Group, obj: NonNull<MemoryObj>) -> Memory {
        Memory { group, obj }
    }

    fn obj(&self) -> &MemoryObj {
        // SAFETY: our group keeps the object; mutable access is only taken inside `grow`, which
        // calls nothing that could come back here.
        unsafe { self.obj.as_ref() }
    }

    /// What other threads need to use this memory, if its type is shared and the bytes are ours.
    pub fn share(&self) -> Option<SharedMemory> {
        match self.obj() {
            MemoryObj::Own(_) => None,
            // Another thread could not keep the host's bytes.
            MemoryObj::Shared(_, Some(_)) => None,
            MemoryObj::Shared(shared, None) => Some(shared.clone()),
        }
    }

    /// The declared type; its minimum stays what it was when the memory was made.
    pub fn ty(&self) -> MemoryType {
        self.obj().ty()
    }

    /// Where the memory starts. Moves only when a bounded memory that is not shared grows.
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

    /// Notes that the host's bytes may have become more.
    pub fn follow_host(&self) {
        if let MemoryObj::Shared(shared, Some(host)) = self.obj() {
            shared.follow(&**host);
        }
    }

    /// Grows by `delta` pages; the old size, or `None` if it cannot.
    pub fn grow(&self, delta: u64) -> Option<u64> {
        // SAFETY: as in `obj`; no reference to the object is held here.
        unsafe { (*self.obj.as_ptr()).grow(delta) }
    }

    /// The same for the same memory, in whichever stores a shared one is.
    pub fn id(&self) -> usize {
        self.obj().definition() as usize
    }

    pub(super) fn group(&self) -> &Group {
        &self.group
    }

    pub(super) fn as_ptr(&self) -> NonNull<MemoryObj> {
        self.obj
    }
}
