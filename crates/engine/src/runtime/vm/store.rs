//! One thread's runtime state: what all instances of a Node environment or of a run share.
//!
//! Public. Invariant: a store and everything in it is used by one thread; handles are `!Send`.

use super::call::HOST_RESERVE;
use super::exception::{Exceptions, TagObj};
use super::group::Group;
use super::interrupt::{Checkpoint, InterruptHandle, StoreMemory};
use super::limits::{Budget, Charge, Limits};
use super::parking::Parker;
use super::traps::{self, Current, Error, NEVER, TrapRecord};
use super::vm_box::VmBox;
use super::vmcontext::{ExternRef, VMStoreContext, VMUnwind};
use crate::debug::Frame;
use crate::engine::Engine;
use crate::sys;
use crate::types::RefType;
use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::c_void;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

#[derive(Clone)]
pub struct Store(Rc<StoreInner>);

/// What objects inside a store hold: they must not keep it alive.
#[derive(Clone)]
pub(crate) struct WeakStore(Weak<StoreInner>);

struct StoreInner {
    engine: Engine,
    /// The context that compiled code reads and writes, in `memory`.
    vm: *mut VMStoreContext,
    /// The lowest address of the thread's stack that any wasm may use.
    lowest_stack_limit: usize,
    memory: Arc<StoreMemory>,
    checkpoint: OnceCell<Box<Checkpoint>>,
    exceptions: Exceptions,
    /// The tags that belong to no group.
    tags: RefCell<Vec<VmBox<TagObj>>>,
    /// What a host function returned, on its way to the entry that called into wasm.
    pending: RefCell<Option<Error>>,
    groups: RefCell<Vec<super::group::WeakGroup>>,
    memory_growths: Cell<u64>,
    limits: Cell<Limits>,
    /// What counts together for `limits`.
    budget: RefCell<Budget>,
    /// Bytes that all objects of the store have.
    bytes: Rc<Cell<usize>>,
    /// Read at each entry: the limit of the stack that is in force.
    max_wasm_stack: Cell<usize>,
    /// Held by every instance, so its count tells how many are alive.
    instances: Rc<()>,
    parker: Arc<Parker>,
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
            stack_limit: AtomicUsize::new(0),
            entry_fp: 0,
            entry_sp: 0,
            entry_handler: 0,
            exit_fp: 0,
            exit_pc: 0,
            resume: sys::arch::resume as *const c_void,
            unwind: VMUnwind::default(),
            fuel: 0,
            interrupted: AtomicBool::new(false),
            attention: false,
            quick_from: NEVER,
            outer: std::ptr::null(),
            trap: TrapRecord::new(),
            asking: sys::Asking { pc: 0, register: 0, asked: traps::asked },
            checkpoint: std::ptr::null(),
        };
        let memory = StoreMemory::new(vm, engine.tunables().signals)
            .map_err(|e| Error::Internal(format!("cannot allocate a store: {e}")))?;
        let stack = sys::stack_bounds();
        Ok(Store(Rc::new(StoreInner {
            engine: engine.clone(),
            vm: memory.context(),
            lowest_stack_limit: stack.start + HOST_RESERVE.min(stack.len() / 4),
            memory,
            checkpoint: OnceCell::new(),
            exceptions: Exceptions::default(),
            tags: RefCell::default(),
            pending: RefCell::new(None),
            groups: RefCell::new(Vec::new()),
            memory_growths: Cell::new(0),
            limits: Cell::default(),
            budget: RefCell::new(Budget::new(usize::MAX)),
            bytes: Rc::default(),
            max_wasm_stack: Cell::new(engine.max_wasm_stack()),
            instances: Rc::new(()),
            parker: Arc::default(),
            registered: Cell::new(0),
        })))
    }

    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The wasm frames that are on the stack, innermost first, at most 64, for a function of the host
    /// that wasm called, or the store's checkpoint.
    pub fn backtrace(&self) -> Vec<Frame> {
        // SAFETY: our own context, of this thread. Wasm leaves for the host through exit trampolines,
        // and for the checkpoint by a frame like theirs.
        unsafe { traps::backtrace(self.vm()) }
    }

    /// Stops this store's wasm from another thread.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        InterruptHandle::new(self.0.memory.clone(), self.parker().clone())
    }

    /// Has `go_on` called when [`InterruptHandle::ask`] was: by this thread, at a loop of wasm or where
    /// wasm waits in a memory whose bytes are ours. If it
    /// returns false wasm traps with `TrapCode::Interrupted`. It may do what a host function may, also
    /// call wasm. To be set once; false in explicit trap mode, which has no handler that could ask.
    pub fn set_checkpoint(&self, go_on: impl Fn() -> bool + 'static) -> bool {
        if !self.0.engine.tunables().signals {
            return false;
        }
        let made = || Box::new(Checkpoint { memory: self.0.memory.clone(), go_on: Box::new(go_on) });
        let checkpoint: *const Checkpoint = &**self.0.checkpoint.get_or_init(made);
        // SAFETY: a write of a field; the checkpoint is the store's and stays.
        unsafe { (*self.vm()).checkpoint = checkpoint };
        true
    }

    /// What the checkpoint says, true if there is none. For what the runtime does on behalf of wasm.
    pub(crate) fn goes_on(&self) -> bool {
        self.0.checkpoint.get().is_none_or(|checkpoint| (checkpoint.go_on)())
    }

    /// Lets wasm run again after an interruption.
    pub fn clear_interrupt(&self) -> Result<(), Error> {
        self.parker().set_interrupted(false);
        self.0.memory.clear().map_err(|e| Error::Internal(format!("cannot clear an interruption: {e}")))
    }

    /// Whether wasm was asked to stop: for what the runtime does on its behalf and takes long.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.0.memory.is_interrupted()
    }

    /// Sets how many operators wasm may still pass, where the engine counts them
    /// (`Config::fuel`). A new store has none.
    pub fn set_fuel(&self, fuel: u64) {
        let fuel = i64::try_from(fuel).unwrap_or(i64::MAX);
        // SAFETY: a write of a field; no reference to the context is ever kept.
        unsafe { (*self.vm()).fuel = -fuel };
    }

    /// What is left of the fuel.
    pub fn fuel(&self) -> u64 {
        // SAFETY: a read of a field, as above.
        u64::try_from(unsafe { (*self.vm()).fuel }.saturating_neg()).unwrap_or(0)
    }

    /// Whether wasm of this store is on the stack.
    pub fn is_running(&self) -> bool {
        // SAFETY: the store's own context, on its thread.
        unsafe { VMStoreContext::in_wasm(self.vm()) }
    }

    /// Calls `f` with every host value that a table, a global, a segment or an exception of this store
    /// holds, and with all that frames of running wasm may hold: each word of the stack that could be one
    /// counts. Returns at how many words it looked, which is what it costs.
    ///
    /// Values on their way are not among them: between where the embedder takes the number of a value, and
    /// where wasm has it or a function of the host has asked what it stands for.
    pub fn for_each_externref(&self, f: &mut dyn FnMut(ExternRef)) -> usize {
        let mut words = 0;
        self.for_each_reference(RefType::is_extern, &mut |raw| {
            words += 1;
            ExternRef::of(raw).into_iter().for_each(&mut *f);
        });
        self.sweep_exceptions();
        self.for_each_externref_thrown(f);
        self.for_each_word_of_stack(&mut |word| {
            words += 1;
            ExternRef::in_word(word).into_iter().for_each(&mut *f);
        });
        words
    }

    /// Calls `f` with every exception that a table or global holds, 0 for null.
    pub(crate) fn for_each_exnref(&self, f: &mut dyn FnMut(u64)) {
        self.for_each_reference(RefType::is_exn, f);
    }

    /// Calls `f` with every word that a frame of running wasm may hold a reference in: all of the thread's
    /// stack up to the outermost entry into wasm, and the registers that such a frame may have left a value
    /// in, as every callee preserves them. The others are saved by who calls.
    pub(super) fn for_each_word_of_stack(&self, f: &mut dyn FnMut(u64)) {
        struct Scan<'a> {
            end: usize,
            f: &'a mut dyn FnMut(u64),
        }

        unsafe extern "C" fn scan(data: *mut c_void, from: *const u64) {
            // SAFETY: the scan below, which waits for us.
            let Scan { end, f } = unsafe { &mut *data.cast::<Scan<'_>>() };
            for address in (from.addr()..*end).step_by(size_of::<u64>()) {
                // SAFETY: the thread's own stack, between two frames that are on it. Volatile, for what
                // others have there, and when, is nothing that the compiler knows.
                f(unsafe { (address as *const u64).read_volatile() });
            }
        }

        // SAFETY: the store's own context, on its thread.
        let Some(end) = (unsafe { VMStoreContext::outermost_entry(self.vm()) }) else { return };
        let mut data = Scan { end, f };
        // SAFETY: the function above does not unwind: what it is given collects words.
        unsafe { sys::arch::with_preserved_registers(scan, (&raw mut data).cast()) };
    }

    fn for_each_reference(&self, kind: fn(RefType) -> bool, f: &mut dyn FnMut(u64)) {
        let groups: Vec<Group> = self.0.groups.borrow().iter().filter_map(|group| group.upgrade()).collect();
        groups.iter().for_each(|group| group.for_each_reference(kind, f));
    }

    pub(crate) fn keep_tag(&self, tag: VmBox<TagObj>) {
        self.0.tags.borrow_mut().push(tag);
    }

    pub(crate) fn exceptions(&self) -> &Exceptions {
        &self.0.exceptions
    }

    /// Has the next call into wasm that returns tell so, with [`EntryOutcome::Attention`]. For what is looked
    /// at after a call and seldom there: it costs each call one look together.
    pub fn call_for_attention(&self) {
        // SAFETY: a write of a field; no reference to the context is ever kept.
        unsafe { (*self.vm()).attention = true };
    }

    /// Looks after what the store itself called for attention for.
    pub(crate) fn attend(&self) {
        self.sweep_exceptions();
        // SAFETY: as above.
        unsafe { (*self.vm()).attention = self.0.exceptions.any() };
    }

    /// What the store's thread sleeps on in `memory.atomic.wait`: with it another thread can end
    /// the wait.
    pub fn parker(&self) -> &Arc<Parker> {
        &self.0.parker
    }

    /// How often wasm has tried to grow a memory: when it changes, views of memories are stale.
    #[inline]
    pub fn memory_growths(&self) -> u64 {
        self.0.memory_growths.get()
    }

    pub(crate) fn note_memory_growth(&self) {
        self.0.memory_growths.set(self.0.memory_growths.get() + 1);
        self.call_for_attention();
    }

    /// Limits what is made in this store from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.0.limits.set(limits);
        self.0.budget.replace(Budget::new(limits.total_bytes));
        let engine = self.0.engine.max_wasm_stack();
        self.0.max_wasm_stack.set(limits.stack_bytes.unwrap_or(engine));
        // The next entry has to set the stack limit.
        // SAFETY: a write of a field; no reference to the context is ever kept.
        unsafe { (*self.vm()).quick_from = NEVER };
    }

    /// Limits what `make` makes, which counts in `budget`. `make` runs no code of a guest or the host.
    pub(crate) fn with_limits<T>(&self, limits: Limits, budget: &Budget, make: impl FnOnce() -> T) -> T {
        struct Before<'a>(&'a Store, Limits, Budget);
        impl Drop for Before<'_> {
            fn drop(&mut self) {
                self.0.0.limits.set(self.1);
                self.0.0.budget.replace(self.2.clone());
            }
        }
        let budget = self.0.budget.replace(budget.clone());
        let _before = Before(self, self.0.limits.replace(limits), budget);
        make()
    }

    pub(crate) fn limits(&self) -> Limits {
        self.0.limits.get()
    }

    pub(crate) fn budget(&self) -> Budget {
        self.0.budget.borrow().clone()
    }

    /// Counts nothing yet, under the limits in force.
    pub(crate) fn charge(&self) -> Charge {
        self.charge_to(self.budget())
    }

    pub(crate) fn charge_to(&self, budget: Budget) -> Charge {
        Charge::new(budget, self.0.bytes.clone())
    }

    /// Bytes that the memories, tables and exceptions of this store have together.
    pub fn bytes(&self) -> usize {
        self.0.bytes.get()
    }

    /// One more holder of the count of instances: the store itself is the first.
    pub(crate) fn live_instances(&self) -> Rc<()> {
        self.0.instances.clone()
    }

    #[inline]
    pub(crate) fn vm(&self) -> *mut VMStoreContext {
        self.0.vm
    }

    pub(crate) fn lowest_stack_limit(&self) -> usize {
        self.0.lowest_stack_limit
    }

    pub(crate) fn max_wasm_stack(&self) -> usize {
        self.0.max_wasm_stack.get()
    }

    pub(crate) fn stack_limit(&self) -> usize {
        self.0.memory.stack_limit()
    }

    pub(crate) fn set_stack_limit(&self, limit: usize) {
        self.0.memory.set_stack_limit(limit);
    }

    /// Ends what wasm called with an error: the exit trampoline continues at whoever catches it,
    /// or at the entry.
    ///
    /// # Safety
    /// Called from a function that wasm called through an exit trampoline.
    pub(crate) unsafe fn fail(&self, error: Error) {
        match error {
            // SAFETY: by this function's contract.
            Error::Exception(exception) => unsafe { self.throw(exception) },
            other => {
                self.set_pending(other);
                // SAFETY: a write of fields; no reference to the context is kept.
                unsafe { VMStoreContext::unwind_to_entry(self.vm()) };
            }
        }
    }

    pub(crate) fn set_pending(&self, error: Error) {
        *self.0.pending.borrow_mut() = Some(error);
    }

    pub(crate) fn take_pending(&self) -> Option<Error> {
        self.0.pending.borrow_mut().take()
    }

    pub(crate) fn register(&self, group: &Group) {
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

    pub(crate) fn downgrade(&self) -> WeakStore {
        WeakStore(Rc::downgrade(&self.0))
    }

    pub(crate) fn same(&self, other: &Store) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Drop for StoreInner {
    fn drop(&mut self) {
        Current::forget(self.vm);
    }
}

impl WeakStore {
    pub(crate) fn upgrade(&self) -> Option<Store> {
        self.0.upgrade().map(Store)
    }
}
