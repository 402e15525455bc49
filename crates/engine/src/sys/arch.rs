//! Processor-specific code: a few instructions that compilers do not emit for us, called from compiled code
//! (`VMStoreContext::resume`), and constants for the compiler and loader.

use super::fault::Asking;
use core::arch::naked_asm;
use core::ffi::c_void;
use core::mem::offset_of;

/// A processor feature, by its Cranelift flag. Without it Cranelift calls the C library.
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub const REQUIRED_FLAG: Option<&str> = Some("has_sse41");
/// Miri's processor lacks it, but Miri runs no code that we make.
#[cfg(any(target_arch = "aarch64", miri))]
pub const REQUIRED_FLAG: Option<&str> = None;

/// A processor feature that is not used even where there is one. Backtraces, the search for handlers and profiles take
/// return addresses from frames as they are, so compiled code does not sign them, which Cranelift's defaults for macOS ask
/// for.
#[cfg(target_arch = "x86_64")]
pub const REFUSED_FLAG: Option<&str> = None;
#[cfg(target_arch = "aarch64")]
pub const REFUSED_FLAG: Option<&str> = Some("sign_return_address");

/// Whether `compile/baseline/` makes code for this processor.
pub const HAS_BASELINE: bool = cfg!(target_arch = "x86_64");

/// Bytes that cranelift-jit may need after a function for each call in it.
#[cfg(target_arch = "x86_64")]
pub const VENEER_SIZE: usize = 0;
#[cfg(target_arch = "aarch64")]
pub const VENEER_SIZE: usize = 24;

/// The registers of a C function's integer arguments.
#[cfg(all(target_arch = "x86_64", not(windows)))]
macro_rules! argument {
    (0) => {
        "rdi"
    };
    (1) => {
        "rsi"
    };
    (2) => {
        "rdx"
    };
    (3) => {
        "rcx"
    };
}
#[cfg(all(target_arch = "x86_64", windows))]
macro_rules! argument {
    (0) => {
        "rcx"
    };
    (1) => {
        "rdx"
    };
    (2) => {
        "r8"
    };
    (3) => {
        "r9"
    };
}
#[cfg(target_arch = "x86_64")]
pub(super) use argument;

/// Bytes above the return address that a C function may use as its own.
#[cfg(all(target_arch = "x86_64", not(windows)))]
pub(super) const SHADOW: usize = 0;
#[cfg(all(target_arch = "x86_64", windows))]
pub(super) const SHADOW: usize = 32;

/// Continues at `pc` with the given stack and frame pointers, and with `payload` in the register of an
/// exception's payload. Compiled code uses it to jump to the handler of the innermost entry trampoline after
/// a host function failed, or to the handler of a wasm frame after a throw.
///
/// # Safety
/// `pc` is the handler of a call in a live frame of this thread, `sp` and `fp` belong to that frame, and
/// there is no Rust frame between it and the caller.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub unsafe extern "C" fn resume(pc: usize, sp: usize, fp: usize, payload: usize) -> ! {
    naked_asm!(
        concat!("mov rsp, ", argument!(1)),
        concat!("mov rbp, ", argument!(2)),
        concat!("mov rax, ", argument!(3)),
        concat!("jmp ", argument!(0)),
    )
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

/// The fault handler continues here when a wasm loop is interrupted at a poll, or when wasm needs a page that is not
/// filled. Saves all registers that wasm may use and calls [`Asking::asked`]. Then it restores them and continues at
/// the same instruction, or where `asked` says. The address of the [`Asking`] is in `rax`.
///
/// Compiled code has values in the general registers, the flags, and the low 128 bits of the sixteen vector
/// registers. No wasm type is wider, and Cranelift does not use the upper halves, the other sixteen registers
/// and masks of AVX-512, or the x87. Every callee preserves `MXCSR`.
///
/// # Safety
/// Only the fault handler may continue here, at a poll or an access to a table.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub unsafe extern "C" fn ask() {
    naked_asm!(
        // Skip the red zone, if there is one. No instruction up to `pushfq` changes a flag.
        "lea rsp, [rsp - 128]",
        "push qword ptr [rax]",
        "push rbp",
        "pushfq",
        // Build a frame like that of an exit trampoline: the caller's frame pointer and its pc.
        "lea rbp, [rsp + 8]",
        "push qword ptr [rax + 8]",
        "push rcx",
        "push rdx",
        "push rbx",
        "push rsi",
        "push rdi",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 256",
        "and rsp, -16",
        "movaps [rsp], xmm0",
        "movaps [rsp + 16], xmm1",
        "movaps [rsp + 32], xmm2",
        "movaps [rsp + 48], xmm3",
        "movaps [rsp + 64], xmm4",
        "movaps [rsp + 80], xmm5",
        "movaps [rsp + 96], xmm6",
        "movaps [rsp + 112], xmm7",
        "movaps [rsp + 128], xmm8",
        "movaps [rsp + 144], xmm9",
        "movaps [rsp + 160], xmm10",
        "movaps [rsp + 176], xmm11",
        "movaps [rsp + 192], xmm12",
        "movaps [rsp + 208], xmm13",
        "movaps [rsp + 224], xmm14",
        "movaps [rsp + 240], xmm15",
        "cld",
        concat!("mov ", argument!(0), ", rbp"),
        "sub rsp, {shadow}",
        "call [rax + {asked}]",
        "add rsp, {shadow}",
        "test rax, rax",
        "jnz 2f",
        "movaps xmm0, [rsp]",
        "movaps xmm1, [rsp + 16]",
        "movaps xmm2, [rsp + 32]",
        "movaps xmm3, [rsp + 48]",
        "movaps xmm4, [rsp + 64]",
        "movaps xmm5, [rsp + 80]",
        "movaps xmm6, [rsp + 96]",
        "movaps xmm7, [rsp + 112]",
        "movaps xmm8, [rsp + 128]",
        "movaps xmm9, [rsp + 144]",
        "movaps xmm10, [rsp + 160]",
        "movaps xmm11, [rsp + 176]",
        "movaps xmm12, [rsp + 192]",
        "movaps xmm13, [rsp + 208]",
        "movaps xmm14, [rsp + 224]",
        "movaps xmm15, [rsp + 240]",
        // The flags and fourteen registers are below the frame.
        "lea rsp, [rbp - 120]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rdi",
        "pop rsi",
        "pop rbx",
        "pop rdx",
        "pop rcx",
        "pop rax",
        "popfq",
        "pop rbp",
        "ret 128",
        "2:",
        concat!("mov ", argument!(0), ", [rax]"),
        concat!("mov ", argument!(1), ", [rax + 8]"),
        concat!("mov ", argument!(2), ", [rax + 16]"),
        concat!("mov ", argument!(3), ", [rax + 24]"),
        "jmp {resume}",
        asked = const offset_of!(Asking, asked),
        shadow = const SHADOW,
        resume = sym resume,
    )
}

/// As on x86-64, with the address of the [`Asking`] in `x17`. Cranelift keeps no value there between
/// operators, and if it builds the address of a load in several steps it uses `x16`. So `x17` is also the
/// register for the jump back. `x18` belongs to the platform.
///
/// # Safety
/// As on x86-64.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
pub unsafe extern "C" fn ask() {
    naked_asm!(
        "sub sp, sp, #768",
        "stp x0, x1, [sp]",
        "stp x2, x3, [sp, #16]",
        "stp x4, x5, [sp, #32]",
        "stp x6, x7, [sp, #48]",
        "stp x8, x9, [sp, #64]",
        "stp x10, x11, [sp, #80]",
        "stp x12, x13, [sp, #96]",
        "stp x14, x15, [sp, #112]",
        "stp x16, x30, [sp, #128]",
        "stp x19, x20, [sp, #144]",
        "stp x21, x22, [sp, #160]",
        "stp x23, x24, [sp, #176]",
        "stp x25, x26, [sp, #192]",
        "stp x27, x28, [sp, #208]",
        "mrs x0, nzcv",
        "mrs x1, fpsr",
        "stp x0, x1, [sp, #224]",
        "stp q0, q1, [sp, #256]",
        "stp q2, q3, [sp, #288]",
        "stp q4, q5, [sp, #320]",
        "stp q6, q7, [sp, #352]",
        "stp q8, q9, [sp, #384]",
        "stp q10, q11, [sp, #416]",
        "stp q12, q13, [sp, #448]",
        "stp q14, q15, [sp, #480]",
        "stp q16, q17, [sp, #512]",
        "stp q18, q19, [sp, #544]",
        "stp q20, q21, [sp, #576]",
        "stp q22, q23, [sp, #608]",
        "stp q24, q25, [sp, #640]",
        "stp q26, q27, [sp, #672]",
        "stp q28, q29, [sp, #704]",
        "stp q30, q31, [sp, #736]",
        // Build a frame like that of an exit trampoline: the caller's frame pointer and its pc.
        "ldr x0, [x17]",
        "stp x29, x0, [sp, #240]",
        "add x29, sp, #240",
        "mov x0, x29",
        "ldr x1, [x17, {asked}]",
        "blr x1",
        "cbnz x0, 2f",
        "ldp q0, q1, [sp, #256]",
        "ldp q2, q3, [sp, #288]",
        "ldp q4, q5, [sp, #320]",
        "ldp q6, q7, [sp, #352]",
        "ldp q8, q9, [sp, #384]",
        "ldp q10, q11, [sp, #416]",
        "ldp q12, q13, [sp, #448]",
        "ldp q14, q15, [sp, #480]",
        "ldp q16, q17, [sp, #512]",
        "ldp q18, q19, [sp, #544]",
        "ldp q20, q21, [sp, #576]",
        "ldp q22, q23, [sp, #608]",
        "ldp q24, q25, [sp, #640]",
        "ldp q26, q27, [sp, #672]",
        "ldp q28, q29, [sp, #704]",
        "ldp q30, q31, [sp, #736]",
        "ldp x0, x1, [sp, #224]",
        "msr nzcv, x0",
        "msr fpsr, x1",
        "ldp x29, x17, [sp, #240]",
        "ldp x0, x1, [sp]",
        "ldp x2, x3, [sp, #16]",
        "ldp x4, x5, [sp, #32]",
        "ldp x6, x7, [sp, #48]",
        "ldp x8, x9, [sp, #64]",
        "ldp x10, x11, [sp, #80]",
        "ldp x12, x13, [sp, #96]",
        "ldp x14, x15, [sp, #112]",
        "ldp x16, x30, [sp, #128]",
        "ldp x19, x20, [sp, #144]",
        "ldp x21, x22, [sp, #160]",
        "ldp x23, x24, [sp, #176]",
        "ldp x25, x26, [sp, #192]",
        "ldp x27, x28, [sp, #208]",
        "add sp, sp, #768",
        "br x17",
        "2:",
        "mov x4, x0",
        "ldp x0, x1, [x4]",
        "ldp x2, x3, [x4, #16]",
        "b {resume}",
        asked = const offset_of!(Asking, asked),
        resume = sym resume,
    )
}

/// Pushes the callee-saved registers and calls `f` with `data` and their address. From there on the stack
/// holds these registers and all older frames. Used to scan the stack for references: a wasm value may stay
/// in such a register until a callee saves it.
///
/// # Safety
/// It must be valid to call `f` with `data`, and `f` must not unwind.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[unsafe(naked)]
pub unsafe extern "C" fn with_preserved_registers(
    f: unsafe extern "C" fn(*mut c_void, *const u64),
    data: *mut c_void,
) {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        // Windows preserves these two as well, and vector registers, in which no reference is.
        "push rdi",
        "push rsi",
        "sub rsp, 8",
        concat!("mov rax, ", argument!(0)),
        concat!("mov ", argument!(0), ", ", argument!(1)),
        concat!("mov ", argument!(1), ", rsp"),
        "sub rsp, {shadow}",
        "call rax",
        "leave",
        "ret",
        shadow = const SHADOW,
    )
}

/// As on x86-64.
///
/// # Safety
/// As on x86-64.
#[cfg(all(target_arch = "aarch64", not(miri)))]
#[unsafe(naked)]
pub unsafe extern "C" fn with_preserved_registers(
    f: unsafe extern "C" fn(*mut c_void, *const u64),
    data: *mut c_void,
) {
    naked_asm!(
        "stp x29, x30, [sp, #-160]!",
        "mov x29, sp",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]",
        "stp x27, x28, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        "mov x9, x0",
        "mov x0, x1",
        "mov x1, sp",
        "blr x9",
        "ldp x29, x30, [sp], #160",
        "ret",
    )
}

/// Miri runs no wasm, so there are no words to scan.
///
/// # Safety
/// As on x86-64.
#[cfg(miri)]
pub unsafe fn with_preserved_registers(_: unsafe extern "C" fn(*mut c_void, *const u64), _: *mut c_void) {}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("wasi-native makes code for x86-64 and aarch64 only");

#[cfg(all(test, target_arch = "x86_64", not(miri)))]
mod tests {
    use super::*;

    /// Calls `f` with a different number in each callee-saved register, except the frame pointer, and checks
    /// that they are unchanged afterwards.
    #[unsafe(naked)]
    unsafe extern "C" fn with_numbers(
        f: unsafe extern "C" fn(*mut c_void, *const u64),
        data: *mut c_void,
    ) -> u64 {
        naked_asm!(
            "push rbx",
            "push r12",
            "push r13",
            "push r14",
            "push r15",
            "mov ebx, 0x5eed0001",
            "mov r12d, 0x5eed0002",
            "mov r13d, 0x5eed0003",
            "mov r14d, 0x5eed0004",
            "mov r15d, 0x5eed0005",
            "call {with_preserved_registers}",
            "lea rax, [rbx + r12]",
            "add rax, r13",
            "add rax, r14",
            "add rax, r15",
            "pop r15",
            "pop r14",
            "pop r13",
            "pop r12",
            "pop rbx",
            "ret",
            with_preserved_registers = sym with_preserved_registers,
        )
    }

    #[test]
    fn a_value_that_is_in_a_preserved_register_alone_is_found() {
        unsafe extern "C" fn look(data: *mut c_void, from: *const u64) {
            assert_eq!(from.addr() % 16, 0);
            // SAFETY: eight registers and a word for alignment are on the stack at `from`.
            let words = unsafe { std::slice::from_raw_parts(from, 9) };
            // SAFETY: `data` is the vector below.
            unsafe { (*data.cast::<Vec<u64>>()).extend_from_slice(words) };
        }
        let mut words = Vec::<u64>::new();
        // SAFETY: `look` takes a vector.
        let sum = unsafe { with_numbers(look, (&raw mut words).cast()) };
        assert_eq!(sum, 5 * 0x5eed_0000 + 15);
        assert!((1..=5).all(|i| words.contains(&(0x5eed_0000 + i))), "{words:x?}");
    }
}
