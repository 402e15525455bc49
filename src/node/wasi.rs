//! The WASI functions as JavaScript sees them.
//!
//! For `lib/wasi.js`, through Node-API. A WASI function reaches wasm in two ways: our instances
//! bind it as a typed native call ([`wasi_import`]), and JavaScript or V8's instances call it
//! through [`call_wasi`], over whatever memory `wasi.start()` was given.

use super::failure::{Failure, Kind, guard, run};
use super::module::signature;
use super::options::{self, WasiOptions};
use super::raw::{self, Refused};
use super::realm::Realm;
use crate::engine::{Extern, FuncType, ValRaw, ValType};
use crate::host;
use crate::wasi::{GuestMemory, WasiCtx};
use napi::bindgen_prelude::{Env, External, Unknown};
use napi::sys;
use napi_derive::napi;
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

#[napi(catch_unwind)]
pub fn wasi_context(
    realm: &External<Rc<Realm>>,
    options: WasiOptions,
) -> napi::Result<External<Arc<WasiCtx>>> {
    run(realm, || Ok(External::new(Arc::new(options::context(options)?))))
}

/// The names and signatures of all WASI functions, in the order of their numbers.
#[napi(catch_unwind)]
pub fn wasi_functions() -> Vec<(String, String)> {
    functions().map(|(name, ty)| (name.to_string(), signature(&ty))).collect()
}

/// A WASI function, to be linked into an instance of ours.
#[napi(catch_unwind)]
pub fn wasi_import(
    realm: &External<Rc<Realm>>,
    context: &External<Arc<WasiCtx>>,
    name: String,
) -> napi::Result<External<Extern>> {
    run(realm, || match host::import(context, &name) {
        Some(func) => Ok(External::new(Extern::Native(func))),
        None => Err(Failure::new(Kind::Internal, format!("no WASI function {name:?}"))),
    })
}

fn functions() -> impl Iterator<Item = (&'static str, FuncType)> {
    host::names().enumerate().filter_map(|(number, name)| Some((name, host::func_type(number)?)))
}

/// What the native function behind one `WASI` object's functions works on.
struct Caller {
    realm: Rc<Realm>,
    ctx: Arc<WasiCtx>,
    /// For each WASI function, which of its parameters are 64 bits wide.
    params: Vec<Vec<bool>>,
}

/// The function through which JavaScript calls the WASI functions of a context: it takes the
/// memory as a `Uint8Array`, the rest lies in the window.
#[napi(catch_unwind)]
pub fn wasi_caller<'env>(
    env: &'env Env,
    realm: &External<Rc<Realm>>,
    context: &External<Arc<WasiCtx>>,
) -> napi::Result<Unknown<'env>> {
    let wide = |ty: FuncType| ty.params.iter().map(|ty| *ty == ValType::I64).collect();
    let caller = Caller {
        realm: Rc::clone(realm),
        ctx: Arc::clone(context),
        params: functions().map(|(_, ty)| wide(ty)).collect(),
    };
    let function = run(realm, || Ok(raw::function(env.raw(), c"wasi", call_wasi, Rc::new(caller))?))?;
    // SAFETY: a handle of this callback's scope.
    Ok(unsafe { Unknown::from_raw_unchecked(env.raw(), function) })
}

unsafe extern "C" fn call_wasi(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    let mut count = 1;
    let mut view = ptr::null_mut();
    let mut data = ptr::null_mut();
    // SAFETY: `info` is ours; one argument is asked for.
    unsafe {
        let this = ptr::null_mut();
        sys::napi_get_cb_info(env, info, &mut count, &mut view, this, &mut data);
    }
    // SAFETY: the data that `wasi_caller` gave, kept by the function.
    let caller = unsafe { &*data.cast::<Caller>() };
    let realm = &*caller.realm;
    guard(realm, || {
        let (base, length) = bytes(env, view)?;
        // SAFETY: V8 and our memories keep these bytes in place while the view is there, and it
        // is an argument of this call.
        let memory = unsafe { GuestMemory::from_raw(base, length) };
        let function = realm.target_number();
        let params = caller.params.get(function).ok_or(Refused)?;
        let read = |(index, wide): (usize, &bool)| {
            let slot = realm.slot(index);
            // SAFETY: JavaScript wrote the slot by the function's signature.
            unsafe { if *wide { slot.i64 as u64 } else { u64::from(slot.i32 as u32) } }
        };
        let mut args = [0; 16];
        for (arg, param) in args.iter_mut().zip(params.iter().enumerate().map(read)) {
            *arg = param;
        }
        let args = args.get(..params.len()).ok_or(Refused)?;
        let errno = host::call(&caller.ctx, function, &memory, args)?;
        realm.set_slot(0, ValRaw { i32: i32::from(errno) });
        Ok(())
    });
    ptr::null_mut()
}

/// Where the bytes of a typed array lie; it may stand on an `ArrayBuffer` or a shared one.
fn bytes(
    env: sys::napi_env,
    view: sys::napi_value,
) -> Result<(*mut u8, usize), Failure> {
    let mut length = 0;
    let mut data: *mut c_void = ptr::null_mut();
    // SAFETY: a handle of the open scope; null for what we do not ask for is allowed.
    raw::check(unsafe {
        let (kind, buffer, offset) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        sys::napi_get_typedarray_info(env, view, kind, &mut length, &mut data, buffer, offset)
    })?;
    Ok((data.cast(), length))
}
