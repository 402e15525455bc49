//! The table on aarch64. An entry leaves the address of its slot in `x16`, which tells which function it is. `x16` and
//! `x17` are what linkers take for this: the calling convention of wasm functions passes nothing in them, and preserves
//! neither.

use super::super::arch::resume;
use super::{FIRST_SLOT, MAKE, Make, SLOT};
use core::arch::naked_asm;
use core::ffi::c_void;
use core::mem::transmute;
use core::sync::atomic::Ordering;

/// Whether this machine has such tables. Others compile everything before a module is ready.
pub const HAS_PLT: bool = true;

/// How far a call reaches.
pub const REACH: usize = (128 << 20) - (64 << 10);

pub fn function_at(offset: usize, _: usize) -> Option<usize> {
    (offset / SLOT).checked_sub(FIRST_SLOT)
}

/// That of the header.
pub fn without_code(_: usize) -> usize {
    0
}

/// `adrp register, page`, for code at the offset `at`, and then the offset in the page. Both offsets are from a place
/// that is aligned to pages.
fn page(register: u32, at: usize, to: isize) -> (u32, u32) {
    let pages = ((to >> 12) - (at as isize >> 12)) as u32;
    (0x9000_0000 | (pages & 3) << 29 | (pages >> 2 & 0x7_ffff) << 5 | register, (to & 0xfff) as u32)
}

/// `ldr to, [from, offset]`
fn load(to: u32, from: u32, offset: u32) -> u32 {
    0xf940_0000 | (offset / 8) << 10 | from << 5 | to
}

/// `add register, register, number`
fn add(register: u32, number: u32) -> u32 {
    0x9100_0000 | number << 10 | register << 5 | register
}

/// `br x17`
const JUMP: u32 = 0xd61f_0220;
/// `udf #0`
const NONE: u32 = 0;

fn write(code: &mut [u8], instructions: [u32; 4]) {
    for (place, instruction) in code.chunks_exact_mut(4).zip(instructions) {
        place.copy_from_slice(&instruction.to_le_bytes());
    }
}

/// `first` is where the slot before all functions' is, from the start of the table.
pub fn write_header(code: &mut [u8], first: isize) {
    let (page, offset) = page(17, 0, first);
    write(code, [page, load(17, 17, offset), JUMP, NONE]);
}

/// `at` and `slot` are where the entry and its slot are, from the start of the table.
pub fn write_entry(code: &mut [u8], at: usize, slot: isize) {
    let (page, offset) = page(16, at, slot);
    write(code, [page, load(17, 16, offset), add(16, offset), JUMP]);
}

/// Calls what was installed.
unsafe extern "C" fn make(called: usize, frame: *const [usize; 2]) -> *const [usize; 4] {
    let make = MAKE.load(Ordering::Acquire);
    // SAFETY: `install` has stored a function of this type, before wasm ran.
    let make = unsafe { transmute::<*mut c_void, Make>(make) };
    // SAFETY: the caller is `first_call`.
    unsafe { make(called, frame) }
}

/// Continues here when a function without code is called. Saves the arguments, calls [`Make`], and jumps where the
/// function's slot says now.
///
/// # Safety
/// Only the header of a table may continue here.
#[unsafe(naked)]
pub unsafe extern "C" fn first_call() {
    naked_asm!(
        // A frame like that of an exit trampoline: the caller's frame pointer and its pc.
        "stp x29, x30, [sp, #-224]!",
        "mov x29, sp",
        "stp x0, x1, [sp, #16]",
        "stp x2, x3, [sp, #32]",
        "stp x4, x5, [sp, #48]",
        "stp x6, x7, [sp, #64]",
        "stp x8, x16, [sp, #80]",
        "stp q0, q1, [sp, #96]",
        "stp q2, q3, [sp, #128]",
        "stp q4, q5, [sp, #160]",
        "stp q6, q7, [sp, #192]",
        "mov x0, x16",
        "mov x1, x29",
        "bl {make}",
        "cbnz x0, 2f",
        "ldp x0, x1, [sp, #16]",
        "ldp x2, x3, [sp, #32]",
        "ldp x4, x5, [sp, #48]",
        "ldp x6, x7, [sp, #64]",
        "ldp x8, x16, [sp, #80]",
        "ldp q0, q1, [sp, #96]",
        "ldp q2, q3, [sp, #128]",
        "ldp q4, q5, [sp, #160]",
        "ldp q6, q7, [sp, #192]",
        "ldp x29, x30, [sp], #224",
        "ldr x17, [x16]",
        "br x17",
        "2:",
        "mov x4, x0",
        "ldp x0, x1, [x4]",
        "ldp x2, x3, [x4, #16]",
        "b {resume}",
        make = sym make,
        resume = sym resume,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_loads_its_slot_and_leaves_its_address() {
        // What an assembler makes of the entry at 0x12340, whose slot is 0x22ff8 bytes before the table.
        let mut code = [0; 16];
        write_entry(&mut code, 0x1_2340, -0x2_2ff8);
        let words: Vec<u32> =
            code.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words, [0xf0ff_fe50, 0xf940_0611, 0x9100_2210, 0xd61f_0220]);
    }
}
