//! The types of WebAssembly as the engine speaks of them, and the process-wide identity of
//! function types.
//!
//! Anyone in the engine and above may use this module. Invariant: two function types have the
//! same [`TypeId`] exactly when the specification calls them equal, in whichever modules of the
//! process they stand, so a signature check is one integer comparison.

use once_cell::sync::Lazy;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

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
    /// The type at this place of the recursion group being defined. It appears only inside
    /// registry keys, never in a type handed out.
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
            (Concrete(a), Concrete(b)) => a.is_subtype_of(b),
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

    /// The number of 16-byte slots a call through an argument array needs: arguments and results
    /// share them.
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
    /// The name the JS API gives this kind (`WebAssembly.ImportExportKind`).
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

/// The process-wide identity of a function type. Never used again for another type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TypeId(pub u32);

impl TypeId {
    /// Whether this is `other` or declared a subtype of it.
    pub(super) fn is_subtype_of(self, other: TypeId) -> bool {
        let mut current = Some(self);
        while let Some(id) = current {
            if id == other {
                return true;
            }
            current = SharedFuncType::from_id(id).and_then(|ty| ty.get().supertype);
        }
        false
    }
}

/// A function type with its identity. Holding one keeps the identities of its whole recursion
/// group alive.
#[derive(Clone)]
pub struct SharedFuncType {
    group: Arc<RecGroup>,
    index: usize,
}

struct RecGroup {
    key: Arc<[SubType]>,
    types: Vec<Registered>,
    /// The types of other groups that this one names, kept so that their identities stay theirs.
    references: Vec<SharedFuncType>,
}

struct Registered {
    id: TypeId,
    ty: FuncType,
    supertype: Option<TypeId>,
    is_final: bool,
}

/// One type of a recursion group before it has an identity.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SubType {
    pub ty: FuncType,
    pub supertype: Option<HeapType>,
    pub is_final: bool,
}

#[derive(Default)]
struct Registry {
    groups: HashMap<Arc<[SubType]>, Weak<RecGroup>>,
    by_id: HashMap<TypeId, (Weak<RecGroup>, usize)>,
    next: u32,
}

static REGISTRY: Lazy<Mutex<Registry>> = Lazy::new(Mutex::default);

/// Locks the registry. Nobody may drop a `SharedFuncType` while holding the guard: the last one
/// of a group locks it again.
fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SharedFuncType {
    /// The registered form of a type that is alone in its recursion group and names nothing of it.
    pub fn new(ty: FuncType) -> SharedFuncType {
        let group = SharedFuncType::intern(&[SubType { ty, supertype: None, is_final: true }]);
        SharedFuncType { group, index: 0 }
    }

    /// Registers a recursion group (spec: "Rolling" of recursive types) and returns its types in
    /// order. `HeapType::Recursive(i)` names the group's own `i`-th type.
    pub fn register_group(types: &[SubType]) -> Vec<SharedFuncType> {
        let group = SharedFuncType::intern(types);
        (0..types.len()).map(|index| SharedFuncType { group: group.clone(), index }).collect()
    }

    fn intern(types: &[SubType]) -> Arc<RecGroup> {
        // Declared before the guard, so dropped after it.
        let mut references = Vec::new();
        let mut registry = registry();
        if let Some(known) = registry.groups.get(types).and_then(Weak::upgrade) {
            return known;
        }
        let first = registry.next;
        registry.next = first
            .checked_add(types.len() as u32)
            .unwrap_or_else(|| panic!("four billion function types in one process"));
        let resolve = |heap| match heap {
            HeapType::Recursive(i) => HeapType::Concrete(TypeId(first + i)),
            other => other,
        };
        let mut note = |heap| {
            if let HeapType::Concrete(id) = heap
                && let Some((group, index)) = registry.by_id.get(&id)
                && let Some(group) = group.upgrade()
            {
                references.push(SharedFuncType { group, index: *index });
            }
            heap
        };
        for sub in types {
            sub.ty.map_refs(&mut note);
            sub.supertype.map(&mut note);
        }
        let registered = types.iter().enumerate().map(|(i, sub)| Registered {
            id: TypeId(first + i as u32),
            ty: sub.ty.map_refs(resolve),
            supertype: sub.supertype.map(resolve).and_then(|heap| match heap {
                HeapType::Concrete(id) => Some(id),
                _ => None,
            }),
            is_final: sub.is_final,
        });
        let group = Arc::new(RecGroup { key: types.into(), types: registered.collect(), references });
        for (index, ty) in group.types.iter().enumerate() {
            registry.by_id.insert(ty.id, (Arc::downgrade(&group), index));
        }
        registry.groups.insert(group.key.clone(), Arc::downgrade(&group));
        group
    }

    fn get(&self) -> &Registered {
        &self.group.types[self.index]
    }

    pub fn id(&self) -> TypeId {
        self.get().id
    }

    pub fn ty(&self) -> &FuncType {
        &self.get().ty
    }

    pub fn is_final(&self) -> bool {
        self.get().is_final
    }

    /// Whether a function of this type may stand where `other` is asked for.
    pub fn matches(&self, other: &SharedFuncType) -> bool {
        self.id().is_subtype_of(other.id())
    }

    /// The registered type of this identity, while something in the process still holds it.
    pub fn from_id(id: TypeId) -> Option<SharedFuncType> {
        let registry = registry();
        let (group, index) = registry.by_id.get(&id)?;
        group.upgrade().map(|group| SharedFuncType { group, index: *index })
    }
}

impl Drop for RecGroup {
    fn drop(&mut self) {
        let mut registry = registry();
        for ty in &self.types {
            registry.by_id.remove(&ty.id);
        }
        // Another thread may have registered the same types anew since our last holder left.
        if registry.groups.get(&self.key).is_some_and(|group| group.strong_count() == 0) {
            registry.groups.remove(&self.key);
        }
        drop(registry);
        // Types may refer to each other in a chain of any length, which must not become one of
        // calls: each group gives its references away before it drops.
        let mut references = std::mem::take(&mut self.references);
        while let Some(reference) = references.pop() {
            if let Some(mut group) = Arc::into_inner(reference.group) {
                references.append(&mut group.references);
            }
        }
    }
}

impl PartialEq for SharedFuncType {
    fn eq(&self, other: &SharedFuncType) -> bool {
        self.id() == other.id()
    }
}

impl fmt::Debug for SharedFuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.ty(), self.id().0)
    }
}
