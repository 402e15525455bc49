//! Stopping guest code from another thread, and the memory that this needs.
//!
//! A store's `VMStoreContext` lies behind a *poll area* that every loop of compiled code reads.
//! An interruption makes the area inaccessible (or, without signals, writes ones into it), and raises
//! the stack limit so that the next function entered stops too. Invariant: the request stays set
//! until it is cleared. If wasm is entered in between, it stops at once.
//!
//! The same area serves to *ask*: at its next loop iteration, the thread that runs the guest calls the
//! store's checkpoint, and continues or stops depending on the answer. The fault handler only makes the
//! thread leave the loop (`sys/arch.rs`). The checkpoint runs on the stack of wasm, as a host function would.

use super::parking::Parker;
use super::traps::NEVER;
use super::vmcontext::VMStoreContext;
use crate::abi::POLL_SIZE;
use crate::pages::Pool;
use crate::sys::{Mmap, page_size};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// The poll area and the context behind it.
pub(crate) struct StoreMemory {
    mapping: Mmap,
    /// Where the mapping goes in the end.
    pool: Arc<Pool>,
    /// Whether anybody has ever changed the poll area. It may not be what a new store needs then.
    changed: AtomicBool,
    signals: bool,
    /// The stack limit of the innermost entry. The one in the context may differ.
    limit: AtomicUsize,
    /// Whether the next loop iteration must ask.
    asked: AtomicBool,
}

/// The checkpoint of a store, which decides whether wasm continues.
pub(crate) struct Checkpoint {
    pub memory: Arc<StoreMemory>,
    pub go_on: Box<dyn Fn() -> bool>,
}

/// Why a loop found its poll area inaccessible.
pub(crate) enum Met {
    Interruption,
    /// `Checkpoint::go_on` must be called.
    Question,
    /// The area is accessible again.
    Nothing,
}

impl Checkpoint {
    /// Called by the fault handler when a loop read a poll area that is not accessible. Makes the area
    /// accessible, unless the loop must stop.
    pub fn meet(&self) -> Met {
        let asked = self.memory.asked.swap(false, Ordering::SeqCst);
        if self.memory.set_poll(false).is_err() {
            return Met::Interruption;
        }
        // An interruption first sets its flag and then protects the area, so one of the two threads
        // protects it.
        if self.memory.is_interrupted() {
            // If the kernel refuses, the interrupting thread protects the area, or the guest's next call
            // stops it.
            let _ = self.memory.set_poll(true);
            return Met::Interruption;
        }
        // If two requests race, the first may be answered for both before the second protects the area.
        if asked { Met::Question } else { Met::Nothing }
    }
}

/// Stops the wasm of one store. May be used from any thread and outlives the store.
#[derive(Clone)]
pub struct InterruptHandle {
    memory: Arc<StoreMemory>,
    parker: Arc<Parker>,
}

const CONTEXT: usize = POLL_SIZE as usize;

impl StoreMemory {
    pub(crate) fn new(
        pool: &Arc<Pool>,
        context: VMStoreContext,
        signals: bool,
    ) -> io::Result<Arc<StoreMemory>> {
        const { assert!(size_of::<VMStoreContext>() <= 4096) };
        let memory = StoreMemory {
            mapping: pool.take_context(CONTEXT + page_size())?,
            pool: pool.clone(),
            changed: AtomicBool::new(false),
            signals,
            limit: AtomicUsize::new(0),
            asked: AtomicBool::new(false),
        };
        // SAFETY: this is a page of our own, large enough and aligned, and nobody else has its address yet.
        unsafe { memory.context().write(context) };
        Ok(Arc::new(memory))
    }

    pub(crate) fn context(&self) -> *mut VMStoreContext {
        self.mapping.start().wrapping_add(CONTEXT).cast()
    }

    /// The stack limit of the innermost entry.
    pub(crate) fn stack_limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    fn limit_in_context(&self) -> &AtomicUsize {
        // SAFETY: the field is only ever accessed atomically, and lives as long as the mapping.
        unsafe { &(*self.context()).stack_limit }
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.context()).interrupted.load(Ordering::SeqCst) }
    }

    /// Sets the stack limit of the innermost entry. An interrupted guest keeps its limit out of reach.
    pub(crate) fn set_stack_limit(&self, limit: usize) {
        // Most entries happen at the same depth as the one before, and the store below is expensive.
        if self.limit_in_context().load(Ordering::Relaxed) == limit && self.stack_limit() == limit {
            return;
        }
        self.limit.store(limit, Ordering::Relaxed);
        self.limit_in_context().store(limit, Ordering::SeqCst);
        // A request first sets its flag and then the limit. In either order of the two threads, the
        // limit ends up out of reach.
        if self.is_interrupted() {
            self.limit_in_context().store(NEVER, Ordering::SeqCst);
        }
    }

    fn set_poll(&self, stop: bool) -> io::Result<()> {
        self.changed.store(true, Ordering::Relaxed);
        if self.signals {
            return match stop {
                true => self.mapping.make_inaccessible(0..CONTEXT),
                false => self.mapping.make_writable(0..CONTEXT),
            };
        }
        for word in 0..CONTEXT / 4 {
            // SAFETY: the poll area is ours, and every access to it is to a whole word.
            let word = unsafe { &*self.mapping.start().cast::<AtomicU32>().add(word) };
            word.store(u32::from(stop), Ordering::Relaxed);
        }
        Ok(())
    }

    pub(crate) fn clear(&self) -> io::Result<()> {
        // SAFETY: as in `limit_in_context`.
        unsafe { (*self.context()).interrupted.store(false, Ordering::SeqCst) };
        self.limit_in_context().store(self.stack_limit(), Ordering::SeqCst);
        self.set_poll(false)
    }
}

impl Drop for StoreMemory {
    fn drop(&mut self) {
        // The poll area is as it was made: accessible, and zero. The context is written anew.
        if !*self.changed.get_mut() {
            self.pool.give_context(std::mem::replace(&mut self.mapping, Mmap::none()));
        }
    }
}

impl InterruptHandle {
    pub(crate) fn new(memory: Arc<StoreMemory>, parker: Arc<Parker>) -> InterruptHandle {
        InterruptHandle { memory, parker }
    }

    /// Makes the thread that runs wasm of the store call its checkpoint, if it has one
    /// (`Store::set_checkpoint`), at the next loop iteration or in `memory.atomic.wait`. A request is
    /// rarely lost to another one, so the caller must repeat it.
    pub fn ask(&self) {
        self.memory.asked.store(true, Ordering::SeqCst);
        // If the kernel refuses, this request is lost.
        let _ = self.memory.set_poll(true);
        self.parker.ask();
    }

    /// Interrupts the wasm of the store: it traps with `TrapCode::Interrupted` at the next loop
    /// iteration or function call, and so does all wasm entered later, until
    /// `Store::clear_interrupt`. `memory.atomic.wait` ends too. Host functions that wait are not
    /// woken by this.
    pub fn interrupt(&self) {
        // SAFETY: as in `limit_in_context`.
        unsafe { (*self.memory.context()).interrupted.store(true, Ordering::SeqCst) };
        self.memory.limit_in_context().store(NEVER, Ordering::SeqCst);
        // If the kernel refuses, function calls still stop. Nobody could handle the error here.
        let _ = self.memory.set_poll(true);
        self.parker.set_interrupted(true);
    }
}
