//! Arguments, environment, clocks, random bytes and the process itself.

#![forbid(unsafe_code)]

use crate::ctx::{StringTable, WasiCtx};
use crate::errno::{Errno, Error};
use crate::types::Clockid;
use guest_memory::GuestMemory;

/// Writes a pointer for each string, and the strings.
fn strings_get(mem: &GuestMemory<'_>, table: &StringTable, pointers: u32, block: u32) -> Result<(), Error> {
    mem.reserve(pointers, table.starts.len() * 4)?;
    mem.write_bytes(block, &table.block)?;
    for (start, slot) in table.starts.iter().zip((pointers..).step_by(4)) {
        mem.write_u32(slot, block + start)?;
    }
    Ok(())
}

fn strings_sizes_get(mem: &GuestMemory<'_>, table: &StringTable, count: u32, size: u32) -> Result<(), Error> {
    mem.reserve(size, 4)?;
    mem.write_u32(count, table.starts.len() as u32)?;
    mem.write_u32(size, table.block.len() as u32)?;
    Ok(())
}

/// `args_get`
pub fn args_get(ctx: &WasiCtx, mem: &GuestMemory<'_>, argv: u32, argv_buf: u32) -> Result<(), Error> {
    strings_get(mem, &ctx.args, argv, argv_buf)
}

/// `args_sizes_get`
pub fn args_sizes_get(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    argc: u32,
    argv_buf_size: u32,
) -> Result<(), Error> {
    strings_sizes_get(mem, &ctx.args, argc, argv_buf_size)
}

/// `environ_get`
pub fn environ_get(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    environ: u32,
    environ_buf: u32,
) -> Result<(), Error> {
    strings_get(mem, &ctx.env, environ, environ_buf)
}

/// `environ_sizes_get`
pub fn environ_sizes_get(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    environc: u32,
    environ_buf_size: u32,
) -> Result<(), Error> {
    strings_sizes_get(mem, &ctx.env, environc, environ_buf_size)
}

/// `clock_res_get`
pub fn clock_res_get(ctx: &WasiCtx, mem: &GuestMemory<'_>, id: u32, resolution: u32) -> Result<(), Error> {
    Ok(mem.write_u64(resolution, ctx.clock.resolution(Clockid::from_guest(id)?))?)
}

/// `clock_time_get`; every clock is as precise as the host has it.
#[inline]
pub fn clock_time_get(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    id: u32,
    _precision: u64,
    time: u32,
) -> Result<(), Error> {
    Ok(mem.write_u64(time, ctx.clock.time(Clockid::from_guest(id)?))?)
}

/// `proc_exit`
pub fn proc_exit(ctx: &WasiCtx, _mem: &GuestMemory<'_>, rval: u32) -> Result<(), Error> {
    ctx.set_exit_code(rval);
    Err(Error::Exit(rval))
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
pub fn random_get(ctx: &WasiCtx, mem: &GuestMemory<'_>, buf: u32, buf_len: u32) -> Result<(), Error> {
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
