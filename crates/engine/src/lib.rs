//! The WebAssembly engine: bytes to machine code, and what machine code needs to run.
//!
//! It is independent of WASI and Node. The parts are listed from the bottom up. Each uses only those above it
//! in this list:
//!
//! - `error`, `types/`, `sys/` (code specific to the operating system), `bytes` (a module's binary),
//!   `pages`, `table_pages` (address space), `pool` (the compile threads);
//! - `parse/`: bytes to validated declarations;
//! - `abi/`: what compiled code and the runtime agree on;
//! - `compile/`: function bodies to machine code as plain data;
//! - `debug/`: names and source locations;
//! - `code/`: machine code in memory;
//! - `engine/`: settings and modules;
//! - `runtime/vm/`: the structures that compiled code accesses;
//! - `runtime/api/`: the types for embedders.

mod abi;
mod bytes;
mod code;
mod compile;
mod debug;
mod engine;
mod error;
mod pages;
mod parse;
mod pool;
mod progress;
mod runtime;
mod sys;
mod table_pages;
mod types;

pub use abi::{MemoryStyle, TrapCode};
pub use code::{Cache, Kept};
pub use compile::OptLevel;
pub use debug::{CodeLog, Frame, SourceFrame, demangle, log_code, source_frames};
pub use engine::{
    Compiling, Config, Engine, ExportType, FileResult, ImportType, Module, Reading, Statistics, Tiers,
    TrapMode, WeakModule,
};
pub use error::{CompileError, LinkError};
pub use pages::{GUARD_SIZE, check_spare};
pub use parse::{FEATURES, shares_memory};
pub use progress::Progress;
pub use runtime::*;
pub use sys::{pin_library, stack_bounds};
pub use types::*;
