//! What can be done in an open directory: the path calls and listing.
//!
//! Used by `abi/`. Invariants: every path argument is a [`GuestPath`], so it passed the lexical gate;
//! the preopen's permissions are checked for each of them, on both sides of a rename or a link. A
//! trailing slash means what POSIX says, and is settled here.

use std::sync::Arc;

use crate::errno::{Errno, Error};
use crate::fs::file::{Backend, OpenFile};
use crate::fs::host::HostFile;
use crate::fs::memory::MemoryFs;
use crate::fs::path::GuestPath;
use crate::rights::Perms;
use crate::sys::{self, OpenSpec};
use crate::types::{DirEntry, Fdflags, Filestat, Filetype, Oflags, SetTime};
use crate::wait::Waiter;

impl OpenFile {
    /// The root of what a guest may reach.
    pub fn preopened(dir: cap_std::fs::Dir, perms: Perms) -> Result<OpenFile, Errno> {
        let dir = sys::hold_directory(dir.into_std_file())?;
        if sys::fstat(sys::borrow(&dir))?.filetype != Filetype::Directory {
            return Err(Errno::Notdir);
        }
        let known = Some(Filetype::Directory);
        Ok(OpenFile::opened(dir.into(), known, Fdflags::empty(), (true, false), perms))
    }

    /// The same, of a file system in memory.
    pub fn preopened_memory(fs: &MemoryFs, perms: Perms) -> OpenFile {
        OpenFile::opened(
            Backend::Memory(Arc::new(fs.open_root())),
            Some(Filetype::Directory),
            Fdflags::empty(),
            (true, false),
            perms,
        )
    }

    pub fn open(&self, path: &GuestPath<'_>, mut spec: OpenSpec, waiter: &Waiter) -> Result<OpenFile, Error> {
        if path.has_trailing_slash() {
            if spec.oflags.contains(Oflags::CREAT) {
                return Err(Errno::Isdir.into());
            }
            spec.oflags |= Oflags::DIRECTORY;
            spec.follow = true;
        }
        let truncate = spec.oflags.contains(Oflags::TRUNC);
        spec.write |= truncate;
        if spec.oflags.contains(Oflags::DIRECTORY) {
            if spec.oflags.contains(Oflags::CREAT) {
                return Err(Errno::Inval.into());
            }
            if spec.write {
                return Err(Errno::Isdir.into());
            }
        }
        // Opening a directory reads nothing of it. Listing it checks again.
        if spec.read && !spec.oflags.contains(Oflags::DIRECTORY) {
            self.perms.require(Perms::READ)?;
        }
        if spec.write || spec.fdflags.contains(Fdflags::APPEND) {
            self.perms.require(Perms::WRITE)?;
        }
        let (file, known) = self.open_or_create(path, &spec, waiter)?;
        let mode = (spec.read, spec.write);
        Ok(OpenFile::opened(file, known, spec.fdflags, mode, self.perms))
    }

    /// Without the permission to create, CREAT still opens what exists, as on
    /// a read-only mount.
    fn open_or_create(
        &self,
        path: &GuestPath<'_>,
        spec: &OpenSpec,
        waiter: &Waiter,
    ) -> Result<(Backend, Option<Filetype>), Error> {
        let may_create = self.perms.require(Perms::CREATE);
        if !spec.oflags.contains(Oflags::CREAT) || may_create.is_ok() {
            return self.open_here(path, spec, waiter);
        }
        if spec.oflags.contains(Oflags::EXCL) {
            may_create?;
        }
        let existing = OpenSpec { oflags: spec.oflags - Oflags::CREAT, ..*spec };
        match (self.open_here(path, &existing, waiter), may_create) {
            (Err(Error::Errno(Errno::Noent)), Err(refused)) => Err(refused.into()),
            (opened, _) => opened,
        }
    }

    /// The file, and its type if it is known.
    fn open_here(
        &self,
        path: &GuestPath<'_>,
        spec: &OpenSpec,
        waiter: &Waiter,
    ) -> Result<(Backend, Option<Filetype>), Error> {
        Ok(match &self.backend {
            Backend::Host(host) => {
                let (file, known) = host.open(path, spec, waiter)?;
                (Backend::Host(HostFile::opened(file)), known)
            }
            Backend::Memory(memory) => {
                let file = memory.open(path, spec)?;
                let filetype = file.filetype();
                (Backend::Memory(Arc::new(file)), Some(filetype))
            }
        })
    }

    #[inline]
    pub fn stat_path(&self, path: &GuestPath<'_>, follow: bool) -> Result<Filestat, Errno> {
        self.perms.require(Perms::READ)?;
        self.lookup(path, follow)
    }

    /// Metadata without asking for permission, for decisions of our own.
    #[inline]
    fn lookup(&self, path: &GuestPath<'_>, follow: bool) -> Result<Filestat, Errno> {
        // cap-std drops a dot at the end, which would find a file, or a link.
        let follow = follow || path.wants_directory();
        let stat = match &self.backend {
            Backend::Host(host) => host.stat(path, follow)?,
            Backend::Memory(memory) => memory.stat_path(path, follow)?,
        };
        if path.wants_directory() && stat.filetype != Filetype::Directory {
            return Err(Errno::Notdir);
        }
        Ok(stat)
    }

    /// What the name itself stands for, slash or not: never follows.
    fn lookup_name(&self, path: &GuestPath<'_>) -> Result<Filestat, Errno> {
        match &self.backend {
            Backend::Host(host) => host.stat(path, false),
            Backend::Memory(memory) => memory.stat_path(path, false),
        }
    }

    pub fn set_path_times(
        &self,
        path: &GuestPath<'_>,
        follow: bool,
        atim: SetTime,
        mtim: SetTime,
    ) -> Result<(), Errno> {
        self.perms.require(Perms::WRITE)?;
        let follow = follow || path.has_trailing_slash();
        // If both times are kept, Linux does not even look for the file.
        let keeps_both = matches!((atim, mtim), (SetTime::Keep, SetTime::Keep));
        if path.has_trailing_slash() || keeps_both {
            self.lookup(path, follow)?;
        }
        match &self.backend {
            Backend::Host(host) => host.set_path_times(path, follow, atim, mtim),
            Backend::Memory(memory) => memory.set_path_times(path, follow, atim, mtim),
        }
    }

    pub fn create_directory(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        self.perms.require(Perms::CREATE)?;
        match &self.backend {
            Backend::Host(host) => host.create_directory(path),
            Backend::Memory(memory) => memory.create_directory(path),
        }
    }

    pub fn remove_directory(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        self.perms.require(Perms::REMOVE)?;
        match &self.backend {
            Backend::Host(host) => host.remove_directory(path),
            Backend::Memory(memory) => memory.remove_directory(path),
        }
    }

    pub fn unlink_file(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        self.perms.require(Perms::REMOVE)?;
        if path.has_trailing_slash() {
            return Err(match self.lookup_name(path)?.filetype {
                Filetype::Directory => Errno::Isdir,
                _ => Errno::Notdir,
            });
        }
        match &self.backend {
            Backend::Host(host) => host.remove_file(path),
            Backend::Memory(memory) => memory.remove_file(path),
        }
    }

    pub fn rename(
        &self,
        path: &GuestPath<'_>,
        new_dir: &OpenFile,
        new_path: &GuestPath<'_>,
    ) -> Result<(), Errno> {
        self.perms.require(Perms::REMOVE)?;
        new_dir.perms.require(Perms::CREATE | Perms::REMOVE)?;
        self.perms.require_not_wider(new_dir.perms)?;
        let wants_directory = path.has_trailing_slash() || new_path.has_trailing_slash();
        if wants_directory && self.lookup_name(path)?.filetype != Filetype::Directory {
            return Err(Errno::Notdir);
        }
        match (&self.backend, &new_dir.backend) {
            (Backend::Host(old), Backend::Host(new)) => {
                if !new_dir.perms.contains(Perms::SYMLINKS) {
                    let moved = old.stat(path, false)?.filetype;
                    self.perms.require_movable(moved, new_dir.perms)?;
                }
                old.rename(path, new, new_path)?;
                if !new_dir.perms.contains(Perms::SYMLINKS) {
                    new.take_back_link(new_path)?;
                }
                Ok(())
            }
            (Backend::Memory(old), Backend::Memory(new)) => {
                let movable = |moved| self.perms.require_movable(moved, new_dir.perms);
                old.rename(path, new, new_path, movable)
            }
            _ => Err(Errno::Xdev),
        }
    }

    pub fn link(
        &self,
        path: &GuestPath<'_>,
        new_dir: &OpenFile,
        new_path: &GuestPath<'_>,
    ) -> Result<(), Errno> {
        new_dir.perms.require(Perms::CREATE)?;
        self.perms.require_not_wider(new_dir.perms)?;
        if path.has_trailing_slash() {
            self.lookup(path, true)?;
            return Err(Errno::Perm); // a directory
        }
        new_dir.refuse_trailing_slash(new_path)?;
        match (&self.backend, &new_dir.backend) {
            (Backend::Host(old), Backend::Host(new)) => {
                if !new_dir.perms.contains(Perms::SYMLINKS) {
                    let named = old.stat(path, false)?.filetype;
                    self.perms.require_movable(named, new_dir.perms)?;
                }
                old.link(path, new, new_path)?;
                if !new_dir.perms.contains(Perms::SYMLINKS) {
                    new.take_back_link(new_path)?;
                }
                Ok(())
            }
            (Backend::Memory(old), Backend::Memory(new)) => {
                let movable = |named| self.perms.require_movable(named, new_dir.perms);
                old.link(path, new, new_path, movable)
            }
            _ => Err(Errno::Xdev),
        }
    }

    pub fn symlink(&self, contents: &str, path: &GuestPath<'_>) -> Result<(), Errno> {
        self.perms.require(Perms::CREATE | Perms::SYMLINKS)?;
        self.refuse_trailing_slash(path)?;
        match &self.backend {
            Backend::Host(host) => host.symlink(contents, path),
            Backend::Memory(memory) => memory.symlink(contents, path),
        }
    }

    /// A new name that is no directory cannot end in a slash; what the host
    /// would say depends on whether it is taken.
    fn refuse_trailing_slash(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        if !path.has_trailing_slash() {
            return Ok(());
        }
        self.lookup_name(path)?;
        Err(Errno::Exist)
    }

    /// Where a link points. Absolute targets are kept from the guest: it could
    /// not follow them, and they name places of the host.
    pub fn read_link(&self, path: &GuestPath<'_>) -> Result<Vec<u8>, Errno> {
        self.perms.require(Perms::READ)?;
        if path.has_trailing_slash() {
            self.lookup(path, true)?;
            return Err(Errno::Inval); // a directory
        }
        let target = match &self.backend {
            Backend::Host(host) => host.read_link(path)?,
            Backend::Memory(memory) => memory.read_link(path)?,
        };
        if target.first() == Some(&b'/') {
            return Err(Errno::Perm);
        }
        Ok(target)
    }

    /// Lists the directory from a cookie on: hands out entries until `emit` says that one did not fit,
    /// or the directory ends. The parent may lie outside, so it has the directory's own inode, as that of
    /// a root has.
    pub fn read_directory(
        &self,
        cookie: u64,
        emit: impl FnMut(DirEntry<'_>) -> Result<bool, Errno>,
    ) -> Result<(), Errno> {
        self.perms.require(Perms::READ)?;
        match &self.backend {
            Backend::Host(host) => host.read_directory(cookie, emit),
            Backend::Memory(memory) => memory.read_directory(cookie, emit),
        }
    }
}
