//! Lets JavaScript that wasm calls have the thread's whole stack.
//!
//! For `call.rs`, and for the face in the main thread. There V8 keeps JavaScript to one of the eight megabytes
//! that the thread usually has. (In a Worker it keeps to what the Worker was given.) That is much for
//! JavaScript, whose frames have a hundred bytes. But a call from wasm to JavaScript and into wasm again goes
//! through C++ and takes ten times that, and programs that recurse through such calls are written for engines
//! where it does not. So a call from wasm near the end of V8's megabyte moves V8's limit to where the thread's
//! stack really ends, until it returns. JavaScript that wasm has not called ends where it always does.
//!
//! Node-API has no call for this. Node exports V8's own functions, whose names have been the same for a
//! decade. Where one is missing nothing changes. Invariant: outside of [`V8Stack::with_all`] the limit is
//! V8's own.

use super::failure::run;
use super::platform::symbol;
use super::realm::Realm;
use engine::stack_bounds;
use napi::bindgen_prelude::External;
use napi_derive::napi;
use std::cell::{Cell, OnceCell};
use std::ffi::c_void;
use std::mem::transmute;
use std::rc::Rc;

/// Bytes for what V8 does beyond its limit, as many as Node leaves in Workers.
const RESERVE: usize = 192 << 10;
/// How near the end of V8's stack a call from wasm gets more stack.
const NEAR: usize = 256 << 10;
/// Bytes that it gets at most. Where the system sets a thread no bound, endless recursion would take all
/// memory.
const MOST: usize = 64 << 20;
/// Bytes of the frames between the stack's start and where V8 begins to count.
const START: usize = 8 << 10;

#[derive(Default)]
pub struct V8Stack {
    /// A call from wasm below this address gets more stack. 0 if none does, or while one has it.
    near: Cell<usize>,
    limits: OnceCell<StackLimits>,
}

struct StackLimits {
    set: unsafe extern "C" fn(isolate: *mut c_void, limit: usize),
    isolate: *mut c_void,
    /// V8's own.
    usual: usize,
    /// The end of the thread's stack.
    lowest: usize,
}

impl V8Stack {
    /// Whether JavaScript that is called here should have more stack.
    #[inline(always)]
    pub fn is_near_end(&self) -> bool {
        let marker = 0u8;
        (&raw const marker as usize) < self.near.get()
    }

    /// Runs `body` with all of the thread's stack.
    #[cold]
    #[inline(never)]
    pub fn with_all<T>(&self, body: impl FnOnce() -> T) -> T {
        struct Usual<'a>(&'a V8Stack, usize, &'a StackLimits);
        impl Drop for Usual<'_> {
            fn drop(&mut self) {
                let Usual(stack, near, limits) = self;
                // SAFETY: as below.
                unsafe { (limits.set)(limits.isolate, limits.usual) };
                stack.near.set(*near);
            }
        }
        let Some(limits) = self.limits.get() else { return body() };
        let _usual = Usual(self, self.near.replace(0), limits);
        // SAFETY: V8's function, with the isolate of this thread, which runs. As much stack is there.
        unsafe { (limits.set)(limits.isolate, limits.lowest) };
        body()
    }
}

/// Lets calls from wasm have the whole stack of the main thread, of which V8 uses `kilobytes`.
#[napi(catch_unwind)]
pub fn follow_stack(realm: &External<Rc<Realm>>, kilobytes: f64) -> napi::Result<()> {
    run(realm, || {
        if let Some(limits) = limits(kilobytes as usize * 1024) {
            // A stack that is not larger than V8's has nothing more to give.
            if limits.lowest < limits.usual {
                let stack = &realm.v8_stack;
                stack.near.set(limits.usual + NEAR);
                // The face asks once.
                let _ = stack.limits.set(limits);
            }
        }
        Ok(())
    })
}

fn limits(size: usize) -> Option<StackLimits> {
    let current = symbol(c"_ZN2v87Isolate10GetCurrentEv")?;
    let set = symbol(c"_ZN2v87Isolate13SetStackLimitEm")?;
    // SAFETY: these are `static Isolate* Isolate::GetCurrent()` and
    // `void Isolate::SetStackLimit(uintptr_t)`, whose names tell the parameters.
    let (current, set) = unsafe {
        (
            transmute::<*mut c_void, unsafe extern "C" fn() -> *mut c_void>(current),
            transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void, usize)>(set),
        )
    };
    // SAFETY: JavaScript calls us, so the thread has an isolate.
    let isolate = unsafe { current() };
    let stack = stack_bounds();
    // The arguments and the environment lie at the end, and may be large.
    let start = match symbol(c"__libc_stack_end") {
        // SAFETY: glibc's variable, which is not written after the start.
        Some(end) => unsafe { *end.cast::<usize>() },
        None => stack.end,
    };
    let usual = start.saturating_sub(START).saturating_sub(size);
    let lowest = (stack.start + RESERVE).max(usual.saturating_sub(MOST));
    (!isolate.is_null()).then_some(StackLimits { set, isolate, usual, lowest })
}
