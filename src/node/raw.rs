//! The Node-API calls of the hot paths, wrapped once.
//!
//! For this room. Invariant: everything here runs on the thread of the environment it was given, as
//! Node-API requires. None of these types is `Send`.

use engine::check_spare;
use napi::sys;
use std::ffi::{CStr, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;

/// A Node-API call failed. An exception may be pending that says why. Without one the environment is shutting
/// down, or V8 has no room for what it was asked for.
pub struct Refused;

/// `Err` unless `status` says the call went well.
pub fn check(status: sys::napi_status) -> Result<(), Refused> {
    if status == sys::Status::napi_ok { Ok(()) } else { Err(Refused) }
}

/// A reference to a JavaScript object or function.
pub struct Reference {
    env: sys::napi_env,
    raw: sys::napi_ref,
}

impl Reference {
    /// Keeps the value alive.
    pub fn strong(env: sys::napi_env, value: sys::napi_value) -> Result<Reference, Refused> {
        Reference::new(env, value, 1)
    }

    /// Lets the value go when JavaScript has no more use for it.
    pub fn weak(env: sys::napi_env, value: sys::napi_value) -> Result<Reference, Refused> {
        Reference::new(env, value, 0)
    }

    fn new(env: sys::napi_env, value: sys::napi_value, count: u32) -> Result<Reference, Refused> {
        let mut raw = ptr::null_mut();
        // SAFETY: `env` is the environment of this thread, `value` a handle of its open scope.
        check(unsafe { sys::napi_create_reference(env, value, count, &mut raw) })?;
        Ok(Reference { env, raw })
    }

    /// Whether the value is there, without a handle for it.
    pub fn is_alive(&self) -> bool {
        let Ok(_scope) = HandleScope::open(self.env) else { return true };
        self.get().is_some()
    }

    /// The value, unless it was weak and is gone.
    #[inline]
    pub fn get(&self) -> Option<sys::napi_value> {
        let mut value = ptr::null_mut();
        // SAFETY: `raw` is live until `drop`.
        let status = unsafe { sys::napi_get_reference_value(self.env, self.raw, &mut value) };
        (status == sys::Status::napi_ok && !value.is_null()).then_some(value)
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // The status can be ignored: the call fails only for null.
        // SAFETY: `raw` came from `napi_create_reference` and is deleted once. The environment
        // still stands: references are dropped from its callbacks and finalizers only.
        unsafe { sys::napi_delete_reference(self.env, self.raw) };
    }
}

#[inline]
pub fn open_scope(env: sys::napi_env) -> Result<sys::napi_handle_scope, Refused> {
    let mut scope = ptr::null_mut();
    // SAFETY: `env` is the environment of this thread.
    check(unsafe { sys::napi_open_handle_scope(env, &mut scope) })?;
    Ok(scope)
}

/// Closes the innermost open scope. The status can be ignored: the call fails only for a scope that was never
/// opened.
#[inline]
pub fn close_scope(env: sys::napi_env, scope: sys::napi_handle_scope) {
    // SAFETY: `scope` came from `open_scope` and is closed once, before those around it.
    unsafe { sys::napi_close_handle_scope(env, scope) };
}

/// The handles made while this lives are let go when it ends. Scopes of this type are values on the
/// stack, so they close in the reverse order of opening.
pub struct HandleScope {
    env: sys::napi_env,
    raw: sys::napi_handle_scope,
}

impl HandleScope {
    pub fn open(env: sys::napi_env) -> Result<HandleScope, Refused> {
        Ok(HandleScope { env, raw: open_scope(env)? })
    }
}

impl Drop for HandleScope {
    fn drop(&mut self) {
        close_scope(self.env, self.raw);
    }
}

/// The data pointer of the function being called. The status can be ignored: the call fails only for null, and
/// Node gives every callback its info.
///
/// # Safety
/// `info` must be the callback info of the running callback.
#[inline]
pub unsafe fn callback_data(env: sys::napi_env, info: sys::napi_callback_info) -> *mut c_void {
    let mut data = ptr::null_mut();
    // SAFETY: the caller's; null for what we do not ask for is allowed.
    unsafe {
        let none = ptr::null_mut();
        sys::napi_get_cb_info(env, info, none, ptr::null_mut(), ptr::null_mut(), &mut data);
    }
    data
}

/// Makes a JavaScript function of `callback`, whose data pointer is `data`, kept as long as the
/// function.
pub fn function<T: 'static>(
    env: sys::napi_env,
    name: &CStr,
    callback: unsafe extern "C" fn(sys::napi_env, sys::napi_callback_info) -> sys::napi_value,
    data: Rc<T>,
) -> Result<sys::napi_value, Refused> {
    unsafe extern "C" fn finalize<T>(_: sys::napi_env, data: *mut c_void, _: *mut c_void) {
        // SAFETY: `data` is the count taken below, handed back once.
        contained(|| drop(unsafe { Rc::from_raw(data.cast::<T>()) }));
    }
    let data = Rc::into_raw(data).cast_mut().cast::<c_void>();
    let mut value = ptr::null_mut();
    let length = name.count_bytes() as isize;
    // SAFETY: the name outlives the call; `data` lives as long as the function does, by the
    // finalizer.
    unsafe {
        let status = sys::napi_create_function(env, name.as_ptr(), length, Some(callback), data, &mut value);
        let status = match check(status) {
            Ok(()) => sys::napi_add_finalizer(
                env,
                value,
                data,
                Some(finalize::<T>),
                ptr::null_mut(),
                ptr::null_mut(),
            ),
            Err(Refused) => status,
        };
        if let Err(refused) = check(status) {
            drop(Rc::from_raw(data.cast::<T>()));
            return Err(refused);
        }
    }
    Ok(value)
}

/// Runs the body of a finalizer. A panic there is a bug in us that nobody can be told of; it must
/// not unwind into Node.
pub fn contained(body: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(body));
}

pub fn string(env: sys::napi_env, text: &str) -> Result<sys::napi_value, Refused> {
    let mut value = ptr::null_mut();
    let (start, length) = (text.as_ptr().cast(), text.len() as isize);
    // SAFETY: pointer and length are those of `text`.
    check(unsafe { sys::napi_create_string_utf8(env, start, length, &mut value) })?;
    Ok(value)
}

/// A Buffer with a copy of the bytes, which V8 owns. A Buffer over bytes of ours would lose them when its
/// environment ends, even if they had gone to another thread.
pub fn buffer(env: sys::napi_env, bytes: &[u8]) -> Result<sys::napi_value, Refused> {
    let mut value = ptr::null_mut();
    let (start, none) = (bytes.as_ptr().cast(), ptr::null_mut());
    // Node ends the process if it finds no memory.
    check_spare(bytes.len()).map_err(|_| Refused)?;
    // SAFETY: pointer and length are those of `bytes`; the out pointer for the copy may be null.
    check(unsafe { sys::napi_create_buffer_copy(env, bytes.len(), start, none, &mut value) })?;
    Ok(value)
}

pub fn number(env: sys::napi_env, number: f64) -> Result<sys::napi_value, Refused> {
    let mut value = ptr::null_mut();
    // SAFETY: `env` is the environment of this thread.
    check(unsafe { sys::napi_create_double(env, number, &mut value) })?;
    Ok(value)
}

/// An array of numbers.
pub fn numbers(env: sys::napi_env, list: &[u32]) -> Result<sys::napi_value, Refused> {
    let mut array = ptr::null_mut();
    // SAFETY: `env` is the environment of this thread.
    check(unsafe { sys::napi_create_array_with_length(env, list.len(), &mut array) })?;
    for (place, value) in (0..).zip(list) {
        let value = number(env, (*value).into())?;
        // SAFETY: both are handles of the open scope.
        check(unsafe { sys::napi_set_element(env, array, place, value) })?;
    }
    Ok(array)
}

pub fn null(env: sys::napi_env) -> Result<sys::napi_value, Refused> {
    let mut value = ptr::null_mut();
    // SAFETY: `env` is the environment of this thread.
    check(unsafe { sys::napi_get_null(env, &mut value) })?;
    Ok(value)
}

pub fn undefined(env: sys::napi_env) -> Result<sys::napi_value, Refused> {
    let mut value = ptr::null_mut();
    // SAFETY: `env` is the environment of this thread.
    check(unsafe { sys::napi_get_undefined(env, &mut value) })?;
    Ok(value)
}

/// Calls a JavaScript function. `Err` is [`Refused`] or leaves an exception pending.
#[inline]
pub fn call(
    env: sys::napi_env,
    function: sys::napi_value,
    args: &[sys::napi_value],
) -> Result<sys::napi_value, Refused> {
    let mut result = ptr::null_mut();
    // The receiver must be some value, and what we call does not look at it. The function itself will do.
    // SAFETY: all handles are of the open scope.
    check(unsafe {
        let argv = args.as_ptr();
        sys::napi_call_function(env, function, function, args.len(), argv, &mut result)
    })?;
    Ok(result)
}

/// Takes the pending exception, if there is one.
pub fn take_exception(env: sys::napi_env) -> Option<sys::napi_value> {
    let mut pending = false;
    let mut value = ptr::null_mut();
    // SAFETY: `env` is the environment of this thread.
    unsafe {
        check(sys::napi_is_exception_pending(env, &mut pending)).ok()?;
        if !pending {
            return None;
        }
        check(sys::napi_get_and_clear_last_exception(env, &mut value)).ok()?;
    }
    (!value.is_null()).then_some(value)
}

/// An error without the face, for when the face cannot make one.
pub fn plain_error(env: sys::napi_env, code: &str, message: &str) -> Result<sys::napi_value, Refused> {
    let (code, message) = (string(env, code)?, string(env, message)?);
    let mut value = ptr::null_mut();
    // SAFETY: both are handles of the open scope.
    check(unsafe { sys::napi_create_error(env, code, message, &mut value) })?;
    Ok(value)
}

/// Makes the running callback throw what is pending already, or else `value`. JavaScript must not go on after
/// a failed call as though it had returned, so where nothing can be thrown, the process ends.
#[cold]
pub fn throw(env: sys::napi_env, value: Option<sys::napi_value>) {
    let mut pending = false;
    // SAFETY: `env` is the environment of this thread.
    let asked = unsafe { sys::napi_is_exception_pending(env, &mut pending) };
    if asked == sys::Status::napi_ok && pending {
        return;
    }
    let status = match value {
        // SAFETY: a handle of the open scope.
        Some(value) => unsafe { sys::napi_throw(env, value) },
        None => asked,
    };
    // These say that the environment is going down: V8 ends its JavaScript by itself when the callback
    // returns. (Before version 10 of Node-API `napi_throw` says so by the first one.)
    let going =
        [sys::Status::napi_pending_exception, sys::Status::napi_cannot_run_js, sys::Status::napi_closing];
    if going.contains(&status) || value.is_some() && status == sys::Status::napi_ok {
        return;
    }
    if value.is_none() {
        let (code, text) = (c"ERR_WASI_INTERNAL", c"a bug in wasi-native: an error could not be made");
        // SAFETY: the texts end with NUL.
        let status = unsafe { sys::napi_throw_error(env, code.as_ptr(), text.as_ptr()) };
        if status == sys::Status::napi_ok || going.contains(&status) {
            return;
        }
    }
    let (place, text) =
        (c"wasi-native", c"a bug in wasi-native, please report it: an error could not be thrown");
    let whole = -1;
    // SAFETY: the texts end with NUL, which is what this length stands for.
    unsafe { sys::napi_fatal_error(place.as_ptr(), whole, text.as_ptr(), whole) };
    std::process::abort();
}
