//! Node-API served to wasm guests: native modules that are a `.wasm`.
//!
//! A guest's imports are calls from compiled code into this room, which checks what the guest passes, makes
//! host values of its numbers, and calls the host's Node-API.
//!
//! - [`load`]: a module with such imports becomes its exports
//! - [`guest`]: one loaded guest, and its end
//! - [`call`]: what the bodies of the functions share; the guest's activations
//! - [`functions`]: the table of the functions. Their bodies:
//!   [`values`], [`strings`], [`objects`], [`callbacks`] (functions and classes), [`wraps`], [`references`],
//!   [`errors`], [`bytes`], [`lifetime`], [`contexts`], [`info`], and [`emnapi`]'s helpers
//! - [`outside`]: a guest's threads, and what they tell; [`elsewhere`]: what they import; [`work`] and [`tsfn`]:
//!   asynchronous work and thread-safe functions
//! - [`handles`]: the values that a guest holds; [`slab`]: everything else that it names by numbers
//! - [`copies`]: bytes of JavaScript's in the guest; [`external`]: the guest's bytes in JavaScript
//! - [`status`]: the statuses
//!
//! Invariants: a guest sees no host pointer and can forge none. What it passes wrongly is a status, never a
//! fault. It can use nothing of another guest or another addon, except the JavaScript values it is given.
//! Nothing of a guest that has trapped runs again. Only the realm's thread runs anything here, except what
//! [`elsewhere`] names.

#![cfg_attr(test, allow(dead_code, reason = "napi-derive exports nothing in a test build"))]

mod bytes;
mod call;
mod callbacks;
mod contexts;
mod copies;
mod elsewhere;
mod emnapi;
mod errors;
mod external;
mod functions;
mod guest;
mod handles;
mod info;
mod lifetime;
mod load;
mod objects;
mod outside;
mod references;
mod slab;
mod status;
mod strings;
mod tsfn;
mod values;
mod work;
mod wraps;

pub use outside::Guests;
