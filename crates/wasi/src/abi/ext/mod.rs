//! `wasi_native_ext`: what WASI has no words for. Locks, watching files, and handing a descriptor to
//! another program. `include/wasi_native_ext.h` is for those who call it.
//!
//! Invariants: off unless a policy names this module; nothing here reaches a file but by a descriptor
//! and the same gate, rights and permissions as `path_open`; what is handed on never has more rights
//! than the giver has.

mod bodies;

use guest_memory::GuestMemory;

use crate::abi::functions::{Function, Param, face};
use crate::abi::params::*;
use crate::ctx::WasiCtx;
use crate::errno::Error;

/// The module name guests import these from.
pub const MODULE: &str = crate::names::EXTENSIONS;

macro_rules! ext_face {
    ($($rows:tt)*) => { face! { MODULE, bodies; $($rows)* } };
}

crate::for_each_ext_function!(ext_face);
