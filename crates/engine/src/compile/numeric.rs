//! Scalar operators: constants, arithmetic, comparisons, conversions, loads and stores.
//!
//! Called by `translate.rs` for every operator that it does not handle itself. `simd.rs` uses the helpers.
//! Invariant: guest memory is accessed only through `FuncTranslator::heap_access`, and in explicit trap mode
//! no instruction emitted here can fault.

use super::translate::FuncTranslator;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::immediates::{Ieee32, Ieee64};
use cranelift_codegen::ir::types::{F32, F64, I8, I16, I32, I64, I128};
use cranelift_codegen::ir::{InstBuilder, InstructionData, MemFlagsData, Opcode, TrapCode, Type, Value};
use cranelift_frontend::FuncInstBuilder;
use wasmparser::{MemArg, Operator};

pub(super) type Unary = for<'s, 'l> fn(FuncInstBuilder<'s, 'l>, Value) -> Value;
pub(super) type Binary = for<'s, 'l> fn(FuncInstBuilder<'s, 'l>, Value, Value) -> Value;
pub(super) type Convert = for<'s, 'l> fn(FuncInstBuilder<'s, 'l>, Type, Value) -> Value;
pub(super) type Load = for<'s, 'l> fn(FuncInstBuilder<'s, 'l>, MemFlagsData, Value, i32) -> Value;

/// Cranelift's instructions as plain functions, to be passed to helpers by name.
pub(super) mod ins {
    use super::{FuncInstBuilder, InstBuilder, Type, Value};

    macro_rules! plain {
        ($($name:ident($($arg:ident: $ty:ty),*);)*) => {
            $(pub fn $name(b: FuncInstBuilder<'_, '_>, $($arg: $ty),*) -> Value {
                b.$name($($arg),*)
            })*
        };
    }

    plain! {
        clz(x: Value);
        ctz(x: Value);
        popcnt(x: Value);
        ineg(x: Value);
        iabs(x: Value);
        iadd(x: Value, y: Value);
        isub(x: Value, y: Value);
        imul(x: Value, y: Value);
        sadd_sat(x: Value, y: Value);
        uadd_sat(x: Value, y: Value);
        ssub_sat(x: Value, y: Value);
        usub_sat(x: Value, y: Value);
        smin(x: Value, y: Value);
        umin(x: Value, y: Value);
        smax(x: Value, y: Value);
        umax(x: Value, y: Value);
        avg_round(x: Value, y: Value);
        sqmul_round_sat(x: Value, y: Value);
        snarrow(x: Value, y: Value);
        unarrow(x: Value, y: Value);
        uunarrow(x: Value, y: Value);
        swiden_low(x: Value);
        swiden_high(x: Value);
        uwiden_low(x: Value);
        uwiden_high(x: Value);
        vall_true(x: Value);
        vany_true(x: Value);
        swizzle(x: Value, y: Value);
        band(x: Value, y: Value);
        bor(x: Value, y: Value);
        bxor(x: Value, y: Value);
        band_not(x: Value, y: Value);
        bnot(x: Value);
        ishl(x: Value, y: Value);
        sshr(x: Value, y: Value);
        ushr(x: Value, y: Value);
        rotl(x: Value, y: Value);
        rotr(x: Value, y: Value);
        fabs(x: Value);
        fneg(x: Value);
        ceil(x: Value);
        floor(x: Value);
        trunc(x: Value);
        nearest(x: Value);
        sqrt(x: Value);
        fadd(x: Value, y: Value);
        fsub(x: Value, y: Value);
        fmul(x: Value, y: Value);
        fdiv(x: Value, y: Value);
        fmin(x: Value, y: Value);
        fmax(x: Value, y: Value);
        fcopysign(x: Value, y: Value);
        fvpromote_low(x: Value);
        fvdemote(x: Value);
        ireduce(to: Type, x: Value);
        sextend(to: Type, x: Value);
        uextend(to: Type, x: Value);
        fpromote(to: Type, x: Value);
        fdemote(to: Type, x: Value);
        fcvt_from_sint(to: Type, x: Value);
        fcvt_from_uint(to: Type, x: Value);
        fcvt_to_sint_sat(to: Type, x: Value);
        fcvt_to_uint_sat(to: Type, x: Value);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Signed,
    Unsigned,
}
use Sign::{Signed, Unsigned};

/// Translates a scalar numeric, conversion, comparison, load or store operator. Does nothing and returns
/// false for any other operator.
pub(super) fn translate(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    use Operator as Op;
    match op {
        Op::I32Const { value } => int_const(t, I32, i64::from(*value)),
        Op::I64Const { value } => int_const(t, I64, *value),
        Op::F32Const { value } => {
            let v = t.builder.ins().f32const(Ieee32::with_bits(value.bits()));
            t.push1(v);
        }
        Op::F64Const { value } => {
            let v = t.builder.ins().f64const(Ieee64::with_bits(value.bits()));
            t.push1(v);
        }

        Op::I32Load { memarg } => load(t, memarg, I32),
        Op::I64Load { memarg } => load(t, memarg, I64),
        Op::F32Load { memarg } => load(t, memarg, F32),
        Op::F64Load { memarg } => load(t, memarg, F64),
        Op::I32Load8S { memarg } => load_with(t, memarg, 1, |b, f, p, o| b.sload8(I32, f, p, o)),
        Op::I32Load8U { memarg } => load_with(t, memarg, 1, |b, f, p, o| b.uload8(I32, f, p, o)),
        Op::I32Load16S { memarg } => load_with(t, memarg, 2, |b, f, p, o| b.sload16(I32, f, p, o)),
        Op::I32Load16U { memarg } => load_with(t, memarg, 2, |b, f, p, o| b.uload16(I32, f, p, o)),
        Op::I64Load8S { memarg } => load_with(t, memarg, 1, |b, f, p, o| b.sload8(I64, f, p, o)),
        Op::I64Load8U { memarg } => load_with(t, memarg, 1, |b, f, p, o| b.uload8(I64, f, p, o)),
        Op::I64Load16S { memarg } => load_with(t, memarg, 2, |b, f, p, o| b.sload16(I64, f, p, o)),
        Op::I64Load16U { memarg } => load_with(t, memarg, 2, |b, f, p, o| b.uload16(I64, f, p, o)),
        Op::I64Load32S { memarg } => load_with(t, memarg, 4, |b, f, p, o| b.sload32(f, p, o)),
        Op::I64Load32U { memarg } => load_with(t, memarg, 4, |b, f, p, o| b.uload32(f, p, o)),

        Op::I32Store { memarg } | Op::F32Store { memarg } => store(t, memarg, 4),
        Op::I64Store { memarg } | Op::F64Store { memarg } => store(t, memarg, 8),
        Op::I32Store8 { memarg } | Op::I64Store8 { memarg } => store_narrow(t, memarg, I8),
        Op::I32Store16 { memarg } | Op::I64Store16 { memarg } => store_narrow(t, memarg, I16),
        Op::I64Store32 { memarg } => store_narrow(t, memarg, I32),

        Op::I32Eqz | Op::I64Eqz => eqz(t),
        Op::I32Eq | Op::I64Eq => int_compare(t, IntCC::Equal),
        Op::I32Ne | Op::I64Ne => int_compare(t, IntCC::NotEqual),
        Op::I32LtS | Op::I64LtS => int_compare(t, IntCC::SignedLessThan),
        Op::I32LtU | Op::I64LtU => int_compare(t, IntCC::UnsignedLessThan),
        Op::I32GtS | Op::I64GtS => int_compare(t, IntCC::SignedGreaterThan),
        Op::I32GtU | Op::I64GtU => int_compare(t, IntCC::UnsignedGreaterThan),
        Op::I32LeS | Op::I64LeS => int_compare(t, IntCC::SignedLessThanOrEqual),
        Op::I32LeU | Op::I64LeU => int_compare(t, IntCC::UnsignedLessThanOrEqual),
        Op::I32GeS | Op::I64GeS => int_compare(t, IntCC::SignedGreaterThanOrEqual),
        Op::I32GeU | Op::I64GeU => int_compare(t, IntCC::UnsignedGreaterThanOrEqual),
        Op::F32Eq | Op::F64Eq => float_compare(t, FloatCC::Equal),
        Op::F32Ne | Op::F64Ne => float_compare(t, FloatCC::NotEqual),
        Op::F32Lt | Op::F64Lt => float_compare(t, FloatCC::LessThan),
        Op::F32Gt | Op::F64Gt => float_compare(t, FloatCC::GreaterThan),
        Op::F32Le | Op::F64Le => float_compare(t, FloatCC::LessThanOrEqual),
        Op::F32Ge | Op::F64Ge => float_compare(t, FloatCC::GreaterThanOrEqual),

        Op::I32Clz | Op::I64Clz => unary(t, ins::clz),
        Op::I32Ctz | Op::I64Ctz => unary(t, ins::ctz),
        Op::I32Popcnt | Op::I64Popcnt => unary(t, ins::popcnt),
        Op::I32Add | Op::I64Add => binary(t, ins::iadd),
        Op::I32Sub | Op::I64Sub => binary(t, ins::isub),
        Op::I32Mul | Op::I64Mul => binary(t, ins::imul),
        Op::I32DivS | Op::I64DivS => div_s(t),
        Op::I32DivU | Op::I64DivU => divide(t, |b, x, y| b.udiv(x, y)),
        // INT_MIN % -1 is 0: `srem` is defined that way and handles the case itself, unlike `sdiv`.
        Op::I32RemS | Op::I64RemS => divide(t, |b, x, y| b.srem(x, y)),
        Op::I32RemU | Op::I64RemU => divide(t, |b, x, y| b.urem(x, y)),
        Op::I32And | Op::I64And => binary(t, ins::band),
        Op::I32Or | Op::I64Or => binary(t, ins::bor),
        Op::I32Xor | Op::I64Xor => binary(t, ins::bxor),
        // CLIF masks shift and rotate amounts to the operand's width, as wasm does.
        Op::I32Shl | Op::I64Shl => binary(t, ins::ishl),
        Op::I32ShrS | Op::I64ShrS => binary(t, ins::sshr),
        Op::I32ShrU | Op::I64ShrU => binary(t, ins::ushr),
        Op::I32Rotl | Op::I64Rotl => binary(t, ins::rotl),
        Op::I32Rotr | Op::I64Rotr => binary(t, ins::rotr),

        Op::F32Abs | Op::F64Abs => unary(t, ins::fabs),
        Op::F32Neg | Op::F64Neg => unary(t, ins::fneg),
        Op::F32Ceil | Op::F64Ceil => unary(t, ins::ceil),
        Op::F32Floor | Op::F64Floor => unary(t, ins::floor),
        Op::F32Trunc | Op::F64Trunc => unary(t, ins::trunc),
        Op::F32Nearest | Op::F64Nearest => unary(t, ins::nearest),
        Op::F32Sqrt | Op::F64Sqrt => unary(t, ins::sqrt),
        Op::F32Add | Op::F64Add => binary(t, ins::fadd),
        Op::F32Sub | Op::F64Sub => binary(t, ins::fsub),
        Op::F32Mul | Op::F64Mul => binary(t, ins::fmul),
        Op::F32Div | Op::F64Div => binary(t, ins::fdiv),
        Op::F32Min | Op::F64Min => binary(t, ins::fmin),
        Op::F32Max | Op::F64Max => binary(t, ins::fmax),
        Op::F32Copysign | Op::F64Copysign => binary(t, ins::fcopysign),

        Op::I32WrapI64 => convert(t, I32, ins::ireduce),
        Op::I64ExtendI32S => convert(t, I64, ins::sextend),
        Op::I64ExtendI32U => convert(t, I64, ins::uextend),
        Op::I32Extend8S => sign_extend(t, I8, I32),
        Op::I32Extend16S => sign_extend(t, I16, I32),
        Op::I64Extend8S => sign_extend(t, I8, I64),
        Op::I64Extend16S => sign_extend(t, I16, I64),
        Op::I64Extend32S => sign_extend(t, I32, I64),

        Op::I32TruncF32S | Op::I32TruncF64S => trunc(t, I32, Signed),
        Op::I32TruncF32U | Op::I32TruncF64U => trunc(t, I32, Unsigned),
        Op::I64TruncF32S | Op::I64TruncF64S => trunc(t, I64, Signed),
        Op::I64TruncF32U | Op::I64TruncF64U => trunc(t, I64, Unsigned),
        Op::I32TruncSatF32S | Op::I32TruncSatF64S => convert(t, I32, ins::fcvt_to_sint_sat),
        Op::I32TruncSatF32U | Op::I32TruncSatF64U => convert(t, I32, ins::fcvt_to_uint_sat),
        Op::I64TruncSatF32S | Op::I64TruncSatF64S => convert(t, I64, ins::fcvt_to_sint_sat),
        Op::I64TruncSatF32U | Op::I64TruncSatF64U => convert(t, I64, ins::fcvt_to_uint_sat),

        Op::F32ConvertI32S | Op::F32ConvertI64S => convert(t, F32, ins::fcvt_from_sint),
        Op::F32ConvertI32U | Op::F32ConvertI64U => convert(t, F32, ins::fcvt_from_uint),
        Op::F64ConvertI32S | Op::F64ConvertI64S => convert(t, F64, ins::fcvt_from_sint),
        Op::F64ConvertI32U | Op::F64ConvertI64U => convert(t, F64, ins::fcvt_from_uint),
        Op::F32DemoteF64 => convert(t, F32, ins::fdemote),
        Op::F64PromoteF32 => convert(t, F64, ins::fpromote),
        Op::I32ReinterpretF32 => convert(t, I32, reinterpret),
        Op::I64ReinterpretF64 => convert(t, I64, reinterpret),
        Op::F32ReinterpretI32 => convert(t, F32, reinterpret),
        Op::F64ReinterpretI64 => convert(t, F64, reinterpret),

        Op::I64Add128 => wide_binary(t, ins::iadd),
        Op::I64Sub128 => wide_binary(t, ins::isub),
        Op::I64MulWideS => mul_wide(t, ins::sextend),
        Op::I64MulWideU => mul_wide(t, ins::uextend),

        _ => return false,
    }
    true
}

/// CLIF requires the immediate of a narrow `iconst` to be zero-extended.
fn iconst(t: &mut FuncTranslator<'_>, ty: Type, value: i64) -> Value {
    let bits = if ty == I32 { value & 0xffff_ffff } else { value };
    t.builder.ins().iconst(ty, bits)
}

fn int_const(t: &mut FuncTranslator<'_>, ty: Type, value: i64) {
    let v = iconst(t, ty, value);
    t.push1(v);
}

fn type_of(t: &FuncTranslator<'_>, v: Value) -> Type {
    t.builder.func.dfg.value_type(v)
}

/// The low bits of `v` (sign-extended) if it is a constant in the guest's code.
fn as_const(t: &FuncTranslator<'_>, v: Value) -> Option<i64> {
    let dfg = &t.builder.func.dfg;
    let inst = dfg.value_def(v).inst()?;
    match dfg.insts[inst] {
        InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => {
            let shift = 64 - dfg.value_type(v).bits().min(64);
            Some(imm.bits() << shift >> shift)
        }
        _ => None,
    }
}

fn unary(t: &mut FuncTranslator<'_>, f: Unary) {
    let x = t.pop1();
    let v = f(t.builder.ins(), x);
    t.push1(v);
}

fn binary(t: &mut FuncTranslator<'_>, f: Binary) {
    let (x, y) = t.pop2();
    let v = f(t.builder.ins(), x, y);
    t.push1(v);
}

fn convert(t: &mut FuncTranslator<'_>, to: Type, f: Convert) {
    let x = t.pop1();
    let v = f(t.builder.ins(), to, x);
    t.push1(v);
}

fn reinterpret(b: FuncInstBuilder<'_, '_>, to: Type, x: Value) -> Value {
    b.bitcast(to, MemFlagsData::new(), x)
}

fn sign_extend(t: &mut FuncTranslator<'_>, from: Type, to: Type) {
    let x = t.pop1();
    let low = t.builder.ins().ireduce(from, x);
    let v = t.builder.ins().sextend(to, low);
    t.push1(v);
}

/// Pushes a CLIF boolean as a wasm i32. Cranelift removes the extension in a branch on it.
pub(super) fn push_bool(t: &mut FuncTranslator<'_>, flag: Value) {
    let v = t.builder.ins().uextend(I32, flag);
    t.push1(v);
}

fn eqz(t: &mut FuncTranslator<'_>) {
    let x = t.pop1();
    let zero = iconst(t, type_of(t, x), 0);
    let flag = t.builder.ins().icmp(IntCC::Equal, x, zero);
    push_bool(t, flag);
}

fn int_compare(t: &mut FuncTranslator<'_>, cc: IntCC) {
    let (x, y) = t.pop2();
    let flag = t.builder.ins().icmp(cc, x, y);
    push_bool(t, flag);
}

fn float_compare(t: &mut FuncTranslator<'_>, cc: FloatCC) {
    let (x, y) = t.pop2();
    let flag = t.builder.ins().fcmp(cc, x, y);
    push_bool(t, flag);
}

fn load(t: &mut FuncTranslator<'_>, memarg: &MemArg, ty: Type) {
    let v = load_value(t, memarg, ty);
    t.push1(v);
}

/// Pops the index and loads a `ty` of at most 16 bytes. The caller processes the value.
pub(super) fn load_value(t: &mut FuncTranslator<'_>, memarg: &MemArg, ty: Type) -> Value {
    let index = t.pop1();
    let a = t.heap_access(memarg, index, ty.bytes() as u8);
    t.builder.ins().load(ty, a.flags, a.address, a.offset)
}

/// Pops the index and pushes the result of `f`, which reads `size` bytes at that address.
pub(super) fn load_with(t: &mut FuncTranslator<'_>, memarg: &MemArg, size: u8, f: Load) {
    let index = t.pop1();
    let a = t.heap_access(memarg, index, size);
    let v = f(t.builder.ins(), a.flags, a.address, a.offset);
    t.push1(v);
}

fn store(t: &mut FuncTranslator<'_>, memarg: &MemArg, size: u8) {
    let (index, x) = t.pop2();
    let a = t.heap_access(memarg, index, size);
    t.builder.ins().store(a.flags, x, a.address, a.offset);
}

/// Stores the low part of an integer. Cranelift has an instruction for that, too, but without a form for
/// constants.
fn store_narrow(t: &mut FuncTranslator<'_>, memarg: &MemArg, ty: Type) {
    let (index, x) = t.pop2();
    let a = t.heap_access(memarg, index, ty.bytes() as u8);
    let x = t.builder.ins().ireduce(ty, x);
    t.builder.ins().store(a.flags, x, a.address, a.offset);
}

fn divide(t: &mut FuncTranslator<'_>, f: Binary) {
    let (x, y) = t.pop2();
    guard_zero(t, y);
    let v = f(t.builder.ins(), x, y);
    t.push1(v);
}

fn div_s(t: &mut FuncTranslator<'_>) {
    let (x, y) = t.pop2();
    guard_zero(t, y);
    guard_overflow(t, x, y);
    let v = t.builder.ins().sdiv(x, y);
    t.push1(v);
}

fn guard_zero(t: &mut FuncTranslator<'_>, divisor: Value) {
    let harmless = as_const(t, divisor).is_some_and(|c| c != 0);
    if t.explicit_traps() && !harmless {
        t.trapz(divisor, TrapCode::INTEGER_DIVISION_BY_ZERO);
    }
}

/// Guards the only quotient that does not fit: INT_MIN / -1.
fn guard_overflow(t: &mut FuncTranslator<'_>, dividend: Value, divisor: Value) {
    let harmless = as_const(t, divisor).is_some_and(|c| c != -1);
    if !t.explicit_traps() || harmless {
        return;
    }
    let ty = type_of(t, divisor);
    let min = iconst(t, ty, if ty == I32 { i64::from(i32::MIN) } else { i64::MIN });
    let minus_one = iconst(t, ty, -1);
    let is_min = t.builder.ins().icmp(IntCC::Equal, dividend, min);
    let is_minus_one = t.builder.ins().icmp(IntCC::Equal, divisor, minus_one);
    let overflow = t.builder.ins().band(is_min, is_minus_one);
    t.trapnz(overflow, TrapCode::INTEGER_OVERFLOW);
}

/// Trapping float to integer conversion.
fn trunc(t: &mut FuncTranslator<'_>, to: Type, sign: Sign) {
    let x = t.pop1();
    let explicit = t.explicit_traps();
    if explicit {
        guard_trunc(t, x, to, sign);
    }
    // After the guards no input can saturate, and the saturating forms cannot fault.
    let v = match (explicit, sign) {
        (true, Signed) => t.builder.ins().fcvt_to_sint_sat(to, x),
        (true, Unsigned) => t.builder.ins().fcvt_to_uint_sat(to, x),
        (false, Signed) => t.builder.ins().fcvt_to_sint(to, x),
        (false, Unsigned) => t.builder.ins().fcvt_to_uint(to, x),
    };
    t.push1(v);
}

fn guard_trunc(t: &mut FuncTranslator<'_>, x: Value, to: Type, sign: Sign) {
    let nan = t.builder.ins().fcmp(FloatCC::Unordered, x, x);
    t.trapnz(nan, TrapCode::BAD_CONVERSION_TO_INTEGER);

    let from = type_of(t, x);
    let (above, low, high) = trunc_range(from, to, sign);
    let low = float_const(t, from, low);
    let high = float_const(t, from, high);
    let above_low = t.builder.ins().fcmp(above, x, low);
    let below_high = t.builder.ins().fcmp(FloatCC::LessThan, x, high);
    let in_range = t.builder.ins().band(above_low, below_high);
    t.trapz(in_range, TrapCode::INTEGER_OVERFLOW);
}

/// The range of floats that truncate into the integer type: `(how x must compare with low, low, high)`, where
/// `high` is excluded. Each bound is exact in `from`. The lower one is the last float that does not fit if
/// that is representable, else INT_MIN itself.
fn trunc_range(from: Type, to: Type, sign: Sign) -> (FloatCC, f64, f64) {
    let (above, low) = match sign {
        Unsigned => (FloatCC::GreaterThan, -1.0),
        Signed if to == I32 && from == F64 => (FloatCC::GreaterThan, -2_147_483_649.0),
        Signed if to == I32 => (FloatCC::GreaterThanOrEqual, -2_147_483_648.0),
        Signed => (FloatCC::GreaterThanOrEqual, -9_223_372_036_854_775_808.0),
    };
    let high = match (sign, to == I32) {
        (Signed, true) => 2_147_483_648.0,
        (Signed, false) => 9_223_372_036_854_775_808.0,
        (Unsigned, true) => 4_294_967_296.0,
        (Unsigned, false) => 18_446_744_073_709_551_616.0,
    };
    (above, low, high)
}

fn float_const(t: &mut FuncTranslator<'_>, ty: Type, value: f64) -> Value {
    if ty == F32 {
        t.builder.ins().f32const(Ieee32::with_float(value as f32))
    } else {
        t.builder.ins().f64const(Ieee64::with_float(value))
    }
}

/// 128-bit sum or difference of two pairs of i64, each low half first.
fn wide_binary(t: &mut FuncTranslator<'_>, f: Binary) {
    let (y_low, y_high) = t.pop2();
    let (x_low, x_high) = t.pop2();
    let x = t.builder.ins().iconcat(x_low, x_high);
    let y = t.builder.ins().iconcat(y_low, y_high);
    let v = f(t.builder.ins(), x, y);
    push_wide(t, v);
}

fn mul_wide(t: &mut FuncTranslator<'_>, extend: Convert) {
    let (x, y) = t.pop2();
    let x = extend(t.builder.ins(), I128, x);
    let y = extend(t.builder.ins(), I128, y);
    let v = t.builder.ins().imul(x, y);
    push_wide(t, v);
}

fn push_wide(t: &mut FuncTranslator<'_>, v: Value) {
    let (low, high) = t.builder.ins().isplit(v);
    t.push1(low);
    t.push1(high);
}
