//! Listing directories.

use std::fs::File;
use std::os::windows::io::AsHandle;

use super::stat::filetype;
use crate::errno::Errno;
use crate::types::DirEntry;

/// Hands out all entries from the position `from` on, at once. Positions are the numbers of entries before them. Who
/// reads on has what was there at the beginning, whatever is removed meanwhile. The inode of the parent is not told:
/// it gets `inode`, which is the directory's.
pub fn read_directory(
    dir: &File,
    from: u64,
    inode: u64,
    mut emit: impl FnMut(DirEntry<'_>) -> Result<(), Errno>,
) -> Result<bool, Errno> {
    let mut next = 0;
    let mut name = String::new();
    windows_calls::list(dir.as_handle(), |entry| -> Result<(), Errno> {
        next += 1;
        if next <= from {
            return Ok(());
        }
        name.clear();
        // A name has 32,767 units at most. What is no text has no name that a guest could say.
        name.extend(char::decode_utf16(entry.name.iter().copied()).map(|c| c.unwrap_or('\u{fffd}')));
        emit(DirEntry {
            next,
            ino: if name == ".." { inode } else { entry.index },
            filetype: filetype(entry.attributes, entry.reparse_tag),
            name: name.as_bytes(),
        })
    })?;
    Ok(next > from)
}

/// The listing itself says where it is to go on.
pub fn seek_directory(_: &File, _: u64) -> Result<(), Errno> {
    Ok(())
}
