//! What an open handle is.

use crate::result;
use std::fs::File;
use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle};
use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_ATTRIBUTE_TAG_INFO, FILE_BASIC_INFO, FILE_SHARE_READ, FILE_SHARE_WRITE,
    FILE_TYPE_CHAR, FILE_TYPE_DISK, FILE_TYPE_PIPE, FileAttributeTagInfo, FileBasicInfo,
    GetFileInformationByHandle, GetFileInformationByHandleEx, GetFileType, GetFinalPathNameByHandleW,
    ReOpenFile,
};
use windows_sys::Win32::System::Console::GetConsoleMode;

/// What kind of thing a handle stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file or directory.
    Disk,
    /// A console or another device for characters.
    Character,
    /// A pipe or a socket.
    Pipe,
    Other,
}

pub fn kind(handle: BorrowedHandle<'_>) -> Kind {
    // SAFETY: the handle is open.
    match unsafe { GetFileType(handle.as_raw_handle()) } {
        FILE_TYPE_DISK => Kind::Disk,
        FILE_TYPE_CHAR => Kind::Character,
        FILE_TYPE_PIPE => Kind::Pipe,
        _ => Kind::Other,
    }
}

pub fn is_console(handle: BorrowedHandle<'_>) -> bool {
    let mut mode = 0;
    // SAFETY: the handle is open, and the mode is written to our variable.
    unsafe { GetConsoleMode(handle.as_raw_handle(), &mut mode) != 0 }
}

/// What a file or directory is.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    pub volume: u32,
    pub index: u64,
    pub links: u32,
    pub size: u64,
    pub attributes: u32,
    /// What kind of link it is, if it is one that was not followed; else 0.
    pub reparse_tag: u32,
}

pub fn identity(handle: BorrowedHandle<'_>) -> io::Result<Identity> {
    let mut found = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open, and the information is written to our variable.
    result(unsafe { GetFileInformationByHandle(handle.as_raw_handle(), &mut found) })?;
    let mut tag = FILE_ATTRIBUTE_TAG_INFO::default();
    let len = size_of::<FILE_ATTRIBUTE_TAG_INFO>() as u32;
    let place = (&raw mut tag).cast();
    // SAFETY: as above, of which there are so many bytes.
    unsafe { GetFileInformationByHandleEx(handle.as_raw_handle(), FileAttributeTagInfo, place, len) };
    let join = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    Ok(Identity {
        volume: found.dwVolumeSerialNumber,
        index: join(found.nFileIndexHigh, found.nFileIndexLow),
        links: found.nNumberOfLinks,
        size: join(found.nFileSizeHigh, found.nFileSizeLow),
        attributes: found.dwFileAttributes,
        reparse_tag: tag.ReparseTag,
    })
}

/// Times in steps of 100 ns since 1601.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub accessed: i64,
    pub written: i64,
    pub changed: i64,
}

pub fn times_of_file(handle: BorrowedHandle<'_>) -> io::Result<Times> {
    let mut found = FILE_BASIC_INFO::default();
    let len = size_of::<FILE_BASIC_INFO>() as u32;
    let place = (&raw mut found).cast();
    // SAFETY: the handle is open, and the information is written to our variable, of which there are so many bytes.
    result(unsafe { GetFileInformationByHandleEx(handle.as_raw_handle(), FileBasicInfo, place, len) })?;
    Ok(Times { accessed: found.LastAccessTime, written: found.LastWriteTime, changed: found.ChangeTime })
}

/// The path of what is open, as the system has it now. `None` if it has none that is text.
pub fn path(handle: BorrowedHandle<'_>) -> Option<String> {
    let mut path: Vec<u16> = vec![0; 512];
    loop {
        // SAFETY: the handle is open, and there is room for so many units.
        let len = unsafe {
            GetFinalPathNameByHandleW(handle.as_raw_handle(), path.as_mut_ptr(), path.len() as u32, 0)
        } as usize;
        match path.get(..len) {
            None => path.resize(len + 1, 0),
            Some([]) => return None,
            // If it did not fit, the length counts the zero at the end, too.
            Some(path) => {
                let path = String::from_utf16(path).ok()?;
                return Some(match path.strip_prefix(r"\\?\UNC\") {
                    Some(share) => format!(r"\\{share}"),
                    None => path.strip_prefix(r"\\?\").unwrap_or(&path).to_string(),
                });
            }
        }
    }
}

/// Opens once more what a handle stands for, with a position of its own. Until it is closed nobody can remove or rename
/// what is open, unless they have the right to delete already.
pub fn reopen(handle: BorrowedHandle<'_>, access: u32, flags: u32) -> io::Result<File> {
    // SAFETY: the handle is open.
    let opened =
        unsafe { ReOpenFile(handle.as_raw_handle(), access, FILE_SHARE_READ | FILE_SHARE_WRITE, flags) };
    if opened == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle is new and ours.
    Ok(unsafe { File::from_raw_handle(opened) })
}
