//! Lets a `worker.terminate()` end wasm that loops.
//!
//! For the face, in threads of `worker_threads`. V8 ends JavaScript at loops and function entries, and does
//! not know of our loops. So each such realm is asked at intervals whether to go on: at its next loop
//! iteration it calls an empty JavaScript function, and if that cannot be called, wasm ends. Invariants: only
//! the realm's own thread calls JavaScript, and not in a signal handler: a debugger may stop in that function
//! and evaluate what it likes.

use super::failure::run;
use super::raw::{self, HandleScope, Reference};
use super::realm::Realm;
use engine::InterruptHandle;
use napi::JsValue;
use napi::bindgen_prelude::{External, Unknown};
use napi_derive::napi;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A question costs some ten microseconds, which is nothing to a guest at this interval.
const INTERVAL: Duration = Duration::from_millis(50);

/// A realm that is asked until this is dropped.
pub struct Asked(u64);

struct Realms {
    next: u64,
    handles: Vec<(u64, InterruptHandle)>,
    /// Whether there is a thread that asks. It ends when there is nobody to ask.
    asking: bool,
}

/// Those of the process, because one thread asks for all of them: a Worker need not have two threads.
static REALMS: Mutex<Realms> = Mutex::new(Realms { next: 0, handles: Vec::new(), asking: false });

/// Has wasm of this realm end when its thread is terminated. `nothing` is a function that does
/// nothing.
#[napi(catch_unwind)]
pub fn end_with_worker(realm: &External<Rc<Realm>>, nothing: Unknown<'_>) -> napi::Result<()> {
    run(realm, || {
        let env = realm.env;
        let nothing = Reference::strong(env, nothing.raw())?;
        // A weak reference, because the realm's store keeps the function.
        let owner = Rc::downgrade(realm);
        let go_on: Rc<dyn Fn() -> bool> = Rc::new(move || {
            let Some(realm) = owner.upgrade() else { return false };
            // Wasm that runs while the environment ends was not called by JavaScript, which would have a scope.
            let Ok(_scope) = HandleScope::open(env) else { return false };
            realm.refresh_buffers();
            // A guest that has thrown runs on until it returns. Node calls nothing as long as that is pending.
            let pending = raw::take_exception(env);
            let goes_on = nothing.get().is_some_and(|nothing| raw::call(env, nothing, &[]).is_ok());
            if goes_on && pending.is_some() {
                raw::throw(env, pending);
            }
            goes_on
        });
        // Compiling asks the same.
        let _ = realm.goes_on.set(go_on.clone());
        if realm.store.set_checkpoint(move || go_on()) {
            realm.asked.get_or_init(|| Asked::new(realm.store.interrupt_handle()));
        }
        Ok(())
    })
}

impl Asked {
    fn new(handle: InterruptHandle) -> Asked {
        let mut realms = REALMS.lock().unwrap_or_else(PoisonError::into_inner);
        realms.next += 1;
        let id = realms.next;
        realms.handles.push((id, handle));
        if !realms.asking {
            // Without a thread nobody asks, which is no reason to refuse a Worker the package.
            let made = thread::Builder::new().name("wasi-native-ask".into()).spawn(ask);
            realms.asking = made.is_ok();
        }
        Asked(id)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut realms = REALMS.lock().unwrap_or_else(PoisonError::into_inner);
        realms.handles.retain(|(id, _)| *id != self.0);
    }
}

fn ask() {
    loop {
        thread::sleep(INTERVAL);
        let mut realms = REALMS.lock().unwrap_or_else(PoisonError::into_inner);
        if realms.handles.is_empty() {
            realms.asking = false;
            return;
        }
        realms.handles.iter().for_each(|(_, handle)| handle.ask());
    }
}
