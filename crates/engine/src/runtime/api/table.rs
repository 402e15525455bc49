//! Tables as the embedder holds them.

use super::value::Val;
use crate::runtime::vm::group::Group;
use crate::runtime::vm::store::Store;
use crate::runtime::vm::table::TableObj;
use crate::runtime::vm::traps::Error;
use crate::runtime::vm::vmcontext::ValRaw;
use crate::types::{TableType, ValType};
use std::ptr::NonNull;

/// A handle to a table.
#[derive(Clone)]
pub struct Table {
    group: Group,
    obj: NonNull<TableObj>,
}

impl Table {
    /// Makes a table of the type's minimum size with every element set to `init`.
    pub fn new(store: &Store, ty: TableType, init: Val) -> Result<Table, Error> {
        let group = Group::new(store);
        let element = reference(&group, &init, ty)?;
        let obj = TableObj::new(store, ty, element, None)?;
        let ptr = obj.as_ptr();
        group.add(|members| members.tables.push(obj));
        Ok(Table { group, obj: ptr })
    }

    pub(crate) fn of(group: Group, obj: NonNull<TableObj>) -> Table {
        Table { group, obj }
    }

    fn obj(&self) -> &TableObj {
        // SAFETY: our group keeps the object alive, and only shared references to it are ever made (`VmBox`).
        unsafe { self.obj.as_ref() }
    }

    /// The declared type. Its minimum is still the one the table was made with.
    pub fn ty(&self) -> TableType {
        self.obj().ty()
    }

    /// The current number of elements.
    pub fn size(&self) -> u64 {
        self.obj().size()
    }

    /// The value of an element. Traps if the index is out of bounds.
    pub fn get(&self, index: u64) -> Result<Val, Error> {
        let mut raw = ValRaw::ZERO;
        raw.externref = self.obj().range(index, 1)?[0];
        // SAFETY: an element of this table is a live reference of its element type.
        Ok(unsafe { Val::from_raw(self.group.store(), raw, ValType::Ref(self.ty().element)) })
    }

    /// Sets an element. Traps if the index is out of bounds.
    pub fn set(&self, index: u64, value: Val) -> Result<(), Error> {
        let element = reference(&self.group, &value, self.ty())?;
        self.obj().range(index, 1)?[0] = element;
        Ok(())
    }

    /// Grows by `delta` elements of value `init`. Returns the old size, or `None` if the table cannot grow.
    pub fn grow(&self, delta: u64, init: Val) -> Result<Option<u64>, Error> {
        let element = reference(&self.group, &init, self.ty())?;
        Ok(self.obj().grow(delta, element))
    }

    /// An identity: equal for two handles to the same table.
    pub fn id(&self) -> usize {
        self.obj.as_ptr() as usize
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    pub(crate) fn as_ptr(&self) -> NonNull<TableObj> {
        self.obj
    }
}

/// The table element for a value. The value lives as long as the group from now on.
fn reference(group: &Group, value: &Val, ty: TableType) -> Result<u64, Error> {
    if !value.is_a(ValType::Ref(ty.element)) {
        return Err(Error::Internal(format!("a table of {} cannot hold {value:?}", ty.element)));
    }
    value.live_with(group)?;
    // SAFETY: every kind of reference has 8 bytes.
    Ok(unsafe { value.to_raw().externref })
}
