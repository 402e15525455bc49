//! Bounds checks of linear memory: **this file is the sandbox.**
//!
//! Used by the translator for every access to guest memory. Changes need a line-by-line review by a second
//! person. Invariant: the returned address is inside the memory, or the access faults in its guard, or a trap
//! was taken before.
//!
//! A *reserved* memory owns `[base, base + 4 GiB + GUARD_SIZE)`, which faults past the current length. An
//! unsigned 32-bit index plus a static end (offset + width) of at most `GUARD_SIZE` therefore needs no check:
//! a fault is the trap. Everything else compares `index + end` with the current length in 64 bits. If that
//! branch is mispredicted, the address becomes the memory's base, so speculation cannot read outside.
//!
//! Of an index that is a sum of a small value and a constant, as `table[x & 255]` is, the constant becomes part
//! of the static end. The sum does not overflow, so it is the same address.
//!
//! A range whose length only the guest knows is compared with the current length, in every memory ([`range`]).

use super::environ::{FuncEnvironment, Region};
use super::ranges;
use super::signatures::POINTER;
use crate::abi::{MemoryStyle, offsets};
use crate::pages::GUARD_SIZE;
use crate::parse::info::MemoryIndex;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, TrapCode, Value, types};
use cranelift_frontend::FunctionBuilder;

/// A checked access at `address + offset`, with flags that turn a fault into a trap.
pub struct HeapAccess {
    pub flags: MemFlagsData,
    pub address: Value,
    pub offset: i32,
}

/// Whether an access of `size` bytes at an unsigned 32-bit index plus `offset` needs no check in a reserved memory,
/// where faults are traps.
pub fn is_guarded(offset: u64, size: u64) -> bool {
    offset.checked_add(size).is_some_and(|end| end <= GUARD_SIZE)
}

/// Checks an access of `size` bytes at `index + offset` of a memory. `index` has the memory's index type.
pub fn heap_access(
    env: &mut FuncEnvironment<'_>,
    b: &mut FunctionBuilder<'_>,
    memory: MemoryIndex,
    index: Value,
    offset: u64,
    size: u8,
) -> HeapAccess {
    let flags =
        MemFlagsData::new().with_endianness(Endianness::Little).with_alias_region(env.region(Region::Heap));
    let (index, offset) = match ranges::split(&b.func.dfg, index) {
        Some((rest, constant)) if offset + u64::from(constant) + u64::from(size) <= GUARD_SIZE => {
            (rest, offset + u64::from(constant))
        }
        _ => (index, offset),
    };
    let index64 = match (b.func.dfg.value_type(index), ranges::shifted(&b.func.dfg, index)) {
        (types::I64, _) => index,
        // The machine shifts it as part of the access.
        (_, Some((index, by))) => {
            let wide = b.ins().uextend(types::I64, index);
            b.ins().ishl_imm_u(wide, i64::from(by))
        }
        (_, None) => b.ins().uextend(types::I64, index),
    };
    // The end of the access relative to the index. `None` if it overflows 64 bits: always out of bounds.
    let end = offset.checked_add(u64::from(size));
    let reserved = env.memory_style(memory) == MemoryStyle::Reserved;

    if reserved && env.module.tunables.signals && is_guarded(offset, u64::from(size)) {
        let base = env.memory_base(b, memory);
        return HeapAccess {
            flags: flags.with_trap_code(Some(TrapCode::HEAP_OUT_OF_BOUNDS)),
            address: b.ins().iadd(base, index64),
            // GUARD_SIZE is below i32::MAX.
            offset: offset as i32,
        };
    }

    let outside = match end {
        None => b.ins().iconst(types::I8, 1),
        Some(end) => {
            let length = env.memory_length(b, memory);
            let end = b.ins().iconst(types::I64, end as i64);
            if env.module.info.memories[memory].memory64 {
                let (past, carry) = b.ins().uadd_overflow(index64, end);
                let over = b.ins().icmp(IntCC::UnsignedGreaterThan, past, length);
                b.ins().bor(over, carry)
            } else {
                // A 32-bit index plus a 32-bit offset does not overflow 64 bits.
                let past = b.ins().iadd(index64, end);
                b.ins().icmp(IntCC::UnsignedGreaterThan, past, length)
            }
        }
    };
    env.trapnz(b, outside, TrapCode::HEAP_OUT_OF_BOUNDS);
    let base = env.memory_base(b, memory);
    let offset = b.ins().iconst(types::I64, offset as i64);
    let relative = b.ins().iadd(index64, offset);
    let address = b.ins().iadd(base, relative);
    HeapAccess {
        flags: flags.with_notrap(),
        address: b.ins().select_spectre_guard(outside, base, address),
        offset: 0,
    }
}

/// A range of a memory, checked at run time.
pub struct Range {
    base: Value,
    pub is_outside: Value,
}

/// Compares the `len` bytes at `start`, both `i64`, with the current length of a memory, an `i32`. It serves code that is
/// not of one module, so the memory is found by its number. The length of a shared memory may be stale: it only grows.
pub fn range(
    b: &mut FunctionBuilder<'_>,
    vmctx: Value,
    memory_index: Value,
    start: Value,
    len: Value,
) -> Range {
    use offsets::{MEMORIES, memory, memory_definition};
    let place = b.ins().uextend(types::I64, memory_index);
    let place = b.ins().imul_imm_u(place, i64::from(memory::SIZE));
    let place = b.ins().iadd(vmctx, place);
    let flags = MemFlagsData::trusted();
    let definition = b.ins().load(POINTER, flags, place, MEMORIES as i32 + memory::DEFINITION);
    let length = b.ins().load(POINTER, flags, definition, memory_definition::LENGTH);
    let base = b.ins().load(POINTER, flags, definition, memory_definition::BASE);
    // Neither overflows nor wraps: what is left after `start` only counts if `start` is not past the end.
    let past = b.ins().icmp(IntCC::UnsignedGreaterThan, start, length);
    let left = b.ins().isub(length, start);
    let more = b.ins().icmp(IntCC::UnsignedGreaterThan, len, left);
    Range { base, is_outside: b.ins().bor(past, more) }
}

impl Range {
    /// The address of a place at or before the range's start, for code that runs if the range is not outside.
    pub fn address(&self, b: &mut FunctionBuilder<'_>, start: Value) -> Value {
        let address = b.ins().iadd(self.base, start);
        b.ins().select_spectre_guard(self.is_outside, self.base, address)
    }
}
