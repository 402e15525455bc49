//! `wasi_snapshot_preview1`: the functions as a guest imports them, generated from the table. The
//! bodies are in the files here.

pub(super) mod fd;
pub(super) mod path;
pub(super) mod poll;
pub(super) mod proc;
pub(super) mod sock;

use guest_memory::GuestMemory;

use crate::abi::functions::{Function, Param, face};
use crate::abi::params::*;
use crate::ctx::WasiCtx;
use crate::errno::Error;

/// The module name guests import these from.
pub const MODULE: &str = crate::names::PREVIEW_1;

/// What preview 0 has otherwise.
pub mod layout {
    pub use crate::abi::encoded::Whence;
    pub use crate::abi::records::Subscription;
    pub use crate::types::Filestat;
}

/// The bodies, by name; they take what the integers stand for.
pub(super) mod bodies {
    pub use super::fd::*;
    pub use super::path::*;
    pub use super::poll::*;
    pub use super::proc::*;
    pub use super::sock::*;
}

macro_rules! p1_face {
    ($($rows:tt)*) => { face! { MODULE, bodies; $($rows)* } };
}

crate::for_each_p1_function!(p1_face);
