//! A loaded guest: its instance, what it has of JavaScript, and its end.
//!
//! For this room. Ownership: the realm keeps its guests until its environment ends, and JavaScript's functions
//! and finalizers keep those they belong to. A guest owns its instance until it is closed; what is left then
//! is small, and every function of it throws. Invariants: only the realm's thread touches a guest. Compiled
//! code has the guest's address ([`GuestRef`]) and runs only while [`Guest::enter`] is on the stack.

use super::call::{self, Activation};
use super::copies::Copies;
use super::external::Externals;
use super::handles::Handles;
use super::lifetime::Lifetime;
use super::outside::Outside;
use super::references::References;
use super::slab::Slab;
use super::status::Status;
use super::wraps::Owned;
use crate::node::buffers;
use crate::node::failure::{self, Failure};
use crate::node::raw::{HandleScope, Reference};
use crate::node::realm::Realm;
use engine::{
    EntryOutcome, FastEntry, Func, FuncType, Instance, Memory, Table, VMFuncRef, Val, ValRaw, ValType,
};
use guest_memory::GuestMemory;
use napi::sys;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub struct Guest {
    pub realm: Rc<Realm>,
    pub host: sys::napi_env,
    /// What the guest passes as `napi_env`. 0 before it has one.
    pub env: Cell<u32>,
    /// The same while Node-API answers the guest: not while its allocator runs for us.
    answers: Cell<Option<u32>>,
    /// Whether it was left in the middle of a call, because its thread is being terminated.
    pub left: Cell<bool>,
    /// `None` when the guest is closed.
    live: RefCell<Option<Live>>,
    malloc: Cell<Option<NonNull<VMFuncRef>>>,
    free: Cell<Option<NonNull<VMFuncRef>>>,
    /// Why the guest runs no more, if it does not.
    dead: RefCell<Option<Dead>>,
    is_dead: Cell<bool>,
    is_shared: Cell<bool>,

    /// JavaScript that calls with less stack than this below it gets an error, and the guest lives: an overflow
    /// inside of the guest would be its end.
    pub(super) stack_floor: usize,

    pub handles: Handles,
    /// The innermost call of the guest.
    pub(super) activation: Cell<*const Activation>,
    numbers: Cell<u32>,
    /// What `napi_get_last_error_info` tells.
    pub last_status: Cell<i32>,
    pub references: References,
    /// What the guest exports, as long as it lives: a program keeps a function of it alone, and modules take the end of
    /// this object for their own. `require` keeps that of any addon.
    pub(super) exports: RefCell<Vec<Reference>>,
    pub copies: Copies,
    pub externals: Externals,
    pub deferreds: RefCell<Slab<sys::napi_deferred>>,
    pub async_contexts: RefCell<Slab<sys::napi_async_context>>,
    pub callback_scopes: super::contexts::CallbackScopes,
    /// What JavaScript's objects and values own of the guest's: see `wraps.rs`.
    pub owned: RefCell<HashSet<*const Owned>>,
    /// The functions of classes and descriptors, which JavaScript may call until the environment ends.
    #[expect(clippy::vec_box, reason = "the host has their addresses")]
    pub(super) callbacks: RefCell<Vec<Box<super::callbacks::Callback>>>,
    #[expect(clippy::vec_box, reason = "the host has their addresses")]
    pub(super) accessors: RefCell<Vec<Box<super::callbacks::Accessor>>>,
    pub lifetime: Lifetime,
    /// What the guest's own threads share with it.
    pub(super) outside: OnceCell<Arc<Outside>>,
    /// The JavaScript of thread-safe functions, by their numbers.
    pub(super) thread_safe: RefCell<HashMap<u32, Reference>>,
    /// How often the guest keeps the event loop running.
    pub(super) holds: Cell<usize>,
    /// Structs that the guest is given the address of, by what they are.
    pub(super) statics: super::info::Statics,
    /// Where the module comes from: a URL for `node_api_get_module_file_name`.
    pub file_name: String,
}

/// What a guest that is not closed has.
pub struct Live {
    pub instance: Instance,
    pub memory: Memory,
    pub table: Option<Table>,
}

struct Dead {
    message: String,
    closed: bool,
}

/// The address of a guest, for the functions that compiled code calls.
pub struct GuestRef(pub *const Guest);

// SAFETY: the functions that read it run on the realm's thread only: instances on other threads are bound to
// others (`functions::off_thread`).
unsafe impl Send for GuestRef {}
// SAFETY: as above.
unsafe impl Sync for GuestRef {}

/// The lowest address where the guest is entered: above what the engine leaves for calls to the host.
fn stack_floor() -> usize {
    const WANTED: usize = 384 << 10;
    let stack = engine::stack_bounds();
    stack.start + WANTED.min((stack.end - stack.start) / 8 * 3)
}

impl Guest {
    pub fn new(realm: &Rc<Realm>, file_name: String) -> Rc<Guest> {
        Rc::new(Guest {
            realm: realm.clone(),
            host: realm.env,
            env: Cell::new(0),
            answers: Cell::new(Some(0)),
            left: Cell::default(),
            live: RefCell::new(None),
            malloc: Cell::new(None),
            free: Cell::new(None),
            dead: RefCell::new(None),
            is_dead: Cell::new(false),
            is_shared: Cell::new(false),
            stack_floor: stack_floor(),
            handles: Handles::default(),
            activation: Cell::new(ptr::null()),
            numbers: Cell::new(0),
            last_status: Cell::new(0),
            references: References::default(),
            exports: RefCell::default(),
            copies: Copies::default(),
            externals: Externals::default(),
            deferreds: RefCell::default(),
            async_contexts: RefCell::default(),
            callback_scopes: Default::default(),
            owned: RefCell::default(),
            callbacks: RefCell::default(),
            accessors: RefCell::default(),
            lifetime: Lifetime::default(),
            outside: OnceCell::new(),
            thread_safe: RefCell::default(),
            holds: Cell::new(0),
            statics: Default::default(),
            file_name,
        })
    }

    /// Keeps an object that the guest exports, until it is closed. What is no object cannot go.
    pub fn keep_exports(&self, value: sys::napi_value) {
        self.exports.borrow_mut().extend(Reference::strong(self.host, value).ok());
    }

    /// Takes the instance over.
    pub fn adopt(&self, live: Live) {
        let export = |name: &str, params: usize, results: usize| match live.instance.export(name) {
            Some(engine::Extern::Func(func)) => {
                let ints = |count| vec![ValType::I32; count];
                (*func.ty().ty() == FuncType::new(ints(params), ints(results))).then(|| func.raw())
            }
            _ => None,
        };
        // The second is that of guests made for the package napi-wasm.
        self.malloc.set(export("malloc", 1, 1).or_else(|| export("napi_wasm_malloc", 1, 1)));
        self.free.set(export("free", 1, 0));
        self.is_shared.set(live.memory.ty().shared);
        self.live.replace(Some(live));
    }

    /// The function that the instance exports by this name.
    pub fn export(&self, name: &str) -> Option<Func> {
        match self.live.borrow().as_ref()?.instance.export(name)? {
            engine::Extern::Func(func) => Some(func),
            _ => None,
        }
    }

    pub fn instance(&self) -> Option<Instance> {
        self.live.borrow().as_ref().map(|live| live.instance.clone())
    }

    pub fn memory_handle(&self) -> Option<Memory> {
        self.live.borrow().as_ref().map(|live| live.memory.clone())
    }

    /// The guest's memory as it is now. Calls into the guest may grow it, and one that is not reserved may
    /// move then, so this is asked anew after each.
    #[inline]
    pub fn memory(&self) -> GuestMemory<'_> {
        match self.live.borrow().as_ref() {
            // SAFETY: the guest keeps the memory as long as it is live. It is not closed while it is entered.
            Some(live) => unsafe { GuestMemory::from_raw(live.memory.base(), live.memory.byte_len()) },
            // SAFETY: no bytes.
            None => unsafe { GuestMemory::from_raw(NonNull::dangling().as_ptr(), 0) },
        }
    }

    /// Sets what the guest passes as `napi_env`.
    pub fn set_env(&self, env: u32) {
        self.env.set(env);
        self.answers.set(Some(env));
        if let Some(outside) = self.outside() {
            outside.env.store(env, Ordering::Relaxed);
        }
    }

    /// Whether Node-API answers calls with this `napi_env`.
    #[inline(always)]
    pub fn answers(&self, env: u32) -> bool {
        self.answers.get() == Some(env)
    }

    /// Refuses what would touch the host's values while the guest's allocator runs for us.
    pub fn check_answers(&self) -> Result<(), Status> {
        self.answers.get().map(drop).ok_or(Status::GENERIC_FAILURE)
    }

    /// Runs the guest's allocator. Whoever asks it for room has the host's handles and addresses in hand, which
    /// JavaScript or the end of a scope would take away. So Node-API answers the guest nothing meanwhile.
    fn alone<T>(&self, run: impl FnOnce() -> T) -> T {
        let answers = self.answers.take();
        let result = run();
        self.answers.set(answers);
        result
    }

    /// A number that names nothing else now, never 0.
    pub fn next_number(&self) -> u32 {
        self.numbers.set(self.numbers.get().checked_add(1).unwrap_or(1));
        self.numbers.get()
    }

    /// A function by its place in the guest's table. Its type must be this: a guest must not have us pass
    /// anything else.
    pub fn function(
        &self,
        place: u32,
        params: &[ValType],
        results: &[ValType],
    ) -> Result<NonNull<VMFuncRef>, Status> {
        let live = self.live.borrow();
        let table = live.as_ref().and_then(|live| live.table.as_ref()).ok_or(Status::INVALID_ARG)?;
        let Ok(Val::Func(Some(func))) = table.get(place.into()) else { return Err(Status::INVALID_ARG) };
        let shared = func.ty();
        let ty = shared.ty();
        if *ty.params != *params || *ty.results != *results {
            return Err(Status::INVALID_ARG);
        }
        Ok(func.raw())
    }

    /// A finalizer's function: `(env, data, hint)`. 0 is none.
    pub fn finalizer(&self, place: u32) -> Result<Option<NonNull<VMFuncRef>>, Status> {
        const PARAMS: [ValType; 3] = [ValType::I32; 3];
        match place {
            0 => Ok(None),
            _ => self.function(place, &PARAMS, &[]).map(Some),
        }
    }

    /// Whether other threads may write the guest's memory.
    #[inline]
    pub fn is_shared(&self) -> bool {
        self.is_shared.get()
    }

    pub fn is_dead(&self) -> bool {
        self.is_dead.get()
    }

    pub fn is_entered(&self) -> bool {
        !self.activation.get().is_null()
    }

    /// What an error of the guest's is to JavaScript: a thread of the guest may have ended it.
    pub fn failure_of(&self, error: engine::Error) -> Failure {
        let ended = self.outside().filter(|outside| outside.has_ended());
        match ended.and_then(|outside| outside.take_failure()) {
            Some(failure) => failure.into(),
            None => error.into(),
        }
    }

    /// What calls of the guest's functions throw from now on.
    pub fn die(&self, message: &str, closed: bool) {
        let mut dead = self.dead.borrow_mut();
        if dead.as_ref().is_none_or(|dead| closed && !dead.closed) {
            let end = message.floor_char_boundary(512);
            let message = message.get(..end).unwrap_or_default().to_string();
            *dead = Some(Dead { message, closed });
        }
        self.is_dead.set(true);
    }

    /// The error for a call of a guest that runs no more.
    pub fn dead_error(&self) -> Failure {
        use crate::node::failure::Kind;
        match &*self.dead.borrow() {
            Some(Dead { closed: true, .. }) | None => {
                Failure::new(Kind::Closed, "the module was closed; load it again")
            }
            Some(dead) => Failure::new(
                Kind::Dead,
                format!("the module runs no more since this happened in it: {}; load it again", dead.message),
            ),
        }
    }

    /// Calls a function of the guest with these arguments: its result, or 0 without one. Handles that it makes
    /// belong to the activation that the caller has opened.
    ///
    /// # Safety
    /// `func` is a function of the guest's group with as many `i32` parameters and at most one `i32` result.
    #[inline(always)]
    pub unsafe fn enter<const N: usize>(
        &self,
        func: NonNull<VMFuncRef>,
        args: [u32; N],
    ) -> Result<u32, engine::Error> {
        const { assert!(N <= 5) };
        let mut values = [ValRaw { i64: 0 }; 5];
        for (value, arg) in values.iter_mut().zip(args) {
            value.i64 = i64::from(arg);
        }
        let realm = &*self.realm;
        // SAFETY: by this function's contract; there is room for all parameters and results. The instance,
        // and with it the function's group, is kept while an activation is open: `close` refuses then.
        unsafe {
            let outcome = FastEntry::new(&realm.store, values.as_mut_ptr()).call(func);
            if outcome != EntryOutcome::Returned {
                Func::finish_call(outcome, &realm.store, func, values.as_mut_ptr())?;
            }
            Ok(values[0].i32 as u32)
        }
    }

    /// Room in the guest's memory, by its own `malloc`. Needs an activation.
    pub fn malloc(&self, len: u32) -> Result<u32, Status> {
        let malloc = self.malloc.get().ok_or(Status::GENERIC_FAILURE)?;
        // SAFETY: `adopt` has looked at the type.
        let entered = self.alone(|| unsafe { self.enter(malloc, [len]) });
        let address = entered.map_err(|error| call::fail_later(self, error))?;
        // Not one byte of it is trusted.
        if address == 0 || self.memory().reserve(address, len as usize).is_err() {
            return Err(Status::GENERIC_FAILURE);
        }
        Ok(address)
    }

    /// Gives back what [`Guest::malloc`] gave. Needs an activation.
    pub fn free(&self, address: u32) -> Result<(), Status> {
        let Some(free) = self.free.get() else { return Ok(()) };
        // SAFETY: `adopt` has looked at the type.
        let entered = self.alone(|| unsafe { self.enter(free, [address]) });
        entered.map(drop).map_err(|error| call::fail_later(self, error))
    }

    /// Has promises fail that nobody can settle any more: who awaits one would wait for ever, and the host keeps what
    /// it reaches.
    fn reject_promises(&self) {
        let deferreds: Vec<sys::napi_deferred> = self.deferreds.borrow_mut().drain();
        if deferreds.is_empty() || buffers::is_ending(self.host) {
            return;
        }
        for deferred in deferreds {
            let Ok(_scope) = HandleScope::open(self.host) else { return };
            if let Some(error) = failure::to_value(&self.realm, &self.dead_error()) {
                // SAFETY: a deferred of the host's that is concluded once, and a handle of an open scope.
                unsafe { sys::napi_reject_deferred(self.host, deferred, error) };
            }
        }
    }

    /// Lets everything go that the guest has: it was closed, or its environment ends. False while it runs.
    pub fn close(&self, why: &str) -> bool {
        if self.is_entered() {
            return false;
        }
        // One that was left in the middle is in no state to go on.
        if !self.left.get() {
            super::lifetime::run_end(self);
            super::tsfn::finish_all(self);
        }
        self.end_threads();
        self.die(why, true);
        self.thread_safe.borrow_mut().clear();
        self.malloc.set(None);
        self.free.set(None);
        self.references.release(self.host);
        self.exports.take();
        self.copies.abandon(self);
        self.statics.forget();
        self.reject_promises();
        for context in self.async_contexts.borrow_mut().drain() {
            // SAFETY: made by `napi_async_init` and destroyed once.
            unsafe { sys::napi_async_destroy(self.host, context) };
        }
        if let Some(outside) = self.outside() {
            outside.release_waits();
        }
        let live = self.live.borrow_mut().take();
        if let Some(live) = live {
            // Memory that buffers of JavaScript stand on stays until they are gone.
            if self.externals.is_empty() {
                live.instance.close(&self.realm.store);
            }
        }
        true
    }
}
