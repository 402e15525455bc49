//! The functions on paths.

use guest_memory::{GuestMemory, GuestText};

use crate::abi::encoded::decode_times;
use crate::abi::params::*;
use crate::abi::records::Record;
use crate::ctx::WasiCtx;
use crate::descriptor::{Descriptor, Object};
use crate::errno::{Errno, Error};
use crate::fs::path::{GuestPath, parse_link_contents};
use crate::rights::Rights;
use crate::sys::OpenSpec;
use crate::types::Filestat;

fn text(ctx: &WasiCtx, mem: &GuestMemory<'_>, path: Path, len: Size) -> Result<GuestText, Errno> {
    let mut text = GuestText::empty();
    path.read(ctx, mem, len, &mut text)?;
    Ok(text)
}

#[inline]
fn follows(flags: Encoded<Lookupflags>) -> Result<bool, Errno> {
    Ok(flags.decode()?.contains(Lookupflags::SYMLINK_FOLLOW))
}

/// `path_create_directory`
pub fn path_create_directory(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    path: Path,
    path_len: Size,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let dir = descriptor.directory(Rights::PATH_CREATE_DIRECTORY)?;
    let path = text(ctx, mem, path, path_len)?;
    Ok(dir.create_directory(&GuestPath::parse(path.bytes())?)?)
}

/// `path_filestat_get`
pub fn path_filestat_get<T: Record + From<Filestat>>(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    flags: Encoded<Lookupflags>,
    path: Path,
    path_len: Size,
    buf: Out<T>,
) -> Result<(), Error> {
    buf.reserve(mem)?;
    let descriptor = ctx.table.get(fd.0)?;
    let dir = descriptor.directory(Rights::PATH_FILESTAT_GET)?;
    let follow = follows(flags)?;
    let mut text = GuestText::empty();
    path.read(ctx, mem, path_len, &mut text)?;
    let stat = dir.stat_path(&GuestPath::parse(text.bytes())?, follow)?;
    Ok(buf.write(mem, &stat.into())?)
}

/// `path_filestat_set_times`
pub fn path_filestat_set_times(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    flags: Encoded<Lookupflags>,
    path: Path,
    path_len: Size,
    atim: Timestamp,
    mtim: Timestamp,
    fst_flags: Encoded<Fstflags>,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let dir = descriptor.directory(Rights::PATH_FILESTAT_SET_TIMES)?;
    let follow = follows(flags)?;
    let (atim, mtim) = decode_times(atim, mtim, fst_flags.decode()?)?;
    let path = text(ctx, mem, path, path_len)?;
    Ok(dir.set_path_times(&GuestPath::parse(path.bytes())?, follow, atim, mtim)?)
}

/// `path_link`; following the old path is not supported, as in the other
/// hosts, and wasi-libc does not ask for it.
pub fn path_link(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    old_fd: Fd,
    old_flags: Encoded<Lookupflags>,
    old_path: Path,
    old_path_len: Size,
    new_fd: Fd,
    new_path: Path,
    new_path_len: Size,
) -> Result<(), Error> {
    let (old, new) = (ctx.table.get(old_fd.0)?, ctx.table.get(new_fd.0)?);
    let old_dir = old.directory(Rights::PATH_LINK_SOURCE)?;
    let new_dir = new.directory(Rights::PATH_LINK_TARGET)?;
    let old_path = text(ctx, mem, old_path, old_path_len)?;
    let new_path = text(ctx, mem, new_path, new_path_len)?;
    if follows(old_flags)? {
        return Err(Errno::Inval.into());
    }
    let (old_path, new_path) = (GuestPath::parse(old_path.bytes())?, GuestPath::parse(new_path.bytes())?);
    Ok(old_dir.link(&old_path, new_dir, &new_path)?)
}

/// `path_open`
pub fn path_open(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    dirflags: Encoded<Lookupflags>,
    path: Path,
    path_len: Size,
    oflags: Encoded<Oflags>,
    fs_rights_base: RightsBits,
    fs_rights_inheriting: RightsBits,
    fdflags: Encoded<Fdflags>,
    opened_fd: Out<u32>,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let oflags = oflags.decode()?;
    let fdflags = fdflags.decode()?;
    let follow = follows(dirflags)?;
    opened_fd.reserve(mem)?;

    let mut needed = Rights::PATH_OPEN;
    needed.set(Rights::PATH_CREATE_FILE, oflags.contains(Oflags::CREAT));
    needed.set(Rights::PATH_FILESTAT_SET_SIZE, oflags.contains(Oflags::TRUNC));
    let dir = descriptor.directory(needed)?;

    let asked = fs_rights_base.of_opened();
    let inheriting = descriptor.inheriting();
    if !inheriting.contains(asked | fs_rights_inheriting.of_opened()) {
        return Err(Errno::Notcapable.into());
    }

    let mut text = GuestText::empty();
    path.read(ctx, mem, path_len, &mut text)?;
    let path = GuestPath::parse(text.bytes())?;
    ctx.table.require_room()?;
    let spec = OpenSpec {
        read: asked.contains(Rights::FD_READ),
        write: asked.contains(Rights::FD_WRITE),
        follow,
        oflags,
        fdflags,
    };
    let file = dir.open(&path, spec, &ctx.waiter)?;
    let base = Rights::opened(inheriting, asked);
    let opened = Descriptor::new(Object::File(file), base, inheriting);
    Ok(opened_fd.write(mem, &ctx.table.insert(opened)?)?)
}

/// `path_readlink`; a buffer too small gets the beginning, as in POSIX.
pub fn path_readlink(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    path: Path,
    path_len: Size,
    buf: OutText,
    buf_len: Size,
    bufused: OutSize,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let dir = descriptor.directory(Rights::PATH_READLINK)?;
    bufused.reserve(mem)?;
    buf.reserve(mem, buf_len)?;
    let path = text(ctx, mem, path, path_len)?;
    let target = dir.read_link(&GuestPath::parse(path.bytes())?)?;
    let piece = target.get(..buf_len.0 as usize).unwrap_or(&target);
    buf.write(mem, piece)?;
    Ok(bufused.write(mem, piece.len())?)
}

/// `path_remove_directory`
pub fn path_remove_directory(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    path: Path,
    path_len: Size,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let dir = descriptor.directory(Rights::PATH_REMOVE_DIRECTORY)?;
    let path = text(ctx, mem, path, path_len)?;
    Ok(dir.remove_directory(&GuestPath::parse(path.bytes())?)?)
}

/// `path_rename`
pub fn path_rename(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    old_path: Path,
    old_path_len: Size,
    new_fd: Fd,
    new_path: Path,
    new_path_len: Size,
) -> Result<(), Error> {
    let (old, new) = (ctx.table.get(fd.0)?, ctx.table.get(new_fd.0)?);
    let old_dir = old.directory(Rights::PATH_RENAME_SOURCE)?;
    let new_dir = new.directory(Rights::PATH_RENAME_TARGET)?;
    let old_path = text(ctx, mem, old_path, old_path_len)?;
    let new_path = text(ctx, mem, new_path, new_path_len)?;
    let (old_path, new_path) = (GuestPath::parse(old_path.bytes())?, GuestPath::parse(new_path.bytes())?);
    Ok(old_dir.rename(&old_path, new_dir, &new_path)?)
}

/// `path_symlink`
pub fn path_symlink(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    old_path: Text,
    old_path_len: Size,
    fd: Fd,
    new_path: Path,
    new_path_len: Size,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let dir = descriptor.directory(Rights::PATH_SYMLINK)?;
    let mut contents = GuestText::empty();
    old_path.read(ctx, mem, old_path_len, &mut contents)?;
    let path = text(ctx, mem, new_path, new_path_len)?;
    let contents = parse_link_contents(contents.bytes())?;
    Ok(dir.symlink(contents, &GuestPath::parse(path.bytes())?)?)
}

/// `path_unlink_file`
pub fn path_unlink_file(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    path: Path,
    path_len: Size,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let dir = descriptor.directory(Rights::PATH_UNLINK_FILE)?;
    let path = text(ctx, mem, path, path_len)?;
    Ok(dir.unlink_file(&GuestPath::parse(path.bytes())?)?)
}
