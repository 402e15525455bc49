//! Joins the engine and WASI: each function of `wasi_snapshot_preview1` as a typed native host
//! function, and by number for callers that have no compiled code.
//!
//! Used by `node/`. Knows no Node. Invariant: a WASI call from compiled code is one C call with
//! the guest's own integers; nothing is boxed, and nothing unwinds out of it.

use crate::engine::runtime::vmcontext::VMMemoryDefinition;
use crate::engine::{Error, FuncType, NativeFunc, TrapCode, VMHostContext, ValType};
use crate::wasi::{self, GuestMemory, WasiCtx, p1};
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub use p1::MODULE;

/// The guest called `proc_exit`. It is the payload of [`Error::Host`] then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostExit(pub u32);

/// One function of the table.
struct Entry {
    name: &'static str,
    params: &'static [ValType],
    code: fn() -> *const c_void,
    call: fn(&WasiCtx, &GuestMemory<'_>, &[u64]) -> Result<(), wasi::Error>,
}

macro_rules! entries {
    ($($name:ident($($arg:ident: $ty:ident),*);)*) => {
        static ENTRIES: &[Entry] = &[$(Entry {
            name: stringify!($name),
            params: &[$(val_type!($ty)),*],
            code: || native::$name as *const c_void,
            call: |ctx, memory, args| {
                #[allow(unused_mut, unused_variables, reason = "some functions have no arguments")]
                let mut args = args.iter().copied();
                $(let $arg = args.next().unwrap_or(0) as $ty;)*
                p1::$name(ctx, memory, $($arg),*)
            },
        },)*];

        /// What compiled code calls, by the C signature of [`NativeFunc`].
        mod native {
            use super::*;
            $(pub unsafe extern "C" fn $name(context: *mut VMHostContext, $($arg: $ty),*) -> i64 {
                // SAFETY: compiled code passes the context this function was bound with.
                unsafe { run(context, |ctx, memory| p1::$name(ctx, memory, $($arg),*)) }
            })*
        }
    };
}

macro_rules! val_type {
    (u32) => {
        ValType::I32
    };
    (u64) => {
        ValType::I64
    };
    (i64) => {
        ValType::I64
    };
}

crate::for_each_p1_function!(entries);

/// Runs one WASI call for compiled code.
///
/// # Safety
/// `context` was made by [`import`] and its native function is running.
unsafe fn run(
    context: *mut VMHostContext,
    call: impl FnOnce(&WasiCtx, &GuestMemory<'_>) -> Result<(), wasi::Error>,
) -> i64 {
    // SAFETY: `import` binds an `Arc<WasiCtx>`, which the function's group keeps.
    let ctx = unsafe { &*(*context).data.cast::<WasiCtx>() };
    // SAFETY: the importing instance's memory is of the same group. Its size cannot change during
    // the call: wasm, which grows it, waits for us.
    let memory = unsafe { guest_memory((*context).memory) };
    let failure = match catch_unwind(AssertUnwindSafe(|| call(ctx, &memory))) {
        Ok(Ok(())) => return 0,
        Ok(Err(wasi::Error::Errno(errno))) => return i64::from(errno as u16),
        Ok(Err(wasi::Error::Exit(code))) => Error::Host(Box::new(HostExit(code))),
        Ok(Err(wasi::Error::Interrupted)) => TrapCode::Interrupted.into(),
        Err(_) => Error::Internal("a WASI function panicked: a bug in wasi-native".into()),
    };
    // SAFETY: the native function this context belongs to is running.
    unsafe { VMHostContext::fail(context, failure) };
    -1
}

/// # Safety
/// `definition` is null or of a memory that lives for `'a` and does not shrink or move.
unsafe fn guest_memory<'a>(definition: *const VMMemoryDefinition) -> GuestMemory<'a> {
    // SAFETY: by this function's contract.
    unsafe {
        match definition.as_ref() {
            Some(memory) => GuestMemory::from_raw(memory.base, memory.length.load(Ordering::Relaxed)),
            None => GuestMemory::from_raw(std::ptr::NonNull::dangling().as_ptr(), 0),
        }
    }
}

/// The names of all functions; a name's place is its number for [`call`].
pub fn names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(|entry| entry.name)
}

/// The type of the function with this number.
pub fn func_type(number: usize) -> Option<FuncType> {
    ENTRIES.get(number).map(|entry| {
        // Every function returns an errno, but this one returns not at all.
        let results: &[ValType] = if entry.name == "proc_exit" { &[] } else { &[ValType::I32] };
        FuncType::new(entry.params, results)
    })
}

/// The function of this name over `ctx`, to be bound to compiled code.
pub fn import(ctx: &Arc<WasiCtx>, name: &str) -> Option<NativeFunc> {
    let number = ENTRIES.iter().position(|entry| entry.name == name)?;
    let ty = func_type(number)?;
    // SAFETY: `code` was generated from the same row as `ty`, and takes `data` for a `WasiCtx`.
    Some(unsafe { NativeFunc::new(ty, (ENTRIES[number].code)(), ctx.clone()) })
}

/// Calls the function with this number for a caller without compiled code: `args` in order, the
/// errno back.
///
/// # Errors
/// [`Error::Host`] with a [`HostExit`] after `proc_exit`.
pub fn call(ctx: &WasiCtx, number: usize, memory: &GuestMemory<'_>, args: &[u64]) -> Result<u16, Error> {
    let Some(entry) = ENTRIES.get(number) else {
        return Err(Error::Internal(format!("WASI has no function number {number}")));
    };
    match catch_unwind(AssertUnwindSafe(|| (entry.call)(ctx, memory, args))) {
        Ok(Ok(())) => Ok(0),
        Ok(Err(wasi::Error::Errno(errno))) => Ok(errno as u16),
        Ok(Err(wasi::Error::Exit(code))) => Err(Error::Host(Box::new(HostExit(code)))),
        Ok(Err(wasi::Error::Interrupted)) => Err(TrapCode::Interrupted.into()),
        Err(_) => Err(Error::Internal("a WASI function panicked: a bug in wasi-native".into())),
    }
}
