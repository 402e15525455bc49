//! One thread's runtime state, shared by all instances of a Node environment or of a run.
//!
//! Public. Invariant: a store and everything in it is used by one thread. Handles are `!Send`.

use super::call::HOST_RESERVE;
use super::exception::{Exceptions, TagObj};
use super::group::Group;
use super::interrupt::{Checkpoint, InterruptHandle, StoreMemory};
use super::lazy;
use super::limits::{Budget, Charge, Limits};
use super::parking::Parker;
use super::profile;
use super::table;
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

/// Held by objects inside a store, which must not keep the store alive.
#[derive(Clone)]
pub(crate) struct WeakStore(Weak<StoreInner>);

struct StoreInner {
    engine: Engine,
    /// The context that compiled code reads and writes. It lies in `memory`.
    vm: *mut VMStoreContext,
    /// The lowest address of the thread's stack that any wasm may use.
    lowest_stack_limit: usize,
    memory: Arc<StoreMemory>,
    checkpoint: OnceCell<Box<Checkpoint>>,
    fuel_source: OnceCell<Box<dyn Fn() -> u64>>,
    exceptions: Exceptions,
    /// The tags that belong to no group.
    tags: RefCell<Vec<VmBox<TagObj>>>,
    /// The error that a host function returned, on its way to the entry that called into wasm.
    pending: RefCell<Option<Error>>,
    groups: RefCell<Vec<super::group::WeakGroup>>,
    memory_growths: Cell<u64>,
    limits: Cell<Limits>,
    /// The budget that `limits` applies to.
    budget: RefCell<Budget>,
    /// The bytes of all objects of the store.
    bytes: Rc<Cell<usize>>,
    /// The stack limit in force. Read at each entry.
    max_wasm_stack: Cell<usize>,
    parker: Arc<Parker>,
    /// Groups registered since the last sweep of dropped ones.
    registered: Cell<usize>,
    /// What `VMStoreContext::values` points to.
    values: RefCell<Vec<u64>>,
}

impl Store {
    /// Makes a store for the current thread. The first store of the process installs the fault handler.
    pub fn new(engine: &Engine) -> Result<Store, Error> {
        if engine.tunables().signals {
            sys::install_fault_handler(traps::on_fault)
                .map_err(|e| Error::Internal(format!("cannot install the fault handler: {e}")))?;
        }
        sys::plt::install(lazy::make);
        profile::join();
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
            values: std::ptr::null(),
            interrupted: AtomicBool::new(false),
            attention: false,
            quick_from: NEVER,
            outer: std::ptr::null(),
            trap: TrapRecord::new(),
            asking: sys::Asking { pc: 0, register: 0, asked: traps::asked },
            table_pool: Arc::as_ptr(engine.table_pool()),
            touching: sys::Asking { pc: 0, register: 0, asked: table::touched },
            touched: 0,
            failed: None,
            checkpoint: std::ptr::null(),
        };
        let memory = StoreMemory::new(engine.pool(), vm, engine.tunables().signals)
            .map_err(|e| Error::Internal(format!("cannot allocate a store: {e}")))?;
        let stack = sys::stack_bounds();
        Ok(Store(Rc::new(StoreInner {
            engine: engine.clone(),
            vm: memory.context(),
            lowest_stack_limit: stack.start + HOST_RESERVE.min(stack.len() / 4),
            memory,
            checkpoint: OnceCell::new(),
            fuel_source: OnceCell::new(),
            exceptions: Exceptions::default(),
            tags: RefCell::default(),
            pending: RefCell::new(None),
            groups: RefCell::new(Vec::new()),
            memory_growths: Cell::new(0),
            limits: Cell::default(),
            budget: RefCell::new(Budget::new(usize::MAX)),
            bytes: Rc::default(),
            max_wasm_stack: Cell::new(engine.max_wasm_stack()),
            parker: Arc::default(),
            registered: Cell::new(0),
            values: RefCell::default(),
        })))
    }

    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The wasm frames on the stack, innermost first, at most 64. For a host function that wasm called,
    /// and for the store's checkpoint.
    pub fn backtrace(&self) -> Vec<Frame> {
        // SAFETY: this is our own context, on its thread. Wasm enters the host through exit trampolines,
        // and the checkpoint through a frame like theirs.
        unsafe { traps::backtrace(self.vm()) }
    }

    /// A handle to stop this store's wasm from another thread.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        InterruptHandle::new(self.0.memory.clone(), self.parker().clone())
    }

    /// Sets the checkpoint: `go_on` is called after [`InterruptHandle::ask`], on this thread, at a loop of
    /// wasm or where wasm waits in a memory whose bytes are ours. If it returns false, wasm traps with
    /// `TrapCode::Interrupted`. It may do what a host function may, including calling wasm. Must be set at
    /// most once. Returns false in explicit trap mode, which has no handler that could ask.
    pub fn set_checkpoint(&self, go_on: impl Fn() -> bool + 'static) -> bool {
        if !self.0.engine.tunables().signals {
            return false;
        }
        let made = || Box::new(Checkpoint { memory: self.0.memory.clone(), go_on: Box::new(go_on) });
        let checkpoint: *const Checkpoint = &**self.0.checkpoint.get_or_init(made);
        // SAFETY: this writes a field. The store owns the checkpoint and keeps it.
        unsafe { (*self.vm()).checkpoint = checkpoint };
        true
    }

    /// The answer of the checkpoint, true if there is none. For work that the runtime does for wasm.
    pub(crate) fn goes_on(&self) -> bool {
        self.0.checkpoint.get().is_none_or(|checkpoint| (checkpoint.go_on)())
    }

    /// Lets wasm run again after an interruption.
    pub fn clear_interrupt(&self) -> Result<(), Error> {
        self.parker().set_interrupted(false);
        self.0.memory.clear().map_err(|e| Error::Internal(format!("cannot clear an interruption: {e}")))
    }

    /// Whether wasm was interrupted. For long work that the runtime does for wasm.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.0.memory.is_interrupted()
    }

    /// Sets how many more operators wasm may execute, if the engine counts them (`Config::fuel`). A new
    /// store has no fuel.
    pub fn set_fuel(&self, fuel: u64) {
        let fuel = i64::try_from(fuel).unwrap_or(i64::MAX);
        // SAFETY: this writes a field. No reference to the context is ever kept.
        unsafe { (*self.vm()).fuel = -fuel };
    }

    /// The remaining fuel.
    pub fn fuel(&self) -> u64 {
        // SAFETY: this reads a field. No reference to the context is ever kept.
        u64::try_from(unsafe { (*self.vm()).fuel }.saturating_neg()).unwrap_or(0)
    }

    /// Sets where the store gets more fuel from when its own is used up: `source` returns how much, 0 for none.
    /// It is called on this thread while wasm waits, and may not call wasm. Can be set once.
    pub fn set_fuel_source(&self, source: impl Fn() -> u64 + 'static) {
        // Whoever sets it first keeps it.
        let _ = self.0.fuel_source.set(Box::new(source));
    }

    /// Takes fuel from the source until there is some. False if the source has none.
    pub(crate) fn refuel(&self) -> bool {
        let Some(source) = self.0.fuel_source.get() else { return false };
        loop {
            let more = i64::try_from(source()).unwrap_or(i64::MAX);
            // SAFETY: this writes a field. No reference to the context is ever kept.
            let used = unsafe {
                (*self.vm()).fuel = (*self.vm()).fuel.saturating_sub(more);
                (*self.vm()).fuel
            };
            if more == 0 || used < 0 {
                return more != 0;
            }
        }
    }

    /// Whether wasm of this store is on the stack.
    pub fn is_running(&self) -> bool {
        // SAFETY: this is the store's own context, on its thread.
        unsafe { VMStoreContext::in_wasm(self.vm()) }
    }

    /// Calls `f` with every host value that a table, a global, a segment or an exception of this store
    /// holds, and with all that frames of running wasm may hold: every word of the stack that could be a
    /// host value counts. Returns the number of words examined, which is the cost.
    ///
    /// Values in transit are not included: after the embedder takes the number of a value, and before
    /// wasm has it or a host function has looked up what it refers to.
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

    /// Calls `f` with every exception that a table or global holds. Null is 0.
    pub(crate) fn for_each_exnref(&self, f: &mut dyn FnMut(u64)) {
        self.for_each_reference(RefType::is_exn, f);
    }

    /// Calls `f` with every word in which a frame of running wasm may hold a reference: the thread's whole
    /// stack up to the outermost entry into wasm, and the callee-saved registers, in which such a frame may
    /// have left a value. Callers save the other registers.
    pub(super) fn for_each_word_of_stack(&self, f: &mut dyn FnMut(u64)) {
        struct Scan<'a> {
            end: usize,
            f: &'a mut dyn FnMut(u64),
        }

        unsafe extern "C" fn scan(data: *mut c_void, from: *const u64) {
            // SAFETY: `data` is the `Scan` below, and its owner waits for this function.
            let Scan { end, f } = unsafe { &mut *data.cast::<Scan<'_>>() };
            for address in (from.addr()..*end).step_by(size_of::<u64>()) {
                // SAFETY: this is the thread's own stack, between two live frames. The read is volatile
                // because the compiler does not know what other frames store there, or when.
                f(unsafe { (address as *const u64).read_volatile() });
            }
        }

        // SAFETY: this is the store's own context, on its thread.
        let Some(end) = (unsafe { VMStoreContext::outermost_entry(self.vm()) }) else { return };
        let mut data = Scan { end, f };
        // SAFETY: `scan` does not unwind, because `f` only collects words.
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

    /// Makes the next call into wasm that returns report [`EntryOutcome::Attention`]. For conditions that are
    /// checked after a call but seldom occur: one check per call covers them all.
    pub fn call_for_attention(&self) {
        // SAFETY: this writes a field. No reference to the context is ever kept.
        unsafe { (*self.vm()).attention = true };
    }

    /// Handles what the store itself called for attention for.
    pub(crate) fn attend(&self) {
        self.sweep_exceptions();
        // SAFETY: as above.
        unsafe { (*self.vm()).attention = self.0.exceptions.any() };
    }

    /// What the store's thread sleeps on in `memory.atomic.wait`. Another thread can use it to end the
    /// wait.
    pub fn parker(&self) -> &Arc<Parker> {
        &self.0.parker
    }

    /// How often wasm has tried to grow a memory. When it changes, views of memories are stale.
    #[inline]
    pub fn memory_growths(&self) -> u64 {
        self.0.memory_growths.get()
    }

    /// Copies the values of a function that is about to continue in better code. Returns whether there is memory for
    /// them.
    pub(crate) fn keep_values(&self, values: &[u64]) -> bool {
        let mut kept = self.0.values.borrow_mut();
        kept.clear();
        if kept.try_reserve(values.len()).is_err() {
            return false;
        }
        kept.extend_from_slice(values);
        // SAFETY: the store's plain fields are this thread's. The code that reads the values is entered before anything
        // else can be kept.
        unsafe { (*self.vm()).values = kept.as_ptr_range().end };
        true
    }

    pub(crate) fn note_memory_growth(&self) {
        self.0.memory_growths.set(self.0.memory_growths.get() + 1);
        self.call_for_attention();
    }

    /// Sets the limits for objects that are made in this store from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.set_limits_within(limits, Budget::new(limits.total_bytes));
    }

    /// As [`Store::set_limits`]. The objects count in a budget that other stores may have, too.
    pub fn set_limits_within(&self, limits: Limits, budget: Budget) {
        self.0.limits.set(limits);
        self.0.budget.replace(budget);
        let engine = self.0.engine.max_wasm_stack();
        self.0.max_wasm_stack.set(limits.stack_bytes.unwrap_or(engine));
        // The next entry must set the stack limit.
        // SAFETY: this writes a field. No reference to the context is ever kept.
        unsafe { (*self.vm()).quick_from = NEVER };
    }

    /// Runs `make` with these limits and this budget. `make` runs no code of a guest or the host.
    pub fn with_limits<T>(&self, limits: Limits, budget: &Budget, make: impl FnOnce() -> T) -> T {
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

    /// A charge of zero bytes, under the limits in force.
    pub(crate) fn charge(&self) -> Charge {
        self.charge_to(self.budget())
    }

    pub(crate) fn charge_to(&self, budget: Budget) -> Charge {
        Charge::new(budget, self.0.bytes.clone())
    }

    /// The total bytes of the memories, tables and exceptions of this store.
    pub fn bytes(&self) -> usize {
        self.0.bytes.get()
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

    /// Makes the running function fail with an error: the exit trampoline continues at the handler that
    /// catches the exception, or at the entry.
    ///
    /// # Safety
    /// Called from a function that wasm called through an exit trampoline.
    pub(crate) unsafe fn fail(&self, error: Error) {
        match error {
            // SAFETY: by this function's contract.
            Error::Exception(exception) => unsafe { self.throw(exception) },
            other => {
                self.set_pending(other);
                // SAFETY: this writes fields. No reference to the context is kept.
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
