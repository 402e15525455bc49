//! Instances: a module linked with its imports, and its context in memory.
//!
//! Invariant: a context is complete before anything runs in it, and everything it points to is
//! in the instance's group.

use super::exception::{Tag, TagObj};
use super::func::{Func, HostFunc, NativeFunc};
use super::global::{self, Global};
use super::group::{Group, WeakGroup};
use super::libcalls;
use super::limits::Budget;
use super::memory::{Memory, MemoryObj};
use super::state::{self, State};
use super::store::{Store, WeakStore};
use super::table::{Table, TableObj};
use super::traps::{Error, TrapCode};
use super::vmcontext::*;
use crate::compile::Tunables;
use crate::engine::Engine;
use crate::error::LinkError;
use crate::module::Module;
use crate::module::info::*;
use crate::types::*;
use cranelift_entity::EntityRef;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::RefCell;
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::rc::Rc;

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
    fn group(&self) -> Option<&Group> {
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

/// Why a module could not be instantiated.
#[derive(Debug)]
pub enum InstantiateError {
    Link(LinkError),
    /// An active segment did not fit, or the start function did not return.
    Error(Error),
}

impl From<Error> for InstantiateError {
    fn from(error: Error) -> InstantiateError {
        InstantiateError::Error(error)
    }
}

impl From<TrapCode> for InstantiateError {
    fn from(code: TrapCode) -> InstantiateError {
        InstantiateError::Error(code.into())
    }
}

/// A handle to an instance.
#[derive(Clone)]
pub struct Instance {
    group: Group,
    obj: NonNull<InstanceObj>,
}

/// An instance, owned by its group.
pub struct InstanceObj {
    context: Context,
    module: Module,
    store: WeakStore,
    group: RefCell<WeakGroup>,
    memories: Vec<NonNull<MemoryObj>>,
    tables: Vec<NonNull<TableObj>>,
    /// The elements of passive segments; empty once dropped.
    elems: Vec<Box<[u64]>>,
    /// Bytes of passive segments in the module; empty once dropped.
    data: Vec<std::ops::Range<usize>>,
    /// What [`Instance::reset`] brings back, if the module does not say all of it.
    kept: Option<Box<State>>,
    budget: Budget,
    /// Counted by the store.
    _alive: Rc<()>,
}

/// The memory of a `VMContext`.
struct Context {
    start: NonNull<u8>,
    layout: Layout,
}

impl Context {
    fn new(size: u32) -> Result<Context, Error> {
        let layout = Layout::from_size_align((size as usize).max(1), 16)
            .unwrap_or_else(|_| unreachable!("a layout of at most 2 GiB"));
        // SAFETY: the size is not zero.
        match NonNull::new(unsafe { alloc_zeroed(layout) }) {
            Some(start) => Ok(Context { start, layout }),
            None => Err(Error::OutOfMemory(format!("cannot allocate an instance of {size} bytes"))),
        }
    }

    fn vmctx(&self) -> *mut VMContext {
        self.start.as_ptr().cast()
    }

    /// A field at an offset that `VMOffsets` gave for this module.
    fn field<T>(&self, offset: i32) -> *mut T {
        debug_assert!(offset as usize + size_of::<T>() <= self.layout.size());
        self.start.as_ptr().wrapping_add(offset as usize).cast()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `new`.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

impl InstanceObj {
    pub(super) fn set_group(&self, group: &Group) {
        *self.group.borrow_mut() = group.downgrade();
    }

    pub(super) fn group(&self) -> Option<Group> {
        self.group.borrow().upgrade()
    }

    pub(super) fn store(&self) -> Option<Store> {
        self.store.upgrade()
    }

    /// Where what it makes while it runs is counted.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The address, which is the identity, and the type of a tag.
    pub(super) fn tag(&self, index: u32) -> (usize, SharedFuncType) {
        let index = TagIndex::new(index as usize);
        // SAFETY: the field of a tag of this module, filled by `link`.
        let tag = unsafe { *self.context.field::<usize>(self.module.offsets().tag(index)) };
        (tag, self.module.info().tag_type(index).clone())
    }

    pub(super) fn memory(&self, index: u32) -> NonNull<MemoryObj> {
        self.memories[index as usize]
    }

    pub(super) fn table(&self, index: u32) -> NonNull<TableObj> {
        self.tables[index as usize]
    }

    pub(super) fn elem(&self, index: u32) -> &[u64] {
        &self.elems[index as usize]
    }

    pub(super) fn drop_elem(&mut self, index: u32) {
        self.elems[index as usize] = Box::default();
    }

    pub(super) fn data(&self, index: u32) -> &[u8] {
        &self.module.bytes()[self.data[index as usize].clone()]
    }

    pub(super) fn drop_data(&mut self, index: u32) {
        self.data[index as usize] = 0..0;
    }

    /// The type of one of this instance's own function references.
    pub(super) fn func_type(&self, raw: NonNull<VMFuncRef>) -> SharedFuncType {
        self.module.info().func_type(self.func_index(raw)).clone()
    }

    /// The index of one of this instance's own function references.
    pub(super) fn func_index(&self, raw: NonNull<VMFuncRef>) -> FuncIndex {
        let first = self.context.field::<VMFuncRef>(self.module.offsets().func_ref(FuncRefIndex::new(0)));
        let place = (raw.as_ptr() as usize - first as usize) / size_of::<VMFuncRef>();
        self.module.info().func_refs[FuncRefIndex::new(place)]
    }

    fn func_ref(&self, index: FuncIndex) -> *mut VMFuncRef {
        let offsets = self.module.offsets();
        let function = self.module.info().functions[index];
        match (self.module.info().defined_func(index), function.func_ref) {
            (Some(_), Some(place)) => self.context.field(offsets.func_ref(place)),
            _ => {
                let import: *mut VMFunctionImport = self.context.field(offsets.imported_function(index));
                // SAFETY: the field of an import of this module, filled by `link`.
                unsafe { (*import).func_ref }
            }
        }
    }

    fn global(&self, index: GlobalIndex) -> *mut VMGlobalDefinition {
        let offsets = self.module.offsets();
        match self.module.info().defined_global(index) {
            Some(defined) => self.context.field(offsets.defined_global(defined)),
            // SAFETY: the field of an import of this module, filled by `link`.
            None => unsafe { *self.context.field(offsets.imported_global(index)) },
        }
    }

    pub(super) fn for_each_reference(&self, kind: fn(RefType) -> bool, f: &mut dyn FnMut(u64)) {
        let info = self.module.info();
        for (index, global) in info.globals.iter() {
            if info.defined_global(index).is_some() {
                // SAFETY: a defined global of this instance; compiled code does not run.
                global::for_reference(global.ty, unsafe { &*self.global(index) }, kind, f);
            }
        }
        for (elem, items) in info.elems.values().zip(&self.elems) {
            if kind(elem.ty) {
                items.iter().for_each(|item| f(*item));
            }
        }
        if let Some(kept) = &self.kept {
            kept.for_each_reference(info, kind, f);
        }
    }

    pub(super) fn info(&self) -> &ModuleInfo {
        self.module.info()
    }

    /// The memories that the instance defines.
    pub(super) fn own_memories(&self) -> impl Iterator<Item = NonNull<MemoryObj>> {
        self.memories.iter().skip(self.info().num_imported_memories).copied()
    }

    /// The tables that it defines.
    pub(super) fn own_tables(&self) -> impl Iterator<Item = NonNull<TableObj>> {
        let info = self.info();
        let tables = info.tables.keys().zip(&self.tables);
        tables.filter(|(index, _)| info.defined_table(*index).is_some()).map(|(_, table)| *table)
    }

    /// The globals that it defines.
    pub(super) fn own_globals(&self) -> impl Iterator<Item = (GlobalIndex, *mut VMGlobalDefinition)> {
        let defined = self.info().globals.keys().filter(|index| self.info().defined_global(*index).is_some());
        defined.map(|index| (index, self.global(index)))
    }

    /// Has the context tell where the memories are now: a reset may have given one other pages. While no
    /// wasm of the store runs.
    pub(super) fn refresh_memories(&self) {
        for (index, memory) in self.info().memories.keys().zip(&self.memories) {
            // SAFETY: a memory of our group, and the field of a memory of this module, which compiled
            // code, the only other user, does not read now.
            unsafe {
                let memory = memory.as_ref();
                let seen = VMMemory { base: memory.base(), definition: memory.definition() };
                self.context.field::<VMMemory>(self.module.offsets().memory(index)).write(seen);
            }
        }
    }

    pub(super) fn segments(&self) -> (&[Box<[u64]>], &[std::ops::Range<usize>]) {
        (&self.elems, &self.data)
    }

    /// Evaluates a constant expression (spec: "Constant Expressions").
    fn evaluate(&self, expr: &ConstExpr) -> ValRaw {
        let mut stack: Vec<ValRaw> = Vec::new();
        let pop = |stack: &mut Vec<ValRaw>| stack.pop().unwrap_or(ValRaw::ZERO);
        for op in expr {
            let mut raw = ValRaw::ZERO;
            // SAFETY: validation typed the expression, so a popped value is what is read.
            unsafe {
                match *op {
                    ConstOp::I32Const(value) => raw.i32 = value,
                    ConstOp::I64Const(value) => raw.i64 = value,
                    ConstOp::F32Const(bits) => raw.f32 = bits,
                    ConstOp::F64Const(bits) => raw.f64 = bits,
                    ConstOp::V128Const(bits) => raw.v128 = bits,
                    ConstOp::RefNull => {}
                    ConstOp::RefFunc(index) => raw.func = NonNull::new(self.func_ref(index)),
                    ConstOp::GlobalGet(index) => raw = (*self.global(index)).value,
                    ConstOp::I32Add | ConstOp::I32Sub | ConstOp::I32Mul => {
                        let (b, a) = (pop(&mut stack).i32, pop(&mut stack).i32);
                        raw.i32 = match op {
                            ConstOp::I32Add => a.wrapping_add(b),
                            ConstOp::I32Sub => a.wrapping_sub(b),
                            _ => a.wrapping_mul(b),
                        };
                    }
                    ConstOp::I64Add | ConstOp::I64Sub | ConstOp::I64Mul => {
                        let (b, a) = (pop(&mut stack).i64, pop(&mut stack).i64);
                        raw.i64 = match op {
                            ConstOp::I64Add => a.wrapping_add(b),
                            ConstOp::I64Sub => a.wrapping_sub(b),
                            _ => a.wrapping_mul(b),
                        };
                    }
                }
            }
            stack.push(raw);
        }
        pop(&mut stack)
    }

    /// A constant expression as an offset into a table or memory of the given index type.
    fn offset(&self, expr: &ConstExpr, is_64: bool) -> u64 {
        let raw = self.evaluate(expr);
        // SAFETY: the expression has the index type.
        unsafe { if is_64 { raw.i64 as u64 } else { u64::from(raw.i32 as u32) } }
    }

    fn elements(&self, items: &ElemItems) -> Result<Box<[u64]>, Error> {
        let count = match items {
            ElemItems::Functions(indices) => indices.len(),
            ElemItems::Expressions(exprs) => exprs.len(),
        };
        let mut elements = Vec::new();
        elements
            .try_reserve_exact(count)
            .map_err(|_| Error::OutOfMemory(format!("cannot allocate a segment of {count} elements")))?;
        match items {
            ElemItems::Functions(indices) => {
                elements.extend(indices.iter().map(|index| self.func_ref(*index) as u64));
            }
            ElemItems::Expressions(exprs) => {
                // SAFETY: the expressions are of a reference type.
                elements.extend(exprs.iter().map(|expr| unsafe { self.evaluate(expr).externref }));
            }
        }
        Ok(elements.into_boxed_slice())
    }
}

impl Instance {
    /// Links a module with its imports, in the order the module declares them, initialises it
    /// and runs its start function (spec: "Instantiation").
    pub fn new(store: &Store, module: &Module, imports: &[Extern]) -> Result<Instance, InstantiateError> {
        Instance::with_shared_memories(store, module, imports, Vec::new())
    }

    /// As [`Instance::new`], with the shared memories that the module defines, where the host
    /// makes those: in order, and of the module's types. For `None`, and for those that are left out,
    /// the engine makes one with bytes of its own.
    pub fn with_shared_memories(
        store: &Store,
        module: &Module,
        imports: &[Extern],
        shared_memories: Vec<Option<Memory>>,
    ) -> Result<Instance, InstantiateError> {
        // The code takes for granted how memories lie and who catches faults.
        // Only the fuel of the store is there in any case.
        let tunables = |engine: &Engine| Tunables { fuel: false, ..engine.tunables() };
        if tunables(module.engine()) != tunables(store.engine()) {
            let why = "the module was compiled by an engine with other settings than its store's";
            return Err(Error::Internal(why.into()).into());
        }
        check_imports(store, module, imports).map_err(InstantiateError::Link)?;
        let alive = store.live_instances();
        store.limits().check_instances(Rc::strong_count(&alive) - 2)?;
        let group = Group::new(store);
        for import in imports.iter().filter_map(Extern::group) {
            group.join(import);
        }
        let mut obj = Box::new(InstanceObj {
            context: Context::new(module.offsets().size())?,
            module: module.clone(),
            store: store.downgrade(),
            group: RefCell::new(group.root().downgrade()),
            memories: Vec::new(),
            tables: Vec::new(),
            elems: Vec::new(),
            data: Vec::new(),
            kept: None,
            budget: store.budget(),
            _alive: alive,
        });
        for memory in shared_memories.iter().flatten() {
            group.join(memory.group());
        }
        link(&mut obj, store, &group, imports, shared_memories)?;
        let ptr = NonNull::from(&mut *obj);
        group.add(|members| members.instances.push(obj));
        let instance = Instance { group, obj: ptr };
        instance.initialise()?;
        Ok(instance)
    }

    fn obj(&self) -> &InstanceObj {
        // SAFETY: our group keeps the object. It is changed only by libcalls of running wasm,
        // and no reference from here is held while wasm runs.
        unsafe { self.obj.as_ref() }
    }

    /// Fills tables and memories from the active segments, then runs the start function. What a
    /// segment wrote before one that does not fit stays (spec since 2.0).
    fn initialise(&self) -> Result<(), InstantiateError> {
        self.fill()?;
        if let Some(start) = self.obj().info().start {
            let mut none = [ValRaw::ZERO];
            // SAFETY: a start function takes and returns nothing.
            unsafe { self.func(start).call_raw(none.as_mut_ptr())? };
        }
        Ok(())
    }

    /// Writes the active segments, and has the passive ones ready.
    fn fill(&self) -> Result<(), InstantiateError> {
        let module = self.obj().module.clone();
        let info = module.info();
        let mut elems = Vec::with_capacity(info.elems.len());
        for elem in info.elems.values() {
            match &elem.mode {
                SegmentMode::Active { target, offset } => {
                    let start = self.obj().offset(offset, info.tables[*target].ty.table64);
                    let items = self.obj().elements(&elem.items)?;
                    let mut table = self.obj().tables[target.index()];
                    // SAFETY: tables of our group; nothing else refers to this one now.
                    let slots = unsafe { table.as_mut() }.range(start, items.len() as u64);
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
            let start = self.obj().offset(offset, info.memories[*target].memory64);
            // SAFETY: a memory of our group, borrowed for the copy below.
            let memory = unsafe { self.obj().memories[target.index()].as_ref() };
            let bytes = &module.bytes()[data.bytes.clone()];
            if !memory.holds(start, bytes.len() as u64) {
                return Err(TrapCode::MemoryOutOfBounds.into());
            }
            // SAFETY: the range was just checked; the module's bytes are not in the memory.
            unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr(), memory.base().add(start as usize), bytes.len());
            }
        }
        // SAFETY: no other reference to the object is held, and no wasm of it has run yet.
        unsafe {
            let obj = &mut *self.obj.as_ptr();
            (obj.elems, obj.data) = (elems, passive);
        }
        Ok(())
    }

    /// Keeps what the instance is now for [`Instance::reset`]. Needed where code has run, its start
    /// function or `_initialize`: what there is otherwise, the module says.
    ///
    /// # Errors
    /// [`Error::Internal`] if there is no room for it.
    pub fn keep_state(&self, store: &Store) -> Result<(), Error> {
        if store.is_running() || self.has_shared_memory() {
            return Ok(());
        }
        let kept = Box::new(State::of(self.obj())?);
        // SAFETY: no wasm runs, and no reference to the object is held.
        unsafe { (*self.obj.as_ptr()).kept = Some(kept) };
        Ok(())
    }

    /// Whether it defines a shared memory: other threads may use it, so it cannot be reset.
    pub fn has_shared_memory(&self) -> bool {
        let info = self.obj().info();
        info.memories.values().skip(info.num_imported_memories).any(|memory| memory.shared)
    }

    /// Has what the instance defines be as it was when that was kept, or else as it was before any of
    /// its code ran: memories with their sizes, tables, globals, and which segments are dropped. What
    /// it imports stays as it is. To be called while no wasm of the store runs.
    ///
    /// # Errors
    /// If wasm runs, if a memory is shared, or if the machine has no memory; then only some of it has
    /// come back.
    pub fn reset(&self, store: &Store) -> Result<(), Error> {
        let result = self.bring_back(store);
        // Also where only some of it has come back.
        self.group.add(|members| members.instances.iter().for_each(|instance| instance.refresh_memories()));
        result
    }

    fn bring_back(&self, store: &Store) -> Result<(), Error> {
        if store.is_running() || self.has_shared_memory() {
            let why = "an instance cannot be reset while wasm runs, or if it defines a shared memory";
            return Err(Error::Internal(why.into()));
        }
        let obj = self.obj();
        let info = obj.info();
        let own = info.memories.values().skip(info.num_imported_memories);
        // SAFETY: a memory of our group, looked at for a moment.
        if obj.own_memories().zip(own).any(|(memory, ty)| unsafe { memory.as_ref() }.pages() < ty.minimum) {
            return Err(Error::Closed);
        }
        if let Some(kept) = &obj.kept {
            kept.restore(obj)?;
            let (elems, data) = (kept.elems.clone(), kept.data.clone());
            // SAFETY: no wasm runs, and the references above are not used any more.
            let obj = unsafe { &mut *self.obj.as_ptr() };
            (obj.elems, obj.data) = (elems, data);
            return Ok(());
        }
        for (mut memory, ty) in
            obj.own_memories().zip(info.memories.values().skip(info.num_imported_memories))
        {
            // SAFETY: a memory of our group, to which nobody refers while no wasm runs.
            let memory = unsafe { memory.as_mut() };
            let len = usize::try_from(ty.minimum << ty.page_size_log2).unwrap_or(usize::MAX);
            memory.shrink(len)?;
            state::zero(memory, 0..len.min(memory.byte_len()))?;
        }
        for (index, global) in obj.own_globals() {
            if let Some(init) = &info.globals[index].init {
                // SAFETY: the field of a defined global.
                unsafe { global.write(VMGlobalDefinition { value: obj.evaluate(init) }) };
            }
        }
        let tables = info.tables.iter().filter(|(index, _)| info.defined_table(*index).is_some());
        for (mut table, (_, wanted)) in obj.own_tables().zip(tables) {
            // SAFETY: a table's type is one of references.
            let init = wanted.init.as_ref().map_or(0, |init| unsafe { obj.evaluate(init).externref });
            // SAFETY: as for memories.
            let table = unsafe { table.as_mut() };
            table.restore(&[])?;
            table.grow(wanted.ty.minimum, init).ok_or_else(|| {
                Error::Internal("no memory for the table of an instance that is reset".into())
            })?;
        }
        self.fill().map_err(|error| match error {
            InstantiateError::Error(error) => error,
            InstantiateError::Link(error) => Error::Internal(error.to_string()),
        })
    }

    /// Gives the bytes of the memories that the instance defines back, without waiting for the last
    /// handle to go. They are empty from then on, and the host can call none of the instance's
    /// functions ([`Error::Closed`]). False, and nothing happens, while wasm of the store runs.
    pub fn close(&self, store: &Store) -> bool {
        if store.is_running() {
            return false;
        }
        let obj = self.obj();
        let info = obj.module.info();
        for mut memory in obj.memories.iter().skip(info.num_imported_memories).copied() {
            // SAFETY: a memory of our group, to which nobody refers while no wasm runs.
            unsafe { memory.as_mut() }.close();
        }
        for (place, index) in info.func_refs.iter() {
            if info.defined_func(*index).is_some() {
                let func_ref = obj.context.field::<VMFuncRef>(obj.module.offsets().func_ref(place));
                // SAFETY: a function reference of this context; compiled code does not run.
                unsafe { (*func_ref).entry = ptr::null() };
            }
        }
        true
    }

    /// What can reach the instance, without keeping it.
    pub fn weak_group(&self) -> WeakGroup {
        self.group.root().downgrade()
    }

    fn func(&self, index: FuncIndex) -> Func {
        let raw = self.obj().func_ref(index);
        Func::of(
            self.group.clone(),
            NonNull::new(raw).unwrap_or_else(|| {
                unreachable!("an import is linked and an exported function has a reference")
            }),
        )
    }

    fn entity(&self, index: EntityIndex) -> Option<Extern> {
        let (obj, group) = (self.obj(), self.group.clone());
        Some(match index {
            EntityIndex::Func(index) => Extern::Func(self.func(index)),
            EntityIndex::Table(index) => Extern::Table(Table::of(group, obj.tables[index.index()])),
            EntityIndex::Memory(index) => Extern::Memory(Memory::of(group, obj.memories[index.index()])),
            EntityIndex::Global(index) => {
                let ty = obj.module.info().globals[index].ty;
                Extern::Global(Global::of(group, ty, NonNull::new(obj.global(index))?))
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

    /// The tags that the module defines, by identity.
    pub fn defined_tags(&self) -> Vec<usize> {
        let info = self.obj().module.info();
        let defined = info.tags.keys().skip(info.num_imported_tags);
        defined.map(|index| self.obj().tag(index.as_u32()).0).collect()
    }

    pub fn module(&self) -> &Module {
        &self.obj().module
    }

    /// The same for the same instance.
    pub fn id(&self) -> usize {
        self.obj.as_ptr() as usize
    }
}

/// Whether what is given may be imported as what is asked for (spec: "Matching").
fn matches(given: &ExternType, asked: &ExternType) -> bool {
    let limits = |min: u64, max: Option<u64>, asked_min: u64, asked_max: Option<u64>| {
        min >= asked_min && asked_max.is_none_or(|asked| max.is_some_and(|max| max <= asked))
    };
    match (given, asked) {
        (ExternType::Func(a), ExternType::Func(b)) => a.matches(b),
        (ExternType::Table(a), ExternType::Table(b)) => {
            a.element == b.element
                && a.table64 == b.table64
                && limits(a.minimum, a.maximum, b.minimum, b.maximum)
        }
        (ExternType::Memory(a), ExternType::Memory(b)) => {
            (a.memory64, a.shared, a.page_size_log2) == (b.memory64, b.shared, b.page_size_log2)
                && limits(a.minimum, a.maximum, b.minimum, b.maximum)
        }
        (ExternType::Global(a), ExternType::Global(b)) => {
            a.mutable == b.mutable
                && if a.mutable { a.content == b.content } else { a.content.matches(b.content) }
        }
        (ExternType::Tag(a), ExternType::Tag(b)) => a == b,
        _ => false,
    }
}

fn describe(ty: &ExternType) -> String {
    let limits = |min: u64, max: Option<u64>| match max {
        Some(max) => format!("{min}..{max}"),
        None => format!("{min}.."),
    };
    match ty {
        ExternType::Func(ty) => format!("a function {}", ty.ty()),
        ExternType::Tag(ty) => format!("a tag {}", ty.ty()),
        ExternType::Table(ty) => format!("a table of {} {}", limits(ty.minimum, ty.maximum), ty.element),
        ExternType::Memory(ty) => format!(
            "a {}{}memory of {} pages",
            if ty.shared { "shared " } else { "" },
            if ty.memory64 { "64-bit " } else { "" },
            limits(ty.minimum, ty.maximum)
        ),
        ExternType::Global(ty) => {
            format!("{} global {}", if ty.mutable { "a mutable" } else { "an immutable" }, ty.content)
        }
    }
}

fn check_imports(store: &Store, module: &Module, imports: &[Extern]) -> Result<(), LinkError> {
    let info = module.info();
    if imports.len() != info.imports.len() {
        return Err(LinkError(format!(
            "unknown import: the module has {} imports, {} were given",
            info.imports.len(),
            imports.len()
        )));
    }
    for (import, given) in info.imports.iter().zip(imports) {
        let fail =
            |what: String| LinkError(format!("import \"{}\" \"{}\": {what}", import.module, import.name));
        if given.group().is_some_and(|group| !group.store().same(store)) {
            return Err(fail("it belongs to another store".into()));
        }
        let (asked, given) = (info.extern_type(import.index), given.ty());
        if !matches(&given, &asked) {
            return Err(fail(format!(
                "incompatible import type: expected {}, got {}",
                describe(&asked),
                describe(&given)
            )));
        }
    }
    Ok(())
}

/// Fills the context: header, types, imports, then what the module defines.
fn link(
    obj: &mut InstanceObj,
    store: &Store,
    group: &Group,
    imports: &[Extern],
    shared_memories: Vec<Option<Memory>>,
) -> Result<(), InstantiateError> {
    let module = obj.module.clone();
    let (info, offsets, code) = (module.info(), module.offsets(), module.code());
    let owner: *mut InstanceObj = obj;
    let vmctx = obj.context.vmctx();
    // SAFETY (for every write below): the context was allocated with the size of `offsets`, each
    // offset is of a field of the written type for this module, and nobody else has a pointer to
    // the context yet.
    unsafe {
        VMContext::header(vmctx).write(VMHeader {
            magic: INSTANCE_MAGIC,
            _pad: 0,
            store: store.vm(),
            owner: owner.cast::<c_void>(),
            libcalls: libcalls::TABLE.0.as_ptr(),
        });
        for (index, ty) in info.types.iter() {
            obj.context.field::<u32>(offsets.type_id(index)).write(ty.id().0);
        }
    }

    let mut funcs = Vec::new();
    for (import, given) in info.imports.iter().zip(imports) {
        match (import.index, given) {
            (EntityIndex::Func(index), Extern::Func(_) | Extern::Native(_)) => funcs.push((index, given)),
            (EntityIndex::Table(index), Extern::Table(table)) => {
                obj.tables.push(table.as_ptr());
                // SAFETY: see above; the table is in our group.
                unsafe {
                    let definition = table.as_ptr().as_ref().definition();
                    obj.context
                        .field::<*mut VMTableDefinition>(offsets.imported_table(index))
                        .write(definition);
                }
            }
            (EntityIndex::Memory(_), Extern::Memory(memory)) => obj.memories.push(memory.as_ptr()),
            (EntityIndex::Global(index), Extern::Global(global)) => {
                // SAFETY: see above.
                unsafe {
                    obj.context
                        .field::<*mut VMGlobalDefinition>(offsets.imported_global(index))
                        .write(global.definition())
                };
            }
            (EntityIndex::Tag(index), Extern::Tag(tag)) => {
                // SAFETY: see above.
                unsafe { obj.context.field::<*mut TagObj>(offsets.tag(index)).write(tag.as_ptr().as_ptr()) };
            }
            _ => unreachable!("check_imports compared the kinds"),
        }
    }
    for index in info.tags.keys().skip(info.num_imported_tags) {
        let mut tag = TagObj::new(info.tag_type(index).clone());
        // SAFETY: see above.
        unsafe { obj.context.field::<*mut TagObj>(offsets.tag(index)).write(&raw mut *tag) };
        group.add(|members| members.tags.push(tag));
    }
    let mut made = shared_memories.into_iter();
    for (index, ty) in info.memories.iter().skip(info.num_imported_memories) {
        debug_assert!(info.defined_memory(index).is_some());
        if ty.shared
            && let Some(memory) = made.next().flatten()
        {
            if memory.ty() != *ty {
                return Err(Error::Internal("the host made a shared memory of another type".into()).into());
            }
            obj.memories.push(memory.as_ptr());
            continue;
        }
        let memory = MemoryObj::new(store, *ty)?;
        obj.memories.push(NonNull::from(&*memory));
        group.add(|members| members.memories.push(memory));
    }
    for (index, memory) in info.memories.keys().zip(&obj.memories) {
        // SAFETY: see above; the memory is in our group.
        unsafe {
            let memory = memory.as_ref();
            let seen = VMMemory { base: memory.base(), definition: memory.definition() };
            obj.context.field::<VMMemory>(offsets.memory(index)).write(seen);
        }
    }
    let native_memory = native_memory(obj);
    for (index, given) in funcs {
        let import = link_func(obj, group, index, given, native_memory)?;
        // SAFETY: see above.
        unsafe { obj.context.field::<VMFunctionImport>(offsets.imported_function(index)).write(import) };
    }
    for (place, index) in info.func_refs.iter() {
        let Some(defined) = info.defined_func(*index) else { continue };
        let ty = info.func_type(*index).id();
        let func_ref = VMFuncRef {
            code: code.function(defined),
            entry: code.entry(ty).unwrap_or(ptr::null()),
            vmctx,
            type_id: ty.0,
            _pad: 0,
        };
        // SAFETY: see above.
        unsafe { obj.context.field::<VMFuncRef>(offsets.func_ref(place)).write(func_ref) };
    }
    for (index, global) in info.globals.iter() {
        if let (Some(defined), Some(init)) = (info.defined_global(index), &global.init) {
            let value = obj.evaluate(init);
            // SAFETY: see above.
            unsafe {
                obj.context
                    .field::<VMGlobalDefinition>(offsets.defined_global(defined))
                    .write(VMGlobalDefinition { value })
            };
        }
    }
    for (index, table) in info.tables.iter() {
        let Some(defined) = info.defined_table(index) else { continue };
        // SAFETY: a table's type is one of references.
        let init = table.init.as_ref().map_or(0, |init| unsafe { obj.evaluate(init).externref });
        let definition = NonNull::new(obj.context.field(offsets.defined_table(defined)));
        let table = TableObj::new(store, table.ty, init, definition)?;
        obj.tables.push(NonNull::from(&*table));
        group.add(|members| members.tables.push(table));
    }
    Ok(())
}

/// An imported function, with the trampoline of the importing module where it is the host's.
fn link_func(
    obj: &InstanceObj,
    group: &Group,
    index: FuncIndex,
    given: &Extern,
    native_memory: *const VMMemoryDefinition,
) -> Result<VMFunctionImport, Error> {
    let (info, code) = (obj.module.info(), obj.module.code());
    let ty = info.func_type(index);
    let func_ref = match given {
        Extern::Func(func) => {
            func.offer_code(code.host(ty.id()), code.entry(ty.id()));
            func.raw()
        }
        Extern::Native(native) => {
            let (Some(trampoline), Some(entry)) = (code.native(ty.id()), code.entry(ty.id())) else {
                return Err(Error::Internal(format!("{} is no type of a native function", ty.ty())));
            };
            HostFunc::bind_native(group, native, ty.clone(), native_memory, (trampoline, entry))
        }
        _ => unreachable!("check_imports compared the kinds"),
    };
    // SAFETY: a function of our group.
    let VMFuncRef { code, vmctx, .. } = unsafe { func_ref.read() };
    Ok(VMFunctionImport { code, vmctx, func_ref: func_ref.as_ptr() })
}

/// The memory that WASI functions of this instance work on: the one exported as `memory`, as
/// WASI demands, or else the first.
fn native_memory(obj: &InstanceObj) -> *const VMMemoryDefinition {
    let exported = obj.module.info().exports.iter().find_map(|export| match export.index {
        EntityIndex::Memory(index) if export.name == "memory" => Some(index.index()),
        _ => None,
    });
    match obj.memories.get(exported.unwrap_or(0)) {
        // SAFETY: a memory of our group.
        Some(memory) => unsafe { memory.as_ref() }.definition(),
        None => ptr::null(),
    }
}
