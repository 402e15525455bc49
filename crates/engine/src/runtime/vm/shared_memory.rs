//! Memories that several threads use at the same time.
//!
//! Public: a [`SharedMemory`] can be sent to another thread, where [`SharedMemory::to_memory`] makes a
//! handle for a store. Invariants: the bytes never move, and stay mapped while any thread has a handle.
//! The length only grows, and includes only pages that can be accessed. Other threads change the bytes
//! at any time, so no Rust reference to them is ever made.
//!
//! The bytes belong to us, or to a host that shares memory with its own code. In the second case each
//! handle has a [`MemoryHost`], which keeps the bytes, grows them, and lets threads wait with the host's.

use super::limits::{Budget, Limits, SharedCharges};
use super::memory;
use super::parking::Wait;
use super::traps::Error;
use super::vmcontext::VMMemoryDefinition;
use crate::abi::MemoryStyle;
use crate::engine::Engine;
use crate::pages::{Pages, round_to_page};
use crate::types::MemoryType;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

#[derive(Clone)]
pub struct SharedMemory(Arc<Inner>);

struct Inner {
    ty: MemoryType,
    style: MemoryStyle,
    bytes: Bytes,
    definition: VMMemoryDefinition,
    /// Held while the memory grows.
    growing: Mutex<SharedCharges>,
}

/// The owner of the bytes.
enum Bytes {
    Own(Pages),
    Host,
}

/// The host's side of a shared memory that owns its bytes, for the thread of one store. It keeps the
/// bytes mapped.
pub trait MemoryHost {
    /// Grows the memory by `delta` pages. Returns whether it could.
    fn grow(&self, delta: u64) -> bool;
    /// The address and number of the bytes. The number never decreases.
    fn bytes(&self) -> (*mut u8, usize);
    /// Waits as `memory.atomic.wait` does, for a word of `size` bytes inside the memory.
    fn wait(&self, address: u64, size: u32, expected: u64, timeout: Option<Duration>) -> Result<Wait, Error>;
    /// Wakes at most `count` of the waiters, and returns how many.
    fn notify(&self, address: u64, count: u32) -> u32;
}

/// A weak reference to a shared memory.
#[derive(Clone)]
pub struct WeakSharedMemory(Weak<Inner>);

impl WeakSharedMemory {
    pub fn upgrade(&self) -> Option<SharedMemory> {
        self.0.upgrade().map(SharedMemory)
    }
}

// SAFETY: the definition is atomic, and the mapping is `Send` and `Sync`. Only the guest, and we through
// raw pointers, access the bytes.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Inner {
    fn growing(&self) -> MutexGuard<'_, SharedCharges> {
        self.growing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most address space that a bounded memory reserves: a 64-bit index allows any maximum.
const RESERVE_LIMIT: usize = 1 << 40;

impl SharedMemory {
    /// Makes a zeroed memory of the type's minimum size.
    pub fn new(engine: &Engine, ty: MemoryType) -> Result<SharedMemory, Error> {
        let (true, Some(maximum)) = (ty.shared, ty.maximum) else {
            return Err(Error::Internal("a shared memory is declared as one, with a maximum".into()));
        };
        let bytes = memory::byte_len(&ty, ty.minimum).ok_or_else(|| memory::too_large(&ty))?;
        let style = engine.tunables().style_of(&ty);
        let pages = match style {
            MemoryStyle::Reserved => Pages::reserved(engine.pool(), bytes, None),
            // All of its room is reserved at the start, because it cannot move.
            MemoryStyle::Bounded => {
                let maximum = memory::byte_len(&ty, maximum).unwrap_or(usize::MAX);
                Pages::bounded(bytes, maximum.min(RESERVE_LIMIT), None)
            }
        };
        let pages = pages.map_err(|e| memory::cannot_allocate(bytes, e))?;
        let definition = VMMemoryDefinition::new(pages.base(), bytes);
        let (bytes, growing) = (Bytes::Own(pages), Mutex::default());
        Ok(SharedMemory(Arc::new(Inner { ty, style, bytes, definition, growing })))
    }

    /// Makes a memory over bytes of the host, for [`SharedMemory::with_host`].
    ///
    /// # Safety
    /// `length` bytes from `base` are mapped, and stay mapped while any [`MemoryHost`] lives that is
    /// passed together with a clone of this memory.
    pub unsafe fn of_host(ty: MemoryType, base: *mut u8, length: usize) -> SharedMemory {
        let definition = VMMemoryDefinition::new(base, length);
        let (style, growing) = (MemoryStyle::Bounded, Mutex::default());
        SharedMemory(Arc::new(Inner { ty, style, bytes: Bytes::Host, definition, growing }))
    }

    /// Whether the bytes belong to a host.
    pub(crate) fn is_hosts(&self) -> bool {
        matches!(self.0.bytes, Bytes::Host)
    }

    pub(crate) fn style(&self) -> MemoryStyle {
        self.0.style
    }

    /// Keeps bytes mapped for ever, all that are accessible without a range.
    pub(crate) fn keep(&self, bytes: Option<Range<usize>>) {
        match (&self.0.bytes, bytes) {
            (Bytes::Own(pages), Some(bytes)) => pages.keep(bytes),
            (Bytes::Own(pages), None) => pages.keep_all(),
            (Bytes::Host, _) => std::mem::forget(self.clone()),
        }
    }

    /// Counts the bytes in the budget of who made the memory.
    pub(crate) fn charge(&self, budget: &Budget) -> Result<(), Error> {
        self.0.growing().add(budget, round_to_page(self.byte_len()))
    }

    /// The declared type. Its minimum is still the one the memory was made with.
    pub fn ty(&self) -> MemoryType {
        self.0.ty
    }

    pub fn base(&self) -> *mut u8 {
        self.0.definition.base.load(Ordering::Relaxed)
    }

    pub fn byte_len(&self) -> usize {
        self.0.definition.length.load(Ordering::SeqCst)
    }

    /// The current size in pages.
    pub fn size(&self) -> u64 {
        self.byte_len() as u64 >> self.0.ty.page_size_log2
    }

    /// Grows by `delta` pages. Returns the old size, or `None` if the memory cannot grow.
    pub fn grow(&self, delta: u64) -> Option<u64> {
        self.grow_with(delta, None, None, &Limits::default())
    }

    /// As [`SharedMemory::grow`]. Includes what the host's code has grown. The growth is counted in the budget,
    /// if there is one.
    pub(crate) fn grow_with(
        &self,
        delta: u64,
        host: Option<&dyn MemoryHost>,
        budget: Option<&Budget>,
        limits: &Limits,
    ) -> Option<u64> {
        let Inner { ty, bytes, definition, .. } = &*self.0;
        let mut charges = self.0.growing();
        let old = match host {
            Some(host) => self.follow(host),
            None => self.size(),
        };
        // Looked at under the lock: other threads grow the memory, too.
        let length = memory::grown_len(ty, old, delta).filter(|bytes| limits.allow_memory(*bytes))?;
        match (bytes, host) {
            (Bytes::Own(pages), _) => {
                let more = round_to_page(length) - round_to_page(self.byte_len());
                if let Some(budget) = budget {
                    charges.add(budget, more).ok()?;
                }
                if pages.make_accessible(length).is_err() {
                    budget.into_iter().for_each(|budget| charges.take_back(budget, more));
                    return None;
                }
                definition.length.store(length, Ordering::SeqCst);
            }
            (Bytes::Host, Some(host)) => {
                if !host.grow(delta) {
                    return None;
                }
                self.follow(host);
            }
            (Bytes::Host, None) => return None,
        }
        Some(old)
    }

    /// Takes over the current length of the host's bytes. Returns the size in pages.
    pub(crate) fn follow(&self, host: &dyn MemoryHost) -> u64 {
        let (base, length) = host.bytes();
        if length > self.byte_len() {
            if self.base().is_null() {
                // The base of an empty memory was unknown. Nobody uses it before there is a length.
                self.0.definition.base.store(base, Ordering::Relaxed);
            }
            self.0.definition.length.fetch_max(length, Ordering::SeqCst);
        }
        self.size()
    }

    pub fn downgrade(&self) -> WeakSharedMemory {
        WeakSharedMemory(Arc::downgrade(&self.0))
    }

    pub(crate) fn definition(&self) -> *mut VMMemoryDefinition {
        ptr::from_ref(&self.0.definition).cast_mut()
    }
}
