//! The path calls on a directory of the host: a plain name by a plain call, a path by cap-std.
//!
//! Used by `fs/dir.rs`, which has checked permissions. Invariant: the kernel resolves a path beneath the
//! directory, or cap-std does, or it is one plain name that is not followed.

use std::fs::File;
use std::path::Path;
use std::sync::PoisonError;

use cap_primitives::fs as cap;
use cap_primitives::fs::SystemTimeSpec;
use cap_primitives::time::SystemTime;

use crate::errno::{Errno, Error};
use crate::fs::host::listing::Listing;
use crate::fs::host::{HostFile, by_full_handle};
use crate::fs::path::GuestPath;
use crate::sys::{self, OpenSpec};
use crate::types::{DirEntry, Fdflags, Filestat, Filetype, Oflags, SetTime};
use crate::wait::{Backoff, Waiter};

impl HostFile {
    /// Opening a named pipe waits for its other end, and the kernel's own wait cannot be interrupted. So
    /// where an interrupt may come, everything is opened without waiting, and this waits.
    pub fn open(
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
        let mut backoff = Backoff::default();
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
            backoff.pause(waiter)?;
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
    pub fn stat(&self, path: &GuestPath<'_>, follow: bool) -> Result<Filestat, Errno> {
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

    pub fn set_path_times(
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

    pub fn rename(
        &self,
        path: &GuestPath<'_>,
        new: &HostFile,
        new_path: &GuestPath<'_>,
    ) -> Result<(), Errno> {
        if let (Some(from), Some(to)) = (path.as_single_name(), new_path.as_single_name()) {
            return sys::rename_name(&self.file, from, &new.file, to);
        }
        let (from, to) = (Path::new(path.as_str()), Path::new(new_path.as_str()));
        Ok(cap::rename(&self.file, from, &new.file, to)?)
    }

    pub fn link(&self, path: &GuestPath<'_>, new: &HostFile, new_path: &GuestPath<'_>) -> Result<(), Errno> {
        if let (Some(from), Some(to)) = (path.as_single_name(), new_path.as_single_name()) {
            return sys::link_name(&self.file, from, &new.file, to);
        }
        let (from, to) = (Path::new(path.as_str()), Path::new(new_path.as_str()));
        Ok(cap::hard_link(&self.file, from, &new.file, to)?)
    }

    /// Where no symbolic link may be made, what was looked at before it got
    /// this name may have been swapped for one in between. Then the name goes.
    pub fn take_back_link(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        match self.stat(path, false) {
            Ok(stat) if stat.filetype == Filetype::SymbolicLink => {
                self.remove_file(path)?;
                Err(Errno::Perm)
            }
            _ => Ok(()),
        }
    }

    pub fn remove_file(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        let removed = match path.as_single_name() {
            Some(name) => sys::unlink_name(&self.file, name),
            None => cap::remove_file(&self.file, Path::new(path.as_str())).map_err(Errno::from),
        };
        match removed {
            // Linux says what a directory is; for POSIX and macOS to unlink one is not permitted.
            Err(Errno::Perm) if self.stat(path, false)?.filetype == Filetype::Directory => Err(Errno::Isdir),
            removed => removed,
        }
    }

    pub fn remove_directory(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        match path.as_single_name() {
            Some(name) => sys::remove_directory_name(&self.file, name),
            None => Ok(cap::remove_dir(&self.file, Path::new(path.as_str()))?),
        }
    }

    pub fn symlink(&self, contents: &str, path: &GuestPath<'_>) -> Result<(), Errno> {
        sys::symlink(contents, &self.file, path)
    }

    pub fn create_directory(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        let (path, options) = (Path::new(path.as_str()), cap::DirOptions::new());
        Ok(cap::create_dir(&self.file, path, &options)?)
    }

    pub fn read_link(&self, path: &GuestPath<'_>) -> Result<Vec<u8>, Errno> {
        match path.as_single_name() {
            Some(name) => sys::read_link_name(&self.file, name),
            None => {
                let path = Path::new(path.as_str());
                Ok(sys::link_bytes(cap::read_link_contents(&self.file, path)?))
            }
        }
    }

    pub fn read_directory(
        &self,
        cookie: u64,
        mut emit: impl FnMut(DirEntry<'_>) -> Result<bool, Errno>,
    ) -> Result<(), Errno> {
        let mut listing = self.listing.lock().unwrap_or_else(PoisonError::into_inner);
        let listing = match listing.as_mut() {
            Some(listing) => listing,
            None => listing.insert(Listing::new(&self.file)?),
        };
        listing.seek(cookie)?;
        while let Some(entry) = listing.peek()? {
            let next = entry.next;
            if !emit(entry)? {
                break;
            }
            listing.advance(next);
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
        SetTime::At(at) => {
            let since = std::time::Duration::from_nanos(at.as_nanos());
            let time = SystemTime::from_std(std::time::SystemTime::UNIX_EPOCH + since);
            Some(SystemTimeSpec::Absolute(time))
        }
    }
}
