//! How guest code stops before its end: traps, host errors, and the record of where.
//!
//! Used by `call.rs`, the libcalls and, through [`on_fault`], the signal handler. Invariant: what
//! runs inside the signal handler takes no lock and allocates nothing.

use super::exception::Exception;
use super::limits::OverLimit;
use super::vmcontext::{SavedEntry, VMStoreContext};
use crate::engine::code::registry;
pub use crate::engine::code::registry::Frame;
pub use crate::engine::compile::trap::TrapCode;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::mem::MaybeUninit;
use std::sync::atomic::Ordering;

/// The guest did what the specification answers with a trap.
#[derive(Clone, Debug)]
pub struct Trap {
    pub code: TrapCode,
    /// The wasm frames, innermost first, at most [`MAX_FRAMES`].
    pub backtrace: Vec<Frame>,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.message())
    }
}

/// Why a call into wasm did not return.
pub enum Error {
    Trap(Trap),
    /// An exception that no wasm caught. A host function that returns it throws it.
    Exception(Exception),
    /// What a host function returned, handed back as is. Wasm cannot catch it.
    Host(Box<dyn Any>),
    /// A module asked for more than the store's [`Limits`](super::Limits) give.
    Limit(OverLimit),
    /// Something is missing or broken on the host's side: no memory, or a bug in us.
    Internal(String),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Trap(trap) => write!(f, "Trap({:?})", trap.code),
            Error::Exception(exception) => exception.fmt(f),
            Error::Host(_) => f.write_str("Host(..)"),
            Error::Limit(over) => write!(f, "Limit({over})"),
            Error::Internal(message) => write!(f, "Internal({message})"),
        }
    }
}

impl From<TrapCode> for Error {
    fn from(code: TrapCode) -> Error {
        Error::Trap(Trap { code, backtrace: Vec::new() })
    }
}

/// Backtraces keep this many frames.
pub const MAX_FRAMES: usize = 64;

/// An instruction that faulted.
#[derive(Clone, Copy)]
pub struct Fault {
    pub pc: usize,
    pub fp: usize,
}

/// Where to continue.
#[derive(Clone, Copy)]
pub struct Resume {
    pub pc: usize,
    pub sp: usize,
    pub fp: usize,
}

/// One entry from the host into wasm, on the host's stack while it lasts.
pub(super) struct Activation {
    store: *mut VMStoreContext,
    outer: *const Activation,
    /// What the store's context said before: where wasm left for the host that entered again.
    saved: SavedEntry,
    trap: Cell<Option<TrapCode>>,
    depth: Cell<usize>,
    frames: UnsafeCell<[MaybeUninit<usize>; MAX_FRAMES]>,
}

thread_local! {
    static INNERMOST: Cell<*const Activation> = const { Cell::new(std::ptr::null()) };
}

impl Activation {
    pub(super) fn new(store: *mut VMStoreContext, saved: SavedEntry) -> Activation {
        Activation {
            store,
            saved,
            outer: INNERMOST.get(),
            trap: Cell::new(None),
            depth: Cell::new(0),
            frames: UnsafeCell::new([const { MaybeUninit::uninit() }; MAX_FRAMES]),
        }
    }

    /// Makes this the innermost activation of the thread until [`Activation::leave`].
    pub(super) fn enter(&self) {
        INNERMOST.set(self);
    }

    pub(super) fn leave(&self) {
        INNERMOST.set(self.outer);
    }

    /// Notes a trap in the frame of wasm at `pc` and its callers. Runs inside signal handlers.
    ///
    /// # Safety
    /// `fp` is the frame pointer of a wasm frame of this activation, which is the thread's
    /// innermost.
    unsafe fn record(&self, code: TrapCode, mut pc: usize, mut fp: usize) {
        // SAFETY: `store` outlives the activation, and only this thread writes these fields.
        let (entry, stop) =
            unsafe { ((*self.store).entry_fp, (*self.store).interrupted.load(Ordering::Relaxed)) };
        let code = if stop && code == TrapCode::StackExhausted { TrapCode::Interrupted } else { code };
        self.trap.set(Some(code));
        let mut entry = entry;
        let mut activation = self;
        let mut depth = 0;
        while depth < MAX_FRAMES {
            // SAFETY: this thread alone uses the array, and nobody holds a reference into it
            // while wasm runs.
            unsafe { (*self.frames.get())[depth].write(pc) };
            depth += 1;
            if fp == entry {
                // The host that entered here was itself called by wasm, perhaps of this store.
                // SAFETY: outer activations are further down the stack.
                let outer = unsafe { activation.outer.as_ref() };
                let Some(outer) = outer.filter(|outer| outer.store == self.store) else { break };
                let Some((exit_pc, exit_fp, outer_entry)) = activation.saved.last_frame() else { break };
                (pc, entry, activation) = (exit_pc - 1, outer_entry, outer);
                // SAFETY: an exit trampoline's frame starts with the frame pointer of its caller.
                fp = unsafe { *(exit_fp as *const usize) };
                continue;
            }
            // SAFETY: every frame between here and the entry trampoline is of compiled code,
            // which keeps frame pointers: the caller's frame pointer, then the return address.
            let (caller_fp, return_address) = unsafe { *(fp as *const (usize, usize)) };
            // The call is before the address it returns to.
            pc = return_address - 1;
            fp = caller_fp;
        }
        self.depth.set(depth);
    }

    /// The trap that ended the activation, if it was one.
    pub(super) fn take_trap(&self) -> Option<Trap> {
        let code = self.trap.take()?;
        let backtrace = (0..self.depth.get())
            .filter_map(|i| {
                // SAFETY: `record` wrote the first `depth` entries.
                let pc = unsafe { (*self.frames.get())[i].assume_init() };
                // SAFETY: the code at `pc` belongs to the group of the function this activation
                // called, which its caller keeps alive.
                unsafe { registry::with_code_at(pc, |code| code.frame_at(pc)) }?
            })
            .collect();
        Some(Trap { code, backtrace })
    }
}

/// Notes a trap raised by a libcall or host function that wasm has just called.
///
/// # Safety
/// Called from a function that wasm called through an exit trampoline.
pub(super) unsafe fn record_trap(code: TrapCode) {
    // SAFETY: wasm is running, so there is an activation, and it is on the stack below us.
    let Some(activation) = (unsafe { INNERMOST.get().as_ref() }) else { return };
    // SAFETY: the exit trampoline wrote both fields before it called; its frame is below ours,
    // and starts with the frame pointer of its caller, the wasm function.
    unsafe {
        let store = activation.store;
        let fp = *((*store).exit_fp as *const usize);
        activation.record(code, (*store).exit_pc - 1, fp);
        VMStoreContext::unwind_to_entry(store);
    }
}

/// Answers a fault: where to continue if it is a trap of ours, `None` if it is somebody else's.
/// Runs inside signal handlers.
pub(super) fn on_fault(fault: Fault) -> Option<Resume> {
    // SAFETY: `pc` is where this thread runs.
    let code = unsafe { registry::with_code_at(fault.pc, |code| code.trap_at(fault.pc)) }??;
    // SAFETY: the thread runs our code, so it came through `call::enter`, and the activation is
    // on its stack.
    let activation = unsafe { INNERMOST.get().as_ref() }?;
    // SAFETY: compiled code keeps frame pointers, and the stack check of a prologue comes after
    // the frame pointer is set up.
    unsafe { activation.record(code, fault.pc, fault.fp) };
    let store = activation.store;
    // SAFETY: `store` outlives the activation, and these fields are this thread's.
    Some(unsafe { Resume { pc: (*store).entry_handler, sp: (*store).entry_sp, fp: (*store).entry_fp } })
}
