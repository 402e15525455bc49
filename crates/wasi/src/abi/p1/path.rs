//! The functions on paths.

#![forbid(unsafe_code)]

use crate::ctx::WasiCtx;
use crate::descriptor::{Descriptor, Object};
use crate::errno::{Errno, Error};
use crate::fs::path::{GuestPath, parse_link_contents};
use crate::rights::Rights;
use crate::sys::OpenSpec;
use crate::types::{Fdflags, Filestat, Lookupflags, Oflags, SetTime};
use guest_memory::{GuestMemory, GuestText};

fn text(ctx: &WasiCtx, mem: &GuestMemory<'_>, path: u32, len: u32) -> Result<GuestText, Errno> {
    let mut text = GuestText::empty();
    read(ctx, mem, path, len, &mut text)?;
    Ok(text)
}

/// The same without moving the text about.
#[inline]
fn read(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    path: u32,
    len: u32,
    text: &mut GuestText,
) -> Result<(), Errno> {
    Ok(mem.read_text(path, len, ctx.limits.max_path as usize, text)?)
}

fn follows(flags: u32) -> Result<bool, Errno> {
    Ok(Lookupflags::from_guest(flags)?.contains(Lookupflags::SYMLINK_FOLLOW))
}

/// `path_create_directory`
pub fn path_create_directory(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let dir = descriptor.directory(Rights::PATH_CREATE_DIRECTORY)?;
    let path = text(ctx, mem, path, path_len)?;
    Ok(dir.create_directory(&GuestPath::parse(path.bytes())?)?)
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
    mem.reserve(buf, Filestat::ENCODED_SIZE)?;
    let stat = filestat_of_path(ctx, mem, fd, flags, path, path_len)?;
    Ok(mem.write_bytes(buf, &stat.encode())?)
}

#[inline]
pub(crate) fn filestat_of_path(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    flags: u32,
    path: u32,
    path_len: u32,
) -> Result<Filestat, Error> {
    let descriptor = ctx.table.get(fd)?;
    let dir = descriptor.directory(Rights::PATH_FILESTAT_GET)?;
    let follow = follows(flags)?;
    let mut text = GuestText::empty();
    read(ctx, mem, path, path_len, &mut text)?;
    Ok(dir.stat_path(&GuestPath::parse(text.bytes())?, follow)?)
}

/// `path_filestat_set_times`
pub fn path_filestat_set_times(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    flags: u32,
    path: u32,
    path_len: u32,
    atim: u64,
    mtim: u64,
    fst_flags: u32,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let dir = descriptor.directory(Rights::PATH_FILESTAT_SET_TIMES)?;
    let follow = follows(flags)?;
    let (atim, mtim) = SetTime::pair(atim, mtim, fst_flags)?;
    let path = text(ctx, mem, path, path_len)?;
    Ok(dir.set_path_times(&GuestPath::parse(path.bytes())?, follow, atim, mtim)?)
}

/// `path_link`; following the old path is not supported, as in the other
/// hosts, and wasi-libc does not ask for it.
pub fn path_link(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    old_fd: u32,
    old_flags: u32,
    old_path: u32,
    old_path_len: u32,
    new_fd: u32,
    new_path: u32,
    new_path_len: u32,
) -> Result<(), Error> {
    let (old, new) = (ctx.table.get(old_fd)?, ctx.table.get(new_fd)?);
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
    fd: u32,
    dirflags: u32,
    path: u32,
    path_len: u32,
    oflags: u32,
    fs_rights_base: u64,
    fs_rights_inheriting: u64,
    fdflags: u32,
    opened_fd: u32,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let oflags = Oflags::from_guest(oflags)?;
    let fdflags = Fdflags::from_guest(fdflags)?;
    let follow = follows(dirflags)?;
    mem.reserve(opened_fd, 4)?;

    let mut needed = Rights::PATH_OPEN;
    needed.set(Rights::PATH_CREATE_FILE, oflags.contains(Oflags::CREAT));
    needed.set(Rights::PATH_FILESTAT_SET_SIZE, oflags.contains(Oflags::TRUNC));
    let dir = descriptor.directory(needed)?;

    // Bits that name no right of a file or directory are let pass: older guests
    // ask for everything.
    let known = |bits| Rights::from_bits_truncate(bits) & Rights::PREOPEN_INHERITING;
    let asked = known(fs_rights_base);
    let inheriting = descriptor.inheriting();
    if !inheriting.contains(asked | known(fs_rights_inheriting)) {
        return Err(Errno::Notcapable.into());
    }

    let mut text = GuestText::empty();
    read(ctx, mem, path, path_len, &mut text)?;
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
    Ok(mem.write_u32(opened_fd, ctx.table.insert(opened)?)?)
}

/// `path_readlink`; a buffer too small gets the beginning, as in POSIX.
pub fn path_readlink(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
    buf: u32,
    buf_len: u32,
    bufused: u32,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let dir = descriptor.directory(Rights::PATH_READLINK)?;
    mem.reserve(bufused, 4)?;
    mem.reserve(buf, buf_len as usize)?;
    let path = text(ctx, mem, path, path_len)?;
    let target = dir.read_link(&GuestPath::parse(path.bytes())?)?;
    let piece = target.get(..buf_len as usize).unwrap_or(&target);
    mem.write_bytes(buf, piece)?;
    Ok(mem.write_u32(bufused, piece.len() as u32)?)
}

/// `path_remove_directory`
pub fn path_remove_directory(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let dir = descriptor.directory(Rights::PATH_REMOVE_DIRECTORY)?;
    let path = text(ctx, mem, path, path_len)?;
    Ok(dir.remove_directory(&GuestPath::parse(path.bytes())?)?)
}

/// `path_rename`
pub fn path_rename(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    old_path: u32,
    old_path_len: u32,
    new_fd: u32,
    new_path: u32,
    new_path_len: u32,
) -> Result<(), Error> {
    let (old, new) = (ctx.table.get(fd)?, ctx.table.get(new_fd)?);
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
    old_path: u32,
    old_path_len: u32,
    fd: u32,
    new_path: u32,
    new_path_len: u32,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let dir = descriptor.directory(Rights::PATH_SYMLINK)?;
    let contents = text(ctx, mem, old_path, old_path_len)?;
    let path = text(ctx, mem, new_path, new_path_len)?;
    let contents = parse_link_contents(contents.bytes())?;
    Ok(dir.symlink(contents, &GuestPath::parse(path.bytes())?)?)
}

/// `path_unlink_file`
pub fn path_unlink_file(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let dir = descriptor.directory(Rights::PATH_UNLINK_FILE)?;
    let path = text(ctx, mem, path, path_len)?;
    Ok(dir.unlink_file(&GuestPath::parse(path.bytes())?)?)
}
