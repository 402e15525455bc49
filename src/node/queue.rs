//! Messages from other threads to a realm's own, delivered there in order.
//!
//! For `compiling.rs` and `threads.rs`. Invariants: a message is delivered once, on the realm's thread, or
//! dropped. When the environment ends, nothing is put into the queue from then on.

use super::failure::{Failure, guard};
use super::raw;
use super::realm::Realm;
use napi::sys;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub trait Message: Send + 'static {
    /// Runs on the realm's thread, in a callback of Node's.
    fn deliver(self, realm: &Realm) -> Result<(), Failure>;
}

pub struct Queue<M> {
    /// `None` when the environment has ended.
    function: Mutex<Option<Function>>,
    message: PhantomData<fn(M)>,
}

/// Node's queue of calls to be made on an environment's thread.
#[derive(Clone, Copy)]
struct Function(sys::napi_threadsafe_function);

// SAFETY: Node-API lets any thread call such a function until it is released.
unsafe impl Send for Function {}

/// What is done when an environment ends.
struct AtEnd<M> {
    queue: Arc<Queue<M>>,
    then: Box<dyn FnOnce()>,
}

impl<M: Message> Queue<M> {
    /// Opens a queue to the realm. It does not keep the event loop running. `then` is called when the
    /// environment ends and the queue is closed.
    pub fn open(realm: &Rc<Realm>, then: impl FnOnce() + 'static) -> Result<Arc<Queue<M>>, Failure> {
        let env = realm.env;
        // A weak count, because a runtime need not let go of the function when the environment ends.
        let context = Rc::downgrade(realm).into_raw().cast_mut().cast::<c_void>();
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
                Some(on_message::<M>),
                &mut function,
            );
            if let Err(refused) = raw::check(made) {
                drop(Weak::from_raw(context.cast::<Realm>()));
                return Err(refused.into());
            }
            raw::check(sys::napi_unref_threadsafe_function(env, function))?;
        }
        let function = Mutex::new(Some(Function(function)));
        let queue = Arc::new(Queue { function, message: PhantomData });
        // Hooks run in reverse: ours comes before Node takes the function away.
        let hook = Box::into_raw(Box::new(AtEnd { queue: queue.clone(), then: Box::new(then) }));
        // SAFETY: `on_teardown` is called once with `hook`, and owns it then.
        raw::check(unsafe { sys::napi_add_env_cleanup_hook(env, Some(on_teardown::<M>), hook.cast()) })?;
        Ok(queue)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Function>> {
        self.function.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    /// May be called on any thread.
    pub fn send(&self, message: M) {
        let held = self.lock();
        let Some(Function(function)) = *held else { return };
        let message = Box::into_raw(Box::new(message));
        let mode = sys::ThreadsafeFunctionCallMode::nonblocking;
        // SAFETY: the function stands: `on_teardown` takes it away under the lock we hold.
        let status = unsafe { sys::napi_call_threadsafe_function(function, message.cast(), mode) };
        drop(held);
        if status != sys::Status::napi_ok {
            // The environment is closing: the queue has no bound that it could have met.
            // SAFETY: nobody took it.
            drop(unsafe { Box::from_raw(message) });
        }
    }

    /// Sets whether the queue keeps the event loop running. For the realm's thread.
    pub fn hold_event_loop(&self, realm: &Realm, hold: bool) {
        let Some(Function(function)) = *self.lock() else { return };
        // The statuses can be ignored: the calls fail only for null.
        // SAFETY: the function stands while its environment, whose thread this is, is there.
        unsafe {
            match hold {
                true => sys::napi_ref_threadsafe_function(realm.env, function),
                false => sys::napi_unref_threadsafe_function(realm.env, function),
            };
        }
    }
}

unsafe extern "C" fn release_realm(_: sys::napi_env, context: *mut c_void, _: *mut c_void) {
    // SAFETY: the count taken in `open`, handed back once.
    raw::contained(|| drop(unsafe { Weak::from_raw(context.cast_const().cast::<Realm>()) }));
}

unsafe extern "C" fn on_teardown<M: Message>(hook: *mut c_void) {
    // SAFETY: made in `open`, handed back once.
    let AtEnd { queue, then } = *unsafe { Box::from_raw(hook.cast::<AtEnd<M>>()) };
    *queue.lock() = None;
    raw::contained(then);
}

unsafe extern "C" fn on_message<M: Message>(
    env: sys::napi_env,
    _: sys::napi_value,
    context: *mut c_void,
    data: *mut c_void,
) {
    // SAFETY: made in `send`, and handed over once.
    let message = unsafe { Box::from_raw(data.cast::<M>()) };
    // Without an environment there is nobody to tell.
    if env.is_null() {
        return;
    }
    // SAFETY: the weak count that `open` gave to the function, which keeps it.
    let realm = unsafe { ManuallyDrop::new(Weak::from_raw(context.cast_const().cast::<Realm>())) };
    if let Some(realm) = realm.upgrade() {
        guard(&realm, || message.deliver(&realm));
    }
}
