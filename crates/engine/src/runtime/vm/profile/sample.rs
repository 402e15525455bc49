//! What the interrupted thread does: it notes the addresses of its frames.
//!
//! Used by `runtime/vm/profile/` and, through [`take`], the signal handler. Invariants: the handler takes no lock,
//! allocates nothing and calls nobody. It may come between any two instructions, so what it finds may be half done:
//! it reads nothing but the thread's own stack, above the stack pointer and in ever older frames. What it notes may
//! be wrong then, and is only ever looked up.

use super::super::traps;
use super::super::vmcontext::VMStoreContext;
use super::Shared;
use super::tree::{CUT, HOST, PROGRAM};
use crate::code::registry;
use crate::sys::{self, Registers};
use std::cell::{Cell, RefCell, UnsafeCell};
use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};

/// The most frames of one sample.
const MAX_FRAMES: usize = 512;

const FREE: u8 = 0;
const ASKED: u8 = 1;
const FULL: u8 = 2;

/// Where a thread notes a sample. Whose it is at a time tells `state`: the thread's if it is asked, else the
/// profiler's.
pub struct Slot {
    state: AtomicU8,
    sample: UnsafeCell<Sample>,
}

struct Sample {
    len: usize,
    /// Addresses, the innermost first, with the marks of `tree.rs` among them.
    frames: [usize; MAX_FRAMES],
}

// SAFETY: `state` says which of the two threads may touch the sample.
unsafe impl Sync for Slot {}

impl Slot {
    pub fn is_free(&self) -> bool {
        self.state.load(Ordering::Acquire) == FREE
    }

    /// Lets the thread note a sample.
    pub fn ask(&self) {
        self.state.store(ASKED, Ordering::Release);
    }

    /// Gives the sample to `add`, if there is one.
    pub fn collect(&self, add: impl FnOnce(&[usize])) {
        if self.state.load(Ordering::Acquire) != FULL {
            return;
        }
        // SAFETY: a full slot is the profiler's, which has one thread at a time here (the lock of its state).
        let sample = unsafe { &*self.sample.get() };
        add(&sample.frames[..sample.len]);
        self.state.store(FREE, Ordering::Release);
    }
}

thread_local! {
    /// What the handler reads.
    static SLOT: Cell<*const Slot> = const { Cell::new(std::ptr::null()) };
    static STACK: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    static MEMBERSHIP: RefCell<Option<Membership>> = const { RefCell::new(None) };
}

/// A thread's part in a profile, which ends with the thread.
pub struct Membership {
    slot: Arc<Slot>,
    profile: Weak<Shared>,
}

impl Membership {
    /// The slot of the calling thread. `None` if it has one already.
    pub fn begin(shared: &Arc<Shared>) -> Option<Arc<Slot>> {
        let slot = Arc::new(Slot {
            state: AtomicU8::new(FREE),
            sample: UnsafeCell::new(Sample { len: 0, frames: [0; MAX_FRAMES] }),
        });
        let joined = MEMBERSHIP.try_with(|membership| {
            let mut membership = membership.borrow_mut();
            let profile = Arc::downgrade(shared);
            if membership.as_ref().is_some_and(|member| member.profile.ptr_eq(&profile)) {
                return false;
            }
            // The one before is dropped first: it takes the slot away.
            *membership = None;
            *membership = Some(Membership { slot: slot.clone(), profile });
            true
        });
        if joined != Ok(true) {
            return None;
        }
        let Range { start, end } = sys::stack_bounds();
        STACK.set((start, end));
        SLOT.set(Arc::as_ptr(&slot));
        Some(slot)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        SLOT.set(std::ptr::null());
        if let Some(shared) = self.profile.upgrade() {
            shared.leave(&self.slot);
        }
    }
}

/// Notes where the calling thread is, if it was asked. Runs inside the signal handler.
pub fn take(registers: Registers) {
    // SAFETY: the thread's membership keeps the slot until it has taken it away from here.
    let Some(slot) = (unsafe { SLOT.get().as_ref() }) else { return };
    if slot.state.load(Ordering::Acquire) != ASKED {
        return;
    }
    // SAFETY: an asked slot is its thread's, and the handler does not interrupt itself.
    let sample = unsafe { &mut *slot.sample.get() };
    sample.len = 0;
    note(registers, sample);
    slot.state.store(FULL, Ordering::Release);
}

impl Sample {
    /// False if there is no room.
    fn push(&mut self, frame: usize) -> bool {
        // The last place is for the mark of a stack that is cut.
        if self.len + 1 == MAX_FRAMES {
            self.frames[self.len] = CUT;
            self.len += 1;
            return false;
        }
        let Some(place) = self.frames.get_mut(self.len) else { return false };
        *place = frame;
        self.len += 1;
        true
    }
}

fn note(registers: Registers, sample: &mut Sample) {
    let (low, high) = STACK.get();
    let store = traps::current();
    // SAFETY: a current store is alive, and its plain fields are this thread's.
    if store.is_null() || !(low..high).contains(&registers.sp) || !unsafe { VMStoreContext::in_wasm(store) } {
        sample.push(PROGRAM);
        return;
    }
    // Two words of a frame, if it is one that can be read: older than the one before.
    let frame_at = |fp: usize, younger: usize| {
        let words = fp > younger && fp.is_multiple_of(8) && fp < high - 16;
        // SAFETY: two aligned words of this thread's own stack, above its stack pointer.
        words.then(|| unsafe { *(fp as *const (usize, usize)) })
    };
    // SAFETY: this thread is executing at `pc`.
    let in_wasm = unsafe { registry::with_code_at(registers.pc, |_| ()) }.is_some();
    // SAFETY: as above.
    let (mut entry_fp, mut outer) = unsafe { ((*store).entry_fp, (*store).outer) };
    // SAFETY: as above.
    let (exit_pc, exit_fp) = unsafe { ((*store).exit_pc, (*store).exit_fp) };
    let mut younger = registers.sp - 1;
    let (mut pc, mut fp) = (registers.pc, registers.fp);
    if !in_wasm {
        if !sample.push(HOST) {
            return;
        }
        // The frame of an exit trampoline starts with the frame pointer of its caller.
        let Some((caller, _)) = frame_at(exit_fp, younger) else { return };
        (younger, pc, fp) = (exit_fp, exit_pc.wrapping_sub(1), caller);
    }
    loop {
        if !sample.push(pc) {
            return;
        }
        if fp == entry_fp {
            // The host that entered here was itself called by wasm of this store, or by no wasm.
            let readable = |at: usize| at > younger && at.is_multiple_of(8) && at < high - 128;
            // SAFETY: saved entries are in older frames of this thread's stack, which was looked at.
            let saved = unsafe { outer.as_ref().filter(|saved| readable(std::ptr::from_ref(*saved).addr())) };
            let Some(saved) = saved else { return };
            let (exit_pc, exit_fp) = saved.exit();
            if !sample.push(HOST) {
                return;
            }
            let Some((caller, _)) = frame_at(exit_fp, younger) else { return };
            (entry_fp, outer) = (saved.entry_fp(), saved.outer);
            (younger, pc, fp) = (exit_fp, exit_pc.wrapping_sub(1), caller);
        } else {
            let Some((caller, return_address)) = frame_at(fp, younger) else { return };
            // The call instruction is before the return address.
            (younger, pc, fp) = (fp, return_address.wrapping_sub(1), caller);
        }
    }
}
