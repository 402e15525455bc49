//! Tables of references.
//!
//! Invariant: the definition always tells the current place and size of the elements, and an
//! element is null, a live function reference of the table's group, or a host value's index.

use super::group::Group;
use super::limits::{Charge, Limits};
use super::pages::check_spare;
use super::store::Store;
use super::traps::{Error, TrapCode};
use super::value::Val;
use super::vmcontext::{VMTableDefinition, ValRaw};
use crate::types::{RefType, TableType, ValType};
use std::alloc::{Layout, alloc_zeroed};
use std::ptr::NonNull;

/// A handle to a table.
#[derive(Clone)]
pub struct Table {
    group: Group,
    obj: NonNull<TableObj>,
}

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
    pub(super) fn new(
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

    pub(super) fn ty(&self) -> TableType {
        self.ty
    }

    pub(super) fn definition(&self) -> *mut VMTableDefinition {
        self.definition.as_ptr()
    }

    pub(super) fn elements(&mut self) -> &mut [u64] {
        &mut self.elements
    }

    pub(super) fn grow(&mut self, delta: u64, init: u64) -> Option<u64> {
        let old = self.elements.len() as u64;
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
    pub(super) fn restore(&mut self, elements: &[u64]) -> Result<(), Error> {
        self.elements.clear();
        self.elements
            .try_reserve(elements.len())
            .map_err(|_| Error::Internal("no memory for a table that is reset".into()))?;
        self.elements.extend_from_slice(elements);
        self.publish();
        Ok(())
    }

    /// The elements of a range, if all of them are inside.
    pub(super) fn range(&mut self, start: u64, len: u64) -> Option<&mut [u64]> {
        let end = start.checked_add(len)?;
        self.elements.get_mut(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }

    pub(super) fn for_each_reference(&self, kind: fn(RefType) -> bool, f: &mut dyn FnMut(u64)) {
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

impl Table {
    /// A table of the type's minimum size with every element `init`.
    pub fn new(store: &Store, ty: TableType, init: Val) -> Result<Table, Error> {
        let group = Group::new(store);
        let element = reference(&group, &init, ty)?;
        let obj = TableObj::new(store, ty, element, None)?;
        let ptr = NonNull::from(&*obj);
        group.add(|members| members.tables.push(obj));
        Ok(Table { group, obj: ptr })
    }

    pub(super) fn of(group: Group, obj: NonNull<TableObj>) -> Table {
        Table { group, obj }
    }

    /// # Safety
    /// The reference ends before anything else can touch the table.
    #[allow(clippy::mut_from_ref, reason = "the object is behind a pointer")]
    unsafe fn obj(&self) -> &mut TableObj {
        // SAFETY: our group keeps the object; exclusive by this function's contract.
        unsafe { &mut *self.obj.as_ptr() }
    }

    /// The declared type; its minimum stays what it was when the table was made.
    pub fn ty(&self) -> TableType {
        // SAFETY: copied out at once.
        unsafe { self.obj() }.ty()
    }

    /// Current number of elements.
    pub fn size(&self) -> u64 {
        // SAFETY: copied out at once.
        unsafe { self.obj() }.elements.len() as u64
    }

    pub fn get(&self, index: u64) -> Option<Val> {
        // SAFETY: copied out at once.
        let element = unsafe { self.obj().range(index, 1)?[0] };
        let mut raw = ValRaw::ZERO;
        raw.externref = element;
        // SAFETY: an element of this table is a reference of its element type, and alive.
        Some(unsafe { Val::from_raw(self.group.store(), raw, ValType::Ref(self.ty().element)) })
    }

    /// Traps past the end.
    pub fn set(&self, index: u64, value: Val) -> Result<(), Error> {
        let element = reference(&self.group, &value, self.ty())?;
        // SAFETY: used at once.
        match unsafe { self.obj().range(index, 1) } {
            Some(slot) => {
                slot[0] = element;
                Ok(())
            }
            None => Err(TrapCode::TableOutOfBounds.into()),
        }
    }

    /// Grows by `delta` elements of `init`; the old size, or `None` if it cannot.
    pub fn grow(&self, delta: u64, init: Val) -> Result<Option<u64>, Error> {
        let element = reference(&self.group, &init, self.ty())?;
        // SAFETY: used at once.
        Ok(unsafe { self.obj() }.grow(delta, element))
    }

    /// The same for the same table.
    pub fn id(&self) -> usize {
        self.obj.as_ptr() as usize
    }

    pub(super) fn group(&self) -> &Group {
        &self.group
    }

    pub(super) fn as_ptr(&self) -> NonNull<TableObj> {
        self.obj
    }
}

/// The element for a value, which from now on lives as long as the group.
fn reference(group: &Group, value: &Val, ty: TableType) -> Result<u64, Error> {
    if !value.is_a(ValType::Ref(ty.element)) {
        return Err(Error::Internal(format!("a table of {} cannot hold {value:?}", ty.element)));
    }
    value.live_with(group)?;
    // SAFETY: a reference is 8 bytes in any of its forms.
    Ok(unsafe { value.to_raw().externref })
}
