//! `memory.copy` and `memory.fill` of few bytes, without the runtime.
//!
//! Used by the translator and by `trampolines.rs`. Invariants: nothing is written unless all of the range is inside the
//! memory, and all is read before any is written, so ranges may overlap. What is not done here is left to the libcall:
//! traps, and so many bytes that an interruption must be looked for.
//!
//! Programs of C and Rust copy some tens of bytes at a time, and a call of the runtime costs several times as much as
//! such a copy. A constant number of bytes is copied in the place of the operator. Another number is copied in the
//! libcall's trampoline, which both tiers call.

use super::bounds::{self, HeapAccess};
use super::environ::index;
use super::ranges;
use super::signatures::*;
use super::trampolines::emit_exit;
use super::translate::FuncTranslator;
use crate::abi::libcalls::{Leaf, Libcall, STRIDE};
use crate::abi::offsets;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, InstBuilder, MemFlagsData, Type, Value, types};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::FunctionBuilder;

/// The most bytes that are copied in registers.
const FEW: u64 = 128;

/// The widest type that fits into so many bytes, and where values of it must lie to cover these. They may overlap.
fn parts(len: u64) -> (Type, Vec<i32>) {
    let ty = match len {
        16.. => types::I8X16,
        8.. => types::I64,
        4.. => types::I32,
        2.. => types::I16,
        _ => types::I8,
    };
    let width = u64::from(ty.bytes());
    let last = len.saturating_sub(width);
    let each = (0..last).step_by(width as usize).chain([last]);
    (ty, each.map(|place| place as i32).collect())
}

impl FuncTranslator<'_> {
    /// `memory.copy` of a constant number of bytes. Returns whether it was translated.
    pub(super) fn copy_few(&mut self, dst_memory: u32, src_memory: u32, operands: [Value; 3]) -> bool {
        let [dst, src, len] = operands;
        let Some(len) = self.few(len) else { return false };
        let src = self.range(src_memory, src, len);
        let dst = self.range(dst_memory, dst, len);
        let (ty, places) = parts(len);
        let b = &mut self.builder;
        let load = |place: &i32| b.ins().load(ty, src.flags, src.address, src.offset + place);
        let values: Vec<Value> = places.iter().map(load).collect();
        store_backwards(b, &dst, &places, &values);
        true
    }

    /// `memory.fill` of a constant number of bytes. Returns whether it was translated.
    pub(super) fn fill_few(&mut self, memory: u32, operands: [Value; 3]) -> bool {
        let [dst, value, len] = operands;
        let Some(len) = self.few(len) else { return false };
        let dst = self.range(memory, dst, len);
        let (ty, places) = parts(len);
        let value = repeated(&mut self.builder, value, ty);
        let values = vec![value; places.len()];
        store_backwards(&mut self.builder, &dst, &places, &values);
        true
    }

    /// The value of a number of bytes, if it is a constant, and small enough to be copied in registers. With none at
    /// all there is still a check.
    fn few(&self, len: Value) -> Option<u64> {
        ranges::constant(&self.builder.func.dfg, len).map(u64::from).filter(|len| (1..=FEW).contains(len))
    }

    fn range(&mut self, memory: u32, start: Value, len: u64) -> HeapAccess {
        bounds::heap_access(&mut self.env, &mut self.builder, index(memory), start, 0, len as u8)
    }
}

/// Stores the last part first: if the end is inside the memory, all is.
fn store_backwards(b: &mut FunctionBuilder<'_>, dst: &HeapAccess, places: &[i32], values: &[Value]) {
    for (place, value) in places.iter().zip(values).rev() {
        b.ins().store(dst.flags, *value, dst.address, dst.offset + place);
    }
}

/// A value of a type that has this byte, the lowest one of an `i32`, everywhere.
fn repeated(b: &mut FunctionBuilder<'_>, byte: Value, ty: Type) -> Value {
    let byte = b.ins().ireduce(types::I8, byte);
    if ty.is_vector() {
        return b.ins().splat(ty, byte);
    }
    if ty == types::I8 {
        return byte;
    }
    let wide = b.ins().uextend(types::I64, byte);
    let ones = b.ins().iconst(types::I64, 0x0101_0101_0101_0101);
    let wide = b.ins().imul(wide, ones);
    if ty == types::I64 { wide } else { b.ins().ireduce(ty, wide) }
}

/// For accesses inside a range that was checked.
const FLAGS: MemFlagsData = MemFlagsData::new().with_notrap();

/// Emits what a libcall's trampoline does without the libcall. The rest follows in the block that is current then.
pub(super) fn quick_way(
    b: &mut FunctionBuilder<'_>,
    isa: &dyn TargetIsa,
    libcall: Libcall,
    params: &[Value],
) {
    match (libcall, params) {
        (Libcall::memory_copy, &[vmctx, dst_memory, src_memory, dst, src, len]) => {
            let slow = b.create_block();
            let other = b.ins().icmp(IntCC::NotEqual, dst_memory, src_memory);
            leave_if(b, other, slow);
            let farther = b.ins().umax(dst, src);
            let range = bounds::range(b, vmctx, dst_memory, farther, len);
            leave_if(b, range.is_outside, slow);
            let (dst, src) = (range.address(b, dst), range.address(b, src));
            by_length(b, len, |b, ty, places| {
                let from: Vec<_> = places.iter().map(|place| place.of(b, src)).collect();
                let values: Vec<_> =
                    from.iter().map(|(address, offset)| b.ins().load(ty, FLAGS, *address, *offset)).collect();
                for (place, value) in places.iter().zip(values) {
                    let (address, offset) = place.of(b, dst);
                    b.ins().store(FLAGS, value, address, offset);
                }
            });
            call_leaf(b, isa, Leaf::Copy, vmctx, [dst, src, len], slow);
        }
        (Libcall::memory_fill, &[vmctx, memory, dst, value, len]) => {
            let slow = b.create_block();
            let range = bounds::range(b, vmctx, memory, dst, len);
            leave_if(b, range.is_outside, slow);
            let dst = range.address(b, dst);
            by_length(b, len, |b, ty, places| {
                let value = repeated(b, value, ty);
                for place in places {
                    let (address, offset) = place.of(b, dst);
                    b.ins().store(FLAGS, value, address, offset);
                }
            });
            let value = b.ins().uextend(types::I64, value);
            call_leaf(b, isa, Leaf::Fill, vmctx, [dst, value, len], slow);
        }
        _ => {}
    }
}

/// Where a part of a range lies: so many bytes after its start, or after `from`, which counts from its start.
struct Place {
    from: Option<Value>,
    offset: i32,
}

impl Place {
    /// The address and its offset in a range that starts at `start`.
    fn of(&self, b: &mut FunctionBuilder<'_>, start: Value) -> (Value, i32) {
        (self.from.map_or(start, |from| b.ins().iadd(start, from)), self.offset)
    }
}

/// Has `each` emit the accesses for a length of up to [`FEW`] bytes, and returns from the trampoline. What is to be done
/// for more follows in the block that is current then.
fn by_length(
    b: &mut FunctionBuilder<'_>,
    len: Value,
    each: impl Fn(&mut FunctionBuilder<'_>, Type, &[Place]),
) {
    // From both ends. The parts meet, or overlap, in the middle.
    let pairs = |b: &mut FunctionBuilder<'_>, ty: Type, pairs: i32| {
        let width = ty.bytes() as i32;
        let last = Some(b.ins().iadd_imm_s(len, i64::from(-width)));
        let first = (0..pairs).map(|i| Place { from: None, offset: i * width });
        let places: Vec<Place> =
            first.chain((0..pairs).map(|i| Place { from: last, offset: -i * width })).collect();
        each(b, ty, &places);
    };
    let [narrow, wide] = [b.create_block(), b.create_block()];
    let is_narrow = b.ins().icmp_imm_u(IntCC::UnsignedLessThan, len, 16);
    b.ins().brif(is_narrow, narrow, [], wide, []);

    go_on(b, narrow);
    for ty in [types::I64, types::I32] {
        let enough = b.ins().icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, len, i64::from(ty.bytes()));
        return_if(b, enough, |b| pairs(b, ty, 1));
    }
    let some = b.ins().icmp_imm_u(IntCC::NotEqual, len, 0);
    return_if(b, some, |b| {
        // One to three bytes: the first, the last, and the one in the middle.
        let middle = Some(b.ins().ushr_imm_u(len, 1));
        let last = Some(len);
        let places = [(None, 0), (middle, 0), (last, -1)];
        each(b, types::I8, &places.map(|(from, offset)| Place { from, offset }));
    });
    return_zero(b);

    go_on(b, wide);
    for count in [1, 2, 4] {
        let few = b.ins().icmp_imm_u(IntCC::UnsignedLessThanOrEqual, len, 32 * i64::from(count));
        return_if(b, few, |b| pairs(b, types::I8X16, count));
    }
}

/// Calls a function that only moves bytes, and returns from the trampoline. Goes on at `slow` if there are so many that
/// an interruption must be looked for in between.
fn call_leaf(
    b: &mut FunctionBuilder<'_>,
    isa: &dyn TargetIsa,
    leaf: Leaf,
    vmctx: Value,
    args: [Value; 3],
    slow: Block,
) {
    let at_once = b.ins().icmp_imm_u(IntCC::UnsignedLessThan, args[2], STRIDE as i64);
    return_if(b, at_once, |b| {
        // Profiles and stacks see the frame that called.
        emit_exit(b, vmctx);
        let flags = MemFlagsData::trusted().with_readonly();
        let table = b.ins().load(POINTER, flags, vmctx, offsets::header::LIBCALLS);
        let code = b.ins().load(POINTER, flags, table, leaf.offset());
        let signature = b.import_signature(c_signature(isa, &[POINTER; 3], None));
        b.ins().call_indirect(signature, code, &args);
    });
    b.ins().jump(slow, []);
    go_on(b, slow);
}

fn go_on(b: &mut FunctionBuilder<'_>, block: Block) {
    b.seal_block(block);
    b.switch_to_block(block);
}

fn leave_if(b: &mut FunctionBuilder<'_>, condition: Value, target: Block) {
    let next = b.create_block();
    b.ins().brif(condition, target, [], next, []);
    go_on(b, next);
}

fn return_if(b: &mut FunctionBuilder<'_>, condition: Value, before: impl FnOnce(&mut FunctionBuilder<'_>)) {
    let [then, next] = [b.create_block(), b.create_block()];
    b.ins().brif(condition, then, [], next, []);
    go_on(b, then);
    before(b);
    return_zero(b);
    go_on(b, next);
}

fn return_zero(b: &mut FunctionBuilder<'_>) {
    let zero = b.ins().iconst(types::I64, 0);
    b.ins().return_(&[zero]);
}
