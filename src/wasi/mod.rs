//! The capability layer: WASI on cap-std.
//!
//! A [`WasiCtx`] is what one program may reach; [`p1`] has the functions of
//! `wasi_snapshot_preview1` over it. Used by `host.rs`, which binds them to
//! compiled code, and by `node/`, which builds contexts. Knows neither the
//! engine nor Node. Invariant of the whole: a guest reaches only what the
//! builder was handed, and nothing here calls `ambient_authority`.

mod clock;
mod ctx;
mod dir;
mod errno;
mod fdtable;
mod file;
mod guest;
pub mod p1;
mod path;
mod poll;
pub mod random;
mod rights;
mod sock;
mod stdio;
mod sys;
mod types;

pub use ctx::{BuildError, Limits, Preopen, Stdio, WasiCtx, WasiCtxBuilder};
pub use errno::{Errno, Error};
pub use guest::GuestMemory;
pub use poll::Interrupt;
pub use rights::{Perms, Rights};
pub use stdio::OutputBuffer;
pub use sys::OwnedHandle;
pub use types::{Advice, Clockid, Fdflags, Fdstat, Filestat, Filetype, Fstflags, Lookupflags};
pub use types::{Oflags, Riflags, Roflags, Sdflags, Whence};
