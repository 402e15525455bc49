//! Strings: made of guest bytes, and written into them.
//!
//! For `functions.rs`. Text of a shared memory is copied out before V8 reads it: V8 reads twice, to measure
//! and to decode, and another thread may write in between. Text of any other memory is read in place.

use super::call::{AUTO_LENGTH, Call};
use super::status::{Done, Status, check};
use napi::sys;
use std::ffi::{c_char, c_void};

/// V8 makes no longer ones. Beyond this, nothing is copied for it to refuse.
const MOST_CHARACTERS: u32 = 1 << 30;

/// Has `make` read `length` characters of `width` bytes at `address`.
fn with_characters<T>(
    call: &Call<'_>,
    address: u32,
    length: u32,
    width: u32,
    make: impl FnOnce(*const c_void, isize) -> Result<T, Status>,
) -> Result<T, Status> {
    let memory = call.memory();
    let length = match length {
        AUTO_LENGTH if address == 0 => return Err(Status::INVALID_ARG),
        AUTO_LENGTH if width == 1 => memory.c_string_len(address, usize::MAX)? as u32,
        AUTO_LENGTH => {
            let mut length = 0;
            while memory.read_u16(address.checked_add(2 * length).ok_or(Status::INVALID_ARG)?)? != 0 {
                length += 1;
            }
            length
        }
        0 => 0,
        _ if address == 0 || length > i32::MAX as u32 => return Err(Status::INVALID_ARG),
        length => length,
    };
    if length > MOST_CHARACTERS {
        return Err(Status::INVALID_ARG);
    }
    let bytes = length as usize * width as usize;
    let place = memory.address(address, bytes)?;
    if call.guest.is_shared() || !place.addr().is_multiple_of(width as usize) {
        let mut copy = [0u64; 32];
        if bytes <= size_of_val(&copy) {
            // SAFETY: there is room for so many.
            unsafe { memory.copy_to(address, bytes, copy.as_mut_ptr().cast()) }?;
            return make(copy.as_ptr().cast(), length as isize);
        }
        let mut copy: Vec<u64> = Vec::new();
        let words = bytes.div_ceil(8);
        copy.try_reserve_exact(words).map_err(|_| Status::GENERIC_FAILURE)?;
        copy.resize(words, 0);
        // SAFETY: as above.
        unsafe { memory.copy_to(address, bytes, copy.as_mut_ptr().cast()) }?;
        return make(copy.as_ptr().cast(), length as isize);
    }
    make(place.cast_const().cast(), length as isize)
}

/// Bodies that make a string or a symbol of the guest's text.
macro_rules! makers {
    ($($name:ident = $host:ident, $char:ty, $width:literal;)*) => {$(
        pub fn $name(call: &Call<'_>, text: u32, length: u32, result: u32) -> Done {
            with_characters(call, text, length, $width, |text, length| {
                // SAFETY: so many characters are there, and nobody writes them during the call.
                call.make(result, |env, value| unsafe {
                    sys::$host(env, text.cast::<$char>(), length, value)
                })
            })
        }
    )*};
}

makers! {
    napi_create_string_utf8 = napi_create_string_utf8, c_char, 1;
    napi_create_string_latin1 = napi_create_string_latin1, c_char, 1;
    napi_create_string_utf16 = napi_create_string_utf16, u16, 2;
    node_api_symbol_for = node_api_symbol_for, c_char, 1;
    // What the host makes otherwise is the same string, found sooner as a key.
    node_api_create_property_key_utf8 = napi_create_string_utf8, c_char, 1;
    node_api_create_property_key_latin1 = napi_create_string_latin1, c_char, 1;
    node_api_create_property_key_utf16 = napi_create_string_utf16, u16, 2;
}

/// Strings over the guest's bytes are copies, because V8 keeps such strings longer than we keep the bytes. The
/// guest is told so, and its finalizer is called at once, as the host does when it copies.
macro_rules! external {
    ($($name:ident = $make:ident;)*) => {$(
        pub fn $name(
            call: &Call<'_>,
            text: u32,
            length: u32,
            finalize: u32,
            hint: u32,
            result: u32,
            copied: u32,
        ) -> Done {
            call.reserve_optional(copied, 1)?;
            let finalize = call.guest.finalizer(finalize)?;
            $make(call, text, length, result)?;
            if copied != 0 {
                call.write_bool(copied, true)?;
            }
            match finalize {
                None => Ok(()),
                // SAFETY: `finalizer` has looked at the type.
                Some(func) => unsafe { call.guest.enter(func, [call.guest.env.get(), text, hint]) }
                    .map(drop)
                    .map_err(|error| super::call::fail_later(call.guest, error)),
            }
        }
    )*};
}

external! {
    node_api_create_external_string_latin1 = napi_create_string_latin1;
    node_api_create_external_string_utf16 = napi_create_string_utf16;
}

/// Bodies that write a string's characters into the guest's memory.
macro_rules! readers {
    ($($name:ident, $char:ty;)*) => {$(
        pub fn $name(call: &Call<'_>, value: u32, buffer: u32, size: u32, result: u32) -> Done {
            let value = call.value(value)?;
            let host = call.host();
            let mut length = 0;
            if buffer == 0 {
                call.reserve(result, 4)?;
                let none = std::ptr::null_mut();
                // SAFETY: a handle of an open scope, and a local result.
                check(unsafe { sys::$name(host, value, none, 0, &mut length) })?;
                return call.write_u32(result, u32::try_from(length).unwrap_or(u32::MAX));
            }
            call.reserve_optional(result, 4)?;
            let memory = call.memory();
            // `NAPI_AUTO_LENGTH` promises room for all of it, up to the memory's end.
            let size = match size {
                AUTO_LENGTH => memory.room_from(buffer)? / size_of::<$char>(),
                size => size as usize,
            };
            let place = memory.address(buffer, size.checked_mul(size_of::<$char>()).ok_or(Status::INVALID_ARG)?)?;
            if !place.addr().is_multiple_of(size_of::<$char>()) {
                // V8 writes whole characters.
                let mut copy: Vec<u16> = Vec::new();
                copy.try_reserve_exact(size).map_err(|_| Status::GENERIC_FAILURE)?;
                copy.resize(size, 0);
                let room = copy.as_mut_ptr().cast::<$char>();
                // SAFETY: as above, with room for so many characters.
                check(unsafe { sys::$name(host, value, room, size, &mut length) })?;
                for (place, unit) in (0..).zip(copy.iter().take((length + 1).min(size))) {
                    memory.write_u16(buffer + 2 * place, *unit)?;
                }
            } else {
                // SAFETY: as above; the room is the guest's, which was checked.
                check(unsafe { sys::$name(host, value, place.cast::<$char>(), size, &mut length) })?;
            }
            call.write_u32_optional(result, length as u32)
        }
    )*};
}

readers! {
    napi_get_value_string_utf8, c_char;
    napi_get_value_string_latin1, c_char;
    napi_get_value_string_utf16, u16;
}
