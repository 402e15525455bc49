//! Arguments, environment, clocks, random bytes and the process itself.

use guest_memory::GuestMemory;

use crate::abi::params::*;
use crate::ctx::{StringTable, WasiCtx};
use crate::errno::{Ending, Errno, Error};

/// Writes a pointer for each string, and the strings.
fn strings_get(
    mem: &GuestMemory<'_>,
    table: &StringTable,
    OutBytes(pointers): OutBytes,
    OutBytes(block): OutBytes,
) -> Result<(), Error> {
    mem.reserve(pointers, table.starts.len() * 4)?;
    mem.write_bytes(block, &table.block)?;
    for (start, slot) in table.starts.iter().zip((pointers..).step_by(4)) {
        mem.write_u32(slot, block + start)?;
    }
    Ok(())
}

#[inline]
fn strings_sizes_get(
    mem: &GuestMemory<'_>,
    table: &StringTable,
    count: Out<u32>,
    size: Out<u32>,
) -> Result<(), Error> {
    size.reserve(mem)?;
    count.write(mem, &(table.starts.len() as u32))?;
    Ok(size.write(mem, &(table.block.len() as u32))?)
}

/// `args_get`
pub fn args_get(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    argv: OutBytes,
    argv_buf: OutBytes,
) -> Result<(), Error> {
    strings_get(mem, &ctx.args, argv, argv_buf)
}

/// `args_sizes_get`
#[inline]
pub fn args_sizes_get(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    argc: Out<u32>,
    argv_buf_size: Out<u32>,
) -> Result<(), Error> {
    strings_sizes_get(mem, &ctx.args, argc, argv_buf_size)
}

/// `environ_get`
pub fn environ_get(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    environ: OutBytes,
    environ_buf: OutBytes,
) -> Result<(), Error> {
    strings_get(mem, &ctx.env, environ, environ_buf)
}

/// `environ_sizes_get`
#[inline]
pub fn environ_sizes_get(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    environc: Out<u32>,
    environ_buf_size: Out<u32>,
) -> Result<(), Error> {
    strings_sizes_get(mem, &ctx.env, environc, environ_buf_size)
}

/// `clock_res_get`
#[inline]
pub fn clock_res_get(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    id: Encoded<Clockid>,
    resolution: Out<Timestamp>,
) -> Result<(), Error> {
    Ok(resolution.write(mem, &Timestamp::default().saturating_add(ctx.clock.resolution(id.decode()?)))?)
}

/// `clock_time_get`; every clock is as precise as the host has it.
#[inline]
pub fn clock_time_get(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    id: Encoded<Clockid>,
    _precision: Timestamp,
    time: Out<Timestamp>,
) -> Result<(), Error> {
    Ok(time.write(mem, &ctx.clock.time(id.decode()?))?)
}

/// `proc_exit`
pub fn proc_exit(ctx: &WasiCtx, _mem: &GuestMemory<'_>, rval: u32) -> Result<(), Error> {
    ctx.set_exit_code(rval);
    Err(Ending::Exit(rval).into())
}

/// `proc_raise`; signals of the host are not a guest's to send, and those of a
/// guest are handled in its own libc.
pub fn proc_raise(_ctx: &WasiCtx, _mem: &GuestMemory<'_>, _sig: u32) -> Result<(), Error> {
    Err(Errno::Notsup.into())
}

/// `sched_yield`
pub fn sched_yield(ctx: &WasiCtx, _mem: &GuestMemory<'_>) -> Result<(), Error> {
    std::thread::yield_now();
    ctx.waiter.check()
}

/// `random_get`, in pieces, so that a request for the whole memory takes no
/// host memory and can be interrupted.
pub fn random_get(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    OutBytes(buf): OutBytes,
    Size(buf_len): Size,
) -> Result<(), Error> {
    const SHORT: usize = 256;
    const PIECE: usize = 64 * 1024;
    let len = buf_len as usize;
    mem.reserve(buf, len)?;
    let mut short = [0; SHORT];
    if let Some(bytes) = short.get_mut(..len) {
        ctx.random.fill(bytes)?;
        return Ok(mem.write_bytes(buf, bytes)?);
    }
    let mut piece = vec![0; len.min(PIECE)];
    let mut done = 0;
    while done < len {
        ctx.waiter.check()?;
        piece.truncate(len - done);
        ctx.random.fill(&mut piece)?;
        mem.write_bytes(buf + done as u32, &piece)?;
        done += piece.len();
    }
    Ok(())
}
