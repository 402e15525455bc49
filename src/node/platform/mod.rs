//! What differs from one operating system to another at Node's edge, under one set of names.
//!
//! For the rest of `src/node/`. Invariant: no other file of the addon asks which system it is.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::*;
