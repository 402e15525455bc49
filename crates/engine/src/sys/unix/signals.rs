//! Turns faults in compiled code into traps, alongside other signal handlers in the process (such as V8's).
//!
//! `Store::new` installs the handler and the function that answers faults. Invariant: a fault that is not
//! ours is passed to the previous handler, unchanged.

use crate::sys::{Answer, Fault, arch};
use std::io;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// Answers a fault in an instruction that may trap.
type Handler = fn(Fault) -> Option<Answer>;

const SIGNALS: [libc::c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

struct Installed {
    handler: Handler,
    previous: [libc::sigaction; SIGNALS.len()],
}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// Installs the handler once for the process. It is never removed, because other handlers may chain to it.
pub fn install_fault_handler(handler: Handler) -> io::Result<()> {
    static RESULT: OnceLock<Result<(), i32>> = OnceLock::new();
    let result = RESULT.get_or_init(|| install(handler).map_err(|e| e.raw_os_error().unwrap_or(0)));
    result.map_err(io::Error::from_raw_os_error)
}

fn install(handler: Handler) -> io::Result<()> {
    super::pin_library();
    // Read the previous actions first, because our handler may run as soon as it is installed.
    let mut previous = [const { MaybeUninit::<libc::sigaction>::zeroed() }; SIGNALS.len()];
    for (signal, previous) in SIGNALS.iter().zip(&mut previous) {
        // SAFETY: reads the current action into memory of the right type.
        if unsafe { libc::sigaction(*signal, std::ptr::null(), previous.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: the kernel filled each of them above.
    let previous = previous.map(|action| unsafe { action.assume_init() });
    let _ = INSTALLED.set(Installed { handler, previous });
    for signal in SIGNALS {
        // SAFETY: an all-zero `sigaction` is valid, and the relevant fields are set.
        let result = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            // Use the alternate stack if there is one, and allow faults inside the handler, like the previous
            // handlers.
            action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER | libc::SA_ONSTACK;
            action.sa_sigaction = on_signal as *const () as usize;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(signal, &action, std::ptr::null_mut())
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Whether an instruction of this thread has caused the signal. Others are sent, as by `kill`, wherever the thread is:
/// their code is 0 or less on Linux. On macOS it is above 0x10000, and 0 may be a fault, too.
fn is_fault(info: &libc::siginfo_t) -> bool {
    if cfg!(target_os = "macos") { info.si_code < 0x10000 } else { info.si_code > 0 }
}

extern "C" fn on_signal(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(installed) = INSTALLED.get() else { return };
    // SAFETY: the kernel passes the interrupted thread's context to an `SA_SIGINFO` handler, and there is no
    // other reference to it while the handler runs.
    let registers = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    // SAFETY: the kernel passes it. Faults have an address: of the access, or of the instruction.
    let (is_fault, address) = unsafe { (is_fault(&*info), (*info).si_addr() as usize) };
    let (pc, fp) = registers::place(registers);
    match if is_fault { (installed.handler)(Fault { pc, fp, address }) } else { None } {
        Some(Answer::Again) => return,
        Some(Answer::Resume(resume)) => return registers::resume(registers, resume),
        Some(Answer::Ask(asking)) => {
            let (pc, register) = registers::of_question(registers);
            // SAFETY: `asking` belongs to the store whose code has faulted on this thread. None of it runs
            // before `ask`, which reads it first.
            unsafe { ((*asking).pc, (*asking).register) = (*pc as usize, *register as usize) };
            *pc = arch::ask as *const () as _;
            *register = asking as _;
            return;
        }
        None => {}
    }
    let Some(place) = SIGNALS.iter().position(|known| *known == signal) else { return };
    let previous = &installed.previous[place];
    match previous.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {
            // The instruction runs again, and the fault ends the process as it should. What a process has sent comes
            // once only.
            // SAFETY: restores the previous action.
            unsafe {
                libc::sigaction(signal, previous, std::ptr::null_mut());
                if !is_fault {
                    libc::raise(signal);
                }
            }
        }
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: an action with `SA_SIGINFO` holds a function of this type.
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: an action without `SA_SIGINFO` holds a function of this type.
            let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(handler) };
            handler(signal);
        }
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(super) mod registers {
    use crate::sys::Resume;

    pub fn stack_pointer(context: &libc::ucontext_t) -> usize {
        context.uc_mcontext.gregs[libc::REG_RSP as usize] as usize
    }

    /// The program counter and the frame pointer.
    pub fn place(context: &libc::ucontext_t) -> (usize, usize) {
        let registers = &context.uc_mcontext.gregs;
        (registers[libc::REG_RIP as usize] as usize, registers[libc::REG_RBP as usize] as usize)
    }

    /// The program counter, and the register for the argument of `arch::ask`.
    pub fn of_question(context: &mut libc::ucontext_t) -> (&mut i64, &mut i64) {
        let [pc, register] = [libc::REG_RIP, libc::REG_RAX].map(|register| register as usize);
        match context.uc_mcontext.gregs.get_disjoint_mut([pc, register]) {
            Ok([pc, register]) => (pc, register),
            Err(_) => unreachable!("they are two of the registers"),
        }
    }

    pub fn resume(context: &mut libc::ucontext_t, to: Resume) {
        let registers = &mut context.uc_mcontext.gregs;
        registers[libc::REG_RIP as usize] = to.pc as i64;
        registers[libc::REG_RSP as usize] = to.sp as i64;
        registers[libc::REG_RBP as usize] = to.fp as i64;
    }
}

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
pub(super) mod registers {
    use crate::sys::Resume;

    pub fn stack_pointer(context: &libc::ucontext_t) -> usize {
        context.uc_mcontext.sp as usize
    }

    /// The program counter and the frame pointer.
    pub fn place(context: &libc::ucontext_t) -> (usize, usize) {
        let registers = &context.uc_mcontext;
        (registers.pc as usize, registers.regs[29] as usize)
    }

    /// The program counter, and the register for the argument of `arch::ask`.
    pub fn of_question(context: &mut libc::ucontext_t) -> (&mut u64, &mut u64) {
        let registers = &mut context.uc_mcontext;
        (&mut registers.pc, &mut registers.regs[17])
    }

    pub fn resume(context: &mut libc::ucontext_t, to: Resume) {
        let registers = &mut context.uc_mcontext;
        registers.pc = to.pc as u64;
        registers.sp = to.sp as u64;
        registers.regs[29] = to.fp as u64;
    }
}

#[cfg(target_os = "macos")]
pub(super) mod registers {
    use crate::sys::Resume;

    pub fn stack_pointer(context: &libc::ucontext_t) -> usize {
        // SAFETY: the kernel fills `uc_mcontext` for a signal handler.
        let state = unsafe { &(*context.uc_mcontext).__ss };
        #[cfg(target_arch = "x86_64")]
        return state.__rsp as usize;
        #[cfg(target_arch = "aarch64")]
        return state.__sp as usize;
    }

    /// The program counter and the frame pointer.
    #[cfg(target_arch = "x86_64")]
    pub fn place(context: &libc::ucontext_t) -> (usize, usize) {
        // SAFETY: the kernel fills `uc_mcontext` for a signal handler.
        let state = unsafe { &(*context.uc_mcontext).__ss };
        (state.__rip as usize, state.__rbp as usize)
    }

    /// The program counter, and the register for the argument of `arch::ask`.
    #[cfg(target_arch = "x86_64")]
    pub fn of_question(context: &mut libc::ucontext_t) -> (&mut u64, &mut u64) {
        // SAFETY: as above.
        let state = unsafe { &mut (*context.uc_mcontext).__ss };
        (&mut state.__rip, &mut state.__rax)
    }

    #[cfg(target_arch = "x86_64")]
    pub fn resume(context: &mut libc::ucontext_t, to: Resume) {
        // SAFETY: as above.
        let state = unsafe { &mut (*context.uc_mcontext).__ss };
        (state.__rip, state.__rsp, state.__rbp) = (to.pc as u64, to.sp as u64, to.fp as u64);
    }

    /// The program counter and the frame pointer.
    #[cfg(target_arch = "aarch64")]
    pub fn place(context: &libc::ucontext_t) -> (usize, usize) {
        // SAFETY: the kernel fills `uc_mcontext` for a signal handler.
        let state = unsafe { &(*context.uc_mcontext).__ss };
        (state.__pc as usize, state.__fp as usize)
    }

    /// The program counter, and the register for the argument of `arch::ask`.
    #[cfg(target_arch = "aarch64")]
    pub fn of_question(context: &mut libc::ucontext_t) -> (&mut u64, &mut u64) {
        // SAFETY: as above.
        let state = unsafe { &mut (*context.uc_mcontext).__ss };
        (&mut state.__pc, &mut state.__x[17])
    }

    #[cfg(target_arch = "aarch64")]
    pub fn resume(context: &mut libc::ucontext_t, to: Resume) {
        // SAFETY: as above.
        let state = unsafe { &mut (*context.uc_mcontext).__ss };
        (state.__pc, state.__sp, state.__fp) = (to.pc as u64, to.sp as u64, to.fp as u64);
    }
}
