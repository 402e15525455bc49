//! JavaScript into wasm, and wasm into JavaScript: the two paths that must be fast.
//!
//! For this room only. Neither path allocates, converts a value or makes a Node-API argument: the
//! values lie in the realm's window (see `realm.rs`).

use super::exceptions::thrown;
use super::failure::guard;
use super::raw::{self, HandleScope, Reference, Refused};
use super::realm::{Realm, TARGET, address};
use engine::{EntryOutcome, Error, Extern, ExternType, FastEntry, Func, Module, VMFuncRef, ValRaw};
use napi::bindgen_prelude::{External, Unknown};
use napi::{JsValue, sys};
use napi_derive::napi;
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

type Callback = unsafe extern "C" fn(sys::napi_env, sys::napi_callback_info) -> sys::napi_value;

/// Slots for realms that have a callback of their own. A C callback carries nothing but its address, and
/// asking Node-API for the data of its function costs nearly as much as a whole call into wasm. So each
/// slot has a callback that was compiled for it, and these are the process's.
static SLOTS: [CallbackSlot; CALLBACKS.len()] = [const { CallbackSlot::free() }; CALLBACKS.len()];

/// Everything but `taken` belongs to the thread that took the slot.
struct CallbackSlot {
    taken: AtomicBool,
    realm: Cell<*const Realm>,
    entry: Cell<Option<FastEntry>>,
}

// SAFETY: other threads touch `taken` only.
unsafe impl Sync for CallbackSlot {}

impl CallbackSlot {
    const fn free() -> CallbackSlot {
        CallbackSlot { taken: AtomicBool::new(false), realm: Cell::new(ptr::null()), entry: Cell::new(None) }
    }
}

macro_rules! callbacks {
    ($($slot:literal)*) => { [$(call_by_slot::<$slot>,)*] };
}

static CALLBACKS: [Callback; 32] =
    callbacks![0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31];

/// The slot that a realm holds, until the realm goes; `None` if all were taken.
pub struct HeldSlot(Option<usize>);

impl HeldSlot {
    pub fn take(realm: &Rc<Realm>) -> HeldSlot {
        let free = SLOTS.iter().position(|slot| !slot.taken.swap(true, Ordering::Acquire));
        if let Some(slot) = free {
            SLOTS[slot].realm.set(Rc::as_ptr(realm));
            SLOTS[slot].entry.set(Some(realm.fast_entry()));
        }
        HeldSlot(free)
    }

    pub fn callback(&self) -> Callback {
        self.0.map_or(call_by_data, |slot| CALLBACKS[slot])
    }
}

impl Drop for HeldSlot {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            SLOTS[slot].taken.store(false, Ordering::Release);
        }
    }
}

/// Calls the function whose reference is in the window's target slot. Its arguments are in the slots
/// before, and its results come to lie there.
///
/// One such native function serves all exports of a realm. So the JavaScript wrappers have one call
/// target, which V8 calls directly however many exports there are. With a native function for each
/// export, a program that calls several of them pays more than double.
unsafe extern "C" fn call_by_slot<const SLOT: usize>(
    _: sys::napi_env,
    _: sys::napi_callback_info,
) -> sys::napi_value {
    // SAFETY: a function with this callback was made for the realm that took the slot, on this
    // thread, and keeps it.
    unsafe { call(|| SLOTS[SLOT].entry.get().unwrap_unchecked(), || &*SLOTS[SLOT].realm.get()) }
}

/// The same for a realm that found no free slot.
unsafe extern "C" fn call_by_data(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: `info` is ours, and the data pointer is the realm that `realm::open` gave, kept by
    // the function.
    let realm = unsafe { &*raw::callback_data(env, info).cast::<Realm>() };
    // SAFETY: the realm has been there for the wrapper that calls.
    unsafe { call(|| realm.fast_entry(), || realm) }
}

/// # Safety
/// A JavaScript wrapper has left its call in the window of the realm.
#[inline(always)]
unsafe fn call<'a>(entry: impl Fn() -> FastEntry, realm: impl Fn() -> &'a Realm) -> sys::napi_value {
    // SAFETY: the wrapper that wrote the target was made for its type, wrote the arguments by it,
    // joined the groups of functions among them, is running, and keeps the function's group. The
    // window has a slot for every argument and result.
    unsafe {
        let target = (*entry().values().add(TARGET)).func.unwrap_unchecked();
        match entry().call(target) {
            EntryOutcome::Returned => {}
            EntryOutcome::NotEntered => nested(realm(), target),
            outcome => finish(realm(), outcome, EntryScope::leaving(realm()), NonNull::dangling()),
        }
    }
    ptr::null_mut()
}

/// An entry that is not the outermost. It cannot panic, and has a small frame because programs recurse
/// through it.
///
/// # Safety
/// As for [`call`], which found `target` in the window and did not enter.
#[inline(never)]
unsafe fn nested(realm: &Realm, target: NonNull<VMFuncRef>) {
    let scope = EntryScope::nested(realm);
    // SAFETY: by this function's contract.
    let outcome = unsafe { realm.fast_entry().call_nested(&realm.store, target) };
    drop(scope);
    if outcome != EntryOutcome::Returned {
        // SAFETY: as above.
        return unsafe { finish(realm, outcome, EntryScope::nested(realm), target) };
    }
    realm.refresh_buffers();
}

/// # Safety
/// As for [`call`], which found `target` in the window and left the rest to us.
#[cold]
#[inline(never)]
unsafe fn finish(realm: &Realm, outcome: EntryOutcome, scope: EntryScope<'_>, target: NonNull<VMFuncRef>) {
    guard(realm, move || {
        let _scope = scope;
        // SAFETY: by this function's contract.
        unsafe { Func::finish_call(outcome, &realm.store, target, realm.slots()) }?;
        Ok(())
    });
    realm.refresh_buffers();
}

/// The handles that calls from wasm to JavaScript make. A scope for each of these calls would be a
/// good part of its cost, so wasm that was entered by [`call`] shares one scope among many calls.
/// Anything else that enters wasm takes an [`EntryScope::separate`], because Node-API wants what is
/// opened in a callback to be closed in it.
#[derive(Clone, Copy)]
pub struct Handles {
    /// The shared scope, if it is open.
    scope: sys::napi_handle_scope,
    calls: u32,
    /// Whether each call has a scope of its own.
    separate: bool,
    /// The shim called last, and its function, a handle of the scope.
    shim: u64,
    function: sys::napi_value,
}

impl Handles {
    pub const NONE: Handles =
        Handles { scope: ptr::null_mut(), calls: 0, separate: false, shim: 0, function: ptr::null_mut() };
    /// How many calls share a scope. What they returned is kept as long as the scope is open.
    const CALLS: u32 = 64;

    /// The function of a shim, a handle of the shared scope.
    #[inline]
    fn function(mut self, realm: &Realm, shim: &Shim) -> Result<sys::napi_value, Refused> {
        if self.calls == Handles::CALLS {
            raw::close_scope(realm.env, self.scope);
            self = Handles::NONE;
            realm.handles.set(self);
        }
        if self.scope.is_null() {
            self.scope = raw::open_scope(realm.env)?;
            realm.handles.set(self);
            // The end of the entry closes the scope.
            realm.store.call_for_attention();
        }
        if self.shim != shim.id {
            self.function = shim.function.get().ok_or(Refused)?;
            self.shim = shim.id;
        }
        self.calls += 1;
        realm.handles.set(self);
        Ok(self.function)
    }
}

/// The time in which the handles are those of one entry into wasm. When it ends, the scope of the
/// entry's calls is closed, and the handles of the entry around it are back in place.
pub struct EntryScope<'a> {
    realm: &'a Realm,
    outer: Handles,
}

impl<'a> EntryScope<'a> {
    /// For an entry by [`call`] below which wasm of the realm may be on the stack.
    fn nested(realm: &'a Realm) -> EntryScope<'a> {
        EntryScope { realm, outer: realm.handles.replace(Handles::NONE) }
    }

    /// For an outermost entry by [`call`] that is over.
    fn leaving(realm: &'a Realm) -> EntryScope<'a> {
        EntryScope { realm, outer: Handles::NONE }
    }

    /// For wasm that is not entered by [`call`].
    pub fn separate(realm: &'a Realm) -> EntryScope<'a> {
        EntryScope { realm, outer: realm.handles.replace(Handles { separate: true, ..Handles::NONE }) }
    }
}

impl Drop for EntryScope<'_> {
    fn drop(&mut self) {
        let handles = self.realm.handles.replace(self.outer);
        if !handles.scope.is_null() {
            raw::close_scope(self.realm.env, handles.scope);
        }
    }
}

/// A JavaScript function that takes no arguments: it reads and writes the window.
struct Shim {
    /// No other shim of the realm has it.
    id: u64,
    function: Reference,
}

/// Makes a host function of a JavaScript shim, with the type of the module's `index`-th import.
///
/// The function does not keep the shim alive. The JavaScript group of whatever it is linked into does.
/// Returns the function's address and its handle.
#[napi(catch_unwind)]
pub fn host_function(
    realm: &External<Rc<Realm>>,
    module: &External<Module>,
    index: u32,
    shim: Unknown,
) -> napi::Result<(f64, External<Extern>)> {
    let realm: &Rc<Realm> = realm;
    super::failure::run(realm, || {
        let Some(ExternType::Func(ty)) = module.import_type(index as usize) else {
            unreachable!("the face asks for function imports only");
        };
        let ty = ty.ty().clone();
        let (params, results) = (ty.params.len(), ty.results.len());
        let shim = Shim { id: realm.next_id(), function: Reference::weak(realm.env, shim.raw())? };
        let realm_of_body = realm.clone();
        let func = Func::new(&realm.store, ty, move |values| {
            call_shim(&realm_of_body, &shim, values, params, results)
        });
        let address = address(func.id());
        Ok((address, External::new(Extern::Func(func))))
    })
}

#[inline]
fn call_shim(
    realm: &Realm,
    shim: &Shim,
    values: &mut [ValRaw],
    params: usize,
    results: usize,
) -> Result<(), Error> {
    match realm.v8_stack.is_near_end() {
        true => realm.v8_stack.with_all(|| call_shim_here(realm, shim, values, params, results)),
        false => call_shim_here(realm, shim, values, params, results),
    }
}

#[inline(always)]
fn call_shim_here(
    realm: &Realm,
    shim: &Shim,
    values: &mut [ValRaw],
    params: usize,
    results: usize,
) -> Result<(), Error> {
    realm.refresh_buffers();
    let outcome = (|| {
        let handles = realm.handles.get();
        let _own = if handles.separate { Some(HandleScope::open(realm.env)?) } else { None };
        let function = match handles.separate {
            true => shim.function.get().ok_or(Refused)?,
            false => handles.function(realm, shim)?,
        };
        for (index, value) in values[..params].iter().enumerate() {
            realm.set_slot(index, *value);
        }
        raw::call(realm.env, function, &[])?;
        for (index, value) in values[..results].iter_mut().enumerate() {
            *value = realm.slot(index);
        }
        Ok(())
    })();
    match outcome {
        Ok(()) => Ok(()),
        Err(Refused) => Err(thrown(realm)),
    }
}
