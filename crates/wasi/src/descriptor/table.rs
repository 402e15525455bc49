//! The numbers of a context's descriptors.
//!
//! Invariants: the lowest free number is given out; the free list holds exactly the empty slots; an
//! entry taken out is dropped (and its host file closed) after the lock is released; no operation of a
//! file runs under the lock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::descriptor::Descriptor;
use crate::errno::Errno;

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
    use crate::descriptor::Object;
    use crate::rights::Rights;

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
}
