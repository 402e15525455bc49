//! Setting times.

use std::fs::{File, FileTimes};
use std::os::windows::io::AsHandle;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cap_fs_ext::OpenOptionsFollowExt;
use cap_primitives::fs::{FollowSymlinks, OpenOptions, OpenOptionsExt};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_WRITE_ATTRIBUTES,
};

use super::file::file;
use crate::errno::Errno;
use crate::sys::BorrowedHandle;
use crate::types::SetTime;

fn host_time(time: SetTime) -> Result<Option<SystemTime>, Errno> {
    Ok(match time {
        SetTime::Keep => None,
        SetTime::Now => Some(SystemTime::now()),
        SetTime::At(at) => {
            let since = Duration::from_nanos(at.as_nanos());
            Some(UNIX_EPOCH.checked_add(since).ok_or(Errno::Inval)?)
        }
    })
}

/// A handle that is only good for reading has its file opened once more.
pub fn set_times(handle: BorrowedHandle<'_>, atim: SetTime, mtim: SetTime) -> Result<(), Errno> {
    let mut times = FileTimes::new();
    if let Some(time) = host_time(atim)? {
        times = times.set_accessed(time);
    }
    if let Some(time) = host_time(mtim)? {
        times = times.set_modified(time);
    }
    match file(handle)?.set_times(times).map_err(Errno::from) {
        Err(Errno::Acces) => {
            let flags = FILE_FLAG_BACKUP_SEMANTICS;
            Ok(windows_calls::reopen(handle, FILE_WRITE_ATTRIBUTES, flags)?.set_times(times)?)
        }
        done => done,
    }
}

/// The times of what a single name stands for, a link being itself.
pub fn set_times_of_name(dir: &File, name: &str, atim: SetTime, mtim: SetTime) -> Result<(), Errno> {
    let mut options = OpenOptions::new();
    options
        .access_mode(FILE_WRITE_ATTRIBUTES)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
        .follow(FollowSymlinks::No);
    let named = cap_primitives::fs::open(dir, Path::new(name), &options)?;
    set_times(named.as_handle(), atim, mtim)
}
