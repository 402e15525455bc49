//! Entering wasm from the host.
//!
//! The only place that calls an entry trampoline. Invariant: the store's entry and exit records
//! are those of the innermost activation; entering saves the outer ones and leaving restores
//! them.

use super::store::Store;
use super::traps::{Activation, Error};
use super::vmcontext::{VMEntry, VMFuncRef, VMStoreContext, ValRaw};
use std::ffi::c_void;
use std::mem::transmute;
use std::ptr::NonNull;

/// What host code called from wasm may use of the thread's stack at least, in bytes. Small
/// threads give a quarter.
const HOST_RESERVE: usize = 256 << 10;

/// The lowest address wasm entered at `sp` may use.
fn stack_limit(sp: usize, store: &Store) -> usize {
    let stack = store.stack();
    let reserve = HOST_RESERVE.min(stack.len() / 4);
    (stack.start + reserve).max(sp.saturating_sub(store.max_wasm_stack()))
}

/// Calls a function with the arguments in `values` and leaves its results there.
///
/// # Safety
/// `func` is alive for the whole call, has an entry trampoline and belongs to `store`; `values`
/// has room for its parameters and its results and holds arguments of its parameter types.
pub(super) unsafe fn enter(
    store: &Store,
    func: NonNull<VMFuncRef>,
    values: *mut ValRaw,
) -> Result<(), Error> {
    // SAFETY: alive by contract.
    let VMFuncRef { code, entry, vmctx, .. } = unsafe { func.read() };
    // SAFETY: the entry of a live function reference is an entry trampoline.
    let entry = unsafe { transmute::<*const c_void, VMEntry>(entry) };
    let vm = store.vm();
    let marker = 0u8;
    // SAFETY: the store's context lives as long as the store; references to it are not kept.
    let outer_limit = store.stack_limit();
    let outer = unsafe {
        let outer = VMStoreContext::saved(vm);
        store.set_stack_limit(stack_limit(&raw const marker as usize, store));
        outer
    };
    let outermost = !outer.in_wasm();
    if outermost {
        store.set_outermost_entry((&raw const marker as usize).next_multiple_of(8));
    }
    let activation = Activation::new(vm, outer);
    activation.enter();
    // SAFETY: by this function's contract; the trampoline comes back on every path, as traps
    // continue at its handler.
    let returned = unsafe { entry(vmctx, code, values) };
    activation.leave();
    // SAFETY: as above.
    unsafe { VMStoreContext::restore(vm, outer) };
    if outermost {
        store.set_outermost_entry(0);
        store.sweep_exceptions();
    } else {
        store.set_stack_limit(outer_limit);
    }
    if returned != 0 {
        return Ok(());
    }
    let pending = store.take_pending();
    Err(match activation.take_trap() {
        Some(trap) => Error::Trap(trap),
        None => pending.unwrap_or_else(|| Error::Internal("wasm stopped without a reason: a bug in wasi-native".into())),
    })
}
