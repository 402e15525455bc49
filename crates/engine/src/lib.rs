//! The WebAssembly engine: bytes to machine code, and what machine code needs to run.
//!
//! Knows neither WASI nor Node. The rooms: `module/` (bytes to validated declarations),
//! `compile/` (bodies to plain data), `code/` (machine code in memory), `runtime/` (what compiled
//! code touches), `sys/` (what differs by operating system).

mod code;
pub mod compile;
mod engine;
mod error;
pub mod module;
pub mod runtime;
mod sys;
pub mod types;

pub use code::registry::Frame;
pub use compile::trap::TrapCode;
pub use compile::{MemoryStyle, OptLevel};
pub use engine::{Config, Engine, FEATURES, TrapMode};
pub use error::{CompileError, LinkError};
pub use module::demangle::demangle;
pub use module::dwarf::{SourceFrame, source_frames};
pub use module::{Compiling, ExportType, ImportType, Module, WeakModule};
pub use runtime::*;
pub use sys::{pin_library, stack_bounds};
pub use types::*;
