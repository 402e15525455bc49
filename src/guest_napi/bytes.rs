//! `ArrayBuffer`s, typed arrays, data views and Buffers.
//!
//! For `functions.rs`. Bytes of JavaScript's reach the guest through `copies.rs`, bytes of the guest's reach
//! JavaScript through `external.rs`.

use super::call::Call;
use super::copies::Bytes;
use super::external;
use super::status::{Done, Status, check};
use super::wraps;
use crate::node::raw;
use engine::check_spare;
use napi::sys;
use std::ptr;

/// The bytes of a value that has some.
pub fn bytes_of(env: sys::napi_env, value: sys::napi_value) -> Option<Bytes> {
    let (mut start, mut len, mut buffer) = (ptr::null_mut(), 0, ptr::null_mut());
    let none: *mut usize = ptr::null_mut();
    // SAFETY: a handle of an open scope, and local results.
    unsafe {
        let mut is = false;
        if check(sys::napi_is_typedarray(env, value, &mut is)).is_ok() && is {
            let mut kind = 0;
            check(sys::napi_get_typedarray_info(
                env,
                value,
                &mut kind,
                &mut len,
                &mut start,
                &mut buffer,
                none,
            ))
            .ok()?;
            let len = len.checked_mul(element_size(kind))?;
            return Some(Bytes { start: start.cast(), len, buffer });
        }
        if check(sys::napi_is_arraybuffer(env, value, &mut is)).is_ok() && is {
            check(sys::napi_get_arraybuffer_info(env, value, &mut start, &mut len)).ok()?;
            return Some(Bytes { start: start.cast(), len, buffer: value });
        }
        if check(sys::napi_is_dataview(env, value, &mut is)).is_ok() && is {
            check(sys::napi_get_dataview_info(env, value, &mut len, &mut start, &mut buffer, none)).ok()?;
            return Some(Bytes { start: start.cast(), len, buffer });
        }
    }
    None
}

/// The bytes of an element of each `napi_typedarray_type`.
pub fn element_size(kind: i32) -> usize {
    match kind {
        // Int8, Uint8, Uint8Clamped
        0..=2 => 1,
        // Int16, Uint16, Float16
        3 | 4 | 11 => 2,
        // Int32, Uint32, Float32
        5..=7 => 4,
        _ => 8,
    }
}

/// Gives the guest the address of bytes, if it wants it.
fn give_address(call: &Call<'_>, result: u32, bytes: &Bytes) -> Done {
    if result == 0 {
        return Ok(());
    }
    let address = call.guest.copies.address_of(call, bytes)?;
    call.write_u32(result, address)
}

fn give_size(call: &Call<'_>, result: u32, size: usize) -> Done {
    call.write_u32_optional(result, u32::try_from(size).map_err(|_| Status::GENERIC_FAILURE)?)
}

fn reserve_optional<const N: usize>(call: &Call<'_>, results: [u32; N]) -> Done {
    results.into_iter().try_for_each(|result| call.reserve_optional(result, 4))
}

pub fn napi_get_typedarray_info(
    call: &Call<'_>,
    value: u32,
    kind: u32,
    length: u32,
    data: u32,
    buffer: u32,
    offset: u32,
) -> Done {
    let value = call.value(value)?;
    reserve_optional(call, [kind, length, data, buffer, offset])?;
    let (mut host_kind, mut count, mut start, mut host_buffer, mut host_offset) =
        (0, 0, ptr::null_mut(), ptr::null_mut(), 0);
    // SAFETY: a handle of an open scope, and local results.
    check(unsafe {
        sys::napi_get_typedarray_info(
            call.host(),
            value,
            &mut host_kind,
            &mut count,
            &mut start,
            &mut host_buffer,
            &mut host_offset,
        )
    })?;
    let len = count.checked_mul(element_size(host_kind)).ok_or(Status::GENERIC_FAILURE)?;
    give_address(call, data, &Bytes { start: start.cast(), len, buffer: host_buffer })?;
    call.write_u32_optional(kind, host_kind as u32)?;
    give_size(call, length, count)?;
    give_size(call, offset, host_offset)?;
    call.give_optional(buffer, host_buffer)
}

pub fn napi_get_buffer_info(call: &Call<'_>, value: u32, data: u32, length: u32) -> Done {
    let value = call.value(value)?;
    reserve_optional(call, [data, length])?;
    // A Buffer is a typed array, and the host takes any view of bytes for one.
    let bytes = bytes_of(call.host(), value).ok_or(Status::INVALID_ARG)?;
    give_address(call, data, &bytes)?;
    give_size(call, length, bytes.len)
}

pub fn napi_get_arraybuffer_info(call: &Call<'_>, value: u32, data: u32, length: u32) -> Done {
    let value = call.value(value)?;
    reserve_optional(call, [data, length])?;
    let (mut start, mut len) = (ptr::null_mut(), 0);
    // SAFETY: a handle of an open scope, and local results.
    check(unsafe { sys::napi_get_arraybuffer_info(call.host(), value, &mut start, &mut len) })?;
    give_address(call, data, &Bytes { start: start.cast(), len, buffer: value })?;
    give_size(call, length, len)
}

pub fn napi_get_dataview_info(
    call: &Call<'_>,
    value: u32,
    length: u32,
    data: u32,
    buffer: u32,
    offset: u32,
) -> Done {
    let value = call.value(value)?;
    reserve_optional(call, [length, data, buffer, offset])?;
    let (mut len, mut start, mut host_buffer, mut host_offset) = (0, ptr::null_mut(), ptr::null_mut(), 0);
    // SAFETY: a handle of an open scope, and local results.
    check(unsafe {
        sys::napi_get_dataview_info(
            call.host(),
            value,
            &mut len,
            &mut start,
            &mut host_buffer,
            &mut host_offset,
        )
    })?;
    give_address(call, data, &Bytes { start: start.cast(), len, buffer: host_buffer })?;
    give_size(call, length, len)?;
    give_size(call, offset, host_offset)?;
    call.give_optional(buffer, host_buffer)
}

pub fn napi_create_typedarray(
    call: &Call<'_>,
    kind: i32,
    length: u32,
    buffer: u32,
    offset: u32,
    result: u32,
) -> Done {
    let buffer = call.value(buffer)?;
    // SAFETY: a handle of an open scope, and a local result. The host checks the range and throws.
    call.make(result, |env, value| unsafe {
        sys::napi_create_typedarray(env, kind, length as usize, buffer, offset as usize, value)
    })
}

pub fn napi_create_dataview(call: &Call<'_>, length: u32, buffer: u32, offset: u32, result: u32) -> Done {
    let buffer = call.value(buffer)?;
    // SAFETY: as above.
    call.make(result, |env, value| unsafe {
        sys::napi_create_dataview(env, length as usize, buffer, offset as usize, value)
    })
}

pub fn napi_detach_arraybuffer(call: &Call<'_>, buffer: u32) -> Done {
    let buffer = call.value(buffer)?;
    call.guest.copies.write_to_javascript(call.guest);
    // SAFETY: a handle of an open scope.
    check(unsafe { sys::napi_detach_arraybuffer(call.host(), buffer) })
}

/// V8 ends the process where it finds no memory.
fn check_room(len: u32) -> Done {
    check_spare(len as usize).map_err(|_| Status::GENERIC_FAILURE)
}

/// A buffer over zeroed bytes of the guest's `malloc`, which are freed when it is gone.
fn create(
    call: &Call<'_>,
    len: u32,
    data: u32,
    result: u32,
    kind: external::Kind,
    contents: Option<u32>,
) -> Done {
    let guest = call.guest;
    let address = guest.malloc(len.max(1))?;
    let memory = call.memory();
    match contents {
        None => memory.fill(address, len as usize, 0)?,
        Some(from) => memory.copy_within(from, address, len as usize)?,
    }
    let value = match external::over(call, address, len, kind, external::End::Free) {
        Ok(value) => value,
        Err(status) => {
            if status != Status::LEAVE {
                guest.free(address)?;
            }
            return Err(status);
        }
    };
    call.write_u32(data, address)?;
    call.give(result, value)
}

pub fn napi_create_arraybuffer(call: &Call<'_>, len: u32, data: u32, result: u32) -> Done {
    call.reserve(result, 4)?;
    call.reserve_optional(data, 4)?;
    if data != 0 && len > 0 {
        return create(call, len, data, result, external::Kind::ArrayBuffer, None);
    }
    check_room(len)?;
    call.write_u32_optional(data, 0)?;
    let mut start = ptr::null_mut();
    // SAFETY: local results.
    call.make(result, |env, value| unsafe {
        sys::napi_create_arraybuffer(env, len as usize, &mut start, value)
    })
}

pub fn napi_create_buffer(call: &Call<'_>, len: u32, data: u32, result: u32) -> Done {
    call.reserve(result, 4)?;
    call.reserve_optional(data, 4)?;
    if data != 0 && len > 0 {
        return create(call, len, data, result, external::Kind::Buffer, None);
    }
    check_room(len)?;
    call.write_u32_optional(data, 0)?;
    let mut start = ptr::null_mut();
    // SAFETY: local results.
    call.make(result, |env, value| unsafe { sys::napi_create_buffer(env, len as usize, &mut start, value) })
}

pub fn napi_create_buffer_copy(call: &Call<'_>, len: u32, from: u32, data: u32, result: u32) -> Done {
    call.reserve(result, 4)?;
    call.reserve_optional(data, 4)?;
    let source = call.memory().address(from, len as usize)?;
    if data != 0 && len > 0 {
        return create(call, len, data, result, external::Kind::Buffer, Some(from));
    }
    check_room(len)?;
    call.write_u32_optional(data, 0)?;
    // SAFETY: so many bytes are there; a thread that writes them meanwhile only changes what is copied.
    call.make(result, |env, value| unsafe {
        sys::napi_create_buffer_copy(env, len as usize, source.cast_const().cast(), ptr::null_mut(), value)
    })
}

fn create_external(
    call: &Call<'_>,
    data: u32,
    len: u32,
    finalize: u32,
    hint: u32,
    result: u32,
    kind: external::Kind,
) -> Done {
    call.reserve(result, 4)?;
    let func = call.guest.finalizer(finalize)?;
    call.memory().reserve(data, len as usize)?;
    if len == 0 {
        // The host does not tell when no bytes are gone: the object has the finalizer.
        let (mut start, mut value) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: local results.
        check(unsafe {
            match kind {
                external::Kind::ArrayBuffer => {
                    sys::napi_create_arraybuffer(call.host(), 0, &mut start, &mut value)
                }
                external::Kind::Buffer => sys::napi_create_buffer(call.host(), 0, &mut start, &mut value),
            }
        })?;
        if func.is_some() {
            wraps::add_finalizer(call, value, data, finalize, hint)?;
        }
        return call.give(result, value);
    }
    let value = external::over(call, data, len, kind, external::End::Finalizer(func, hint))?;
    call.give(result, value)
}

pub fn napi_create_external_arraybuffer(
    call: &Call<'_>,
    data: u32,
    len: u32,
    finalize: u32,
    hint: u32,
    result: u32,
) -> Done {
    create_external(call, data, len, finalize, hint, result, external::Kind::ArrayBuffer)
}

pub fn napi_create_external_buffer(
    call: &Call<'_>,
    len: u32,
    data: u32,
    finalize: u32,
    hint: u32,
    result: u32,
) -> Done {
    create_external(call, data, len, finalize, hint, result, external::Kind::Buffer)
}

/// `Buffer.from(arraybuffer, offset, length)`: hosts before version 10 have no call of their own.
pub fn node_api_create_buffer_from_arraybuffer(
    call: &Call<'_>,
    buffer: u32,
    offset: u32,
    len: u32,
    result: u32,
) -> Done {
    call.reserve(result, 4)?;
    let (host, buffer) = (call.host(), call.value(buffer)?);
    let (mut is, mut start, mut size) = (false, ptr::null_mut(), 0);
    let (mut global, mut class, mut from, mut value) =
        (ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: handles of open scopes, and local results; the names end with NUL.
    unsafe {
        check(sys::napi_is_arraybuffer(host, buffer, &mut is))?;
        if !is {
            return Err(Status(19));
        }
        check(sys::napi_get_arraybuffer_info(host, buffer, &mut start, &mut size))?;
        if u64::from(offset) + u64::from(len) > size as u64 {
            let (code, text) = (c"ERR_OUT_OF_RANGE", c"The byte offset + length is out of range");
            sys::napi_throw_range_error(host, code.as_ptr(), text.as_ptr());
            return Err(Status::PENDING_EXCEPTION);
        }
        check(sys::napi_get_global(host, &mut global))?;
        check(sys::napi_get_named_property(host, global, c"Buffer".as_ptr(), &mut class))?;
        check(sys::napi_get_named_property(host, class, c"from".as_ptr(), &mut from))?;
    }
    let args = [buffer, raw::number(host, offset.into())?, raw::number(host, len.into())?];
    // SAFETY: as above.
    call.javascript(|| unsafe {
        sys::napi_call_function(host, class, from, args.len(), args.as_ptr(), &mut value)
    })?;
    call.give(result, value)
}
