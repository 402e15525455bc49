//! Tables of references.
//!
//! Invariant: the definition always holds the current address and size of the elements. An element
//! is null, a live function reference of the table's group, or a host value's index.

use super::limits::{Charge, Limits};
use super::store::Store;
use super::traps::Error;
use super::vm_box::VmBox;
use super::vmcontext::VMTableDefinition;
use crate::pages::check_spare;
use crate::types::{RefType, TableType};
use std::alloc::{Layout, alloc_zeroed};
use std::cell::{RefCell, RefMut};
use std::ptr::NonNull;

/// A table, owned by its group.
pub struct TableObj {
    ty: TableType,
    limits: Limits,
    charge: Charge,
    /// Compiled code accesses them through the definition. Borrowed only while nothing can run that
    /// re-enters the table.
    elements: RefCell<Vec<u64>>,
    /// Points into the context of the instance that defines the table, or into a box of its own.
    definition: NonNull<VMTableDefinition>,
    _own: Option<VmBox<VMTableDefinition>>,
}

impl TableObj {
    /// Makes a table with every element `init`. `definition` is the place where an instance keeps it.
    pub(crate) fn new(
        store: &Store,
        ty: TableType,
        init: u64,
        definition: Option<NonNull<VMTableDefinition>>,
    ) -> Result<VmBox<TableObj>, Error> {
        let limits = store.limits();
        limits.check_table(ty.minimum)?;
        let charge = store.charge();
        charge.set(bytes_of(ty.minimum))?;
        let mut own = None;
        let definition = definition.unwrap_or_else(|| {
            let empty = VMTableDefinition { base: std::ptr::null_mut(), length: 0 };
            own.insert(VmBox::new(empty)).as_ptr()
        });
        let elements = filled(ty.minimum, init).ok_or_else(|| {
            Error::OutOfMemory(format!("cannot allocate a table of {} elements", ty.minimum))
        })?;
        let elements = RefCell::new(elements);
        let table = TableObj { ty, limits, charge, elements, definition, _own: own };
        table.publish(&mut table.elements());
        Ok(VmBox::new(table))
    }

    fn publish(&self, elements: &mut Vec<u64>) {
        let current = VMTableDefinition { base: elements.as_mut_ptr(), length: elements.len() };
        // SAFETY: the definition lives as long as the group, and nobody ever has a reference to it.
        // Compiled code, the only other reader, is on this thread, so it waits.
        unsafe { self.definition.write(current) };
    }

    pub(crate) fn ty(&self) -> TableType {
        self.ty
    }

    pub(crate) fn definition(&self) -> *mut VMTableDefinition {
        self.definition.as_ptr()
    }

    /// The elements. While they are borrowed, nothing may run that re-enters the table.
    pub(crate) fn elements(&self) -> RefMut<'_, Vec<u64>> {
        self.elements.borrow_mut()
    }

    /// The current number of elements.
    pub(crate) fn size(&self) -> u64 {
        self.elements.borrow().len() as u64
    }

    pub(crate) fn grow(&self, delta: u64, init: u64) -> Option<u64> {
        let mut elements = self.elements();
        let old = elements.len() as u64;
        let size = old.checked_add(delta)?;
        if self.ty.maximum.is_some_and(|maximum| size > maximum) || !self.limits.allow_table(size) {
            return None;
        }
        let charged = self.charge.bytes();
        self.charge.set(bytes_of(size)).ok()?;
        // A growing vector doubles its capacity.
        let room = check_spare(2 * bytes_of(size)).is_ok() && elements.try_reserve(delta as usize).is_ok();
        if !room {
            // A smaller charge cannot fail.
            let _ = self.charge.set(charged);
            return None;
        }
        elements.resize(size as usize, init);
        self.publish(&mut elements);
        Some(old)
    }

    /// Replaces all elements.
    pub(crate) fn restore(&self, kept: &[u64]) -> Result<(), Error> {
        let mut elements = self.elements();
        elements.clear();
        let room = elements.try_reserve(kept.len());
        if room.is_ok() {
            elements.extend_from_slice(kept);
        }
        self.publish(&mut elements);
        room.map_err(|_| Error::Internal("no memory for a table that is reset".into()))
    }

    /// The elements of a range, if the whole range is inside.
    pub(crate) fn range(&self, start: u64, len: u64) -> Option<RefMut<'_, [u64]>> {
        let end = start.checked_add(len)?;
        let range = usize::try_from(start).ok()?..usize::try_from(end).ok()?;
        RefMut::filter_map(self.elements(), |elements| elements.get_mut(range)).ok()
    }

    pub(crate) fn for_each_reference(&self, kind: fn(RefType) -> bool, f: &mut dyn FnMut(u64)) {
        if kind(self.ty.element) {
            self.elements.borrow().iter().for_each(|element| f(*element));
        }
    }
}

fn bytes_of(elements: u64) -> usize {
    usize::try_from(elements).unwrap_or(usize::MAX).saturating_mul(size_of::<u64>())
}

/// A vector of `count` elements, if there is memory for it.
fn filled(count: u64, init: u64) -> Option<Vec<u64>> {
    check_spare(bytes_of(count)).ok()?;
    let count = usize::try_from(count).ok()?;
    let mut elements = Vec::new();
    if count == 0 {
        return Some(elements);
    }
    if init != 0 {
        elements.try_reserve_exact(count).ok()?;
        elements.resize(count, init);
        return Some(elements);
    }
    // Zeroed pages from the system take no memory until they are written.
    let layout = Layout::array::<u64>(count).ok()?;
    // SAFETY: the layout's size is not zero.
    let zeroes = NonNull::new(unsafe { alloc_zeroed(layout) })?;
    // SAFETY: this was just allocated by the global allocator for `count` u64, all of them zero.
    Some(unsafe { Vec::from_raw_parts(zeroes.as_ptr().cast(), count, count) })
}
