//! An open host file of any type, and what can be done with it by handle.
//!
//! Used by the descriptor table; `dir.rs` adds what a directory can do, and
//! `sock.rs` what a socket can. Invariants: the handle came from a preopened
//! directory through the path gate, or from the host itself; `perms` are those
//! of that preopen for ever.

#![forbid(unsafe_code)]

use std::fs::File;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};

use super::dir::DirStream;
use super::errno::{Errno, Error};
use super::guest::IoVecs;
use super::poll::Waiter;
use super::rights::Perms;
use super::sys::{self, BorrowedHandle, Interest, OwnedHandle};
use super::types::{Advice, Fdflags, Filestat, Filetype, SetTime, Whence};

/// Not a `filetype`: the file was opened and nobody has asked yet. Most files
/// are opened, read and closed without anyone asking, which saves an `fstat`.
const NOT_ASKED: u8 = 0xff;

pub struct HostFile {
    pub(super) file: File,
    pub(super) perms: Perms,
    pub(super) stream: Mutex<Option<DirStream>>,
    filetype: AtomicU8,
    flags: AtomicU16,
    readable: bool,
    writable: bool,
    /// The open file description is also someone else's: its flags are not
    /// ours to set, so NONBLOCK is honoured by asking before each transfer.
    shared: bool,
}

impl HostFile {
    /// A file this layer opened itself.
    pub(super) fn opened(
        file: File,
        filetype: Option<Filetype>,
        flags: Fdflags,
        (readable, writable): (bool, bool),
        perms: Perms,
    ) -> HostFile {
        HostFile {
            file,
            perms,
            stream: Mutex::new(None),
            filetype: AtomicU8::new(filetype.map_or(NOT_ASKED, |known| known as u8)),
            flags: AtomicU16::new(flags.bits()),
            readable,
            writable,
            shared: false,
        }
    }

    /// A handle the host passed in: a standard stream or a socket.
    pub fn inherited(handle: OwnedHandle) -> Result<HostFile, Errno> {
        let file = File::from(handle);
        let filetype = sys::fstat(sys::borrow(&file))?.filetype;
        let mut inherited = HostFile::opened(
            file,
            Some(filetype),
            Fdflags::empty(),
            (true, true),
            Perms::all(),
        );
        inherited.shared = true;
        Ok(inherited)
    }

    #[inline]
    pub fn handle(&self) -> BorrowedHandle<'_> {
        sys::borrow(&self.file)
    }

    pub fn is_readable(&self) -> bool {
        self.readable
    }

    pub fn is_writable(&self) -> bool {
        self.writable
    }

    pub fn is_terminal(&self) -> bool {
        sys::is_terminal(self.handle())
    }

    /// The type if it is known already.
    #[inline]
    pub fn known_filetype(&self) -> Option<Filetype> {
        Filetype::from_raw(self.filetype.load(Ordering::Relaxed))
    }

    #[inline]
    pub fn filetype(&self) -> Result<Filetype, Errno> {
        match self.known_filetype() {
            Some(known) => Ok(known),
            None => Ok(self.stat()?.filetype),
        }
    }

    pub fn flags(&self) -> Fdflags {
        Fdflags::from_bits_truncate(self.flags.load(Ordering::Relaxed))
    }

    /// The host cannot change the sync flags of an open file: those set stay
    /// set, and new ones are `ENOTSUP`.
    pub fn set_flags(&self, wanted: Fdflags) -> Result<(), Errno> {
        let sync = Fdflags::SYNC | Fdflags::DSYNC | Fdflags::RSYNC;
        let current = self.flags();
        if !current.contains(wanted & sync) {
            return Err(Errno::Notsup);
        }
        let new = (current & sync) | (wanted - sync);
        if !self.shared {
            sys::set_fdflags(self.handle(), new)?;
        }
        self.flags.store(new.bits(), Ordering::Relaxed);
        Ok(())
    }

    pub fn stat(&self) -> Result<Filestat, Errno> {
        let stat = sys::fstat(self.handle())?;
        self.filetype.store(stat.filetype as u8, Ordering::Relaxed);
        Ok(stat)
    }

    // ---- transfers ----

    #[inline]
    pub fn read(&self, into: &IoVecs<'_>, waiter: &Waiter) -> Result<usize, Error> {
        self.transfer(Interest::Read, waiter, || into.read_from(self.handle()))
    }

    #[inline]
    pub fn write(&self, from: &IoVecs<'_>, waiter: &Waiter) -> Result<usize, Error> {
        self.transfer(Interest::Write, waiter, || from.write_to(self.handle()))
    }

    /// Runs one transfer with the waiting the guest expects: none if it set
    /// NONBLOCK, else until it is done, even where the host's own description
    /// is non-blocking (as Node leaves its pipes).
    #[inline]
    pub(super) fn transfer<T>(
        &self,
        interest: Interest,
        waiter: &Waiter,
        mut operation: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, Error> {
        let nonblock = self.flags().contains(Fdflags::NONBLOCK);
        let must_ask = if nonblock {
            self.shared
        } else {
            waiter.is_armed()
        };
        let may_wait = must_ask && self.known_filetype() != Some(Filetype::RegularFile);
        loop {
            if may_wait && nonblock {
                if !waiter.is_ready(self.handle(), interest)? {
                    return Err(Errno::Again.into());
                }
            } else if may_wait {
                waiter.wait_for(self.handle(), interest)?;
            }
            match operation() {
                Err(Errno::Again) if !nonblock => waiter.wait_for(self.handle(), interest)?,
                Err(Errno::Intr) => waiter.check()?,
                done => return Ok(done?),
            }
        }
    }

    pub fn pread(&self, into: &IoVecs<'_>, offset: u64) -> Result<usize, Errno> {
        uninterrupted(|| into.read_from_at(self.handle(), offset))
    }

    pub fn pwrite(&self, from: &IoVecs<'_>, offset: u64) -> Result<usize, Errno> {
        uninterrupted(|| from.write_to_at(self.handle(), offset))
    }

    #[inline]
    pub fn seek(&self, offset: i64, whence: Whence) -> Result<u64, Errno> {
        // A directory's position is the business of fd_readdir's cookies.
        match self.filetype()? {
            Filetype::Directory => Err(Errno::Isdir),
            _ => sys::seek(self.handle(), offset, whence),
        }
    }

    /// How much a read could still get.
    pub fn bytes_left(&self) -> Result<u64, Errno> {
        let stat = self.stat()?;
        if stat.filetype != Filetype::RegularFile {
            return Ok(0);
        }
        let position = sys::seek(self.handle(), 0, Whence::Cur)?;
        Ok(stat.size.saturating_sub(position))
    }

    // ---- the file itself ----

    pub fn advise(&self, offset: u64, len: u64, advice: Advice) -> Result<(), Errno> {
        if offset
            .checked_add(len)
            .is_none_or(|end| i64::try_from(end).is_err())
        {
            return Err(Errno::Inval);
        }
        match self.filetype()? {
            Filetype::Directory => Err(Errno::Badf),
            _ => sys::advise(self.handle(), offset, len, advice),
        }
    }

    pub fn allocate(&self, offset: u64, len: u64) -> Result<(), Errno> {
        self.require_writable()?;
        uninterrupted(|| sys::allocate(self.handle(), offset, len))
    }

    pub fn set_size(&self, size: u64) -> Result<(), Errno> {
        self.require_writable()?;
        uninterrupted(|| sys::set_size(self.handle(), size))
    }

    fn require_writable(&self) -> Result<(), Errno> {
        self.perms.require(Perms::WRITE)?;
        if self.filetype()? == Filetype::Directory {
            return Err(Errno::Isdir);
        }
        if self.writable {
            Ok(())
        } else {
            Err(Errno::Inval)
        }
    }

    pub fn set_times(&self, atim: SetTime, mtim: SetTime) -> Result<(), Errno> {
        self.perms.require(Perms::WRITE)?;
        sys::set_times(self.handle(), atim, mtim)
    }

    pub fn sync(&self) -> Result<(), Errno> {
        uninterrupted(|| sys::sync(self.handle()))
    }

    pub fn datasync(&self) -> Result<(), Errno> {
        uninterrupted(|| sys::datasync(self.handle()))
    }
}

/// A signal to the host is not the guest's business.
fn uninterrupted<T>(mut operation: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match operation() {
            Err(Errno::Intr) => {}
            done => return done,
        }
    }
}
