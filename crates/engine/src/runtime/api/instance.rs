//! Instances as the embedder holds them.
//!
//! Invariant: a context is complete before anything runs in it, and everything it points to is in the
//! instance's group.

use super::externs::Extern;
use super::func::Func;
use super::link::{InstantiateError, check_imports, link};
use super::memory::Memory;
use crate::abi::Tunables;
use crate::engine::{Engine, Module};
use crate::parse::info::FuncIndex;
use crate::runtime::vm::group::{Group, WeakGroup};
use crate::runtime::vm::instance::{Context, InstanceObj};
use crate::runtime::vm::limits::{Budget, Limits};
use crate::runtime::vm::state::{self, State};
use crate::runtime::vm::store::Store;
use crate::runtime::vm::traps::Error;
use crate::runtime::vm::vm_box::VmBox;
use crate::runtime::vm::vmcontext::*;
use std::cell::RefCell;
use std::ptr::{self, NonNull};
use std::rc::Rc;

/// A handle to an instance.
#[derive(Clone)]
pub struct Instance {
    pub(super) group: Group,
    pub(super) obj: NonNull<InstanceObj>,
}

/// What [`Instance::with_options`] may be given.
#[derive(Clone, Default)]
pub struct InstanceOptions {
    /// The shared memories that the module defines, if the host makes them: in order, and of the module's
    /// types. For `None`, and for those that are left out, the engine makes one with bytes of its own.
    pub shared_memories: Vec<Option<Memory>>,
    /// What the instance's memories and tables may have, and the budget in which they count. Without them the
    /// store's hold.
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

    /// Makes what the instance defines, and links it. Runs no code of the module or the host.
    fn make(
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
        let mut obj = InstanceObj {
            context: Context::new(module.offsets().size())?,
            module: module.clone(),
            store: store.downgrade(),
            group: RefCell::new(group.root().downgrade()),
            memories: Vec::new(),
            tables: Vec::new(),
            elems: RefCell::default(),
            data: RefCell::default(),
            kept: RefCell::default(),
            budget: store.budget(),
            _alive: alive,
        };
        for memory in shared_memories.iter().flatten() {
            group.join(memory.group());
        }
        link(&mut obj, store, &group, imports, shared_memories)?;
        let obj = VmBox::new(obj);
        let ptr = obj.as_ptr();
        // SAFETY: the context has a header, and nothing has run that could have asked for its owner.
        unsafe { (*VMContext::header(obj.context.vmctx())).owner = ptr.as_ptr().cast() };
        group.add(|members| members.instances.push(obj));
        Ok(Instance { group, obj: ptr })
    }

    pub(super) fn obj(&self) -> &InstanceObj {
        // SAFETY: our group keeps the object, and only shared references to it are ever made (`VmBox`).
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
        self.obj().kept.replace(Some(kept));
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
        if obj.own_memories().zip(own).any(|(memory, ty)| memory.pages() < ty.minimum) {
            return Err(Error::Closed);
        }
        if let Some(kept) = &*obj.kept.borrow() {
            kept.restore(obj)?;
            obj.elems.replace(kept.elems.clone());
            obj.data.replace(kept.data.clone());
            return Ok(());
        }
        for (memory, ty) in obj.own_memories().zip(info.memories.values().skip(info.num_imported_memories)) {
            let len = usize::try_from(ty.minimum << ty.page_size_log2).unwrap_or(usize::MAX);
            memory.shrink(len)?;
            state::zero(memory, 0..len.min(memory.byte_len()))?;
        }
        for (index, global) in obj.own_globals() {
            if let Some(init) = &info.globals[index].init {
                global.value.set(obj.evaluate(init));
            }
        }
        let tables = info.tables.iter().filter(|(index, _)| info.defined_table(*index).is_some());
        for (table, (_, wanted)) in obj.own_tables().zip(tables) {
            // SAFETY: a table's type is one of references.
            let init = wanted.init.as_ref().map_or(0, |init| unsafe { obj.evaluate(init).externref });
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
        obj.own_memories().for_each(|memory| memory.close());
        for (place, index) in info.func_refs.iter() {
            if info.defined_func(*index).is_some() {
                let func_ref = obj.context.field::<VMFuncRef>(obj.module.offsets().func_ref(place));
                // SAFETY: a function reference of this context.
                unsafe { &*func_ref }.entry.set(ptr::null());
            }
        }
        true
    }

    /// What can reach the instance, without keeping it.
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

    /// The tags that the module defines, by identity.
    pub fn defined_tags(&self) -> Vec<usize> {
        let info = self.obj().module.info();
        let defined = info.tags.keys().skip(info.num_imported_tags);
        defined.map(|index| self.obj().tag(index.as_u32()).0.addr().get()).collect()
    }

    pub fn module(&self) -> &Module {
        &self.obj().module
    }

    /// The same for the same instance.
    pub fn id(&self) -> usize {
        self.obj.as_ptr() as usize
    }
}
