//! What differs from one operating system to another, under one set of names.
//!
//! Used by the core, hardly by `abi/`. A port
//! adds a directory here (and the vectored calls in the crate `guest-memory`). Invariant: nothing
//! in here takes a path that did not pass `path.rs`, and paths are resolved by
//! cap-primitives, or in one step by a kernel that is told to stay beneath the
//! directory (`open_beneath`); the other raw calls here act on open files (one
//! of them by the name `/proc` has for it), on `.`, or on a single name without
//! following a link there.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::*;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::*;

/// How `path_open` wants a file opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenSpec {
    pub read: bool,
    pub write: bool,
    pub follow: bool,
    pub oflags: crate::types::Oflags,
    pub fdflags: crate::types::Fdflags,
}

/// What an advisory lock keeps others from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Holding it exclusively.
    Shared,
    /// Holding it at all.
    Exclusive,
}

/// Which readiness to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    Read,
    Write,
}

/// What was found of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    pub ready: bool,
    pub hangup: bool,
    pub invalid: bool,
}
