//! Imported and exported items.

use super::func::Func;
use super::global::Global;
use super::memory::Memory;
use super::table::Table;
use crate::runtime::vm::exception::Tag;
use crate::runtime::vm::group::Group;
use crate::runtime::vm::host_func::NativeFunc;
use crate::types::*;

/// An item that is imported or exported.
#[derive(Clone)]
pub enum Extern {
    Func(Func),
    Table(Table),
    Memory(Memory),
    Global(Global),
    Tag(Tag),
    /// A host function with its own C signature. It can only be imported.
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
            Extern::Native(native) => ExternType::Func(native.ty().clone()),
        }
    }
}
