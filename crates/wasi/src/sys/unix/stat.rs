//! Metadata.

// The widths of the fields of `stat` differ among Unixes.
#![allow(clippy::unnecessary_cast)]

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::Path;

use cap_primitives::fs::{FollowSymlinks, MetadataExt};
use rustix::fs::{AtFlags, Stat};

use crate::errno::Errno;
use crate::types::{Filestat, Filetype, Timestamp};

#[inline]
pub(super) fn filetype(host: rustix::fs::FileType) -> Filetype {
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

#[inline]
fn filestat(stat: &Stat) -> Filestat {
    Filestat {
        dev: stat.st_dev as u64,
        ino: stat.st_ino as u64,
        filetype: filetype(rustix::fs::FileType::from_raw_mode(stat.st_mode)),
        nlink: stat.st_nlink as u64,
        size: stat.st_size as u64,
        atim: Timestamp::from_parts(stat.st_atime as i64, stat.st_atime_nsec as u64),
        mtim: Timestamp::from_parts(stat.st_mtime as i64, stat.st_mtime_nsec as u64),
        ctim: Timestamp::from_parts(stat.st_ctime as i64, stat.st_ctime_nsec as u64),
    }
}

#[inline]
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
    if let Some(found) = stat_beneath(dir, path, follow) {
        return found;
    }
    let follow = if follow { FollowSymlinks::Yes } else { FollowSymlinks::No };
    let meta = cap_primitives::fs::stat(dir, Path::new(path), follow)?;
    Ok(Filestat {
        dev: meta.dev(),
        ino: meta.ino(),
        filetype: filetype(rustix::fs::FileType::from_raw_mode(meta.mode() as _)),
        nlink: meta.nlink(),
        size: meta.size(),
        atim: Timestamp::from_parts(meta.atime(), meta.atime_nsec() as u64),
        mtim: Timestamp::from_parts(meta.mtime(), meta.mtime_nsec() as u64),
        ctim: Timestamp::from_parts(meta.ctime(), meta.ctime_nsec() as u64),
    })
}

/// The same in one step, where the kernel can.
#[cfg(target_os = "linux")]
fn stat_beneath(dir: &File, path: &str, follow: bool) -> Option<Result<Filestat, Errno>> {
    use rustix::fs::OFlags;
    let flags = if follow { OFlags::PATH } else { OFlags::PATH | OFlags::NOFOLLOW };
    let opened = super::open::open_beneath(dir, path, flags)?;
    Some(opened.and_then(|file| Ok(filestat(&rustix::fs::fstat(file)?))))
}

#[cfg(not(target_os = "linux"))]
fn stat_beneath(_: &File, _: &str, _: bool) -> Option<Result<Filestat, Errno>> {
    None
}

/// A terminal, and so neither a file nor another device.
pub fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    rustix::termios::isatty(fd)
}
