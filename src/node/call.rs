//! JavaScript into wasm, and wasm into JavaScript: the two paths that must be fast.
//!
//! For `src/node` only. Neither path allocates, converts a value or makes a Node-API argument;
//! the values lie in the realm's window (see `realm.rs`).

use super::exceptions::thrown;
use super::failure::{Failure, guard};
use super::raw::{self, HandleScope, Reference, Refused};
use super::realm::{Realm, address};
use crate::engine::{Error, Extern, ExternType, Func, Module, ValRaw};
use napi::bindgen_prelude::{External, Unknown};
use napi::{JsValue, sys};
use napi_derive::napi;
use std::ptr;
use std::rc::Rc;

/// Calls the function whose reference is in the window's target slot, with its arguments in the
/// slots before; leaves the results there.
///
/// One such native function serves all exports of a realm: the JavaScript wrappers have one call
/// target, which V8 then calls directly however many exports there are. (With a native function
/// for each, a program that calls several exports pays more than double.)
pub unsafe extern "C" fn call(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    // SAFETY: `info` is ours, and the data pointer is the realm that `realm::open` gave, kept by
    // the function.
    let realm = unsafe { &*raw::callback_data(env, info).cast::<Realm>() };
    guard(realm, || {
        let target = realm.target().ok_or(Failure::Stopped)?;
        // SAFETY: the window has a slot for every argument and result; the wrapper that wrote the
        // target was made for its type, wrote the arguments by it, joined the groups of functions
        // among them, is running, and keeps the function's group alive.
        unsafe { Func::call_borrowed(&realm.store, target, realm.slots()) }?;
        Ok(())
    });
    realm.refresh_buffers();
    ptr::null_mut()
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
        let import = module.imports().nth(index as usize);
        let Some(ExternType::Func(ty)) = import.map(|import| import.ty) else {
            unreachable!("lib/instance.js asks for the module's function imports only");
        };
        let ty = ty.ty().clone();
        let (params, results) = (ty.params.len(), ty.results.len());
        let shim = Reference::weak(realm.env, shim.raw())?;
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
    shim: &Reference,
    values: &mut [ValRaw],
    params: usize,
    results: usize,
) -> Result<(), Error> {
    realm.refresh_buffers();
    let outcome = (|| {
        let _scope = HandleScope::open(realm.env)?;
        let shim = shim.get().ok_or(Refused)?;
        for (index, value) in values[..params].iter().enumerate() {
            realm.set_slot(index, *value);
        }
        raw::call(realm.env, shim, &[])?;
        for (index, value) in values[..results].iter_mut().enumerate() {
            *value = realm.slot(index);
        }
        Ok(())
    })();
    outcome.map_err(|Refused| thrown(realm))
}
