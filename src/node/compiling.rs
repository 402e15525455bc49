//! Compiling beside JavaScript, on the compile threads of the process.
//!
//! For the face, through Node-API. Invariants: the result of a compilation is delivered once, on the
//! realm's thread, unless the compilation was stopped. An environment that ends waits for none: nothing is
//! put into its queue from then on, and compilations that only it waited for stop.

use super::failure::{Failure, bounded, caught, run};
use super::module::{chooser, engine_of, engines};
use super::queue::{self, Queue};
use super::raw::{self, HandleScope, Reference, Refused};
use super::realm::Realm;
use engine::{CompileError, Compiling, FileResult, Module, Progress, Reading};
use napi::JsValue;
use napi::bindgen_prelude::{Env, External, Unknown};
use napi_derive::napi;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

/// A realm's compilations.
pub struct Compilations {
    queue: Arc<Queue<Compiled>>,
    /// Those that are not delivered, by number. The value is `None` while one is being started.
    under_way: Rc<UnderWay>,
    /// `deliver(number, module or message)`.
    deliver: Reference,
}

type UnderWay = RefCell<HashMap<u32, Option<Work>>>;

/// Dropping it stops the compilation.
enum Work {
    Bytes(Compiling),
    File(#[expect(dead_code, reason = "held for its drop")] Reading),
}

impl Compilations {
    /// Notes that a compilation begins. The event loop waits for it.
    fn begin(&self, realm: &Realm, number: u32) {
        self.under_way.borrow_mut().insert(number, None);
        self.queue.hold_event_loop(realm, true);
    }

    /// Starts a compilation that has begun.
    fn start(
        &self,
        realm: &Realm,
        number: u32,
        start: impl FnOnce() -> Result<Option<Work>, Failure>,
    ) -> Result<(), Failure> {
        match caught(start) {
            Ok(work) => {
                self.under_way.borrow_mut().insert(number, work);
                Ok(())
            }
            Err(failure) => {
                self.end(realm, number);
                Err(failure)
            }
        }
    }

    /// Notes that nobody waits for a compilation any more. False if nobody did before.
    fn end(&self, realm: &Realm, number: u32) -> bool {
        let ended = self.under_way.borrow_mut().remove(&number);
        if self.under_way.borrow().is_empty() {
            self.queue.hold_event_loop(realm, false);
        }
        ended.is_some()
    }
}

/// Opens the realm's queue. `deliver` is called with a compilation's number and the module, or the
/// message of a `CompileError`, which only the face can make.
#[napi(catch_unwind)]
pub fn open_compiler(realm: &External<Rc<Realm>>, deliver: Unknown) -> napi::Result<()> {
    let realm: &Rc<Realm> = realm;
    run(realm, || {
        let deliver = Reference::strong(realm.env, deliver.raw())?;
        let under_way = Rc::<UnderWay>::default();
        let at_end = under_way.clone();
        // Dropping a compilation stops it.
        let queue = Queue::open(realm, move || drop(at_end.take()))?;
        let _ = realm.compilations.set(Compilations { queue, under_way, deliver });
        Ok(())
    })
}

/// What came of a compilation.
struct Compiled {
    number: u32,
    result: FileResult,
}

impl queue::Message for Compiled {
    fn deliver(self, realm: &Realm) -> Result<(), Failure> {
        let Compiled { number, result } = self;
        let Some(compilations) = realm.compilations.get() else { return Ok(()) };
        if !compilations.end(realm, number) {
            return Ok(());
        }
        let _scope = HandleScope::open(realm.env)?;
        let env = Env::from_raw(realm.env);
        let value = match result {
            Ok(None) => raw::null(realm.env)?,
            Ok(Some(module)) => External::new(module).into_unknown(&env).map_err(|_| Refused)?.raw(),
            Err(error) => raw::string(realm.env, &bounded(&error.to_string(), 16 << 10))?,
        };
        let function = compilations.deliver.get().ok_or(Refused)?;
        raw::call(realm.env, function, &[raw::number(realm.env, number.into())?, value])?;
        Ok(())
    }
}

/// Compiles on other threads, under a number that no other compilation of the realm has. The bytes are
/// copied before this returns.
#[napi(catch_unwind)]
pub fn compile_async(
    realm: &External<Rc<Realm>>,
    number: u32,
    bytes: &[u8],
    fuel: bool,
    use_cache: bool,
    for_guest: bool,
) -> napi::Result<()> {
    run(realm, || {
        let engine = engine_of(bytes, fuel, for_guest)?;
        let compilations = realm.compilations.get().ok_or(Failure::Stopped)?;
        compilations.begin(realm, number);
        let queue = compilations.queue.clone();
        let done = move |result: Result<Module, CompileError>| {
            queue.send(Compiled { number, result: result.map(Some) });
        };
        let start = || Ok(Module::start(&engine, bytes, use_cache, done).map(Work::Bytes));
        compilations.start(realm, number, start)
    })
}

/// As [`compile_async`], for the bytes in a file. If it cannot be read, null is delivered.
#[napi(catch_unwind)]
pub fn compile_file_async(
    realm: &External<Rc<Realm>>,
    number: u32,
    path: String,
    fuel: bool,
    use_cache: bool,
    for_guest: bool,
) -> napi::Result<()> {
    run(realm, || {
        let engines = engines(fuel, for_guest)?;
        let compilations = realm.compilations.get().ok_or(Failure::Stopped)?;
        compilations.begin(realm, number);
        let queue = compilations.queue.clone();
        let done = move |result| queue.send(Compiled { number, result });
        let choose = chooser(fuel, for_guest);
        let start = || {
            let reading = Module::start_file(engines, choose, PathBuf::from(path), use_cache, done);
            Ok(Some(Work::File(reading)))
        };
        compilations.start(realm, number, start)
    })
}

/// How far the compilation of bytes with this number is: done and total, or null if that is not known.
#[napi(catch_unwind)]
pub fn compile_progress(realm: &External<Rc<Realm>>, number: u32) -> Option<Vec<f64>> {
    let compilations = realm.compilations.get()?;
    match compilations.under_way.borrow().get(&number) {
        Some(Some(Work::Bytes(compiling))) => {
            Some(compiling.progress()).filter(|progress| progress.total > 0).map(told)
        }
        _ => None,
    }
}

/// How far the code of a module is.
#[napi(catch_unwind)]
pub fn module_progress(module: &External<Module>) -> Vec<f64> {
    told(module.progress())
}

fn told(progress: Progress) -> Vec<f64> {
    vec![progress.done as f64, progress.total as f64]
}

/// Makes all code of a module on other threads, under a number as that of a compilation. Then the module is delivered
/// again.
#[napi(catch_unwind)]
pub fn finish_async(realm: &External<Rc<Realm>>, number: u32, module: &External<Module>) -> napi::Result<()> {
    run(realm, || {
        let compilations = realm.compilations.get().ok_or(Failure::Stopped)?;
        compilations.begin(realm, number);
        let (queue, made) = (compilations.queue.clone(), Module::clone(module));
        module.start_finish(move |result| {
            queue.send(Compiled { number, result: result.map(|()| Some(made)) });
        });
        Ok(())
    })
}

/// Nothing is delivered for this compilation any more, and it stops unless somebody else waits for it.
#[napi(catch_unwind)]
pub fn stop_compiling(realm: &External<Rc<Realm>>, number: u32) {
    if let Some(compilations) = realm.compilations.get() {
        compilations.end(realm, number);
    }
}
