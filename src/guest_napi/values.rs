//! Numbers, booleans, BigInts, dates, symbols, promises: made and read.
//!
//! For `functions.rs`. Each body checks its result pointer, asks the host, and writes what came.

use super::call::Call;
use super::status::{Done, Status, check};
use napi::sys;
use std::ptr;

/// Bodies that ask the host for a value.
macro_rules! makers {
    ($($name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        pub fn $name(call: &Call<'_>, $($arg: $ty,)* result: u32) -> Done {
            // SAFETY: the environment of this thread, and a local result.
            call.make(result, |env, value| unsafe { sys::$name(env, $($arg,)* value) })
        }
    )*};
}

makers! {
    napi_get_undefined();
    napi_get_null();
    napi_get_global();
    napi_create_object();
    napi_create_array();
    napi_create_double(value: f64);
    napi_create_int32(value: i32);
    napi_create_uint32(value: u32);
    napi_create_int64(value: i64);
    napi_create_bigint_int64(value: i64);
    napi_create_bigint_uint64(value: u64);
    napi_create_date(time: f64);
}

pub fn napi_get_boolean(call: &Call<'_>, value: u32, result: u32) -> Done {
    // A C bool is the lowest byte of what is passed.
    let value = value as u8 != 0;
    // SAFETY: the environment of this thread, and a local result.
    call.make(result, |env, made| unsafe { sys::napi_get_boolean(env, value, made) })
}

/// The longest array that is made of a length alone: V8 takes memory for all of it.
const MOST_ELEMENTS: u32 = 1 << 27;

pub fn napi_create_array_with_length(call: &Call<'_>, length: u32, result: u32) -> Done {
    if length > MOST_ELEMENTS {
        // V8 would end the process where it has no room.
        return Err(Status::GENERIC_FAILURE);
    }
    // SAFETY: the environment of this thread, and a local result.
    call.make(result, |env, value| unsafe { sys::napi_create_array_with_length(env, length as usize, value) })
}

/// Bodies that read a value as one of the host's types, which is written with this method.
macro_rules! readers {
    ($($name:ident: $ty:ty, $size:literal, $write:ident($as:ty);)*) => {$(
        pub fn $name(call: &Call<'_>, value: u32, result: u32) -> Done {
            let value = call.value(value)?;
            call.reserve(result, $size)?;
            let mut read: $ty = Default::default();
            // SAFETY: a handle of an open scope, and a local result.
            check(unsafe { sys::$name(call.host(), value, &mut read) })?;
            Ok(call.memory().$write(result, read as $as)?)
        }
    )*};
}

readers! {
    napi_get_value_int32: i32, 4, write_u32(u32);
    napi_get_value_uint32: u32, 4, write_u32(u32);
    napi_get_value_int64: i64, 8, write_u64(u64);
    napi_get_value_bool: bool, 1, write_u8(u8);
    napi_get_array_length: u32, 4, write_u32(u32);
}

/// The same for doubles.
macro_rules! double_readers {
    ($($name:ident;)*) => {$(
        pub fn $name(call: &Call<'_>, value: u32, result: u32) -> Done {
            let value = call.value(value)?;
            call.reserve(result, 8)?;
            let mut read = 0.0f64;
            // SAFETY: a handle of an open scope, and a local result.
            check(unsafe { sys::$name(call.host(), value, &mut read) })?;
            call.write_u64(result, read.to_bits())
        }
    )*};
}

double_readers! {
    napi_get_value_double;
    napi_get_date_value;
}

/// Bodies that ask a question about a value.
macro_rules! questions {
    ($($name:ident;)*) => {$(
        pub fn $name(call: &Call<'_>, value: u32, result: u32) -> Done {
            let value = call.value(value)?;
            // SAFETY: a handle of an open scope, and a local result.
            call.ask(result, |env, answer| unsafe { sys::$name(env, value, answer) })
        }
    )*};
}

questions! {
    napi_is_array;
    napi_is_arraybuffer;
    napi_is_buffer;
    napi_is_dataview;
    napi_is_date;
    napi_is_detached_arraybuffer;
    napi_is_error;
    napi_is_promise;
    napi_is_typedarray;
}

pub fn napi_typeof(call: &Call<'_>, value: u32, result: u32) -> Done {
    let value = call.value(value)?;
    call.reserve(result, 4)?;
    let mut kind = 0;
    // SAFETY: a handle of an open scope, and a local result.
    check(unsafe { sys::napi_typeof(call.host(), value, &mut kind) })?;
    call.write_u32(result, kind as u32)
}

pub fn napi_strict_equals(call: &Call<'_>, one: u32, other: u32, result: u32) -> Done {
    let (one, other) = (call.value(one)?, call.value(other)?);
    // SAFETY: handles of open scopes, and a local result.
    call.ask(result, |env, answer| unsafe { sys::napi_strict_equals(env, one, other, answer) })
}

/// Bodies that make one value of another.
macro_rules! coercions {
    ($($name:ident;)*) => {$(
        pub fn $name(call: &Call<'_>, value: u32, result: u32) -> Done {
            let value = call.value(value)?;
            // SAFETY: a handle of an open scope, and a local result.
            call.make(result, |env, made| unsafe { sys::$name(env, value, made) })
        }
    )*};
}

coercions! {
    napi_coerce_to_bool;
    napi_coerce_to_number;
    napi_coerce_to_object;
    napi_coerce_to_string;
    napi_run_script;
}

/// The host's constructors take null for "none", which is what 0 is.
fn optional(call: &Call<'_>, handle: u32) -> Result<sys::napi_value, Status> {
    if handle == 0 { Ok(ptr::null_mut()) } else { call.value(handle) }
}

pub fn napi_create_symbol(call: &Call<'_>, description: u32, result: u32) -> Done {
    let description = optional(call, description)?;
    // SAFETY: a handle of an open scope or null, and a local result.
    call.make(result, |env, value| unsafe { sys::napi_create_symbol(env, description, value) })
}

pub fn napi_create_error(call: &Call<'_>, code: u32, message: u32, result: u32) -> Done {
    let (code, message) = (optional(call, code)?, call.value(message)?);
    // SAFETY: handles of open scopes or null, and a local result.
    call.make(result, |env, value| unsafe { sys::napi_create_error(env, code, message, value) })
}

pub fn napi_create_type_error(call: &Call<'_>, code: u32, message: u32, result: u32) -> Done {
    let (code, message) = (optional(call, code)?, call.value(message)?);
    // SAFETY: as above.
    call.make(result, |env, value| unsafe { sys::napi_create_type_error(env, code, message, value) })
}

pub fn napi_create_range_error(call: &Call<'_>, code: u32, message: u32, result: u32) -> Done {
    let (code, message) = (optional(call, code)?, call.value(message)?);
    // SAFETY: as above.
    call.make(result, |env, value| unsafe { sys::napi_create_range_error(env, code, message, value) })
}

pub fn node_api_create_syntax_error(call: &Call<'_>, code: u32, message: u32, result: u32) -> Done {
    let (code, message) = (optional(call, code)?, call.value(message)?);
    // SAFETY: as above.
    call.make(result, |env, value| unsafe { sys::node_api_create_syntax_error(env, code, message, value) })
}

// ---- BigInts

/// As many 64-bit words as V8 lets a BigInt have.
const MOST_WORDS: u32 = 1 << 24;

pub fn napi_create_bigint_words(call: &Call<'_>, sign: i32, count: u32, words: u32, result: u32) -> Done {
    if words == 0 || count > i32::MAX as u32 {
        return Err(Status::INVALID_ARG);
    }
    let memory = call.memory();
    memory.reserve(words, count as usize * 8)?;
    // V8 refuses more with an exception, and does not look at them.
    let read = count.min(MOST_WORDS + 1);
    let mut list = Vec::new();
    list.try_reserve_exact(read as usize).map_err(|_| Status::GENERIC_FAILURE)?;
    for place in 0..read {
        list.push(memory.read_u64(words + 8 * place)?);
    }
    // SAFETY: the words are ours, and the result is local.
    call.make(result, |env, value| unsafe {
        sys::napi_create_bigint_words(env, sign, list.len(), list.as_ptr(), value)
    })
}

pub fn napi_get_value_bigint_int64(call: &Call<'_>, value: u32, result: u32, lossless: u32) -> Done {
    let value = call.value(value)?;
    call.reserve(result, 8)?;
    call.reserve(lossless, 1)?;
    let (mut read, mut exact) = (0, false);
    // SAFETY: a handle of an open scope, and local results.
    check(unsafe { sys::napi_get_value_bigint_int64(call.host(), value, &mut read, &mut exact) })?;
    call.write_u64(result, read as u64)?;
    call.write_bool(lossless, exact)
}

pub fn napi_get_value_bigint_uint64(call: &Call<'_>, value: u32, result: u32, lossless: u32) -> Done {
    let value = call.value(value)?;
    call.reserve(result, 8)?;
    call.reserve(lossless, 1)?;
    let (mut read, mut exact) = (0, false);
    // SAFETY: a handle of an open scope, and local results.
    check(unsafe { sys::napi_get_value_bigint_uint64(call.host(), value, &mut read, &mut exact) })?;
    call.write_u64(result, read)?;
    call.write_bool(lossless, exact)
}

pub fn napi_get_value_bigint_words(call: &Call<'_>, value: u32, sign: u32, count: u32, words: u32) -> Done {
    let value = call.value(value)?;
    call.reserve(count, 4)?;
    let (mut minus, mut needed) = (0, 0);
    let none = ptr::null_mut();
    // As the host has it: without room for words only their number is wanted.
    if sign == 0 && words == 0 {
        // SAFETY: a handle of an open scope, and local results.
        check(unsafe {
            sys::napi_get_value_bigint_words(call.host(), value, none, &mut needed, none.cast())
        })?;
        return call.write_u32(count, needed as u32);
    }
    call.reserve(sign, 4)?;
    call.reserve(words, 8)?;
    let memory = call.memory();
    let room = memory.read_u32(count)?;
    memory.reserve(words, room as usize * 8)?;
    let taken = room.min(MOST_WORDS) as usize;
    let (mut few, mut many) = ([0u64; 8], Vec::new());
    let list = match few.get_mut(..taken) {
        Some(few) => few,
        None => {
            many.try_reserve_exact(taken).map_err(|_| Status::GENERIC_FAILURE)?;
            many.resize(taken, 0);
            &mut many[..]
        }
    };
    let mut length = taken;
    // SAFETY: as above, and there is room for as many words as are asked for.
    check(unsafe {
        sys::napi_get_value_bigint_words(call.host(), value, &mut minus, &mut length, list.as_mut_ptr())
    })?;
    for (place, word) in (0..).zip(list.iter().take(length)) {
        memory.write_u64(words + 8 * place, *word)?;
    }
    memory.write_u32(sign, minus as u32)?;
    call.write_u32(count, length as u32)
}

// ---- promises

pub fn napi_create_promise(call: &Call<'_>, deferred: u32, promise: u32) -> Done {
    call.reserve(deferred, 4)?;
    call.reserve(promise, 4)?;
    let (mut host, mut value) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the environment of this thread, and local results.
    check(unsafe { sys::napi_create_promise(call.host(), &mut host, &mut value) })?;
    let number = call.guest.deferreds.borrow_mut().insert(host).map_err(|_| Status::GENERIC_FAILURE)?;
    call.write_u32(deferred, number)?;
    call.give(promise, value)
}

pub fn napi_resolve_deferred(call: &Call<'_>, deferred: u32, resolution: u32) -> Done {
    let value = call.value(resolution)?;
    let deferred = call.guest.deferreds.borrow_mut().remove(deferred).ok_or(Status::INVALID_ARG)?;
    // SAFETY: a deferred of the host's that is concluded once.
    check(unsafe { sys::napi_resolve_deferred(call.host(), deferred, value) })
}

pub fn napi_reject_deferred(call: &Call<'_>, deferred: u32, rejection: u32) -> Done {
    let value = call.value(rejection)?;
    let deferred = call.guest.deferreds.borrow_mut().remove(deferred).ok_or(Status::INVALID_ARG)?;
    // SAFETY: as above.
    check(unsafe { sys::napi_reject_deferred(call.host(), deferred, value) })
}
