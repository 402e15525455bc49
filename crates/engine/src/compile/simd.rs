//! Fixed-width and relaxed SIMD operators.
//!
//! Called by `translate.rs` for every operator that neither it nor `numeric.rs` handles. A v128 on the wasm
//! stack may have any 128-bit vector type of CLIF: an operand is cast to the operator's type when popped, and
//! a result is pushed with its own type. Invariants: guest memory is accessed only through
//! `FuncTranslator::heap_access`. Nothing else emitted here traps or becomes a libcall (given SSE4.1 on x64).
//! A relaxed operator gives the same result on every host, except for the bits of a NaN.

use super::numeric::{Binary, Convert, Unary, ins, load_value, load_with, push_bool};
use super::translate::FuncTranslator;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16X8, I32, I32X4, I64X2};
use cranelift_codegen::ir::{ConstantData, Endianness, InstBuilder, MemFlagsData, Type, Value};
use wasmparser::{MemArg, Operator};

/// Translates a SIMD operator. Does nothing and returns false for any other operator.
pub(super) fn translate(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    use Operator as Op;
    match op {
        // Memory.
        Op::V128Load { memarg } => load(t, memarg),
        Op::V128Load8x8S { memarg } => load_with(t, memarg, 8, |b, f, p, o| b.sload8x8(f, p, o)),
        Op::V128Load8x8U { memarg } => load_with(t, memarg, 8, |b, f, p, o| b.uload8x8(f, p, o)),
        Op::V128Load16x4S { memarg } => load_with(t, memarg, 8, |b, f, p, o| b.sload16x4(f, p, o)),
        Op::V128Load16x4U { memarg } => load_with(t, memarg, 8, |b, f, p, o| b.uload16x4(f, p, o)),
        Op::V128Load32x2S { memarg } => load_with(t, memarg, 8, |b, f, p, o| b.sload32x2(f, p, o)),
        Op::V128Load32x2U { memarg } => load_with(t, memarg, 8, |b, f, p, o| b.uload32x2(f, p, o)),
        Op::V128Load8Splat { memarg } => load_splat(t, memarg, I8X16),
        Op::V128Load16Splat { memarg } => load_splat(t, memarg, I16X8),
        Op::V128Load32Splat { memarg } => load_splat(t, memarg, I32X4),
        Op::V128Load64Splat { memarg } => load_splat(t, memarg, I64X2),
        Op::V128Load32Zero { memarg } => load_zero(t, memarg, I32X4),
        Op::V128Load64Zero { memarg } => load_zero(t, memarg, I64X2),
        Op::V128Load8Lane { memarg, lane } => load_lane(t, memarg, I8X16, *lane),
        Op::V128Load16Lane { memarg, lane } => load_lane(t, memarg, I16X8, *lane),
        Op::V128Load32Lane { memarg, lane } => load_lane(t, memarg, I32X4, *lane),
        Op::V128Load64Lane { memarg, lane } => load_lane(t, memarg, I64X2, *lane),
        Op::V128Store { memarg } => store(t, memarg),
        Op::V128Store8Lane { memarg, lane } => store_lane(t, memarg, I8X16, *lane),
        Op::V128Store16Lane { memarg, lane } => store_lane(t, memarg, I16X8, *lane),
        Op::V128Store32Lane { memarg, lane } => store_lane(t, memarg, I32X4, *lane),
        Op::V128Store64Lane { memarg, lane } => store_lane(t, memarg, I64X2, *lane),

        // Constants and lanes.
        Op::V128Const { value } => constant(t, *value.bytes()),
        Op::I8x16Shuffle { lanes } => shuffle(t, lanes),
        Op::I8x16Swizzle | Op::I8x16RelaxedSwizzle => binary(t, I8X16, ins::swizzle),
        Op::I8x16Splat => splat(t, I8X16),
        Op::I16x8Splat => splat(t, I16X8),
        Op::I32x4Splat => splat(t, I32X4),
        Op::I64x2Splat => splat(t, I64X2),
        Op::F32x4Splat => splat(t, F32X4),
        Op::F64x2Splat => splat(t, F64X2),
        Op::I8x16ExtractLaneS { lane } => extract_narrow(t, I8X16, *lane, ins::sextend),
        Op::I8x16ExtractLaneU { lane } => extract_narrow(t, I8X16, *lane, ins::uextend),
        Op::I16x8ExtractLaneS { lane } => extract_narrow(t, I16X8, *lane, ins::sextend),
        Op::I16x8ExtractLaneU { lane } => extract_narrow(t, I16X8, *lane, ins::uextend),
        Op::I32x4ExtractLane { lane } => extract(t, I32X4, *lane),
        Op::I64x2ExtractLane { lane } => extract(t, I64X2, *lane),
        Op::F32x4ExtractLane { lane } => extract(t, F32X4, *lane),
        Op::F64x2ExtractLane { lane } => extract(t, F64X2, *lane),
        Op::I8x16ReplaceLane { lane } => replace(t, I8X16, *lane),
        Op::I16x8ReplaceLane { lane } => replace(t, I16X8, *lane),
        Op::I32x4ReplaceLane { lane } => replace(t, I32X4, *lane),
        Op::I64x2ReplaceLane { lane } => replace(t, I64X2, *lane),
        Op::F32x4ReplaceLane { lane } => replace(t, F32X4, *lane),
        Op::F64x2ReplaceLane { lane } => replace(t, F64X2, *lane),

        // Comparisons: all ones or all zeros in each lane.
        Op::I8x16Eq => int_compare(t, I8X16, IntCC::Equal),
        Op::I8x16Ne => int_compare(t, I8X16, IntCC::NotEqual),
        Op::I8x16LtS => int_compare(t, I8X16, IntCC::SignedLessThan),
        Op::I8x16LtU => int_compare(t, I8X16, IntCC::UnsignedLessThan),
        Op::I8x16GtS => int_compare(t, I8X16, IntCC::SignedGreaterThan),
        Op::I8x16GtU => int_compare(t, I8X16, IntCC::UnsignedGreaterThan),
        Op::I8x16LeS => int_compare(t, I8X16, IntCC::SignedLessThanOrEqual),
        Op::I8x16LeU => int_compare(t, I8X16, IntCC::UnsignedLessThanOrEqual),
        Op::I8x16GeS => int_compare(t, I8X16, IntCC::SignedGreaterThanOrEqual),
        Op::I8x16GeU => int_compare(t, I8X16, IntCC::UnsignedGreaterThanOrEqual),
        Op::I16x8Eq => int_compare(t, I16X8, IntCC::Equal),
        Op::I16x8Ne => int_compare(t, I16X8, IntCC::NotEqual),
        Op::I16x8LtS => int_compare(t, I16X8, IntCC::SignedLessThan),
        Op::I16x8LtU => int_compare(t, I16X8, IntCC::UnsignedLessThan),
        Op::I16x8GtS => int_compare(t, I16X8, IntCC::SignedGreaterThan),
        Op::I16x8GtU => int_compare(t, I16X8, IntCC::UnsignedGreaterThan),
        Op::I16x8LeS => int_compare(t, I16X8, IntCC::SignedLessThanOrEqual),
        Op::I16x8LeU => int_compare(t, I16X8, IntCC::UnsignedLessThanOrEqual),
        Op::I16x8GeS => int_compare(t, I16X8, IntCC::SignedGreaterThanOrEqual),
        Op::I16x8GeU => int_compare(t, I16X8, IntCC::UnsignedGreaterThanOrEqual),
        Op::I32x4Eq => int_compare(t, I32X4, IntCC::Equal),
        Op::I32x4Ne => int_compare(t, I32X4, IntCC::NotEqual),
        Op::I32x4LtS => int_compare(t, I32X4, IntCC::SignedLessThan),
        Op::I32x4LtU => int_compare(t, I32X4, IntCC::UnsignedLessThan),
        Op::I32x4GtS => int_compare(t, I32X4, IntCC::SignedGreaterThan),
        Op::I32x4GtU => int_compare(t, I32X4, IntCC::UnsignedGreaterThan),
        Op::I32x4LeS => int_compare(t, I32X4, IntCC::SignedLessThanOrEqual),
        Op::I32x4LeU => int_compare(t, I32X4, IntCC::UnsignedLessThanOrEqual),
        Op::I32x4GeS => int_compare(t, I32X4, IntCC::SignedGreaterThanOrEqual),
        Op::I32x4GeU => int_compare(t, I32X4, IntCC::UnsignedGreaterThanOrEqual),
        Op::I64x2Eq => int_compare(t, I64X2, IntCC::Equal),
        Op::I64x2Ne => int_compare(t, I64X2, IntCC::NotEqual),
        Op::I64x2LtS => int_compare(t, I64X2, IntCC::SignedLessThan),
        Op::I64x2GtS => int_compare(t, I64X2, IntCC::SignedGreaterThan),
        Op::I64x2LeS => int_compare(t, I64X2, IntCC::SignedLessThanOrEqual),
        Op::I64x2GeS => int_compare(t, I64X2, IntCC::SignedGreaterThanOrEqual),
        Op::F32x4Eq => float_compare(t, F32X4, FloatCC::Equal),
        Op::F32x4Ne => float_compare(t, F32X4, FloatCC::NotEqual),
        Op::F32x4Lt => float_compare(t, F32X4, FloatCC::LessThan),
        Op::F32x4Gt => float_compare(t, F32X4, FloatCC::GreaterThan),
        Op::F32x4Le => float_compare(t, F32X4, FloatCC::LessThanOrEqual),
        Op::F32x4Ge => float_compare(t, F32X4, FloatCC::GreaterThanOrEqual),
        Op::F64x2Eq => float_compare(t, F64X2, FloatCC::Equal),
        Op::F64x2Ne => float_compare(t, F64X2, FloatCC::NotEqual),
        Op::F64x2Lt => float_compare(t, F64X2, FloatCC::LessThan),
        Op::F64x2Gt => float_compare(t, F64X2, FloatCC::GreaterThan),
        Op::F64x2Le => float_compare(t, F64X2, FloatCC::LessThanOrEqual),
        Op::F64x2Ge => float_compare(t, F64X2, FloatCC::GreaterThanOrEqual),

        // Bits.
        Op::V128Not => bit_not(t),
        Op::V128And => bit_binary(t, ins::band),
        Op::V128AndNot => bit_binary(t, ins::band_not),
        Op::V128Or => bit_binary(t, ins::bor),
        Op::V128Xor => bit_binary(t, ins::bxor),
        Op::V128Bitselect => bitselect(t),
        Op::V128AnyTrue => test(t, I8X16, ins::vany_true),
        Op::I8x16AllTrue => test(t, I8X16, ins::vall_true),
        Op::I16x8AllTrue => test(t, I16X8, ins::vall_true),
        Op::I32x4AllTrue => test(t, I32X4, ins::vall_true),
        Op::I64x2AllTrue => test(t, I64X2, ins::vall_true),
        Op::I8x16Bitmask => bitmask(t, I8X16),
        Op::I16x8Bitmask => bitmask(t, I16X8),
        Op::I32x4Bitmask => bitmask(t, I32X4),
        Op::I64x2Bitmask => bitmask(t, I64X2),

        // Integer arithmetic.
        Op::I8x16Abs => unary(t, I8X16, ins::iabs),
        Op::I16x8Abs => unary(t, I16X8, ins::iabs),
        Op::I32x4Abs => unary(t, I32X4, ins::iabs),
        Op::I64x2Abs => unary(t, I64X2, ins::iabs),
        Op::I8x16Neg => unary(t, I8X16, ins::ineg),
        Op::I16x8Neg => unary(t, I16X8, ins::ineg),
        Op::I32x4Neg => unary(t, I32X4, ins::ineg),
        Op::I64x2Neg => unary(t, I64X2, ins::ineg),
        Op::I8x16Popcnt => unary(t, I8X16, ins::popcnt),
        Op::I8x16Shl => shift(t, I8X16, ins::ishl),
        Op::I16x8Shl => shift(t, I16X8, ins::ishl),
        Op::I32x4Shl => shift(t, I32X4, ins::ishl),
        Op::I64x2Shl => shift(t, I64X2, ins::ishl),
        Op::I8x16ShrS => shift(t, I8X16, ins::sshr),
        Op::I16x8ShrS => shift(t, I16X8, ins::sshr),
        Op::I32x4ShrS => shift(t, I32X4, ins::sshr),
        Op::I64x2ShrS => shift(t, I64X2, ins::sshr),
        Op::I8x16ShrU => shift(t, I8X16, ins::ushr),
        Op::I16x8ShrU => shift(t, I16X8, ins::ushr),
        Op::I32x4ShrU => shift(t, I32X4, ins::ushr),
        Op::I64x2ShrU => shift(t, I64X2, ins::ushr),
        Op::I8x16Add => binary(t, I8X16, ins::iadd),
        Op::I16x8Add => binary(t, I16X8, ins::iadd),
        Op::I32x4Add => binary(t, I32X4, ins::iadd),
        Op::I64x2Add => binary(t, I64X2, ins::iadd),
        Op::I8x16Sub => binary(t, I8X16, ins::isub),
        Op::I16x8Sub => binary(t, I16X8, ins::isub),
        Op::I32x4Sub => binary(t, I32X4, ins::isub),
        Op::I64x2Sub => binary(t, I64X2, ins::isub),
        Op::I16x8Mul => binary(t, I16X8, ins::imul),
        Op::I32x4Mul => binary(t, I32X4, ins::imul),
        Op::I64x2Mul => binary(t, I64X2, ins::imul),
        Op::I8x16AddSatS => binary(t, I8X16, ins::sadd_sat),
        Op::I16x8AddSatS => binary(t, I16X8, ins::sadd_sat),
        Op::I8x16AddSatU => binary(t, I8X16, ins::uadd_sat),
        Op::I16x8AddSatU => binary(t, I16X8, ins::uadd_sat),
        Op::I8x16SubSatS => binary(t, I8X16, ins::ssub_sat),
        Op::I16x8SubSatS => binary(t, I16X8, ins::ssub_sat),
        Op::I8x16SubSatU => binary(t, I8X16, ins::usub_sat),
        Op::I16x8SubSatU => binary(t, I16X8, ins::usub_sat),
        Op::I8x16MinS => binary(t, I8X16, ins::smin),
        Op::I16x8MinS => binary(t, I16X8, ins::smin),
        Op::I32x4MinS => binary(t, I32X4, ins::smin),
        Op::I8x16MinU => binary(t, I8X16, ins::umin),
        Op::I16x8MinU => binary(t, I16X8, ins::umin),
        Op::I32x4MinU => binary(t, I32X4, ins::umin),
        Op::I8x16MaxS => binary(t, I8X16, ins::smax),
        Op::I16x8MaxS => binary(t, I16X8, ins::smax),
        Op::I32x4MaxS => binary(t, I32X4, ins::smax),
        Op::I8x16MaxU => binary(t, I8X16, ins::umax),
        Op::I16x8MaxU => binary(t, I16X8, ins::umax),
        Op::I32x4MaxU => binary(t, I32X4, ins::umax),
        Op::I8x16AvgrU => binary(t, I8X16, ins::avg_round),
        Op::I16x8AvgrU => binary(t, I16X8, ins::avg_round),
        Op::I16x8Q15MulrSatS | Op::I16x8RelaxedQ15mulrS => binary(t, I16X8, ins::sqmul_round_sat),
        Op::I16x8ExtAddPairwiseI8x16S => extadd(t, I8X16, ins::swiden_low, ins::swiden_high),
        Op::I16x8ExtAddPairwiseI8x16U => extadd(t, I8X16, ins::uwiden_low, ins::uwiden_high),
        Op::I32x4ExtAddPairwiseI16x8S => extadd(t, I16X8, ins::swiden_low, ins::swiden_high),
        Op::I32x4ExtAddPairwiseI16x8U => extadd(t, I16X8, ins::uwiden_low, ins::uwiden_high),
        Op::I16x8ExtMulLowI8x16S => extmul(t, I8X16, ins::swiden_low),
        Op::I16x8ExtMulHighI8x16S => extmul(t, I8X16, ins::swiden_high),
        Op::I16x8ExtMulLowI8x16U => extmul(t, I8X16, ins::uwiden_low),
        Op::I16x8ExtMulHighI8x16U => extmul(t, I8X16, ins::uwiden_high),
        Op::I32x4ExtMulLowI16x8S => extmul(t, I16X8, ins::swiden_low),
        Op::I32x4ExtMulHighI16x8S => extmul(t, I16X8, ins::swiden_high),
        Op::I32x4ExtMulLowI16x8U => extmul(t, I16X8, ins::uwiden_low),
        Op::I32x4ExtMulHighI16x8U => extmul(t, I16X8, ins::uwiden_high),
        Op::I64x2ExtMulLowI32x4S => extmul(t, I32X4, ins::swiden_low),
        Op::I64x2ExtMulHighI32x4S => extmul(t, I32X4, ins::swiden_high),
        Op::I64x2ExtMulLowI32x4U => extmul(t, I32X4, ins::uwiden_low),
        Op::I64x2ExtMulHighI32x4U => extmul(t, I32X4, ins::uwiden_high),
        Op::I32x4DotI16x8S => dot(t, I16X8),

        // Integer widths.
        Op::I16x8ExtendLowI8x16S => unary(t, I8X16, ins::swiden_low),
        Op::I16x8ExtendHighI8x16S => unary(t, I8X16, ins::swiden_high),
        Op::I16x8ExtendLowI8x16U => unary(t, I8X16, ins::uwiden_low),
        Op::I16x8ExtendHighI8x16U => unary(t, I8X16, ins::uwiden_high),
        Op::I32x4ExtendLowI16x8S => unary(t, I16X8, ins::swiden_low),
        Op::I32x4ExtendHighI16x8S => unary(t, I16X8, ins::swiden_high),
        Op::I32x4ExtendLowI16x8U => unary(t, I16X8, ins::uwiden_low),
        Op::I32x4ExtendHighI16x8U => unary(t, I16X8, ins::uwiden_high),
        Op::I64x2ExtendLowI32x4S => unary(t, I32X4, ins::swiden_low),
        Op::I64x2ExtendHighI32x4S => unary(t, I32X4, ins::swiden_high),
        Op::I64x2ExtendLowI32x4U => unary(t, I32X4, ins::uwiden_low),
        Op::I64x2ExtendHighI32x4U => unary(t, I32X4, ins::uwiden_high),
        Op::I8x16NarrowI16x8S => binary(t, I16X8, ins::snarrow),
        Op::I8x16NarrowI16x8U => binary(t, I16X8, ins::unarrow),
        Op::I16x8NarrowI32x4S => binary(t, I32X4, ins::snarrow),
        Op::I16x8NarrowI32x4U => binary(t, I32X4, ins::unarrow),

        // Float arithmetic.
        Op::F32x4Ceil => unary(t, F32X4, ins::ceil),
        Op::F64x2Ceil => unary(t, F64X2, ins::ceil),
        Op::F32x4Floor => unary(t, F32X4, ins::floor),
        Op::F64x2Floor => unary(t, F64X2, ins::floor),
        Op::F32x4Trunc => unary(t, F32X4, ins::trunc),
        Op::F64x2Trunc => unary(t, F64X2, ins::trunc),
        Op::F32x4Nearest => unary(t, F32X4, ins::nearest),
        Op::F64x2Nearest => unary(t, F64X2, ins::nearest),
        Op::F32x4Sqrt => unary(t, F32X4, ins::sqrt),
        Op::F64x2Sqrt => unary(t, F64X2, ins::sqrt),
        Op::F32x4Abs => unary(t, F32X4, ins::fabs),
        Op::F64x2Abs => unary(t, F64X2, ins::fabs),
        Op::F32x4Neg => unary(t, F32X4, ins::fneg),
        Op::F64x2Neg => unary(t, F64X2, ins::fneg),
        Op::F32x4Add => binary(t, F32X4, ins::fadd),
        Op::F64x2Add => binary(t, F64X2, ins::fadd),
        Op::F32x4Sub => binary(t, F32X4, ins::fsub),
        Op::F64x2Sub => binary(t, F64X2, ins::fsub),
        Op::F32x4Mul => binary(t, F32X4, ins::fmul),
        Op::F64x2Mul => binary(t, F64X2, ins::fmul),
        Op::F32x4Div => binary(t, F32X4, ins::fdiv),
        Op::F64x2Div => binary(t, F64X2, ins::fdiv),
        Op::F32x4Min | Op::F32x4RelaxedMin => binary(t, F32X4, ins::fmin),
        Op::F64x2Min | Op::F64x2RelaxedMin => binary(t, F64X2, ins::fmin),
        Op::F32x4Max | Op::F32x4RelaxedMax => binary(t, F32X4, ins::fmax),
        Op::F64x2Max | Op::F64x2RelaxedMax => binary(t, F64X2, ins::fmax),
        Op::F32x4PMin => pseudo_min(t, F32X4),
        Op::F64x2PMin => pseudo_min(t, F64X2),
        Op::F32x4PMax => pseudo_max(t, F32X4),
        Op::F64x2PMax => pseudo_max(t, F64X2),

        // Float conversions.
        Op::I32x4TruncSatF32x4S | Op::I32x4RelaxedTruncF32x4S => {
            convert(t, F32X4, I32X4, ins::fcvt_to_sint_sat)
        }
        Op::I32x4TruncSatF32x4U | Op::I32x4RelaxedTruncF32x4U => {
            convert(t, F32X4, I32X4, ins::fcvt_to_uint_sat)
        }
        Op::I32x4TruncSatF64x2SZero | Op::I32x4RelaxedTruncF64x2SZero => {
            trunc_sat_zero(t, ins::fcvt_to_sint_sat, ins::snarrow)
        }
        Op::I32x4TruncSatF64x2UZero | Op::I32x4RelaxedTruncF64x2UZero => {
            trunc_sat_zero(t, ins::fcvt_to_uint_sat, ins::uunarrow)
        }
        Op::F32x4ConvertI32x4S => convert(t, I32X4, F32X4, ins::fcvt_from_sint),
        Op::F32x4ConvertI32x4U => convert(t, I32X4, F32X4, ins::fcvt_from_uint),
        Op::F64x2ConvertLowI32x4S => convert_low(t, ins::swiden_low, ins::fcvt_from_sint),
        Op::F64x2ConvertLowI32x4U => convert_low(t, ins::uwiden_low, ins::fcvt_from_uint),
        Op::F32x4DemoteF64x2Zero => unary(t, F64X2, ins::fvdemote),
        Op::F64x2PromoteLowF32x4 => unary(t, F32X4, ins::fvpromote_low),

        // Relaxed operators without a deterministic counterpart above.
        Op::F32x4RelaxedMadd => multiply_add(t, F32X4),
        Op::F32x4RelaxedNmadd => negated_multiply_add(t, F32X4),
        Op::F64x2RelaxedMadd => multiply_add(t, F64X2),
        Op::F64x2RelaxedNmadd => negated_multiply_add(t, F64X2),
        Op::I8x16RelaxedLaneselect
        | Op::I16x8RelaxedLaneselect
        | Op::I32x4RelaxedLaneselect
        | Op::I64x2RelaxedLaneselect => bitselect(t),
        Op::I16x8RelaxedDotI8x16I7x16S => dot(t, I8X16),
        Op::I32x4RelaxedDotI8x16I7x16AddS => dot_add(t),

        _ => return false,
    }
    true
}

/// The same bits as another type. Wasm numbers lanes from the low end, hence the byte order.
fn cast(t: &mut FuncTranslator<'_>, v: Value, ty: Type) -> Value {
    if t.builder.func.dfg.value_type(v) == ty {
        return v;
    }
    let little = MemFlagsData::new().with_endianness(Endianness::Little);
    t.builder.ins().bitcast(ty, little, v)
}

fn pop1_as(t: &mut FuncTranslator<'_>, ty: Type) -> Value {
    let v = t.pop1();
    cast(t, v, ty)
}

fn pop2_as(t: &mut FuncTranslator<'_>, ty: Type) -> (Value, Value) {
    let (x, y) = t.pop2();
    (cast(t, x, ty), cast(t, y, ty))
}

fn pop3_as(t: &mut FuncTranslator<'_>, ty: Type) -> (Value, Value, Value) {
    let (x, y, z) = t.pop3();
    (cast(t, x, ty), cast(t, y, ty), cast(t, z, ty))
}

fn unary(t: &mut FuncTranslator<'_>, ty: Type, f: Unary) {
    let x = pop1_as(t, ty);
    let v = f(t.builder.ins(), x);
    t.push1(v);
}

fn binary(t: &mut FuncTranslator<'_>, ty: Type, f: Binary) {
    let (x, y) = pop2_as(t, ty);
    let v = f(t.builder.ins(), x, y);
    t.push1(v);
}

fn convert(t: &mut FuncTranslator<'_>, from: Type, to: Type, f: Convert) {
    let x = pop1_as(t, from);
    let v = f(t.builder.ins(), to, x);
    t.push1(v);
}

/// CLIF masks the i32 shift amount to the lane width, as wasm does.
fn shift(t: &mut FuncTranslator<'_>, ty: Type, f: Binary) {
    let (x, amount) = t.pop2();
    let x = cast(t, x, ty);
    let v = f(t.builder.ins(), x, amount);
    t.push1(v);
}

fn int_compare(t: &mut FuncTranslator<'_>, ty: Type, cc: IntCC) {
    let (x, y) = pop2_as(t, ty);
    let v = t.builder.ins().icmp(cc, x, y);
    t.push1(v);
}

fn float_compare(t: &mut FuncTranslator<'_>, ty: Type, cc: FloatCC) {
    let (x, y) = pop2_as(t, ty);
    let v = t.builder.ins().fcmp(cc, x, y);
    t.push1(v);
}

fn test(t: &mut FuncTranslator<'_>, ty: Type, f: Unary) {
    let x = pop1_as(t, ty);
    let flag = f(t.builder.ins(), x);
    push_bool(t, flag);
}

fn bitmask(t: &mut FuncTranslator<'_>, ty: Type) {
    let x = pop1_as(t, ty);
    let v = t.builder.ins().vhigh_bits(I32, x);
    t.push1(v);
}

fn load(t: &mut FuncTranslator<'_>, memarg: &MemArg) {
    let v = load_value(t, memarg, I8X16);
    t.push1(v);
}

/// Here and below only the bytes of one lane are read: a full vector might cross the bound.
fn load_splat(t: &mut FuncTranslator<'_>, memarg: &MemArg, ty: Type) {
    let lane = load_value(t, memarg, ty.lane_type());
    let v = t.builder.ins().splat(ty, lane);
    t.push1(v);
}

fn load_zero(t: &mut FuncTranslator<'_>, memarg: &MemArg, ty: Type) {
    let lane = load_value(t, memarg, ty.lane_type());
    let v = t.builder.ins().scalar_to_vector(ty, lane);
    t.push1(v);
}

fn load_lane(t: &mut FuncTranslator<'_>, memarg: &MemArg, ty: Type, lane: u8) {
    let vector = pop1_as(t, ty);
    let value = load_value(t, memarg, ty.lane_type());
    let v = t.builder.ins().insertlane(vector, value, lane);
    t.push1(v);
}

fn store(t: &mut FuncTranslator<'_>, memarg: &MemArg) {
    let v = pop1_as(t, I8X16);
    store_value(t, memarg, v);
}

fn store_lane(t: &mut FuncTranslator<'_>, memarg: &MemArg, ty: Type, lane: u8) {
    let vector = pop1_as(t, ty);
    let v = t.builder.ins().extractlane(vector, lane);
    store_value(t, memarg, v);
}

/// Pops the index and stores `v` at that address.
fn store_value(t: &mut FuncTranslator<'_>, memarg: &MemArg, v: Value) {
    let size = t.builder.func.dfg.value_type(v).bytes() as u8;
    let index = t.pop1();
    let a = t.heap_access(memarg, index, size);
    t.builder.ins().store(a.flags, v, a.address, a.offset);
}

fn constant(t: &mut FuncTranslator<'_>, bytes: [u8; 16]) {
    let v = vconst(t, I8X16, bytes);
    t.push1(v);
}

fn vconst(t: &mut FuncTranslator<'_>, ty: Type, bytes: [u8; 16]) -> Value {
    let data = ConstantData::from(bytes.as_slice());
    let handle = t.builder.func.dfg.constants.insert(data);
    t.builder.ins().vconst(ty, handle)
}

fn shuffle(t: &mut FuncTranslator<'_>, lanes: &[u8; 16]) {
    let (x, y) = pop2_as(t, I8X16);
    let mask = ConstantData::from(lanes.as_slice());
    let mask = t.builder.func.dfg.immediates.push(mask);
    let v = t.builder.ins().shuffle(x, y, mask);
    t.push1(v);
}

/// Pops a scalar and reduces it to the lane type, because wasm has no type below i32.
fn pop_lane(t: &mut FuncTranslator<'_>, ty: Type) -> Value {
    let x = t.pop1();
    if ty.lane_bits() < 32 { t.builder.ins().ireduce(ty.lane_type(), x) } else { x }
}

fn splat(t: &mut FuncTranslator<'_>, ty: Type) {
    let x = pop_lane(t, ty);
    let v = t.builder.ins().splat(ty, x);
    t.push1(v);
}

fn extract(t: &mut FuncTranslator<'_>, ty: Type, lane: u8) {
    let vector = pop1_as(t, ty);
    let v = t.builder.ins().extractlane(vector, lane);
    t.push1(v);
}

fn extract_narrow(t: &mut FuncTranslator<'_>, ty: Type, lane: u8, extend: Convert) {
    let vector = pop1_as(t, ty);
    let value = t.builder.ins().extractlane(vector, lane);
    let v = extend(t.builder.ins(), I32, value);
    t.push1(v);
}

fn replace(t: &mut FuncTranslator<'_>, ty: Type, lane: u8) {
    let value = pop_lane(t, ty);
    let vector = pop1_as(t, ty);
    let v = t.builder.ins().insertlane(vector, value, lane);
    t.push1(v);
}

/// Bitwise operators have no lane type of their own. They take the type of the topmost operand, so that the
/// optimiser sees e.g. a comparison and its `select` without a cast in between.
fn bit_shape(t: &FuncTranslator<'_>) -> Type {
    t.builder.func.dfg.value_type(t.peek1()).as_int()
}

fn bit_not(t: &mut FuncTranslator<'_>) {
    let ty = bit_shape(t);
    unary(t, ty, ins::bnot);
}

fn bit_binary(t: &mut FuncTranslator<'_>, f: Binary) {
    let ty = bit_shape(t);
    binary(t, ty, f);
}

/// Also for every relaxed laneselect. If a mask is neither all ones nor all zeros, the spec allows selection
/// by bit or by the top bit.
fn bitselect(t: &mut FuncTranslator<'_>) {
    let ty = bit_shape(t);
    let (x, y, mask) = pop3_as(t, ty);
    let v = t.builder.ins().bitselect(mask, x, y);
    t.push1(v);
}

/// `y < x ? y : x`: for a NaN or zeros of both signs, the first operand.
fn pseudo_min(t: &mut FuncTranslator<'_>, ty: Type) {
    let (x, y) = pop2_as(t, ty);
    let less = t.builder.ins().fcmp(FloatCC::LessThan, y, x);
    choose(t, ty, less, y, x);
}

/// `x < y ? y : x`.
fn pseudo_max(t: &mut FuncTranslator<'_>, ty: Type) {
    let (x, y) = pop2_as(t, ty);
    let less = t.builder.ins().fcmp(FloatCC::LessThan, x, y);
    choose(t, ty, less, y, x);
}

/// The x64 backend matches this form, with the condition first cast to `ty`, as one `minps`/`maxps`.
fn choose(t: &mut FuncTranslator<'_>, ty: Type, mask: Value, if_true: Value, if_false: Value) {
    let mask = cast(t, mask, ty);
    let v = t.builder.ins().bitselect(mask, if_true, if_false);
    t.push1(v);
}

fn extadd(t: &mut FuncTranslator<'_>, ty: Type, low: Unary, high: Unary) {
    let x = pop1_as(t, ty);
    let v = pairwise_sum(t, x, low, high);
    t.push1(v);
}

/// Widens the lanes and adds neighbouring ones. The backends match the whole sequence.
fn pairwise_sum(t: &mut FuncTranslator<'_>, x: Value, low: Unary, high: Unary) -> Value {
    let low = low(t.builder.ins(), x);
    let high = high(t.builder.ins(), x);
    t.builder.ins().iadd_pairwise(low, high)
}

fn extmul(t: &mut FuncTranslator<'_>, ty: Type, widen: Unary) {
    let (x, y) = pop2_as(t, ty);
    let v = widened_product(t, x, y, widen);
    t.push1(v);
}

fn widened_product(t: &mut FuncTranslator<'_>, x: Value, y: Value, widen: Unary) -> Value {
    let x = widen(t.builder.ins(), x);
    let y = widen(t.builder.ins(), y);
    t.builder.ins().imul(x, y)
}

/// Signed products of `ty` lanes in lanes twice as wide. Neighbours are added with wrap-around.
fn dot(t: &mut FuncTranslator<'_>, ty: Type) {
    let (x, y) = pop2_as(t, ty);
    let low = widened_product(t, x, y, ins::swiden_low);
    let high = widened_product(t, x, y, ins::swiden_high);
    let v = t.builder.ins().iadd_pairwise(low, high);
    t.push1(v);
}

/// Four products per lane, added in 32 bits. A product fits in 16 bits, but the sum of two may not.
fn dot_add(t: &mut FuncTranslator<'_>) {
    let addend = pop1_as(t, I32X4);
    let (x, y) = pop2_as(t, I8X16);
    let low = widened_product(t, x, y, ins::swiden_low);
    let high = widened_product(t, x, y, ins::swiden_high);
    let low = pairwise_sum(t, low, ins::swiden_low, ins::swiden_high);
    let high = pairwise_sum(t, high, ins::swiden_low, ins::swiden_high);
    let sums = t.builder.ins().iadd_pairwise(low, high);
    let v = t.builder.ins().iadd(sums, addend);
    t.push1(v);
}

/// Converts two f64 to the low two i32, the others are zero. The x64 backend matches only the whole sequence,
/// including the zero constant: it has no separate f64x2 to i64x2 conversion.
fn trunc_sat_zero(t: &mut FuncTranslator<'_>, to_int: Convert, narrow: Binary) {
    let x = pop1_as(t, F64X2);
    let wide = to_int(t.builder.ins(), I64X2, x);
    let zero = vconst(t, I64X2, [0; 16]);
    let v = narrow(t.builder.ins(), wide, zero);
    t.push1(v);
}

fn convert_low(t: &mut FuncTranslator<'_>, widen: Unary, to_float: Convert) {
    let x = pop1_as(t, I32X4);
    let wide = widen(t.builder.ins(), x);
    let v = to_float(t.builder.ins(), F64X2, wide);
    t.push1(v);
}

/// Rounds twice. On x64 without the extension `fma` would be a libcall, and the choice must not depend on the
/// host.
fn multiply_add(t: &mut FuncTranslator<'_>, ty: Type) {
    let (x, y, z) = pop3_as(t, ty);
    let product = t.builder.ins().fmul(x, y);
    let v = t.builder.ins().fadd(product, z);
    t.push1(v);
}

fn negated_multiply_add(t: &mut FuncTranslator<'_>, ty: Type) {
    let (x, y, z) = pop3_as(t, ty);
    let minus_x = t.builder.ins().fneg(x);
    let product = t.builder.ins().fmul(minus_x, y);
    let v = t.builder.ins().fadd(product, z);
    t.push1(v);
}
