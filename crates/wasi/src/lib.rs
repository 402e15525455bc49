//! The capability layer: WASI on cap-std.
//!
//! A [`WasiCtx`] is what one program may reach. The core speaks in structs: descriptors, files and
//! directories (`fs/`, with its back ends on the host and in memory), clocks, waits, sockets. `abi/` has
//! the functions over it as guests import them: [`p1`] those of `wasi_snapshot_preview1`, [`p0`] those of
//! `wasi_unstable`, [`ext`] our extensions; [`functions`] lists them all. `sys/` has what differs among
//! operating systems. Used by the crate `host`, which binds functions to compiled code, and by the addon,
//! which builds contexts. Knows neither the engine nor Node.
//!
//! Invariants of the whole: a guest reaches only what the builder was handed, and nothing here calls
//! `ambient_authority`. No guest can make it panic: outside of tests nothing unwraps or indexes. There is
//! no unsafe code: bytes of guests are the crate `guest-memory`'s.

#![forbid(unsafe_code)]
// The number of a function's arguments is the witx file's choice.
#![allow(clippy::too_many_arguments)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::todo
    )
)]

mod abi;
mod alloc;
mod clock;
mod ctx;
mod descriptor;
mod errno;
mod fs;
mod metrics;
mod names;
mod policy;
mod poll;
pub mod random;
mod rights;
mod stdio;
mod sys;
mod trace;
mod types;
mod wait;
mod watch;

pub use abi::{ext, functions, p0, p1, params};
pub use ctx::{BuildError, Preopen, Stdio, WasiCtx, WasiCtxBuilder, WasiLimits};
pub use descriptor::KeptTable;
pub use errno::{Ending, Errno, Error, OutputLimit};
pub use fs::memory::MemoryFs;
pub use fs::sock::is_listener;
pub use guest_memory::GuestMemory;
pub use metrics::{CallMetrics, Calls};
pub use policy::{Capability, Grant, Policy, UnmatchedPattern};
pub use rights::{Perms, Rights};
pub use stdio::OutputBuffer;
pub use sys::OwnedHandle;
pub use trace::{TraceRoom, TraceSink, TracedCall};
pub use types::{Advice, Clockid, Fdflags, Fdstat, Filestat, Filetype, Fstflags, Lookupflags};
pub use types::{Oflags, Riflags, Roflags, Sdflags, Whence};
pub use wait::Interrupt;
