//! What is done to a name in a directory: by cap-primitives, as for every path.

use std::fs::File;
use std::path::{Path, PathBuf};

use cap_primitives::fs as cap;

use super::stat::stat_path;
use crate::errno::Errno;
use crate::fs::path::GuestPath;
use crate::types::Filetype;

/// The target of a link that a single name stands for.
pub fn read_link_name(dir: &File, name: &str) -> Result<Vec<u8>, Errno> {
    if stat_path(dir, name, false)?.filetype != Filetype::SymbolicLink {
        return Err(Errno::Inval);
    }
    Ok(link_bytes(cap::read_link_contents(dir, Path::new(name))?))
}

/// A link's target as guests write it.
pub fn link_bytes(target: PathBuf) -> Vec<u8> {
    target.to_string_lossy().replace('\\', "/").into_bytes()
}

// What these four do to a single name does not follow a link there.

/// Windows removes a link to a directory as a directory.
pub fn unlink_name(dir: &File, name: &str) -> Result<(), Errno> {
    let removed = cap::remove_file(dir, Path::new(name)).map_err(Errno::from);
    let Err(errno @ (Errno::Acces | Errno::Perm | Errno::Isdir)) = removed else { return removed };
    match stat_path(dir, name, false)?.filetype {
        Filetype::SymbolicLink => Ok(cap::remove_dir(dir, Path::new(name))?),
        Filetype::Directory => Err(Errno::Isdir),
        _ => Err(errno),
    }
}

pub fn remove_directory_name(dir: &File, name: &str) -> Result<(), Errno> {
    if stat_path(dir, name, false)?.filetype != Filetype::Directory {
        return Err(Errno::Notdir);
    }
    Ok(cap::remove_dir(dir, Path::new(name))?)
}

pub fn rename_name(old_dir: &File, old: &str, new_dir: &File, new: &str) -> Result<(), Errno> {
    Ok(cap::rename(old_dir, Path::new(old), new_dir, Path::new(new))?)
}

pub fn link_name(old_dir: &File, old: &str, new_dir: &File, new: &str) -> Result<(), Errno> {
    Ok(cap::hard_link(old_dir, Path::new(old), new_dir, Path::new(new))?)
}

/// Windows has links to files and links to directories. What the link leads to now tells which it is to be; what
/// leads nowhere is a link to a file.
pub fn symlink(contents: &str, dir: &File, path: &GuestPath<'_>) -> Result<(), Errno> {
    let target = contents.replace('/', "\\");
    let beside = Path::new(path.as_str()).parent().unwrap_or(Path::new(""));
    let leads_to = beside.join(contents);
    // One that leads out of the directory is judged when it is followed.
    let is_directory = leads_to
        .to_str()
        .and_then(|leads_to| stat_path(dir, leads_to, true).ok())
        .is_some_and(|stat| stat.filetype == Filetype::Directory);
    let (target, path) = (Path::new(&target), Path::new(path.as_str()));
    Ok(match is_directory {
        true => cap::symlink_dir(target, dir, path)?,
        false => cap::symlink_file(target, dir, path)?,
    })
}
