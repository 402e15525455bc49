//! A realm: what one loading of the package in one Node environment owns.
//!
//! For this room. Invariant: only its environment's thread touches a realm (`Rc`, never `Send`), and no
//! native value in it keeps a JavaScript value alive except the window, the face's functions for errors
//! and exceptions, and the bytes of shared memories. Everything else that wasm can reach is kept by
//! JavaScript objects (the face's groups), where V8 sees cycles and can collect them.
//!
//! The *argument window* is one array of 16-byte slots that both sides see. JavaScript writes the
//! arguments there and reads the results from there, so a call needs no conversion and no
//! Node-API arguments. Between writing and the call, and between the call and reading, no user
//! code runs; that makes one window enough for any depth of re-entry.

use super::budget::Budget;
use super::buffers::{Buffers, SetDetachKey};
use super::call::{Handles, HeldSlot};
use super::collector::Collector;
use super::compiling::Compilations;
use super::constants::constants;
use super::descriptors::Descriptors;
use super::exceptions::Exceptions;
use super::failure::{self, Failure};
use super::platform;
use super::raw::{self, Reference, Refused};
use super::threads::Threads;
use super::types::Letters;
use super::v8_stack::V8Stack;
use super::workers::Asked;
use crate::guest_napi::Guests;
use engine::shares_memory;
use engine::{
    Cache, CodeLog, CompileError, Config, Engine, FastEntry, Func, MemoryStyle, Statistics, Store, TrapMode,
    ValRaw,
};
use host::watchdog::Watchdog;
use napi::bindgen_prelude::{Env, External, Object, Unknown};
use napi::{Error, JsValue, sys};
use napi_derive::napi;
use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::c_void;
use std::io;
use std::path::PathBuf;
use std::ptr::{self, NonNull};
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Slots for arguments and results: a function type has at most 1000 of each.
const SLOTS: usize = 1000;
/// The slot that names what is called: a function reference, or the number of a WASI function.
pub const TARGET: usize = SLOTS;

pub struct Realm {
    pub env: sys::napi_env,
    pub store: Store,
    window: NonNull<ValRaw>,
    /// Keeps the window's memory.
    _window: Reference,
    make_error: Reference,
    pub(super) exceptions: OnceCell<Exceptions>,
    pub(super) handles: Cell<Handles>,
    pub(crate) v8_stack: V8Stack,
    /// Given out by `next_id`.
    ids: Cell<u64>,
    held_slot: OnceCell<HeldSlot>,
    /// For types that have no letter of their own.
    pub(super) letters: RefCell<Letters>,
    /// `store.memory_growths()` when the buffers were last looked at.
    growths: Cell<u64>,
    pub(super) collector: Collector,
    pub(super) descriptors: Descriptors,
    pub(super) buffers: RefCell<Buffers>,
    /// Both for `buffers.rs`: what tells of the environment's end, and V8's function for detach keys.
    pub(super) sentinel: RefCell<Option<Reference>>,
    /// What is asked when the environment ends, before Node lets go of the buffers over memory of others.
    pub(crate) ends: RefCell<Vec<Rc<dyn Fn()>>>,
    pub(super) set_detach_key: OnceCell<Option<SetDetachKey>>,
    /// Set when the environment ends: a runtime need not let go of handles then.
    pub(super) ended: Arc<AtomicBool>,
    /// Set when the first guest gets a thread of its own.
    pub(super) threads: OnceCell<Threads>,
    /// The calls under way that may take or use only so much, the innermost last.
    pub(super) budgets: RefCell<Vec<Arc<Budget>>>,
    /// Ends calls that take too long: from when the first call may take only so long, until the environment ends.
    watchdog: RefCell<Option<Rc<Watchdog>>>,
    /// In a Worker: as long as this is held, wasm is asked whether to go on.
    pub(super) asked: OnceCell<Asked>,
    /// In a Worker: whether JavaScript goes on, or the thread is being terminated.
    pub(super) goes_on: OnceCell<Rc<dyn Fn() -> bool>>,
    /// Set when the first module is compiled beside JavaScript.
    pub(super) compilations: OnceCell<Compilations>,
    /// Set when the first Node-API guest is loaded.
    pub(crate) guests: OnceCell<Guests>,
}

impl Realm {
    /// Whether JavaScript goes on, or the thread is being terminated. A pending exception stays.
    #[cold]
    pub fn goes_on(&self) -> bool {
        self.goes_on.get().is_none_or(|goes_on| goes_on())
    }

    /// The window's first slots, for arguments and results.
    #[inline]
    pub fn slots(&self) -> *mut ValRaw {
        self.window.as_ptr()
    }

    #[inline]
    pub fn slot(&self, index: usize) -> ValRaw {
        debug_assert!(index <= TARGET);
        // SAFETY: inside the window; JavaScript writes it on this thread only, so not now.
        unsafe { self.window.add(index).read() }
    }

    #[inline]
    pub fn set_slot(&self, index: usize, value: ValRaw) {
        debug_assert!(index <= TARGET);
        // SAFETY: as in `slot`.
        unsafe { self.window.add(index).write(value) }
    }

    /// Leaves nothing in the window, after a call that failed.
    #[cold]
    pub fn clear_window(&self) {
        // SAFETY: as in `slot`, for all slots; zeros are a value of every kind.
        unsafe { self.window.write_bytes(0, TARGET + 1) };
    }

    /// The fast way to call what the window asks for.
    pub fn fast_entry(&self) -> FastEntry {
        FastEntry::new(&self.store, self.slots())
    }

    /// The number in the target slot.
    #[inline]
    pub fn target_number(&self) -> usize {
        // SAFETY: as in `slot`.
        unsafe { (*self.window.add(TARGET).as_ptr()).i32 as usize }
    }

    /// What ends calls that take too long.
    pub fn watchdog(&self) -> io::Result<Rc<Watchdog>> {
        let mut watchdog = self.watchdog.borrow_mut();
        if let Some(watchdog) = &*watchdog {
            return Ok(watchdog.clone());
        }
        Ok(watchdog.insert(Rc::new(Watchdog::start()?)).clone())
    }

    /// The environment ends. What the process has for the realm goes now: a runtime need not run the finalizers that
    /// would let the realm go, and Bun does not.
    fn end(&self) {
        // A hook has none of its own.
        let _scope = raw::HandleScope::open(self.env);
        super::buffers::settle_all(self);
        self.watchdog.take();
        self.descriptors.let_go();
        self.release_memories();
    }

    /// A number that nothing else of this realm has; not 0.
    pub fn next_id(&self) -> u64 {
        self.ids.set(self.ids.get() + 1);
        self.ids.get()
    }

    /// Whether [`Realm::refresh_buffers`] has nothing to do.
    #[inline]
    pub fn buffers_are_fresh(&self) -> bool {
        self.store.memory_growths() == self.growths.get()
    }

    /// Detaches the buffers of memories that grew. Must be called whenever JavaScript is about to run after
    /// wasm did.
    #[inline]
    pub fn refresh_buffers(&self) {
        if !self.buffers_are_fresh() {
            self.growths.set(self.store.memory_growths());
            super::buffers::detach_outgrown(self);
            self.account();
        }
    }

    /// An error made by the face: `makeError(kind, message, frames)`.
    pub fn make_error(&self, kind: &str, message: &str, frames: &str) -> Result<sys::napi_value, Refused> {
        let make_error = self.make_error.get().ok_or(Refused)?;
        let args =
            [raw::string(self.env, kind)?, raw::string(self.env, message)?, raw::string(self.env, frames)?];
        raw::call(self.env, make_error, &args)
    }

    /// The function behind an address that JavaScript holds: a number whose bits are the address.
    ///
    /// # Safety
    /// `address` must be that of a function reference whose group is alive: one that came from
    /// this realm, and whose JavaScript wrapper or holder is still there.
    pub unsafe fn func(&self, address: f64) -> Result<Func, Failure> {
        let raw = NonNull::new(address.to_bits() as *mut _).ok_or(Failure::Stopped)?;
        // SAFETY: the caller's.
        Ok(unsafe { Func::from_raw(&self.store, raw) })
    }
}

/// Has the realm end with its environment.
fn follow_end(realm: &Rc<Realm>) -> Result<(), Refused> {
    struct End {
        ended: Arc<AtomicBool>,
        realm: Weak<Realm>,
    }
    unsafe extern "C" fn at_end(end: *mut c_void) {
        raw::contained(|| {
            // SAFETY: made below, and handed back once.
            let end = unsafe { Box::from_raw(end.cast::<End>()) };
            end.ended.store(true, Ordering::Relaxed);
            if let Some(realm) = end.realm.upgrade() {
                realm.end();
            }
        });
    }
    let end = Box::into_raw(Box::new(End { ended: realm.ended.clone(), realm: Rc::downgrade(realm) }));
    // SAFETY: the environment of this thread, and data that the hook takes back.
    let added = unsafe { sys::napi_add_env_cleanup_hook(realm.env, Some(at_end), end.cast()) };
    raw::check(added).inspect_err(|_| {
        // SAFETY: nobody else has it.
        drop(unsafe { Box::from_raw(end) });
    })
}

/// An address as JavaScript holds it. It fits: V8 moves doubles as they are, and an address is
/// never the bits of a NaN.
pub fn address(of: usize) -> f64 {
    f64::from_bits(of as u64)
}

/// The engines of the process, by their settings. Compiled code is immutable, modules are posted between
/// threads and the fault handler is the process's, so all environments share them.
static ENGINES: Mutex<Vec<Engine>> = Mutex::new(Vec::new());

/// The engine for modules that count their operators, or for those that do not.
pub fn engine(fuel: bool) -> Result<Engine, CompileError> {
    // Shared memories lie in V8's memory, so that JavaScript has a `SharedArrayBuffer` of the bytes.
    engine_for(fuel, Some(MemoryStyle::Bounded))
}

/// The engine for a module whose shared memories are all ours, with guard pages where there is room for them. Its
/// code runs in the stores of [`engine`], too, but not on a memory of V8's: see `Memory::suits`.
pub fn guest_engine(bytes: &[u8], fuel: bool) -> Result<Engine, CompileError> {
    match shares_memory(bytes) {
        true => sharing_engine(fuel),
        // Other modules are the same to both, so they are compiled once.
        false => engine(fuel),
    }
}

/// The engine for guests that share their memory with threads.
pub fn sharing_engine(fuel: bool) -> Result<Engine, CompileError> {
    engine_for(fuel, None)
}

/// What it took to make the modules of all engines.
pub fn statistics() -> Statistics {
    let engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut sums = Statistics::default();
    engines.iter().for_each(|engine| sums += engine.statistics());
    sums
}

fn engine_for(fuel: bool, shared_memory: Option<MemoryStyle>) -> Result<Engine, CompileError> {
    let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
    let settings = match engines.first() {
        Some(engine) => Config { fuel, shared_memory, ..engine.config().clone() },
        None => Config { fuel, shared_memory, ..config()? },
    };
    if let Some(engine) = engines.iter().find(|engine| *engine.config() == settings) {
        return Ok(engine.clone());
    }
    let engine = Engine::new(&settings)?;
    engines.push(engine.clone());
    Ok(engine)
}

/// The first engine's settings. The environment of the process has them, so what JavaScript does to it later
/// does not change them.
fn config() -> Result<Config, CompileError> {
    let trap_modes = [("signals", TrapMode::Signals), ("explicit", TrapMode::Explicit)];
    let styles = [("reserved", MemoryStyle::Reserved), ("bounded", MemoryStyle::Bounded)];
    Ok(Config {
        trap_mode: setting("WASI_NATIVE_TRAP_MODE", &trap_modes)?.unwrap_or_default(),
        memory: setting("WASI_NATIVE_MEMORY", &styles)?,
        cache: cache()?,
        ..Config::default()
    })
}

/// Where compiled code is kept for other processes: in the user's directory for such things, or where the
/// process's environment says.
fn cache() -> Result<Option<Cache>, CompileError> {
    const MAX_BYTES: u64 = 1 << 30;
    if setting("WASI_NATIVE_CACHE", &[("0", false), ("1", true)])? == Some(false) {
        return Ok(None);
    }
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = match given("WASI_NATIVE_CACHE_DIR") {
        // Where the process is may change.
        Some(directory) => std::path::absolute(directory).ok(),
        None => platform::user_cache_directory(&given).map(|directory| directory.join("wasi-native")),
    };
    Ok(directory.map(|directory| Cache { directory, max_bytes: MAX_BYTES }))
}

/// The value that a variable of the environment names; `None` where it is not set.
fn setting<T: Copy>(name: &str, values: &[(&str, T)]) -> Result<Option<T>, CompileError> {
    let Some(given) = std::env::var_os(name) else { return Ok(None) };
    let known = values.iter().find(|(value, _)| given == *value);
    known.map(|(_, value)| Some(*value)).ok_or_else(|| {
        let names: Vec<&str> = values.iter().map(|(value, _)| *value).collect();
        CompileError::general(format!("{name} is {given:?}; it can be {}", names.join(" or ")))
    })
}

/// Tells Linux's `perf` of all code from now on: in a `map` as V8 writes, or a `dump` of the code.
#[napi(catch_unwind)]
pub fn log_code(kind: String) -> napi::Result<()> {
    let kind = if kind == "map" { CodeLog::Map } else { CodeLog::Dump };
    engine::log_code(kind).map_err(|error| Error::from_reason(error.to_string()))
}

/// Opens a realm: `{realm, window, offset, slots, call, constants}`. `makeError` makes the errors that
/// native code throws.
#[napi(catch_unwind)]
pub fn open<'env>(env: &'env Env, make_error: Unknown<'env>) -> napi::Result<Object<'env>> {
    let engine = engine(false).map_err(|error| Error::from_reason(error.to_string()))?;
    let refused = |_| Error::from_reason("this environment is shutting down");

    let store = Store::new(&engine).map_err(|error| Error::from_reason(failure::text(error)))?;

    // `budget.rs` sets less for as long as a call may use less.
    store.set_fuel(u64::MAX);

    // There is room for one slot more, so that the window can begin at a multiple of 16 wherever V8 puts
    // the bytes.
    let mut buffer = ptr::null_mut();
    let mut data = ptr::null_mut();
    let size = (TARGET + 2) * size_of::<ValRaw>();
    // SAFETY: `env` is live.
    let status = unsafe { sys::napi_create_arraybuffer(env.raw(), size, &mut data, &mut buffer) };
    raw::check(status).map_err(refused)?;
    let offset = data.align_offset(align_of::<ValRaw>());
    let window = NonNull::new(data.wrapping_byte_add(offset).cast())
        .ok_or_else(|| Error::from_reason("out of memory"))?;

    let realm = Rc::new(Realm {
        env: env.raw(),
        store,
        window,
        _window: Reference::strong(env.raw(), buffer).map_err(refused)?,
        make_error: Reference::strong(env.raw(), make_error.raw()).map_err(refused)?,
        exceptions: OnceCell::new(),
        handles: Cell::new(Handles::NONE),
        v8_stack: V8Stack::default(),
        ids: Cell::new(0),
        held_slot: OnceCell::new(),
        letters: RefCell::default(),
        growths: Cell::new(0),
        collector: Collector::default(),
        descriptors: Descriptors::default(),
        buffers: RefCell::default(),
        sentinel: RefCell::default(),
        ends: RefCell::default(),
        set_detach_key: OnceCell::new(),
        ended: Arc::default(),
        threads: OnceCell::new(),
        budgets: RefCell::default(),
        watchdog: RefCell::default(),
        asked: OnceCell::new(),
        goes_on: OnceCell::new(),
        compilations: OnceCell::new(),
        guests: OnceCell::new(),
    });
    follow_end(&realm).map_err(refused)?;
    let callback = realm.held_slot.get_or_init(|| HeldSlot::take(&realm)).callback();
    let call = raw::function(env.raw(), c"call", callback, realm.clone()).map_err(refused)?;
    let mut opened = Object::new(env)?;
    opened.set("realm", External::new(realm))?;
    // SAFETY: both handles were made above, in this callback's scope.
    unsafe {
        opened.set("window", Unknown::from_raw_unchecked(env.raw(), buffer))?;
        opened.set("call", Unknown::from_raw_unchecked(env.raw(), call))?;
    }
    opened.set("offset", offset as u32)?;
    opened.set("slots", SLOTS as u32)?;
    opened.set("constants", constants(env)?)?;
    Ok(opened)
}
