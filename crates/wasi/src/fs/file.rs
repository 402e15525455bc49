//! An open file of any type, and what can be done with it by handle.
//!
//! Used by the descriptor table; `dir.rs` adds what a directory can do, and
//! `sock.rs` what a socket can. What a file of the host and one in memory do
//! alike (permissions, waiting, flags) is here; the rest is the back end's.
//! Invariants: the file came from a preopened directory through the path gate,
//! or from the host itself; `perms` are those of that preopen for ever.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};

use crate::errno::{Errno, Error};
use crate::fs::host::{HostFile, by_full_handle, uninterrupted};
use crate::fs::memory::MemoryFile;
use crate::rights::Perms;
use crate::sys::{self, Interest, LockKind, OwnedHandle};
use crate::types::{Advice, Fdflags, Filestat, Filetype, SetTime, Whence};
use crate::wait::{Backoff, Waiter};
use guest_memory::IoVecs;

/// Not a `filetype`: nobody has asked yet. Most files are opened, read and closed without that, which
/// saves an `fstat`.
const NOT_ASKED: u8 = 0xff;

/// Where a file lives.
pub enum Backend {
    Host(HostFile),
    Memory(Arc<MemoryFile>),
}

impl From<File> for Backend {
    fn from(file: File) -> Backend {
        Backend::Host(HostFile::shared(file))
    }
}

pub struct OpenFile {
    pub(crate) backend: Backend,
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
        backend: Backend,
        filetype: Option<Filetype>,
        flags: Fdflags,
        (readable, writable): (bool, bool),
        perms: Perms,
    ) -> OpenFile {
        OpenFile {
            backend,
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
        let backend = match &self.backend {
            Backend::Host(host) => {
                host.position.share(host.handle())?;
                host.file.try_clone()?.into()
            }
            Backend::Memory(memory) => Backend::Memory(memory.clone()),
        };
        Ok(OpenFile {
            backend,
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
        match &self.backend {
            Backend::Host(host) => Some(host),
            Backend::Memory(_) => None,
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
        if let (Backend::Host(host), false) = (&self.backend, self.shared) {
            sys::set_fdflags(host.handle(), new)?;
        }
        self.flags.store(new.bits(), Ordering::Relaxed);
        Ok(())
    }

    pub fn stat(&self) -> Result<Filestat, Errno> {
        let stat = match &self.backend {
            Backend::Host(host) => sys::fstat(host.handle())?,
            Backend::Memory(memory) => memory.stat(),
        };
        self.filetype.store(stat.filetype as u8, Ordering::Relaxed);
        Ok(stat)
    }

    // ---- transfers ----

    #[inline]
    pub fn read(&self, into: &IoVecs<'_>, waiter: &Waiter) -> Result<usize, Error> {
        match &self.backend {
            Backend::Host(host) if self.is_asked_stream(waiter)? => {
                self.transfer(host, Interest::Read, waiter, || Ok(into.read_now(host.handle())?))
            }
            Backend::Host(host) => self.transfer(host, Interest::Read, waiter, || {
                let handle = host.handle();
                let at = |offset| Ok(into.read_from_at(handle, offset)?);
                host.position.transfer(at, || Ok(into.read_from(handle)?))
            }),
            Backend::Memory(memory) => Ok(memory.read(into)?),
        }
    }

    #[inline]
    pub fn write(&self, from: &IoVecs<'_>, waiter: &Waiter) -> Result<usize, Error> {
        match &self.backend {
            Backend::Host(host) if self.is_asked_stream(waiter)? => self.write_stream(host, from, waiter),
            Backend::Host(host) => self.transfer(host, Interest::Write, waiter, || {
                let handle = host.handle();
                self.require_one_message(from)?;
                if self.flags().contains(Fdflags::APPEND) {
                    host.position.leave_to(handle)?;
                    return Ok(from.append_to(handle)?);
                }
                let at = |offset| Ok(from.write_to_at(handle, offset)?);
                host.position.transfer(at, || Ok(from.write_to(handle)?))
            }),
            Backend::Memory(memory) => Ok(memory.write(from, self.flags().contains(Fdflags::APPEND))?),
        }
    }

    /// Whether transfers ask first whether the other end is ready: to be able to end the wait, or because the guest does
    /// not wait and the host's own description does.
    #[inline]
    fn asks(&self, waiter: &Waiter) -> bool {
        if self.flags().contains(Fdflags::NONBLOCK) { self.shared } else { waiter.is_armed() }
    }

    /// Whether this is a stream of bytes, of which a transfer asks first. What is ready may take less than all, or somebody
    /// else may come first: its calls must not wait for more.
    #[inline]
    pub(crate) fn is_asked_stream(&self, waiter: &Waiter) -> Result<bool, Errno> {
        Ok(self.asks(waiter)
            && match self.filetype()? {
                // Pipes are of no type that WASI knows.
                Filetype::Unknown | Filetype::SocketStream => true,
                Filetype::CharacterDevice => self.shared,
                _ => false,
            })
    }

    /// Writes as the other end takes it: all, unless the guest does not wait.
    pub(crate) fn write_stream(
        &self,
        host: &HostFile,
        from: &IoVecs<'_>,
        waiter: &Waiter,
    ) -> Result<usize, Error> {
        self.in_parts(from, |part| {
            self.transfer(host, Interest::Write, waiter, || Ok(part.write_now(host.handle())?))
        })
    }

    /// Moves one part after the other, as each call has it, until all is moved, nothing comes any more or, if the guest
    /// does not wait, after the first one.
    pub(crate) fn in_parts(
        &self,
        buffers: &IoVecs<'_>,
        call: impl Fn(&IoVecs<'_>) -> Result<usize, Error>,
    ) -> Result<usize, Error> {
        let mut moved = call(buffers)?;
        while 0 < moved && moved < buffers.total() && !self.flags().contains(Fdflags::NONBLOCK) {
            match call(&buffers.without_first(moved)?) {
                // What went wrong is what the next call will meet.
                Ok(0) | Err(Error::Errno(_)) => break,
                Ok(more) => moved += more,
                Err(ending) => return Err(ending),
            }
        }
        Ok(moved)
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
        let may_wait = self.asks(waiter) && self.filetype()? != Filetype::RegularFile;
        // From before it is asked whether there is something to read until it has been read.
        let _turn = match (may_wait && interest == Interest::Read, nonblock) {
            (false, _) => None,
            (true, true) => Some(host.readers.try_take().ok_or(Errno::Again)?),
            (true, false) => Some(host.readers.take(waiter)?),
        };
        loop {
            if may_wait && nonblock {
                if !waiter.is_ready(host.handle(), interest)? {
                    return Err(Errno::Again.into());
                }
            } else if may_wait {
                waiter.wait_for(host.handle(), interest)?;
            }
            let done = match may_wait && !nonblock {
                true => waiter.in_call(&mut operation)?,
                false => operation(),
            };
            match done {
                Err(Errno::Again) if !nonblock => waiter.wait_for(host.handle(), interest)?,
                Err(Errno::Intr) => waiter.check()?,
                done => return Ok(done?),
            }
        }
    }

    pub fn pread(&self, into: &IoVecs<'_>, offset: u64) -> Result<usize, Errno> {
        match &self.backend {
            Backend::Host(host) => uninterrupted(|| Ok(into.read_from_at(host.handle(), offset)?)),
            Backend::Memory(memory) => memory.read_at(into, offset),
        }
    }

    pub fn pwrite(&self, from: &IoVecs<'_>, offset: u64) -> Result<usize, Errno> {
        match &self.backend {
            Backend::Host(host) => uninterrupted(|| Ok(from.write_to_at(host.handle(), offset)?)),
            Backend::Memory(memory) => memory.write_at(from, offset, self.flags().contains(Fdflags::APPEND)),
        }
    }

    #[inline]
    pub fn seek(&self, offset: i64, whence: Whence) -> Result<u64, Errno> {
        // A directory's position is the business of fd_readdir's cookies.
        let filetype = self.filetype()?;
        if filetype == Filetype::Directory {
            return Err(Errno::Isdir);
        }
        // The end tells the size, which only READ lets a guest know. A file that appends stands at the
        // end.
        if whence == Whence::End || self.flags().contains(Fdflags::APPEND) {
            self.perms.require(Perms::READ)?;
        }
        match &self.backend {
            Backend::Host(host) => {
                let regular = filetype == Filetype::RegularFile;
                host.position.seek(host.handle(), regular, offset, whence)
            }
            Backend::Memory(memory) => memory.seek(offset, whence),
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
        match (self.filetype()?, &self.backend) {
            (Filetype::Directory, _) => Err(Errno::Badf),
            (_, Backend::Host(host)) => sys::advise(host.handle(), offset, len, advice),
            (_, Backend::Memory(_)) => Ok(()),
        }
    }

    pub fn allocate(&self, offset: u64, len: u64) -> Result<(), Errno> {
        self.require_writable()?;
        match &self.backend {
            Backend::Host(host) => uninterrupted(|| sys::allocate(host.handle(), offset, len)),
            Backend::Memory(memory) => memory.allocate(offset, len),
        }
    }

    pub fn set_size(&self, size: u64) -> Result<(), Errno> {
        self.require_writable()?;
        match &self.backend {
            Backend::Host(host) => uninterrupted(|| sys::set_size(host.handle(), size)),
            Backend::Memory(memory) => memory.set_size(size),
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
        match &self.backend {
            Backend::Host(host) => by_full_handle(&host.file, |handle| sys::set_times(handle, atim, mtim)),
            Backend::Memory(memory) => {
                memory.set_times(atim, mtim);
                Ok(())
            }
        }
    }

    /// Takes, changes or gives up the lock of a whole file, and waits for whoever is in the way if that
    /// is wanted. An exclusive lock wants the permission to write: it keeps others from doing so.
    pub fn lock(&self, kind: Option<LockKind>, wait: bool, waiter: &Waiter) -> Result<(), Error> {
        if !matches!(self.filetype()?, Filetype::RegularFile | Filetype::Directory) {
            return Err(Errno::Badf.into());
        }
        if kind == Some(LockKind::Exclusive) {
            self.perms.require(Perms::WRITE)?;
        }
        // The kernel's own wait could not be interrupted.
        let mut backoff = Backoff::default();
        loop {
            match self.try_lock(kind) {
                Err(Errno::Again) if wait => backoff.pause(waiter)?,
                done => return Ok(done?),
            }
        }
    }

    fn try_lock(&self, kind: Option<LockKind>) -> Result<(), Errno> {
        match &self.backend {
            Backend::Host(host) => uninterrupted(|| sys::try_lock(host.handle(), kind)),
            Backend::Memory(memory) => memory.try_lock(kind),
        }
    }

    pub fn sync(&self) -> Result<(), Errno> {
        match &self.backend {
            Backend::Host(host) => by_full_handle(&host.file, sys::sync),
            Backend::Memory(_) => Ok(()),
        }
    }

    pub fn datasync(&self) -> Result<(), Errno> {
        match &self.backend {
            Backend::Host(host) => by_full_handle(&host.file, sys::datasync),
            Backend::Memory(_) => Ok(()),
        }
    }
}
