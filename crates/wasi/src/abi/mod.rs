//! WASI as guests import it: numbers and records in guest memory, over the core beside this
//! directory.

#![forbid(unsafe_code)]

pub mod ext;
pub mod functions;
pub mod p0;
pub mod p1;
pub(crate) mod trace;
