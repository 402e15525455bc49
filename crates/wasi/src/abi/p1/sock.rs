//! The functions on sockets.

use guest_memory::GuestMemory;

use crate::abi::params::*;
use crate::ctx::WasiCtx;
use crate::descriptor::{Descriptor, Object};
use crate::errno::{Errno, Error};
use crate::fs::file::OpenFile;
use crate::rights::Rights;

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
    fd: Fd,
    flags: Encoded<Fdflags>,
    result_fd: Out<u32>,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let flags = flags.decode()?;
    result_fd.reserve(mem)?;
    let listener = socket(&descriptor, Rights::SOCK_ACCEPT)?;
    ctx.table.require_room()?;
    let connection = listener.accept(flags, &ctx.waiter)?;
    let rights = descriptor.inheriting();
    let accepted = Descriptor::new(Object::File(connection), rights, Rights::empty());
    Ok(result_fd.write(mem, &ctx.table.insert(accepted)?)?)
}

/// `sock_recv`
pub fn sock_recv(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    ri_data: IovecArray,
    ri_data_len: Size,
    ri_flags: Encoded<Riflags>,
    ro_datalen: OutSize,
    ro_flags: Out<u16>,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let flags = ri_flags.decode()?;
    ro_datalen.reserve(mem)?;
    ro_flags.reserve(mem)?;
    let socket = socket(&descriptor, Rights::FD_READ)?;
    let into = ri_data.read(ctx, mem, ri_data_len)?;
    let (received, roflags) = socket.receive(&into, flags, &ctx.waiter)?;
    ro_datalen.write(mem, received)?;
    Ok(ro_flags.write(mem, &roflags.bits())?)
}

/// `sock_send`; there are no flags yet.
pub fn sock_send(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    si_data: CiovecArray,
    si_data_len: Size,
    si_flags: Encoded<Siflags>,
    so_datalen: OutSize,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let Siflags = si_flags.decode()?;
    so_datalen.reserve(mem)?;
    let socket = socket(&descriptor, Rights::FD_WRITE)?;
    let from = si_data.read(ctx, mem, si_data_len)?;
    Ok(so_datalen.write(mem, socket.send(&from, &ctx.waiter)?)?)
}

/// `sock_shutdown`
pub fn sock_shutdown(
    ctx: &WasiCtx,
    _mem: &GuestMemory<'_>,
    fd: Fd,
    how: Encoded<Sdflags>,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let how = how.decode()?;
    Ok(socket(&descriptor, Rights::SOCK_SHUTDOWN)?.shutdown(how)?)
}
