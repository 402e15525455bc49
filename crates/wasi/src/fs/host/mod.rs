//! Files of the host.

#![forbid(unsafe_code)]

pub mod position;
