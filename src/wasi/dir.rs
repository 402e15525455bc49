//! What can be done in an open directory: the path calls and listing.
//!
//! Used by the ABI files. Invariants: every path argument is a [`GuestPath`],
//! so it passed the lexical gate; the preopen's permissions are checked for
//! each of them, both sides of a rename or a link; resolution is cap-std's, or
//! is of one plain name that is not followed. A trailing slash means what
//! POSIX says it means, and is settled here.

#![forbid(unsafe_code)]

use std::fs::File;
use std::path::Path;
use std::sync::PoisonError;

use cap_primitives::fs as cap;
use cap_primitives::fs::SystemTimeSpec;
use cap_primitives::time::SystemTime;

use super::errno::Errno;
use super::file::HostFile;
use super::path::GuestPath;
use super::rights::Perms;
use super::sys::{self, OpenSpec};
use super::types::{Dirent, Fdflags, Filestat, Filetype, Oflags, SetTime};

impl HostFile {
    /// The root of what a guest may reach.
    pub fn preopened(dir: cap_std::fs::Dir, perms: Perms) -> Result<HostFile, Errno> {
        let dir = dir.into_std_file();
        // The host may have opened it only for lookups, which would make
        // fd_sync and the like fail. If it cannot be read, so be it.
        let dir = sys::reopen_directory(&dir).unwrap_or(dir);
        if sys::fstat(sys::borrow(&dir))?.filetype != Filetype::Directory {
            return Err(Errno::Notdir);
        }
        let known = Some(Filetype::Directory);
        Ok(HostFile::opened(
            dir,
            known,
            Fdflags::empty(),
            (true, false),
            perms,
        ))
    }

    pub fn open(&self, path: &GuestPath<'_>, mut spec: OpenSpec) -> Result<HostFile, Errno> {
        if path.has_trailing_slash() {
            if spec.oflags.contains(Oflags::CREAT) {
                return Err(Errno::Isdir);
            }
            spec.oflags |= Oflags::DIRECTORY;
            spec.follow = true;
        }
        let truncate = spec.oflags.contains(Oflags::TRUNC);
        spec.write |= truncate;
        if spec.oflags.contains(Oflags::DIRECTORY) {
            if spec.oflags.contains(Oflags::CREAT) {
                return Err(Errno::Inval);
            }
            if spec.write {
                return Err(Errno::Isdir);
            }
        }
        if spec.read {
            self.perms.require(Perms::READ)?;
        }
        if spec.write || spec.fdflags.contains(Fdflags::APPEND) {
            self.perms.require(Perms::WRITE)?;
        }
        let file = self.open_or_create(path, &spec)?;
        let known = spec
            .oflags
            .contains(Oflags::DIRECTORY)
            .then_some(Filetype::Directory);
        let mode = (spec.read, spec.write);
        Ok(HostFile::opened(
            file,
            known,
            spec.fdflags,
            mode,
            self.perms,
        ))
    }

    /// Without the permission to create, CREAT still opens what exists, as on
    /// a read-only mount.
    fn open_or_create(&self, path: &GuestPath<'_>, spec: &OpenSpec) -> Result<File, Errno> {
        let may_create = self.perms.require(Perms::CREATE);
        if !spec.oflags.contains(Oflags::CREAT) || may_create.is_ok() {
            return sys::open(&self.file, path, spec);
        }
        if spec.oflags.contains(Oflags::EXCL) {
            may_create?;
        }
        let existing = OpenSpec {
            oflags: spec.oflags - Oflags::CREAT,
            ..*spec
        };
        match (sys::open(&self.file, path, &existing), may_create) {
            (Err(Errno::Noent), Err(refused)) => Err(refused),
            (opened, _) => opened,
        }
    }

    pub fn stat_path(&self, path: &GuestPath<'_>, follow: bool) -> Result<Filestat, Errno> {
        self.perms.require(Perms::READ)?;
        self.lookup(path, follow)
    }

    /// Metadata without asking for permission, for decisions of our own.
    fn lookup(&self, path: &GuestPath<'_>, follow: bool) -> Result<Filestat, Errno> {
        let follow = follow || path.has_trailing_slash();
        let stat = match path.as_single_name() {
            Some(name) => {
                let named = sys::stat_name(&self.file, name)?;
                if follow && named.filetype == Filetype::SymbolicLink {
                    sys::stat_path(&self.file, name, true)?
                } else {
                    named
                }
            }
            None => sys::stat_path(&self.file, path.as_str(), follow)?,
        };
        if path.has_trailing_slash() && stat.filetype != Filetype::Directory {
            return Err(Errno::Notdir);
        }
        Ok(stat)
    }

    /// What the name itself stands for, slash or not: never follows.
    fn lookup_name(&self, path: &GuestPath<'_>) -> Result<Filestat, Errno> {
        match path.as_single_name() {
            Some(name) => sys::stat_name(&self.file, name),
            None => sys::stat_path(&self.file, path.as_str(), false),
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
        if path.has_trailing_slash() {
            self.lookup(path, true)?;
        }
        if let Some(name) = path.as_single_name() {
            // A name that is no link needs no resolution. Should it become one
            // in between, the link itself is touched, and it is ours.
            if !follow || self.lookup_name(path)?.filetype != Filetype::SymbolicLink {
                return sys::set_times_of_name(&self.file, name, atim, mtim);
            }
        }
        let path = Path::new(path.as_str());
        let (atim, mtim) = (time_spec(atim), time_spec(mtim));
        if follow {
            cap::set_times(&self.file, path, atim, mtim)?;
        } else {
            cap::set_times_nofollow(&self.file, path, atim, mtim)?;
        }
        Ok(())
    }

    pub fn create_directory(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        self.perms.require(Perms::CREATE)?;
        let options = cap::DirOptions::new();
        Ok(cap::create_dir(
            &self.file,
            Path::new(path.as_str()),
            &options,
        )?)
    }

    pub fn remove_directory(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        self.perms.require(Perms::REMOVE)?;
        Ok(cap::remove_dir(&self.file, Path::new(path.as_str()))?)
    }

    pub fn unlink_file(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        self.perms.require(Perms::REMOVE)?;
        if path.has_trailing_slash() {
            return Err(match self.lookup_name(path)?.filetype {
                Filetype::Directory => Errno::Isdir,
                _ => Errno::Notdir,
            });
        }
        Ok(cap::remove_file(&self.file, Path::new(path.as_str()))?)
    }

    pub fn rename(
        &self,
        path: &GuestPath<'_>,
        new_dir: &HostFile,
        new_path: &GuestPath<'_>,
    ) -> Result<(), Errno> {
        self.perms.require(Perms::REMOVE)?;
        new_dir.perms.require(Perms::CREATE | Perms::REMOVE)?;
        self.perms.require_not_wider(new_dir.perms)?;
        let wants_directory = path.has_trailing_slash() || new_path.has_trailing_slash();
        if wants_directory && self.lookup_name(path)?.filetype != Filetype::Directory {
            return Err(Errno::Notdir);
        }
        let (from, to) = (Path::new(path.as_str()), Path::new(new_path.as_str()));
        Ok(cap::rename(&self.file, from, &new_dir.file, to)?)
    }

    pub fn link(
        &self,
        path: &GuestPath<'_>,
        new_dir: &HostFile,
        new_path: &GuestPath<'_>,
    ) -> Result<(), Errno> {
        new_dir.perms.require(Perms::CREATE)?;
        self.perms.require_not_wider(new_dir.perms)?;
        if path.has_trailing_slash() {
            self.lookup(path, true)?;
            return Err(Errno::Perm); // a directory
        }
        new_dir.refuse_trailing_slash(new_path)?;
        let (from, to) = (Path::new(path.as_str()), Path::new(new_path.as_str()));
        Ok(cap::hard_link(&self.file, from, &new_dir.file, to)?)
    }

    pub fn symlink(&self, contents: &str, path: &GuestPath<'_>) -> Result<(), Errno> {
        self.perms.require(Perms::CREATE | Perms::SYMLINKS)?;
        self.refuse_trailing_slash(path)?;
        sys::symlink(contents, &self.file, path.as_str())
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
        let target = match path.as_single_name() {
            Some(name) => sys::read_link_name(&self.file, name)?,
            None => sys::link_bytes(cap::read_link_contents(
                &self.file,
                Path::new(path.as_str()),
            )?),
        };
        if target.first() == Some(&b'/') {
            return Err(Errno::Perm);
        }
        Ok(target)
    }

    /// Lists the directory from a cookie on: hands out pieces until `emit`
    /// takes one only in part, or the directory ends. The parent has inode 0:
    /// it may lie outside.
    pub fn read_directory(
        &self,
        cookie: u64,
        mut emit: impl FnMut(&[u8]) -> Result<usize, Errno>,
    ) -> Result<(), Errno> {
        self.perms.require(Perms::READ)?;
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = match stream.as_mut() {
            Some(stream) => stream,
            None => stream.insert(DirStream::new(sys::reopen_directory(&self.file)?)),
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
    fn new(dir: File) -> DirStream {
        DirStream {
            dir,
            batch: Vec::new(),
            at: 0,
            cookie: 0,
            fresh: true,
        }
    }

    /// Cookie 0 starts over, and then sees the directory as it is now.
    fn seek(&mut self, cookie: u64) -> Result<(), Errno> {
        let stay = if cookie == 0 {
            self.fresh
        } else {
            cookie == self.cookie
        };
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
            if !sys::read_directory(&self.dir, &mut self.batch)? {
                return Ok(None);
            }
        }
        let rest = self.batch.get(self.at..).ok_or(Errno::Io)?;
        let next = u64::from_le_bytes(*rest.first_chunk().ok_or(Errno::Io)?);
        let namlen = rest
            .get(16..)
            .and_then(|tail| tail.first_chunk())
            .ok_or(Errno::Io)?;
        let len = Dirent::ENCODED_SIZE + u32::from_le_bytes(*namlen) as usize;
        let bytes = rest.get(..len).ok_or(Errno::Io)?;
        Ok(Some(Entry { next, bytes }))
    }

    fn advance(&mut self, next: u64, len: usize) {
        self.cookie = next;
        self.at += len;
    }
}
