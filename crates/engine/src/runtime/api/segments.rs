//! Segments: the initial contents of an instance's tables and memories.

use super::instance::Instance;
use super::link::InstantiateError;
use crate::abi::TrapCode;
use crate::parse::info::SegmentMode;
use std::ptr;

impl Instance {
    /// Writes the active segments, and prepares the passive ones. With `has_data` the memories already have the
    /// bytes of all active data segments: see `Module::images`.
    pub(super) fn fill(&self, has_data: bool) -> Result<(), InstantiateError> {
        let module = self.obj().module.clone();
        let info = module.info();
        let mut elems = Vec::with_capacity(info.elems.len());
        for elem in info.elems.values() {
            match &elem.mode {
                SegmentMode::Active { target, offset } => {
                    let start = self.obj().offset(offset, info.tables[*target].ty.table64);
                    let items = self.obj().elements(&elem.items)?;
                    let slots = self.obj().table(target.as_u32()).range(start, items.len() as u64);
                    slots.ok_or(TrapCode::TableOutOfBounds)?.copy_from_slice(&items);
                    elems.push(Box::default());
                }
                SegmentMode::Passive => elems.push(self.obj().elements(&elem.items)?),
                SegmentMode::Declared => elems.push(Box::default()),
            }
        }
        let mut passive = Vec::with_capacity(info.data.len());
        for data in info.data.values() {
            let SegmentMode::Active { target, offset } = &data.mode else {
                passive.push(data.bytes.clone());
                continue;
            };
            passive.push(0..0);
            if has_data {
                continue;
            }
            let start = self.obj().offset(offset, info.memories[*target].memory64);
            let memory = self.obj().memory(target.as_u32());
            let bytes = &module.bytes()[data.bytes.clone()];
            if !memory.holds(start, bytes.len() as u64) {
                return Err(TrapCode::MemoryOutOfBounds.into());
            }
            // SAFETY: the range was just checked, and the module's bytes are not in the memory.
            unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr(), memory.base().add(start as usize), bytes.len());
            }
        }
        self.obj().elems.replace(elems);
        self.obj().data.replace(passive);
        Ok(())
    }
}
