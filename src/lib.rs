//! wasi-native: the Node.js addon, over a WebAssembly engine and a WASI host of its own.
//!
//! Node-API alone: the crates below know nothing of it. Arrows run downwards only, and the crates
//! keep them: `host` joins `engine` and `wasi`, which do not know each other.

mod guest_napi;
mod node;
