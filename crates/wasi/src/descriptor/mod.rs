//! What a descriptor stands for, and the rights it carries.
//!
//! Used by `abi/` through `WasiCtx`. Invariant: rights only shrink.

mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use guest_memory::IoVecs;

use crate::errno::{Errno, Error};
use crate::fs::file::OpenFile;
use crate::rights::{Perms, Rights};
use crate::stdio::{InputBuffer, OutputBuffer};
use crate::sys::BorrowedHandle;
use crate::types::{Fdflags, Fdstat, Filestat, Filetype};
use crate::wait::Waiter;
use crate::watch::Watch;

pub use table::{FdTable, KeptTable};

/// What a descriptor stands for.
pub enum Object {
    File(OpenFile),
    /// Reads end at once, writes vanish.
    Null,
    Input(Arc<InputBuffer>),
    Output(OutputBuffer),
    Watch(Watch),
}

pub struct Descriptor {
    pub object: Object,
    base: AtomicU64,
    inheriting: AtomicU64,
    /// The name under which the host preopened this directory.
    preopen: Option<Box<str>>,
}

impl Descriptor {
    pub fn new(object: Object, base: Rights, inheriting: Rights) -> Descriptor {
        Descriptor {
            object,
            base: AtomicU64::new(base.bits()),
            inheriting: AtomicU64::new(inheriting.bits()),
            preopen: None,
        }
    }

    pub fn preopened(dir: OpenFile, guest_path: String) -> Descriptor {
        let mut descriptor =
            Descriptor::new(Object::File(dir), Rights::DIRECTORY, Rights::PREOPEN_INHERITING);
        descriptor.preopen = Some(guest_path.into_boxed_str());
        descriptor
    }

    #[inline]
    pub fn base(&self) -> Rights {
        Rights::from_bits_truncate(self.base.load(Ordering::Relaxed))
    }

    pub fn inheriting(&self) -> Rights {
        Rights::from_bits_truncate(self.inheriting.load(Ordering::Relaxed))
    }

    pub fn preopen_path(&self) -> Option<&str> {
        self.preopen.as_deref()
    }

    #[inline]
    pub fn require(&self, rights: Rights) -> Result<(), Errno> {
        if self.base().contains(rights) { Ok(()) } else { Err(Errno::Notcapable) }
    }

    /// The rights to move bytes. Where they are missing because the file never
    /// was readable (or writable), POSIX programs expect `EBADF`, and `EISDIR`
    /// of a directory; `ENOTCAPABLE` is for rights that were given away.
    #[inline]
    pub fn require_transfer(&self, rights: Rights) -> Result<(), Errno> {
        if self.base().contains(rights) { Ok(()) } else { Err(self.why_no_transfer(rights)) }
    }

    #[cold]
    fn why_no_transfer(&self, rights: Rights) -> Errno {
        let Object::File(file) = &self.object else {
            return Errno::Badf;
        };
        if file.filetype() == Ok(Filetype::Directory) {
            return Errno::Isdir;
        }
        let missing = rights - self.base();
        let impossible = (missing.contains(Rights::FD_READ) && !file.is_readable())
            || (missing.contains(Rights::FD_WRITE) && !file.is_writable());
        if impossible {
            Errno::Badf
        } else if missing.intersects(Rights::FD_SEEK) && self.is_unseekable() {
            Errno::Spipe
        } else {
            Errno::Notcapable
        }
    }

    /// The rights to change the size. Where they are missing because the file
    /// was opened for reading, POSIX programs expect that to be said.
    pub fn require_sizing(&self, rights: Rights, only_read: Errno) -> Result<&OpenFile, Errno> {
        let file = self.file()?;
        if self.base().contains(rights) {
            Ok(file)
        } else if file.filetype() == Ok(Filetype::RegularFile) && !file.is_writable() {
            file.perms.require(Perms::WRITE)?;
            Err(only_read)
        } else {
            Err(Errno::Notcapable)
        }
    }

    /// The rights to move the position, `ESPIPE` where there is none.
    #[inline]
    pub fn require_position(&self, rights: Rights) -> Result<&OpenFile, Errno> {
        match &self.object {
            Object::File(file) if self.base().contains(rights) => Ok(file),
            Object::File(file) if file.filetype() == Ok(Filetype::Directory) => Err(Errno::Isdir),
            Object::File(_) if !self.is_unseekable() => Err(Errno::Notcapable),
            _ => Err(Errno::Spipe),
        }
    }

    fn is_unseekable(&self) -> bool {
        match &self.object {
            Object::File(file) => match file.filetype() {
                Ok(Filetype::CharacterDevice) => file.is_terminal(),
                Ok(Filetype::Unknown) => true,
                Ok(filetype) => filetype.is_socket(),
                Err(_) => false,
            },
            _ => true,
        }
    }

    /// The file behind it, for calls that only make sense on one.
    #[inline]
    pub fn file(&self) -> Result<&OpenFile, Errno> {
        match &self.object {
            Object::File(file) => Ok(file),
            _ => Err(Errno::Badf),
        }
    }

    /// The directory a path call starts from.
    #[inline]
    pub fn directory(&self, rights: Rights) -> Result<&OpenFile, Errno> {
        let Object::File(file) = &self.object else {
            return Err(Errno::Notdir);
        };
        if self.base().contains(rights) && matches!(file.known_filetype(), Some(Filetype::Directory) | None) {
            return Ok(file);
        }
        match file.filetype()? {
            Filetype::Directory => Err(Errno::Notcapable),
            _ => Err(Errno::Notdir),
        }
    }

    pub fn host_handle(&self) -> Option<BorrowedHandle<'_>> {
        match &self.object {
            Object::File(file) => Some(file.host()?.handle()),
            Object::Watch(watch) => Some(watch.handle()),
            _ => None,
        }
    }

    #[inline]
    pub fn read(&self, into: &IoVecs<'_>, waiter: &Waiter) -> Result<usize, Error> {
        match &self.object {
            Object::File(file) => file.read(into, waiter),
            Object::Input(buffer) => Ok(buffer.read(into)),
            Object::Watch(watch) => watch.read(into, waiter),
            Object::Null => Ok(0),
            Object::Output(_) => Err(Errno::Badf.into()),
        }
    }

    #[inline]
    pub fn write(&self, from: &IoVecs<'_>, waiter: &Waiter) -> Result<usize, Error> {
        match &self.object {
            Object::File(file) => file.write(from, waiter),
            Object::Output(buffer) => buffer.write(from),
            Object::Null => Ok(from.total()),
            Object::Input(_) | Object::Watch(_) => Err(Errno::Badf.into()),
        }
    }

    pub fn set_flags(&self, flags: Fdflags) -> Result<(), Errno> {
        match &self.object {
            Object::File(file) => file.set_flags(flags)?,
            Object::Watch(watch) => watch.set_flags(flags),
            // A stream in memory never makes anyone wait, and always appends.
            _ => {}
        }
        Ok(())
    }

    /// Whether [`Descriptor::fdstat`] answers without asking the host.
    #[inline]
    pub fn knows_fdstat(&self) -> bool {
        match &self.object {
            Object::File(file) => file.known_filetype().is_some(),
            _ => true,
        }
    }

    #[inline(always)]
    pub fn fdstat(&self) -> Result<Fdstat, Errno> {
        let (filetype, flags, applicable) = match &self.object {
            Object::File(file) => {
                let filetype = file.filetype()?;
                (filetype, file.flags(), Rights::applicable(filetype))
            }
            Object::Watch(watch) => (Filetype::Unknown, watch.flags(), Rights::all()),
            _ => (Filetype::Unknown, Fdflags::empty(), Rights::all()),
        };
        let inheriting = match filetype {
            Filetype::Directory => self.inheriting(),
            _ if filetype.is_socket() => self.inheriting(),
            _ => Rights::empty(),
        };
        Ok(Fdstat { filetype, flags, rights_base: self.base() & applicable, rights_inheriting: inheriting })
    }

    pub fn filestat(&self) -> Result<Filestat, Errno> {
        match &self.object {
            Object::File(file) => {
                file.perms.require(Perms::READ)?;
                file.stat()
            }
            _ => Ok(Filestat::of_stream(Filetype::Unknown)),
        }
    }

    /// Another descriptor for the same open file, with no more rights than
    /// this one has.
    pub fn narrowed(&self, base: Rights, inheriting: Rights) -> Result<Descriptor, Errno> {
        if !self.base().contains(base) || !self.inheriting().contains(inheriting) {
            return Err(Errno::Notcapable);
        }
        let object = match &self.object {
            Object::File(file) => Object::File(file.duplicate()?),
            Object::Null => Object::Null,
            Object::Input(buffer) => Object::Input(buffer.clone()),
            Object::Output(buffer) => Object::Output(buffer.clone()),
            Object::Watch(_) => return Err(Errno::Notsup),
        };
        Ok(Descriptor::new(object, base, inheriting))
    }

    /// Gives rights away; asking for one that is not there is `ENOTCAPABLE`.
    pub fn shrink_rights(&self, base: Rights, inheriting: Rights) -> Result<(), Errno> {
        if !self.base().contains(base) || !self.inheriting().contains(inheriting) {
            return Err(Errno::Notcapable);
        }
        // Two threads may shrink at once: what either took away stays away.
        self.base.fetch_and(base.bits(), Ordering::Relaxed);
        self.inheriting.fetch_and(inheriting.bits(), Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_never_come_back() {
        let descriptor = Descriptor::new(Object::Null, Rights::all(), Rights::empty());
        let few = Rights::FD_READ | Rights::FD_WRITE;
        assert_eq!(descriptor.shrink_rights(few, Rights::empty()), Ok(()));
        assert_eq!(descriptor.shrink_rights(Rights::all(), Rights::empty()), Err(Errno::Notcapable));
        assert_eq!(descriptor.shrink_rights(few, Rights::FD_READ), Err(Errno::Notcapable));
        assert_eq!(descriptor.base(), few);
    }
}
