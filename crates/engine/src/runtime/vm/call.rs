//! Entering wasm from the host.
//!
//! This is the only code that calls an entry trampoline. Invariants: the store's entry and exit records
//! are those of the innermost entry. A nested entry saves those of the outer one and restores them when
//! it leaves. While wasm runs, its store is the thread's current one.

use super::store::Store;
use super::traps::{Current, Error, NEVER};
use super::vmcontext::{VMEntry, VMFuncRef, VMStoreContext, ValRaw};
use std::ffi::c_void;
use std::mem::transmute;
use std::ptr::NonNull;

/// The least stack, in bytes, that is left for host code called from wasm. Small threads leave a
/// quarter of their stack.
pub(crate) const HOST_RESERVE: usize = 256 << 10;

/// How far a stack pointer may be from the one that the stack limit was set for. Most entries can then
/// keep the limit of the entry before, because changing it is expensive.
const TOLERANCE: usize = 16 << 10;

/// The outcome of a fast entry.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum EntryOutcome {
    /// The function returned, and nothing is left to do.
    Returned,
    /// The function was not entered: take the slow path.
    NotEntered,
    /// The function did not return. The store holds the reason.
    Stopped,
    /// The function returned, and the store or the host asked for attention.
    Attention,
}

/// The fast path into the functions of one store. The values are always in the same place.
#[derive(Clone, Copy)]
pub struct FastEntry {
    vm: *mut VMStoreContext,
    values: *mut ValRaw,
}

impl FastEntry {
    pub fn new(store: &Store, values: *mut ValRaw) -> FastEntry {
        FastEntry { vm: store.vm(), values }
    }

    #[inline(always)]
    pub fn values(self) -> *mut ValRaw {
        self.values
    }

    /// Calls a function if that can be done quickly, which is nearly always: no wasm of the store is on
    /// the stack, and the store is as the entry before left it. Cannot panic. [`Func::finish_call`] does
    /// what is left to do.
    ///
    /// # Safety
    /// As for [`Func::call_raw`], but without a handle: `func` is a function of the store, and the caller
    /// keeps its group and the store alive until the call is over.
    #[inline(always)]
    pub unsafe fn call(self, func: NonNull<VMFuncRef>) -> EntryOutcome {
        let FastEntry { vm, values } = self;
        let marker = 0u8;
        let sp = &raw const marker as usize;
        // SAFETY: `func` and the store's context are alive by contract, and the plain fields of the
        // context are this thread's. If a function has an entry, that is an entry trampoline. It
        // returns on every path, because traps continue at its handler.
        unsafe {
            let (code, entry, vmctx) = func.as_ref().to_call();
            let near = sp.wrapping_sub((*vm).quick_from) < 2 * TOLERANCE;
            if !near || VMStoreContext::in_wasm(vm) || entry.is_null() {
                return EntryOutcome::NotEntered;
            }
            let returned = transmute::<*const c_void, VMEntry>(entry)(vmctx, code, values);
            self.leave(returned)
        }
    }

    /// Calls a function while wasm of the store is on the stack. The outcomes are those of
    /// [`FastEntry::call`], or [`EntryOutcome::NotEntered`] if it cannot be done quickly, which is rare.
    /// It exists to save stack: programs recurse through wasm and the host, and this takes a third of what
    /// `finish` does.
    ///
    /// # Safety
    /// As for [`FastEntry::call`].
    #[inline(always)]
    pub unsafe fn call_nested(self, store: &Store, func: NonNull<VMFuncRef>) -> EntryOutcome {
        let FastEntry { vm, values } = self;
        let marker = 0u8;
        let sp = &raw const marker as usize;
        // SAFETY: as in `call`. The fault handler looks at this store unless `quick_from` is `NEVER`.
        // Only the entry itself runs between the save and the restore.
        unsafe {
            let (code, entry, vmctx) = func.as_ref().to_call();
            let same_limit = store.stack_limit() == stack_limit(store, sp);
            if !VMStoreContext::in_wasm(vm) || (*vm).quick_from == NEVER || !same_limit || entry.is_null() {
                return EntryOutcome::NotEntered;
            }
            let saved = VMStoreContext::saved(vm);
            (*vm).outer = &saved;
            let returned = transmute::<*const c_void, VMEntry>(entry)(vmctx, code, values);
            VMStoreContext::restore(vm, saved);
            if returned == 0 { EntryOutcome::Stopped } else { EntryOutcome::Returned }
        }
    }

    /// # Safety
    /// A quick entry has just ended.
    #[inline(always)]
    unsafe fn leave(self, returned: u8) -> EntryOutcome {
        // SAFETY: as in `call`.
        unsafe {
            (*self.vm).entry_fp = 0;
            match returned {
                0 => EntryOutcome::Stopped,
                _ if (*self.vm).attention => EntryOutcome::Attention,
                _ => EntryOutcome::Returned,
            }
        }
    }
}

/// Does what a quick entry left to do.
///
/// # Safety
/// As for [`enter`], with the same arguments as before and nothing done in between.
#[cold]
pub(crate) unsafe fn finish(
    outcome: EntryOutcome,
    store: &Store,
    func: NonNull<VMFuncRef>,
    values: *mut ValRaw,
) -> Result<(), Error> {
    let returned = match outcome {
        EntryOutcome::Returned => return Ok(()),
        // SAFETY: by this function's contract.
        EntryOutcome::NotEntered => unsafe { enter_anew(store, func, values) },
        EntryOutcome::Stopped => false,
        EntryOutcome::Attention => true,
    };
    if !store.is_running() {
        store.attend();
    }
    if returned {
        return Ok(());
    }
    let pending = store.take_pending();
    // SAFETY: the entry has just ended, and this field is this thread's.
    if let Some(error) = unsafe { (*store.vm()).failed.take() } {
        return Err(*error);
    }
    // SAFETY: the entry has just ended, and its function is still alive.
    Err(match unsafe { (*store.vm()).trap.take() } {
        Some(trap) => Error::Trap(trap),
        None => pending
            .unwrap_or_else(|| Error::Internal("wasm stopped without a reason: a bug in wasi-native".into())),
    })
}

/// The stack limit for wasm that is entered at stack pointer `sp`.
#[inline(always)]
fn stack_limit(store: &Store, sp: usize) -> usize {
    store.lowest_stack_limit().max(sp.saturating_sub(store.max_wasm_stack()))
}

/// Enters a store in any state. Returns whether wasm returned.
///
/// # Safety
/// As for [`enter`].
unsafe fn enter_anew(store: &Store, func: NonNull<VMFuncRef>, values: *mut ValRaw) -> bool {
    let vm = store.vm();
    let marker = 0u8;
    let sp = &raw const marker as usize;
    let outer_limit = store.stack_limit();
    store.set_stack_limit(stack_limit(store, sp));
    // SAFETY: as in `FastEntry::call`. No reference to the context is kept.
    unsafe {
        let (code, entry, vmctx) = func.as_ref().to_call();
        let entry = transmute::<*const c_void, VMEntry>(entry);
        let current = Current::enter(vm);
        let nested = VMStoreContext::in_wasm(vm);
        let saved = VMStoreContext::saved(vm);
        if nested {
            (*vm).outer = &saved;
        } else {
            (*vm).quick_from = sp - TOLERANCE;
        }
        let returned = entry(vmctx, code, values) != 0;
        VMStoreContext::restore(vm, saved);
        if nested {
            store.set_stack_limit(outer_limit);
        }
        current.leave(vm);
        returned
    }
}

/// Calls a function with the arguments in `values` and leaves its results there.
///
/// # Safety
/// `func` is alive for the whole call, has an entry trampoline and belongs to `store`; `values`
/// has room for its parameters and its results and holds arguments of its parameter types.
#[inline]
pub(crate) unsafe fn enter(
    store: &Store,
    func: NonNull<VMFuncRef>,
    values: *mut ValRaw,
) -> Result<(), Error> {
    // SAFETY: by this function's contract.
    match unsafe { FastEntry::new(store, values).call(func) } {
        EntryOutcome::Returned => Ok(()),
        // SAFETY: as above.
        outcome => unsafe { finish(outcome, store, func, values) },
    }
}
