//! Calls of functions that have no code yet.
//!
//! `Store::new` installs [`make`], which the entries of a lazy module's procedure linkage table call
//! (`sys/plt/`). Invariant: the stack is as if wasm had called a host function.

use super::traps::{self, Error};
use super::vmcontext::VMStoreContext;
use crate::code::registry;
use crate::error::CompileError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// Gives a function code. Its parameters and result are those of [`Make`](crate::sys::plt::Make). The function's
/// own arguments are not looked at: where its context is depends on its type.
///
/// # Safety
/// Called by `sys::plt::first_call`.
pub(crate) unsafe extern "C" fn make(called: usize, frame: *const [usize; 2]) -> *const [usize; 4] {
    let vm = traps::current();
    // SAFETY: wasm is running, so the current store is its store, and its plain fields are this thread's. The frame
    // is that of our caller.
    unsafe { ((*vm).exit_fp, (*vm).exit_pc) = (frame as usize, (*frame)[1]) };
    // A panic must not unwind through wasm.
    let made = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the address is in the code of the called function's module, which its instance keeps alive.
        unsafe { registry::with_code_at(called, |code| code.make(called)) }
    }));
    let error = match made {
        Ok(Some(Ok(()))) => return ptr::null(),
        Ok(Some(Err(error))) => error,
        Ok(None) | Err(_) => CompileError::general("compiling a function panicked: a bug in wasi-native"),
    };
    // SAFETY: as above. The entry trampoline is in an older frame.
    unsafe {
        (*vm).failed = Some(Box::new(Error::Internal(format!("a function cannot be compiled: {error}"))));
        VMStoreContext::unwind_to_entry(vm);
        (&raw const (*vm).unwind).cast()
    }
}
