//! Tables of references.
//!
//! Invariant: the definition always tells the current place and size of the elements, and an
//! element is null, a live function reference of the table's group, or a host value's index.

use super::limits::{Charge, Limits};
use super::store::Store;
use super::traps::Error;
use super::vmcontext::VMTableDefinition;
use crate::pages::check_spare;
use crate::types::{RefType, TableType};
use std::alloc::{Layout, alloc_zeroed};
use std::ptr::NonNull;

/// A table, owned by its group.
pub struct TableObj {
    ty: TableType,
    limits: Limits,
    charge: Charge,
    elements: Vec<u64>,
    /// In the context of the instance that defines the table, or in a box of its own.
    definition: NonNull<VMTableDefinition>,
    _own: Option<Box<VMTableDefinition>>,
}

impl TableObj {
    /// A table with every element `init`; `definition` is where an instance keeps it.
    pub(crate) fn new(
        store: &Store,
        ty: TableType,
        init: u64,
        definition: Option<NonNull<VMTableDefinition>>,
    ) -> Result<Box<TableObj>, Error> {
        let limits = store.limits();
        limits.check_table(ty.minimum)?;
        let mut charge = store.charge();
        charge.set(bytes_of(ty.minimum))?;
        let mut own = None;
        let definition = definition.unwrap_or_else(|| {
            let empty = VMTableDefinition { base: std::ptr::null_mut(), length: 0 };
            NonNull::from(&mut **own.insert(Box::new(empty)))
        });
        let elements = filled(ty.minimum, init).ok_or_else(|| {
            Error::OutOfMemory(format!("cannot allocate a table of {} elements", ty.minimum))
        })?;
        let mut table = Box::new(TableObj { ty, limits, charge, elements, definition, _own: own });
        table.publish();
        Ok(table)
    }

    fn publish(&mut self) {
        let current = VMTableDefinition { base: self.elements.as_mut_ptr(), length: self.elements.len() };
        // SAFETY: the definition lives as long as the group, and compiled code, the only other
        // reader, does not run while we do.
        unsafe { self.definition.write(current) };
    }

    pub(crate) fn ty(&self) -> TableType {
        self.ty
    }

    pub(crate) fn definition(&self) -> *mut VMTableDefinition {
        self.definition.as_ptr()
    }

    pub(crate) fn elements(&mut self) -> &mut [u64] {
        &mut self.elements
    }

    /// Current number of elements.
    pub(crate) fn size(&self) -> u64 {
        self.elements.len() as u64
    }

    pub(crate) fn grow(&mut self, delta: u64, init: u64) -> Option<u64> {
        let old = self.size();
        let size = old.checked_add(delta)?;
        if self.ty.maximum.is_some_and(|maximum| size > maximum) || !self.limits.allow_table(size) {
            return None;
        }
        let charged = self.charge.bytes();
        self.charge.set(bytes_of(size)).ok()?;
        // A vector that grows doubles.
        let room =
            check_spare(2 * bytes_of(size)).is_ok() && self.elements.try_reserve(delta as usize).is_ok();
        if !room {
            // Less than there was is never too much.
            let _ = self.charge.set(charged);
            return None;
        }
        self.elements.resize(size as usize, init);
        self.publish();
        Some(old)
    }

    /// Has these elements and no others.
    pub(crate) fn restore(&mut self, elements: &[u64]) -> Result<(), Error> {
        self.elements.clear();
        self.elements
            .try_reserve(elements.len())
            .map_err(|_| Error::Internal("no memory for a table that is reset".into()))?;
        self.elements.extend_from_slice(elements);
        self.publish();
        Ok(())
    }

    /// The elements of a range, if all of them are inside.
    pub(crate) fn range(&mut self, start: u64, len: u64) -> Option<&mut [u64]> {
        let end = start.checked_add(len)?;
        self.elements.get_mut(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }

    pub(crate) fn for_each_reference(&self, kind: fn(RefType) -> bool, f: &mut dyn FnMut(u64)) {
        if kind(self.ty.element) {
            self.elements.iter().for_each(|element| f(*element));
        }
    }
}

fn bytes_of(elements: u64) -> usize {
    usize::try_from(elements).unwrap_or(usize::MAX).saturating_mul(size_of::<u64>())
}

/// So many elements, if there is memory for them.
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
    // The system's zeroes take no memory until they are written to.
    let layout = Layout::array::<u64>(count).ok()?;
    // SAFETY: the layout's size is not zero.
    let zeroes = NonNull::new(unsafe { alloc_zeroed(layout) })?;
    // SAFETY: allocated just now by the global allocator for so many u64, all of them zero.
    Some(unsafe { Vec::from_raw_parts(zeroes.as_ptr().cast(), count, count) })
}
