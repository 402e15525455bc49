//! Imports and exports.

use super::func::Func;
use super::global::Global;
use super::instance::Instance;
use super::memory::Memory;
use super::table::Table;
use crate::parse::info::EntityIndex;
use crate::runtime::vm::exception::{Tag, TagObj};
use crate::runtime::vm::group::Group;
use crate::runtime::vm::host_func::NativeFunc;
use crate::types::*;
use cranelift_entity::EntityRef;
use std::ptr::NonNull;

/// Something that is imported or exported.
#[derive(Clone)]
pub enum Extern {
    Func(Func),
    Table(Table),
    Memory(Memory),
    Global(Global),
    Tag(Tag),
    /// An import only: a host function with a C signature of its own.
    Native(NativeFunc),
}

impl Extern {
    pub(super) fn group(&self) -> Option<&Group> {
        match self {
            Extern::Func(func) => Some(func.group()),
            Extern::Table(table) => Some(table.group()),
            Extern::Memory(memory) => Some(memory.group()),
            Extern::Global(global) => Some(global.group()),
            Extern::Tag(tag) => tag.group(),
            Extern::Native(_) => None,
        }
    }

    /// The type, with the current size as the minimum of a table or memory (spec: "Matching").
    pub fn ty(&self) -> ExternType {
        match self {
            Extern::Func(func) => ExternType::Func(func.ty()),
            Extern::Table(table) => ExternType::Table(TableType { minimum: table.size(), ..table.ty() }),
            Extern::Memory(memory) => {
                ExternType::Memory(MemoryType { minimum: memory.size(), ..memory.ty() })
            }
            Extern::Global(global) => ExternType::Global(global.ty()),
            Extern::Tag(tag) => ExternType::Tag(tag.ty()),
            Extern::Native(native) => ExternType::Func(SharedFuncType::new(native.ty().clone())),
        }
    }
}

impl Instance {
    pub(super) fn entity(&self, index: EntityIndex) -> Option<Extern> {
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
                // SAFETY: the field of a tag of this module, filled by `link`.
                let tag = unsafe { *obj.context.field::<*mut TagObj>(obj.module.offsets().tag(index)) };
                Extern::Tag(Tag::of(group, NonNull::new(tag)?))
            }
        })
    }

    /// The export of this name.
    pub fn export(&self, name: &str) -> Option<Extern> {
        let info = self.obj().module.info();
        let export = info.exports.iter().find(|export| export.name == name)?;
        self.entity(export.index)
    }

    /// All exports in the module's order.
    pub fn exports(&self) -> Vec<(String, Extern)> {
        let info = self.obj().module.info();
        info.exports
            .iter()
            .filter_map(|export| Some((export.name.clone(), self.entity(export.index)?)))
            .collect()
    }
}
