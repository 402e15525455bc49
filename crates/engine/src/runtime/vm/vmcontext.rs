//! The memory that compiled code touches: `repr(C)` structs, the `VM*` family.
//!
//! Used by the runtime. The compiler knows the same layout through `abi/offsets.rs`, and the test below
//! compares the offsets with `offset_of!`. Invariant: a `VMContext` is one allocation: a [`VMHeader`]
//! followed by the arrays that `abi::offsets::VMOffsets` lays out for its module.

use super::exception::TagObj;
use super::interrupt::Checkpoint;
use super::traps::{Error, TrapRecord};
use crate::sys::Asking;
use crate::table_pages::TablePool;
use std::cell::Cell;
use std::ffi::c_void;
use std::num::NonZeroU32;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize};

/// What a function reference's context points to. [`VMHeader::magic`] tells the kinds apart.
#[repr(C, align(16))]
pub struct VMContext {
    _opaque: [u8; 0],
}

/// `magic` of a wasm instance's context.
pub const INSTANCE_MAGIC: u32 = u32::from_le_bytes(*b"inst");
/// `magic` of a host function's context.
pub const HOST_MAGIC: u32 = u32::from_le_bytes(*b"host");

/// The start of every context, both of instances and of host functions.
#[repr(C)]
pub struct VMHeader {
    pub magic: u32,
    pub _pad: u32,
    pub store: *mut VMStoreContext,
    /// The `InstanceObj` or `HostFunc` that owns this context.
    pub owner: *mut c_void,
    /// The libcalls, in the order of `abi::libcalls`. Null in host contexts.
    pub libcalls: *const *const c_void,
}

/// The context of a host function.
#[repr(C)]
pub struct VMHostContext {
    pub header: VMHeader,
    /// `extern "C" fn(*mut VMHostContext, *mut ValRaw) -> u8`, or for a typed native function
    /// `extern "C" fn(*mut VMHostContext, ...) -> i64`.
    pub code: *const c_void,
    /// The data of the code: the closure, or the data of a typed native function.
    pub data: *const c_void,
    /// For typed native functions, the importing instance's memory. Null if it has none.
    pub memory: *const VMMemoryDefinition,
}

/// The part of a store that compiled code reads and writes.
#[repr(C)]
pub struct VMStoreContext {
    /// Compiled code traps when its frame would reach below this address.
    /// Atomic because an interruption raises it from another thread.
    pub stack_limit: AtomicUsize,
    /// Frame pointer, stack pointer and handler address of the innermost entry trampoline.
    pub entry_fp: usize,
    pub entry_sp: usize,
    pub entry_handler: usize,
    /// Frame pointer and return address of the last wasm frame that called the host.
    pub exit_fp: usize,
    pub exit_pc: usize,
    /// Continues at an address with a given stack, from compiled code: `sys::arch::resume`.
    pub resume: *const c_void,
    /// Where an exit trampoline continues after its callee failed. The failing function sets it.
    pub unwind: VMUnwind,
    /// The operators that the guest may still execute, as a negative number that counts up to 0.
    pub fuel: i64,
    /// The end of the values of the function that continues in better code: see the libcall `better_loop`.
    pub values: *const u64,
    /// Set when the host interrupted the guest. A failing stack check then means an interruption.
    pub interrupted: AtomicBool,
    /// Set when something waits for a call to end. See `Store::call_for_attention`.
    pub attention: bool,
    /// The lowest stack pointer that a quick entry may have with the current stack limit. It is out of
    /// reach if the fault handler does not look at this store now (see `traps::Current`).
    pub quick_from: usize,
    /// What the entry before the innermost one left here, linked outwards through all entries on the
    /// stack. Null for the outermost.
    pub outer: *const SavedEntry,
    pub trap: TrapRecord,
    /// Passed from a poll that faulted to `sys::arch::ask`.
    pub asking: Asking,
    /// The pages of the engine's tables.
    pub table_pool: *const TablePool,
    /// Passed from an access to such a page that faulted to `table::touched`, with the address that it accessed.
    pub touching: Asking,
    pub touched: usize,
    /// Why wasm could not go on, if it was not in a call of the host.
    pub failed: Option<Box<Error>>,
    /// What a loop asks whether to continue. Null if there is no checkpoint.
    pub(crate) checkpoint: *const Checkpoint,
}

/// A handler at which to continue.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct VMUnwind {
    pub pc: usize,
    pub sp: usize,
    pub fp: usize,
    /// The exception, for a wasm handler.
    pub payload: usize,
}

/// An exception, as an exnref points to it.
#[repr(C)]
pub struct VMException {
    /// The tag, as it appears in the context of an instance that has it.
    pub tag: NonNull<TagObj>,
    /// A value for each of the tag's parameters.
    pub values: *mut ValRaw,
}

/// What a nested entry overwrites in a [`VMStoreContext`]. It is on the host's stack during the entry.
#[derive(Clone, Copy)]
pub struct SavedEntry {
    entry: [usize; 3],
    exit: [usize; 2],
    pub outer: *const SavedEntry,
}

impl SavedEntry {
    /// The frame pointer of the entry trampoline.
    pub fn entry_fp(&self) -> usize {
        self.entry[0]
    }

    /// Where wasm called the host: the return address and the exit trampoline's frame pointer.
    pub fn exit(&self) -> (usize, usize) {
        let [exit_fp, exit_pc] = self.exit;
        (exit_pc, exit_fp)
    }
}

/// These functions take a pointer because another thread may be writing the atomic fields.
impl VMStoreContext {
    /// # Safety
    /// `this` is alive and its plain fields are this thread's.
    pub unsafe fn saved(this: *const VMStoreContext) -> SavedEntry {
        // SAFETY: by this function's contract.
        unsafe {
            SavedEntry {
                entry: [(*this).entry_fp, (*this).entry_sp, (*this).entry_handler],
                exit: [(*this).exit_fp, (*this).exit_pc],
                outer: (*this).outer,
            }
        }
    }

    /// Whether wasm of this store is on the stack.
    ///
    /// # Safety
    /// `this` is alive and its plain fields are this thread's.
    pub unsafe fn in_wasm(this: *const VMStoreContext) -> bool {
        // SAFETY: by this function's contract.
        unsafe { (*this).entry_fp != 0 }
    }

    /// The frame pointer of the outermost entry trampoline on the stack.
    ///
    /// # Safety
    /// `this` is alive and its plain fields are this thread's.
    pub unsafe fn outermost_entry(this: *const VMStoreContext) -> Option<usize> {
        // SAFETY: by this function's contract. Saved entries are in older frames of the stack.
        unsafe {
            let mut entry_fp = (*this).entry_fp;
            let mut outer = (*this).outer;
            while let Some(saved) = outer.as_ref() {
                (entry_fp, outer) = (saved.entry_fp(), saved.outer);
            }
            (entry_fp != 0).then_some(entry_fp)
        }
    }

    /// Makes wasm continue at the innermost entry trampoline: the guest stops.
    ///
    /// # Safety
    /// `this` is alive and its plain fields are this thread's.
    pub unsafe fn unwind_to_entry(this: *mut VMStoreContext) {
        // SAFETY: by this function's contract.
        unsafe {
            let (pc, sp, fp) = ((*this).entry_handler, (*this).entry_sp, (*this).entry_fp);
            (*this).unwind = VMUnwind { pc, sp, fp, payload: 0 };
        }
    }

    /// Restores what [`VMStoreContext::saved`] returned.
    ///
    /// # Safety
    /// `this` is alive and its plain fields are this thread's.
    pub unsafe fn restore(this: *mut VMStoreContext, saved: SavedEntry) {
        // SAFETY: by this function's contract.
        unsafe {
            [(*this).entry_fp, (*this).entry_sp, (*this).entry_handler] = saved.entry;
            [(*this).exit_fp, (*this).exit_pc] = saved.exit;
            (*this).outer = saved.outer;
        }
    }
}

/// A function reference: what a funcref points to.
#[repr(C)]
pub struct VMFuncRef {
    /// The code, with the calling convention of wasm functions. Null in a host function that no wasm
    /// could call yet.
    pub code: Cell<*const c_void>,
    /// Enters `code` from the host: `VMEntry`. Also null if the instance is closed.
    pub entry: Cell<*const c_void>,
    pub vmctx: *mut VMContext,
    pub type_id: u32,
    /// The function's index in the module of its instance. 0 in a host function.
    pub index: u32,
}

impl VMFuncRef {
    /// The code, its entry trampoline, and its context.
    #[inline(always)]
    pub fn to_call(&self) -> (*const c_void, *const c_void, *mut VMContext) {
        (self.code.get(), self.entry.get(), self.vmctx)
    }
}

/// An entry trampoline. It calls `code` with the arguments in `values` and leaves the results there.
/// Returns 0 after a trap.
pub type VMEntry =
    unsafe extern "C" fn(vmctx: *mut VMContext, code: *const c_void, values: *mut ValRaw) -> u8;

/// An imported function, in the importing instance's context.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct VMFunctionImport {
    pub code: *const c_void,
    pub vmctx: *mut VMContext,
    pub func_ref: *mut VMFuncRef,
}

/// A memory as an instance sees it. `base` is copied here so that an access to a memory that never
/// moves needs only one load.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct VMMemory {
    pub base: *mut u8,
    pub definition: *mut VMMemoryDefinition,
}

/// A memory's current address and its size in bytes.
#[repr(C)]
pub struct VMMemoryDefinition {
    /// Atomic because an empty shared memory of the host can get a base while other threads use it.
    pub base: AtomicPtr<u8>,
    /// Atomic because shared memories grow while other threads use them.
    pub length: AtomicUsize,
}

impl VMMemoryDefinition {
    pub fn new(base: *mut u8, length: usize) -> VMMemoryDefinition {
        VMMemoryDefinition { base: AtomicPtr::new(base), length: AtomicUsize::new(length) }
    }
}

/// A table's current address and its size in elements. An element has 8 bytes: a `*mut VMFuncRef`, or
/// the index of a host value (0 is null).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct VMTableDefinition {
    pub base: *mut u64,
    pub length: usize,
}

/// A global's value.
#[repr(C, align(16))]
pub struct VMGlobalDefinition {
    pub value: Cell<ValRaw>,
}

/// A value as it is passed between compiled code and the host: 16 bytes, little-endian, in the
/// low bytes. References are 8 bytes as in [`VMTableDefinition`].
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub union ValRaw {
    pub i32: i32,
    pub i64: i64,
    pub f32: u32,
    pub f64: u64,
    pub v128: u128,
    pub func: Option<NonNull<VMFuncRef>>,
    pub externref: u64,
    pub exn: *mut VMException,
}

impl ValRaw {
    pub const ZERO: ValRaw = ValRaw { v128: 0 };
}

/// A host value as the guest holds it: an index into a table that the embedder keeps. The engine
/// never interprets it.
///
/// As a wasm value it is a word whose high half marks it as a host value, so that such values can be found
/// on the stack. Null is 0. The high half is that of floating-point numbers from 2^52 on, whose low half
/// counts ones: JavaScript makes the word with one addition and stores it directly.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ExternRef(pub NonZeroU32);

impl ExternRef {
    const MARK: u64 = 0x433e_f0e5 << 32;

    /// The word of a number, read as a floating-point number, minus the number.
    pub const BASE: f64 = f64::from_bits(ExternRef::MARK);

    /// The host value that a guest's reference refers to. `None` for null.
    pub fn of(raw: u64) -> Option<ExternRef> {
        NonZeroU32::new(raw as u32).map(ExternRef)
    }

    /// The host value that an arbitrary word may refer to.
    pub(crate) fn in_word(word: u64) -> Option<ExternRef> {
        (word & !u64::from(u32::MAX) == ExternRef::MARK).then(|| ExternRef::of(word)).flatten()
    }

    /// The word by which a guest holds the reference.
    pub fn to_raw(reference: Option<ExternRef>) -> u64 {
        reference.map_or(0, |ExternRef(number)| ExternRef::MARK | u64::from(number.get()))
    }
}

impl VMContext {
    /// # Safety
    /// `this` is a live context.
    pub unsafe fn header(this: *mut VMContext) -> *mut VMHeader {
        this.cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::offsets::*;
    use std::mem::{offset_of, size_of};

    #[test]
    fn compiler_and_runtime_agree_on_every_offset() {
        assert_eq!(header::STORE as usize, offset_of!(VMHeader, store));
        assert_eq!(header::LIBCALLS as usize, offset_of!(VMHeader, libcalls));
        assert_eq!(header::SIZE as usize, size_of::<VMHeader>());
        assert_eq!(host::CODE as usize, offset_of!(VMHostContext, code));
        assert_eq!(store::STACK_LIMIT as usize, offset_of!(VMStoreContext, stack_limit));
        assert_eq!(store::ENTRY_FP as usize, offset_of!(VMStoreContext, entry_fp));
        assert_eq!(store::ENTRY_SP as usize, offset_of!(VMStoreContext, entry_sp));
        assert_eq!(store::ENTRY_HANDLER as usize, offset_of!(VMStoreContext, entry_handler));
        assert_eq!(store::EXIT_FP as usize, offset_of!(VMStoreContext, exit_fp));
        assert_eq!(store::EXIT_PC as usize, offset_of!(VMStoreContext, exit_pc));
        assert_eq!(store::RESUME as usize, offset_of!(VMStoreContext, resume));
        assert_eq!(store::FUEL as usize, offset_of!(VMStoreContext, fuel));
        assert_eq!(store::VALUES as usize, offset_of!(VMStoreContext, values));
        let unwind = offset_of!(VMStoreContext, unwind);
        assert_eq!(store::UNWIND_PC as usize, unwind + offset_of!(VMUnwind, pc));
        assert_eq!(store::UNWIND_SP as usize, unwind + offset_of!(VMUnwind, sp));
        assert_eq!(store::UNWIND_FP as usize, unwind + offset_of!(VMUnwind, fp));
        assert_eq!(store::UNWIND_PAYLOAD as usize, unwind + offset_of!(VMUnwind, payload));
        assert_eq!(exception::TAG as usize, offset_of!(VMException, tag));
        assert_eq!(exception::VALUES as usize, offset_of!(VMException, values));
        assert_eq!(func_ref::CODE as usize, offset_of!(VMFuncRef, code));
        assert_eq!(func_ref::VMCTX as usize, offset_of!(VMFuncRef, vmctx));
        assert_eq!(func_ref::TYPE_ID as usize, offset_of!(VMFuncRef, type_id));
        assert_eq!(func_ref::SIZE as usize, size_of::<VMFuncRef>());
        assert_eq!(function_import::CODE as usize, offset_of!(VMFunctionImport, code));
        assert_eq!(function_import::VMCTX as usize, offset_of!(VMFunctionImport, vmctx));
        assert_eq!(function_import::FUNC_REF as usize, offset_of!(VMFunctionImport, func_ref));
        assert_eq!(function_import::SIZE as usize, size_of::<VMFunctionImport>());
        assert_eq!(memory::BASE as usize, offset_of!(VMMemory, base));
        assert_eq!(memory::DEFINITION as usize, offset_of!(VMMemory, definition));
        assert_eq!(memory::SIZE as usize, size_of::<VMMemory>());
        assert_eq!(memory_definition::BASE as usize, offset_of!(VMMemoryDefinition, base));
        assert_eq!(memory_definition::LENGTH as usize, offset_of!(VMMemoryDefinition, length));
        assert_eq!(table_definition::BASE as usize, offset_of!(VMTableDefinition, base));
        assert_eq!(table_definition::LENGTH as usize, offset_of!(VMTableDefinition, length));
        assert_eq!(table_definition::SIZE as usize, size_of::<VMTableDefinition>());
        assert_eq!(GLOBAL_SIZE as usize, size_of::<VMGlobalDefinition>());
        assert_eq!(VALUE_SIZE as usize, size_of::<ValRaw>());
    }
}
