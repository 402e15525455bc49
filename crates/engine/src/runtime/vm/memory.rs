//! Linear memories.
//!
//! Invariants: the definition always holds the current address and size. A reserved memory moves only
//! in a reset, and the pages past its length fault. Bytes with a [`Pin`] neither move nor go away.
//! `shared_memory.rs` has what threads share, and `pages.rs` has the pages themselves.

use super::limits::{Budget, Charge, Limits};
use super::shared_memory::{MemoryHost, SharedMemory};
use super::store::Store;
use super::traps::Error;
use super::vm_box::VmBox;
use super::vmcontext::VMMemoryDefinition;
use crate::abi::MemoryStyle;
use crate::engine::Engine;
use crate::pages::{Image, Pages, RESERVED, round_to_page};
use crate::sys::page_size;
use crate::types::MemoryType;
use std::cell::{Cell, RefCell};
use std::io;
use std::ops::Range;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A memory, owned by its group.
pub enum MemoryObj {
    Own(OwnMemory),
    Shared(SharedShare),
}

/// A memory that belongs to one group only.
pub struct OwnMemory {
    ty: MemoryType,
    style: MemoryStyle,
    limits: Cell<Limits>,
    charge: Charge,
    /// This and `retired` are borrowed only while nothing can run that re-enters the memory.
    pages: RefCell<Pages>,
    definition: VmBox<VMMemoryDefinition>,
    /// How often the memory was grown, including growth by zero pages.
    generation: Cell<u64>,
    /// Has one holder more than there are pins.
    pins: RefCell<Rc<()>>,
    /// Pages that were replaced when the memory shrank, kept as long as they are pinned.
    retired: RefCell<Vec<(Pages, Rc<()>)>>,
}

/// A group's share of a memory that other threads may use too.
pub struct SharedShare {
    memory: SharedMemory,
    host: Option<Rc<dyn MemoryHost>>,
    limits: Limits,
    budget: Budget,
    /// What this group made of it, for the store's total. The memory itself counts in the budget.
    charge: Charge,
}

/// Keeps a memory's bytes in place while it lives. For users outside of the store that have the address
/// of the bytes.
pub struct Pin {
    held: Rc<()>,
}

/// The most address space reserved ahead for a memory with a 64-bit index: the most that V8 lets it have.
const RESERVED_64: usize = 16 << 30;

impl OwnMemory {
    fn new(
        store: &Store,
        engine: &Engine,
        ty: MemoryType,
        image: Option<Arc<Image>>,
    ) -> Result<OwnMemory, Error> {
        let style = engine.tunables().style_of(&ty);
        let bytes = byte_len(&ty, ty.minimum).ok_or_else(|| too_large(&ty))?;
        let limits = store.limits();
        limits.check_memory(bytes)?;
        let charge = store.charge();
        charge.set(round_to_page(bytes))?;
        let pages = match style {
            MemoryStyle::Reserved => Pages::reserved(engine.pool(), bytes, image),
            MemoryStyle::Bounded => Pages::bounded(bytes, room(&ty, &limits), image),
        };
        let pages = pages.map_err(|e| cannot_allocate(bytes, e))?;
        let definition = VMMemoryDefinition::new(pages.base(), bytes);
        Ok(OwnMemory {
            ty,
            style,
            limits: Cell::new(limits),
            charge,
            pages: RefCell::new(pages),
            definition: VmBox::new(definition),
            generation: Cell::new(0),
            pins: RefCell::default(),
            retired: RefCell::default(),
        })
    }

    fn byte_len(&self) -> usize {
        self.definition.length.load(Ordering::Relaxed)
    }

    /// Frees the bytes. The memory is empty from then on, for good. The pages stay mapped: wasm that
    /// shares the memory keeps running, and a buffer over the pages may still exist.
    fn close(&self) {
        let pages = self.pages.borrow();
        if !pages.keeps_any() {
            // If the system refuses, the bytes are freed with the mapping.
            let _ = pages.discard(0..round_to_page(self.byte_len()));
        }
        drop(pages);
        self.definition.length.store(0, Ordering::Relaxed);
        self.limits.set(Limits { memory_bytes: 0, ..self.limits.get() });
        // A smaller charge cannot fail.
        let _ = self.charge.set(0);
        self.count_generation();
    }

    fn base(&self) -> *mut u8 {
        self.definition.base.load(Ordering::Relaxed)
    }

    fn count_generation(&self) {
        self.generation.set(self.generation.get() + 1);
    }

    /// As [`OwnMemory::close`], and frees the address space too. Does nothing if pages are pinned.
    fn release(&self) {
        if self.is_pinned() {
            return;
        }
        self.close();
        let _ = self.replace_pages(Pages::none());
    }

    /// Replaces the pages and returns the old ones.
    fn replace_pages(&self, pages: Pages) -> Pages {
        self.definition.base.store(pages.base(), Ordering::Relaxed);
        self.pages.replace(pages)
    }

    /// Calls `f` with the pages that a pin of this memory holds.
    fn with_pages_of(&self, pin: &Pin, f: impl FnOnce(&Pages)) {
        match self.retired.borrow().iter().find(|(_, pins)| Rc::ptr_eq(pins, &pin.held)) {
            Some((pages, _)) => f(pages),
            None => f(&self.pages.borrow()),
        }
    }

    fn is_pinned(&self) -> bool {
        Rc::strong_count(&self.pins.borrow()) > 1
    }

    fn shrink(&self, len: usize) -> Result<(), Error> {
        let old = self.byte_len();
        if len >= old {
            return Ok(());
        }
        // An access that wasm does not check must fault past the length. A pinned byte must not fault.
        match self.style {
            MemoryStyle::Bounded => self.zero(len..old)?,
            MemoryStyle::Reserved if self.is_pinned() => {
                let fresh = self.pages.borrow().fresh(len).map_err(|e| cannot_allocate(len, e))?;
                let mut retired = self.retired.borrow_mut();
                retired.retain(|(_, pins)| Rc::strong_count(pins) > 1);
                retired.push((self.replace_pages(fresh), self.pins.take()));
            }
            MemoryStyle::Reserved => self.pages.borrow().make_inaccessible(len).map_err(cannot_reset)?,
        }
        self.definition.length.store(len, Ordering::Relaxed);
        // A smaller charge cannot fail.
        let _ = self.charge.set(round_to_page(len));
        self.count_generation();
        Ok(())
    }

    /// Makes bytes zero. Whole pages are given back to the system.
    fn zero(&self, range: Range<usize>) -> Result<(), Error> {
        let (first, last) = (round_to_page(range.start), range.end - range.end % page_size());
        let pages = first..last.max(first);
        self.pages.borrow().discard(pages.clone()).map_err(cannot_reset)?;
        for part in [range.start..first.min(range.end), pages.end.max(range.start)..range.end.max(pages.end)]
        {
            // SAFETY: the range is inside the memory, and wasm, its only other user, does not run.
            unsafe { self.base().add(part.start).write_bytes(0, part.len()) };
        }
        Ok(())
    }

    fn grow(&self, delta: u64) -> Option<u64> {
        let len = self.byte_len();
        let old = len as u64 >> self.ty.page_size_log2;
        let bytes = grown_len(&self.ty, old, delta).filter(|bytes| self.limits.get().allow_memory(*bytes))?;
        let charged = self.charge.bytes();
        self.charge.set(round_to_page(bytes)).ok()?;
        if self.make_room(len, bytes).is_err() {
            // A smaller charge cannot fail.
            let _ = self.charge.set(charged);
            return None;
        }
        self.definition.length.store(bytes, Ordering::Relaxed);
        self.count_generation();
        Some(old)
    }

    fn make_room(&self, len: usize, bytes: usize) -> io::Result<()> {
        let extended = self.pages.borrow_mut().extend(bytes);
        match extended {
            // A pin of an empty memory keeps nothing in place.
            Err(_) if self.style == MemoryStyle::Bounded && (len == 0 || !self.is_pinned()) => {
                let larger = Pages::bounded(bytes, room(&self.ty, &self.limits.get()), None)?;
                // SAFETY: both ranges are ours, distinct, and have at least `len` bytes.
                unsafe { ptr::copy_nonoverlapping(self.base(), larger.base(), len) };
                drop(self.replace_pages(larger));
                Ok(())
            }
            result => result,
        }
    }
}

/// The number of bytes that a bounded memory may grow to.
fn room(ty: &MemoryType, limits: &Limits) -> usize {
    let most = if ty.memory64 { RESERVED_64 } else { RESERVED };
    let declared = ty.maximum.map_or(most, |pages| byte_len(ty, pages).unwrap_or(most));
    declared.min(most).min(limits.memory_bytes).min(limits.total_bytes)
}

impl MemoryObj {
    /// Makes a memory of the type's minimum size, for code of `engine`. It has the bytes of the image, and zeros
    /// elsewhere. Shared memories have none.
    pub(crate) fn new(
        store: &Store,
        engine: &Engine,
        ty: MemoryType,
        image: Option<Arc<Image>>,
    ) -> Result<VmBox<MemoryObj>, Error> {
        if !ty.shared {
            return Ok(VmBox::new(MemoryObj::Own(OwnMemory::new(store, engine, ty, image)?)));
        }
        let bytes = byte_len(&ty, ty.minimum).ok_or_else(|| too_large(&ty))?;
        store.limits().check_memory(bytes)?;
        let memory = SharedMemory::new(engine, ty)?;
        memory.charge(&store.budget())?;
        let share = MemoryObj::of_shared(store, memory, None);
        if let MemoryObj::Shared(share) = &*share {
            // That budget has no limit.
            share.charge.set(round_to_page(bytes))?;
        }
        Ok(share)
    }

    /// Makes this group's share of a shared memory.
    pub(crate) fn of_shared(
        store: &Store,
        memory: SharedMemory,
        host: Option<Rc<dyn MemoryHost>>,
    ) -> VmBox<MemoryObj> {
        let (limits, budget) = (store.limits(), store.budget());
        let charge = store.charge_to(Budget::new(usize::MAX));
        VmBox::new(MemoryObj::Shared(SharedShare { memory, host, limits, budget, charge }))
    }

    /// How the bytes lie.
    pub(crate) fn style(&self) -> MemoryStyle {
        match self {
            MemoryObj::Own(own) => own.style,
            MemoryObj::Shared(share) => share.memory.style(),
        }
    }

    /// The shared memory itself, if it is one, and its host, if that owns the bytes.
    pub(crate) fn shared(&self) -> Option<(&SharedMemory, Option<&dyn MemoryHost>)> {
        match self {
            MemoryObj::Own(_) => None,
            MemoryObj::Shared(share) => Some((&share.memory, share.host.as_deref())),
        }
    }

    /// See `Memory::generation`.
    pub(crate) fn generation(&self) -> u64 {
        match self {
            MemoryObj::Own(own) => own.generation.get(),
            MemoryObj::Shared(_) => 0,
        }
    }

    /// See `Memory::pin`.
    pub(crate) fn pin(&self) -> Pin {
        let held = match self {
            MemoryObj::Own(own) => own.pins.borrow().clone(),
            MemoryObj::Shared(_) => Rc::default(),
        };
        Pin { held }
    }

    /// See `Memory::abandon`.
    pub(crate) fn abandon(&self, pin: &Pin) {
        match self {
            MemoryObj::Own(own) => own.with_pages_of(pin, Pages::keep_all),
            MemoryObj::Shared(share) => share.memory.keep(None),
        }
    }

    /// See `Memory::abandon_bytes`.
    pub(crate) fn abandon_bytes(&self, pin: &Pin, bytes: Range<usize>) {
        match self {
            MemoryObj::Own(own) => own.with_pages_of(pin, |pages| pages.keep(bytes)),
            MemoryObj::Shared(share) => share.memory.keep(Some(bytes)),
        }
    }

    pub(crate) fn ty(&self) -> MemoryType {
        match self {
            MemoryObj::Own(own) => own.ty,
            MemoryObj::Shared(share) => share.memory.ty(),
        }
    }

    pub(crate) fn definition(&self) -> *mut VMMemoryDefinition {
        match self {
            MemoryObj::Own(own) => own.definition.as_ptr().as_ptr(),
            MemoryObj::Shared(share) => share.memory.definition(),
        }
    }

    pub(crate) fn base(&self) -> *mut u8 {
        match self {
            MemoryObj::Own(own) => own.base(),
            MemoryObj::Shared(share) => share.memory.base(),
        }
    }

    pub(crate) fn byte_len(&self) -> usize {
        match self {
            MemoryObj::Own(own) => own.byte_len(),
            MemoryObj::Shared(share) => share.memory.byte_len(),
        }
    }

    pub(crate) fn pages(&self) -> u64 {
        self.byte_len() as u64 >> self.ty().page_size_log2
    }

    /// Grows by `delta` pages and returns the old size, or `None` if the type, the engine or the machine
    /// allows no more.
    pub(crate) fn grow(&self, delta: u64) -> Option<u64> {
        match self {
            MemoryObj::Own(own) => own.grow(delta),
            MemoryObj::Shared(share) => share.grow(delta),
        }
    }

    /// The host that owns the bytes, if one does.
    pub(crate) fn host(&self) -> Option<&Rc<dyn MemoryHost>> {
        match self {
            MemoryObj::Own(_) => None,
            MemoryObj::Shared(share) => share.host.as_ref(),
        }
    }

    /// Frees bytes and address space, except those that are pinned or shared with others.
    pub(crate) fn release(&self) {
        if let MemoryObj::Own(own) = self {
            own.release();
        }
    }

    /// Frees the bytes at once. The bytes of a shared memory stay, as they belong to others too.
    pub(crate) fn close(&self) {
        if let MemoryObj::Own(own) = self {
            own.close();
        }
    }

    /// Shrinks to at most `len` bytes, which may be zeroed or keep their values. A reserved memory whose
    /// bytes are pinned gets new pages: holders of its base address must read it again
    /// (`InstanceObj::refresh_memories`). Shared memories stay as they are.
    pub(crate) fn shrink(&self, len: usize) -> Result<(), Error> {
        match self {
            MemoryObj::Own(own) => own.shrink(len),
            MemoryObj::Shared(..) => Ok(()),
        }
    }

    /// Makes all bytes those of the image again, and zeros elsewhere. Returns false, and changes nothing, if the
    /// memory has no image any more.
    pub(crate) fn restart(&self) -> Result<bool, Error> {
        match self {
            MemoryObj::Own(own) => own.pages.borrow().restart().map_err(cannot_reset),
            MemoryObj::Shared(..) => Ok(false),
        }
    }

    /// Makes bytes zero by giving their pages back. The range must be inside the memory.
    pub(crate) fn discard(&self, range: Range<usize>) -> Result<(), Error> {
        match self {
            MemoryObj::Own(own) => own.zero(range),
            MemoryObj::Shared(..) => Ok(()),
        }
    }

    /// Whether `len` bytes at `start` are inside the memory.
    pub(crate) fn holds(&self, start: u64, len: u64) -> bool {
        start.checked_add(len).is_some_and(|end| end <= self.byte_len() as u64)
    }
}

fn cannot_reset(e: io::Error) -> Error {
    Error::Internal(format!("cannot give pages of a memory back: {e}"))
}

impl SharedShare {
    fn grow(&self, delta: u64) -> Option<u64> {
        let ty = self.memory.ty();
        let old = self.memory.grow_with(delta, self.host.as_deref(), Some(&self.budget), &self.limits)?;
        // The host counts its own bytes.
        if self.host.is_none() {
            let bytes = |pages| byte_len(&ty, pages).map_or(0, round_to_page);
            let grown = bytes(old + delta).saturating_sub(bytes(old));
            // This budget has no limit.
            let _ = self.charge.set(self.charge.bytes() + grown);
        }
        Some(old)
    }
}

/// The size in bytes of `pages` pages, if the engine can hold so many.
pub(crate) fn byte_len(ty: &MemoryType, pages: u64) -> Option<usize> {
    let bytes = usize::try_from(pages.checked_shl(u32::from(ty.page_size_log2))?).ok()?;
    let intact = bytes as u64 >> ty.page_size_log2 == pages;
    // The size in pages must fit the index type. 2^32 pages of one byte do not.
    let countable = ty.memory64 || pages <= u64::from(u32::MAX);
    let limit = if ty.memory64 { 1 << 46 } else { RESERVED };
    (intact && countable && bytes <= limit).then_some(bytes)
}

/// The size after growing from `old` pages, if the type and the engine allow it.
pub(crate) fn grown_len(ty: &MemoryType, old: u64, delta: u64) -> Option<usize> {
    let pages = old.checked_add(delta)?;
    if ty.maximum.is_some_and(|maximum| pages > maximum) {
        return None;
    }
    byte_len(ty, pages)
}

pub(crate) fn too_large(ty: &MemoryType) -> Error {
    Error::OutOfMemory(format!("a memory of {} pages is more than this engine can hold", ty.minimum))
}

pub(crate) fn cannot_allocate(bytes: usize, e: io::Error) -> Error {
    Error::OutOfMemory(format!("cannot allocate a memory of {bytes} bytes: {e}"))
}
