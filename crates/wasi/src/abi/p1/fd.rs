//! The functions on descriptors.

use guest_memory::GuestMemory;

use crate::abi::encoded::decode_times;
use crate::abi::params::*;
use crate::abi::records::Record;
use crate::ctx::WasiCtx;
use crate::descriptor::Descriptor;
use crate::errno::{Errno, Error};
use crate::rights::Rights;
use crate::types::{Filestat, Whence};

/// `fd_advise`
pub fn fd_advise(
    ctx: &WasiCtx,
    _mem: &GuestMemory<'_>,
    fd: Fd,
    offset: u64,
    len: u64,
    advice: Encoded<Advice>,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let advice = advice.decode()?;
    let file = descriptor.file()?;
    descriptor.require(Rights::FD_ADVISE)?;
    Ok(file.advise(offset, len, advice)?)
}

/// `fd_allocate`
pub fn fd_allocate(
    ctx: &WasiCtx,
    _mem: &GuestMemory<'_>,
    fd: Fd,
    offset: u64,
    len: u64,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let file = descriptor.require_sizing(Rights::FD_ALLOCATE, Errno::Badf)?;
    Ok(file.allocate(offset, len)?)
}

/// `fd_close`
pub fn fd_close(ctx: &WasiCtx, _mem: &GuestMemory<'_>, fd: Fd) -> Result<(), Error> {
    drop(ctx.table.remove(fd.0)?);
    Ok(())
}

/// `fd_datasync`
pub fn fd_datasync(ctx: &WasiCtx, _mem: &GuestMemory<'_>, fd: Fd) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let file = descriptor.file()?;
    descriptor.require(Rights::FD_DATASYNC)?;
    Ok(file.datasync()?)
}

/// `fd_fdstat_get`
pub fn fd_fdstat_get(ctx: &WasiCtx, mem: &GuestMemory<'_>, fd: Fd, stat: Out<Fdstat>) -> Result<(), Error> {
    stat.reserve(mem)?;
    let at_once =
        |descriptor: &Descriptor| descriptor.knows_fdstat().then(|| descriptor.fdstat()).transpose();
    let fdstat = match ctx.table.with(fd.0, at_once)? {
        Some(fdstat) => fdstat,
        None => ctx.table.get(fd.0)?.fdstat()?,
    };
    Ok(stat.write(mem, &fdstat)?)
}

/// `fd_fdstat_set_flags`
pub fn fd_fdstat_set_flags(
    ctx: &WasiCtx,
    _mem: &GuestMemory<'_>,
    fd: Fd,
    flags: Encoded<Fdflags>,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let flags = flags.decode()?;
    descriptor.require(Rights::FD_FDSTAT_SET_FLAGS)?;
    Ok(descriptor.set_flags(flags)?)
}

/// `fd_fdstat_set_rights`
pub fn fd_fdstat_set_rights(
    ctx: &WasiCtx,
    _mem: &GuestMemory<'_>,
    fd: Fd,
    fs_rights_base: RightsBits,
    fs_rights_inheriting: RightsBits,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    Ok(descriptor.shrink_rights(fs_rights_base.exact()?, fs_rights_inheriting.exact()?)?)
}

/// `fd_filestat_get`
pub fn fd_filestat_get<T: Record + From<Filestat>>(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    buf: Out<T>,
) -> Result<(), Error> {
    buf.reserve(mem)?;
    let descriptor = ctx.table.get(fd.0)?;
    descriptor.require(Rights::FD_FILESTAT_GET)?;
    Ok(buf.write(mem, &descriptor.filestat()?.into())?)
}

/// `fd_filestat_set_size`
pub fn fd_filestat_set_size(ctx: &WasiCtx, _mem: &GuestMemory<'_>, fd: Fd, size: u64) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let file = descriptor.require_sizing(Rights::FD_FILESTAT_SET_SIZE, Errno::Inval)?;
    Ok(file.set_size(size)?)
}

/// `fd_filestat_set_times`
pub fn fd_filestat_set_times(
    ctx: &WasiCtx,
    _mem: &GuestMemory<'_>,
    fd: Fd,
    atim: Timestamp,
    mtim: Timestamp,
    fst_flags: Encoded<Fstflags>,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let (atim, mtim) = decode_times(atim, mtim, fst_flags.decode()?)?;
    let file = descriptor.file()?;
    descriptor.require(Rights::FD_FILESTAT_SET_TIMES)?;
    Ok(file.set_times(atim, mtim)?)
}

/// `fd_pread`
pub fn fd_pread(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    iovs: IovecArray,
    iovs_len: Size,
    offset: u64,
    nread: OutSize,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    descriptor.require_transfer(Rights::FD_READ)?;
    let file = descriptor.require_position(Rights::FD_SEEK)?;
    nread.reserve(mem)?;
    let into = iovs.read(ctx, mem, iovs_len)?;
    Ok(nread.write(mem, file.pread(&into, offset)?)?)
}

/// `fd_prestat_get`; `EBADF` for what is no preopened directory, which is how
/// wasi-libc finds the end of them.
pub fn fd_prestat_get(ctx: &WasiCtx, mem: &GuestMemory<'_>, fd: Fd, buf: Out<Prestat>) -> Result<(), Error> {
    let prestat = ctx
        .table
        .with(fd.0, |descriptor| descriptor.preopen_path().map(Prestat::directory).ok_or(Errno::Badf))?;
    Ok(buf.write(mem, &prestat)?)
}

/// `fd_prestat_dir_name`
pub fn fd_prestat_dir_name(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    path: OutText,
    path_len: Size,
) -> Result<(), Error> {
    path.reserve(mem, path_len)?;
    ctx.table.with(fd.0, |descriptor| {
        let name = descriptor.preopen_path().ok_or(Errno::Badf)?;
        if name.len() > path_len.0 as usize {
            return Err(Errno::Nametoolong);
        }
        path.write(mem, name.as_bytes())
    })?;
    Ok(())
}

/// `fd_pwrite`
pub fn fd_pwrite(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    iovs: CiovecArray,
    iovs_len: Size,
    offset: u64,
    nwritten: OutSize,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    descriptor.require_transfer(Rights::FD_WRITE)?;
    let file = descriptor.require_position(Rights::FD_SEEK)?;
    nwritten.reserve(mem)?;
    let from = iovs.read(ctx, mem, iovs_len)?;
    Ok(nwritten.write(mem, file.pwrite(&from, offset)?)?)
}

/// `fd_read`
pub fn fd_read(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    iovs: IovecArray,
    iovs_len: Size,
    nread: OutSize,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    descriptor.require_transfer(Rights::FD_READ)?;
    nread.reserve(mem)?;
    let into = iovs.read(ctx, mem, iovs_len)?;
    Ok(nread.write(mem, descriptor.read(&into, &ctx.waiter)?)?)
}

/// `fd_readdir`; entries as whole as they fit, the last one cut if need be.
pub fn fd_readdir(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    buf: OutDirents,
    buf_len: Size,
    cookie: u64,
    bufused: OutSize,
) -> Result<(), Error> {
    bufused.reserve(mem)?;
    buf.reserve(mem, buf_len)?;
    let descriptor = ctx.table.get(fd.0)?;
    let dir = descriptor.directory(Rights::FD_READDIR)?;
    let mut used = 0;
    dir.read_directory(cookie, |entry| buf.write(mem, buf_len, &mut used, &entry))?;
    Ok(bufused.write(mem, used as usize)?)
}

/// `fd_renumber`
pub fn fd_renumber(ctx: &WasiCtx, _mem: &GuestMemory<'_>, fd: Fd, to: Fd) -> Result<(), Error> {
    drop(ctx.table.renumber(fd.0, to.0)?);
    Ok(())
}

/// `fd_seek`
pub fn fd_seek<W: Decode + Into<Whence>>(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    offset: i64,
    whence: Encoded<W>,
    newoffset: Out<u64>,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let whence = whence.decode()?.into();
    let only_tells = offset == 0 && whence == Whence::Cur;
    let needed = if only_tells { Rights::FD_TELL } else { Rights::FD_SEEK | Rights::FD_TELL };
    newoffset.reserve(mem)?;
    let file = descriptor.require_position(needed)?;
    Ok(newoffset.write(mem, &file.seek(offset, whence)?)?)
}

/// `fd_sync`
pub fn fd_sync(ctx: &WasiCtx, _mem: &GuestMemory<'_>, fd: Fd) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let file = descriptor.file()?;
    descriptor.require(Rights::FD_SYNC)?;
    Ok(file.sync()?)
}

/// `fd_tell`
pub fn fd_tell(ctx: &WasiCtx, mem: &GuestMemory<'_>, fd: Fd, offset: Out<u64>) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    offset.reserve(mem)?;
    let file = descriptor.require_position(Rights::FD_TELL)?;
    Ok(offset.write(mem, &file.seek(0, Whence::Cur)?)?)
}

/// `fd_write`
pub fn fd_write(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    iovs: CiovecArray,
    iovs_len: Size,
    nwritten: OutSize,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    descriptor.require_transfer(Rights::FD_WRITE)?;
    nwritten.reserve(mem)?;
    let from = iovs.read(ctx, mem, iovs_len)?;
    Ok(nwritten.write(mem, descriptor.write(&from, &ctx.waiter)?)?)
}
