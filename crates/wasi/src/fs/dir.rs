//! What can be done in an open directory: the path calls and listing.
//!
//! Used by the ABI files. Invariants: every path argument is a [`GuestPath`],
//! so it passed the lexical gate; the preopen's permissions are checked for
//! each of them, both sides of a rename or a link; resolution is the kernel's
//! beneath the directory, cap-std's, or is of one plain name that is not
//! followed. A trailing slash means what
//! POSIX says it means, and is settled here.

#![forbid(unsafe_code)]

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use cap_primitives::fs as cap;
use cap_primitives::fs::SystemTimeSpec;
use cap_primitives::time::SystemTime;

use crate::errno::{Errno, Error};
use crate::fs::file::{Back, HostFile, OpenFile, by_full_handle};
use crate::fs::memory::MemoryFs;
use crate::fs::path::GuestPath;
use crate::poll::{Pauses, Waiter};
use crate::rights::Perms;
use crate::sys::{self, OpenSpec};
use crate::types::{Dirent, Fdflags, Filestat, Filetype, Oflags, SetTime};

impl OpenFile {
    /// The root of what a guest may reach.
    pub fn preopened(dir: cap_std::fs::Dir, perms: Perms) -> Result<OpenFile, Errno> {
        let dir = dir.into_std_file();
        // The host may have opened it only for lookups, which would make
        // fd_sync and the like fail. If it cannot be read, so be it.
        let dir = sys::reopen_directory(&dir).unwrap_or(dir);
        if sys::fstat(sys::borrow(&dir))?.filetype != Filetype::Directory {
            return Err(Errno::Notdir);
        }
        let known = Some(Filetype::Directory);
        Ok(OpenFile::opened(dir.into(), known, Fdflags::empty(), (true, false), perms))
    }

    /// The same, of a file system in memory.
    pub fn preopened_memory(fs: &MemoryFs, perms: Perms) -> OpenFile {
        OpenFile::opened(
            Back::Memory(Arc::new(fs.open_root())),
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
        // Of a directory nothing is read yet: listing it asks again.
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
    ) -> Result<(Back, Option<Filetype>), Error> {
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
    ) -> Result<(Back, Option<Filetype>), Error> {
        Ok(match &self.back {
            Back::Host(host) => {
                let (file, known) = host.open(path, spec, waiter)?;
                (Back::opened_here(file), known)
            }
            Back::Memory(memory) => {
                let file = memory.open(path, spec)?;
                let filetype = file.filetype();
                (Back::Memory(Arc::new(file)), Some(filetype))
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
        let stat = match &self.back {
            Back::Host(host) => host.stat(path, follow)?,
            Back::Memory(memory) => memory.stat_path(path, follow)?,
        };
        if path.wants_directory() && stat.filetype != Filetype::Directory {
            return Err(Errno::Notdir);
        }
        Ok(stat)
    }

    /// What the name itself stands for, slash or not: never follows.
    fn lookup_name(&self, path: &GuestPath<'_>) -> Result<Filestat, Errno> {
        match &self.back {
            Back::Host(host) => host.stat(path, false),
            Back::Memory(memory) => memory.stat_path(path, false),
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
        // Linux would not even look for a file of which both times are kept.
        let keeps_both = matches!((atim, mtim), (SetTime::Keep, SetTime::Keep));
        if path.has_trailing_slash() || keeps_both {
            self.lookup(path, follow)?;
        }
        match &self.back {
            Back::Host(host) => host.set_path_times(path, follow, atim, mtim),
            Back::Memory(memory) => memory.set_path_times(path, follow, atim, mtim),
        }
    }

    pub fn create_directory(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        self.perms.require(Perms::CREATE)?;
        match &self.back {
            Back::Host(host) => host.create_directory(path),
            Back::Memory(memory) => memory.create_directory(path),
        }
    }

    pub fn remove_directory(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        self.perms.require(Perms::REMOVE)?;
        match &self.back {
            Back::Host(host) => match path.as_single_name() {
                Some(name) => sys::remove_directory_name(&host.file, name),
                None => Ok(cap::remove_dir(&host.file, Path::new(path.as_str()))?),
            },
            Back::Memory(memory) => memory.remove_directory(path),
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
        match &self.back {
            Back::Host(host) => host.remove_file(path),
            Back::Memory(memory) => memory.remove_file(path),
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
        match (&self.back, &new_dir.back) {
            (Back::Host(old), Back::Host(new)) => {
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
            (Back::Memory(old), Back::Memory(new)) => {
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
        match (&self.back, &new_dir.back) {
            (Back::Host(old), Back::Host(new)) => {
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
            (Back::Memory(old), Back::Memory(new)) => {
                let movable = |named| self.perms.require_movable(named, new_dir.perms);
                old.link(path, new, new_path, movable)
            }
            _ => Err(Errno::Xdev),
        }
    }

    pub fn symlink(&self, contents: &str, path: &GuestPath<'_>) -> Result<(), Errno> {
        self.perms.require(Perms::CREATE | Perms::SYMLINKS)?;
        self.refuse_trailing_slash(path)?;
        match &self.back {
            Back::Host(host) => sys::symlink(contents, &host.file, path),
            Back::Memory(memory) => memory.symlink(contents, path),
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
        let target = match &self.back {
            Back::Host(host) => host.read_link(path)?,
            Back::Memory(memory) => memory.read_link(path)?,
        };
        if target.first() == Some(&b'/') {
            return Err(Errno::Perm);
        }
        Ok(target)
    }

    /// Lists the directory from a cookie on: hands out pieces until `emit`
    /// takes one only in part, or the directory ends. The parent may lie
    /// outside, so it has the directory's own inode, as that of a root has.
    pub fn read_directory(
        &self,
        cookie: u64,
        emit: impl FnMut(&[u8]) -> Result<usize, Errno>,
    ) -> Result<(), Errno> {
        self.perms.require(Perms::READ)?;
        match &self.back {
            Back::Host(host) => host.read_directory(cookie, emit),
            Back::Memory(memory) => memory.read_directory(cookie, emit),
        }
    }
}

/// How the host does it: a plain name by a plain call, a path by cap-std.
impl HostFile {
    /// Opening a named pipe waits for its other end, and the kernel's own wait
    /// could not be interrupted. So where an interrupt may come, nothing is
    /// opened but without waiting, and the waiting is done here.
    fn open(
        &self,
        path: &GuestPath<'_>,
        spec: &OpenSpec,
        waiter: &Waiter,
    ) -> Result<(File, Option<Filetype>), Error> {
        if spec.oflags.contains(Oflags::DIRECTORY) {
            let directory = sys::open(&self.file, path, spec)?;
            return Ok((directory, Some(Filetype::Directory)));
        }
        if spec.fdflags.contains(Fdflags::NONBLOCK) || !waiter.is_armed() {
            return Ok((sys::open(&self.file, path, spec)?, None));
        }
        let trial = OpenSpec { fdflags: spec.fdflags | Fdflags::NONBLOCK, ..*spec };
        let mut pauses = Pauses::default();
        // Each trial resolves the path anew, as if the guest had called only
        // then.
        let file = loop {
            match sys::open(&self.file, path, &trial) {
                // Somebody has to give up a lease first.
                Err(Errno::Again) => {}
                // Nobody reads; or it is a socket, which cannot be opened.
                Err(Errno::Nxio) if is_pipe(&self.stat(path, spec.follow)?) => {}
                opened => break opened?,
            }
            pauses.pause(waiter)?;
        };
        let opened = sys::fstat(sys::borrow(&file))?;
        if is_pipe(&opened) && !spec.write {
            waiter.wait_for_writer(sys::borrow(&file))?;
        }
        // To files and directories the flag means nothing.
        if !matches!(opened.filetype, Filetype::RegularFile | Filetype::Directory) {
            sys::set_fdflags(sys::borrow(&file), spec.fdflags)?;
        }
        Ok((file, Some(opened.filetype)))
    }

    #[inline]
    fn stat(&self, path: &GuestPath<'_>, follow: bool) -> Result<Filestat, Errno> {
        let Some(name) = path.as_single_name() else {
            return sys::stat_path(&self.file, path.as_str(), follow);
        };
        let named = sys::stat_name(&self.file, name)?;
        if follow && named.filetype == Filetype::SymbolicLink {
            sys::stat_path(&self.file, name, true)
        } else {
            Ok(named)
        }
    }

    fn set_path_times(
        &self,
        path: &GuestPath<'_>,
        follow: bool,
        atim: SetTime,
        mtim: SetTime,
    ) -> Result<(), Errno> {
        if let Some(name) = path.as_single_name() {
            // A name that is no link needs no resolution. Should it become one
            // in between, the link itself is touched, and it is ours.
            if !follow || sys::stat_name(&self.file, name)?.filetype != Filetype::SymbolicLink {
                return sys::set_times_of_name(&self.file, name, atim, mtim);
            }
        }
        let host_path = Path::new(path.as_str());
        let (atim_spec, mtim_spec) = (time_spec(atim), time_spec(mtim));
        let set = if follow {
            cap::set_times(&self.file, host_path, atim_spec, mtim_spec)
        } else {
            cap::set_times_nofollow(&self.file, host_path, atim_spec, mtim_spec)
        };
        match set.map_err(Errno::from) {
            Err(Errno::Badf) if follow => {
                // Without openat2, cap-std tries it on a handle that cannot.
                let spec = OpenSpec { read: true, follow, fdflags: Fdflags::NONBLOCK, ..OpenSpec::default() };
                let found = sys::open(&self.file, path, &spec)?;
                by_full_handle(&found, |handle| sys::set_times(handle, atim, mtim))
            }
            done => done,
        }
    }

    fn rename(&self, path: &GuestPath<'_>, new: &HostFile, new_path: &GuestPath<'_>) -> Result<(), Errno> {
        if let (Some(from), Some(to)) = (path.as_single_name(), new_path.as_single_name()) {
            return sys::rename_name(&self.file, from, &new.file, to);
        }
        let (from, to) = (Path::new(path.as_str()), Path::new(new_path.as_str()));
        Ok(cap::rename(&self.file, from, &new.file, to)?)
    }

    fn link(&self, path: &GuestPath<'_>, new: &HostFile, new_path: &GuestPath<'_>) -> Result<(), Errno> {
        if let (Some(from), Some(to)) = (path.as_single_name(), new_path.as_single_name()) {
            return sys::link_name(&self.file, from, &new.file, to);
        }
        let (from, to) = (Path::new(path.as_str()), Path::new(new_path.as_str()));
        Ok(cap::hard_link(&self.file, from, &new.file, to)?)
    }

    /// Where no symbolic link may be made, what was looked at before it got
    /// this name may have been swapped for one in between. Then the name goes.
    fn take_back_link(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        match self.stat(path, false) {
            Ok(stat) if stat.filetype == Filetype::SymbolicLink => {
                self.remove_file(path)?;
                Err(Errno::Perm)
            }
            _ => Ok(()),
        }
    }

    fn remove_file(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        match path.as_single_name() {
            Some(name) => sys::unlink_name(&self.file, name),
            None => Ok(cap::remove_file(&self.file, Path::new(path.as_str()))?),
        }
    }

    fn create_directory(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        let (path, options) = (Path::new(path.as_str()), cap::DirOptions::new());
        Ok(cap::create_dir(&self.file, path, &options)?)
    }

    fn read_link(&self, path: &GuestPath<'_>) -> Result<Vec<u8>, Errno> {
        match path.as_single_name() {
            Some(name) => sys::read_link_name(&self.file, name),
            None => {
                let path = Path::new(path.as_str());
                Ok(sys::link_bytes(cap::read_link_contents(&self.file, path)?))
            }
        }
    }

    fn read_directory(
        &self,
        cookie: u64,
        mut emit: impl FnMut(&[u8]) -> Result<usize, Errno>,
    ) -> Result<(), Errno> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = match stream.as_mut() {
            Some(stream) => stream,
            None => stream.insert(DirStream::new(&self.file)?),
        };
        stream.seek(cookie)?;
        while let Some(entry) = stream.peek()? {
            if emit(entry.bytes)? < entry.bytes.len() {
                break;
            }
            let (next, len) = (entry.next, entry.bytes.len());
            stream.advance(next, len);
        }
        Ok(())
    }
}

/// Whether it is a named pipe: the one type of file that WASI has no word for.
fn is_pipe(stat: &Filestat) -> bool {
    stat.filetype == Filetype::Unknown
}

fn time_spec(time: SetTime) -> Option<SystemTimeSpec> {
    match time {
        SetTime::Keep => None,
        SetTime::Now => Some(SystemTimeSpec::SymbolicNow),
        SetTime::At(nanoseconds) => {
            let since = std::time::Duration::from_nanos(nanoseconds);
            let time = SystemTime::from_std(std::time::SystemTime::UNIX_EPOCH + since);
            Some(SystemTimeSpec::Absolute(time))
        }
    }
}

/// A listing in progress. It has an open file description of its own, and
/// remembers which cookie it stands at, so that the usual guest, which goes on
/// from the last whole entry it got, costs no seek and no second read.
pub struct DirStream {
    dir: File,
    inode: u64,
    /// Encoded entries, of which those before `at` are delivered.
    batch: Vec<u8>,
    at: usize,
    /// Where the entry at `at` begins.
    cookie: u64,
    fresh: bool,
}

struct Entry<'a> {
    next: u64,
    bytes: &'a [u8],
}

impl DirStream {
    fn new(dir: &File) -> Result<DirStream, Errno> {
        let dir = sys::reopen_directory(dir)?;
        let inode = sys::fstat(sys::borrow(&dir))?.ino;
        Ok(DirStream { dir, inode, batch: Vec::new(), at: 0, cookie: 0, fresh: true })
    }

    /// Cookie 0 starts over, and then sees the directory as it is now.
    fn seek(&mut self, cookie: u64) -> Result<(), Errno> {
        let stay = if cookie == 0 { self.fresh } else { cookie == self.cookie };
        if !stay {
            sys::seek_directory(&self.dir, cookie)?;
            self.batch.clear();
            self.at = 0;
            self.cookie = cookie;
        }
        self.fresh = false;
        Ok(())
    }

    fn peek(&mut self) -> Result<Option<Entry<'_>>, Errno> {
        if self.at >= self.batch.len() {
            self.batch.clear();
            self.at = 0;
            if !sys::read_directory(&self.dir, self.inode, &mut self.batch)? {
                return Ok(None);
            }
        }
        let rest = self.batch.get(self.at..).ok_or(Errno::Io)?;
        let next = u64::from_le_bytes(*rest.first_chunk().ok_or(Errno::Io)?);
        let namlen = rest.get(16..).and_then(|tail| tail.first_chunk()).ok_or(Errno::Io)?;
        let len = Dirent::ENCODED_SIZE + u32::from_le_bytes(*namlen) as usize;
        let bytes = rest.get(..len).ok_or(Errno::Io)?;
        Ok(Some(Entry { next, bytes }))
    }

    fn advance(&mut self, next: u64, len: usize) {
        self.cookie = next;
        self.at += len;
    }
}
