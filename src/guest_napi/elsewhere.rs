//! What a guest imports that works on any of its threads, and the imports of instances on other threads.
//!
//! For `load.rs`. Invariant: nothing here touches a [`Guest`](super::guest::Guest). The functions are bound with
//! the [`Outside`] of their guest. Of Node-API, only thread-safe functions can be called here; what else a
//! thread calls fails with a status.

use super::functions;
use super::outside::{Outside, What};
use super::status::{Done, Status};
use super::tsfn;
use super::work;
use engine::{
    Error, Extern, ExternType, Func, FuncType, NativeFunc, SharedMemory, Store, Table, TableType,
    VMHostContext, Val, ValRaw, ValType,
};
use guest_memory::GuestMemory;
use host::team::{Externs, OwnMember, Team, Unwound};
use host::thread::GuestFailure;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};
use wasi::WasiCtx;

/// A function that any thread may call.
struct AnyThread {
    name: &'static str,
    params: &'static [ValType],
    returns: bool,
    code: fn() -> *const c_void,
}

macro_rules! any_thread {
    ($($name:ident($call:ident $(, $arg:ident)*) $(-> $i32:ident)? $body:block)*) => {
        static FUNCTIONS: &[AnyThread] = &[$(AnyThread {
            name: stringify!($name),
            params: &[$({ let _ = stringify!($arg); ValType::I32 }),*],
            returns: 0 $(+ { let _ = stringify!($i32); 1 })? == 1,
            code: || native::$name as *const c_void,
        },)*];

        /// With the C signature of [`NativeFunc`].
        mod native {
            use super::*;

            $(pub unsafe extern "C" fn $name(context: *mut VMHostContext $(, $arg: u32)*) -> i64 {
                let body = |$call: &Any<'_>| -> Result<u32, Status> { $body };
                // SAFETY: compiled code passes the context that the function was bound with.
                unsafe { serve(context, body) }
            })*
        }
    };
}

/// A call by any thread.
struct Any<'a> {
    outside: &'a Outside,
    context: *mut VMHostContext,
}

impl Any<'_> {
    fn memory(&self) -> GuestMemory<'_> {
        // SAFETY: the context is that of the running call, and the memory belongs to the group of the instance
        // that calls. It never shrinks while wasm of it runs.
        unsafe {
            match (*self.context).memory.as_ref() {
                Some(memory) => GuestMemory::from_raw(
                    memory.base.load(Ordering::Relaxed),
                    memory.length.load(Ordering::Relaxed),
                ),
                None => GuestMemory::from_raw(std::ptr::NonNull::dangling().as_ptr(), 0),
            }
        }
    }

    /// Has a function of the guest called on the realm's thread, in a turn of its own. Another thread cannot keep
    /// the event loop running at once. Who needs that counts a request.
    fn later(&self, place: u32, data: u32) -> Result<u32, Status> {
        self.outside.tell(What::Call { place, data, holds: false });
        Ok(0)
    }
}

fn status(done: Done) -> Result<u32, Status> {
    match done {
        Ok(()) => Ok(0),
        Err(Status::LEAVE) => Err(Status::LEAVE),
        Err(status) => Ok(status.0 as u32),
    }
}

any_thread! {
    napi_call_threadsafe_function(call, function, data, mode) -> i32 {
        status(tsfn::call(call.outside, function, data, mode as i32))
    }
    napi_acquire_threadsafe_function(call, function) -> i32 { status(tsfn::acquire(call.outside, function)) }
    napi_release_threadsafe_function(call, function, mode) -> i32 {
        status(tsfn::release(call.outside, function, mode as i32))
    }
    napi_get_threadsafe_function_context(call, function, result) -> i32 {
        status(tsfn::context(call.outside, function).and_then(|context| {
            if result == 0 {
                return Err(Status::INVALID_ARG);
            }
            Ok(call.memory().write_u32(result, context)?)
        }))
    }
    _emnapi_async_send_js(call, kind, place, data) {
        let _ = kind;
        call.later(place, data)
    }
    _emnapi_set_immediate(call, place, data) { call.later(place, data) }
    _emnapi_next_tick(call, place, data) { call.later(place, data) }
    _emnapi_async_work_pool_size(call) -> i32 { Ok(call.outside.works.most().max(1) as u32) }
    _emnapi_ctx_increase_waiting_request_counter(call) {
        call.outside.tell(What::Hold(true));
        Ok(0)
    }
    _emnapi_ctx_decrease_waiting_request_counter(call) {
        call.outside.tell(What::Hold(false));
        Ok(0)
    }
    _emnapi_tell_js_uvthreadpool(_call, threads, size) {
        // Threads of the operating system run at once.
        let _ = (threads, size);
        Ok(0)
    }
    _emnapi_emit_async_thread_ready(_call) { Ok(0) }
    _emnapi_worker_ref(_call, thread) {
        let _ = thread;
        Ok(0)
    }
    _emnapi_worker_unref(_call, thread) {
        let _ = thread;
        Ok(0)
    }
    _emnapi_is_main_runtime_thread(call) -> i32 { Ok(call.outside.is_realms_thread().into()) }
    _emnapi_is_main_browser_thread(_call) -> i32 { Ok(0) }
    _emnapi_runtime_keepalive_push(_call) { Ok(0) }
    _emnapi_runtime_keepalive_pop(_call) { Ok(0) }
    emnapi_is_node_binding_available(_call) -> i32 { Ok(0) }
    _emnapi_unwind(call) {
        // SAFETY: the native function this context belongs to is running.
        unsafe { VMHostContext::fail(call.context, Error::Host(Box::new(Unwound))) };
        Err(Status::LEAVE)
    }
}

/// # Safety
/// `context` is that of a native function bound with an [`Outside`], which compiled code is calling.
unsafe fn serve(context: *mut VMHostContext, body: impl FnOnce(&Any<'_>) -> Result<u32, Status>) -> i64 {
    // SAFETY: by this function's contract; the function's group keeps its data.
    let call = Any { outside: unsafe { &*(*context).data.cast::<Outside>() }, context };
    match catch_unwind(AssertUnwindSafe(|| body(&call))) {
        Ok(Ok(result)) => i64::from(result),
        Ok(Err(_)) => -1,
        Err(_) => {
            let bug = Error::Internal("a function of Node-API for guests panicked".into());
            // SAFETY: as above.
            unsafe { VMHostContext::fail(context, bug) };
            -1
        }
    }
}

/// The function of this name and type that any thread of the guest may call.
pub fn find(outside: &Arc<Outside>, name: &str, ty: &FuncType) -> Option<NativeFunc> {
    let function = FUNCTIONS.iter().find(|function| function.name == name)?;
    let results: &[ValType] = if function.returns { &[ValType::I32] } else { &[] };
    if *ty != FuncType::new(function.params, results) {
        return None;
    }
    // SAFETY: the code was generated from the same row as the type, and treats its data as an `Outside`.
    Some(unsafe { NativeFunc::new(ty.clone(), (function.code)(), outside.clone()) })
}

/// Whether this is `_emnapi_get_now`: milliseconds since 1970. Its result is no integer, so it is bound as a
/// closure.
pub fn is_now(name: &str, ty: &FuncType) -> bool {
    name == "_emnapi_get_now" && *ty == FuncType::new([], [ValType::F64])
}

pub fn now(store: &Store, ty: &FuncType) -> Extern {
    Extern::Func(Func::new(store, ty.clone(), |values| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if let Some(value) = values.first_mut() {
            *value = ValRaw { f64: (now.as_secs_f64() * 1000.0).to_bits() };
        }
        Ok(())
    }))
}

/// An import as any thread of the guest can have it.
pub enum ForThreads {
    Native(NativeFunc),
    Now(FuncType),
    Spawn,
    /// What a thread that the guest has started for asynchronous work calls: it does the work.
    Worker(FuncType, Arc<Outside>),
    Memory(SharedMemory),
    Table(TableType),
    /// Nobody has it on another thread: it fails when it is called.
    Stub(FuncType, String),
}

/// The import of other threads for a function that the realm's thread imports.
pub fn for_threads(
    outside: &Arc<Outside>,
    ctx: &Arc<WasiCtx>,
    from: &str,
    name: &str,
    ty: &FuncType,
) -> ForThreads {
    if (from, name) == ("wasi", "thread-spawn") {
        return ForThreads::Spawn;
    }
    if functions::is_module(from) {
        if let Some(native) = find(outside, name, ty) {
            return ForThreads::Native(native);
        }
        if is_now(name, ty) {
            return ForThreads::Now(ty.clone());
        }
        if name == work::WORKER && *ty == FuncType::new([ValType::I32], [ValType::I32]) {
            return ForThreads::Worker(ty.clone(), outside.clone());
        }
        if let Some(function) = functions::find(name).filter(|function| function.ty() == *ty) {
            return ForThreads::Native(function.bind_elsewhere());
        }
    }
    match host::import_from(ctx, from, name) {
        Ok(native) if native.ty().ty() == ty => ForThreads::Native(native),
        _ => ForThreads::Stub(
            ty.clone(),
            format!("a thread of the module called {from}.{name}, which it cannot have"),
        ),
    }
}

/// Makes the imports for each thread.
pub fn externs(imports: Vec<ForThreads>) -> Externs {
    Box::new(move |team, store, own| {
        imports.iter().map(|import| extern_for(team, store, own, import)).collect()
    })
}

fn extern_for(
    team: &Arc<Team>,
    store: &Store,
    own: &OwnMember,
    import: &ForThreads,
) -> Result<Extern, GuestFailure> {
    Ok(match import {
        ForThreads::Native(native) => Extern::Native(native.clone()),
        ForThreads::Now(ty) => now(store, ty),
        ForThreads::Spawn => {
            let spawn = team.thread_spawn();
            Extern::Native(spawn.ok_or_else(|| GuestFailure::Internal("the team is gone".into()))?)
        }
        ForThreads::Worker(ty, outside) => {
            let (own, outside) = (own.clone(), outside.clone());
            Extern::Func(Func::new(store, ty.clone(), move |values| {
                let member = own.borrow().clone();
                let member = member.ok_or_else(|| Error::Internal("no instance works here".into()))?;
                work::serve(&outside, &member.instance)?;
                if let Some(result) = values.first_mut() {
                    *result = ValRaw { i32: 0 };
                }
                Ok(())
            }))
        }
        ForThreads::Memory(memory) => Extern::Memory(memory.to_memory(store)?),
        ForThreads::Table(ty) => {
            Extern::Table(Table::new(store, *ty, Val::default_of(ValType::Ref(ty.element)))?)
        }
        ForThreads::Stub(ty, why) => {
            let why = why.clone();
            Extern::Func(Func::new(store, ty.clone(), move |_| Err(Error::Internal(why.clone()))))
        }
    })
}

/// The types of imports that threads can have beside functions.
pub fn other_for_threads(import: &ExternType, made: &Extern) -> Option<ForThreads> {
    match (import, made) {
        (ExternType::Memory(_), Extern::Memory(memory)) => memory.share().map(ForThreads::Memory),
        (ExternType::Table(ty), _) => Some(ForThreads::Table(*ty)),
        _ => None,
    }
}
