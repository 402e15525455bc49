//! The descriptors of one context: numbers, what they stand for, and the
//! rights they carry.
//!
//! Used by the ABI files through `WasiCtx`. Invariants: the lowest free number
//! is given out; the free list holds exactly the empty slots; an entry taken
//! out is dropped (and its host file closed) after the lock is released; no
//! operation of a file runs under the lock.

#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::errno::Errno;
use crate::fs::file::OpenFile;
use crate::rights::{Perms, Rights};
use crate::stdio::{InputBuffer, OutputBuffer};
use crate::sys::BorrowedHandle;
use crate::types::{Fdflags, Fdstat, Filestat, Filetype};
use crate::watch::Watch;

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

pub struct FdTable {
    slots: RwLock<Slots>,
    max: usize,
}

/// The descriptors of a table at one time, which stay open as long as this is
/// there.
pub struct KeptTable(Vec<Option<Arc<Descriptor>>>);

#[derive(Default)]
struct Slots {
    entries: Vec<Option<Arc<Descriptor>>>,
    /// Numbers of the empty slots.
    free: BinaryHeap<Reverse<u32>>,
}

impl FdTable {
    /// A table that holds at most `max` descriptors at a time.
    pub fn new(max: u32) -> FdTable {
        FdTable { slots: RwLock::default(), max: max as usize }
    }

    #[inline]
    fn read(&self) -> RwLockReadGuard<'_, Slots> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Slots> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub fn get(&self, fd: u32) -> Result<Arc<Descriptor>, Errno> {
        self.read().get(fd).cloned()
    }

    /// Looks at a descriptor under the lock: for what takes no time at all.
    #[inline]
    pub fn with<T>(&self, fd: u32, look: impl FnOnce(&Descriptor) -> Result<T, Errno>) -> Result<T, Errno> {
        look(self.read().get(fd)?)
    }

    /// Whether another descriptor would fit, so that a call can find out
    /// before it has effects.
    pub fn require_room(&self) -> Result<(), Errno> {
        if self.read().open() < self.max { Ok(()) } else { Err(Errno::Mfile) }
    }

    pub fn insert(&self, descriptor: Descriptor) -> Result<u32, Errno> {
        let mut slots = self.write();
        if slots.open() >= self.max {
            return Err(Errno::Mfile);
        }
        let entry = Some(Arc::new(descriptor));
        if let Some(Reverse(fd)) = slots.free.pop() {
            if let Some(slot) = slots.entries.get_mut(fd as usize) {
                *slot = entry;
            }
            return Ok(fd);
        }
        let fd = u32::try_from(slots.entries.len()).map_err(|_| Errno::Mfile)?;
        // The list of free numbers may come to have all of them, and closing
        // cannot fail.
        let all_free = slots.entries.len() + 1 - slots.free.len();
        slots.entries.try_reserve(1).map_err(|_| Errno::Nomem)?;
        slots.free.try_reserve(all_free).map_err(|_| Errno::Nomem)?;
        slots.entries.push(entry);
        Ok(fd)
    }

    /// The caller drops the entry, which may close the file.
    pub fn remove(&self, fd: u32) -> Result<Arc<Descriptor>, Errno> {
        self.write().remove(fd)
    }

    /// Closes everything. The entries are dropped after the lock is released.
    pub fn clear(&self) {
        let entries = std::mem::take(&mut *self.write());
        drop(entries);
    }

    /// What is open now.
    pub fn kept(&self) -> KeptTable {
        KeptTable(self.read().entries.clone())
    }

    /// Has what was open then open again, and nothing else. Positions in files
    /// and rights that were given away stay as they are.
    pub fn restore(&self, kept: &KeptTable) {
        let entries = kept.0.clone();
        let numbers = (0..).zip(&entries);
        let free = numbers.filter_map(|(fd, entry)| entry.is_none().then_some(Reverse(fd)));
        let slots = Slots { free: free.collect(), entries };
        let before = std::mem::replace(&mut *self.write(), slots);
        drop(before);
    }

    /// Moves `from` to the number `to`, which must be open, and returns what
    /// that stood for.
    pub fn renumber(&self, from: u32, to: u32) -> Result<Option<Arc<Descriptor>>, Errno> {
        let mut slots = self.write();
        slots.get(from)?;
        slots.get(to)?;
        if from == to {
            return Ok(None);
        }
        let moved = slots.remove(from)?;
        let slot = slots.entries.get_mut(to as usize).ok_or(Errno::Badf)?;
        Ok(slot.replace(moved))
    }
}

impl Slots {
    fn open(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    #[inline]
    fn get(&self, fd: u32) -> Result<&Arc<Descriptor>, Errno> {
        self.entries.get(fd as usize).and_then(Option::as_ref).ok_or(Errno::Badf)
    }

    fn remove(&mut self, fd: u32) -> Result<Arc<Descriptor>, Errno> {
        let slot = self.entries.get_mut(fd as usize).ok_or(Errno::Badf)?;
        let entry = slot.take().ok_or(Errno::Badf)?;
        self.free.push(Reverse(fd));
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn null() -> Descriptor {
        Descriptor::new(Object::Null, Rights::all(), Rights::empty())
    }

    /// Against a set of numbers, over a fixed walk through all operations.
    #[test]
    fn behaves_as_a_set_of_numbers() {
        let table = FdTable::new(40);
        let mut model = BTreeSet::new();
        let mut random = 12345u32;
        for _ in 0..20_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (operation, a, b) = (random >> 28, (random >> 8) % 45, (random >> 16) % 45);
            match operation {
                0..=7 => {
                    let lowest = (0..).find(|fd| !model.contains(fd)).unwrap();
                    if model.len() == 40 {
                        assert_eq!(table.insert(null()), Err(Errno::Mfile));
                    } else {
                        assert_eq!(table.insert(null()), Ok(lowest));
                        model.insert(lowest);
                    }
                }
                8..=11 => assert_eq!(table.remove(a).is_ok(), model.remove(&a)),
                _ => {
                    let possible = model.contains(&a) && model.contains(&b);
                    assert_eq!(table.renumber(a, b).is_ok(), possible);
                    if possible && a != b {
                        model.remove(&a);
                    }
                }
            }
            for fd in 0..45 {
                assert_eq!(table.get(fd).is_ok(), model.contains(&fd));
            }
        }
    }

    #[test]
    fn what_was_kept_comes_back_and_the_rest_is_let_go() {
        let table = FdTable::new(8);
        for _ in 0..4 {
            table.insert(null()).unwrap();
        }
        table.remove(1).unwrap();
        let kept = table.kept();
        let third = table.get(3).unwrap();
        assert_eq!(table.insert(null()), Ok(1));
        assert_eq!(table.insert(null()), Ok(4));
        let later = table.get(4).unwrap();
        table.remove(3).unwrap();
        table.restore(&kept);
        assert!(Arc::ptr_eq(&table.get(3).unwrap(), &third));
        assert_eq!(table.get(1).err(), Some(Errno::Badf));
        assert_eq!(table.get(4).err(), Some(Errno::Badf));
        assert_eq!(Arc::strong_count(&later), 1, "closed");
        assert_eq!(table.insert(null()), Ok(1));
        assert_eq!(table.insert(null()), Ok(4));
    }

    #[test]
    fn the_replaced_descriptor_is_let_go() {
        let table = FdTable::new(8);
        table.insert(null()).unwrap();
        table.insert(null()).unwrap();
        let old = table.get(1).unwrap();
        drop(table.renumber(0, 1).unwrap());
        assert_eq!(Arc::strong_count(&old), 1);
    }

    #[test]
    fn rights_never_come_back() {
        let descriptor = null();
        let few = Rights::FD_READ | Rights::FD_WRITE;
        assert_eq!(descriptor.shrink_rights(few, Rights::empty()), Ok(()));
        assert_eq!(descriptor.shrink_rights(Rights::all(), Rights::empty()), Err(Errno::Notcapable));
        assert_eq!(descriptor.shrink_rights(few, Rights::FD_READ), Err(Errno::Notcapable));
        assert_eq!(descriptor.base(), few);
    }
}
