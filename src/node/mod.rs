//! Node-API: the only room that knows JavaScript.
//!
//! The native half of the package: it hands the JavaScript face plain functions and opaque handles. One file
//! of the face lists them all, `lib/native/binding.js`. What the WebAssembly JavaScript interface says about
//! classes, conversions, argument errors and caches is written there, in JavaScript.
//!
//! - [`realm`]: what one loading of the package owns; the argument window
//! - [`call`]: JavaScript into wasm and wasm into JavaScript, the two hot paths
//! - [`raw`]: the few Node-API calls those paths make, wrapped once
//! - [`failure`]: how anything that goes wrong reaches JavaScript
//! - [`exceptions`]: how exceptions cross
//! - [`stack`]: the wasm frames in the stacks of JavaScript's errors
//! - [`module`], [`instance`], [`objects`]: behind `Module`, `Instance`, `Memory`, `Table`, `Global`
//! - [`types`]: value types by letters
//! - [`constants`]: what both sides must know by the same numbers and letters
//! - [`carrier`]: modules on their way to other threads
//! - [`buffers`]: the `ArrayBuffer`s over memories
//! - [`collector`]: what V8's collector is told of native memory
//! - [`shared`]: shared memories, whose bytes are V8's
//! - [`memfs`]: behind `MemoryFS`
//! - [`compiling`]: compiling beside JavaScript
//! - [`threads`]: guests on threads of their own
//! - [`queue`]: messages from other threads to the realm's own
//! - [`budget`]: calls that may take or use only so much
//! - [`profile`]: profiles of guests
//! - [`workers`]: lets a Worker that is terminated end wasm that loops
//! - [`options`]: WASI options to a context; the only place with ambient authority
//! - [`wasi`]: the WASI functions as JavaScript sees them
//! - [`descriptors`]: those of programs, which go with the environment
//! - [`pipes`]: descriptors of Node's, and pipes between its streams and programs
//! - [`platform`]: what differs by operating system
//! - [`v8_stack`]: V8's stack limit, for JavaScript that wasm calls
//!
//! Invariant: state belongs to a realm, and a realm to one Node environment, so workers and repeated loads
//! never meet. Five things are the process's, each for a reason that stands beside it: the engines
//! ([`realm`]), the callback slots ([`call`]), the shared memories by the address of their bytes
//! ([`shared`]), the list of the realms that one thread asks ([`workers`]), and the profile of all threads
//! ([`profile`]). Every entry from JavaScript
//! catches unwinding.

#![cfg_attr(test, allow(dead_code, reason = "napi-derive exports nothing in a test build"))]

mod budget;
pub mod buffers;
mod call;
mod carrier;
mod collector;
mod compiling;
mod constants;
mod descriptors;
mod exceptions;
pub mod failure;
pub mod instance;
mod memfs;
mod module;
mod objects;
mod options;
mod pipes;
mod platform;
mod profile;
pub mod queue;
pub mod raw;
pub mod realm;
mod shared;
mod stack;
mod team;
mod threads;
mod types;
pub mod v8_stack;
pub mod wasi;
mod workers;
