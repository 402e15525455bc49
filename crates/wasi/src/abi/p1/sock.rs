//! The functions on sockets.

#![forbid(unsafe_code)]

use super::fd::buffers;
use crate::ctx::WasiCtx;
use crate::descriptor::{Descriptor, Object};
use crate::errno::{Errno, Error};
use crate::fs::file::OpenFile;
use crate::rights::Rights;
use crate::types::{Fdflags, Riflags, Sdflags};
use guest_memory::GuestMemory;

/// The socket behind a descriptor; what is none is `ENOTSOCK` before any right
/// is asked for.
fn socket(descriptor: &Descriptor, rights: Rights) -> Result<&OpenFile, Errno> {
    let Object::File(file) = &descriptor.object else {
        return Err(Errno::Notsock);
    };
    if !file.filetype()?.is_socket() {
        return Err(Errno::Notsock);
    }
    descriptor.require(rights)?;
    Ok(file)
}

/// `sock_accept`
pub fn sock_accept(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    flags: u32,
    result_fd: u32,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let flags = Fdflags::from_guest(flags)?;
    mem.reserve(result_fd, 4)?;
    let listener = socket(&descriptor, Rights::SOCK_ACCEPT)?;
    ctx.table.require_room()?;
    let connection = listener.accept(flags, &ctx.waiter)?;
    let rights = descriptor.inheriting();
    let accepted = Descriptor::new(Object::File(connection), rights, Rights::empty());
    Ok(mem.write_u32(result_fd, ctx.table.insert(accepted)?)?)
}

/// `sock_recv`
pub fn sock_recv(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    ri_data: u32,
    ri_data_len: u32,
    ri_flags: u32,
    ro_datalen: u32,
    ro_flags: u32,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let flags = Riflags::from_guest(ri_flags)?;
    mem.reserve(ro_datalen, 4)?;
    mem.reserve(ro_flags, 2)?;
    let socket = socket(&descriptor, Rights::FD_READ)?;
    let into = buffers(ctx, mem, ri_data, ri_data_len)?;
    let (received, roflags) = socket.receive(&into, flags, &ctx.waiter)?;
    mem.write_u32(ro_datalen, received as u32)?;
    Ok(mem.write_u16(ro_flags, roflags.bits())?)
}

/// `sock_send`; there are no flags yet.
pub fn sock_send(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    si_data: u32,
    si_data_len: u32,
    si_flags: u32,
    so_datalen: u32,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    if si_flags != 0 {
        return Err(Errno::Inval.into());
    }
    mem.reserve(so_datalen, 4)?;
    let socket = socket(&descriptor, Rights::FD_WRITE)?;
    let from = buffers(ctx, mem, si_data, si_data_len)?;
    Ok(mem.write_u32(so_datalen, socket.send(&from, &ctx.waiter)? as u32)?)
}

/// `sock_shutdown`
pub fn sock_shutdown(ctx: &WasiCtx, _mem: &GuestMemory<'_>, fd: u32, how: u32) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let how = Sdflags::from_guest(how)?;
    Ok(socket(&descriptor, Rights::SOCK_SHUTDOWN)?.shutdown(how)?)
}
