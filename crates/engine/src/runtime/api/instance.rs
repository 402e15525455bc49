//! Instances as the embedder holds them.
//!
//! Invariant: a context is complete before anything runs in it, and everything it points to belongs to
//! the instance's group.

use super::externs::Extern;
use super::func::Func;
use super::link::{InstantiateError, check_imports, link};
use super::memory::Memory;
use crate::abi::{MemoryStyle, Tunables};
use crate::engine::{Engine, Module};
use crate::parse::info::{ElemIndex, FuncIndex};
use crate::runtime::vm::group::{Group, WeakGroup};
use crate::runtime::vm::instance::{Context, InstanceObj};
use crate::runtime::vm::limits::{Budget, Limits};
use crate::runtime::vm::state::{self, State};
use crate::runtime::vm::store::Store;
use crate::runtime::vm::traps::Error;
use crate::runtime::vm::vm_box::VmBox;
use crate::runtime::vm::vmcontext::*;
use cranelift_entity::EntityRef;
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

/// A handle to an instance.
#[derive(Clone)]
pub struct Instance {
    pub(super) group: Group,
    pub(super) obj: NonNull<InstanceObj>,
}

/// Options for [`Instance::with_options`].
#[derive(Clone, Default)]
pub struct InstanceOptions {
    /// The shared memories that the module defines and the host makes, in the module's order and with the
    /// module's types. For `None` and for missing entries, the engine makes a memory with bytes of its own.
    pub shared_memories: Vec<Option<Memory>>,
    /// The limits of the instance's memories and tables, and the budget that they are charged to. Without
    /// them the store's apply.
    pub limits: Option<(Limits, Budget)>,
}

impl Instance {
    /// Links a module with its imports, in the order the module declares them, initialises it
    /// and runs its start function (spec: "Instantiation").
    pub fn new(store: &Store, module: &Module, imports: &[Extern]) -> Result<Instance, InstantiateError> {
        Instance::with_options(store, module, imports, InstanceOptions::default())
    }

    pub fn with_options(
        store: &Store,
        module: &Module,
        imports: &[Extern],
        options: InstanceOptions,
    ) -> Result<Instance, InstantiateError> {
        let InstanceOptions { shared_memories, limits } = options;
        let make = || Instance::make(store, module, imports, shared_memories);
        let instance = match limits {
            Some((limits, budget)) => store.with_limits(limits, &budget, make),
            None => make(),
        }?;
        instance.initialise()?;
        Ok(instance)
    }

    /// Makes the objects that the instance defines, and links it. Runs no code of the module or the host.
    fn make(
        store: &Store,
        module: &Module,
        imports: &[Extern],
        shared_memories: Vec<Option<Memory>>,
    ) -> Result<Instance, InstantiateError> {
        // The code assumes how memories are laid out and who handles faults. Fuel may differ, because every
        // store has it, and so may shared memories, because each is compared with what the code assumes.
        let shared_memory = MemoryStyle::Bounded;
        let tunables = |engine: &Engine| Tunables { fuel: false, shared_memory, ..engine.tunables() };
        if tunables(module.engine()) != tunables(store.engine()) {
            let why = "the module was compiled by an engine with other settings than its store's";
            return Err(Error::Internal(why.into()).into());
        }
        check_imports(store, module, imports).map_err(InstantiateError::Link)?;
        let given = imports.iter().filter_map(|import| match import {
            Extern::Memory(memory) => Some(memory),
            _ => None,
        });
        if !given.chain(shared_memories.iter().flatten()).all(|memory| memory.suits(module)) {
            let why = "a memory without guard pages was given to code that assumes them";
            return Err(Error::Internal(why.into()).into());
        }
        let group = Group::new(store);
        for import in imports.iter().filter_map(Extern::group) {
            group.join(import);
        }
        let mut obj = InstanceObj {
            context: Context::new(module.offsets().size())?,
            module: module.clone(),
            store: store.downgrade(),
            group: RefCell::new(group.root().downgrade()),
            memories: Vec::new(),
            tables: Vec::new(),
            func_refs: RefCell::default(),
            closed: Cell::default(),
            elems: RefCell::default(),
            dropped_data: RefCell::default(),
            unused_elem: Cell::new(ElemIndex::new(0)),
            unused_data: Cell::new(module.info().data.next_key()),
            kept: RefCell::default(),
            budget: store.budget(),
        };
        for memory in shared_memories.iter().flatten() {
            group.join(memory.group());
        }
        link(&mut obj, store, &group, imports, shared_memories)?;
        let obj = VmBox::new(obj);
        let ptr = obj.as_ptr();
        // SAFETY: the context has a header, and nothing has run yet that could have read its owner.
        unsafe { (*VMContext::header(obj.context.vmctx())).owner = ptr.as_ptr().cast() };
        for (index, table) in obj.own_tables() {
            table.fill_from(ptr, index);
        }
        group.add(|members| members.instances.push(obj));
        Ok(Instance { group, obj: ptr })
    }

    pub(super) fn obj(&self) -> &InstanceObj {
        // SAFETY: our group keeps the object alive, and only shared references to it are ever made (`VmBox`).
        unsafe { self.obj.as_ref() }
    }

    /// Fills tables and memories from the active segments, then runs the start function. If a segment
    /// does not fit, the writes of earlier segments stay (spec since 2.0).
    fn initialise(&self) -> Result<(), InstantiateError> {
        let has_data = self.obj().module.images().is_some();
        if let Err(error) = self.fill(has_data) {
            // An element segment did not fit. The data segments come after it, so memories have none of them,
            // and functions of this instance may already be in an imported table.
            if has_data {
                for memory in self.obj().own_memories() {
                    state::zero(memory, 0..memory.byte_len())?;
                }
            }
            return Err(error);
        }
        if let Some(start) = self.obj().info().start {
            let mut none = [ValRaw::ZERO];
            // SAFETY: a start function has no parameters and no results.
            unsafe { self.func(start).call_raw(none.as_mut_ptr())? };
        }
        Ok(())
    }

    /// Saves the instance's current state for [`Instance::reset`]. Only needed if code has run (its start
    /// function or `_initialize`): otherwise the module describes the state.
    ///
    /// # Errors
    /// [`Error::Internal`] if there is no room for the saved state.
    pub fn keep_state(&self, store: &Store) -> Result<(), Error> {
        if store.is_running() || self.has_shared_memory() {
            return Ok(());
        }
        let kept = Box::new(State::of(self.obj())?);
        self.obj().kept.replace(Some(kept));
        Ok(())
    }

    /// Whether the instance defines a shared memory. It cannot be reset then, as other threads may use it.
    pub fn has_shared_memory(&self) -> bool {
        let info = self.obj().info();
        info.memories.values().skip(info.num_imported_memories).any(|memory| memory.shared)
    }

    /// Restores what the instance defines to the saved state, or without one to the state before any of
    /// its code ran: memories with their sizes, tables, globals, and which segments are dropped. Imports
    /// stay as they are. Must be called while no wasm of the store runs.
    ///
    /// # Errors
    /// If wasm runs, if a memory is shared, or if the machine is out of memory. In the last case only a
    /// part of the state has been restored.
    pub fn reset(&self, store: &Store) -> Result<(), Error> {
        let result = self.bring_back(store);
        // Also needed if only a part was restored.
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
        if obj.own_memories().zip(own).any(|(memory, ty)| memory.pages() < ty.minimum) {
            return Err(Error::Closed);
        }
        if let Some(kept) = &*obj.kept.borrow() {
            return kept.restore(obj);
        }
        let mut has_data = obj.module.images().is_some();
        let defined = info.memories.iter().skip(info.num_imported_memories);
        for (memory, (index, ty)) in obj.own_memories().zip(defined) {
            let len = usize::try_from(ty.minimum << ty.page_size_log2).unwrap_or(usize::MAX);
            memory.shrink(len)?;
            if !memory.restart()? {
                state::zero(memory, 0..len.min(memory.byte_len()))?;
                let images = obj.module.images().as_ref();
                has_data &= images.is_some_and(|images| matches!(images.get(index.index()), Some(None)));
            }
        }
        for (index, global) in obj.own_globals() {
            if let Some(init) = &info.globals[index].init {
                global.value.set(obj.evaluate(init));
            }
        }
        for (index, table) in obj.own_tables() {
            let wanted = &info.tables[index];
            // SAFETY: a table's element type is a reference type.
            let init = wanted.init.as_ref().map_or(0, |init| unsafe { obj.evaluate(init).externref });
            if table.restart()? {
                continue;
            }
            table.restore(&[])?;
            table.grow(wanted.ty.minimum, init).ok_or_else(|| {
                Error::Internal("no memory for the table of an instance that is reset".into())
            })?;
        }
        self.fill(has_data).map_err(|error| match error {
            InstantiateError::Error(error) => error,
            InstantiateError::Link(error) => Error::Internal(error.to_string()),
        })
    }

    /// Frees the bytes of the memories that the instance defines, without waiting for the last handle to
    /// be dropped. The memories are empty from then on, and the host can call none of the instance's
    /// functions ([`Error::Closed`]). Does nothing and returns false while wasm of the store runs.
    pub fn close(&self, store: &Store) -> bool {
        if store.is_running() {
            return false;
        }
        let obj = self.obj();
        obj.own_memories().for_each(|memory| memory.close());
        obj.close_functions();
        true
    }

    /// A weak reference to the group that can reach the instance.
    pub fn weak_group(&self) -> WeakGroup {
        self.group.root().downgrade()
    }

    pub(super) fn func(&self, index: FuncIndex) -> Func {
        let raw = self.obj().func_ref(index);
        Func::of(
            self.group.clone(),
            NonNull::new(raw).unwrap_or_else(|| {
                unreachable!("an import is linked and an exported function has a reference")
            }),
        )
    }

    /// The identities of the tags that the module defines.
    pub fn defined_tags(&self) -> Vec<usize> {
        let info = self.obj().module.info();
        let defined = info.tags.keys().skip(info.num_imported_tags);
        defined.map(|index| self.obj().tag(index.as_u32()).0.addr().get()).collect()
    }

    pub fn module(&self) -> &Module {
        &self.obj().module
    }

    /// An identity: equal for two handles to the same instance.
    pub fn id(&self) -> usize {
        self.obj.as_ptr() as usize
    }
}
