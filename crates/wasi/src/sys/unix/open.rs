//! Opening: by the kernel beneath a directory, of one plain name, or by cap-primitives.

use std::fs::File;
use std::path::Path;

use cap_fs_ext::OpenOptionsFollowExt;
use cap_primitives::fs::{FollowSymlinks, OpenOptions, OpenOptionsExt};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno as HostErrno;

use crate::errno::Errno;
use crate::fs::path::GuestPath;
use crate::sys::OpenSpec;
use crate::types::{Fdflags, Oflags};

pub(super) fn open_flags(fdflags: Fdflags) -> OFlags {
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
pub(super) fn open_beneath(dir: &File, path: &str, flags: OFlags) -> Option<Result<File, Errno>> {
    use rustix::fs::ResolveFlags;
    use std::sync::atomic::{AtomicBool, Ordering};
    // A property of the kernel, and so the process's.
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
pub(super) fn open_beneath(_: &File, _: &str, _: OFlags) -> Option<Result<File, Errno>> {
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

/// The directory as a guest is to have it. The host may have opened it only for lookups, which would make `fd_sync` and
/// the like fail. If it cannot be read, so be it.
pub fn hold_directory(dir: File) -> Result<File, Errno> {
    Ok(reopen_directory(&dir).unwrap_or(dir))
}

/// A new open file description of a directory: one that can be read even if
/// the given handle cannot, with a position of its own.
pub fn reopen_directory(dir: &File) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(dir, c".", flags, Mode::empty())?))
}
