//! Looks at where a thread is: interrupts it by a signal, whose handler is given the registers.
//!
//! Used by `runtime/vm/profile/`. Invariant: the signal is one that nobody else in the process handles, and it is
//! sent to threads that have asked for it only.

use super::signals::registers;
use crate::sys::Registers;
use std::io;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// Called on the interrupted thread, inside of the signal handler.
type Handler = fn(Registers);

struct Installed {
    handler: Handler,
    signal: libc::c_int,
}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// A thread that can be interrupted as long as it exists.
pub struct Thread {
    thread: libc::pthread_t,
    #[cfg(target_os = "linux")]
    clock: libc::clockid_t,
}

// SAFETY: a `pthread_t` may be a pointer. It names the thread for all threads of the process.
unsafe impl Send for Thread {}

impl Thread {
    /// The calling thread.
    pub fn current() -> io::Result<Thread> {
        // SAFETY: a query of the calling thread.
        let thread = unsafe { libc::pthread_self() };
        #[cfg(target_os = "linux")]
        {
            let mut clock = 0;
            // SAFETY: the thread exists, and the clock is written to our variable.
            match unsafe { libc::pthread_getcpuclockid(thread, &mut clock) } {
                0 => Ok(Thread { thread, clock }),
                error => Err(io::Error::from_raw_os_error(error)),
            }
        }
        #[cfg(not(target_os = "linux"))]
        Ok(Thread { thread })
    }

    /// Nanoseconds that the thread has been running on a processor. `None` if the system does not tell.
    ///
    /// # Safety
    /// The thread exists.
    pub unsafe fn cpu_time(&self) -> Option<u64> {
        #[cfg(target_os = "linux")]
        {
            let mut time = MaybeUninit::<libc::timespec>::zeroed();
            // SAFETY: the thread exists, so its clock does. The time is written to our variable, which is valid as
            // it is.
            let time = unsafe {
                if libc::clock_gettime(self.clock, time.as_mut_ptr()) != 0 {
                    return None;
                }
                time.assume_init()
            };
            Some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
        }
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// Has the handler run on the thread. False if it cannot be reached.
    ///
    /// # Safety
    /// The thread exists.
    pub unsafe fn interrupt(&self) -> bool {
        let Some(installed) = INSTALLED.get() else { return false };
        // SAFETY: the thread exists, and the signal has a handler, which is never removed.
        unsafe { libc::pthread_kill(self.thread, installed.signal) == 0 }
    }
}

/// Signals to choose from.
fn candidates() -> impl Iterator<Item = libc::c_int> {
    #[cfg(target_os = "linux")]
    return libc::SIGRTMIN() + 4..=libc::SIGRTMAX();
    // A trap of emulated processors, which no system of today sends.
    #[cfg(target_os = "macos")]
    return std::iter::once(libc::SIGEMT);
}

/// Chooses a signal and installs the handler, once for the process.
pub fn install_sampling_handler(handler: Handler) -> io::Result<()> {
    if INSTALLED.get().is_some() {
        return Ok(());
    }
    super::pin_library();
    for signal in candidates() {
        let mut current = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: reads the current action into memory of the right type, which is valid as it is.
        let current = unsafe {
            if libc::sigaction(signal, std::ptr::null(), current.as_mut_ptr()) != 0 {
                continue;
            }
            current.assume_init()
        };
        if current.sa_sigaction != libc::SIG_DFL {
            continue;
        }
        if INSTALLED.set(Installed { handler, signal }).is_err() {
            return Ok(());
        }
        // SAFETY: an all-zero `sigaction` is valid, and the relevant fields are set.
        let result = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            // System calls that can go on after the signal do.
            action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
            action.sa_sigaction = on_signal as *const () as usize;
            libc::sigfillset(&mut action.sa_mask);
            libc::sigaction(signal, &action, std::ptr::null_mut())
        };
        return if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    }
    Err(io::Error::other("every signal of this process has a handler"))
}

extern "C" fn on_signal(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(installed) = INSTALLED.get() else { return };
    // SAFETY: the kernel passes the interrupted thread's context to an `SA_SIGINFO` handler, and there is no
    // other reference to it while the handler runs.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    let (pc, fp) = registers::place(context);
    (installed.handler)(Registers { pc, fp, sp: registers::stack_pointer(context) });
}
