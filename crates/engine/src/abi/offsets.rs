//! The layout of a `VMContext`: the only place that defines offsets into it.
//!
//! The compiler uses it to access fields, the runtime to fill them. The structs are in
//! `runtime/vm/vmcontext.rs`. A test there compares each offset with `offset_of!`.

use crate::parse::info::*;
use cranelift_entity::EntityRef;

pub const POINTER: u32 = 8;

pub mod header {
    pub const STORE: i32 = 8;
    pub const LIBCALLS: i32 = 24;
    pub const SIZE: u32 = 32;
}

pub mod host {
    pub const CODE: i32 = 32;
}

pub mod store {
    pub const STACK_LIMIT: i32 = 0;
    pub const ENTRY_FP: i32 = 8;
    pub const ENTRY_SP: i32 = 16;
    pub const ENTRY_HANDLER: i32 = 24;
    pub const EXIT_FP: i32 = 32;
    pub const EXIT_PC: i32 = 40;
    pub const RESUME: i32 = 48;
    pub const FUEL: i32 = 88;
    pub const UNWIND_PC: i32 = 56;
    pub const UNWIND_SP: i32 = 64;
    pub const UNWIND_FP: i32 = 72;
    pub const UNWIND_PAYLOAD: i32 = 80;
    pub const VALUES: i32 = 96;
}

pub mod exception {
    pub const TAG: i32 = 0;
    pub const VALUES: i32 = 8;
}

pub mod func_ref {
    pub const CODE: i32 = 0;
    pub const VMCTX: i32 = 16;
    pub const TYPE_ID: i32 = 24;
    pub const SIZE: u32 = 32;
    /// An instance makes so many together, when one of them is first needed.
    pub const BLOCK: usize = 32;
}

pub mod function_import {
    pub const CODE: i32 = 0;
    pub const VMCTX: i32 = 8;
    pub const FUNC_REF: i32 = 16;
    pub const SIZE: u32 = 24;
}

pub mod memory {
    pub const BASE: i32 = 0;
    pub const DEFINITION: i32 = 8;
    pub const SIZE: u32 = 16;
}

pub mod memory_definition {
    pub const BASE: i32 = 0;
    pub const LENGTH: i32 = 8;
}

pub mod table_definition {
    pub const BASE: i32 = 0;
    pub const LENGTH: i32 = 8;
    pub const SIZE: u32 = 16;
}

pub const GLOBAL_SIZE: u32 = 16;
pub const VALUE_SIZE: u32 = 16;

/// The offset of the array of memories. It is the same for all modules, because libcall trampolines are.
pub const MEMORIES: u32 = header::SIZE;

/// The offset of each array in one module's `VMContext`.
#[derive(Clone, Debug)]
pub struct VMOffsets {
    defined_globals: u32,
    defined_tables: u32,
    imported_tables: u32,
    imported_globals: u32,
    imported_functions: u32,
    imported_tags: u32,
    defined_tags: u32,
    type_ids: u32,
    func_ref_blocks: u32,
    size: u32,
    num_imported_tags: u32,
}

impl VMOffsets {
    /// The layout for a module. Hot and small arrays come first, so that their offsets have short encodings.
    /// Returns `None` if the context would exceed 2 GiB.
    pub fn new(info: &ModuleInfo) -> Option<VMOffsets> {
        let mut end = MEMORIES as u64 + info.memories.len() as u64 * memory::SIZE as u64;
        let mut place = |count: usize, size: u32, align: u64| {
            let start = end.next_multiple_of(align);
            end = start + count as u64 * size as u64;
            start as u32
        };
        let offsets = VMOffsets {
            defined_globals: place(info.globals.len() - info.num_imported_globals, GLOBAL_SIZE, 16),
            defined_tables: place(info.tables.len() - info.num_imported_tables, table_definition::SIZE, 8),
            imported_tables: place(info.num_imported_tables, POINTER, 8),
            imported_globals: place(info.num_imported_globals, POINTER, 8),
            imported_tags: place(info.num_imported_tags, POINTER, 8),
            defined_tags: place(info.tags.len() - info.num_imported_tags, POINTER, 8),
            type_ids: place(info.types.len(), 4, 4),
            imported_functions: place(info.num_imported_functions, function_import::SIZE, 8),
            func_ref_blocks: place(info.func_refs.len().div_ceil(func_ref::BLOCK), POINTER, 8),
            size: 0,
            num_imported_tags: info.num_imported_tags as u32,
        };
        let size = u32::try_from(end).ok().filter(|size| i32::try_from(*size).is_ok())?;
        Some(VMOffsets { size, ..offsets })
    }

    /// The size of the context in bytes.
    pub fn size(&self) -> u32 {
        self.size
    }

    pub fn memory(&self, index: MemoryIndex) -> i32 {
        (MEMORIES + index.as_u32() * memory::SIZE) as i32
    }

    pub fn defined_global(&self, index: DefinedGlobalIndex) -> i32 {
        (self.defined_globals + index.as_u32() * GLOBAL_SIZE) as i32
    }

    /// A pointer to the `VMGlobalDefinition`.
    pub fn imported_global(&self, index: GlobalIndex) -> i32 {
        (self.imported_globals + index.as_u32() * POINTER) as i32
    }

    pub fn defined_table(&self, index: DefinedTableIndex) -> i32 {
        (self.defined_tables + index.as_u32() * table_definition::SIZE) as i32
    }

    /// A pointer to the `VMTableDefinition`.
    pub fn imported_table(&self, index: TableIndex) -> i32 {
        (self.imported_tables + index.as_u32() * POINTER) as i32
    }

    pub fn imported_function(&self, index: FuncIndex) -> i32 {
        (self.imported_functions + index.as_u32() * function_import::SIZE) as i32
    }

    /// The tag's identity: a pointer that is equal only for equal tags.
    pub fn tag(&self, index: TagIndex) -> i32 {
        let i = index.as_u32();
        match i.checked_sub(self.num_imported_tags) {
            Some(defined) => (self.defined_tags + defined * POINTER) as i32,
            None => (self.imported_tags + i * POINTER) as i32,
        }
    }

    /// The process-wide identity of a type. It has 4 bytes.
    pub fn type_id(&self, index: TypeIndex) -> i32 {
        (self.type_ids + index.as_u32() * 4) as i32
    }

    /// A pointer to the block with this function reference. Null until the block is made.
    pub fn func_ref_block(&self, index: FuncRefIndex) -> i32 {
        let block = index.index() / func_ref::BLOCK;
        (self.func_ref_blocks + block as u32 * POINTER) as i32
    }

    /// The place of a function reference in its block.
    pub fn place_in_block(&self, index: FuncRefIndex) -> usize {
        index.index() % func_ref::BLOCK
    }
}
