//! What can be done with an open file or directory in memory.
//!
//! Used by `fs/file.rs` and `fs/dir.rs`, which have checked paths and permissions, and by the host's
//! side in `mod.rs`. Invariant: like a POSIX open file, it keeps its node whatever happens to names.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::lock;
use super::node::{Body, Node};
use super::walk::{walk, walk_to_create};
use crate::alloc::{bytes_of, text_of};
use crate::errno::Errno;
use crate::fs::path::GuestPath;
use crate::sys::{LockKind, OpenSpec};
use crate::types::{DirEntry, Filestat, Filetype, Oflags, SetTime, Whence};
use guest_memory::IoVecs;

pub struct MemoryFile {
    node: Arc<Node>,
    position: Mutex<u64>,
    /// The lock it holds on the node.
    lock: Mutex<Option<LockKind>>,
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        let _ = self.try_lock(None);
    }
}

impl MemoryFile {
    pub fn new(node: Arc<Node>) -> MemoryFile {
        MemoryFile { node, position: Mutex::new(0), lock: Mutex::new(None) }
    }

    pub fn filetype(&self) -> Filetype {
        self.node.filetype()
    }

    pub fn stat(&self) -> Filestat {
        self.node.stat()
    }

    pub fn set_times(&self, atim: SetTime, mtim: SetTime) {
        self.node.set_times(atim, mtim);
    }

    pub fn try_lock(&self, kind: Option<LockKind>) -> Result<(), Errno> {
        let mut held = lock(&self.lock);
        if *held == kind {
            return Ok(());
        }
        self.node.exchange_lock(*held, kind)?;
        *held = kind;
        Ok(())
    }

    // ---- contents ----

    #[inline]
    fn file(&self) -> Result<&RwLock<Vec<u8>>, Errno> {
        match &self.node.body {
            Body::File(contents) => Ok(contents),
            Body::Directory(_) => Err(Errno::Isdir),
            Body::Link(_) => Err(Errno::Loop),
        }
    }

    #[inline]
    fn reading(&self) -> Result<RwLockReadGuard<'_, Vec<u8>>, Errno> {
        Ok(self.file()?.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn writing(&self) -> Result<RwLockWriteGuard<'_, Vec<u8>>, Errno> {
        Ok(self.file()?.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn contents(&self) -> Result<Vec<u8>, Errno> {
        bytes_of(&self.reading()?)
    }

    pub fn read(&self, into: &IoVecs<'_>) -> Result<usize, Errno> {
        let mut position = self.position();
        let read = self.read_at(into, *position)?;
        *position += read as u64;
        Ok(read)
    }

    #[inline]
    pub fn read_at(&self, into: &IoVecs<'_>, offset: u64) -> Result<usize, Errno> {
        let offset = usize::try_from(position(offset)?).unwrap_or(usize::MAX);
        if into.total() == 0 {
            return Ok(0);
        }
        Ok(into.scatter(self.reading()?.get(offset..).unwrap_or_default()))
    }

    pub fn write(&self, from: &IoVecs<'_>, append: bool) -> Result<usize, Errno> {
        let mut position = self.position();
        let mut contents = self.writing()?;
        if append && from.total() > 0 {
            *position = contents.len() as u64;
        }
        let written =
            self.write_into(&mut contents, *position, from.total(), |into| from.gather_into(into))?;
        *position += written as u64;
        Ok(written)
    }

    /// With `append` the offset does not matter, as on Linux.
    pub fn write_at(&self, from: &IoVecs<'_>, offset: u64, append: bool) -> Result<usize, Errno> {
        let mut contents = self.writing()?;
        let offset = if append { contents.len() as u64 } else { offset };
        self.write_into(&mut contents, offset, from.total(), |into| from.gather_into(into))
    }

    /// All of the host's bytes, or none that fit.
    pub fn put(&self, bytes: &[u8], offset: u64) -> Result<(), Errno> {
        let mut contents = self.writing()?;
        let written = self.write_into(&mut contents, offset, bytes.len(), |into| {
            into.copy_from_slice(bytes.get(..into.len()).unwrap_or_default());
        })?;
        if written < bytes.len() {
            return Err(Errno::Nospc);
        }
        Ok(())
    }

    /// Makes room for `count` bytes at `offset`, fewer if the quota ends
    /// before, and has them filled in.
    fn write_into(
        &self,
        contents: &mut Vec<u8>,
        offset: u64,
        count: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<usize, Errno> {
        if count == 0 {
            return Ok(0);
        }
        let end = position(offset)?
            .checked_add(count as u64)
            .filter(|end| i64::try_from(*end).is_ok())
            .ok_or(Errno::Fbig)?;
        let len = contents.len() as u64;
        let end = if end > len {
            let hole = offset.saturating_sub(len);
            len + self.grow(contents, end - len, hole + 1)?
        } else {
            end
        };
        let into = contents.get_mut(offset as usize..end as usize).ok_or(Errno::Io)?;
        fill(into);
        self.node.touch();
        Ok((end - offset) as usize)
    }

    /// Adds zeros, as many as the quota lets; `ENOSPC` if not even `least`.
    fn grow(&self, contents: &mut Vec<u8>, bytes: u64, least: u64) -> Result<u64, Errno> {
        let granted = self.node.tree().charge_up_to(bytes, least);
        if granted == 0 {
            return Err(Errno::Nospc);
        }
        let room = usize::try_from(granted).ok();
        match room.map(|room| (room, contents.try_reserve(room))) {
            Some((room, Ok(()))) => {
                contents.resize(contents.len() + room, 0);
                Ok(granted)
            }
            _ => {
                self.node.tree().give_back(granted);
                Err(Errno::Nomem)
            }
        }
    }

    pub fn set_size(&self, size: u64) -> Result<(), Errno> {
        let size = position(size)?;
        let mut contents = self.writing()?;
        let len = contents.len() as u64;
        if size > len {
            self.grow(&mut contents, size - len, size - len)?;
        } else {
            contents.truncate(size as usize);
            contents.shrink_to(size as usize * 2);
            self.node.tree().give_back(len - size);
        }
        self.node.touch();
        Ok(())
    }

    /// Only ever grows the file.
    pub fn allocate(&self, offset: u64, len: u64) -> Result<(), Errno> {
        let end = offset.checked_add(len).ok_or(Errno::Fbig)?;
        if len == 0 {
            return Err(Errno::Inval);
        }
        if end > self.stat().size {
            self.set_size(end).map_err(|errno| match errno {
                Errno::Inval => Errno::Fbig,
                other => other,
            })?;
        }
        Ok(())
    }

    fn position(&self) -> MutexGuard<'_, u64> {
        lock(&self.position)
    }

    pub fn seek(&self, offset: i64, whence: Whence) -> Result<u64, Errno> {
        let mut at = self.position();
        let from = match whence {
            Whence::Set => 0,
            Whence::Cur => *at,
            Whence::End => self.reading()?.len() as u64,
        };
        *at = from.checked_add_signed(offset).ok_or(Errno::Inval).and_then(position)?;
        Ok(*at)
    }

    // ---- names ----

    pub fn find(&self, path: &GuestPath<'_>, follow: bool) -> Result<MemoryFile, Errno> {
        let found = walk(&self.node, path.as_str(), follow)?;
        Ok(MemoryFile::new(found.existing()?))
    }

    #[inline]
    pub fn stat_path(&self, path: &GuestPath<'_>, follow: bool) -> Result<Filestat, Errno> {
        Ok(walk(&self.node, path.as_str(), follow)?.existing()?.stat())
    }

    /// Opens a file for writing, or makes it.
    pub fn create(&self, path: &GuestPath<'_>) -> Result<MemoryFile, Errno> {
        let spec = OpenSpec { write: true, follow: true, oflags: Oflags::CREAT, ..OpenSpec::default() };
        self.open(path, &spec)
    }

    pub fn open(&self, path: &GuestPath<'_>, spec: &OpenSpec) -> Result<MemoryFile, Errno> {
        let create = spec.oflags.contains(Oflags::CREAT);
        let exclusive = create && spec.oflags.contains(Oflags::EXCL);
        let follow = spec.follow && !exclusive;
        let _changing = create.then(|| self.node.tree().changing());
        let found = if create {
            walk_to_create(&self.node, path.as_str(), follow)?
        } else {
            walk(&self.node, path.as_str(), follow)?
        };
        let node = match found.node {
            Some(_) if exclusive => return Err(Errno::Exist),
            Some(node) => node,
            None if create => {
                let name = found.name.ok_or(Errno::Noent)?;
                let node = Node::create(self.node.tree(), Body::File(RwLock::default()))?;
                found.parent.insert(&name, node.clone())?;
                node
            }
            None => return Err(Errno::Noent),
        };
        match node.filetype() {
            Filetype::SymbolicLink if spec.oflags.contains(Oflags::DIRECTORY) => {
                return Err(Errno::Notdir);
            }
            Filetype::SymbolicLink => return Err(Errno::Loop),
            Filetype::Directory if create || spec.write => return Err(Errno::Isdir),
            Filetype::Directory => {}
            _ if spec.oflags.contains(Oflags::DIRECTORY) => return Err(Errno::Notdir),
            _ => {}
        }
        let file = MemoryFile::new(node);
        if spec.oflags.contains(Oflags::TRUNC) {
            file.set_size(0)?;
        }
        Ok(file)
    }

    pub fn set_path_times(
        &self,
        path: &GuestPath<'_>,
        follow: bool,
        atim: SetTime,
        mtim: SetTime,
    ) -> Result<(), Errno> {
        self.find(path, follow)?.set_times(atim, mtim);
        Ok(())
    }

    /// Makes something where there is nothing.
    fn make(&self, path: &GuestPath<'_>, body: Body) -> Result<(), Errno> {
        let _changing = self.node.tree().changing();
        let found = walk(&self.node, path.as_str(), false)?;
        match (found.name, found.node) {
            (Some(name), None) => {
                let node = Node::create(self.node.tree(), body)?;
                found.parent.insert(&name, node)
            }
            _ => Err(Errno::Exist),
        }
    }

    pub fn create_directory(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        self.make(path, Body::Directory(Mutex::default()))
    }

    pub fn symlink(&self, contents: &str, path: &GuestPath<'_>) -> Result<(), Errno> {
        self.make(path, Body::Link(text_of(contents)?))
    }

    pub fn read_link(&self, path: &GuestPath<'_>) -> Result<Vec<u8>, Errno> {
        match &self.find(path, false)?.node.body {
            Body::Link(contents) => bytes_of(contents.as_bytes()),
            _ => Err(Errno::Inval),
        }
    }

    pub fn remove_directory(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        let _changing = self.node.tree().changing();
        let found = walk(&self.node, path.as_str(), false)?;
        let Some(name) = found.name else {
            return Err(Errno::Inval);
        };
        found.node.ok_or(Errno::Noent)?.retire()?;
        found.parent.remove(&name)
    }

    pub fn remove_file(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        let _changing = self.node.tree().changing();
        let found = walk(&self.node, path.as_str(), false)?;
        let node = found.node.ok_or(Errno::Noent)?;
        match found.name {
            Some(name) if node.filetype() != Filetype::Directory => found.parent.remove(&name),
            _ => Err(Errno::Isdir),
        }
    }

    /// `movable` says whether what it is may have a name there.
    pub fn link(
        &self,
        path: &GuestPath<'_>,
        new_dir: &MemoryFile,
        new_path: &GuestPath<'_>,
        movable: impl FnOnce(Filetype) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        self.require_same_tree(new_dir)?;
        let _changing = self.node.tree().changing();
        let old = walk(&self.node, path.as_str(), false)?;
        let found = walk(&new_dir.node, new_path.as_str(), false)?;
        let node = old.existing()?;
        movable(node.filetype())?;
        let (Some(name), None) = (found.name, found.node) else {
            return Err(Errno::Exist);
        };
        if node.filetype() == Filetype::Directory {
            return Err(Errno::Perm);
        }
        found.parent.insert(&name, node)
    }

    /// `movable` says whether what it is may have a name there.
    pub fn rename(
        &self,
        path: &GuestPath<'_>,
        new_dir: &MemoryFile,
        new_path: &GuestPath<'_>,
        movable: impl FnOnce(Filetype) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        self.require_same_tree(new_dir)?;
        let _changing = self.node.tree().changing();
        let old = walk(&self.node, path.as_str(), false)?;
        let new = walk(&new_dir.node, new_path.as_str(), false)?;
        let (Some(old_name), Some(new_name)) = (old.name, new.name) else {
            return Err(Errno::Busy);
        };
        let node = old.node.ok_or(Errno::Noent)?;
        movable(node.filetype())?;
        let moves_directory = node.filetype() == Filetype::Directory;
        if moves_directory && new.parent.is_within(&node) {
            return Err(Errno::Inval);
        }
        if let Some(replaced) = new.node {
            if old.parent.is_within(&replaced) {
                return Err(Errno::Notempty);
            }
            if Arc::ptr_eq(&replaced, &node) {
                return Ok(());
            }
            match (moves_directory, replaced.filetype() == Filetype::Directory) {
                (true, false) => return Err(Errno::Notdir),
                (false, true) => return Err(Errno::Isdir),
                (true, true) => replaced.retire()?,
                (false, false) => {}
            }
            new.parent.replace(&new_name, node)?;
        } else {
            new.parent.insert(&new_name, node)?;
        }
        old.parent.remove(&old_name)
    }

    fn require_same_tree(&self, other: &MemoryFile) -> Result<(), Errno> {
        if Arc::ptr_eq(self.node.tree(), other.node.tree()) { Ok(()) } else { Err(Errno::Xdev) }
    }

    pub fn read_directory(
        &self,
        cookie: u64,
        emit: impl FnMut(DirEntry<'_>) -> Result<bool, Errno>,
    ) -> Result<(), Errno> {
        self.node.list(position(cookie)?, emit)
    }
}

/// What `off_t` holds.
fn position(offset: u64) -> Result<u64, Errno> {
    match i64::try_from(offset) {
        Ok(_) => Ok(offset),
        Err(_) => Err(Errno::Inval),
    }
}
