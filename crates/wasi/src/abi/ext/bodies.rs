//! The bodies of the functions.

use guest_memory::{GuestMemory, GuestText};

use crate::abi::params::*;
use crate::abi::records::watch_record;
use crate::ctx::WasiCtx;
use crate::descriptor::{Descriptor, Object};
use crate::errno::{Errno, Error};
use crate::fs::path::GuestPath;
use crate::rights::Rights;
use crate::watch::Watch;

/// `fd_lock`: an advisory lock on a whole file, held by the open file until it
/// is unlocked or closed. `EAGAIN` if it was to be tried only.
pub fn fd_lock(
    ctx: &WasiCtx,
    _mem: &GuestMemory<'_>,
    fd: Fd,
    operation: Encoded<LockOperation>,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let LockOperation { kind, wait } = operation.decode()?;
    descriptor.file()?.lock(kind, wait, &ctx.waiter)
}

/// `path_watch`: a descriptor that becomes readable when something happens to
/// a file, or to what is directly in a directory. Links are followed, as far
/// as `path_open` would.
pub fn path_watch(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    path: Path,
    path_len: Size,
    events: Encoded<WatchEvents>,
    opened_fd: Out<u32>,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    let events = events.decode()?;
    opened_fd.reserve(mem)?;
    let dir = descriptor.directory(Rights::PATH_OPEN | Rights::PATH_FILESTAT_GET)?;
    let mut text = GuestText::empty();
    path.read(ctx, mem, path_len, &mut text)?;
    let path = GuestPath::parse(text.bytes())?;
    ctx.table.require_room()?;
    let watch = Watch::open(dir, &path, events, watch_record, &ctx.waiter)?;
    let rights = Rights::FD_READ | Rights::POLL_FD_READWRITE | Rights::FD_FDSTAT_SET_FLAGS;
    let watch = Descriptor::new(Object::Watch(watch), rights, Rights::empty());
    Ok(opened_fd.write(mem, &ctx.table.insert(watch)?)?)
}

/// `fd_give`: puts a descriptor for the same open file, with these rights or
/// fewer, into the table of a program that the host linked to this one under a
/// name. The result is its number there.
pub fn fd_give(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: Fd,
    name: Text,
    name_len: Size,
    fs_rights_base: RightsBits,
    fs_rights_inheriting: RightsBits,
    given_fd: Out<u32>,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd.0)?;
    given_fd.reserve(mem)?;
    let (base, inheriting) = (fs_rights_base.exact()?, fs_rights_inheriting.exact()?);
    let mut text = GuestText::empty();
    name.read(ctx, mem, name_len, &mut text)?;
    let peer = ctx.peer(text.bytes()).ok_or(Errno::Noent)?;
    peer.table.require_room()?;
    let given = descriptor.narrowed(base, inheriting)?;
    Ok(given_fd.write(mem, &peer.table.insert(given)?)?)
}
