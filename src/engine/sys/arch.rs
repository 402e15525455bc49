//! What is particular to a processor: the few instructions no compiler emits for us, called from
//! compiled code (`VMStoreContext::resume`), and constants for the compiler and loader.

use core::arch::naked_asm;

/// A feature of the processor, by its Cranelift flag, without which Cranelift calls the C library.
#[cfg(target_arch = "x86_64")]
pub const REQUIRED_FLAG: Option<&str> = Some("has_sse41");
#[cfg(target_arch = "aarch64")]
pub const REQUIRED_FLAG: Option<&str> = None;

/// Bytes that cranelift-jit may need behind a function for each call in it.
#[cfg(target_arch = "x86_64")]
pub const VENEER_SIZE: usize = 0;
#[cfg(target_arch = "aarch64")]
pub const VENEER_SIZE: usize = 24;

/// Continues at `pc` with the given stack and frame pointers and `payload` in the register of an
/// exception's payload. It is how compiled code leaves for the handler of the innermost entry
/// trampoline after a host function failed, or for the handler of a wasm frame after a throw.
///
/// # Safety
/// `pc` is the handler of a call that a live frame of this thread is in, `sp` and `fp` are that
/// frame's, and no frame of Rust stands between it and the caller.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub unsafe extern "C" fn resume(pc: usize, sp: usize, fp: usize, payload: usize) -> ! {
    naked_asm!("mov rsp, rsi", "mov rbp, rdx", "mov rax, rcx", "jmp rdi")
}

/// As on x86-64.
///
/// # Safety
/// As on x86-64.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
pub unsafe extern "C" fn resume(pc: usize, sp: usize, fp: usize, payload: usize) -> ! {
    naked_asm!("mov sp, x1", "mov x29, x2", "mov x16, x0", "mov x0, x3", "br x16")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("wasi-native makes code for x86-64 and aarch64 only");
