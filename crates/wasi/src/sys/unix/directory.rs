//! Listing directories, by Linux's own batches.

use std::fs::File;

use rustix::fs::{RawDir, SeekFrom};
use rustix::io::Errno as HostErrno;

use super::stat::filetype;
use crate::errno::Errno;
use crate::types::DirEntry;

/// Reads a directory in the host's own batches and hands out the entries. Returns whether there
/// were any. Positions are the kernel's: they survive changes to the directory
/// as POSIX wants of `telldir`. The inode of the parent, which may lie outside
/// of what the guest can reach, is not told: it gets `inode`. (Not 0, for then
/// wasi-libc's `scandir` would ask for it, and fail.)
pub fn read_directory(
    dir: &File,
    _: u64,
    inode: u64,
    mut emit: impl FnMut(DirEntry<'_>) -> Result<(), Errno>,
) -> Result<bool, Errno> {
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
        emit(DirEntry {
            next: entry.next_entry_cookie(),
            ino: if name == b".." { inode } else { entry.ino() },
            filetype: filetype(entry.file_type()),
            name,
        })?;
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
