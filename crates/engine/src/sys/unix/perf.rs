//! What Linux's `perf` wants of a process that makes code: where the files are, and a mapping that names them.
//!
//! Used by `debug/perf.rs`. Invariant: a file in a directory that others write to is this user's own, and no link.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Opens a file to append to, also if somebody in this process (V8) is writing to it: whose descriptor then appends,
/// too.
pub fn open_shared_log(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    let metadata = file.metadata()?;
    // SAFETY: a query without arguments.
    if metadata.uid() != unsafe { libc::geteuid() } {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is another user's"));
    }
    let same = |fd: i32| {
        fs::metadata(format!("/proc/self/fd/{fd}"))
            .is_ok_and(|other| (other.dev(), other.ino()) == (metadata.dev(), metadata.ino()))
    };
    let descriptors = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers = descriptors.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for fd in numbers.filter(|fd| *fd != file.as_raw_fd() && same(*fd)) {
        // SAFETY: calls without pointers. That the descriptor appends changes nothing for who only ever writes.
        unsafe {
            let flags = libc::fcntl(fd, libc::F_GETFL);
            if flags >= 0 {
                libc::fcntl(fd, libc::F_SETFL, flags | libc::O_APPEND);
            }
        }
    }
    Ok(file)
}

/// Maps the file so that `perf`, which notes such mappings, finds it. The mapping stays.
pub fn name_for_perf(file: &File) -> io::Result<()> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE);
    // SAFETY: a new mapping of a file, whose address nobody uses.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), 1, protection, flags, file.as_raw_fd(), 0) };
    if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The clock of `perf record -k mono`, in nanoseconds.
pub fn monotonic_nanoseconds() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is written to our variable. This clock exists everywhere.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The number that `perf` knows this thread by.
pub fn thread_id() -> u32 {
    #[cfg(target_os = "linux")]
    // SAFETY: a query without arguments.
    return unsafe { libc::gettid() } as u32;
    #[cfg(not(target_os = "linux"))]
    return std::process::id();
}
