//! JavaScript into wasm, and wasm into JavaScript: the two paths that must be fast.
//!
//! For `src/node` only. Neither path allocates, converts a value or makes a Node-API argument;
//! the values lie in the realm's window (see `realm.rs`).

use super::exceptions::thrown;
use super::failure::guard;
use super::raw::{self, HandleScope, Reference, Refused};
use super::realm::{Realm, TARGET, address};
use engine::{Door, Error, Extern, ExternType, Func, Module, Rest, VMFuncRef, ValRaw};
use napi::bindgen_prelude::{External, Unknown};
use napi::{JsValue, sys};
use napi_derive::napi;
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

type Callback = unsafe extern "C" fn(sys::napi_env, sys::napi_callback_info) -> sys::napi_value;

/// Realms that have a callback of their own, which knows its realm by its place here. To ask
/// Node-API for a function's data costs nearly as much as the whole call into wasm.
static PLACES: [PlaceData; CALLBACKS.len()] = [const { PlaceData::FREE }; CALLBACKS.len()];

/// All but `taken` is for the thread that took the place.
struct PlaceData {
    taken: AtomicBool,
    realm: Cell<*const Realm>,
    door: Cell<Option<Door>>,
}

// SAFETY: other threads touch `taken` only.
unsafe impl Sync for PlaceData {}

impl PlaceData {
    const FREE: PlaceData =
        PlaceData { taken: AtomicBool::new(false), realm: Cell::new(ptr::null()), door: Cell::new(None) };
}

macro_rules! callbacks {
    ($($place:literal)*) => { [$(call_in_place::<$place>,)*] };
}

static CALLBACKS: [Callback; 32] =
    callbacks![0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31];

/// A realm's place in [`PLACES`], until it goes.
pub struct Place(Option<usize>);

impl Place {
    /// A place of its own for a realm, if one is free.
    pub fn take(realm: &Rc<Realm>) -> Place {
        let free = PLACES.iter().position(|place| !place.taken.swap(true, Ordering::Acquire));
        if let Some(place) = free {
            PLACES[place].realm.set(Rc::as_ptr(realm));
            PLACES[place].door.set(Some(realm.door()));
        }
        Place(free)
    }

    pub fn callback(&self) -> Callback {
        self.0.map_or(call_by_data, |place| CALLBACKS[place])
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            PLACES[place].taken.store(false, Ordering::Release);
        }
    }
}

/// Calls the function whose reference is in the window's target slot, with its arguments in the
/// slots before; leaves the results there.
///
/// One such native function serves all exports of a realm: the JavaScript wrappers have one call
/// target, which V8 then calls directly however many exports there are. (With a native function
/// for each, a program that calls several exports pays more than double.)
unsafe extern "C" fn call_in_place<const PLACE: usize>(
    _: sys::napi_env,
    _: sys::napi_callback_info,
) -> sys::napi_value {
    // SAFETY: a function with this callback was made for the realm that took the place, on this
    // thread, and keeps it.
    unsafe { call(|| PLACES[PLACE].door.get().unwrap_unchecked(), || &*PLACES[PLACE].realm.get()) }
}

/// The same for a realm that found no place.
unsafe extern "C" fn call_by_data(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: `info` is ours, and the data pointer is the realm that `realm::open` gave, kept by
    // the function.
    let realm = unsafe { &*raw::callback_data(env, info).cast::<Realm>() };
    // SAFETY: the realm has been there for the wrapper that calls.
    unsafe { call(|| realm.door(), || realm) }
}

/// # Safety
/// A JavaScript wrapper has left its call in the window of the realm.
#[inline(always)]
unsafe fn call<'a>(door: impl Fn() -> Door, realm: impl Fn() -> &'a Realm) -> sys::napi_value {
    // SAFETY: the wrapper that wrote the target was made for its type, wrote the arguments by it,
    // joined the groups of functions among them, is running, and keeps the function's group. The
    // window has a slot for every argument and result.
    unsafe {
        let target = (*door().values().add(TARGET)).func.unwrap_unchecked();
        match door().call(target) {
            Rest::Nothing => {}
            Rest::Everything => nested(realm(), target),
            rest => finish(realm(), rest, Turn::begin(realm(), rest), NonNull::dangling()),
        }
    }
    ptr::null_mut()
}

/// An entry that is not the first. Cannot panic, and has a small frame: programs recurse through it.
///
/// # Safety
/// As for [`call`], which met `target` in the window and left everything to us.
#[inline(never)]
unsafe fn nested(realm: &Realm, target: NonNull<VMFuncRef>) {
    let turn = Turn::begin(realm, Rest::Everything);
    // SAFETY: by this function's contract.
    let rest = unsafe { realm.door().call_nested(&realm.store, target) };
    drop(turn);
    if rest != Rest::Nothing {
        // SAFETY: as above.
        return unsafe { finish(realm, rest, Turn::begin(realm, Rest::Everything), target) };
    }
    realm.refresh_buffers();
}

/// # Safety
/// As for [`call`], which met `target` in the window and left the rest to us.
#[cold]
#[inline(never)]
unsafe fn finish(realm: &Realm, rest: Rest, turn: Turn<'_>, target: NonNull<VMFuncRef>) {
    guard(realm, move || {
        let _turn = turn;
        // SAFETY: by this function's contract.
        unsafe { Func::finish_call(rest, &realm.store, target, realm.slots()) }?;
        Ok(())
    });
    realm.refresh_buffers();
}

/// The handles that calls from wasm to JavaScript make. A scope for each of these calls would be a
/// good part of its cost, so wasm entered by [`call`] shares one among many. Whoever else enters wasm
/// takes a [`Turn::apart`], for Node-API wants what is opened in a callback to be closed in it.
#[derive(Clone, Copy)]
pub struct Handles {
    /// The shared scope, if it is open.
    scope: sys::napi_handle_scope,
    calls: u32,
    /// Whether each call has a scope of its own.
    apart: bool,
    /// The shim called last, and its function, a handle of the scope.
    shim: u64,
    function: sys::napi_value,
}

impl Handles {
    pub const NONE: Handles =
        Handles { scope: ptr::null_mut(), calls: 0, apart: false, shim: 0, function: ptr::null_mut() };
    /// How many calls share a scope. What they returned is kept as long.
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
            // To close it.
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

/// An entry into wasm that is not the first, or on its way out: ends with the scope of its own calls
/// closed, and that of the calls around it in place.
pub struct Turn<'a> {
    realm: &'a Realm,
    outer: Handles,
}

impl<'a> Turn<'a> {
    fn begin(realm: &'a Realm, rest: Rest) -> Turn<'a> {
        let outer = match rest {
            Rest::Everything => realm.handles.replace(Handles::NONE),
            _ => Handles::NONE,
        };
        Turn { realm, outer }
    }

    /// For wasm that is not entered by [`call`].
    pub fn apart(realm: &'a Realm) -> Turn<'a> {
        Turn { realm, outer: realm.handles.replace(Handles { apart: true, ..Handles::NONE }) }
    }
}

impl Drop for Turn<'_> {
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
/// The shim takes no arguments: it reads and writes the window.
///
/// The function does not keep the shim alive; the JavaScript group of whatever it is linked into
/// does. Returns the function's address and its handle.
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
            unreachable!("lib/instance.js asks for the module's function imports only");
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
        let _own = if handles.apart { Some(HandleScope::open(realm.env)?) } else { None };
        let function = match handles.apart {
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
