//! Segments: the initial contents of an instance's tables and memories.

use super::instance::Instance;
use super::link::InstantiateError;
use crate::abi::TrapCode;
use crate::parse::info::{DataIndex, ElemIndex, SegmentMode};
use cranelift_entity::EntityRef;
use std::collections::HashSet;
use std::ptr;

impl Instance {
    /// Writes the active segments, and prepares the passive ones. With `has_data` the memories already have the
    /// bytes of all active data segments: see `Module::images`.
    ///
    /// If an active one does not fit, it and those after it are not dropped. Functions of this instance may already
    /// be in an imported table, and use them.
    pub(super) fn fill(&self, has_data: bool) -> Result<(), InstantiateError> {
        let obj = self.obj();
        let info = obj.info();
        let mut elems = Vec::with_capacity(info.elems.len());
        for elem in info.elems.values() {
            let is_passive = matches!(elem.mode, SegmentMode::Passive);
            elems.push(if is_passive { obj.elements(&elem.items)? } else { Box::default() });
        }
        obj.elems.replace(elems);
        obj.dropped_data.replace(HashSet::new());
        obj.unused_elem.set(ElemIndex::new(0));
        for (index, elem) in info.elems.iter() {
            let SegmentMode::Active { target, offset } = &elem.mode else { continue };
            let start = obj.offset(offset, info.tables[*target].ty.table64);
            let table = obj.table(target.as_u32());
            let len = elem.items.len() as u64;
            if start.checked_add(len).is_none_or(|end| end > table.size()) {
                obj.unused_elem.set(index);
                obj.unused_data.set(DataIndex::new(0));
                self.keep_active_elems(index)?;
                return Err(TrapCode::TableOutOfBounds.into());
            }
            let is_own = info.defined_table(*target).is_some();
            if !(is_own && table.is_filled_later()) {
                obj.write_elements(&elem.items, &mut table.range(start, len)?);
            }
        }
        obj.unused_elem.set(info.elems.next_key());
        if !has_data {
            self.fill_memories()?;
        }
        Ok(())
    }

    /// Makes the elements of the active segments from this one on, which are not in their tables.
    fn keep_active_elems(&self, first: ElemIndex) -> Result<(), InstantiateError> {
        for (index, elem) in self.obj().info().elems.iter().skip(first.index()) {
            if matches!(elem.mode, SegmentMode::Active { .. }) {
                let elements = self.obj().elements(&elem.items)?;
                self.obj().elems.borrow_mut()[index.index()] = elements;
            }
        }
        Ok(())
    }

    fn fill_memories(&self) -> Result<(), InstantiateError> {
        let obj = self.obj();
        let info = obj.info();
        for (index, data) in info.data.iter() {
            let SegmentMode::Active { target, offset } = &data.mode else { continue };
            let start = obj.offset(offset, info.memories[*target].memory64);
            let memory = obj.memory(target.as_u32());
            let bytes = &obj.module.bytes()[data.bytes.clone()];
            if !memory.holds(start, bytes.len() as u64) {
                obj.unused_data.set(index);
                return Err(TrapCode::MemoryOutOfBounds.into());
            }
            // SAFETY: the range was just checked, and the module's bytes are not in the memory.
            unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr(), memory.base().add(start as usize), bytes.len());
            }
        }
        Ok(())
    }
}
