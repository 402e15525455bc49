//! Stopping guest code from another thread, and the memory that makes it possible.
//!
//! A store's `VMStoreContext` lies behind a *poll area* that every loop of compiled code reads.
//! An interruption takes the area away (or, without signals, writes ones into it), and raises
//! the stack limit so that the next function entered stops too. Invariant: the request stays
//! until it is cleared; entering wasm in between stops at once.
//!
//! The same area serves to *ask*: the thread that runs the guest, at its next loop iteration, calls
//! what the store has for that, and goes on or stops as it says. The fault handler only has it leave the
//! loop (`sys/arch.rs`): what is called runs on the stack of wasm, as a function of the host would.

use super::parking::Parker;
use super::traps::NEVER;
use super::vmcontext::VMStoreContext;
use crate::abi::POLL_SIZE;
use crate::sys::{Mmap, page_size};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// The poll area and the context behind it.
pub(crate) struct StoreMemory {
    mapping: Mmap,
    signals: bool,
    /// The stack limit of the innermost entry, whatever stands in the context.
    limit: AtomicUsize,
    /// Whether to ask at the next loop iteration.
    asked: AtomicBool,
}

/// What a store asks whether to go on.
pub(crate) struct Checkpoint {
    pub memory: Arc<StoreMemory>,
    pub go_on: Box<dyn Fn() -> bool>,
}

/// What a loop has met that found its poll area not accessible.
pub(crate) enum Met {
    Interruption,
    /// `Checkpoint::go_on` is to be called.
    Question,
    /// The area is there again.
    Nothing,
}

impl Checkpoint {
    /// Called by the fault handler when a loop met a poll area that is not accessible. Makes it
    /// accessible, unless the loop is to stop.
    pub fn meet(&self) -> Met {
        let asked = self.memory.asked.swap(false, Ordering::SeqCst);
        if self.memory.set_poll(false).is_err() {
            return Met::Interruption;
        }
        // An interruption sets its flag first and takes the area away then, so one of us two does.
        if self.memory.is_interrupted() {
            // If the kernel refuses, whoever interrupts takes the area away, or the guest's next call
            // stops it.
            let _ = self.memory.set_poll(true);
            return Met::Interruption;
        }
        // Of two requests that meet, the first may have been answered for both when the second takes
        // the area away.
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
    pub(crate) fn new(context: VMStoreContext, signals: bool) -> io::Result<Arc<StoreMemory>> {
        const { assert!(size_of::<VMStoreContext>() <= 4096) };
        let mapping = Mmap::reserve(CONTEXT + page_size())?;
        mapping.make_writable(0..CONTEXT + page_size())?;
        let memory =
            StoreMemory { mapping, signals, limit: AtomicUsize::new(0), asked: AtomicBool::new(false) };
        // SAFETY: a page of our own, large enough, aligned, and seen by nobody yet.
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
        // SAFETY: a field that is only ever accessed atomically, alive with the mapping.
        unsafe { &(*self.context()).stack_limit }
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.context()).interrupted.load(Ordering::SeqCst) }
    }

    /// Sets the stack limit of the innermost entry, unless the guest is to stop.
    pub(crate) fn set_stack_limit(&self, limit: usize) {
        // Most entries happen at the depth of the one before, and the store below is dear.
        if self.limit_in_context().load(Ordering::Relaxed) == limit && self.stack_limit() == limit {
            return;
        }
        self.limit.store(limit, Ordering::Relaxed);
        self.limit_in_context().store(limit, Ordering::SeqCst);
        // The request sets its flag first and the limit then: whichever way the two meet, the
        // limit ends up out of reach.
        if self.is_interrupted() {
            self.limit_in_context().store(NEVER, Ordering::SeqCst);
        }
    }

    fn set_poll(&self, stop: bool) -> io::Result<()> {
        if self.signals {
            return match stop {
                true => self.mapping.make_inaccessible(0..CONTEXT),
                false => self.mapping.make_writable(0..CONTEXT),
            };
        }
        for word in 0..CONTEXT / 4 {
            // SAFETY: the poll area is ours, and everyone accesses its words whole.
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

impl InterruptHandle {
    pub(crate) fn new(memory: Arc<StoreMemory>, parker: Arc<Parker>) -> InterruptHandle {
        InterruptHandle { memory, parker }
    }

    /// Has the thread that runs wasm of the store call its checkpoint at the next loop iteration, or in
    /// `memory.atomic.wait`, if it has one (`Store::set_checkpoint`). Rarely a request is lost to another
    /// one; who asks asks again.
    pub fn ask(&self) {
        self.memory.asked.store(true, Ordering::SeqCst);
        // If the kernel refuses, nobody is asked this time.
        let _ = self.memory.set_poll(true);
        self.parker.ask();
    }

    /// Asks the wasm of the store to stop: it traps with `TrapCode::Interrupted` at the next loop
    /// iteration or function call, and so does all that is entered later, until
    /// `Store::clear_interrupt`. `memory.atomic.wait` ends, too; host functions that wait are not
    /// woken by this.
    pub fn interrupt(&self) {
        // SAFETY: as in `limit_in_context`.
        unsafe { (*self.memory.context()).interrupted.store(true, Ordering::SeqCst) };
        self.memory.limit_in_context().store(NEVER, Ordering::SeqCst);
        // If the kernel refuses, function calls still stop; there is nobody to tell here.
        let _ = self.memory.set_poll(true);
        self.parker.set_interrupted(true);
    }
}
