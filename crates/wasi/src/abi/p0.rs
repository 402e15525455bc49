//! `wasi_unstable`, preview 0: the functions of preview 1 with two records and one enumeration in
//! their older shape.

use guest_memory::GuestMemory;

use crate::abi::functions::{Function, Param, face};
use crate::abi::p1::bodies;
use crate::abi::params::*;
use crate::ctx::WasiCtx;
use crate::errno::Error;

/// The module name guests import these from.
pub const MODULE: &str = crate::names::PREVIEW_0;

pub mod layout {
    pub use crate::abi::encoded::WhenceP0 as Whence;
    pub use crate::abi::records::{FilestatP0 as Filestat, SubscriptionP0 as Subscription};
}

macro_rules! p0_face {
    ($($rows:tt)*) => { face! { MODULE, bodies; $($rows)* } };
}

crate::for_each_p1_function!(p0_face);
