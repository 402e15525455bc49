//! What is done to a name in a directory.

use std::fs::File;
use std::path::Path;

use rustix::fs::AtFlags;

use crate::errno::Errno;
use crate::fs::path::GuestPath;

/// The target of a link that a single name stands for.
pub fn read_link_name(dir: &File, name: &str) -> Result<Vec<u8>, Errno> {
    Ok(rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes())
}

/// The bytes of a link's target, as the host stores them.
pub fn link_bytes(target: std::path::PathBuf) -> Vec<u8> {
    use std::os::unix::ffi::OsStringExt;
    target.into_os_string().into_vec()
}

// What these four do to a single name does not follow a link there.

pub fn unlink_name(dir: &File, name: &str) -> Result<(), Errno> {
    Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?)
}

pub fn remove_directory_name(dir: &File, name: &str) -> Result<(), Errno> {
    Ok(rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}

pub fn rename_name(old_dir: &File, old: &str, new_dir: &File, new: &str) -> Result<(), Errno> {
    Ok(rustix::fs::renameat(old_dir, old, new_dir, new)?)
}

pub fn link_name(old_dir: &File, old: &str, new_dir: &File, new: &str) -> Result<(), Errno> {
    Ok(rustix::fs::linkat(old_dir, old, new_dir, new, AtFlags::empty())?)
}

pub fn symlink(contents: &str, dir: &File, path: &GuestPath<'_>) -> Result<(), Errno> {
    if let Some(name) = path.as_single_name() {
        return Ok(rustix::fs::symlinkat(contents, dir, name)?);
    }
    Ok(cap_primitives::fs::symlink(Path::new(contents), dir, Path::new(path.as_str()))?)
}
