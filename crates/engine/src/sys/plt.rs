//! A procedure linkage table: the calls of functions that may not be compiled yet.
//!
//! Used by `code/lazy.rs`. Every function has an entry in the table, in executable pages, and a slot, in writable
//! ones. The entry jumps to the address in the slot. As long as the function has no code, that address is the
//! second half of the entry, which leads to [`first_call`]. Invariant: only a slot ever changes, with one store
//! of a word.

#[cfg(all(target_arch = "x86_64", not(miri)))]
use super::arch::{SHADOW, argument};
#[cfg(all(target_arch = "x86_64", not(miri)))]
use core::arch::naked_asm;
use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, Ordering};

/// Whether this machine has such tables. Others compile everything before a module is ready.
pub const HAS_PLT: bool = cfg!(all(target_arch = "x86_64", not(miri)));

/// Bytes of an entry, and of the header before the first one.
pub const ENTRY: usize = 16;
/// Bytes of a slot.
pub const SLOT: usize = 8;
/// Slots before the first function's: the address of [`first_call`].
pub const FIRST_SLOT: usize = 1;
/// Where an entry continues without code.
const SECOND_HALF: usize = 6;
/// The end of the call there.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const RETURN: usize = SECOND_HALF + 5;

/// What [`first_call`] calls, with an address in the function's entry, and the frame of the stub: the caller's frame
/// pointer, then the return address in the caller. Returns null if the function has code now, else the `pc`, `sp`,
/// `fp` and `payload` to continue with.
pub type Make = unsafe extern "C" fn(entry: usize, frame: *const [usize; 2]) -> *const [usize; 4];

static MAKE: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());

/// Sets what a function without code calls. Must be called before any such function is.
pub fn install(make: Make) {
    MAKE.store(make as *mut c_void, Ordering::Release);
}

/// The offset of a function's entry from the start of the table.
pub fn entry(index: usize) -> usize {
    ENTRY * (index + 1)
}

/// The function in whose entry an address is, as an offset from the start of the table.
pub fn function_at(offset: usize) -> Option<usize> {
    (offset / ENTRY).checked_sub(1)
}

/// The first value of a function's slot, as an offset from the start of the table.
pub fn without_code(index: usize) -> usize {
    entry(index) + SECOND_HALF
}

/// Writes the table for this many functions. The slots are `slots` bytes before its start.
pub fn write(table: &mut [u8], functions: usize, slots: usize) {
    let relative = |to: isize, from: usize| ((to - from as isize) as i32).to_le_bytes();
    let slot = |index: usize| (index * SLOT) as isize - slots as isize;
    // pop r11; jmp [rip + slot]
    let header = &mut table[..ENTRY];
    header.fill(0xcc);
    header[..4].copy_from_slice(&[0x41, 0x5b, 0xff, 0x25]);
    header[4..8].copy_from_slice(&relative(slot(0), 8));
    for index in 0..functions {
        let at = entry(index);
        let code = &mut table[at..at + ENTRY];
        code.fill(0xcc);
        // jmp [rip + slot]
        code[..2].copy_from_slice(&[0xff, 0x25]);
        code[2..6].copy_from_slice(&relative(slot(FIRST_SLOT + index), at + 6));
        // call header
        code[6] = 0xe8;
        code[7..11].copy_from_slice(&relative(0, at + 11));
    }
}

/// Continues here when a function without code is called. Saves the arguments, calls [`Make`], and jumps to the
/// function's entry again. The return address in the entry is in `r11`: the calling convention of wasm functions
/// passes nothing in this register, and preserves none.
///
/// # Safety
/// Only the header of a table may continue here.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[unsafe(naked)]
pub unsafe extern "C" fn first_call() {
    naked_asm!(
        // A frame like that of an exit trampoline: the caller's frame pointer and its pc.
        "push rbp",
        "mov rbp, rsp",
        "push r11",
        "push rax",
        "push rdi",
        "push rsi",
        "push rdx",
        "push rcx",
        "push r8",
        "push r9",
        "sub rsp, 128",
        "movups [rsp], xmm0",
        "movups [rsp + 16], xmm1",
        "movups [rsp + 32], xmm2",
        "movups [rsp + 48], xmm3",
        "movups [rsp + 64], xmm4",
        "movups [rsp + 80], xmm5",
        "movups [rsp + 96], xmm6",
        "movups [rsp + 112], xmm7",
        concat!("mov ", argument!(0), ", r11"),
        concat!("mov ", argument!(1), ", rbp"),
        "cld",
        "sub rsp, {shadow}",
        "call qword ptr [rip + {make}]",
        "add rsp, {shadow}",
        "test rax, rax",
        "jnz 2f",
        "movups xmm0, [rsp]",
        "movups xmm1, [rsp + 16]",
        "movups xmm2, [rsp + 32]",
        "movups xmm3, [rsp + 48]",
        "movups xmm4, [rsp + 64]",
        "movups xmm5, [rsp + 80]",
        "movups xmm6, [rsp + 96]",
        "movups xmm7, [rsp + 112]",
        "add rsp, 128",
        "pop r9",
        "pop r8",
        "pop rcx",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "pop rax",
        "pop r11",
        "pop rbp",
        "sub r11, {back}",
        "jmp r11",
        "2:",
        concat!("mov ", argument!(0), ", [rax]"),
        concat!("mov ", argument!(1), ", [rax + 8]"),
        concat!("mov ", argument!(2), ", [rax + 16]"),
        concat!("mov ", argument!(3), ", [rax + 24]"),
        "jmp {resume}",
        make = sym MAKE,
        shadow = const SHADOW,
        back = const RETURN,
        resume = sym super::arch::resume,
    )
}

/// There is no table on this machine.
///
/// # Safety
/// It is never called.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub unsafe extern "C" fn first_call() {}
