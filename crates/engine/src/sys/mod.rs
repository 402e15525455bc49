//! What differs by operating system and processor: address space, faults, the stack's end, and
//! continuing at an address. The only room with `cfg(target_os)` or `cfg(target_arch)` in code.
//!
//! Used by `code/` and `runtime/`. Each platform folder has the same names.

pub mod arch;
mod fault;

pub use fault::{Answer, Asking, Fault, Resume};

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::*;

#[cfg(not(unix))]
compile_error!("wasi-native has no sys/ for this operating system yet: see docs/architecture.md");
