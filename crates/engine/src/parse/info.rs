//! What a validated module declares, as plain data: the result of [`super::parse`].
//!
//! Read by the compiler and by instantiation. Invariant: everything here has passed validation, so indices
//! are in range and types are correct. Bodies and data are byte ranges of the module.

use crate::types::*;
use cranelift_entity::{PrimaryMap, entity_impl};
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::OnceLock;

macro_rules! index_space {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u32);
        entity_impl!($name, $prefix);
    )*};
}

index_space! {
    /// Index of a type.
    TypeIndex = "type";
    /// Index of a function, imports first.
    FuncIndex = "func";
    /// Index of a function among those the module defines.
    DefinedFuncIndex = "defined_func";
    /// Index of a table, imports first.
    TableIndex = "table";
    /// Index of a table among those the module defines.
    DefinedTableIndex = "defined_table";
    /// Index of a memory, imports first.
    MemoryIndex = "memory";
    /// Index of a global, imports first.
    GlobalIndex = "global";
    /// Index of a global among those the module defines.
    DefinedGlobalIndex = "defined_global";
    /// Index of a tag, imports first.
    TagIndex = "tag";
    /// Index of an element segment.
    ElemIndex = "elem";
    /// Index of a data segment.
    DataIndex = "data";
    /// Index among the functions that references can be taken of.
    FuncRefIndex = "func_ref";
}

/// The kind and index of an import or export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntityIndex {
    Func(FuncIndex),
    Table(TableIndex),
    Memory(MemoryIndex),
    Global(GlobalIndex),
    Tag(TagIndex),
}

#[derive(Debug)]
pub struct Import {
    pub module: String,
    pub name: String,
    pub index: EntityIndex,
}

#[derive(Debug)]
pub struct Export {
    pub name: String,
    pub index: EntityIndex,
}

#[derive(Clone, Copy, Debug)]
pub struct Function {
    pub ty: TypeIndex,
    /// Set if a reference to the function can be taken: it is exported, in an element segment or a constant
    /// expression, or declared for `ref.func`.
    pub func_ref: Option<FuncRefIndex>,
}

/// One instruction of a constant expression.
#[derive(Clone, Copy, Debug)]
pub enum ConstOp {
    I32Const(i32),
    I64Const(i64),
    F32Const(u32),
    F64Const(u64),
    V128Const(u128),
    GlobalGet(GlobalIndex),
    RefNull,
    RefFunc(FuncIndex),
    I32Add,
    I32Sub,
    I32Mul,
    I64Add,
    I64Sub,
    I64Mul,
}

/// A constant expression (spec: "Constant Expressions"), in stack order.
pub type ConstExpr = SmallVec<[ConstOp; 1]>;

#[derive(Debug)]
pub struct Table {
    pub ty: TableType,
    /// The initial value of every element; `None` is a null reference.
    pub init: Option<ConstExpr>,
    /// Whether the elements are null at first but for functions that active segments list.
    pub lists_functions: bool,
}

#[derive(Debug)]
pub struct Global {
    pub ty: GlobalType,
    /// `None` for an imported global.
    pub init: Option<ConstExpr>,
}

#[derive(Debug)]
pub enum SegmentMode<I> {
    Active {
        target: I,
        offset: ConstExpr,
    },
    Passive,
    /// Element segments only: the segment declares functions for `ref.func` and is empty at run time.
    Declared,
}

#[derive(Debug)]
pub enum ElemItems {
    Functions(Box<[FuncIndex]>),
    Expressions(Box<[ConstExpr]>),
}

impl ElemItems {
    pub fn len(&self) -> usize {
        match self {
            ElemItems::Functions(items) => items.len(),
            ElemItems::Expressions(items) => items.len(),
        }
    }
}

#[derive(Debug)]
pub struct Elem {
    pub ty: RefType,
    pub items: ElemItems,
    pub mode: SegmentMode<TableIndex>,
}

#[derive(Debug)]
pub struct Data {
    pub bytes: Range<usize>,
    pub mode: SegmentMode<MemoryIndex>,
}

#[derive(Default)]
pub struct ModuleInfo {
    pub types: PrimaryMap<TypeIndex, SharedFuncType>,
    pub imports: Vec<Import>,
    pub exports: Vec<Export>,
    pub functions: PrimaryMap<FuncIndex, Function>,
    pub tables: PrimaryMap<TableIndex, Table>,
    pub memories: PrimaryMap<MemoryIndex, MemoryType>,
    pub globals: PrimaryMap<GlobalIndex, Global>,
    pub tags: PrimaryMap<TagIndex, TypeIndex>,
    pub num_imported_functions: usize,
    pub num_imported_tables: usize,
    pub num_imported_memories: usize,
    pub num_imported_globals: usize,
    pub num_imported_tags: usize,
    pub start: Option<FuncIndex>,
    pub elems: PrimaryMap<ElemIndex, Elem>,
    pub data: PrimaryMap<DataIndex, Data>,
    /// The functions that references can be taken of.
    pub func_refs: PrimaryMap<FuncRefIndex, FuncIndex>,
    /// The offset of the code section's contents in the module.
    pub code_section: usize,
    /// The byte range of each defined function's body in the module. Empty if they have not been read:
    /// see `parse::read`.
    pub bodies: PrimaryMap<DefinedFuncIndex, Range<usize>>,
    /// The same, where they have not been read. Looked for on first use.
    pub found_bodies: OnceLock<Vec<Range<usize>>>,
    /// The names in the name section. Read on first use.
    pub names: OnceLock<Names>,
    /// The first bytes of the hash of the module's bytes. Stack frames use it to distinguish modules.
    pub hash: [u8; 4],
    /// Name and contents of each custom section, in order.
    pub custom_sections: Vec<(String, Range<usize>)>,
}

/// The name section of a module, as byte ranges.
#[derive(Default)]
pub struct Names {
    /// The name of the module.
    pub module: Option<Range<usize>>,
    /// The names of functions, ordered by function.
    pub functions: Vec<(FuncIndex, Range<usize>)>,
}

impl ModuleInfo {
    /// The number of functions that the module defines.
    pub fn num_bodies(&self) -> usize {
        self.functions.len() - self.num_imported_functions
    }

    /// Bytes of all bodies.
    pub fn code_len(&self) -> usize {
        self.bodies.values().map(|body| body.len()).sum()
    }

    pub fn func_type(&self, index: FuncIndex) -> &SharedFuncType {
        &self.types[self.functions[index].ty]
    }

    pub fn tag_type(&self, index: TagIndex) -> &SharedFuncType {
        &self.types[self.tags[index]]
    }

    pub fn extern_type(&self, index: EntityIndex) -> ExternType {
        match index {
            EntityIndex::Func(i) => ExternType::Func(self.func_type(i).clone()),
            EntityIndex::Table(i) => ExternType::Table(self.tables[i].ty),
            EntityIndex::Memory(i) => ExternType::Memory(self.memories[i]),
            EntityIndex::Global(i) => ExternType::Global(self.globals[i].ty),
            EntityIndex::Tag(i) => ExternType::Tag(self.tag_type(i).clone()),
        }
    }
}

/// Splits an index space into imports and definitions.
macro_rules! defined {
    ($($to_defined:ident: $index:ident -> $defined:ident, $imported:ident;)*) => {
        impl ModuleInfo {$(
            /// The index among the module's own definitions, or `None` for an import.
            pub fn $to_defined(&self, index: $index) -> Option<$defined> {
                index.0.checked_sub(self.$imported as u32).map($defined)
            }
        )*}
    };
}

defined! {
    defined_func: FuncIndex -> DefinedFuncIndex, num_imported_functions;
    defined_table: TableIndex -> DefinedTableIndex, num_imported_tables;
    defined_global: GlobalIndex -> DefinedGlobalIndex, num_imported_globals;
}

/// Bytes of a function name that are shown. A name section may contain a name of many megabytes, and 64
/// frames of a stack would each have a copy. Mangled names of real programs are shorter.
const MAX_NAME: usize = 4096;
/// Bytes of a module name that frames show.
const MAX_MODULE_NAME: usize = 256;

impl ModuleInfo {
    pub fn func_index(&self, index: DefinedFuncIndex) -> FuncIndex {
        FuncIndex(index.0 + self.num_imported_functions as u32)
    }

    /// The function whose body has this offset in the module with the binary `bytes`.
    pub fn function_at(&self, bytes: &[u8], offset: usize) -> Option<DefinedFuncIndex> {
        let bodies = match self.bodies.as_values_slice() {
            [] => self.found_bodies.get_or_init(|| super::bodies_in(bytes).collect()),
            bodies => bodies,
        };
        let place = bodies.partition_point(|body| body.start <= offset).checked_sub(1)?;
        bodies[place].contains(&offset).then_some(DefinedFuncIndex(place as u32))
    }

    fn names(&self, bytes: &[u8]) -> &Names {
        self.names.get_or_init(|| super::names(self, bytes))
    }

    /// The module's URL in stack frames: its name, if it has one, and the beginning of its hash. `bytes` is
    /// the module's binary.
    pub fn url(&self, bytes: &[u8]) -> String {
        let name = self.names(bytes).module.clone().and_then(|range| bytes.get(range)).unwrap_or_default();
        let name = String::from_utf8_lossy(&name[..name.len().min(MAX_MODULE_NAME)]);
        let hash = u32::from_be_bytes(self.hash);
        let dash = if name.is_empty() { "" } else { "-" };
        format!("wasm://wasm/{name}{dash}{hash:08x}")
    }

    /// The function's name in the name section of the module with the binary `bytes`. A very long name is
    /// truncated and marked.
    pub fn function_name(&self, bytes: &[u8], index: FuncIndex) -> Option<String> {
        let functions = &self.names(bytes).functions;
        let place = functions.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        let (_, range) = functions.get(place)?;
        let name = bytes.get(range.clone())?;
        let Some(start) = name.get(..MAX_NAME) else {
            return Some(String::from_utf8_lossy(name).into_owned());
        };
        Some(format!("{}…", String::from_utf8_lossy(start)))
    }
}
