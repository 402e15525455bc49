//! An open file of any type, and what can be done with it by handle.
//!
//! Used by the descriptor table; `dir.rs` adds what a directory can do, and
//! `sock.rs` what a socket can. What a file of the host and one in memory do
//! alike (permissions, waiting, flags) is here; the rest is the back end's.
//! Invariants: the file came from a preopened directory through the path gate,
//! or from the host itself; `perms` are those of that preopen for ever.

#![forbid(unsafe_code)]

use std::fs::File;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use crate::errno::{Errno, Error};
use crate::fs::dir::DirStream;
use crate::fs::host::position::Position;
use crate::fs::memory::MemoryFile;
use crate::poll::Waiter;
use crate::rights::Perms;
use crate::sys::{self, BorrowedHandle, Interest, LockKind, OwnedHandle};
use crate::types::{Advice, Fdflags, Filestat, Filetype, SetTime, Whence};
use guest_memory::IoVecs;

/// Not a `filetype`: the file was opened and nobody has asked yet. Most files
/// are opened, read and closed without anyone asking, which saves an `fstat`.
const NOT_ASKED: u8 = 0xff;

/// Where a file lives.
pub enum Back {
    Host(HostFile),
    Memory(Arc<MemoryFile>),
}

/// A file of the host.
pub struct HostFile {
    pub(crate) file: File,
    position: Position,
    /// A directory's listing in progress.
    pub(crate) stream: Mutex<Option<DirStream>>,
}

impl From<File> for Back {
    fn from(file: File) -> Back {
        Back::Host(HostFile { file, position: Position::shared(), stream: Mutex::new(None) })
    }
}

impl Back {
    /// A file that this layer has just opened, and nobody else has.
    pub(crate) fn opened_here(file: File) -> Back {
        Back::Host(HostFile { file, position: Position::start(), stream: Mutex::new(None) })
    }
}

impl HostFile {
    #[inline]
    pub fn handle(&self) -> BorrowedHandle<'_> {
        sys::borrow(&self.file)
    }
}

pub struct OpenFile {
    pub(crate) back: Back,
    pub(crate) perms: Perms,
    filetype: AtomicU8,
    flags: AtomicU16,
    readable: bool,
    writable: bool,
    /// The open file description is also someone else's: its flags are not
    /// ours to set, so NONBLOCK is honoured by asking before each transfer.
    shared: bool,
}

impl OpenFile {
    /// A file this layer opened itself.
    pub(crate) fn opened(
        back: Back,
        filetype: Option<Filetype>,
        flags: Fdflags,
        (readable, writable): (bool, bool),
        perms: Perms,
    ) -> OpenFile {
        OpenFile {
            back,
            perms,
            filetype: AtomicU8::new(filetype.map_or(NOT_ASKED, |known| known as u8)),
            flags: AtomicU16::new(flags.bits()),
            readable,
            writable,
            shared: false,
        }
    }

    /// A handle the host passed in: a standard stream or a socket.
    pub fn inherited(handle: OwnedHandle) -> Result<OpenFile, Errno> {
        let file = File::from(handle);
        let filetype = sys::fstat(sys::borrow(&file))?.filetype;
        let mut inherited =
            OpenFile::opened(file.into(), Some(filetype), Fdflags::empty(), (true, true), Perms::all());
        inherited.shared = true;
        Ok(inherited)
    }

    /// The same open file once more, position and lock included.
    pub fn duplicate(&self) -> Result<OpenFile, Errno> {
        let back = match &self.back {
            Back::Host(host) => {
                host.position.share(host.handle())?;
                host.file.try_clone()?.into()
            }
            Back::Memory(memory) => Back::Memory(memory.clone()),
        };
        Ok(OpenFile {
            back,
            perms: self.perms,
            filetype: AtomicU8::new(self.filetype.load(Ordering::Relaxed)),
            flags: AtomicU16::new(self.flags().bits()),
            readable: self.readable,
            writable: self.writable,
            shared: self.shared,
        })
    }

    /// The file if it is the host's, which sockets always are.
    #[inline]
    pub fn host(&self) -> Option<&HostFile> {
        match &self.back {
            Back::Host(host) => Some(host),
            Back::Memory(_) => None,
        }
    }

    pub fn is_readable(&self) -> bool {
        self.readable
    }

    pub fn is_writable(&self) -> bool {
        self.writable
    }

    pub fn is_terminal(&self) -> bool {
        self.host().is_some_and(|host| sys::is_terminal(host.handle()))
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
    /// set, and new ones are `ENOTSUP`. Without the permission to read, APPEND
    /// stays what it was as well: see `seek`.
    pub fn set_flags(&self, wanted: Fdflags) -> Result<(), Errno> {
        let sync = Fdflags::SYNC | Fdflags::DSYNC | Fdflags::RSYNC;
        let current = self.flags();
        if (current ^ wanted).contains(Fdflags::APPEND) {
            self.perms.require(Perms::READ)?;
        }
        if !current.contains(wanted & sync) {
            return Err(Errno::Notsup);
        }
        let new = (current & sync) | (wanted - sync);
        if let (Back::Host(host), false) = (&self.back, self.shared) {
            sys::set_fdflags(host.handle(), new)?;
        }
        self.flags.store(new.bits(), Ordering::Relaxed);
        Ok(())
    }

    pub fn stat(&self) -> Result<Filestat, Errno> {
        let stat = match &self.back {
            Back::Host(host) => sys::fstat(host.handle())?,
            Back::Memory(memory) => memory.stat(),
        };
        self.filetype.store(stat.filetype as u8, Ordering::Relaxed);
        Ok(stat)
    }

    // ---- transfers ----

    #[inline]
    pub fn read(&self, into: &IoVecs<'_>, waiter: &Waiter) -> Result<usize, Error> {
        match &self.back {
            Back::Host(host) => self.transfer(host, Interest::Read, waiter, || {
                let handle = host.handle();
                let at = |offset| Ok(into.read_from_at(handle, offset)?);
                host.position.transfer(at, || Ok(into.read_from(handle)?))
            }),
            Back::Memory(memory) => Ok(memory.read(into)?),
        }
    }

    #[inline]
    pub fn write(&self, from: &IoVecs<'_>, waiter: &Waiter) -> Result<usize, Error> {
        match &self.back {
            Back::Host(host) => self.transfer(host, Interest::Write, waiter, || {
                let handle = host.handle();
                self.require_one_message(from)?;
                if self.flags().contains(Fdflags::APPEND) {
                    host.position.leave_to(handle)?;
                }
                let at = |offset| Ok(from.write_to_at(handle, offset)?);
                host.position.transfer(at, || Ok(from.write_to(handle)?))
            }),
            Back::Memory(memory) => Ok(memory.write(from, self.flags().contains(Fdflags::APPEND))?),
        }
    }

    /// Runs one transfer with the waiting the guest expects: none if it set
    /// NONBLOCK, else until it is done, even where the host's own description
    /// is non-blocking (as Node leaves its pipes).
    #[inline]
    pub(crate) fn transfer<T>(
        &self,
        host: &HostFile,
        interest: Interest,
        waiter: &Waiter,
        mut operation: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, Error> {
        let nonblock = self.flags().contains(Fdflags::NONBLOCK);
        let must_ask = if nonblock { self.shared } else { waiter.is_armed() };
        let may_wait = must_ask && self.filetype()? != Filetype::RegularFile;
        loop {
            if may_wait && nonblock {
                if !waiter.is_ready(host.handle(), interest)? {
                    return Err(Errno::Again.into());
                }
            } else if may_wait {
                waiter.wait_for(host.handle(), interest)?;
            }
            match operation() {
                Err(Errno::Again) if !nonblock => waiter.wait_for(host.handle(), interest)?,
                Err(Errno::Intr) => waiter.check()?,
                done => return Ok(done?),
            }
        }
    }

    pub fn pread(&self, into: &IoVecs<'_>, offset: u64) -> Result<usize, Errno> {
        match &self.back {
            Back::Host(host) => uninterrupted(|| Ok(into.read_from_at(host.handle(), offset)?)),
            Back::Memory(memory) => memory.read_at(into, offset),
        }
    }

    pub fn pwrite(&self, from: &IoVecs<'_>, offset: u64) -> Result<usize, Errno> {
        match &self.back {
            Back::Host(host) => uninterrupted(|| Ok(from.write_to_at(host.handle(), offset)?)),
            Back::Memory(memory) => memory.write_at(from, offset, self.flags().contains(Fdflags::APPEND)),
        }
    }

    #[inline]
    pub fn seek(&self, offset: i64, whence: Whence) -> Result<u64, Errno> {
        // A directory's position is the business of fd_readdir's cookies.
        let filetype = self.filetype()?;
        if filetype == Filetype::Directory {
            return Err(Errno::Isdir);
        }
        // The end is the size, which is part of what READ lets a guest know;
        // and who appends is at the end.
        if whence == Whence::End || self.flags().contains(Fdflags::APPEND) {
            self.perms.require(Perms::READ)?;
        }
        match &self.back {
            Back::Host(host) => {
                let regular = filetype == Filetype::RegularFile;
                host.position.seek(host.handle(), regular, offset, whence)
            }
            Back::Memory(memory) => memory.seek(offset, whence),
        }
    }

    /// How much a read could still get.
    pub fn bytes_left(&self) -> Result<u64, Errno> {
        let stat = self.stat()?;
        if stat.filetype != Filetype::RegularFile {
            return Ok(0);
        }
        Ok(stat.size.saturating_sub(self.seek(0, Whence::Cur)?))
    }

    // ---- the file itself ----

    pub fn advise(&self, offset: u64, len: u64, advice: Advice) -> Result<(), Errno> {
        if offset.checked_add(len).is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(Errno::Inval);
        }
        match (self.filetype()?, &self.back) {
            (Filetype::Directory, _) => Err(Errno::Badf),
            (_, Back::Host(host)) => sys::advise(host.handle(), offset, len, advice),
            (_, Back::Memory(_)) => Ok(()),
        }
    }

    pub fn allocate(&self, offset: u64, len: u64) -> Result<(), Errno> {
        self.require_writable()?;
        match &self.back {
            Back::Host(host) => uninterrupted(|| sys::allocate(host.handle(), offset, len)),
            Back::Memory(memory) => memory.allocate(offset, len),
        }
    }

    pub fn set_size(&self, size: u64) -> Result<(), Errno> {
        self.require_writable()?;
        match &self.back {
            Back::Host(host) => uninterrupted(|| sys::set_size(host.handle(), size)),
            Back::Memory(memory) => memory.set_size(size),
        }
    }

    fn require_writable(&self) -> Result<(), Errno> {
        self.perms.require(Perms::WRITE)?;
        if self.filetype()? == Filetype::Directory {
            return Err(Errno::Isdir);
        }
        if self.writable { Ok(()) } else { Err(Errno::Inval) }
    }

    pub fn set_times(&self, atim: SetTime, mtim: SetTime) -> Result<(), Errno> {
        self.perms.require(Perms::WRITE)?;
        match &self.back {
            Back::Host(host) => by_full_handle(&host.file, |handle| sys::set_times(handle, atim, mtim)),
            Back::Memory(memory) => {
                memory.set_times(atim, mtim);
                Ok(())
            }
        }
    }

    pub fn try_lock(&self, kind: Option<LockKind>) -> Result<(), Errno> {
        match &self.back {
            Back::Host(host) => uninterrupted(|| sys::try_lock(host.handle(), kind)),
            Back::Memory(memory) => memory.try_lock(kind),
        }
    }

    pub fn sync(&self) -> Result<(), Errno> {
        match &self.back {
            Back::Host(host) => by_full_handle(&host.file, sys::sync),
            Back::Memory(_) => Ok(()),
        }
    }

    pub fn datasync(&self) -> Result<(), Errno> {
        match &self.back {
            Back::Host(host) => by_full_handle(&host.file, sys::datasync),
            Back::Memory(_) => Ok(()),
        }
    }
}

/// Without `openat2`, a directory that a link led to comes from cap-std as a
/// handle to walk from and no more. For the rest it is opened once again.
pub(crate) fn by_full_handle<T>(
    file: &File,
    operation: impl Fn(BorrowedHandle<'_>) -> Result<T, Errno>,
) -> Result<T, Errno> {
    match uninterrupted(|| operation(sys::borrow(file))) {
        Err(Errno::Badf) => {
            let full = sys::reopen_directory(file).map_err(|_| Errno::Badf)?;
            uninterrupted(|| operation(sys::borrow(&full)))
        }
        done => done,
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
