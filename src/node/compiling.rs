//! Compiling beside JavaScript, on the compile threads of the process.
//!
//! For `lib/module.js`, through Node-API. Invariants: what comes of a compilation is delivered on the
//! realm's thread, once, unless it was stopped; and an environment that goes waits for none: from then
//! on nothing is put into its queue, and what only it waited for stops.

use super::failure::{Failure, caught, guard, run};
use super::raw::{self, HandleScope, Reference, Refused};
use super::realm::{Realm, engine};
use crate::engine::{CompileError, Compiling, Module};
use napi::bindgen_prelude::{Env, External, Unknown};
use napi::{JsValue, sys};
use napi_derive::napi;
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a realm has compiled for it.
pub struct Compilations {
    queue: Arc<Queue>,
    /// `deliver(number, module or message)`.
    deliver: Reference,
}

/// The way from the compile threads to the realm's own.
#[derive(Default)]
struct Queue(Mutex<State>);

#[derive(Default)]
struct State {
    /// None before the first compilation, and when the environment goes.
    function: Option<Function>,
    /// Those that are not delivered, by number.
    under_way: HashMap<u32, Option<Compiling>>,
}

/// Node's queue of calls to be made on an environment's thread.
#[derive(Clone, Copy)]
struct Function(sys::napi_threadsafe_function);

// SAFETY: Node-API lets any thread call such a function until it is released.
unsafe impl Send for Function {}

struct Message {
    number: u32,
    result: Result<Module, CompileError>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, message: Message) {
        let state = self.lock();
        let Some(Function(function)) = state.function else { return };
        let message = Box::into_raw(Box::new(message));
        let mode = sys::ThreadsafeFunctionCallMode::nonblocking;
        // SAFETY: the function stands: `close` takes it away under the lock we hold.
        let status = unsafe { sys::napi_call_threadsafe_function(function, message.cast(), mode) };
        drop(state);
        if status != sys::Status::napi_ok {
            // SAFETY: nobody took it.
            drop(unsafe { Box::from_raw(message) });
        }
    }

    fn close(&self) {
        let mut state = self.lock();
        state.function = None;
        let under_way = std::mem::take(&mut state.under_way);
        drop(state);
        drop(under_way);
    }
}

impl Realm {
    /// Notes that a compilation begins. The event loop waits for it.
    fn begin_compiling(&self, queue: &Queue, number: u32) {
        let mut state = queue.lock();
        state.under_way.insert(number, None);
        if let Some(Function(function)) = state.function {
            // SAFETY: on the environment's thread, and the function stands.
            let _ = raw::check(unsafe { sys::napi_ref_threadsafe_function(self.env, function) });
        }
    }

    /// Notes that nobody waits for a compilation any more. False if nobody did.
    fn end_compiling(&self, queue: &Queue, number: u32) -> bool {
        let mut state = queue.lock();
        let ended = state.under_way.remove(&number);
        if let Some(Function(function)) = state.function
            && state.under_way.is_empty()
        {
            // SAFETY: as in `begin_compiling`.
            let _ = raw::check(unsafe { sys::napi_unref_threadsafe_function(self.env, function) });
        }
        drop(state);
        ended.is_some()
    }
}

/// Opens the realm's queue. `deliver` is called with a compilation's number and the module, or the
/// message of a `CompileError`, which only the face can make.
#[napi(catch_unwind)]
pub fn open_compiler(realm: &External<Rc<Realm>>, deliver: Unknown) -> napi::Result<()> {
    let realm: &Rc<Realm> = realm;
    run(realm, || {
        let env = realm.env;
        let deliver = Reference::strong(env, deliver.raw())?;
        let queue = Arc::<Queue>::default();
        let context = Rc::into_raw(realm.clone()).cast_mut().cast::<c_void>();
        let mut function = ptr::null_mut();
        // SAFETY: `env` is live. The count of the realm that `context` is goes back in
        // `release_realm`, which Node calls when the function goes.
        unsafe {
            let made = sys::napi_create_threadsafe_function(
                env,
                ptr::null_mut(),
                ptr::null_mut(),
                raw::string(env, "wasi-native")?,
                0,
                1,
                context,
                Some(release_realm),
                context,
                Some(on_message),
                &mut function,
            );
            if let Err(refused) = raw::check(made) {
                drop(Rc::from_raw(context.cast::<Realm>()));
                return Err(refused.into());
            }
            raw::check(sys::napi_unref_threadsafe_function(env, function))?;
        }
        queue.lock().function = Some(Function(function));
        // Hooks run in reverse: ours comes before Node takes the function away.
        let hook = Arc::into_raw(queue.clone()).cast_mut().cast::<c_void>();
        // SAFETY: `hook` is a count of the queue, handed back in `on_teardown`.
        raw::check(unsafe { sys::napi_add_env_cleanup_hook(env, Some(on_teardown), hook) })?;
        let _ = realm.compilations.set(Compilations { queue, deliver });
        Ok(())
    })
}

unsafe extern "C" fn release_realm(_: sys::napi_env, context: *mut c_void, _: *mut c_void) {
    // SAFETY: the count taken in `open_compiler`, handed back once.
    raw::contained(|| drop(unsafe { Rc::from_raw(context.cast::<Realm>()) }));
}

unsafe extern "C" fn on_teardown(hook: *mut c_void) {
    // SAFETY: the count taken in `open_compiler`, handed back once.
    let queue = unsafe { Arc::from_raw(hook.cast::<Queue>()) };
    raw::contained(|| queue.close());
}

/// Runs on the realm's thread, in a callback of Node's.
unsafe extern "C" fn on_message(
    env: sys::napi_env,
    _: sys::napi_value,
    context: *mut c_void,
    data: *mut c_void,
) {
    // SAFETY: made in `send`, and handed over once.
    let message = unsafe { Box::from_raw(data.cast::<Message>()) };
    // Without an environment there is nobody to tell.
    if env.is_null() {
        return;
    }
    // SAFETY: the realm whose count `open_compiler` gave to the function.
    let realm = unsafe { &*context.cast::<Realm>() };
    guard(realm, || deliver(realm, *message));
}

fn deliver(realm: &Realm, Message { number, result }: Message) -> Result<(), Failure> {
    let Some(compilations) = realm.compilations.get() else { return Ok(()) };
    if !realm.end_compiling(&compilations.queue, number) {
        return Ok(());
    }
    let _scope = HandleScope::open(realm.env)?;
    let env = Env::from_raw(realm.env);
    let value = match result {
        Ok(module) => External::new(module).into_unknown(&env).map_err(|_| Refused)?.raw(),
        Err(error) => raw::string(realm.env, &super::failure::bounded(&error.to_string(), 16 << 10))?,
    };
    let function = compilations.deliver.get().ok_or(Refused)?;
    raw::call(realm.env, function, &[raw::number(realm.env, number.into())?, value])?;
    Ok(())
}

/// Compiles on other threads, under a number that no other compilation of the realm has. The bytes are
/// copied before this returns.
#[napi(catch_unwind)]
pub fn compile_async(realm: &External<Rc<Realm>>, number: u32, bytes: &[u8], fuel: bool) -> napi::Result<()> {
    run(realm, || {
        let engine = engine(fuel)?;
        let Compilations { queue, .. } = realm.compilations.get().ok_or(Failure::Stopped)?;
        realm.begin_compiling(queue, number);
        let told = queue.clone();
        let done = move |result| told.send(Message { number, result });
        match caught(|| Ok(Module::start(engine, bytes, done))) {
            Ok(compiling) => {
                if let Some(waiting) = queue.lock().under_way.get_mut(&number) {
                    *waiting = compiling;
                }
                Ok(())
            }
            Err(failure) => {
                realm.end_compiling(queue, number);
                Err(failure)
            }
        }
    })
}

/// Nothing is delivered for this compilation any more, and it stops unless somebody else waits for it.
#[napi(catch_unwind)]
pub fn stop_compiling(realm: &External<Rc<Realm>>, number: u32) {
    if let Some(compilations) = realm.compilations.get() {
        realm.end_compiling(&compilations.queue, number);
    }
}
