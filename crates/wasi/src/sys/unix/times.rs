//! Setting times.

use std::fs::File;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Timestamps};

use crate::errno::Errno;
use crate::types::SetTime;

fn host_time(time: SetTime) -> rustix::fs::Timespec {
    let (tv_sec, tv_nsec) = match time {
        SetTime::Keep => (0, rustix::fs::UTIME_OMIT as _),
        SetTime::Now => (0, rustix::fs::UTIME_NOW as _),
        SetTime::At(at) => {
            let at = at.as_nanos();
            ((at / 1_000_000_000) as _, (at % 1_000_000_000) as _)
        }
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
