//! The table on x86-64. Without code an entry continues in its second half, which calls the header, so that the
//! address to which that call would return tells which function it is.

use super::super::arch::{SHADOW, argument, resume};
use super::{ENTRY, MAKE, entry};
use core::arch::naked_asm;

/// Whether this machine has such tables. Others compile everything before a module is ready.
pub const HAS_PLT: bool = true;

/// How far a call reaches.
pub const REACH: usize = (2 << 30) - (64 << 10);

/// Where an entry continues without code.
const SECOND_HALF: usize = 6;
/// The end of the call there.
const RETURN: usize = SECOND_HALF + 5;

pub fn function_at(offset: usize, slots: usize) -> Option<usize> {
    (offset.checked_sub(slots)? / ENTRY).checked_sub(1)
}

pub fn without_code(index: usize) -> usize {
    entry(index) + SECOND_HALF
}

fn relative(to: isize, from: usize) -> [u8; 4] {
    ((to - from as isize) as i32).to_le_bytes()
}

/// `first` is where the slot before all functions' is, from the start of the table.
pub fn write_header(code: &mut [u8], first: isize) {
    code.fill(0xcc);
    // pop r11; jmp [rip + first]
    code[..4].copy_from_slice(&[0x41, 0x5b, 0xff, 0x25]);
    code[4..8].copy_from_slice(&relative(first, 8));
}

/// `at` and `slot` are where the entry and its slot are, from the start of the table.
pub fn write_entry(code: &mut [u8], at: usize, slot: isize) {
    code.fill(0xcc);
    // jmp [rip + slot]
    code[..2].copy_from_slice(&[0xff, 0x25]);
    code[2..6].copy_from_slice(&relative(slot, at + 6));
    // call header
    code[6] = 0xe8;
    code[7..11].copy_from_slice(&relative(0, at + RETURN));
}

/// Continues here when a function without code is called. Saves the arguments, calls [`Make`](super::Make), and jumps
/// to the function's entry again. The return address in the entry is in `r11`: the calling convention of wasm functions
/// passes nothing in this register, and preserves none.
///
/// # Safety
/// Only the header of a table may continue here.
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
        resume = sym resume,
    )
}
