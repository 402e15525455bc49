//! Turns faults in compiled code into traps, alongside other handlers in the process (such as V8's).
//!
//! `Store::new` installs the handler and the function that answers faults. A vectored handler is called before the
//! system looks at any frame, so compiled code needs no unwind information. Invariant: an exception that is not ours
//! is left to the other handlers, unchanged.

use crate::sys::{Answer, Fault, Resume, arch};
use std::io;
use std::sync::OnceLock;
use windows_sys::Win32::Foundation::{
    EXCEPTION_ACCESS_VIOLATION, EXCEPTION_ILLEGAL_INSTRUCTION, EXCEPTION_IN_PAGE_ERROR,
    EXCEPTION_INT_DIVIDE_BY_ZERO, EXCEPTION_INT_OVERFLOW, NTSTATUS,
};
use windows_sys::Win32::System::Diagnostics::Debug::{
    AddVectoredExceptionHandler, CONTEXT, EXCEPTION_CONTINUE_EXECUTION, EXCEPTION_CONTINUE_SEARCH,
    EXCEPTION_POINTERS,
};

/// Answers a fault in an instruction that may trap.
type Handler = fn(Fault) -> Option<Answer>;

/// What an instruction of compiled code may end in.
const FAULTS: [NTSTATUS; 5] = [
    EXCEPTION_ACCESS_VIOLATION,
    EXCEPTION_IN_PAGE_ERROR,
    EXCEPTION_ILLEGAL_INSTRUCTION,
    EXCEPTION_INT_DIVIDE_BY_ZERO,
    EXCEPTION_INT_OVERFLOW,
];

static INSTALLED: OnceLock<Handler> = OnceLock::new();

/// Installs the handler once for the process. It is never removed: another thread may be in it.
pub fn install_fault_handler(handler: Handler) -> io::Result<()> {
    static RESULT: OnceLock<bool> = OnceLock::new();
    let installed = RESULT.get_or_init(|| {
        super::pin_library();
        // It may be called as soon as it is installed.
        let _ = INSTALLED.set(handler);
        // SAFETY: the function has the type of such handlers, and stays loaded. It is called before those that are
        // there already, as V8's, which know none of our code.
        !unsafe { AddVectoredExceptionHandler(1, Some(on_exception)) }.is_null()
    });
    if *installed { Ok(()) } else { Err(io::ErrorKind::OutOfMemory.into()) }
}

unsafe extern "system" fn on_exception(exception: *mut EXCEPTION_POINTERS) -> i32 {
    let Some(handler) = INSTALLED.get() else { return EXCEPTION_CONTINUE_SEARCH };
    // SAFETY: the system passes what happened and the thread's registers, to which there is no other reference while
    // the handler runs.
    let (record, registers) = unsafe { (&*(*exception).ExceptionRecord, &mut *(*exception).ContextRecord) };
    if !FAULTS.contains(&record.ExceptionCode) {
        return EXCEPTION_CONTINUE_SEARCH;
    }
    // Of an access the second of them is the address. Others have none.
    let address = if record.NumberParameters > 1 { record.ExceptionInformation[1] } else { 0 };
    match handler(fault(registers, address)) {
        Some(Answer::Again) => {}
        Some(Answer::Resume(to)) => resume(registers, to),
        Some(Answer::Ask(asking)) => {
            let (pc, register) = of_question(registers);
            // SAFETY: `asking` belongs to the store whose code has faulted on this thread. None of it runs before
            // `ask`, which reads it first.
            unsafe { ((*asking).pc, (*asking).register) = (*pc as usize, *register as usize) };
            *pc = arch::ask as *const () as u64;
            *register = asking as u64;
        }
        None => return EXCEPTION_CONTINUE_SEARCH,
    }
    EXCEPTION_CONTINUE_EXECUTION
}

#[cfg(target_arch = "x86_64")]
fn fault(registers: &CONTEXT, address: usize) -> Fault {
    Fault { pc: registers.Rip as usize, fp: registers.Rbp as usize, address }
}

/// The program counter, and the register for the argument of `arch::ask`.
#[cfg(target_arch = "x86_64")]
fn of_question(registers: &mut CONTEXT) -> (&mut u64, &mut u64) {
    (&mut registers.Rip, &mut registers.Rax)
}

#[cfg(target_arch = "x86_64")]
fn resume(registers: &mut CONTEXT, to: Resume) {
    (registers.Rip, registers.Rsp, registers.Rbp) = (to.pc as u64, to.sp as u64, to.fp as u64);
}

#[cfg(not(target_arch = "x86_64"))]
compile_error!("wasi-native knows Windows on x86-64 only");
