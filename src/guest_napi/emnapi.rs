//! What emnapi's C code in guests imports beside Node-API.
//!
//! For `functions.rs`. Bodies of functions without results return a number that nobody looks at.

use super::call::{self, Call};
use super::guest::Guest;
use super::outside::What;
use super::references;
use super::status::Status;
use super::wraps;
use crate::node::raw;
use engine::ValType;
use napi::sys;

type Answer = Result<u32, Status>;

/// Whether the guest may ask for contexts by `_emnapi_node_emit_async_init`. It need not.
pub fn emnapi_is_node_binding_available(_: &Call<'_>) -> Answer {
    Ok(0)
}

pub fn _emnapi_is_main_browser_thread(_: &Call<'_>) -> Answer {
    Ok(0)
}

pub fn _emnapi_is_main_runtime_thread(_: &Call<'_>) -> Answer {
    Ok(1)
}

pub fn _emnapi_open_handle_scope(call: &Call<'_>) -> Answer {
    call.guest.current()?;
    let number = call.guest.next_number();
    call.guest.handles.open(call.host(), number, false)?;
    Ok(number)
}

pub fn _emnapi_close_handle_scope(call: &Call<'_>, scope: u32) -> Answer {
    // There is nobody to tell if it was not open.
    match references::napi_close_handle_scope(call, scope) {
        Err(Status::LEAVE) => Err(Status::LEAVE),
        _ => Ok(0),
    }
}

pub fn _emnapi_create_function(
    call: &Call<'_>,
    name: u32,
    length: u32,
    callback: u32,
    data: u32,
    result: u32,
) -> Answer {
    match super::callbacks::napi_create_function(call, name, length, callback, data, result) {
        Ok(()) => Ok(0),
        Err(Status::LEAVE) => Err(Status::LEAVE),
        Err(status) => Ok(status.0 as u32),
    }
}

pub fn _emnapi_call_finalizer(
    call: &Call<'_>,
    _: u32,
    env: u32,
    callback: u32,
    data: u32,
    hint: u32,
) -> Answer {
    let guest = call.guest;
    if env == guest.env.get()
        && let Ok(Some(func)) = guest.finalizer(callback)
    {
        let _scope = raw::HandleScope::open(call.host());
        wraps::finalize(guest, func, data, hint);
        report(guest);
    }
    Ok(0)
}

/// Calls `(env, data)` of the guest. What it throws is an uncaught exception: there is no JavaScript that has called.
pub fn _emnapi_callback_into_module(
    call: &Call<'_>,
    _: u32,
    env: u32,
    callback: u32,
    data: u32,
    _: u32,
) -> Answer {
    let guest = call.guest;
    let Ok(func) = guest.function(callback, &[ValType::I32; 2], &[]) else { return Ok(0) };
    if env != guest.env.get() {
        return Ok(0);
    }
    let _scope = raw::HandleScope::open(call.host());
    guest.activate(None, |_| {
        // SAFETY: the type was looked at.
        if let Err(error) = unsafe { guest.enter(func, [env, data]) } {
            call::throw(guest, error);
        }
    });
    report(guest);
    Ok(0)
}

/// Hands a pending exception to Node's `uncaughtException`.
pub fn report(guest: &Guest) {
    if let Some(error) = raw::take_exception(guest.host) {
        // SAFETY: a handle of an open scope. Where the environment ends there is nobody to tell.
        unsafe { sys::napi_fatal_exception(guest.host, error) };
    }
}

pub fn _emnapi_node_emit_async_init(call: &Call<'_>, _: u32, _: u32, _: f64, result: u32) -> Answer {
    // No context.
    if result != 0 {
        call.memory().write_u64(result, 0)?;
        call.memory().write_u64(result.checked_add(8).ok_or(Status::INVALID_ARG)?, 0)?;
    }
    Ok(0)
}

pub fn _emnapi_node_emit_async_destroy(_: &Call<'_>, _: f64, _: f64) -> Answer {
    Ok(0)
}

#[expect(clippy::too_many_arguments, reason = "they are the function's")]
pub fn _emnapi_node_make_callback(
    call: &Call<'_>,
    _: u32,
    resource: u32,
    function: u32,
    argv: u32,
    argc: u32,
    _: f64,
    _: f64,
    result: u32,
) -> Answer {
    match super::callbacks::napi_call_function(call, resource, function, argc, argv, result) {
        Err(Status::LEAVE) => Err(Status::LEAVE),
        _ => Ok(0),
    }
}

/// Finalizers of ours may always call Node-API.
pub fn _emnapi_env_check_gc_access(_: &Call<'_>, _: u32) -> Answer {
    Ok(0)
}

/// The guest lives until it is closed, whatever it counts.
pub fn _emnapi_env_ref(_: &Call<'_>, _: u32) -> Answer {
    Ok(0)
}

pub fn _emnapi_env_unref(_: &Call<'_>, _: u32) -> Answer {
    Ok(0)
}

pub fn _emnapi_runtime_keepalive_push(_: &Call<'_>) -> Answer {
    Ok(0)
}

pub fn _emnapi_runtime_keepalive_pop(_: &Call<'_>) -> Answer {
    Ok(0)
}

/// Has a function of the guest called in a turn of its own. The event loop is kept running for it from now on: a
/// message alone would not do that, and a loop with nothing else to do would end before the message came.
fn later(call: &Call<'_>, place: u32, data: u32) -> Answer {
    if let Some(outside) = call.guest.outside() {
        call.guest.hold_loop();
        outside.tell(What::Call { place, data, holds: true });
    }
    Ok(0)
}

pub fn _emnapi_async_send_js(call: &Call<'_>, _: u32, place: u32, data: u32) -> Answer {
    later(call, place, data)
}

pub fn _emnapi_set_immediate(call: &Call<'_>, place: u32, data: u32) -> Answer {
    later(call, place, data)
}

pub fn _emnapi_next_tick(call: &Call<'_>, place: u32, data: u32) -> Answer {
    later(call, place, data)
}

/// The guest waits for something: it counts what the event loop is to be kept running for.
pub fn _emnapi_ctx_increase_waiting_request_counter(call: &Call<'_>) -> Answer {
    call.guest.hold_loop();
    Ok(0)
}

pub fn _emnapi_ctx_decrease_waiting_request_counter(call: &Call<'_>) -> Answer {
    call.guest.release_loop();
    Ok(0)
}
