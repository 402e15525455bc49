//! wasi-native: a WebAssembly engine of its own and a WASI host behind it, for Node.js.
//!
//! The crate map (arrows run downwards only):
//!
//! - [`node`]: Node-API. The only room that knows JavaScript and the only one that may reach for
//!   ambient authority.
//! - [`host`]: joins the engine and WASI; no Node.
//! - [`wasi`]: the capability layer. Knows neither the engine nor Node.
//! - [`engine`]: bytes to machine code, and what machine code needs to run. Knows neither WASI
//!   nor Node.

pub mod engine;
pub mod host;
pub mod wasi;
pub mod node;
