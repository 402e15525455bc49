//! `wasi_unstable`, preview 0: the functions of preview 1 with three records
//! and one enumeration in their older shape.
//!
//! Called by `functions.rs` and `host.rs` as `p1` is, by the same table of
//! names and types. Invariant: nothing here does anything but lay out records;
//! each function is one of preview 1's, or decodes and calls the same core.

#![forbid(unsafe_code)]

pub use super::p1::*;

use crate::ctx::WasiCtx;
use crate::errno::Error;
use crate::types::{Filestat, Whence};
use guest_memory::GuestMemory;

/// The module name guests import these from.
pub const MODULE: &str = "wasi_unstable";

/// `fd_filestat_get`
pub fn fd_filestat_get(ctx: &WasiCtx, mem: &GuestMemory<'_>, fd: u32, buf: u32) -> Result<(), Error> {
    mem.reserve(buf, Filestat::ENCODED_SIZE_P0)?;
    Ok(mem.write_bytes(buf, &filestat_of_fd(ctx, fd)?.encode_p0())?)
}

/// `path_filestat_get`
pub fn path_filestat_get(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    flags: u32,
    path: u32,
    path_len: u32,
    buf: u32,
) -> Result<(), Error> {
    mem.reserve(buf, Filestat::ENCODED_SIZE_P0)?;
    let stat = filestat_of_path(ctx, mem, fd, flags, path, path_len)?;
    Ok(mem.write_bytes(buf, &stat.encode_p0())?)
}

/// `fd_seek`
pub fn fd_seek(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    offset: i64,
    whence: u32,
    newoffset: u32,
) -> Result<(), Error> {
    let whence = match whence {
        0 => Some(Whence::Cur),
        1 => Some(Whence::End),
        2 => Some(Whence::Set),
        _ => None,
    };
    seek(ctx, mem, fd, offset, whence, newoffset)
}

/// `poll_oneoff`
pub fn poll_oneoff(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    in_: u32,
    out: u32,
    nsubscriptions: u32,
    nevents: u32,
) -> Result<(), Error> {
    poll(ctx, mem, &SUBSCRIPTION, in_, out, nsubscriptions, nevents)
}

/// A clock's subscription began with a second userdata.
const SUBSCRIPTION: SubscriptionLayout =
    SubscriptionLayout { size: 56, clock_id: 24, clock_timeout: 32, clock_flags: 48 };
