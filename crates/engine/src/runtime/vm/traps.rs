//! Why guest code stops early: traps, host errors, and the record of where it stopped.
//!
//! Used by `call.rs`, the libcalls and, through [`on_fault`], the signal handler. Invariant: code that
//! runs inside the signal handler takes no lock, allocates nothing and calls nobody. A loop's question is
//! asked by [`asked`], after the handler, at a point where wasm could have called a host function. A page of a table
//! is filled after it, too.

use super::exception::Exception;
use super::interrupt::Met;
use super::limits::OverLimit;
use super::vmcontext::{SavedEntry, VMStoreContext};
use crate::abi::TrapCode;
use crate::code::registry;
use crate::debug::Frame;
use crate::sys::{Answer, Fault, Resume};
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::Ordering;

/// The guest did something that the specification defines as a trap.
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
    /// The error of a host function, returned unchanged. Wasm cannot catch it.
    Host(Box<dyn Any>),
    /// A module asked for more than the store's [`Limits`](super::Limits) allow.
    Limit(OverLimit),
    /// The machine does not have what was asked for.
    OutOfMemory(String),
    /// The function's instance is closed.
    Closed,
    /// Something is broken on the host's side, or there is a bug in us.
    Internal(String),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Trap(trap) => write!(f, "Trap({:?})", trap.code),
            Error::Exception(exception) => exception.fmt(f),
            Error::Host(_) => f.write_str("Host(..)"),
            Error::Limit(over) => write!(f, "Limit({over})"),
            Error::OutOfMemory(message) => write!(f, "OutOfMemory({message})"),
            Error::Closed => f.write_str("Closed"),
            Error::Internal(message) => write!(f, "Internal({message})"),
        }
    }
}

impl From<TrapCode> for Error {
    fn from(code: TrapCode) -> Error {
        Error::Trap(Trap { code, backtrace: Vec::new() })
    }
}

/// The most frames that a backtrace keeps.
pub const MAX_FRAMES: usize = 64;

/// An address above every stack, and far enough from the end of the address space that additions to a
/// stack pointer do not wrap.
pub(crate) const NEVER: usize = isize::MAX as usize;

/// The trap that ended the innermost entry of a store, from when it occurs until it is reported.
pub struct TrapRecord {
    code: Cell<Option<TrapCode>>,
    depth: Cell<usize>,
    /// For each frame a program counter and the number of its entry.
    frames: UnsafeCell<[MaybeUninit<(usize, usize)>; MAX_FRAMES]>,
}

/// Walks the wasm frames of a store, innermost first. Each item is a program counter and the number of
/// the frame's entry, 0 for the innermost. Takes no lock and allocates nothing.
struct Frames {
    pc: usize,
    fp: usize,
    /// Frame pointer of the entry trampoline of the current entry.
    entry_fp: usize,
    entry: usize,
    outer: *const SavedEntry,
    over: bool,
}

impl Frames {
    /// Starts at the wasm frame at `pc`.
    ///
    /// # Safety
    /// `store` is the thread's own and alive, and `fp` is the frame pointer of a wasm frame of its
    /// innermost entry. No older frame on the stack returns while the frames are walked.
    unsafe fn from(store: *const VMStoreContext, pc: usize, fp: usize) -> Frames {
        // SAFETY: by this function's contract.
        let (entry_fp, outer) = unsafe { ((*store).entry_fp, (*store).outer) };
        Frames { pc, fp, entry_fp, entry: 0, outer, over: false }
    }

    /// Starts at the wasm frame that last called a host function.
    ///
    /// # Safety
    /// As for [`Frames::from`], and wasm of the innermost entry is in such a call.
    unsafe fn from_exit(store: *const VMStoreContext) -> Frames {
        // SAFETY: by this function's contract. The exit trampoline wrote both fields before the
        // call. Its frame is still on the stack, and starts with the frame pointer of its caller.
        unsafe {
            let fp = *((*store).exit_fp as *const usize);
            Frames::from(store, (*store).exit_pc - 1, fp)
        }
    }
}

impl Iterator for Frames {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        if self.over {
            return None;
        }
        let at = (self.pc, self.entry);
        if self.fp == self.entry_fp {
            // The host that entered here was itself called by wasm of this store, or by no wasm.
            // SAFETY: saved entries are in older frames of the stack.
            match unsafe { self.outer.as_ref() } {
                Some(saved) => {
                    let (exit_pc, exit_fp) = saved.exit();
                    (self.pc, self.entry_fp, self.outer) = (exit_pc - 1, saved.entry_fp(), saved.outer);
                    self.entry += 1;
                    // SAFETY: an exit trampoline's frame starts with the frame pointer of its caller.
                    self.fp = unsafe { *(exit_fp as *const usize) };
                }
                None => self.over = true,
            }
        } else {
            // SAFETY: every frame between here and the entry trampoline belongs to compiled code,
            // which keeps frame pointers: the caller's frame pointer, then the return address.
            let (caller_fp, return_address) = unsafe { *(self.fp as *const (usize, usize)) };
            // The call instruction is before the return address.
            (self.pc, self.fp) = (return_address - 1, caller_fp);
        }
        Some(at)
    }
}

/// The functions at an address, the innermost first.
///
/// # Safety
/// The code at `pc` is kept alive.
unsafe fn frames((pc, entry): (usize, usize)) -> impl Iterator<Item = Frame> {
    // SAFETY: by this function's contract.
    let frames = unsafe { registry::with_code_at(pc, |code| code.frames_at(pc)) };
    frames.unwrap_or_default().into_iter().map(move |frame| Frame { entry, ..frame })
}

/// The wasm frames on the stack, innermost first, at most [`MAX_FRAMES`].
///
/// # Safety
/// `store` is the thread's own and alive. If wasm of it is on the stack, that wasm is in a call of a
/// host function.
pub(crate) unsafe fn backtrace(store: *const VMStoreContext) -> Vec<Frame> {
    // SAFETY: by this function's contract. Running code is kept alive.
    unsafe {
        if !VMStoreContext::in_wasm(store) {
            return Vec::new();
        }
        Frames::from_exit(store).take(MAX_FRAMES).flat_map(|at| frames(at)).collect()
    }
}

thread_local! {
    static CURRENT: Cell<*mut VMStoreContext> = const { Cell::new(std::ptr::null_mut()) };
}

/// The store whose wasm runs on this thread. Null if none does.
pub(crate) fn current() -> *mut VMStoreContext {
    CURRENT.get()
}

/// The store whose wasm runs on this thread, for the fault handler. Reading a thread-local is expensive
/// compared with a call into wasm, so it stays set after the call. Quick entries are possible only
/// while it is set.
pub(crate) struct Current {
    /// The store that was current before, if its wasm is on the stack and continues after us.
    outer: *mut VMStoreContext,
}

impl Current {
    /// Makes `store` current until [`Current::leave`]. It stays current after that if no other store's
    /// wasm was on the stack.
    ///
    /// # Safety
    /// `store` is alive and its plain fields are this thread's.
    pub(crate) unsafe fn enter(store: *mut VMStoreContext) -> Current {
        let before = CURRENT.get();
        let mut outer = std::ptr::null_mut();
        // SAFETY: a current store is alive, because `forget` is called when a store is dropped. `store` is
        // alive by contract.
        unsafe {
            if before != store {
                if !before.is_null() && VMStoreContext::in_wasm(before) {
                    outer = before;
                }
                if !before.is_null() {
                    (*before).quick_from = NEVER;
                }
                CURRENT.set(store);
            }
        }
        Current { outer }
    }

    /// # Safety
    /// `store` is the one passed to [`Current::enter`], and is alive.
    pub(crate) unsafe fn leave(self, store: *mut VMStoreContext) {
        if !self.outer.is_null() {
            // SAFETY: by this function's contract.
            unsafe { (*store).quick_from = NEVER };
            // The wasm of `outer` is on the stack, which keeps that store alive.
            CURRENT.set(self.outer);
        }
    }

    /// Must be called when a store is dropped.
    pub(crate) fn forget(store: *mut VMStoreContext) {
        if CURRENT.get() == store {
            CURRENT.set(std::ptr::null_mut());
        }
    }
}

impl TrapRecord {
    pub(crate) const fn new() -> TrapRecord {
        TrapRecord {
            code: Cell::new(None),
            depth: Cell::new(0),
            frames: UnsafeCell::new([const { MaybeUninit::uninit() }; MAX_FRAMES]),
        }
    }

    /// Records a trap in the wasm frame at `pc` and its callers. Runs inside signal handlers.
    ///
    /// # Safety
    /// `store` is the thread's current store, and `fp` the frame pointer of a wasm frame of its
    /// innermost entry.
    unsafe fn note(store: *mut VMStoreContext, code: TrapCode, pc: usize, fp: usize) {
        // SAFETY: a current store is alive, and only this thread writes these fields.
        let (record, stop) = unsafe { (&(*store).trap, (*store).interrupted.load(Ordering::Relaxed)) };
        let code = if stop && code == TrapCode::StackExhausted { TrapCode::Interrupted } else { code };
        record.code.set(Some(code));
        let mut depth = 0;
        // SAFETY: by this function's contract.
        for at in unsafe { Frames::from(store, pc, fp) }.take(MAX_FRAMES) {
            // SAFETY: only this thread uses the array, and nobody holds a reference into it while
            // wasm runs.
            unsafe { (*record.frames.get())[depth].write(at) };
            depth += 1;
        }
        record.depth.set(depth);
    }

    /// The trap that ended the innermost entry, if a trap did.
    ///
    /// # Safety
    /// The entry has just ended, and the code it ran is still kept alive.
    pub(crate) unsafe fn take(&self) -> Option<Trap> {
        let code = self.code.take()?;
        let backtrace = (0..self.depth.get())
            .flat_map(|i| {
                // SAFETY: `note` wrote the first `depth` entries. The code is kept alive, by this
                // function's contract.
                unsafe { frames((*self.frames.get())[i].assume_init()) }
            })
            .collect();
        Some(Trap { code, backtrace })
    }
}

/// Records a trap raised by a libcall or host function that wasm has just called.
///
/// # Safety
/// Called from a function that wasm called through an exit trampoline.
pub(crate) unsafe fn record_trap(code: TrapCode) {
    let store = CURRENT.get();
    if store.is_null() {
        return;
    }
    // SAFETY: wasm is running, so the current store is its store. The exit trampoline wrote both
    // fields before the call. Its frame is still on the stack, and starts with the frame pointer of
    // its caller, the wasm function.
    unsafe {
        let fp = *((*store).exit_fp as *const usize);
        TrapRecord::note(store, code, (*store).exit_pc - 1, fp);
        VMStoreContext::unwind_to_entry(store);
    }
}

/// Handles a fault. Returns how to continue if compiled code of ours traps, polls, or touches a page of a table that
/// is not filled, `None` if it is not ours. Runs inside signal handlers.
pub(crate) fn on_fault(fault: Fault) -> Option<Answer> {
    // SAFETY: this thread is executing at `pc`.
    unsafe { registry::with_code_at(fault.pc, |_| ()) }?;
    let store = CURRENT.get();
    if store.is_null() {
        return None;
    }
    // SAFETY: a current store is alive, and so is the pool of its engine. The fields are this thread's.
    unsafe {
        if (*(*store).table_pool).holds(fault.address) {
            (*store).touched = fault.address;
            return Some(Answer::Ask(&raw mut (*store).touching));
        }
    }
    // Not looked for above: they may be pages of a file that nobody has touched yet.
    // SAFETY: as above.
    let code = unsafe { registry::with_code_at(fault.pc, |code| code.trap_at(fault.pc)) }??;
    if code == TrapCode::Interrupted {
        // SAFETY: a current store is alive, and so is its checkpoint.
        let checkpoint = unsafe { (*store).checkpoint.as_ref() };
        match checkpoint.map_or(Met::Interruption, |checkpoint| checkpoint.meet()) {
            Met::Interruption => {}
            Met::Nothing => return Some(Answer::Again),
            // SAFETY: as above. The fields are this thread's.
            Met::Question => return Some(Answer::Ask(unsafe { &raw mut (*store).asking })),
        }
    }
    // SAFETY: the thread runs our code, so it came through `call::enter`, and the current store is
    // the one that was entered. Compiled code keeps frame pointers, and the stack check of a
    // prologue comes after the frame pointer is set up.
    unsafe { TrapRecord::note(store, code, fault.pc, fault.fp) };
    // SAFETY: a current store is alive, and these fields are this thread's.
    Some(Answer::Resume(unsafe {
        Resume { pc: (*store).entry_handler, sp: (*store).entry_sp, fp: (*store).entry_fp }
    }))
}

/// Asks whether a loop may continue. `sys::arch::ask` calls it in place of the loop's poll, as an exit
/// trampoline calls a host function. `frame` holds the loop's frame pointer and the poll's address.
/// Returns null if the loop may continue, else where to continue.
///
/// # Safety
/// Called by `sys::arch::ask` after an [`Answer::Ask`].
pub(crate) unsafe extern "C" fn asked(frame: *const [usize; 2]) -> *const [usize; 4] {
    let store = CURRENT.get();
    // SAFETY: `on_fault` has checked that there is a current store. It is alive because its wasm is on the
    // stack, and these fields are this thread's. The frame is that of our caller. The checkpoint may enter
    // wasm, as a host function may, because the exit record is complete.
    unsafe {
        let [fp, pc] = *frame;
        // An exit record has a return address, and the instruction before that is the call.
        ((*store).exit_fp, (*store).exit_pc) = (frame as usize, pc + 1);
        let checkpoint = (*store).checkpoint.as_ref();
        // A panic must not unwind through wasm. It is a bug of the code that set the checkpoint.
        let answer = || checkpoint.is_none_or(|checkpoint| (checkpoint.go_on)());
        if catch_unwind(AssertUnwindSafe(answer)).unwrap_or(false) {
            return ptr::null();
        }
        TrapRecord::note(store, TrapCode::Interrupted, pc, fp);
        VMStoreContext::unwind_to_entry(store);
        (&raw const (*store).unwind).cast()
    }
}
