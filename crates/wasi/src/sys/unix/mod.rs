//! Unix, by rustix and cap-primitives. See `mod.rs` for what may be here.
//!
//! Built on Linux so far. macOS lacks four things used here, each in one place:
//! `RawDir` (`read_directory`), `eventfd` (`Event`), `accept4` (`accept`) and
//! `fallocate`/`fadvise`.

#![forbid(unsafe_code)]
// The widths of the fields of `stat` and `timespec` differ among Unixes.
#![allow(clippy::unnecessary_cast)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use cap_fs_ext::OpenOptionsFollowExt;
use cap_primitives::fs::{FollowSymlinks, MetadataExt, OpenOptions, OpenOptionsExt};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom, Stat, Timestamps};
use rustix::io::Errno as HostErrno;

use super::{Interest, LockKind, OpenSpec, Readiness};
use crate::alloc::vec_for;
use crate::errno::Errno;
use crate::fs::path::GuestPath;
use crate::types::{Advice, Clockid, Dirent, Fdflags, Filestat, Filetype, Oflags, SetTime, Whence};
use crate::watch::WatchEvents;

pub type BorrowedHandle<'a> = BorrowedFd<'a>;
pub type OwnedHandle = OwnedFd;

#[inline]
pub fn borrow(file: &File) -> BorrowedHandle<'_> {
    file.as_fd()
}

pub fn borrow_handle(handle: &OwnedHandle) -> BorrowedHandle<'_> {
    handle.as_fd()
}

pub fn errno_from_raw(code: i32) -> Errno {
    HostErrno::from_raw_os_error(code).into()
}

impl From<HostErrno> for Errno {
    // Linux has one number for NOTSUP and OPNOTSUPP, others have two.
    #[allow(unreachable_patterns)]
    fn from(host: HostErrno) -> Errno {
        match host {
            HostErrno::TOOBIG => Errno::TooBig,
            HostErrno::ACCESS => Errno::Acces,
            HostErrno::ADDRINUSE => Errno::Addrinuse,
            HostErrno::ADDRNOTAVAIL => Errno::Addrnotavail,
            HostErrno::AFNOSUPPORT => Errno::Afnosupport,
            HostErrno::AGAIN => Errno::Again,
            HostErrno::ALREADY => Errno::Already,
            HostErrno::BADF => Errno::Badf,
            HostErrno::BADMSG => Errno::Badmsg,
            HostErrno::BUSY => Errno::Busy,
            HostErrno::CANCELED => Errno::Canceled,
            HostErrno::CHILD => Errno::Child,
            HostErrno::CONNABORTED => Errno::Connaborted,
            HostErrno::CONNREFUSED => Errno::Connrefused,
            HostErrno::CONNRESET => Errno::Connreset,
            HostErrno::DEADLK => Errno::Deadlk,
            HostErrno::DESTADDRREQ => Errno::Destaddrreq,
            HostErrno::DOM => Errno::Dom,
            HostErrno::DQUOT => Errno::Dquot,
            HostErrno::EXIST => Errno::Exist,
            HostErrno::FAULT => Errno::Fault,
            HostErrno::FBIG => Errno::Fbig,
            HostErrno::HOSTUNREACH => Errno::Hostunreach,
            HostErrno::IDRM => Errno::Idrm,
            HostErrno::ILSEQ => Errno::Ilseq,
            HostErrno::INPROGRESS => Errno::Inprogress,
            HostErrno::INTR => Errno::Intr,
            HostErrno::INVAL => Errno::Inval,
            HostErrno::ISCONN => Errno::Isconn,
            HostErrno::ISDIR => Errno::Isdir,
            HostErrno::LOOP => Errno::Loop,
            HostErrno::MFILE => Errno::Mfile,
            HostErrno::MLINK => Errno::Mlink,
            HostErrno::MSGSIZE => Errno::Msgsize,
            HostErrno::NAMETOOLONG => Errno::Nametoolong,
            HostErrno::NETDOWN => Errno::Netdown,
            HostErrno::NETRESET => Errno::Netreset,
            HostErrno::NETUNREACH => Errno::Netunreach,
            HostErrno::NFILE => Errno::Nfile,
            HostErrno::NOBUFS => Errno::Nobufs,
            HostErrno::NODEV => Errno::Nodev,
            HostErrno::NOENT => Errno::Noent,
            HostErrno::NOEXEC => Errno::Noexec,
            HostErrno::NOLCK => Errno::Nolck,
            HostErrno::NOMEM => Errno::Nomem,
            HostErrno::NOMSG => Errno::Nomsg,
            HostErrno::NOPROTOOPT => Errno::Noprotoopt,
            HostErrno::NOSPC => Errno::Nospc,
            HostErrno::NOSYS => Errno::Nosys,
            HostErrno::NOTCONN => Errno::Notconn,
            HostErrno::NOTDIR => Errno::Notdir,
            HostErrno::NOTEMPTY => Errno::Notempty,
            HostErrno::NOTSOCK => Errno::Notsock,
            HostErrno::NOTSUP | HostErrno::OPNOTSUPP => Errno::Notsup,
            HostErrno::NOTTY => Errno::Notty,
            HostErrno::NXIO => Errno::Nxio,
            HostErrno::OVERFLOW => Errno::Overflow,
            HostErrno::PERM => Errno::Perm,
            HostErrno::PIPE => Errno::Pipe,
            HostErrno::PROTO => Errno::Proto,
            HostErrno::PROTONOSUPPORT => Errno::Protonosupport,
            HostErrno::PROTOTYPE => Errno::Prototype,
            HostErrno::RANGE => Errno::Range,
            HostErrno::ROFS => Errno::Rofs,
            HostErrno::SPIPE => Errno::Spipe,
            HostErrno::SRCH => Errno::Srch,
            HostErrno::STALE => Errno::Stale,
            HostErrno::TIMEDOUT => Errno::Timedout,
            HostErrno::TXTBSY => Errno::Txtbsy,
            HostErrno::XDEV => Errno::Xdev,
            _ => Errno::Io,
        }
    }
}

// ---- metadata ----

fn filetype(host: rustix::fs::FileType) -> Filetype {
    use rustix::fs::FileType as Host;
    match host {
        Host::RegularFile => Filetype::RegularFile,
        Host::Directory => Filetype::Directory,
        Host::Symlink => Filetype::SymbolicLink,
        Host::CharacterDevice => Filetype::CharacterDevice,
        Host::BlockDevice => Filetype::BlockDevice,
        Host::Socket => Filetype::SocketStream,
        _ => Filetype::Unknown,
    }
}

/// Nanoseconds since the epoch; times outside of what `timestamp` can hold
/// are moved to its ends.
fn timestamp(seconds: i64, nanoseconds: u64) -> u64 {
    u64::try_from(seconds)
        .map_or(0, |seconds| seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
}

#[inline]
fn filestat(stat: &Stat) -> Filestat {
    Filestat {
        dev: stat.st_dev as u64,
        ino: stat.st_ino as u64,
        filetype: filetype(rustix::fs::FileType::from_raw_mode(stat.st_mode)),
        nlink: stat.st_nlink as u64,
        size: stat.st_size as u64,
        atim: timestamp(stat.st_atime as i64, stat.st_atime_nsec as u64),
        mtim: timestamp(stat.st_mtime as i64, stat.st_mtime_nsec as u64),
        ctim: timestamp(stat.st_ctime as i64, stat.st_ctime_nsec as u64),
    }
}

pub fn fstat(fd: BorrowedFd<'_>) -> Result<Filestat, Errno> {
    let mut stat = filestat(&rustix::fs::fstat(fd)?);
    if stat.filetype == Filetype::SocketStream
        && rustix::net::sockopt::socket_type(fd) == Ok(rustix::net::SocketType::DGRAM)
    {
        stat.filetype = Filetype::SocketDgram;
    }
    Ok(stat)
}

/// The metadata of what a single name stands for, a link being itself.
#[inline]
pub fn stat_name(dir: &File, name: &str) -> Result<Filestat, Errno> {
    Ok(filestat(&rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?))
}

/// The metadata of what a path leads to.
pub fn stat_path(dir: &File, path: &str, follow: bool) -> Result<Filestat, Errno> {
    let flags = if follow { OFlags::PATH } else { OFlags::PATH | OFlags::NOFOLLOW };
    if let Some(opened) = open_beneath(dir, path, flags) {
        return Ok(filestat(&rustix::fs::fstat(opened?)?));
    }
    let follow = if follow { FollowSymlinks::Yes } else { FollowSymlinks::No };
    let meta = cap_primitives::fs::stat(dir, Path::new(path), follow)?;
    Ok(Filestat {
        dev: meta.dev(),
        ino: meta.ino(),
        filetype: filetype(rustix::fs::FileType::from_raw_mode(meta.mode() as _)),
        nlink: meta.nlink(),
        size: meta.size(),
        atim: timestamp(meta.atime(), meta.atime_nsec() as u64),
        mtim: timestamp(meta.mtime(), meta.mtime_nsec() as u64),
        ctim: timestamp(meta.ctime(), meta.ctime_nsec() as u64),
    })
}

/// A terminal, and so neither a file nor another device.
pub fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    rustix::termios::isatty(fd)
}

// ---- opening ----

fn open_flags(fdflags: Fdflags) -> OFlags {
    let mut flags = OFlags::empty();
    for (guest, host) in [
        (Fdflags::APPEND, OFlags::APPEND),
        (Fdflags::NONBLOCK, OFlags::NONBLOCK),
        (Fdflags::DSYNC, OFlags::DSYNC),
        (Fdflags::RSYNC, OFlags::SYNC),
        (Fdflags::SYNC, OFlags::SYNC),
    ] {
        if fdflags.contains(guest) {
            flags |= host;
        }
    }
    flags
}

/// Opens a path beneath `dir`.
pub fn open(dir: &File, path: &GuestPath<'_>, spec: &OpenSpec) -> Result<File, Errno> {
    let mut flags = open_flags(spec.fdflags) | OFlags::NOCTTY;
    for (guest, host) in [
        (Oflags::CREAT, OFlags::CREATE),
        (Oflags::EXCL, OFlags::EXCL),
        (Oflags::TRUNC, OFlags::TRUNC),
        (Oflags::DIRECTORY, OFlags::DIRECTORY),
    ] {
        if spec.oflags.contains(guest) {
            flags |= host;
        }
    }
    match path.as_single_name() {
        None => open_resolved(dir, path.as_str(), spec, flags),
        Some(name) => match open_name(dir, name, spec, flags) {
            // Perhaps a link, which is for cap-std to follow.
            Err(HostErrno::LOOP | HostErrno::NOTDIR) if spec.follow => open_resolved(dir, name, spec, flags),
            opened => Ok(opened?),
        },
    }
}

/// Opens what one plain name stands for, a link being refused: there is
/// nothing to resolve, so a plain call does, a good deal faster.
fn open_name(dir: &File, name: &str, spec: &OpenSpec, flags: OFlags) -> Result<File, HostErrno> {
    let flags = flags | access(spec) | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o666))?))
}

/// Opens a path that the kernel resolves without leaving `dir`, whatever is
/// renamed or linked meanwhile. `None` where it cannot, or if it failed for
/// some other reason than that there is nothing: then cap-primitives finds out.
#[cfg(target_os = "linux")]
fn open_beneath(dir: &File, path: &str, flags: OFlags) -> Option<Result<File, Errno>> {
    use rustix::fs::ResolveFlags;
    use std::sync::atomic::{AtomicBool, Ordering};
    static UNKNOWN_HERE: AtomicBool = AtomicBool::new(false);
    if UNKNOWN_HERE.load(Ordering::Relaxed) {
        return None;
    }
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o666) } else { Mode::empty() };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(dir, path, flags | OFlags::CLOEXEC, mode, resolve) {
        Ok(file) => Some(Ok(File::from(file))),
        Err(HostErrno::NOENT) => Some(Err(Errno::Noent)),
        Err(error) => {
            if error == HostErrno::NOSYS {
                UNKNOWN_HERE.store(true, Ordering::Relaxed);
            }
            None
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn open_beneath(_: &File, _: &str, _: OFlags) -> Option<Result<File, Errno>> {
    None
}

fn access(spec: &OpenSpec) -> OFlags {
    match (spec.read, spec.write) {
        (_, false) => OFlags::RDONLY,
        (false, true) => OFlags::WRONLY,
        (true, true) => OFlags::RDWR,
    }
}

fn open_resolved(dir: &File, path: &str, spec: &OpenSpec, flags: OFlags) -> Result<File, Errno> {
    let follow = if spec.follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    if let Some(opened) = open_beneath(dir, path, flags | access(spec) | follow) {
        return opened;
    }
    let path = Path::new(path);
    let follow = if spec.follow { FollowSymlinks::Yes } else { FollowSymlinks::No };
    let mut options = OpenOptions::new();
    // The flags go in as they are: as options, cap-std would want write access
    // to create a file, which POSIX does not.
    options.read(spec.read || !spec.write).write(spec.write).custom_flags(flags.bits() as i32).follow(follow);
    match cap_primitives::fs::open(dir, path, &options) {
        Err(error)
            if spec.follow
                && spec.oflags.contains(Oflags::DIRECTORY)
                && error.raw_os_error() == Some(HostErrno::NOTDIR.raw_os_error()) =>
        {
            // Without openat2, cap-std walks by hand and takes the kernel's
            // ENOTDIR for a link as the answer unless it knows that a
            // directory is wanted.
            reopen_directory(&cap_primitives::fs::open_dir(dir, path)?)
        }
        opened => Ok(opened?),
    }
}

/// A new open file description of a directory: one that can be read even if
/// the given handle cannot, with a position of its own.
pub fn reopen_directory(dir: &File) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(dir, c".", flags, Mode::empty())?))
}

// ---- operations on open files ----

pub fn set_fdflags(fd: BorrowedFd<'_>, flags: Fdflags) -> Result<(), Errno> {
    Ok(rustix::fs::fcntl_setfl(fd, open_flags(flags))?)
}

#[inline]
pub fn seek(fd: BorrowedFd<'_>, offset: i64, whence: Whence) -> Result<u64, Errno> {
    let position = match whence {
        Whence::Set => SeekFrom::Start(u64::try_from(offset).map_err(|_| Errno::Inval)?),
        Whence::Cur => SeekFrom::Current(offset),
        Whence::End => SeekFrom::End(offset),
    };
    Ok(rustix::fs::seek(fd, position)?)
}

pub fn advise(fd: BorrowedFd<'_>, offset: u64, len: u64, advice: Advice) -> Result<(), Errno> {
    use rustix::fs::Advice as Host;
    let advice = match advice {
        Advice::Normal => Host::Normal,
        Advice::Sequential => Host::Sequential,
        Advice::Random => Host::Random,
        Advice::Willneed => Host::WillNeed,
        Advice::Dontneed => Host::DontNeed,
        Advice::Noreuse => Host::NoReuse,
    };
    Ok(rustix::fs::fadvise(fd, offset, std::num::NonZeroU64::new(len), advice)?)
}

pub fn allocate(fd: BorrowedFd<'_>, offset: u64, len: u64) -> Result<(), Errno> {
    let flags = rustix::fs::FallocateFlags::empty();
    Ok(rustix::fs::fallocate(fd, flags, offset, len)?)
}

pub fn set_size(fd: BorrowedFd<'_>, size: u64) -> Result<(), Errno> {
    Ok(rustix::fs::ftruncate(fd, size)?)
}

pub fn sync(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    Ok(rustix::fs::fsync(fd)?)
}

pub fn datasync(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    Ok(rustix::fs::fdatasync(fd)?)
}

fn host_time(time: SetTime) -> rustix::fs::Timespec {
    let (tv_sec, tv_nsec) = match time {
        SetTime::Keep => (0, rustix::fs::UTIME_OMIT as _),
        SetTime::Now => (0, rustix::fs::UTIME_NOW as _),
        SetTime::At(at) => ((at / 1_000_000_000) as _, (at % 1_000_000_000) as _),
    };
    rustix::fs::Timespec { tv_sec, tv_nsec }
}

pub fn set_times(fd: BorrowedFd<'_>, atim: SetTime, mtim: SetTime) -> Result<(), Errno> {
    let times = Timestamps { last_access: host_time(atim), last_modification: host_time(mtim) };
    Ok(rustix::fs::futimens(fd, &times)?)
}

/// The times of what a single name stands for, a link being itself.
pub fn set_times_of_name(dir: &File, name: &str, atim: SetTime, mtim: SetTime) -> Result<(), Errno> {
    let times = Timestamps { last_access: host_time(atim), last_modification: host_time(mtim) };
    Ok(rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// The target of a link that a single name stands for.
pub fn read_link_name(dir: &File, name: &str) -> Result<Vec<u8>, Errno> {
    Ok(rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes())
}

/// The bytes of a link's target, as the host stores them.
pub fn link_bytes(target: std::path::PathBuf) -> Vec<u8> {
    use std::os::unix::ffi::OsStringExt;
    target.into_os_string().into_vec()
}

// What these four do to a single name does not follow a link there.

pub fn unlink_name(dir: &File, name: &str) -> Result<(), Errno> {
    Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?)
}

pub fn remove_directory_name(dir: &File, name: &str) -> Result<(), Errno> {
    Ok(rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}

pub fn rename_name(old_dir: &File, old: &str, new_dir: &File, new: &str) -> Result<(), Errno> {
    Ok(rustix::fs::renameat(old_dir, old, new_dir, new)?)
}

pub fn link_name(old_dir: &File, old: &str, new_dir: &File, new: &str) -> Result<(), Errno> {
    Ok(rustix::fs::linkat(old_dir, old, new_dir, new, AtFlags::empty())?)
}

pub fn symlink(contents: &str, dir: &File, path: &GuestPath<'_>) -> Result<(), Errno> {
    if let Some(name) = path.as_single_name() {
        return Ok(rustix::fs::symlinkat(contents, dir, name)?);
    }
    Ok(cap_primitives::fs::symlink(Path::new(contents), dir, Path::new(path.as_str()))?)
}

/// Takes, changes or gives up the lock of an open file; `EAGAIN` if somebody
/// else's is in the way.
pub fn try_lock(fd: BorrowedFd<'_>, kind: Option<LockKind>) -> Result<(), Errno> {
    use rustix::fs::FlockOperation;
    let operation = match kind {
        None => FlockOperation::NonBlockingUnlock,
        Some(LockKind::Shared) => FlockOperation::NonBlockingLockShared,
        Some(LockKind::Exclusive) => FlockOperation::NonBlockingLockExclusive,
    };
    Ok(rustix::fs::flock(fd, operation)?)
}

// ---- watching ----

// By rustix, which is here anyway. The crates made for watching (`notify` and
// the like) take a path of the host and walk it themselves, which would go
// around the gate; here a descriptor is watched that passed it. And they queue
// what happened without bound in a thread of theirs, where the kernel's queue
// is bounded, says when it overflowed, and can be polled with everything else.

/// Starts watching an open file or directory. The host's call wants a path:
/// the one that stands for the descriptor, so that it is this very file.
#[cfg(target_os = "linux")]
pub fn watch(fd: BorrowedFd<'_>, events: WatchEvents) -> Result<OwnedFd, Errno> {
    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
    use std::os::fd::AsRawFd;
    let mut mask = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
    for (wanted, flags) in [
        (WatchEvents::CREATED, WatchFlags::CREATE | WatchFlags::MOVED_TO),
        (WatchEvents::REMOVED, WatchFlags::DELETE | WatchFlags::MOVED_FROM),
        (WatchEvents::MODIFIED, WatchFlags::MODIFY),
        (WatchEvents::METADATA, WatchFlags::ATTRIB),
    ] {
        if events.contains(wanted) {
            mask |= flags;
        }
    }
    let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    match inotify::add_watch(&queue, path, mask) {
        Ok(_) => Ok(queue),
        Err(HostErrno::NOENT) => Err(Errno::Notsup), // no /proc here
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
pub fn watch(_: BorrowedFd<'_>, _: WatchEvents) -> Result<OwnedFd, Errno> {
    Err(Errno::Notsup)
}

/// Hands out what happened, if anything.
#[cfg(target_os = "linux")]
pub fn read_watch(fd: BorrowedFd<'_>, mut emit: impl FnMut(WatchEvents, &[u8])) -> Result<(), Errno> {
    use rustix::fs::inotify::{ReadFlags, Reader};
    let mut buffer: Vec<u8> = Vec::with_capacity(4096);
    let mut reader = Reader::new(fd, buffer.spare_capacity_mut());
    loop {
        let event = match reader.next() {
            Err(HostErrno::AGAIN | HostErrno::INTR) => return Ok(()),
            event => event?,
        };
        let mut events = WatchEvents::empty();
        for (flags, told) in [
            (ReadFlags::CREATE | ReadFlags::MOVED_TO, WatchEvents::CREATED),
            (ReadFlags::DELETE | ReadFlags::MOVED_FROM, WatchEvents::REMOVED),
            (ReadFlags::MODIFY, WatchEvents::MODIFIED),
            (ReadFlags::ATTRIB, WatchEvents::METADATA),
            (ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT, WatchEvents::GONE),
            (ReadFlags::QUEUE_OVERFLOW, WatchEvents::OVERFLOW),
        ] {
            events.set(told, event.events().intersects(flags));
        }
        if !events.is_empty() {
            emit(events, event.file_name().map_or(b"", |name| name.to_bytes()));
        }
        if reader.is_buffer_empty() {
            return Ok(());
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub fn read_watch(_: BorrowedFd<'_>, _: impl FnMut(WatchEvents, &[u8])) -> Result<(), Errno> {
    Ok(())
}

// ---- directories ----

/// Reads a directory in the host's own batches and puts the entries, encoded
/// as the guest will get them, at the end of `into`. Returns whether there
/// were any. Positions are the kernel's: they survive changes to the directory
/// as POSIX wants of `telldir`. The inode of the parent, which may lie outside
/// of what the guest can reach, is not told: it gets `inode`. (Not 0, for then
/// wasi-libc's `scandir` would ask for it, and fail.)
pub fn read_directory(dir: &File, inode: u64, into: &mut Vec<u8>) -> Result<bool, Errno> {
    const BATCH: usize = 32 * 1024;
    let mut buffer: Vec<u8> = Vec::with_capacity(BATCH);
    let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
    let mut any = false;
    loop {
        let entry = match entries.next() {
            None => return Ok(any),
            Some(Err(HostErrno::NOENT)) => return Ok(any), // removed while open
            Some(entry) => entry?,
        };
        let name = entry.file_name().to_bytes();
        let dirent = Dirent {
            next: entry.next_entry_cookie(),
            ino: if name == b".." { inode } else { entry.ino() },
            namlen: u32::try_from(name.len()).map_err(|_| Errno::Overflow)?,
            filetype: filetype(entry.file_type()),
        };
        into.extend_from_slice(&dirent.encode());
        into.extend_from_slice(name);
        any = true;
        if entries.is_buffer_empty() {
            return Ok(true);
        }
    }
}

/// Moves a directory to a position it reported, or to the start.
pub fn seek_directory(dir: &File, position: u64) -> Result<(), Errno> {
    rustix::fs::seek(dir, SeekFrom::Start(position))?;
    Ok(())
}

// ---- sockets ----

pub fn accept(fd: BorrowedFd<'_>, nonblock: bool) -> Result<OwnedFd, Errno> {
    use rustix::net::SocketFlags;
    let mut flags = SocketFlags::CLOEXEC;
    if nonblock {
        flags |= SocketFlags::NONBLOCK;
    }
    Ok(rustix::net::accept_with(fd, flags)?)
}

pub fn shutdown(fd: BorrowedFd<'_>, read: bool, write: bool) -> Result<(), Errno> {
    use rustix::net::Shutdown;
    let how = match (read, write) {
        (true, true) => Shutdown::Both,
        (true, false) => Shutdown::Read,
        (false, true) => Shutdown::Write,
        (false, false) => return Err(Errno::Inval),
    };
    Ok(rustix::net::shutdown(fd, how)?)
}

pub fn is_listening(fd: BorrowedFd<'_>) -> bool {
    rustix::net::sockopt::socket_acceptconn(fd).unwrap_or(false)
}

// ---- waiting ----

/// Bytes that a read would get at once, as far as the host can tell.
pub fn readable_bytes(fd: BorrowedFd<'_>) -> u64 {
    rustix::io::ioctl_fionread(fd).unwrap_or(0)
}

/// Waits until one of the descriptors is ready or the time is over. A signal
/// ends the wait early with nothing ready.
pub fn wait(
    interests: &[(BorrowedFd<'_>, Interest)],
    timeout: Option<Duration>,
    found: &mut Vec<Readiness>,
) -> Result<(), Errno> {
    let mut set: Vec<PollFd<'_>> = vec_for(interests.len())?;
    set.extend(interests.iter().map(|(fd, interest)| {
        let flags = match interest {
            Interest::Read => PollFlags::IN,
            Interest::Write => PollFlags::OUT,
        };
        PollFd::from_borrowed_fd(*fd, flags)
    }));
    let timeout = timeout.map(|duration| Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX) as _,
        tv_nsec: duration.subsec_nanos() as _,
    });
    match rustix::event::poll(&mut set, timeout.as_ref()) {
        Ok(_) | Err(HostErrno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    found.clear();
    found.try_reserve(set.len()).map_err(|_| Errno::Nomem)?;
    found.extend(set.iter().map(|entry| {
        let events = entry.revents();
        Readiness {
            ready: !events.is_empty(),
            hangup: events.intersects(PollFlags::HUP | PollFlags::ERR),
            invalid: events.contains(PollFlags::NVAL),
        }
    }));
    Ok(())
}

/// Finds out whether a named pipe, open for reading, has a writer, without
/// taking anything out of it.
pub struct WriterProbe {
    #[cfg(target_os = "linux")]
    scratch: (OwnedFd, OwnedFd),
}

#[cfg(target_os = "linux")]
impl WriterProbe {
    pub fn new() -> Result<WriterProbe, Errno> {
        let scratch = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        Ok(WriterProbe { scratch })
    }

    pub fn has_writer(&self, pipe: BorrowedFd<'_>) -> Result<bool, Errno> {
        // Copying a byte would have to wait: there is a writer. There is none
        // to wait for: nobody writes.
        let nonblock = rustix::pipe::SpliceFlags::NONBLOCK;
        match rustix::pipe::tee(pipe, &self.scratch.1, 1, nonblock) {
            Ok(copied) => Ok(copied > 0),
            Err(HostErrno::AGAIN) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

/// Elsewhere a writer is noticed when it writes or goes.
#[cfg(not(target_os = "linux"))]
impl WriterProbe {
    pub fn new() -> Result<WriterProbe, Errno> {
        Ok(WriterProbe {})
    }

    pub fn has_writer(&self, _: BorrowedFd<'_>) -> Result<bool, Errno> {
        Ok(false)
    }
}

/// Something that another thread can make readable, once and for good.
pub struct Event(OwnedFd);

impl Event {
    pub fn new() -> Result<Event, Errno> {
        Ok(Event(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub fn set(&self) {
        // It can fail only when it is set already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    pub fn clear(&self) {
        // It can fail only when it is not set.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }

    pub fn handle(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

// ---- clocks ----

fn clock(id: Clockid) -> rustix::time::ClockId {
    match id {
        Clockid::Realtime => rustix::time::ClockId::Realtime,
        Clockid::Monotonic => rustix::time::ClockId::Monotonic,
        Clockid::ProcessCputimeId => rustix::time::ClockId::ProcessCPUTime,
        Clockid::ThreadCputimeId => rustix::time::ClockId::ThreadCPUTime,
    }
}

#[inline]
pub fn clock_time(id: Clockid) -> u64 {
    let now = rustix::time::clock_gettime(clock(id));
    timestamp(now.tv_sec as i64, now.tv_nsec as u64)
}

/// Asked of the host once: it does not change.
pub fn clock_resolution(id: Clockid) -> u64 {
    static KNOWN: [OnceLock<u64>; 4] = [const { OnceLock::new() }; 4];
    let ask = || {
        let resolution = rustix::time::clock_getres(clock(id));
        timestamp(resolution.tv_sec as i64, resolution.tv_nsec as u64)
    };
    KNOWN.get(id as usize).map_or_else(ask, |known| *known.get_or_init(ask))
}

/// Standard input, output or error of this process, as a handle of our own.
pub fn inherit_stdio(number: u32) -> Result<OwnedFd, Errno> {
    let cloned = match number {
        0 => io::stdin().as_fd().try_clone_to_owned(),
        1 => io::stdout().as_fd().try_clone_to_owned(),
        2 => io::stderr().as_fd().try_clone_to_owned(),
        _ => return Err(Errno::Badf),
    };
    Ok(cloned?)
}
