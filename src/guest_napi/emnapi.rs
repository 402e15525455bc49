//! What guests import of emnapi beside Node-API: its public functions, and what its C code asks its host for.
//!
//! For `functions.rs`. Bodies of functions without results return a number that nobody looks at. Those that
//! have no environment to check must ask [`Guest::check_answers`] before they touch handles.

use super::bytes;
use super::call::{self, AUTO_LENGTH, Call};
use super::copies::Bytes;
use super::guest::Guest;
use super::outside::What;
use super::references;
use super::status::{Done, Status};
use super::wraps;
use crate::node::raw;
use engine::ValType;
use napi::sys;

type Answer = Result<u32, Status>;

/// Whether the guest may ask for contexts by `_emnapi_node_emit_async_init`. It need not.
pub fn emnapi_is_node_binding_available(_: &Call<'_>) -> Answer {
    Ok(0)
}

pub fn emnapi_is_support_weakref(_: &Call<'_>) -> Answer {
    Ok(1)
}

pub fn emnapi_is_support_bigint(_: &Call<'_>) -> Answer {
    Ok(1)
}

/// Has one side's bytes of a buffer or view be the other's. Guests that know of emnapi's copies ask for it, and
/// need not here: calls do it. What `place` points to is the value.
pub fn emnapi_sync_memory(call: &Call<'_>, to_guest: u32, place: u32, offset: u32, length: u32) -> Done {
    call.reserve(place, 4)?;
    let value = call.value(call.memory().read_u32(place)?)?;
    let all = bytes::bytes_of(call.host(), value).ok_or(Status::INVALID_ARG)?;
    let rest = all.len.checked_sub(offset as usize).ok_or(Status::INVALID_ARG)?;
    let len = if length == AUTO_LENGTH { rest } else { length as usize };
    if len > rest {
        return Err(Status::INVALID_ARG);
    }
    let part = Bytes { start: all.start.wrapping_add(offset as usize), len, buffer: all.buffer };
    call.guest.copies.have_same(call, &all, &part, to_guest != 0)
}

/// Where the guest has the bytes of a buffer or view, whether it made them itself, and whether they are a copy.
pub fn emnapi_get_memory_address(
    call: &Call<'_>,
    value: u32,
    address: u32,
    ownership: u32,
    allocated: u32,
) -> Done {
    let value = call.value(value)?;
    call.reserve_optional(address, 4)?;
    call.reserve_optional(ownership, 4)?;
    call.reserve_optional(allocated, 1)?;
    let all = bytes::bytes_of(call.host(), value).ok_or(Status::INVALID_ARG)?;
    let own = call.memory().offset_of(all.start, all.len).is_some();
    let place = call.guest.copies.address_of(call, &all)?;
    call.write_u32_optional(address, place)?;
    call.write_u32_optional(ownership, own.into())?;
    if allocated == 0 { Ok(()) } else { call.write_bool(allocated, !own) }
}

/// A view of JavaScript's over the guest's bytes: of a `napi_typedarray_type`, -1 for a `DataView`, -2 for a Buffer.
pub fn emnapi_create_memory_view(
    call: &Call<'_>,
    kind: i32,
    data: u32,
    length: u32,
    finalize: u32,
    hint: u32,
    result: u32,
) -> Done {
    const DATA_VIEW: i32 = -1;
    const BUFFER: i32 = -2;
    call.reserve(result, 4)?;
    let length = if data == 0 { 0 } else { length };
    match kind {
        BUFFER => bytes::napi_create_external_buffer(call, length, data, finalize, hint, result),
        DATA_VIEW..=11 => {
            bytes::napi_create_external_arraybuffer(call, data, length, finalize, hint, result)?;
            let buffer = call.memory().read_u32(result)?;
            if kind == DATA_VIEW {
                return bytes::napi_create_dataview(call, length, buffer, 0, result);
            }
            let count = length / bytes::element_size(kind) as u32;
            bytes::napi_create_typedarray(call, kind, count, buffer, 0, result)
        }
        _ => Err(Status::INVALID_ARG),
    }
}

/// Of the last call: what emnapi's `napi_get_last_error_info` tells.
pub fn _emnapi_get_last_error_info(call: &Call<'_>, _: u32, status: u32, code: u32, reserved: u32) -> Answer {
    let memory = call.memory();
    memory.write_u32(status, call.guest.last_status.get() as u32)?;
    memory.write_u32(code, 0)?;
    memory.write_u32(reserved, 0)?;
    Ok(0)
}

pub fn _emnapi_get_node_version(call: &Call<'_>, major: u32, minor: u32, patch: u32) -> Answer {
    let numbers = super::info::node_version(call)?;
    for (place, number) in [major, minor, patch].into_iter().zip(numbers) {
        call.memory().write_u32(place, number)?;
    }
    Ok(0)
}

/// The bytes of where the module comes from; without room for them, how many there are.
pub fn _emnapi_get_filename(call: &Call<'_>, _: u32, text: u32, room: u32) -> Answer {
    let name = call.guest.file_name.as_bytes();
    if text == 0 {
        return u32::try_from(name.len()).map_err(|_| Status::GENERIC_FAILURE);
    }
    let Some(most) = room.checked_sub(1) else { return Ok(0) };
    let end = call.guest.file_name.floor_char_boundary(most as usize);
    call.memory().write_bytes(text, &name[..end])?;
    call.memory().write_u8(text.checked_add(end as u32).ok_or(Status::INVALID_ARG)?, 0)?;
    Ok(end as u32)
}

/// Calls `(work, kind)` of the guest when its threads for asynchronous work are there. They always are.
pub fn _emnapi_after_uvthreadpool_ready(call: &Call<'_>, callback: u32, work: u32, kind: u32) -> Answer {
    call.guest.check_answers()?;
    let func = call.guest.function(callback, &[ValType::I32; 2], &[])?;
    // SAFETY: the type was looked at.
    let entered = unsafe { call.guest.enter(func, [work, kind]) };
    entered.map_err(|error| call::fail_later(call.guest, error))
}

/// Contexts are of no use to hooks that the guest cannot reach: there are none.
pub fn _emnapi_async_init_js(call: &Call<'_>, _: u32, _: u32, result: u32) -> Answer {
    call.memory().write_u64(result, 0)?;
    Ok(0)
}

pub fn _emnapi_async_destroy_js(_: &Call<'_>, _: u32) -> Answer {
    Ok(0)
}

pub fn _emnapi_node_open_callback_scope(_: &Call<'_>, _: u32, _: f64, _: f64, _: u32) -> Answer {
    Ok(0)
}

pub fn _emnapi_node_close_callback_scope(_: &Call<'_>, _: u32) -> Answer {
    Ok(0)
}

pub fn _emnapi_is_main_browser_thread(_: &Call<'_>) -> Answer {
    Ok(0)
}

pub fn _emnapi_is_main_runtime_thread(_: &Call<'_>) -> Answer {
    Ok(1)
}

pub fn _emnapi_open_handle_scope(call: &Call<'_>) -> Answer {
    call.guest.check_answers()?;
    call.guest.current()?;
    let number = call.guest.next_number();
    call.guest.handles.open(call.host(), number, false)?;
    Ok(number)
}

pub fn _emnapi_close_handle_scope(call: &Call<'_>, scope: u32) -> Answer {
    call.guest.check_answers()?;
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
    call.guest.check_answers()?;
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
    if guest.answers(env)
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
    if !guest.answers(env) {
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
    call.guest.check_answers()?;
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
