//! Operators of the threads proposal: atomic accesses, the fence, wait and notify.
//!
//! Called by `translate.rs` for every operator that `translate.rs`, `numeric.rs` and `simd.rs` do not handle.
//! Invariants: guest memory is accessed only through `FuncTranslator::heap_access`. An access whose effective
//! address is not a multiple of its width traps before any other check, including bounds.

use super::environ;
use super::translate::FuncTranslator;
use crate::abi::TrapCode;
use crate::abi::libcalls::Libcall;
use crate::parse::info::MemoryIndex;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{AtomicRmwOp, InstBuilder, MemFlagsData, Type, Value};
use wasmparser::{MemArg, Operator};

/// Translates an operator of the threads proposal. Does nothing and returns false for any other operator.
pub(super) fn translate(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    use AtomicRmwOp::{Add, And, Or, Sub, Xchg, Xor};
    use Operator as Op;
    match op {
        // All accesses here are sequentially consistent, and so is Cranelift's fence.
        Op::AtomicFence { .. } => {
            t.builder.ins().fence();
        }
        Op::MemoryAtomicWait32 { memarg } => wait(t, memarg, I32),
        Op::MemoryAtomicWait64 { memarg } => wait(t, memarg, I64),
        Op::MemoryAtomicNotify { memarg } => notify(t, memarg),

        Op::I32AtomicLoad { memarg } => load(t, memarg, I32, I32),
        Op::I32AtomicLoad8U { memarg } => load(t, memarg, I8, I32),
        Op::I32AtomicLoad16U { memarg } => load(t, memarg, I16, I32),
        Op::I64AtomicLoad { memarg } => load(t, memarg, I64, I64),
        Op::I64AtomicLoad8U { memarg } => load(t, memarg, I8, I64),
        Op::I64AtomicLoad16U { memarg } => load(t, memarg, I16, I64),
        Op::I64AtomicLoad32U { memarg } => load(t, memarg, I32, I64),

        Op::I32AtomicStore8 { memarg } | Op::I64AtomicStore8 { memarg } => store(t, memarg, I8),
        Op::I32AtomicStore16 { memarg } | Op::I64AtomicStore16 { memarg } => store(t, memarg, I16),
        Op::I32AtomicStore { memarg } | Op::I64AtomicStore32 { memarg } => store(t, memarg, I32),
        Op::I64AtomicStore { memarg } => store(t, memarg, I64),

        Op::I32AtomicRmw8AddU { memarg } | Op::I64AtomicRmw8AddU { memarg } => rmw(t, memarg, I8, Add),
        Op::I32AtomicRmw16AddU { memarg } | Op::I64AtomicRmw16AddU { memarg } => rmw(t, memarg, I16, Add),
        Op::I32AtomicRmwAdd { memarg } | Op::I64AtomicRmw32AddU { memarg } => rmw(t, memarg, I32, Add),
        Op::I64AtomicRmwAdd { memarg } => rmw(t, memarg, I64, Add),

        Op::I32AtomicRmw8SubU { memarg } | Op::I64AtomicRmw8SubU { memarg } => rmw(t, memarg, I8, Sub),
        Op::I32AtomicRmw16SubU { memarg } | Op::I64AtomicRmw16SubU { memarg } => rmw(t, memarg, I16, Sub),
        Op::I32AtomicRmwSub { memarg } | Op::I64AtomicRmw32SubU { memarg } => rmw(t, memarg, I32, Sub),
        Op::I64AtomicRmwSub { memarg } => rmw(t, memarg, I64, Sub),

        Op::I32AtomicRmw8AndU { memarg } | Op::I64AtomicRmw8AndU { memarg } => rmw(t, memarg, I8, And),
        Op::I32AtomicRmw16AndU { memarg } | Op::I64AtomicRmw16AndU { memarg } => rmw(t, memarg, I16, And),
        Op::I32AtomicRmwAnd { memarg } | Op::I64AtomicRmw32AndU { memarg } => rmw(t, memarg, I32, And),
        Op::I64AtomicRmwAnd { memarg } => rmw(t, memarg, I64, And),

        Op::I32AtomicRmw8OrU { memarg } | Op::I64AtomicRmw8OrU { memarg } => rmw(t, memarg, I8, Or),
        Op::I32AtomicRmw16OrU { memarg } | Op::I64AtomicRmw16OrU { memarg } => rmw(t, memarg, I16, Or),
        Op::I32AtomicRmwOr { memarg } | Op::I64AtomicRmw32OrU { memarg } => rmw(t, memarg, I32, Or),
        Op::I64AtomicRmwOr { memarg } => rmw(t, memarg, I64, Or),

        Op::I32AtomicRmw8XorU { memarg } | Op::I64AtomicRmw8XorU { memarg } => rmw(t, memarg, I8, Xor),
        Op::I32AtomicRmw16XorU { memarg } | Op::I64AtomicRmw16XorU { memarg } => rmw(t, memarg, I16, Xor),
        Op::I32AtomicRmwXor { memarg } | Op::I64AtomicRmw32XorU { memarg } => rmw(t, memarg, I32, Xor),
        Op::I64AtomicRmwXor { memarg } => rmw(t, memarg, I64, Xor),

        Op::I32AtomicRmw8XchgU { memarg } | Op::I64AtomicRmw8XchgU { memarg } => rmw(t, memarg, I8, Xchg),
        Op::I32AtomicRmw16XchgU { memarg } | Op::I64AtomicRmw16XchgU { memarg } => rmw(t, memarg, I16, Xchg),
        Op::I32AtomicRmwXchg { memarg } | Op::I64AtomicRmw32XchgU { memarg } => rmw(t, memarg, I32, Xchg),
        Op::I64AtomicRmwXchg { memarg } => rmw(t, memarg, I64, Xchg),

        Op::I32AtomicRmw8CmpxchgU { memarg } | Op::I64AtomicRmw8CmpxchgU { memarg } => cmpxchg(t, memarg, I8),
        Op::I32AtomicRmw16CmpxchgU { memarg } | Op::I64AtomicRmw16CmpxchgU { memarg } => {
            cmpxchg(t, memarg, I16)
        }
        Op::I32AtomicRmwCmpxchg { memarg } | Op::I64AtomicRmw32CmpxchgU { memarg } => cmpxchg(t, memarg, I32),
        Op::I64AtomicRmwCmpxchg { memarg } => cmpxchg(t, memarg, I64),
        _ => return false,
    }
    true
}

/// Traps unless the effective address is a multiple of the width. Only its low bits matter, so the address
/// may wrap around here.
fn check_alignment(t: &mut FuncTranslator<'_>, memarg: &MemArg, index: Value, width: Type) {
    let mask = u64::from(width.bytes()) - 1;
    if mask == 0 {
        return;
    }
    let address = match memarg.offset & mask {
        0 => index,
        offset => t.builder.ins().iadd_imm_u(index, offset as i64),
    };
    let misaligned = t.builder.ins().band_imm_u(address, mask as i64);
    t.trapnz(misaligned, TrapCode::UnalignedAtomic.to_clif());
}

/// The host address of a checked access. Cranelift's atomic instructions take no offset.
fn place(t: &mut FuncTranslator<'_>, memarg: &MemArg, index: Value, width: Type) -> (MemFlagsData, Value) {
    check_alignment(t, memarg, index, width);
    let a = t.heap_access(memarg, index, width.bytes() as u8);
    let address = match a.offset {
        0 => a.address,
        offset => t.builder.ins().iadd_imm_s(a.address, i64::from(offset)),
    };
    (a.flags, address)
}

fn wrap(t: &mut FuncTranslator<'_>, value: Value, ty: Type) -> Value {
    if t.builder.func.dfg.value_type(value) == ty { value } else { t.builder.ins().ireduce(ty, value) }
}

fn extend(t: &mut FuncTranslator<'_>, value: Value, ty: Type) -> Value {
    if t.builder.func.dfg.value_type(value) == ty { value } else { t.builder.ins().uextend(ty, value) }
}

fn load(t: &mut FuncTranslator<'_>, memarg: &MemArg, width: Type, result: Type) {
    let index = t.pop1();
    let (flags, address) = place(t, memarg, index, width);
    let value = t.builder.ins().atomic_load(width, flags, address);
    let value = extend(t, value, result);
    t.push1(value);
}

fn store(t: &mut FuncTranslator<'_>, memarg: &MemArg, width: Type) {
    let (index, value) = t.pop2();
    let (flags, address) = place(t, memarg, index, width);
    let value = wrap(t, value, width);
    if t.env.module.isa.name() == "x64" {
        // Cranelift's store is followed by `mfence` there. An exchange orders as much for a third of the time.
        t.builder.ins().atomic_rmw(width, flags, AtomicRmwOp::Xchg, address, value);
    } else {
        t.builder.ins().atomic_store(flags, value, address);
    }
}

fn rmw(t: &mut FuncTranslator<'_>, memarg: &MemArg, width: Type, op: AtomicRmwOp) {
    let (index, operand) = t.pop2();
    let result = t.builder.func.dfg.value_type(operand);
    let (flags, address) = place(t, memarg, index, width);
    let operand = wrap(t, operand, width);
    let old = t.builder.ins().atomic_rmw(width, flags, op, address, operand);
    let old = extend(t, old, result);
    t.push1(old);
}

/// The narrow forms wrap the expected value, too.
fn cmpxchg(t: &mut FuncTranslator<'_>, memarg: &MemArg, width: Type) {
    let (index, expected, replacement) = t.pop3();
    let result = t.builder.func.dfg.value_type(expected);
    let (flags, address) = place(t, memarg, index, width);
    let (expected, replacement) = (wrap(t, expected, width), wrap(t, replacement, width));
    let old = t.builder.ins().atomic_cas(flags, address, expected, replacement);
    let old = extend(t, old, result);
    t.push1(old);
}

/// The memory and the guest address of an access that a libcall checks and performs.
fn guest_place(t: &mut FuncTranslator<'_>, memarg: &MemArg, index: Value, width: Type) -> (Value, Value) {
    check_alignment(t, memarg, index, width);
    let wasmparser::MemArgTarget::Memory(memory) = memarg.target else {
        unreachable!("arrays as memories belong to a proposal that is not enabled")
    };
    let is_64 = t.env.module.info.memories[environ::index::<MemoryIndex>(memory)].memory64;
    let index = extend(t, index, I64);
    let address = if memarg.offset == 0 {
        index
    } else {
        let offset = t.builder.ins().iconst(I64, memarg.offset as i64);
        if is_64 {
            let (sum, carry) = t.builder.ins().uadd_overflow(index, offset);
            // An address past 2^64 is replaced by an aligned one that is outside every memory.
            let outside = t.builder.ins().iconst(I64, -8);
            t.builder.ins().select(carry, outside, sum)
        } else {
            t.builder.ins().iadd(index, offset)
        }
    };
    (t.builder.ins().iconst(I32, i64::from(memory)), address)
}

fn wait(t: &mut FuncTranslator<'_>, memarg: &MemArg, width: Type) {
    let (index, expected, timeout) = t.pop3();
    let (memory, address) = guest_place(t, memarg, index, width);
    let bytes = t.builder.ins().iconst(I32, i64::from(width.bytes()));
    let expected = extend(t, expected, I64);
    let args = [memory, bytes, address, expected, timeout];
    let outcome = t.env.libcall(&mut t.builder, Libcall::memory_wait, &args);
    let outcome = wrap(t, outcome, I32);
    t.push1(outcome);
}

fn notify(t: &mut FuncTranslator<'_>, memarg: &MemArg) {
    let (index, count) = t.pop2();
    let (memory, address) = guest_place(t, memarg, index, I32);
    let woken = t.env.libcall(&mut t.builder, Libcall::memory_notify, &[memory, address, count]);
    let woken = wrap(t, woken, I32);
    t.push1(woken);
}
