//! Descriptors of Node's, and pipes between its streams and programs.
//!
//! For `options.rs` and, through the face, `lib/wasi/stdio.js`. Invariant: what a program gets is a handle of its
//! own; Node's descriptor stays Node's.

use super::failure::{Failure, Kind, run};
use super::platform;
use super::realm::Realm;
use napi::bindgen_prelude::External;
use napi_derive::napi;
use std::rc::Rc;

/// Where the file of a descriptor lies. `None` if it has no path that is text, or lies where this process cannot
/// see it.
#[napi(catch_unwind)]
pub fn descriptor_path(descriptor: i32) -> Option<String> {
    platform::path_of(&platform::duplicate(descriptor).ok()?)
}

/// The descriptors of a pipe: `[read, write]`.
#[napi(catch_unwind)]
pub fn pipe(realm: &External<Rc<Realm>>) -> napi::Result<Vec<i32>> {
    run(realm, || {
        platform::pipe().map(Vec::from).map_err(|error| {
            Failure::new(Kind::Resource, format!("cannot make a pipe for a standard stream: {error}"))
        })
    })
}

/// Closes an end of a pipe whose duplicate a program has. (`fs.close` would warn, in a worker, of a
/// descriptor that it has not opened.)
#[napi(catch_unwind)]
pub fn close_pipe(end: i32) {
    // SAFETY: the face got the number from `pipe`, and has no other use for it.
    unsafe { platform::close(end) }
}

/// How many bytes are in a pipe whose reading end is ours; -1 if there are none and nobody is left to write
/// some.
#[napi(catch_unwind)]
pub fn pipe_pending(end: i32) -> f64 {
    // SAFETY: the face asks while it has the end open.
    unsafe { platform::pending(end) }
}
