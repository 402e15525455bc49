//! The wasm frames of the moment, for the stacks of JavaScript's errors.
//!
//! For the face, through Node-API. Invariant: JavaScript calls these, so any wasm on the stack is inside a
//! call of a host function.

use super::failure::stack_lines;
use super::realm::Realm;
use engine::Frame;
use napi::bindgen_prelude::External;
use napi_derive::napi;
use std::rc::Rc;

/// Whether wasm of the realm is on the stack.
#[napi(catch_unwind)]
pub fn is_in_wasm(realm: &External<Rc<Realm>>) -> bool {
    realm.store.is_running()
}

/// The wasm frames that are on the stack, for [`frames_text`].
#[napi(catch_unwind)]
pub fn capture_frames(realm: &External<Rc<Realm>>) -> External<Vec<Frame>> {
    External::new(realm.store.backtrace())
}

/// Their lines in V8's form. An empty line stands between those of two entries into wasm.
#[napi(catch_unwind)]
pub fn frames_text(frames: &External<Vec<Frame>>) -> String {
    stack_lines(frames)
}
