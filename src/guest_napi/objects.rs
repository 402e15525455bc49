//! Objects: their properties, elements, prototypes.
//!
//! For `functions.rs`. The host runs getters, proxies and the like inside of these.

use super::call::Call;
use super::status::{Done, check};
use napi::sys;

pub fn napi_get_prototype(call: &Call<'_>, object: u32, result: u32) -> Done {
    let object = call.value(object)?;
    // SAFETY: a handle of an open scope, and a local result. So it is for all of this file.
    call.make(result, |env, value| unsafe { sys::napi_get_prototype(env, object, value) })
}

pub fn napi_get_property_names(call: &Call<'_>, object: u32, result: u32) -> Done {
    let object = call.value(object)?;
    // SAFETY: as above.
    call.make(result, |env, value| unsafe { sys::napi_get_property_names(env, object, value) })
}

pub fn napi_get_all_property_names(
    call: &Call<'_>,
    object: u32,
    mode: i32,
    filter: i32,
    conversion: i32,
    result: u32,
) -> Done {
    let object = call.value(object)?;
    // SAFETY: as above; the host refuses modes and conversions that it does not know.
    call.make(result, |env, value| unsafe {
        sys::napi_get_all_property_names(env, object, mode, filter, conversion, value)
    })
}

pub fn napi_set_property(call: &Call<'_>, object: u32, key: u32, value: u32) -> Done {
    let (object, key, value) = (call.value(object)?, call.value(key)?, call.value(value)?);
    // SAFETY: as above.
    check(unsafe { sys::napi_set_property(call.host(), object, key, value) })
}

pub fn napi_get_property(call: &Call<'_>, object: u32, key: u32, result: u32) -> Done {
    let (object, key) = (call.value(object)?, call.value(key)?);
    // SAFETY: as above.
    call.make(result, |env, value| unsafe { sys::napi_get_property(env, object, key, value) })
}

pub fn napi_has_property(call: &Call<'_>, object: u32, key: u32, result: u32) -> Done {
    let (object, key) = (call.value(object)?, call.value(key)?);
    // SAFETY: as above.
    call.ask(result, |env, answer| unsafe { sys::napi_has_property(env, object, key, answer) })
}

pub fn napi_has_own_property(call: &Call<'_>, object: u32, key: u32, result: u32) -> Done {
    let (object, key) = (call.value(object)?, call.value(key)?);
    // SAFETY: as above.
    call.ask(result, |env, answer| unsafe { sys::napi_has_own_property(env, object, key, answer) })
}

pub fn napi_delete_property(call: &Call<'_>, object: u32, key: u32, result: u32) -> Done {
    let (object, key) = (call.value(object)?, call.value(key)?);
    call.reserve_optional(result, 1)?;
    let mut deleted = false;
    // SAFETY: as above.
    check(unsafe { sys::napi_delete_property(call.host(), object, key, &mut deleted) })?;
    if result == 0 { Ok(()) } else { call.write_bool(result, deleted) }
}

pub fn napi_set_named_property(call: &Call<'_>, object: u32, name: u32, value: u32) -> Done {
    let (object, value) = (call.value(object)?, call.value(value)?);
    let name = call.c_string(name)?;
    // SAFETY: as above; the name ends with NUL.
    check(unsafe { sys::napi_set_named_property(call.host(), object, name.as_ptr(), value) })
}

pub fn napi_get_named_property(call: &Call<'_>, object: u32, name: u32, result: u32) -> Done {
    let object = call.value(object)?;
    let name = call.c_string(name)?;
    // SAFETY: as above.
    call.make(result, |env, value| unsafe { sys::napi_get_named_property(env, object, name.as_ptr(), value) })
}

pub fn napi_has_named_property(call: &Call<'_>, object: u32, name: u32, result: u32) -> Done {
    let object = call.value(object)?;
    let name = call.c_string(name)?;
    // SAFETY: as above.
    call.ask(result, |env, answer| unsafe {
        sys::napi_has_named_property(env, object, name.as_ptr(), answer)
    })
}

pub fn napi_set_element(call: &Call<'_>, object: u32, index: u32, value: u32) -> Done {
    let (object, value) = (call.value(object)?, call.value(value)?);
    // SAFETY: as above.
    check(unsafe { sys::napi_set_element(call.host(), object, index, value) })
}

pub fn napi_get_element(call: &Call<'_>, object: u32, index: u32, result: u32) -> Done {
    let object = call.value(object)?;
    // SAFETY: as above.
    call.make(result, |env, value| unsafe { sys::napi_get_element(env, object, index, value) })
}

pub fn napi_has_element(call: &Call<'_>, object: u32, index: u32, result: u32) -> Done {
    let object = call.value(object)?;
    // SAFETY: as above.
    call.ask(result, |env, answer| unsafe { sys::napi_has_element(env, object, index, answer) })
}

pub fn napi_delete_element(call: &Call<'_>, object: u32, index: u32, result: u32) -> Done {
    let object = call.value(object)?;
    call.reserve_optional(result, 1)?;
    let mut deleted = false;
    // SAFETY: as above.
    check(unsafe { sys::napi_delete_element(call.host(), object, index, &mut deleted) })?;
    if result == 0 { Ok(()) } else { call.write_bool(result, deleted) }
}

pub fn napi_instanceof(call: &Call<'_>, object: u32, constructor: u32, result: u32) -> Done {
    let (object, constructor) = (call.value(object)?, call.value(constructor)?);
    // SAFETY: as above.
    call.ask(result, |env, answer| unsafe { sys::napi_instanceof(env, object, constructor, answer) })
}

pub fn napi_object_freeze(call: &Call<'_>, object: u32) -> Done {
    let object = call.value(object)?;
    // SAFETY: as above.
    check(unsafe { sys::napi_object_freeze(call.host(), object) })
}

pub fn napi_object_seal(call: &Call<'_>, object: u32) -> Done {
    let object = call.value(object)?;
    // SAFETY: as above.
    check(unsafe { sys::napi_object_seal(call.host(), object) })
}
