//! The functions on descriptors.

#![forbid(unsafe_code)]

use crate::ctx::WasiCtx;
use crate::descriptor::{Descriptor, Object};
use crate::errno::{Errno, Error};
use crate::rights::Rights;
use crate::types::{Advice, Fdflags, Fdstat, Filestat, SetTime, Whence};
use guest_memory::{GuestMemory, IoVecs};

/// `fd_advise`
pub fn fd_advise(
    ctx: &WasiCtx,
    _mem: &GuestMemory<'_>,
    fd: u32,
    offset: u64,
    len: u64,
    advice: u32,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let advice = Advice::from_guest(advice)?;
    let file = descriptor.file()?;
    descriptor.require(Rights::FD_ADVISE)?;
    Ok(file.advise(offset, len, advice)?)
}

/// `fd_allocate`
pub fn fd_allocate(
    ctx: &WasiCtx,
    _mem: &GuestMemory<'_>,
    fd: u32,
    offset: u64,
    len: u64,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let file = descriptor.require_sizing(Rights::FD_ALLOCATE, Errno::Badf)?;
    Ok(file.allocate(offset, len)?)
}

/// `fd_close`
pub fn fd_close(ctx: &WasiCtx, _mem: &GuestMemory<'_>, fd: u32) -> Result<(), Error> {
    drop(ctx.table.remove(fd)?);
    Ok(())
}

/// `fd_datasync`
pub fn fd_datasync(ctx: &WasiCtx, _mem: &GuestMemory<'_>, fd: u32) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let file = descriptor.file()?;
    descriptor.require(Rights::FD_DATASYNC)?;
    Ok(file.datasync()?)
}

/// `fd_fdstat_get`
pub fn fd_fdstat_get(ctx: &WasiCtx, mem: &GuestMemory<'_>, fd: u32, stat: u32) -> Result<(), Error> {
    mem.reserve(stat, Fdstat::ENCODED_SIZE)?;
    let at_once =
        |descriptor: &Descriptor| descriptor.knows_fdstat().then(|| descriptor.fdstat()).transpose();
    let fdstat = match ctx.table.with(fd, at_once)? {
        Some(fdstat) => fdstat,
        None => ctx.table.get(fd)?.fdstat()?,
    };
    Ok(mem.write_bytes(stat, &fdstat.encode())?)
}

/// `fd_fdstat_set_flags`
pub fn fd_fdstat_set_flags(ctx: &WasiCtx, _mem: &GuestMemory<'_>, fd: u32, flags: u32) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let flags = Fdflags::from_guest(flags)?;
    descriptor.require(Rights::FD_FDSTAT_SET_FLAGS)?;
    match &descriptor.object {
        Object::File(file) => Ok(file.set_flags(flags)?),
        Object::Watch(watch) => {
            watch.set_flags(flags);
            Ok(())
        }
        // A stream in memory never makes anyone wait, and always appends.
        _ => Ok(()),
    }
}

/// `fd_fdstat_set_rights`
pub fn fd_fdstat_set_rights(
    ctx: &WasiCtx,
    _mem: &GuestMemory<'_>,
    fd: u32,
    fs_rights_base: u64,
    fs_rights_inheriting: u64,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let known = |bits| Rights::from_bits(bits).ok_or(Errno::Notcapable);
    Ok(descriptor.shrink_rights(known(fs_rights_base)?, known(fs_rights_inheriting)?)?)
}

/// `fd_filestat_get`
pub fn fd_filestat_get(ctx: &WasiCtx, mem: &GuestMemory<'_>, fd: u32, buf: u32) -> Result<(), Error> {
    mem.reserve(buf, Filestat::ENCODED_SIZE)?;
    Ok(mem.write_bytes(buf, &filestat_of_fd(ctx, fd)?.encode())?)
}

pub(crate) fn filestat_of_fd(ctx: &WasiCtx, fd: u32) -> Result<Filestat, Error> {
    let descriptor = ctx.table.get(fd)?;
    descriptor.require(Rights::FD_FILESTAT_GET)?;
    Ok(descriptor.filestat()?)
}

/// `fd_filestat_set_size`
pub fn fd_filestat_set_size(ctx: &WasiCtx, _mem: &GuestMemory<'_>, fd: u32, size: u64) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let file = descriptor.require_sizing(Rights::FD_FILESTAT_SET_SIZE, Errno::Inval)?;
    Ok(file.set_size(size)?)
}

/// `fd_filestat_set_times`
pub fn fd_filestat_set_times(
    ctx: &WasiCtx,
    _mem: &GuestMemory<'_>,
    fd: u32,
    atim: u64,
    mtim: u64,
    fst_flags: u32,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let (atim, mtim) = SetTime::pair(atim, mtim, fst_flags)?;
    let file = descriptor.file()?;
    descriptor.require(Rights::FD_FILESTAT_SET_TIMES)?;
    Ok(file.set_times(atim, mtim)?)
}

/// The buffers of an array. A limit of none is `EINVAL`, for nothing could ever be moved.
#[inline]
pub(super) fn buffers<'a>(
    ctx: &WasiCtx,
    mem: &GuestMemory<'a>,
    array: u32,
    count: u32,
) -> Result<IoVecs<'a>, Errno> {
    let limit = ctx.limits.max_iovecs;
    if count > 0 && limit == 0 {
        return Err(Errno::Inval);
    }
    Ok(mem.iovecs(array, count, limit)?)
}

fn iovecs<'a>(
    ctx: &WasiCtx,
    mem: &GuestMemory<'a>,
    iovs: u32,
    iovs_len: u32,
    result: u32,
) -> Result<IoVecs<'a>, Errno> {
    mem.reserve(result, 4)?;
    buffers(ctx, mem, iovs, iovs_len)
}

/// `fd_pread`
pub fn fd_pread(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    offset: u64,
    nread: u32,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    descriptor.require_transfer(Rights::FD_READ)?;
    let file = descriptor.require_position(Rights::FD_SEEK)?;
    let into = iovecs(ctx, mem, iovs, iovs_len, nread)?;
    Ok(mem.write_u32(nread, file.pread(&into, offset)? as u32)?)
}

/// `fd_prestat_get`; `EBADF` for what is no preopened directory, which is how
/// wasi-libc finds the end of them.
pub fn fd_prestat_get(ctx: &WasiCtx, mem: &GuestMemory<'_>, fd: u32, buf: u32) -> Result<(), Error> {
    let len = ctx.table.with(fd, |descriptor| descriptor.preopen_path().map(str::len).ok_or(Errno::Badf))?;
    mem.reserve(buf, 8)?;
    mem.write_u32(buf, 0)?; // preopentype.dir and padding
    Ok(mem.write_u32(buf + 4, len as u32)?)
}

/// `fd_prestat_dir_name`
pub fn fd_prestat_dir_name(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<(), Error> {
    mem.reserve(path, path_len as usize)?;
    ctx.table.with(fd, |descriptor| {
        let name = descriptor.preopen_path().ok_or(Errno::Badf)?;
        if name.len() > path_len as usize {
            return Err(Errno::Nametoolong);
        }
        Ok(mem.write_bytes(path, name.as_bytes())?)
    })?;
    Ok(())
}

/// `fd_pwrite`
pub fn fd_pwrite(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    offset: u64,
    nwritten: u32,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    descriptor.require_transfer(Rights::FD_WRITE)?;
    let file = descriptor.require_position(Rights::FD_SEEK)?;
    let from = iovecs(ctx, mem, iovs, iovs_len, nwritten)?;
    Ok(mem.write_u32(nwritten, file.pwrite(&from, offset)? as u32)?)
}

/// `fd_read`
pub fn fd_read(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    nread: u32,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    descriptor.require_transfer(Rights::FD_READ)?;
    let into = iovecs(ctx, mem, iovs, iovs_len, nread)?;
    let read = match &descriptor.object {
        Object::File(file) => file.read(&into, &ctx.waiter)?,
        Object::Input(buffer) => buffer.read(&into),
        Object::Watch(watch) => watch.read(&into, &ctx.waiter)?,
        Object::Null => 0,
        Object::Output(_) => return Err(Errno::Badf.into()),
    };
    Ok(mem.write_u32(nread, read as u32)?)
}

/// `fd_readdir`; entries as whole as they fit, the last one cut if need be.
pub fn fd_readdir(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    buf: u32,
    buf_len: u32,
    cookie: u64,
    bufused: u32,
) -> Result<(), Error> {
    mem.reserve(bufused, 4)?;
    mem.reserve(buf, buf_len as usize)?;
    let descriptor = ctx.table.get(fd)?;
    let dir = descriptor.directory(Rights::FD_READDIR)?;
    let mut used = 0u32;
    dir.read_directory(cookie, |entry| {
        let room = (buf_len - used) as usize;
        if room == 0 {
            return Ok(0); // `buf + used` may be the end of the address space
        }
        let piece = entry.get(..room).unwrap_or(entry);
        mem.write_bytes(buf + used, piece)?;
        used += piece.len() as u32;
        Ok(piece.len())
    })?;
    Ok(mem.write_u32(bufused, used)?)
}

/// `fd_renumber`
pub fn fd_renumber(ctx: &WasiCtx, _mem: &GuestMemory<'_>, fd: u32, to: u32) -> Result<(), Error> {
    drop(ctx.table.renumber(fd, to)?);
    Ok(())
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
        0 => Some(Whence::Set),
        1 => Some(Whence::Cur),
        2 => Some(Whence::End),
        _ => None,
    };
    seek(ctx, mem, fd, offset, whence, newoffset)
}

/// `whence` is `None` if it was not one.
#[inline]
pub(crate) fn seek(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    offset: i64,
    whence: Option<Whence>,
    newoffset: u32,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let whence = whence.ok_or(Errno::Inval)?;
    let only_tells = offset == 0 && whence == Whence::Cur;
    let needed = if only_tells { Rights::FD_TELL } else { Rights::FD_SEEK | Rights::FD_TELL };
    mem.reserve(newoffset, 8)?;
    let file = descriptor.require_position(needed)?;
    Ok(mem.write_u64(newoffset, file.seek(offset, whence)?)?)
}

/// `fd_sync`
pub fn fd_sync(ctx: &WasiCtx, _mem: &GuestMemory<'_>, fd: u32) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let file = descriptor.file()?;
    descriptor.require(Rights::FD_SYNC)?;
    Ok(file.sync()?)
}

/// `fd_tell`
pub fn fd_tell(ctx: &WasiCtx, mem: &GuestMemory<'_>, fd: u32, offset: u32) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    mem.reserve(offset, 8)?;
    let file = descriptor.require_position(Rights::FD_TELL)?;
    Ok(mem.write_u64(offset, file.seek(0, Whence::Cur)?)?)
}

/// `fd_write`
pub fn fd_write(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    nwritten: u32,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    descriptor.require_transfer(Rights::FD_WRITE)?;
    let from = iovecs(ctx, mem, iovs, iovs_len, nwritten)?;
    let written = match &descriptor.object {
        Object::File(file) => file.write(&from, &ctx.waiter)?,
        Object::Output(buffer) => buffer.write(&from)?,
        Object::Null => from.total(),
        Object::Input(_) | Object::Watch(_) => return Err(Errno::Badf.into()),
    };
    Ok(mem.write_u32(nwritten, written as u32)?)
}
