//! The exports of an instance.

use super::externs::Extern;
use super::global::Global;
use super::instance::Instance;
use super::memory::Memory;
use super::table::Table;
use crate::parse::info::EntityIndex;
use crate::runtime::vm::exception::{Tag, TagObj};
use cranelift_entity::EntityRef;
use std::ptr::NonNull;

impl Instance {
    fn entity(&self, index: EntityIndex) -> Option<Extern> {
        let (obj, group) = (self.obj(), self.group.clone());
        Some(match index {
            EntityIndex::Func(index) => Extern::Func(self.func(index)),
            EntityIndex::Table(index) => Extern::Table(Table::of(group, obj.tables[index.index()])),
            EntityIndex::Memory(index) => Extern::Memory(Memory::of(group, obj.memories[index.index()])),
            EntityIndex::Global(index) => {
                let ty = obj.module.info().globals[index].ty;
                Extern::Global(Global::of(group, ty, NonNull::from(obj.global(index))))
            }
            EntityIndex::Tag(index) => {
                // SAFETY: this is the field of a tag of this module, filled by `link`.
                let tag = unsafe { *obj.context.field::<*mut TagObj>(obj.module.offsets().tag(index)) };
                Extern::Tag(Tag::of(group, NonNull::new(tag)?))
            }
        })
    }

    /// The export with this name.
    pub fn export(&self, name: &str) -> Option<Extern> {
        let info = self.obj().module.info();
        let export = info.exports.iter().find(|export| export.name == name)?;
        self.entity(export.index)
    }

    /// All exports, in the module's order.
    pub fn exports(&self) -> Vec<(String, Extern)> {
        let info = self.obj().module.info();
        info.exports
            .iter()
            .filter_map(|export| Some((export.name.clone(), self.entity(export.index)?)))
            .collect()
    }
}
