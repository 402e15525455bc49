//! Files and directories that only this user can write to.

use crate::sys::FileState;
use std::ffi::CString;
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

fn user() -> u32 {
    // SAFETY: a query without arguments.
    unsafe { libc::geteuid() }
}

fn refused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

/// Rejects files that belong to another user or that others may write to.
fn check(metadata: &Metadata) -> io::Result<()> {
    const OTHERS_WRITE: u32 = 0o022;
    if metadata.uid() != user() {
        return Err(refused("it is another user's"));
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Err(refused("others can write to it"));
    }
    Ok(())
}

/// Rejects links, and directories that are not private to this user.
pub fn check_private_directory(path: &Path) -> io::Result<()> {
    let metadata = path.symlink_metadata()?;
    if !metadata.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    check(&metadata)
}

/// Creates a directory that is private to this user, if it does not exist. Its parent must belong to the user
/// or the system: a program running as another user must not create files in a home that is not its own.
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    const SYSTEM: u32 = 0;
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        let owner = parent.metadata()?.uid();
        if owner != user() && owner != SYSTEM {
            return Err(refused("it would be in another user's directory"));
        }
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Whether this user may create files in a directory, on a file system that can be written.
pub fn can_write(directory: &Path) -> bool {
    let Ok(path) = CString::new(directory.as_os_str().as_bytes()) else { return false };
    // SAFETY: the path is NUL-terminated.
    unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::W_OK, libc::AT_EACCESS) == 0 }
}

/// Opens a file for reading. If it is a pipe, this does not wait for a writer.
pub fn open_without_waiting(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// Opens a file for reading, if it is private to this user and not a link.
pub fn open_private_file(path: &Path) -> io::Result<(File, Metadata)> {
    // Without O_NONBLOCK opening a pipe would block.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    checked(file)
}

fn checked(file: File) -> io::Result<(File, Metadata)> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(refused("it is no file"));
    }
    check(&metadata)?;
    Ok((file, metadata))
}

/// Opens a file that is written at its end, or creates it, and how it was. Otherwise as [`open_private_file`].
pub fn append_private_file(path: &Path) -> io::Result<(File, Metadata)> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    checked(options.open(path)?)
}

/// Creates a new file that is private to this user.
pub fn create_private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// A new file without a name in a directory. It is gone when nobody has it open, unless [`name_file`] names it.
#[cfg(target_os = "linux")]
pub fn unnamed_file(directory: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(directory)
}

/// Gives a file of [`unnamed_file`] a name that nothing has.
#[cfg(target_os = "linux")]
pub fn name_file(file: &File, path: &Path) -> io::Result<()> {
    let own = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let (here, flags) = (libc::AT_FDCWD, libc::AT_SYMLINK_FOLLOW);
    // SAFETY: both paths are NUL-terminated.
    match unsafe { libc::linkat(here, own.as_ptr(), here, path.as_ptr(), flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(not(target_os = "linux"))]
pub fn unnamed_file(_: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
pub fn name_file(_: &File, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

impl FileState {
    pub fn of(file: &File) -> io::Result<FileState> {
        let metadata = file.metadata()?;
        let nanos = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Ok(FileState {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: nanos(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanos(metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}
