//! Joins the engine and WASI. Each function that a guest can import is a typed native host function,
//! and can be called by number by callers that have no compiled code.
//!
//! Used by `src/node/`. Knows no Node. Invariants: a WASI call from compiled code is one C call with
//! the guest's own integers. Nothing is boxed, and nothing unwinds out of it. A function that the
//! context's policy does not grant is not bound. A function that the policy traces or answers itself
//! goes through [`functions::call`].

mod metrics;
pub mod team;
pub mod thread;
pub mod watchdog;

pub use metrics::Metrics;

use engine::VMMemoryDefinition;
use engine::{Error, FuncType, NativeFunc, TrapCode, VMHostContext, ValType};
use guest_memory::GuestMemory;
use std::ffi::c_void;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Once};
use wasi::{self, Ending, Grant, WasiCtx, ext, functions, p0, p1};

/// The payload of [`Error::Host`] when the guest called `proc_exit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostExit(pub u32);

/// The payload of [`Error::Host`] when the program is held ([`WasiCtx::is_held`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostHeld;

/// Why a function cannot be bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// WASI has no such function. It must come from elsewhere.
    Unknown,
    /// The function exists, but this program may not use it.
    Refused { module: &'static str, name: &'static str },
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unavailable::Unknown => f.write_str("there is no such WASI function"),
            Unavailable::Refused { module, name } => write!(
                f,
                "the module imports {module}.{name}, which this program is not granted; \
                 grant it by `allow`, or take it out of `deny`"
            ),
        }
    }
}

impl std::error::Error for Unavailable {}

/// Two ways into a function from compiled code: direct, and through [`functions::call`].
struct Native {
    direct: fn() -> *const c_void,
    checked: fn() -> *const c_void,
}

macro_rules! natives {
    ($table:ident $native:ident $module:ident; $($name:ident($($arg:ident: $ty:ty),*);)*) => {
        /// In the order of the table in [`functions`].
        static $table: &[Native] = &[$(Native {
            direct: || $native::$name::<true> as *const c_void,
            checked: || $native::$name::<false> as *const c_void,
        },)*];

        /// The functions that compiled code calls, with the C signature of [`NativeFunc`].
        mod $native {
            use super::*;
            #[allow(unused_imports, reason = "extensions have no other layout")]
            use wasi::$module::*;
            use wasi::params::*;

            #[allow(non_camel_case_types, reason = "they are the functions' names")]
            enum Ordinal {
                $($name,)*
            }

            $(pub unsafe extern "C" fn $name<const DIRECT: bool>(
                context: *mut VMHostContext,
                $($arg: <$ty as WasmParam>::Wasm),*
            ) -> i64 {
                let body = |ctx: &WasiCtx, memory: &GuestMemory<'_>| {
                    if DIRECT {
                        return $module::$name(ctx, memory, $($arg),*);
                    }
                    let number = functions::first_of($module::MODULE) + Ordinal::$name as usize;
                    functions::call(ctx, number, memory, &[$($arg as u64),*])
                };
                // SAFETY: compiled code passes the context this function was bound with.
                unsafe { run(context, body) }
            })*
        }
    };
}

macro_rules! p1_natives {
    ($($rows:tt)*) => { natives! { P1 native_p1 p1; $($rows)* } };
}

macro_rules! p0_natives {
    ($($rows:tt)*) => { natives! { P0 native_p0 p0; $($rows)* } };
}

macro_rules! ext_natives {
    ($($rows:tt)*) => { natives! { EXT native_ext ext; $($rows)* } };
}

wasi::for_each_p1_function!(p1_natives);
wasi::for_each_p1_function!(p0_natives);
wasi::for_each_ext_function!(ext_natives);

/// Runs one WASI call for compiled code.
///
/// # Safety
/// `context` was made by [`import_from`], and its native function is running.
unsafe fn run(
    context: *mut VMHostContext,
    call: impl FnOnce(&WasiCtx, &GuestMemory<'_>) -> Result<(), wasi::Error>,
) -> i64 {
    // SAFETY: `import_from` binds an `Arc<WasiCtx>`, which the function's group keeps alive.
    let ctx = unsafe { &*(*context).data.cast::<WasiCtx>() };
    if ctx.is_held() {
        // SAFETY: the native function this context belongs to is running.
        unsafe { VMHostContext::fail(context, Error::Host(Box::new(HostHeld))) };
        return -1;
    }
    // SAFETY: the importing instance's memory belongs to the same group. Its size cannot change during
    // the call, because wasm, which grows it, waits for us. Other threads can only make a shared one larger,
    // where it lies.
    let memory = unsafe { guest_memory((*context).memory) };
    let fail = |failure: Error| {
        // SAFETY: the native function this context belongs to is running.
        unsafe { VMHostContext::fail(context, failure) };
        -1
    };
    // The result is looked at inside, and only its number is handed on: copying the whole of it right after
    // the callee wrote a part takes longer than a small call.
    let called = catch_unwind(AssertUnwindSafe(|| match call(ctx, &memory) {
        Ok(()) => 0,
        Err(wasi::Error::Errno(errno)) => i64::from(errno as u16),
        Err(wasi::Error::Ending(ending)) => fail(failure_of(ending)),
    }));
    called.unwrap_or_else(|_| fail(panicked()))
}

/// What a call that does not return an errno ends the guest with.
#[cold]
fn failure_of(ending: Ending) -> Error {
    match ending {
        Ending::Exit(code) => Error::Host(Box::new(HostExit(code))),
        Ending::Interrupted => TrapCode::Interrupted.into(),
        Ending::OutputLimit(over) => Error::Host(Box::new(over)),
    }
}

#[cold]
fn panicked() -> Error {
    Error::Internal("a WASI function panicked: a bug in wasi-native".into())
}

/// # Safety
/// `definition` is null, or belongs to a memory that lives for `'a` and does not shrink or move.
unsafe fn guest_memory<'a>(definition: *const VMMemoryDefinition) -> GuestMemory<'a> {
    // SAFETY: by this function's contract.
    unsafe {
        match definition.as_ref() {
            Some(memory) => GuestMemory::from_raw(
                memory.base.load(Ordering::Relaxed),
                memory.length.load(Ordering::Relaxed),
            ),
            None => GuestMemory::from_raw(std::ptr::NonNull::dangling().as_ptr(), 0),
        }
    }
}

/// Module and name of all functions. The position of a function is its number for [`call`].
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    functions::all().map(|function| (function.module, function.name))
}

/// The type of the function with this number.
pub fn func_type(number: usize) -> Option<FuncType> {
    functions::get(number).map(|function| {
        let int = |wide| if wide { ValType::I64 } else { ValType::I32 };
        let params: Vec<ValType> = function.params.iter().map(|param| int(param.wide)).collect();
        let results: &[ValType] = if function.returns() { &[ValType::I32] } else { &[] };
        FuncType::new(params, results)
    })
}

/// The function `module.name` with context `ctx`, to be bound to compiled code.
///
/// # Errors
/// If there is no such function, or if the context's policy refuses it.
pub fn import_from(ctx: &Arc<WasiCtx>, module: &str, name: &str) -> Result<NativeFunc, Unavailable> {
    notice_forks();
    let number = functions::find(module, name).ok_or(Unavailable::Unknown)?;
    let function = functions::get(number).ok_or(Unavailable::Unknown)?;
    if ctx.grant(number) == Grant::Refused {
        return Err(Unavailable::Refused { module: function.module, name: function.name });
    }
    let mut natives = P1.iter().chain(P0).chain(EXT);
    let native = natives.nth(number).ok_or(Unavailable::Unknown)?;
    let ty = func_type(number).ok_or(Unavailable::Unknown)?;
    let code = if ctx.is_direct(number) { (native.direct)() } else { (native.checked)() };
    // SAFETY: `code` was generated from the same row as `ty`, and treats `data` as a `WasiCtx`.
    Ok(unsafe { NativeFunc::new(ty, code, ctx.clone()) })
}

/// A function that [`import_from`] gave, for other threads of the guest: what it waits for ends when `threads` is
/// interrupted. Any other function as it is.
pub fn import_for(threads: &WasiCtx, native: &NativeFunc) -> NativeFunc {
    let ctx = native.data::<WasiCtx>().map(|ctx| Arc::new(ctx.called_by(threads)));
    ctx.and_then(|ctx| native.with_data(ctx)).unwrap_or_else(|| native.clone())
}

/// Calls the function with this number for a caller without compiled code. Takes the arguments in
/// order and returns the errno.
///
/// # Errors
/// [`Error::Host`] with a [`HostExit`] after `proc_exit`, or with a [`wasi::OutputLimit`].
pub fn call(ctx: &WasiCtx, number: usize, memory: &GuestMemory<'_>, args: &[u64]) -> Result<u16, Error> {
    notice_forks();
    match catch_unwind(AssertUnwindSafe(|| functions::call(ctx, number, memory, args))) {
        Ok(Ok(())) => Ok(0),
        Ok(Err(wasi::Error::Errno(errno))) => Ok(errno as u16),
        Ok(Err(wasi::Error::Ending(ending))) => Err(failure_of(ending)),
        Err(_) => Err(panicked()),
    }
}

/// Makes forks known to the random streams, which saves them a system call per request.
#[inline]
fn notice_forks() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[cfg(unix)]
        {
            unsafe extern "C" fn in_child() {
                wasi::random::after_fork_in_child();
            }
            engine::pin_library();
            // SAFETY: the handler adds to an atomic, which a child of a fork is allowed to do. The library
            // that contains it is pinned and never unloaded.
            if unsafe { libc::pthread_atfork(None, None, Some(in_child)) } == 0 {
                wasi::random::rely_on_fork_notice();
            }
        }
    });
}
