//! Throwing, and what was thrown; what the last call said.
//!
//! For `functions.rs`. An exception that a guest throws is pending in the host's environment, and Node throws it
//! when the callback returns.

use super::call::{Call, Text};
use super::status::{Done, MESSAGES, Status, check};
use crate::node::failure::Kind;
use napi::sys;
use std::ptr;

pub fn napi_throw(call: &Call<'_>, error: u32) -> Done {
    let error = call.value(error)?;
    // SAFETY: a handle of an open scope.
    check(unsafe { sys::napi_throw(call.host(), error) })
}

fn optional(call: &Call<'_>, text: u32) -> Result<Option<Text>, Status> {
    if text == 0 { Ok(None) } else { call.c_string(text).map(Some) }
}

/// Bodies that throw an error of a class.
macro_rules! throwers {
    ($($name:ident;)*) => {$(
        pub fn $name(call: &Call<'_>, code: u32, message: u32) -> Done {
            let (code, message) = (optional(call, code)?, optional(call, message)?);
            let start = |text: &Option<Text>| text.as_ref().map_or(ptr::null(), Text::as_ptr);
            // SAFETY: both end with NUL, or are null, which the host takes.
            check(unsafe { sys::$name(call.host(), start(&code), start(&message)) })
        }
    )*};
}

throwers! {
    napi_throw_error;
    napi_throw_type_error;
    napi_throw_range_error;
    node_api_throw_syntax_error;
}

pub fn napi_is_exception_pending(call: &Call<'_>, result: u32) -> Done {
    // SAFETY: the environment of this thread, and a local result.
    call.ask(result, |env, answer| unsafe { sys::napi_is_exception_pending(env, answer) })
}

pub fn napi_get_and_clear_last_exception(call: &Call<'_>, result: u32) -> Done {
    // SAFETY: as above.
    call.make(result, |env, value| unsafe { sys::napi_get_and_clear_last_exception(env, value) })
}

/// Node's `uncaughtException`.
pub fn napi_fatal_exception(call: &Call<'_>, error: u32) -> Done {
    let (host, error) = (call.host(), call.value(error)?);
    // SAFETY: a handle of an open scope.
    call.javascript(|| unsafe { sys::napi_fatal_exception(host, error) })
}

/// What emnapi's own code in a guest does when a function of its fails: the status is that of the last call.
pub fn napi_set_last_error(_: &Call<'_>, status: u32, _: u32, _: u32) -> Done {
    match i32::try_from(status) {
        Ok(0) => Ok(()),
        Ok(known) if (known as usize) < MESSAGES.len() => Err(Status(known)),
        _ => Err(Status::INVALID_ARG),
    }
}

/// The same for one that went well.
pub fn napi_clear_last_error(_: &Call<'_>) -> Done {
    Ok(())
}

/// A native addon would end the process. A guest ends itself.
pub fn napi_fatal_error(
    call: &Call<'_>,
    location: u32,
    location_len: u32,
    message: u32,
    message_len: u32,
) -> Result<u32, Status> {
    let text = |address: u32, length: u32| match address {
        0 => String::new(),
        _ => call.text(address, length).map(|text| text.lossy()).unwrap_or_default(),
    };
    let (location, message) = (text(location, location_len), text(message, message_len));
    let text = [location, message].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
    Err(call.fail(Kind::Runtime, format!("the module called napi_fatal_error: {text}")))
}
