//! Upper bounds of indices, from the instructions that make them.
//!
//! Used by `bounds.rs`, and as much a part of the sandbox. `bulk.rs` asks it for constants. Invariant: a bound holds for every run of the
//! function, whatever the inputs of the instructions are.

use cranelift_codegen::ir::{DataFlowGraph, InstructionData, Opcode, Value, types};

/// How many instructions back to look.
const DEPTH: usize = 5;

/// An `i32` value as the sum of another and a constant. The sum does not overflow 32 bits.
pub(super) fn split(dfg: &DataFlowGraph, value: Value) -> Option<(Value, u32)> {
    let (opcode, [x, y]) = binary(dfg, value)?;
    if opcode != Opcode::Iadd {
        return None;
    }
    let (x, constant) = match (constant(dfg, x), constant(dfg, y)) {
        (None, Some(constant)) => (x, constant),
        (Some(constant), None) => (y, constant),
        _ => return None,
    };
    most(dfg, x, DEPTH).checked_add(constant)?;
    Some((x, constant))
}

/// An `i32` value as another one, shifted to the left by a constant below 32. No set bit is shifted out.
pub(super) fn shifted(dfg: &DataFlowGraph, value: Value) -> Option<(Value, u32)> {
    let (opcode, [x, y]) = binary(dfg, value)?;
    let by = constant(dfg, y).filter(|by| opcode == Opcode::Ishl && *by < 32)?;
    (most(dfg, x, DEPTH).leading_zeros() >= by).then_some((x, by))
}

/// The largest unsigned value that an `i32` may have.
fn most(dfg: &DataFlowGraph, value: Value, depth: usize) -> u32 {
    if let Some(constant) = constant(dfg, value) {
        return constant;
    }
    let Some(depth) = depth.checked_sub(1) else { return u32::MAX };
    let Some(inst) = dfg.value_def(value).inst() else { return u32::MAX };
    if dfg.value_type(value) != types::I32 {
        return u32::MAX;
    }
    match dfg.insts[inst] {
        InstructionData::Load { opcode: Opcode::Uload8, .. } => u32::from(u8::MAX),
        InstructionData::Load { opcode: Opcode::Uload16, .. } => u32::from(u16::MAX),
        InstructionData::Unary { opcode: Opcode::Uextend, arg } => match dfg.value_type(arg) {
            types::I8 => u32::from(u8::MAX),
            types::I16 => u32::from(u16::MAX),
            _ => u32::MAX,
        },
        InstructionData::Binary { opcode, args: [x, y] } => match opcode {
            Opcode::Band => most(dfg, x, depth).min(most(dfg, y, depth)),
            Opcode::Iadd => most(dfg, x, depth).saturating_add(most(dfg, y, depth)),
            Opcode::Ishl => match (most(dfg, x, depth), constant(dfg, y)) {
                (x, Some(by)) if by < 32 && x.leading_zeros() >= by => x << by,
                _ => u32::MAX,
            },
            Opcode::Ushr => match constant(dfg, y) {
                Some(by) if by < 32 => most(dfg, x, depth) >> by,
                _ => u32::MAX,
            },
            _ => u32::MAX,
        },
        _ => u32::MAX,
    }
}

/// The operands of an instruction with two, if both and the result are `i32`.
fn binary(dfg: &DataFlowGraph, value: Value) -> Option<(Opcode, [Value; 2])> {
    match dfg.insts[dfg.value_def(value).inst()?] {
        InstructionData::Binary { opcode, args } => {
            let is_i32 = |value: &Value| dfg.value_type(*value) == types::I32;
            (is_i32(&value) && args.iter().all(is_i32)).then_some((opcode, args))
        }
        _ => None,
    }
}

/// The value of an `i32`, if it is a constant.
pub(super) fn constant(dfg: &DataFlowGraph, value: Value) -> Option<u32> {
    match dfg.insts[dfg.value_def(value).inst()?] {
        InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } if dfg.value_type(value) == types::I32 => {
            Some(imm.bits() as u32)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cranelift_codegen::ir::{Function, InstBuilder};
    use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

    /// Runs `check` with a builder in a block with one `i32` parameter.
    fn with_parameter(check: impl FnOnce(&mut FunctionBuilder<'_>, Value)) {
        let mut func = Function::new();
        let mut context = FunctionBuilderContext::new();
        let mut b = FunctionBuilder::new(&mut func, &mut context);
        let block = b.create_block();
        let x = b.append_block_param(block, types::I32);
        b.switch_to_block(block);
        check(&mut b, x);
    }

    #[test]
    fn a_sum_that_may_overflow_is_not_split() {
        with_parameter(|b, x| {
            let sum = b.ins().iadd_imm_s(x, 16);
            assert_eq!(split(&b.func.dfg, sum), None);
            let masked = b.ins().band_imm_u(x, 0xff);
            let sum = b.ins().iadd_imm_s(masked, 16);
            assert_eq!(split(&b.func.dfg, sum), Some((masked, 16)));
            // The largest constants with and without an overflow.
            let largest = b.ins().iadd_imm_s(masked, -256);
            assert_eq!(split(&b.func.dfg, largest), Some((masked, u32::MAX - 255)));
            let overflows = b.ins().iadd_imm_s(masked, -255);
            assert_eq!(split(&b.func.dfg, overflows), None);
        });
    }

    #[test]
    fn a_shift_that_may_lose_bits_is_none() {
        with_parameter(|b, x| {
            let lost = b.ins().ishl_imm_u(x, 2);
            assert_eq!(shifted(&b.func.dfg, lost), None);
            let masked = b.ins().band_imm_u(x, 0x3fff_ffff);
            let kept = b.ins().ishl_imm_u(masked, 2);
            assert_eq!(shifted(&b.func.dfg, kept), Some((masked, 2)));
            let one_more = b.ins().ishl_imm_u(masked, 3);
            assert_eq!(shifted(&b.func.dfg, one_more), None);
            // The machine takes the count modulo 32.
            let count = b.ins().ishl_imm_u(masked, 34);
            assert_eq!(shifted(&b.func.dfg, count), None);
        });
    }

    #[test]
    fn bounds_follow_what_values_are_made_of() {
        with_parameter(|b, x| {
            let high = b.ins().ushr_imm_u(x, 24);
            assert_eq!(most(&b.func.dfg, high, DEPTH), 0xff);
            let double = b.ins().iadd(high, high);
            assert_eq!(most(&b.func.dfg, double, DEPTH), 0x1fe);
            let negative = b.ins().iconst(types::I32, -1);
            assert_eq!(most(&b.func.dfg, negative, DEPTH), u32::MAX);
            let any = b.ins().iadd(x, high);
            assert_eq!(most(&b.func.dfg, any, DEPTH), u32::MAX);
            let wide = b.ins().uextend(types::I64, x);
            assert_eq!(most(&b.func.dfg, wide, DEPTH), u32::MAX);
            let narrow = b.ins().ireduce(types::I8, x);
            let narrow = b.ins().uextend(types::I32, narrow);
            assert_eq!(most(&b.func.dfg, narrow, DEPTH), 0xff);
        });
    }
}
