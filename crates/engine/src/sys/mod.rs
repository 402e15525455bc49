//! Code specific to the operating system and processor: address space, faults, stack bounds, and continuing
//! at an address. This is the only module with `cfg(target_os)` or `cfg(target_arch)` outside tests.
//!
//! Used by `code/` and `runtime/`. Each platform folder exports the same names.

pub mod arch;
mod fault;
mod file_state;
pub mod plt;

pub use fault::{Answer, Asking, Fault, Registers, Resume};
pub use file_state::FileState;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::*;

#[cfg(not(any(unix, windows)))]
compile_error!("wasi-native has no sys/ for this operating system yet: see docs/architecture.md");
