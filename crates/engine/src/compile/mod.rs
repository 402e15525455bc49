//! Compiles validated function bodies to machine code, as plain data.
//!
//! Called by `Module::new`. Invariant: the result contains no pointers into the process. A [`CompiledModule`]
//! is bytes and offsets, and they are the same for any number of threads.

mod atomics;
mod baseline;
mod bounds;
mod bulk;
mod calls;
mod carried;
mod compiled;
mod constants;
mod control;
#[cfg(target_arch = "x86_64")]
mod dispatch;
mod driver;
mod environ;
mod exceptions;
#[cfg(all(test, target_arch = "x86_64"))]
mod golden;
mod inline;
mod limits;
mod loop_entry;
mod loop_exit;
mod numeric;
mod ranges;
mod signatures;
mod simd;
mod stack;
mod trampolines;
mod translate;
mod unroll;

pub use compiled::*;
pub use driver::{Compiler, OptLevel, Tier, Worker};
pub use environ::ModuleEnvironment;
