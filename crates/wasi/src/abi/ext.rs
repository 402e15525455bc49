//! `wasi_native_ext`: what WASI has no words for. Locks, watching files, and
//! handing a descriptor to another program. `include/wasi_native_ext.h` is for
//! those who call it.
//!
//! Called by `functions.rs` and `host.rs` as `p1` is. Invariants: off unless a
//! policy names this module; nothing here reaches a file but by a descriptor
//! and the same gate, rights and permissions as `path_open`; what is handed on
//! never has more rights than the giver has.

#![forbid(unsafe_code)]

use crate::ctx::WasiCtx;
use crate::descriptor::{Descriptor, Object};
use crate::errno::{Errno, Error};
use crate::fs::path::GuestPath;
use crate::poll::Pauses;
use crate::rights::{Perms, Rights};
use crate::sys::{LockKind, OpenSpec};
use crate::types::{Fdflags, Filetype};
use crate::watch::{Watch, WatchEvents};
use guest_memory::{GuestMemory, GuestText};

/// The module name guests import these from.
pub const MODULE: &str = "wasi_native_ext";

/// As `for_each_p1_function!`, for this module.
#[macro_export]
macro_rules! for_each_ext_function {
    ($callback:path) => {
        $callback! {
            fd_lock(fd: u32, operation: u32);
            path_watch(fd: u32, path: u32, path_len: u32, events: u32, opened_fd: u32);
            fd_give(
                fd: u32, name: u32, name_len: u32,
                fs_rights_base: u64, fs_rights_inheriting: u64, given_fd: u32
            );
        }
    };
}

const LOCK_SHARED: u32 = 1;
const LOCK_EXCLUSIVE: u32 = 2;
const LOCK_TRY: u32 = 4;

/// `fd_lock`: an advisory lock on a whole file, held by the open file until it
/// is unlocked or closed. `EAGAIN` if it was to be tried only. An exclusive
/// lock wants the permission to write: it keeps others from doing so.
pub fn fd_lock(ctx: &WasiCtx, _mem: &GuestMemory<'_>, fd: u32, operation: u32) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let (kind, wait) = match (operation & !LOCK_TRY, operation & LOCK_TRY == 0) {
        (0, true) => (None, true),
        (LOCK_SHARED, wait) => (Some(LockKind::Shared), wait),
        (LOCK_EXCLUSIVE, wait) => (Some(LockKind::Exclusive), wait),
        _ => return Err(Errno::Inval.into()),
    };
    let file = descriptor.file()?;
    if !matches!(file.filetype()?, Filetype::RegularFile | Filetype::Directory) {
        return Err(Errno::Badf.into());
    }
    if kind == Some(LockKind::Exclusive) {
        file.perms.require(Perms::WRITE)?;
    }
    // The kernel's own wait could not be interrupted.
    let mut pauses = Pauses::default();
    loop {
        match file.try_lock(kind) {
            Err(Errno::Again) if wait => pauses.pause(&ctx.waiter)?,
            done => return Ok(done?),
        }
    }
}

/// `path_watch`: a descriptor that becomes readable when something happens to
/// a file, or to what is directly in a directory. Links are followed, as far
/// as `path_open` would.
pub fn path_watch(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
    events: u32,
    opened_fd: u32,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    let events = WatchEvents::from_guest(events)?;
    mem.reserve(opened_fd, 4)?;
    let dir = descriptor.directory(Rights::PATH_OPEN | Rights::PATH_FILESTAT_GET)?;
    let mut text = GuestText::empty();
    mem.read_text(path, path_len, ctx.limits.max_path as usize, &mut text)?;
    let path = GuestPath::parse(text.bytes())?;
    ctx.table.require_room()?;
    let spec = OpenSpec {
        read: true,
        follow: true,
        // Should it be a pipe, nobody is waited for.
        fdflags: Fdflags::NONBLOCK,
        ..OpenSpec::default()
    };
    let watched = dir.open(&path, spec, &ctx.waiter)?;
    let rights = Rights::FD_READ | Rights::POLL_FD_READWRITE | Rights::FD_FDSTAT_SET_FLAGS;
    let watch = Object::Watch(Watch::new(&watched, events)?);
    let watch = Descriptor::new(watch, rights, Rights::empty());
    Ok(mem.write_u32(opened_fd, ctx.table.insert(watch)?)?)
}

/// `fd_give`: puts a descriptor for the same open file, with these rights or
/// fewer, into the table of a program that the host linked to this one under a
/// name. The result is its number there.
pub fn fd_give(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    fd: u32,
    name: u32,
    name_len: u32,
    fs_rights_base: u64,
    fs_rights_inheriting: u64,
    given_fd: u32,
) -> Result<(), Error> {
    let descriptor = ctx.table.get(fd)?;
    mem.reserve(given_fd, 4)?;
    let rights = |bits| Rights::from_bits(bits).ok_or(Errno::Notcapable);
    let (base, inheriting) = (rights(fs_rights_base)?, rights(fs_rights_inheriting)?);
    let mut text = GuestText::empty();
    mem.read_text(name, name_len, ctx.limits.max_path as usize, &mut text)?;
    let peer = ctx.peer(text.bytes()).ok_or(Errno::Noent)?;
    peer.table.require_room()?;
    let given = descriptor.narrowed(base, inheriting)?;
    Ok(mem.write_u32(given_fd, peer.table.insert(given)?)?)
}
