//! Validated bodies to machine code as plain data.
//!
//! Called by `Module::new`. Invariant: nothing that comes out of here points into the process:
//! a [`CompiledModule`] is bytes and offsets, the same ones however many threads made them.

mod atomics;
mod bounds;
mod compiled;
mod driver;
mod environ;
mod exceptions;
#[cfg(all(test, target_arch = "x86_64"))]
mod golden;
mod limits;
mod numeric;
mod signatures;
mod simd;
mod stack;
mod trampolines;
mod translate;

pub use compiled::*;
pub use driver::{Compiler, OptLevel};
