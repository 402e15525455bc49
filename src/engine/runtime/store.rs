//! One thread's runtime state: what all instances of a Node environment or of a run share.
//!
//! Public. Invariant: a store and everything in it is used by one thread; handles are `!Send`.

use super::group::Group;
use super::traps::{self, Error};
use super::value::ExternRef;
use super::vmcontext::VMStoreContext;
use crate::engine::engine::Engine;
use crate::engine::sys;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::ffi::c_void;
use std::num::NonZeroU32;
use std::rc::{Rc, Weak};

#[derive(Clone)]
pub struct Store(Rc<StoreInner>);

/// What objects inside a store hold: they must not keep it alive.
#[derive(Clone)]
pub(super) struct WeakStore(Weak<StoreInner>);

struct StoreInner {
    engine: Engine,
    /// Read and written by compiled code, so behind a cell and at a fixed address.
    vm: Box<UnsafeCell<VMStoreContext>>,
    /// What a host function returned, on its way to the entry that called into wasm.
    pending: RefCell<Option<Error>>,
    groups: RefCell<Vec<super::group::WeakGroup>>,
    memory_growths: Cell<u64>,
    /// Groups registered since the dead ones were last swept out.
    registered: Cell<usize>,
}

impl Store {
    /// A store for the current thread. The first one of the process installs the fault handler.
    pub fn new(engine: &Engine) -> Result<Store, Error> {
        if engine.tunables().signals {
            sys::install_fault_handler(traps::on_fault)
                .map_err(|e| Error::Internal(format!("cannot install the fault handler: {e}")))?;
        }
        let vm = VMStoreContext {
            stack_limit: usize::MAX,
            entry_fp: 0,
            entry_sp: 0,
            entry_handler: 0,
            exit_fp: 0,
            exit_pc: 0,
            resume: sys::arch::resume as *const c_void,
        };
        Ok(Store(Rc::new(StoreInner {
            engine: engine.clone(),
            vm: Box::new(UnsafeCell::new(vm)),
            pending: RefCell::new(None),
            groups: RefCell::new(Vec::new()),
            memory_growths: Cell::new(0),
            registered: Cell::new(0),
        })))
    }

    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Whether wasm of this store is on the stack.
    pub fn is_running(&self) -> bool {
        // SAFETY: a read of a field; no reference to the context is ever kept.
        unsafe { (*self.vm()).entry_fp != 0 }
    }

    /// Calls `f` with every host value that a table or global of this store holds. Values held
    /// only by running wasm are not among them, so call it while `!is_running()`.
    pub fn for_each_externref(&self, f: &mut dyn FnMut(ExternRef)) {
        let groups: Vec<Group> =
            self.0.groups.borrow().iter().filter_map(|group| group.upgrade()).collect();
        for group in groups {
            group.for_each_externref(&mut |index| {
                if let Some(index) = NonZeroU32::new(index) {
                    f(ExternRef(index));
                }
            });
        }
    }

    /// How often wasm has tried to grow a memory: when it changes, views of memories are stale.
    pub fn memory_growths(&self) -> u64 {
        self.0.memory_growths.get()
    }

    pub(super) fn note_memory_growth(&self) {
        self.0.memory_growths.set(self.0.memory_growths.get() + 1);
    }

    pub(super) fn vm(&self) -> *mut VMStoreContext {
        self.0.vm.get()
    }

    pub(super) fn max_wasm_stack(&self) -> usize {
        self.0.engine.max_wasm_stack()
    }

    pub(super) fn set_pending(&self, error: Error) {
        *self.0.pending.borrow_mut() = Some(error);
    }

    pub(super) fn take_pending(&self) -> Option<Error> {
        self.0.pending.borrow_mut().take()
    }

    pub(super) fn register(&self, group: &Group) {
        let mut groups = self.0.groups.borrow_mut();
        let registered = self.0.registered.get() + 1;
        if registered > 64 && registered > groups.len() / 2 {
            groups.retain(|group| group.upgrade().is_some());
            self.0.registered.set(0);
        } else {
            self.0.registered.set(registered);
        }
        groups.push(group.downgrade());
    }

    pub(super) fn downgrade(&self) -> WeakStore {
        WeakStore(Rc::downgrade(&self.0))
    }

    pub(super) fn same(&self, other: &Store) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl WeakStore {
    pub(super) fn upgrade(&self) -> Option<Store> {
        self.0.upgrade().map(Store)
    }
}
