//! The few instructions no compiler emits for us.
//!
//! Called from compiled code (`VMStoreContext::resume`).

use core::arch::naked_asm;

/// Continues at `pc` with the given stack and frame pointers. It is how compiled code leaves for
/// the handler of the innermost entry trampoline after a host function failed.
///
/// # Safety
/// The three values are those an entry trampoline of a live frame of this thread recorded, and no
/// frame of Rust stands between that frame and the caller.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub unsafe extern "C" fn resume(pc: usize, sp: usize, fp: usize) -> ! {
    naked_asm!("mov rsp, rsi", "mov rbp, rdx", "jmp rdi")
}

/// Continues at `pc` with the given stack and frame pointers.
///
/// # Safety
/// As on x86-64.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
pub unsafe extern "C" fn resume(pc: usize, sp: usize, fp: usize) -> ! {
    naked_asm!("mov sp, x1", "mov x29, x2", "br x0")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("wasi-native makes code for x86-64 and aarch64 only");
