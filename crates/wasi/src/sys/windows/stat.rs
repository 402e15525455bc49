//! Metadata.

use std::fs::File;
use std::os::windows::io::AsHandle;
use std::path::Path;

use cap_fs_ext::OpenOptionsFollowExt;
use cap_primitives::fs::{FollowSymlinks, OpenOptions, OpenOptionsExt};
use windows_calls::Kind;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_DIRECTORY, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES,
};

use crate::errno::Errno;
use crate::sys::BorrowedHandle;
use crate::types::{Filestat, Filetype, Timestamp};

/// The tags of symbolic links, and of directories that stand for another place.
const LINKS: [u32; 2] = [0xa000_000c, 0xa000_0003];

pub(super) fn filetype(attributes: u32, reparse_tag: u32) -> Filetype {
    if LINKS.contains(&reparse_tag) {
        Filetype::SymbolicLink
    } else if attributes & FILE_ATTRIBUTE_DIRECTORY != 0 {
        Filetype::Directory
    } else {
        Filetype::RegularFile
    }
}

pub(super) fn is_on_disk(handle: BorrowedHandle<'_>) -> bool {
    windows_calls::kind(handle) == Kind::Disk
}

/// Of the system's time, which counts steps of 100 ns since 1601.
fn timestamp(time: i64) -> Timestamp {
    const EPOCH: i64 = 116_444_736_000_000_000;
    let steps = u64::try_from(time.saturating_sub(EPOCH)).unwrap_or(0);
    Timestamp::from_nanos(steps.saturating_mul(100))
}

pub fn fstat(handle: BorrowedHandle<'_>) -> Result<Filestat, Errno> {
    let of_type = |filetype| Filestat {
        dev: 0,
        ino: 0,
        filetype,
        nlink: 1,
        size: 0,
        atim: Timestamp::default(),
        mtim: Timestamp::default(),
        ctim: Timestamp::default(),
    };
    match windows_calls::kind(handle) {
        Kind::Disk => {}
        Kind::Character => return Ok(of_type(Filetype::CharacterDevice)),
        // WASI has no word for a pipe.
        Kind::Pipe | Kind::Other => return Ok(of_type(Filetype::Unknown)),
    }
    let (identity, times) = (windows_calls::identity(handle)?, windows_calls::times_of_file(handle)?);
    Ok(Filestat {
        dev: u64::from(identity.volume),
        ino: identity.index,
        filetype: filetype(identity.attributes, identity.reparse_tag),
        nlink: u64::from(identity.links),
        size: identity.size,
        atim: timestamp(times.accessed),
        mtim: timestamp(times.written),
        ctim: timestamp(times.changed),
    })
}

/// The metadata of what a single name stands for, a link being itself.
pub fn stat_name(dir: &File, name: &str) -> Result<Filestat, Errno> {
    stat_path(dir, name, false)
}

/// The metadata of what a path leads to: it is opened, only to be asked.
pub fn stat_path(dir: &File, path: &str, follow: bool) -> Result<Filestat, Errno> {
    let (follow, flags) = match follow {
        true => (FollowSymlinks::Yes, FILE_FLAG_BACKUP_SEMANTICS),
        false => (FollowSymlinks::No, FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT),
    };
    let mut options = OpenOptions::new();
    options.access_mode(FILE_READ_ATTRIBUTES).custom_flags(flags).follow(follow);
    fstat(cap_primitives::fs::open(dir, Path::new(path), &options)?.as_handle())
}

/// A terminal, and so neither a file nor another device.
pub fn is_terminal(handle: BorrowedHandle<'_>) -> bool {
    windows_calls::is_console(handle)
}
