//! The types of WebAssembly in the engine.
//!
//! Used by the whole engine and by its embedders. The identity of function types is in `registry.rs`.

mod registry;

pub use registry::{SharedFuncType, SubType, TypeId};

use std::fmt;

/// A value type (spec: `valtype`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ValType {
    I32,
    I64,
    F32,
    F64,
    V128,
    Ref(RefType),
}

/// A reference type (spec: `reftype`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RefType {
    pub nullable: bool,
    pub heap: HeapType,
}

/// What a reference refers to (spec: `heaptype`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HeapType {
    Func,
    NoFunc,
    Extern,
    NoExtern,
    Exn,
    NoExn,
    /// A function type of the process-wide registry.
    Concrete(TypeId),
    /// The type at this index of the recursion group being defined. It appears only in registry keys, never
    /// in a public type.
    Recursive(u32),
}

impl RefType {
    pub const FUNCREF: RefType = RefType { nullable: true, heap: HeapType::Func };
    pub const EXTERNREF: RefType = RefType { nullable: true, heap: HeapType::Extern };
    pub const EXNREF: RefType = RefType { nullable: true, heap: HeapType::Exn };

    /// Whether values of this type are pointers to a `VMFuncRef`.
    pub fn is_func(self) -> bool {
        matches!(
            self.heap,
            HeapType::Func | HeapType::NoFunc | HeapType::Concrete(_) | HeapType::Recursive(_)
        )
    }

    /// Whether values of this type are indices into the table of host values.
    pub fn is_extern(self) -> bool {
        matches!(self.heap, HeapType::Extern | HeapType::NoExtern)
    }

    /// Whether values of this type are exceptions.
    pub fn is_exn(self) -> bool {
        matches!(self.heap, HeapType::Exn | HeapType::NoExn)
    }

    /// Subtyping (spec: "Matching", reference types).
    pub fn matches(self, other: RefType) -> bool {
        (other.nullable || !self.nullable) && self.heap.matches(other.heap)
    }
}

impl HeapType {
    fn matches(self, other: HeapType) -> bool {
        use HeapType::*;
        match (self, other) {
            (a, b) if a == b => true,
            (NoFunc | Concrete(_), Func) | (NoFunc, Concrete(_)) => true,
            (NoExtern, Extern) | (NoExn, Exn) => true,
            (Concrete(a), Concrete(b)) => SharedFuncType::from_id(a).is_some_and(|ty| ty.is_a(b)),
            _ => false,
        }
    }
}

impl ValType {
    pub const FUNCREF: ValType = ValType::Ref(RefType::FUNCREF);
    pub const EXTERNREF: ValType = ValType::Ref(RefType::EXTERNREF);

    /// Subtyping (spec: "Matching", value types).
    pub fn matches(self, other: ValType) -> bool {
        match (self, other) {
            (ValType::Ref(a), ValType::Ref(b)) => a.matches(b),
            (a, b) => a == b,
        }
    }
}

impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValType::I32 => f.write_str("i32"),
            ValType::I64 => f.write_str("i64"),
            ValType::F32 => f.write_str("f32"),
            ValType::F64 => f.write_str("f64"),
            ValType::V128 => f.write_str("v128"),
            ValType::Ref(r) => r.fmt(f),
        }
    }
}

impl fmt::Display for RefType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.nullable, self.heap) {
            (true, HeapType::Func) => f.write_str("funcref"),
            (true, HeapType::Extern) => f.write_str("externref"),
            (true, HeapType::Exn) => f.write_str("exnref"),
            (nullable, heap) => {
                f.write_str(if nullable { "(ref null " } else { "(ref " })?;
                match heap {
                    HeapType::Func => f.write_str("func")?,
                    HeapType::NoFunc => f.write_str("nofunc")?,
                    HeapType::Extern => f.write_str("extern")?,
                    HeapType::NoExtern => f.write_str("noextern")?,
                    HeapType::Exn => f.write_str("exn")?,
                    HeapType::NoExn => f.write_str("noexn")?,
                    HeapType::Concrete(id) => write!(f, "$type{}", id.0)?,
                    HeapType::Recursive(i) => write!(f, "$rec{i}")?,
                }
                f.write_str(")")
            }
        }
    }
}

/// A function type (spec: `functype`).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct FuncType {
    pub params: Box<[ValType]>,
    pub results: Box<[ValType]>,
}

impl FuncType {
    pub fn new(params: impl Into<Box<[ValType]>>, results: impl Into<Box<[ValType]>>) -> FuncType {
        FuncType { params: params.into(), results: results.into() }
    }

    /// The number of 16-byte slots for a call through an argument array. Arguments and results share them.
    pub fn slots(&self) -> usize {
        self.params.len().max(self.results.len())
    }

    fn map_refs(&self, mut f: impl FnMut(HeapType) -> HeapType) -> FuncType {
        let mut each = |tys: &[ValType]| -> Box<[ValType]> {
            tys.iter()
                .map(|ty| match *ty {
                    ValType::Ref(r) => ValType::Ref(RefType { heap: f(r.heap), ..r }),
                    other => other,
                })
                .collect()
        };
        let params = each(&self.params);
        FuncType { params, results: each(&self.results) }
    }
}

impl fmt::Display for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, tys: &[ValType]| {
            f.write_str("(")?;
            for (i, ty) in tys.iter().enumerate() {
                write!(f, "{}{ty}", if i == 0 { "" } else { ", " })?;
            }
            f.write_str(")")
        };
        list(f, &self.params)?;
        f.write_str(" -> ")?;
        list(f, &self.results)
    }
}

/// A memory type (spec: `memtype`). Limits are in pages of `1 << page_size_log2` bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryType {
    pub minimum: u64,
    pub maximum: Option<u64>,
    pub memory64: bool,
    pub shared: bool,
    pub page_size_log2: u8,
}

/// A table type (spec: `tabletype`). Limits are in elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableType {
    pub element: RefType,
    pub minimum: u64,
    pub maximum: Option<u64>,
    pub table64: bool,
}

/// A global type (spec: `globaltype`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GlobalType {
    pub content: ValType,
    pub mutable: bool,
}

/// The type of an import or export (spec: `externtype`).
#[derive(Clone, PartialEq, Debug)]
pub enum ExternType {
    Func(SharedFuncType),
    Table(TableType),
    Memory(MemoryType),
    Global(GlobalType),
    Tag(SharedFuncType),
}

impl ExternType {
    /// The name of this kind in the JS API (`WebAssembly.ImportExportKind`).
    pub fn kind(&self) -> &'static str {
        match self {
            ExternType::Func(_) => "function",
            ExternType::Table(_) => "table",
            ExternType::Memory(_) => "memory",
            ExternType::Global(_) => "global",
            ExternType::Tag(_) => "tag",
        }
    }
}
