//! Instances as compiled code sees them: the context, and the objects it was made from.
//!
//! Invariant: everything that a context points to belongs to the instance's group.

use super::exception::TagObj;
use super::global;
use super::group::{Group, WeakGroup};
use super::limits::Budget;
use super::memory::MemoryObj;
use super::state::State;
use super::store::{Store, WeakStore};
use super::table::TableObj;
use super::traps::Error;
use super::vm_box::VmBox;
use super::vmcontext::*;
use crate::abi::offsets;
use crate::engine::Module;
use crate::parse::info::*;
use crate::types::*;
use cranelift_entity::EntityRef;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::{Cell, Ref, RefCell};
use std::collections::HashSet;
use std::ptr::{self, NonNull};

/// An instance, owned by its group.
pub struct InstanceObj {
    pub(crate) context: Context,
    pub(crate) module: Module,
    pub(crate) store: WeakStore,
    pub(crate) group: RefCell<WeakGroup>,
    pub(crate) memories: Vec<NonNull<MemoryObj>>,
    pub(crate) tables: Vec<NonNull<TableObj>>,
    /// The blocks of function references that are made.
    pub(crate) func_refs: RefCell<Vec<VmBox<[VMFuncRef]>>>,
    /// Whether the host may call the functions no more.
    pub(crate) closed: Cell<bool>,
    /// The elements of segments, empty once dropped. This, `dropped_data` and `kept` are borrowed only
    /// while nothing can run that re-enters the instance.
    pub(crate) elems: RefCell<Vec<Box<[u64]>>>,
    /// The data segments that code has dropped. A module may have tens of thousands that are active.
    pub(crate) dropped_data: RefCell<HashSet<DataIndex>>,
    /// The first element segment that is not in its table, if it is active: none, unless instantiation has failed.
    pub(crate) unused_elem: Cell<ElemIndex>,
    /// The first active data segment that is not in its memory: none, unless instantiation has failed.
    pub(crate) unused_data: Cell<DataIndex>,
    /// The state that [`Instance::reset`] restores, if the module alone does not describe it.
    pub(crate) kept: RefCell<Option<Box<State>>>,
    pub(crate) budget: Budget,
}

/// The allocation of a `VMContext`.
pub(crate) struct Context {
    start: NonNull<u8>,
    layout: Layout,
}

impl Context {
    pub(crate) fn new(size: u32) -> Result<Context, Error> {
        let layout = Layout::from_size_align((size as usize).max(1), 16)
            .unwrap_or_else(|_| unreachable!("a layout of at most 2 GiB"));
        // SAFETY: the size is not zero.
        match NonNull::new(unsafe { alloc_zeroed(layout) }) {
            Some(start) => Ok(Context { start, layout }),
            None => Err(Error::OutOfMemory(format!("cannot allocate an instance of {size} bytes"))),
        }
    }

    pub(crate) fn vmctx(&self) -> *mut VMContext {
        self.start.as_ptr().cast()
    }

    /// A field at an offset that `VMOffsets` returned for this module.
    pub(crate) fn field<T>(&self, offset: i32) -> *mut T {
        debug_assert!(offset as usize + size_of::<T>() <= self.layout.size());
        self.start.as_ptr().wrapping_add(offset as usize).cast()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the memory was allocated with this layout in `new`.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

impl InstanceObj {
    pub(crate) fn set_group(&self, group: &Group) {
        *self.group.borrow_mut() = group.downgrade();
    }

    pub(crate) fn group(&self) -> Option<Group> {
        self.group.borrow().upgrade()
    }

    pub(crate) fn store(&self) -> Option<Store> {
        self.store.upgrade()
    }

    /// The budget for objects that the instance makes while it runs.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// A tag and its type.
    pub(crate) fn tag(&self, index: u32) -> (NonNull<TagObj>, SharedFuncType) {
        let index = TagIndex::new(index as usize);
        // SAFETY: this is the field of a tag of this module, filled by `link`.
        let tag = unsafe { *self.context.field::<NonNull<TagObj>>(self.module.offsets().tag(index)) };
        (tag, self.module.info().tag_type(index).clone())
    }

    pub(crate) fn memory(&self, index: u32) -> &MemoryObj {
        // SAFETY: the memory belongs to our group, which owns us and the memory until it is dropped.
        unsafe { self.memories[index as usize].as_ref() }
    }

    pub(crate) fn table(&self, index: u32) -> &TableObj {
        // SAFETY: the table belongs to our group, which owns us and the table until it is dropped.
        unsafe { self.tables[index as usize].as_ref() }
    }

    pub(crate) fn elem(&self, index: u32) -> Ref<'_, [u64]> {
        Ref::map(self.elems.borrow(), |elems| &*elems[index as usize])
    }

    pub(crate) fn drop_elem(&self, index: u32) {
        self.elems.borrow_mut()[index as usize] = Box::default();
    }

    /// The bytes of a segment. There are none of one that is dropped, as active ones are once they are in their
    /// memories.
    pub(crate) fn data(&self, index: u32) -> &[u8] {
        let index = DataIndex::from_u32(index);
        let segment = &self.info().data[index];
        let is_used = matches!(segment.mode, SegmentMode::Active { .. }) && index < self.unused_data.get();
        if is_used || self.dropped_data.borrow().contains(&index) {
            return &[];
        }
        &self.module.bytes()[segment.bytes.clone()]
    }

    pub(crate) fn drop_data(&self, index: u32) {
        self.dropped_data.borrow_mut().insert(DataIndex::from_u32(index));
    }

    /// The type of one of this instance's own function references.
    pub(crate) fn func_type(&self, raw: NonNull<VMFuncRef>) -> SharedFuncType {
        self.module.info().func_type(self.func_index(raw)).clone()
    }

    /// The index of one of this instance's own function references.
    pub(crate) fn func_index(&self, raw: NonNull<VMFuncRef>) -> FuncIndex {
        // SAFETY: the reference is one of ours, so it is alive.
        FuncIndex::from_u32(unsafe { raw.as_ref() }.index)
    }

    /// A reference to a function that the module may take one of. It lives as long as the instance.
    pub(crate) fn func_ref(&self, index: FuncIndex) -> *mut VMFuncRef {
        let offsets = self.module.offsets();
        let function = self.module.info().functions[index];
        match (self.module.info().defined_func(index), function.func_ref) {
            (Some(_), Some(place)) => {
                let field: *mut *mut VMFuncRef = self.context.field(offsets.func_ref_block(place));
                // SAFETY: this is the field of a block, which only this thread uses.
                let mut block = unsafe { field.read() };
                if block.is_null() {
                    block = self.make_func_refs(place);
                    // SAFETY: as above.
                    unsafe { field.write(block) };
                }
                block.wrapping_add(offsets.place_in_block(place))
            }
            _ => {
                let import: *mut VMFunctionImport = self.context.field(offsets.imported_function(index));
                // SAFETY: this is the field of an import of this module, filled by `link`.
                unsafe { (*import).func_ref }
            }
        }
    }

    /// Makes the block of function references that has this one, and returns its first.
    #[cold]
    fn make_func_refs(&self, place: FuncRefIndex) -> *mut VMFuncRef {
        let info = self.info();
        let code = self.module.code();
        let first = place.index() - self.module.offsets().place_in_block(place);
        let entry_of = |ty: TypeIndex| match self.closed.get() {
            true => ptr::null(),
            false => code.entry(info.types[ty].id()).unwrap_or(ptr::null()),
        };
        let functions = info.func_refs.values().skip(first).take(offsets::func_ref::BLOCK);
        let block = functions.map(|index| {
            let ty = info.functions[*index].ty;
            // Nobody uses the place of an imported function: the reference to it is its own.
            let code = info.defined_func(*index).map_or(ptr::null(), |defined| code.function(defined));
            VMFuncRef {
                code: Cell::new(code),
                entry: Cell::new(entry_of(ty)),
                vmctx: self.context.vmctx(),
                type_id: info.types[ty].id().0,
                index: index.as_u32(),
            }
        });
        let block = VmBox::from(block.collect::<Box<[_]>>());
        let start = block.as_ptr().as_ptr().cast();
        self.func_refs.borrow_mut().push(block);
        start
    }

    /// Has the host call none of the instance's functions any more.
    pub(crate) fn close_functions(&self) {
        self.closed.set(true);
        for func_ref in self.func_refs.borrow().iter().flat_map(|block| block.iter()) {
            func_ref.entry.set(ptr::null());
        }
    }

    pub(crate) fn global(&self, index: GlobalIndex) -> &VMGlobalDefinition {
        let offsets = self.module.offsets();
        // SAFETY: this is either a field of our context for a global of this module, or the target of an
        // import field, filled by `link`, in our group. Both live as long as we do. The value is in a cell.
        unsafe {
            match self.module.info().defined_global(index) {
                Some(defined) => &*self.context.field(offsets.defined_global(defined)),
                None => *self.context.field::<&VMGlobalDefinition>(offsets.imported_global(index)),
            }
        }
    }

    pub(crate) fn for_each_reference(&self, kind: fn(RefType) -> bool, f: &mut dyn FnMut(u64)) {
        let info = self.module.info();
        for (index, global) in info.globals.iter() {
            if info.defined_global(index).is_some() {
                global::for_reference(global.ty, self.global(index).value.get(), kind, f);
            }
        }
        for (elem, items) in info.elems.values().zip(&*self.elems.borrow()) {
            if kind(elem.ty) {
                items.iter().for_each(|item| f(*item));
            }
        }
        if let Some(kept) = &*self.kept.borrow() {
            kept.for_each_reference(info, kind, f);
        }
    }

    pub(crate) fn info(&self) -> &ModuleInfo {
        self.module.info()
    }

    /// The memories that the instance defines.
    pub(crate) fn own_memories(&self) -> impl Iterator<Item = &MemoryObj> {
        let own = self.memories.iter().skip(self.info().num_imported_memories);
        // SAFETY: the memories belong to our group, which owns us and them until it is dropped.
        own.map(|memory| unsafe { memory.as_ref() })
    }

    /// The tables that the instance defines.
    pub(crate) fn own_tables(&self) -> impl Iterator<Item = (TableIndex, &TableObj)> {
        let info = self.info();
        let tables = info.tables.keys().zip(&self.tables);
        let own = tables.filter(|(index, _)| info.defined_table(*index).is_some());
        // SAFETY: the tables belong to our group, which owns us and them until it is dropped.
        own.map(|(index, table)| (index, unsafe { table.as_ref() }))
    }

    /// The globals that the instance defines.
    pub(crate) fn own_globals(&self) -> impl Iterator<Item = (GlobalIndex, &VMGlobalDefinition)> {
        let defined = self.info().globals.keys().filter(|index| self.info().defined_global(*index).is_some());
        defined.map(|index| (index, self.global(index)))
    }

    /// Updates the places of the memories in the context, because a reset may have replaced pages. Must be
    /// called while no wasm of the store runs.
    pub(crate) fn refresh_memories(&self) {
        for (index, memory) in self.info().memories.keys().zip(&self.memories) {
            // SAFETY: the memory belongs to our group, and the field is that of a memory of this module.
            // Compiled code is the only other user of the field, and does not run now.
            unsafe {
                let memory = memory.as_ref();
                let seen = VMMemory { base: memory.base(), definition: memory.definition() };
                self.context.field::<VMMemory>(self.module.offsets().memory(index)).write(seen);
            }
        }
    }
}
