//! Opening, by cap-primitives.

use std::fs::File;
use std::os::windows::io::AsHandle;
use std::path::Path;

use cap_fs_ext::{OpenOptionsFollowExt, OpenOptionsMaybeDirExt};
use cap_primitives::fs::{FollowSymlinks, OpenOptions, OpenOptionsExt};
use windows_sys::Win32::Foundation::GENERIC_READ;
use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_WRITE_THROUGH};

use super::stat::stat_path;
use crate::errno::Errno;
use crate::fs::path::GuestPath;
use crate::sys::OpenSpec;
use crate::types::{Fdflags, Filetype, Oflags};

/// Opens a path beneath `dir`.
pub fn open(dir: &File, path: &GuestPath<'_>, spec: &OpenSpec) -> Result<File, Errno> {
    let path = path.as_str();
    let has = |flag| spec.oflags.contains(flag);
    let (create, truncate) = (has(Oflags::CREAT), has(Oflags::TRUNC));
    let wants_directory = has(Oflags::DIRECTORY);
    // Windows makes and empties files for those alone who may write to them. What the guest may is looked at above.
    let write = spec.write || create || truncate;
    let mut options = OpenOptions::new();
    options
        .read(spec.read || !spec.write)
        .write(write && !wants_directory)
        .truncate(truncate && !wants_directory)
        .maybe_dir(true)
        .follow(if spec.follow { FollowSymlinks::Yes } else { FollowSymlinks::No });
    if create && !wants_directory {
        match has(Oflags::EXCL) {
            true => options.create_new(true),
            false => options.create(true),
        };
    }
    if spec.fdflags.intersects(Fdflags::DSYNC | Fdflags::RSYNC | Fdflags::SYNC) {
        options.custom_flags(FILE_FLAG_WRITE_THROUGH);
    }
    let opened = match cap_primitives::fs::open(dir, Path::new(path), &options).map_err(Errno::from) {
        Err(errno @ (Errno::Acces | Errno::Inval | Errno::Exist | Errno::Isdir | Errno::Notcapable))
            if write =>
        {
            // Windows has one answer for all that is wrong with a directory.
            let is_new = create && has(Oflags::EXCL);
            let found = stat_path(dir, path, spec.follow).map(|stat| stat.filetype);
            return Err(match found {
                Ok(Filetype::Directory) if !is_new => Errno::Isdir,
                _ => errno,
            });
        }
        opened => opened?,
    };
    let is_directory = opened.metadata()?.is_dir();
    if wants_directory && !is_directory {
        return Err(Errno::Notdir);
    }
    if is_directory && write && !wants_directory {
        return Err(Errno::Isdir);
    }
    Ok(opened)
}

/// The directory as a guest is to have it: held by a handle that keeps it where it is.
pub fn hold_directory(dir: File) -> Result<File, Errno> {
    reopen_directory(&dir)
}

/// The directory opened once more: its listing is its own. cap-primitives removes, renames and makes entries by the path
/// that the directory has at that moment, so what a guest has open must stay where it is.
pub fn reopen_directory(dir: &File) -> Result<File, Errno> {
    Ok(windows_calls::reopen(dir.as_handle(), GENERIC_READ, FILE_FLAG_BACKUP_SEMANTICS)?)
}
