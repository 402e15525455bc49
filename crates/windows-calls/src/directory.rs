//! Listing an open directory.

use crate::result;
use std::io;
use std::mem::offset_of;
use std::os::windows::io::{AsRawHandle, BorrowedHandle};
use std::ptr;
use windows_sys::Win32::Foundation::ERROR_NO_MORE_FILES;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ID_BOTH_DIR_INFO, FileIdBothDirectoryInfo, FileIdBothDirectoryRestartInfo,
    GetFileInformationByHandleEx,
};

/// An entry of a directory.
pub struct Listed<'a> {
    pub name: &'a [u16],
    pub index: u64,
    pub attributes: u32,
    /// What kind of link it is, if it is one; else 0.
    pub reparse_tag: u32,
}

const WORDS: usize = 8 << 10;
const ATTRIBUTE_REPARSE_POINT: u32 = 0x400;

/// Hands out all entries, from the first one on.
pub fn list<E: From<io::Error>>(
    directory: BorrowedHandle<'_>,
    mut emit: impl FnMut(Listed<'_>) -> Result<(), E>,
) -> Result<(), E> {
    // Entries are aligned for their 64-bit fields.
    let mut buffer: Vec<u64> = Vec::new();
    buffer.try_reserve_exact(WORDS).map_err(io::Error::from)?;
    buffer.resize(WORDS, 0);
    let len = size_of_val(buffer.as_slice());
    let mut class = FileIdBothDirectoryRestartInfo;
    loop {
        let place = buffer.as_mut_ptr().cast();
        // SAFETY: the handle is open, and the buffer has so many bytes.
        let read =
            unsafe { GetFileInformationByHandleEx(directory.as_raw_handle(), class, place, len as u32) };
        if let Err(error) = result(read) {
            return match error.raw_os_error() {
                Some(code) if code == ERROR_NO_MORE_FILES as i32 => Ok(()),
                _ => Err(error.into()),
            };
        }
        class = FileIdBothDirectoryInfo;
        let mut at = 0;
        loop {
            const NAME: usize = offset_of!(FILE_ID_BOTH_DIR_INFO, FileName);
            if at + size_of::<FILE_ID_BOTH_DIR_INFO>() > len {
                return Err(io::Error::from(io::ErrorKind::InvalidData).into());
            }
            let start = buffer.as_ptr().cast::<u8>().wrapping_add(at);
            // SAFETY: an entry begins here, and all of its fields lie in the buffer.
            let entry = unsafe { ptr::read_unaligned(start.cast::<FILE_ID_BOTH_DIR_INFO>()) };
            let bytes = entry.FileNameLength as usize;
            if at + NAME + bytes > len {
                return Err(io::Error::from(io::ErrorKind::InvalidData).into());
            }
            // SAFETY: so many bytes lie in the buffer, at an address that is aligned as the entry is.
            let name = unsafe { std::slice::from_raw_parts(start.add(NAME).cast::<u16>(), bytes / 2) };
            let is_link = entry.FileAttributes & ATTRIBUTE_REPARSE_POINT != 0;
            emit(Listed {
                name,
                index: entry.FileId as u64,
                attributes: entry.FileAttributes,
                reparse_tag: if is_link { entry.EaSize } else { 0 },
            })?;
            match entry.NextEntryOffset as usize {
                0 => break,
                next => at += next,
            }
        }
    }
}
