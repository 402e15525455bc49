//! The runtime functions of compiled code, reached through `VMHeader::libcalls`.
//!
//! Called only by the libcall trampolines. Invariant: each libcall returns, with [`TRAPPED`] if it
//! recorded a trap or an error. None unwinds.

use super::exception::Exception;
use super::host_func;
use super::instance::InstanceObj;
use super::parking::{self, Wait};
use super::shared_memory::MemoryHost;
use super::traps::{self, Error};
use super::vmcontext::{VMContext, VMException, VMFuncRef, ValRaw};
use crate::abi::TrapCode;
use crate::abi::libcalls::{Leaf, Libcall, STRIDE, TRAPPED, for_each_libcall};
use crate::code::registry;
use crate::parse::info::{FuncIndex, TypeIndex};
use std::ffi::c_void;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The addresses of the libcalls, in the order of [`Libcall`], and then of the functions of [`Leaf`].
pub struct Table(pub [*const c_void; Libcall::ALL.len() + Leaf::COUNT]);

// SAFETY: the table holds addresses of functions.
unsafe impl Sync for Table {}

macro_rules! table {
    ($($(#[$doc:meta])* $name:ident($($param:ident: $ty:ident),*);)*) => {
        pub static TABLE: Table = Table([
            $(extern_c::$name as *const c_void,)*
            leaf_copy as *const c_void,
            leaf_fill as *const c_void,
        ]);

        /// The entry points: each runs the function of the same name in the outer module through [`run`].
        mod extern_c {
            use super::*;
            $(pub unsafe extern "C" fn $name(vmctx: *mut VMContext, $($param: $ty),*) -> i64 {
                // SAFETY: compiled code passes its own live context.
                unsafe { run(vmctx, |instance| super::$name(instance, $($param),*)) }
            })*
        }
    };
}
for_each_libcall!(table);

/// [`Leaf::Copy`].
///
/// # Safety
/// Called by the trampoline of `memory_copy`, which has checked both ranges of `len` bytes.
unsafe extern "C" fn leaf_copy(dst: *mut u8, src: *const u8, len: usize) {
    // SAFETY: by this function's contract. The guest's memory may be shared, and then other threads may write it.
    unsafe { ptr::copy(src, dst, len) };
}

/// [`Leaf::Fill`].
///
/// # Safety
/// Called by the trampoline of `memory_fill`, which has checked the range of `len` bytes.
unsafe extern "C" fn leaf_fill(dst: *mut u8, value: u64, len: usize) {
    // SAFETY: as above.
    unsafe { ptr::write_bytes(dst, value as u8, len) };
}

/// Runs a libcall for the instance that owns a context.
///
/// # Safety
/// `vmctx` is the context of a live instance whose wasm called a libcall trampoline.
#[inline(always)]
unsafe fn run(vmctx: *mut VMContext, call: impl FnOnce(&InstanceObj) -> Result<i64>) -> i64 {
    // SAFETY: the owner of an instance's context is its `InstanceObj`, which its group keeps alive while
    // wasm of the group runs. Only shared references to it are ever made (`VmBox`).
    let instance = unsafe { &*(*VMContext::header(vmctx)).owner.cast::<InstanceObj>() };
    match catch_unwind(AssertUnwindSafe(|| call(instance))) {
        Ok(Ok(result)) => result,
        // SAFETY: wasm called us through an exit trampoline.
        Ok(Err(failure)) => unsafe { fail(instance, Some(failure)) },
        // SAFETY: as above.
        Err(_) => unsafe { fail(instance, None) },
    }
}

/// Has the libcall fail for wasm. `None` is a panic.
///
/// # Safety
/// Called from a function that wasm of the instance called through an exit trampoline.
#[cold]
unsafe fn fail(instance: &InstanceObj, failure: Option<LibcallFailure>) -> i64 {
    let store = instance.store();
    match failure {
        // SAFETY: by this function's contract.
        Some(LibcallFailure::Trap(code)) => unsafe { fail_with_trap(code) },
        Some(LibcallFailure::Throw(exception)) => {
            if let Some(store) = store {
                // SAFETY: as above.
                unsafe { store.throw(exception) };
            }
            TRAPPED
        }
        Some(LibcallFailure::Fail(error)) => {
            if let Some(store) = store {
                // SAFETY: as above.
                unsafe { store.fail(error) };
            }
            TRAPPED
        }
        None => {
            if let Some(store) = store {
                let bug = Error::Internal("a libcall panicked: a bug in wasi-native".into());
                // SAFETY: as above.
                unsafe { store.fail(bug) };
            }
            TRAPPED
        }
    }
}

/// # Safety
/// Called from a function that wasm called through an exit trampoline.
unsafe fn fail_with_trap(code: TrapCode) -> i64 {
    // SAFETY: by this function's contract.
    unsafe { traps::record_trap(code) };
    TRAPPED
}

/// Why a libcall does not return to wasm.
enum LibcallFailure {
    Trap(TrapCode),
    Throw(Exception),
    Fail(Error),
}

impl From<TrapCode> for LibcallFailure {
    fn from(code: TrapCode) -> LibcallFailure {
        LibcallFailure::Trap(code)
    }
}

impl From<Error> for LibcallFailure {
    fn from(error: Error) -> LibcallFailure {
        match error {
            Error::Trap(trap) => LibcallFailure::Trap(trap.code),
            error => LibcallFailure::Fail(error),
        }
    }
}

type Result<T, E = LibcallFailure> = std::result::Result<T, E>;

fn raise(_: &InstanceObj, code: u32) -> Result<i64> {
    Err(TrapCode::from_u8(code as u8).unwrap_or(TrapCode::Unreachable).into())
}

fn ref_func(instance: &InstanceObj, function: u32) -> Result<i64> {
    Ok(instance.func_ref(FuncIndex::from_u32(function)) as i64)
}

fn func_matches(instance: &InstanceObj, func_ref: u64, ty: u32) -> Result<i64> {
    let Some(func_ref) = NonNull::new(func_ref as *mut VMFuncRef) else { return Ok(0) };
    // SAFETY: compiled code passes an element of one of its tables, which is alive.
    let found = unsafe { host_func::type_of(func_ref) };
    Ok(i64::from(found.matches(&instance.info().types[TypeIndex::from_u32(ty)])))
}

fn throw(instance: &InstanceObj, tag: u32, values: u64) -> Result<i64> {
    let (tag, ty) = instance.tag(tag);
    let (Some(store), Some(group)) = (instance.store(), instance.group()) else { return Ok(0) };
    // SAFETY: compiled code passes the address of an array in its own frame, with a value for each of
    // the tag's parameters.
    let values = unsafe { std::slice::from_raw_parts(values as *const ValRaw, ty.ty().params.len()) };
    let thrown = store.new_exception(tag, ty, values.into(), &group, instance.budget().clone());
    Err(thrown.map_or_else(LibcallFailure::Fail, LibcallFailure::Throw))
}

fn throw_ref(instance: &InstanceObj, exception: u64) -> Result<i64> {
    let exception = NonNull::new(exception as *mut VMException).ok_or(TrapCode::NullException)?;
    let Some(store) = instance.store() else { return Ok(0) };
    // SAFETY: an exnref that running wasm holds is alive.
    Err(LibcallFailure::Throw(unsafe { Exception::from_raw(&store, exception) }))
}

fn better_loop(instance: &InstanceObj, at: u32, frame: u64, count: u32) -> Result<i64> {
    let Some(store) = instance.store() else { return Ok(0) };
    // SAFETY: wasm called us, so the store's plain fields are this thread's, and the return address is in its code.
    let code = unsafe {
        let pc = (*store.vm()).exit_pc - 1;
        registry::with_code_at(pc, |code| code.better_loop(pc, at)).flatten()
    };
    let Some(code) = code else { return Ok(0) };
    // SAFETY: compiled code passes a part of its own frame, which is aligned to 8 bytes.
    let values = unsafe { std::slice::from_raw_parts(frame as *const u64, count as usize) };
    Ok(if store.keep_values(values) { code as i64 } else { 0 })
}

fn memory_grow(instance: &InstanceObj, memory: u32, delta: u64) -> Result<i64> {
    let grown = instance.memory(memory).grow(delta);
    if let Some(store) = instance.store() {
        store.note_memory_growth();
    }
    Ok(grown.map_or(-1, |old| old as i64))
}

/// The address of a range of a memory, if the whole range is inside.
fn memory_range(instance: &InstanceObj, memory: u32, start: u64, len: u64) -> Result<*mut u8> {
    let memory = instance.memory(memory);
    if !memory.holds(start, len) {
        return Err(TrapCode::MemoryOutOfBounds.into());
    }
    Ok(memory.base().wrapping_add(start as usize))
}

fn memory_fill(instance: &InstanceObj, memory: u32, dst: u64, value: u32, len: u64) -> Result<i64> {
    let dst = memory_range(instance, memory, dst, len)?;
    for range in strides(len as usize, false) {
        // SAFETY: the part is inside the range, which is inside the memory.
        unsafe { ptr::write_bytes(dst.add(range.start), value as u8, range.len()) };
        check_interrupt(instance, &range)?;
    }
    Ok(0)
}

/// The parts in which a bulk operation of `len` bytes is done, starting from its end if `backwards`.
/// The memory does not move in between: wasm, which could grow it, waits. (A shared memory, which
/// other threads may grow, never moves.)
fn strides(len: usize, backwards: bool) -> impl Iterator<Item = Range<usize>> {
    let count = len.div_ceil(STRIDE);
    (0..count).map(move |index| {
        let start = if backwards { count - 1 - index } else { index } * STRIDE;
        start..len.min(start + STRIDE)
    })
}

/// Checks for an interruption between the parts of a bulk operation. An interrupted one stays half done.
fn check_interrupt(instance: &InstanceObj, done: &Range<usize>) -> Result<()> {
    let is_interrupted = || instance.store().is_some_and(|store| store.is_interrupted());
    if done.len() == STRIDE && is_interrupted() { Err(TrapCode::Interrupted.into()) } else { Ok(()) }
}

fn memory_copy(
    instance: &InstanceObj,
    dst_memory: u32,
    src_memory: u32,
    dst: u64,
    src: u64,
    len: u64,
) -> Result<i64> {
    let src = memory_range(instance, src_memory, src, len)?;
    let dst = memory_range(instance, dst_memory, dst, len)?;
    for range in strides(len as usize, dst > src) {
        // SAFETY: both parts are inside their memories. They may overlap. If whole parts overlap, the
        // order of the parts ensures that none is read after it was overwritten.
        unsafe { ptr::copy(src.add(range.start), dst.add(range.start), range.len()) };
        check_interrupt(instance, &range)?;
    }
    Ok(0)
}

fn memory_init(instance: &InstanceObj, memory: u32, data: u32, dst: u64, src: u32, len: u32) -> Result<i64> {
    let dst = memory_range(instance, memory, dst, u64::from(len))?;
    let bytes = slice(instance.data(data), src, len).ok_or(TrapCode::MemoryOutOfBounds)?;
    // SAFETY: the range is inside the memory, and the module's bytes are not in it.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), dst, bytes.len()) };
    Ok(0)
}

fn slice<T>(items: &[T], start: u32, len: u32) -> Option<&[T]> {
    let start = start as usize;
    items.get(start..start.checked_add(len as usize)?)
}

fn data_drop(instance: &InstanceObj, data: u32) -> Result<i64> {
    instance.drop_data(data);
    Ok(0)
}

fn memory_wait(
    instance: &InstanceObj,
    memory: u32,
    size: u32,
    address: u64,
    expected: u64,
    timeout: u64,
) -> Result<i64> {
    if !is_shared(instance, memory) {
        return Err(TrapCode::ExpectedSharedMemory.into());
    }
    let place = memory_range(instance, memory, address, u64::from(size))?;
    let Some(store) = instance.store() else { return Ok(Wait::TimedOut as i64) };
    let as_expected = || {
        // SAFETY: the address is inside the memory, which our group keeps alive and which never shrinks.
        // It is aligned, as compiled code checked. The guest may write it at any time, with instructions
        // that are atomic at this width.
        let found = unsafe {
            match size {
                4 => u64::from(AtomicU32::from_ptr(place.cast()).load(Ordering::SeqCst)),
                _ => AtomicU64::from_ptr(place.cast()).load(Ordering::SeqCst),
            }
        };
        found == expected
    };
    // A negative number of nanoseconds means no timeout.
    let timeout = i64::try_from(timeout).ok().map(|nanos| Duration::from_nanos(nanos as u64));
    if let Some(host) = host_of(instance, memory) {
        return host
            .wait(address, size, expected, timeout)
            .map(|end| end as i64)
            .map_err(LibcallFailure::Fail);
    }
    match parking::wait(store.parker(), place as usize, as_expected, timeout, || store.goes_on()) {
        Wait::Interrupted => Err(TrapCode::Interrupted.into()),
        end => Ok(end as i64),
    }
}

fn memory_notify(instance: &InstanceObj, memory: u32, address: u64, count: u32) -> Result<i64> {
    let place = memory_range(instance, memory, address, 4)?;
    if let Some(host) = host_of(instance, memory) {
        return Ok(i64::from(host.notify(address, count)));
    }
    // No thread can wait in a memory that is not shared.
    let woken = if is_shared(instance, memory) { parking::notify(place as usize, count) } else { 0 };
    Ok(i64::from(woken))
}

fn host_of(instance: &InstanceObj, memory: u32) -> Option<Rc<dyn MemoryHost>> {
    instance.memory(memory).host().cloned()
}

fn is_shared(instance: &InstanceObj, memory: u32) -> bool {
    instance.memory(memory).ty().shared
}

fn refuel(instance: &InstanceObj) -> Result<i64> {
    match instance.store().is_some_and(|store| store.refuel()) {
        true => Ok(0),
        false => Err(TrapCode::OutOfFuel.into()),
    }
}

fn table_grow(instance: &InstanceObj, table: u32, delta: u64, init: u64) -> Result<i64> {
    let grown = instance.table(table).grow(delta, init);
    Ok(grown.map_or(-1, |old| old as i64))
}

fn table_fill(instance: &InstanceObj, table: u32, dst: u64, value: u64, len: u64) -> Result<i64> {
    instance.table(table).range(dst, len)?.fill(value);
    Ok(0)
}

fn table_copy(
    instance: &InstanceObj,
    dst_table: u32,
    src_table: u32,
    dst: u64,
    src: u64,
    len: u64,
) -> Result<i64> {
    let (dst_table, src_table) = (instance.table(dst_table), instance.table(src_table));
    if ptr::eq(dst_table, src_table) {
        let mut elements = dst_table.elements()?;
        let inside = |start: u64| {
            let end = start.checked_add(len).and_then(|end| usize::try_from(end).ok())?;
            (end <= elements.len()).then_some(start as usize..end)
        };
        let (Some(from), Some(to)) = (inside(src), inside(dst)) else {
            return Err(TrapCode::TableOutOfBounds.into());
        };
        elements.copy_within(from, to.start);
        return Ok(0);
    }
    let from = src_table.range(src, len)?;
    dst_table.range(dst, len)?.copy_from_slice(&from);
    Ok(0)
}

fn table_init(instance: &InstanceObj, table: u32, elem: u32, dst: u64, src: u32, len: u32) -> Result<i64> {
    let segment = instance.elem(elem);
    let items = slice(&segment, src, len).ok_or(TrapCode::TableOutOfBounds)?;
    let table = instance.table(table);
    table.range(dst, u64::from(len))?.copy_from_slice(items);
    Ok(0)
}

fn elem_drop(instance: &InstanceObj, elem: u32) -> Result<i64> {
    instance.drop_elem(elem);
    Ok(0)
}
