//! Asynchronous contexts and callback scopes.
//!
//! For `functions.rs`. Invariant: callback scopes close in the reverse order of opening, as Node asserts.

use super::call::Call;
use super::status::{Done, Status, check};
use napi::sys;
use std::ptr;

fn context(call: &Call<'_>, number: u32) -> Result<sys::napi_async_context, Status> {
    match number {
        0 => Ok(ptr::null_mut()),
        _ => call.guest.async_contexts.borrow().get(number).copied().ok_or(Status::INVALID_ARG),
    }
}

pub fn napi_async_init(call: &Call<'_>, resource: u32, name: u32, result: u32) -> Done {
    call.reserve(result, 4)?;
    let resource = if resource == 0 { ptr::null_mut() } else { call.value(resource)? };
    let name = call.value(name)?;
    let mut made = ptr::null_mut();
    // SAFETY: handles of open scopes, and a local result.
    check(unsafe { sys::napi_async_init(call.host(), resource, name, &mut made) })?;
    let number = call.guest.async_contexts.borrow_mut().insert(made).map_err(|made| {
        // SAFETY: just made, and nobody else has it.
        unsafe { sys::napi_async_destroy(call.host(), made) };
        Status::GENERIC_FAILURE
    })?;
    call.write_u32(result, number)
}

pub fn napi_async_destroy(call: &Call<'_>, context: u32) -> Done {
    let taken = call.guest.async_contexts.borrow_mut().remove(context).ok_or(Status::INVALID_ARG)?;
    // SAFETY: made by `napi_async_init` and destroyed once.
    check(unsafe { sys::napi_async_destroy(call.host(), taken) })
}

pub fn napi_make_callback(
    call: &Call<'_>,
    number: u32,
    receiver: u32,
    function: u32,
    argc: u32,
    argv: u32,
    result: u32,
) -> Done {
    call.reserve_optional(result, 4)?;
    let context = context(call, number)?;
    let (host, receiver, function) = (call.host(), call.value(receiver)?, call.value(function)?);
    let value = call.values(argv, argc, |args| {
        let mut value = ptr::null_mut();
        // SAFETY: all are handles of open scopes, and the context lives.
        call.javascript(|| unsafe {
            let (argc, argv) = (args.len(), args.as_ptr());
            sys::napi_make_callback(host, context, receiver, function, argc, argv, &mut value)
        })?;
        Ok(value)
    })?;
    call.give_optional(result, value)
}

pub fn napi_open_callback_scope(call: &Call<'_>, resource: u32, number: u32, result: u32) -> Done {
    call.reserve(result, 4)?;
    let context = context(call, number)?;
    if context.is_null() {
        return Err(Status::INVALID_ARG);
    }
    let resource = if resource == 0 { ptr::null_mut() } else { call.value(resource)? };
    call.guest.callback_scopes.open(
        call,
        |host, scope| {
            // SAFETY: handles of open scopes, a context that lives, and a local result.
            unsafe { sys::napi_open_callback_scope(host, resource, context, scope) }
        },
        result,
    )
}

pub fn napi_close_callback_scope(call: &Call<'_>, scope: u32) -> Done {
    call.guest.callback_scopes.close(call, scope)
}

/// The callback scopes of a guest.
#[derive(Default)]
pub struct CallbackScopes {
    open: std::cell::RefCell<Vec<OpenScope>>,
    /// Whether some may be open.
    any: std::cell::Cell<bool>,
}

#[derive(Clone, Copy)]
struct OpenScope {
    number: u32,
    host: sys::napi_callback_scope,
    /// The activation that it was opened in.
    activation: usize,
}

impl CallbackScopes {
    fn open(
        &self,
        call: &Call<'_>,
        open: impl FnOnce(sys::napi_env, *mut sys::napi_callback_scope) -> sys::napi_status,
        result: u32,
    ) -> Done {
        let activation = (&raw const *call.guest.current()?).addr();
        let mut scopes = self.open.borrow_mut();
        scopes.try_reserve(1).map_err(|_| Status::GENERIC_FAILURE)?;
        let mut host = ptr::null_mut();
        check(open(call.host(), &mut host))?;
        let number = call.guest.next_number();
        self.any.set(true);
        scopes.push(OpenScope { number, host, activation });
        call.write_u32(result, number)
    }

    fn close(&self, call: &Call<'_>, number: u32) -> Done {
        const MISMATCH: Status = Status(14);
        let activation = (&raw const *call.guest.current()?).addr();
        let last = self.open.borrow().last().copied();
        let fits = |scope: &OpenScope| scope.number == number && scope.activation == activation;
        let scope = last.filter(fits).ok_or(MISMATCH)?;
        self.open.borrow_mut().pop();
        let host = call.host();
        // The microtasks run now.
        // SAFETY: opened by `open`, the innermost, and closed once.
        call.javascript(|| unsafe { sys::napi_close_callback_scope(host, scope.host) })
    }

    /// Closes what an activation has left open.
    #[inline(always)]
    pub fn end(&self, host: sys::napi_env, activation: *const super::call::Activation) {
        if self.any.get() {
            self.end_some(host, activation);
        }
    }

    #[cold]
    fn end_some(&self, host: sys::napi_env, activation: *const super::call::Activation) {
        loop {
            self.any.set(!self.open.borrow().is_empty());
            let Some(scope) = self.open.borrow_mut().pop_if(|scope| scope.activation == activation.addr())
            else {
                return;
            };
            // SAFETY: as above.
            unsafe { sys::napi_close_callback_scope(host, scope.host) };
        }
    }
}
