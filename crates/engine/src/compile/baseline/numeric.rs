//! Scalar operators of the first tier: constants, arithmetic, comparisons, conversions, loads and stores.
//!
//! Part of its translator. Invariant: guest memory is accessed only at an address from [`Baseline::address`], by an
//! instruction that [`Baseline::may_fault`] knows of.

use super::asm::*;
use super::values::{FLOAT_SCRATCH, FLOAT_SCRATCH2, Place, Ty, Value};
use super::{Baseline, MEMORY, Refused, Result, SCRATCH, SCRATCH2, VMCTX};
use crate::abi::{MemoryStyle, TrapCode, offsets};
use crate::compile::bounds;
use crate::compile::environ::index;
use crate::parse::info::MemoryIndex;
use wasmparser::{MemArg, Operator};

/// What a load reads.
#[derive(Clone, Copy)]
enum Load {
    Whole(Ty),
    /// Extended to the type.
    Unsigned8,
    Unsigned16,
    Signed8(W),
    Signed16(W),
    Signed32,
}

impl Load {
    fn size(self) -> u64 {
        match self {
            Load::Whole(ty) if ty.is_wide() => 8,
            Load::Whole(_) | Load::Signed32 => 4,
            Load::Unsigned16 | Load::Signed16(_) => 2,
            Load::Unsigned8 | Load::Signed8(_) => 1,
        }
    }
}

impl Baseline<'_> {
    /// The place of an access of `size` bytes. `address` is the register that belongs to it. The place uses no scratch
    /// register but the first.
    pub(super) fn address(&mut self, memarg: &MemArg, size: u64) -> Result<(Rm, Reg)> {
        let wasmparser::MemArgTarget::Memory(memory) = memarg.target else { return Err(Refused::Unknown) };
        let memory = index::<MemoryIndex>(memory);
        let style = self.module.tunables.style_of(&self.module.info.memories[memory]);
        if style != MemoryStyle::Reserved || !bounds::is_guarded(memarg.offset, size) {
            return Err(Refused::Unknown);
        }
        let address = self.values.pop_int(&mut self.asm);
        let field = self.module.offsets.memory(memory) + offsets::memory::BASE;
        let base = if memory.as_u32() == 0 {
            MEMORY
        } else {
            self.asm.mov(W::Q, SCRATCH, Rm::Mem(VMCTX, field));
            SCRATCH
        };
        // An offset that needs no check fits.
        Ok((Rm::Index(base, address, memarg.offset as i32), address))
    }

    fn load(&mut self, memarg: &MemArg, ty: Ty, load: Load) -> Result {
        let (from, address) = self.address(memarg, load.size())?;
        let asm = &mut self.asm;
        if ty.is_float() {
            let to = self.values.take_float(asm);
            self.may_fault(TrapCode::MemoryOutOfBounds);
            self.asm.sse(ty.prefix(), 0x10, to, from);
            self.values.release(address);
            self.values.push(&mut self.asm, ty, Place::Float(to));
            return Ok(());
        }
        self.may_fault(TrapCode::MemoryOutOfBounds);
        let asm = &mut self.asm;
        match load {
            Load::Whole(ty) => asm.mov(ty.width(), address, from),
            Load::Unsigned8 => asm.movzx8(address, from),
            Load::Unsigned16 => asm.movzx16(address, from),
            Load::Signed8(w) => asm.movsx8(w, address, from),
            Load::Signed16(w) => asm.movsx16(w, address, from),
            Load::Signed32 => asm.movsx32(address, from),
        }
        self.values.push(asm, ty, Place::Int(address));
        Ok(())
    }

    /// Stores the `size` low bytes of an operand.
    fn store(&mut self, memarg: &MemArg, size: u64) -> Result {
        let value = self.values.pop();
        // In a register before the access: the instruction that may fault is the only one of its operator that writes.
        let from = if value.ty.is_float() {
            self.values.float(&mut self.asm, value)
        } else {
            self.values.int(&mut self.asm, value)
        };
        let (to, address) = self.address(memarg, size)?;
        self.may_fault(TrapCode::MemoryOutOfBounds);
        let asm = &mut self.asm;
        if value.ty.is_float() {
            asm.sse(value.ty.prefix(), 0x11, from, to);
            self.values.release_float(from);
        } else {
            match size {
                1 => asm.store8(to, from),
                2 => asm.store16(to, from),
                4 => asm.store(W::D, to, from),
                _ => asm.store(W::Q, to, from),
            }
            self.values.release(from);
        }
        self.values.release(address);
        Ok(())
    }

    fn constant(&mut self, ty: Ty, bits: u64) {
        self.values.push(&mut self.asm, ty, Place::Const(bits));
    }

    /// The constant as an immediate operand.
    fn immediate(value: Value) -> Option<i32> {
        match value.place {
            Place::Const(bits) if value.ty == Ty::I32 => Some(bits as i32),
            Place::Const(bits) => i32::try_from(bits as i64).ok(),
            _ => None,
        }
    }

    /// The two topmost operands, the deeper one first. With `commutes` one in a register comes first.
    fn pop2(&mut self, commutes: bool) -> (Value, Value) {
        let (b, a) = (self.values.pop(), self.values.pop());
        let swaps = matches!(
            (a.place, b.place),
            (Place::Const(_), _) | (Place::Frame(_), Place::Int(_) | Place::Float(_))
        );
        if commutes && swaps { (b, a) } else { (a, b) }
    }

    fn alu(&mut self, ty: Ty, alu: Alu) {
        let (a, b) = self.pop2(!matches!(alu, Alu::Sub));
        let to = self.values.int(&mut self.asm, a);
        match Self::immediate(b) {
            Some(value) => self.asm.alu_imm(alu, ty.width(), Rm::Reg(to), value),
            None => {
                let from = self.values.operand(&mut self.asm, b);
                self.asm.alu(alu, ty.width(), to, from);
                self.values.release_operand(from, ty);
            }
        }
        self.values.push(&mut self.asm, ty, Place::Int(to));
    }

    fn mul(&mut self, ty: Ty) {
        let (a, b) = self.pop2(true);
        let to = match Self::immediate(b) {
            Some(value) => {
                let from = self.values.operand(&mut self.asm, a);
                let to = match from {
                    Rm::Reg(reg) => reg,
                    _ => self.values.take(&mut self.asm),
                };
                self.asm.imul_imm(ty.width(), to, from, value);
                to
            }
            None => {
                let to = self.values.int(&mut self.asm, a);
                let from = self.values.operand(&mut self.asm, b);
                self.asm.imul(ty.width(), to, from);
                self.values.release_operand(from, ty);
                to
            }
        };
        self.values.push(&mut self.asm, ty, Place::Int(to));
    }

    fn compare(&mut self, ty: Ty, cc: Cc) {
        let (b, a) = (self.values.pop(), self.values.pop());
        match (Self::immediate(b), a.place) {
            (Some(value), Place::Frame(_)) => {
                let a = self.values.operand(&mut self.asm, a);
                self.asm.alu_imm(Alu::Cmp, ty.width(), a, value);
            }
            (Some(value), _) => {
                let a = self.values.int(&mut self.asm, a);
                self.asm.alu_imm(Alu::Cmp, ty.width(), Rm::Reg(a), value);
                self.values.release(a);
            }
            (None, _) => {
                let a = self.values.int(&mut self.asm, a);
                let b = self.values.operand(&mut self.asm, b);
                self.asm.alu(Alu::Cmp, ty.width(), a, b);
                self.values.release(a);
                self.values.release_operand(b, ty);
            }
        }
        self.condition = Some(cc);
    }

    fn eqz(&mut self, ty: Ty) {
        if let Some(condition) = self.condition.filter(|_| ty == Ty::I32) {
            self.condition = Some(condition.not());
            return;
        }
        self.constant(ty, 0);
        self.compare(ty, Cc::E);
    }

    fn shift(&mut self, ty: Ty, shift: Shift) {
        let (b, a) = (self.values.pop(), self.values.pop());
        if let Place::Const(by) = b.place {
            let to = self.values.int(&mut self.asm, a);
            let mask = if ty.is_wide() { 63 } else { 31 };
            self.asm.shift_imm(shift, ty.width(), to, by as u8 & mask);
            self.values.push(&mut self.asm, ty, Place::Int(to));
            return;
        }
        self.values.load_into(&mut self.asm, SCRATCH, b);
        self.values.forget(b);
        let mut to = self.values.int(&mut self.asm, a);
        if to == RCX {
            self.asm.mov(W::Q, SCRATCH2, Rm::Reg(RCX));
            to = SCRATCH2;
        } else {
            self.values.evict(&mut self.asm, RCX);
        }
        self.asm.mov(W::D, RCX, Rm::Reg(SCRATCH));
        self.asm.shift_cl(shift, ty.width(), to);
        if to == SCRATCH2 {
            self.asm.mov(W::Q, RCX, Rm::Reg(SCRATCH2));
            to = RCX;
        }
        self.values.push(&mut self.asm, ty, Place::Int(to));
    }

    fn div(&mut self, ty: Ty, signed: bool, rem: bool) {
        let (b, a) = (self.values.pop(), self.values.pop());
        let w = ty.width();
        self.values.evict(&mut self.asm, RAX);
        self.values.evict(&mut self.asm, RDX);
        self.values.load_into(&mut self.asm, SCRATCH, b);
        self.values.load_into(&mut self.asm, RAX, a);
        self.values.forget(a);
        self.values.forget(b);
        self.asm.test(w, SCRATCH, SCRATCH);
        self.trap_if(Cc::E, TrapCode::IntegerDivideByZero);
        if signed {
            self.asm.alu_imm(Alu::Cmp, w, Rm::Reg(SCRATCH), -1);
            let usual = self.skip_if(Cc::NE);
            if rem {
                // The remainder is 0, also where the processor would fault.
                self.asm.mov_imm(RDX, 0);
                let done = self.asm.jmp();
                self.land(usual);
                self.asm.cdq(w);
                self.asm.div(w, true, SCRATCH);
                self.land(done);
            } else {
                self.asm.mov_imm(SCRATCH2, if ty.is_wide() { 1 << 63 } else { 1 << 31 });
                self.asm.alu(Alu::Cmp, w, RAX, Rm::Reg(SCRATCH2));
                self.trap_if(Cc::E, TrapCode::IntegerOverflow);
                self.land(usual);
                self.asm.cdq(w);
                self.asm.div(w, true, SCRATCH);
            }
        } else {
            self.asm.mov_imm(RDX, 0);
            self.asm.div(w, false, SCRATCH);
        }
        // Both registers were free, or belonged to the operands.
        self.values.release(RAX);
        self.values.release(RDX);
        self.values.push_register(&mut self.asm, ty, if rem { RDX } else { RAX });
    }

    /// `clz` and `ctz`.
    fn count_zeros(&mut self, ty: Ty, leading: bool) {
        let value = self.values.pop();
        let from = self.values.operand(&mut self.asm, value);
        let to = match from {
            Rm::Reg(reg) => reg,
            _ => self.values.take(&mut self.asm),
        };
        let bits = if ty.is_wide() { 64 } else { 32 };
        if leading {
            self.asm.mov_imm(SCRATCH, 2 * bits - 1);
            self.asm.bsr(ty.width(), to, from);
            self.asm.cmov(Cc::E, ty.width(), to, Rm::Reg(SCRATCH));
            self.asm.alu_imm(Alu::Xor, ty.width(), Rm::Reg(to), bits as i32 - 1);
        } else {
            self.asm.mov_imm(SCRATCH, bits);
            self.asm.bsf(ty.width(), to, from);
            self.asm.cmov(Cc::E, ty.width(), to, Rm::Reg(SCRATCH));
        }
        self.values.push(&mut self.asm, ty, Place::Int(to));
    }

    fn popcnt(&mut self, ty: Ty) -> Result {
        let flags = self.module.isa.isa_flags();
        if !flags.iter().any(|flag| flag.name == "has_popcnt" && flag.as_bool() == Some(true)) {
            return Err(Refused::Unknown);
        }
        let to = self.values.pop_int(&mut self.asm);
        self.asm.popcnt(ty.width(), to, Rm::Reg(to));
        self.values.push(&mut self.asm, ty, Place::Int(to));
        Ok(())
    }

    /// Replaces an integer by another one.
    fn convert(&mut self, ty: Ty, emit: fn(&mut Asm, Reg)) {
        let reg = self.values.pop_int(&mut self.asm);
        emit(&mut self.asm, reg);
        self.values.push(&mut self.asm, ty, Place::Int(reg));
    }

    // --- floats ---

    fn float_binary(&mut self, ty: Ty, opcode: u8, commutes: bool) {
        let (a, b) = self.pop2(commutes);
        let to = self.values.float(&mut self.asm, a);
        let from = self.values.operand(&mut self.asm, b);
        self.asm.sse(ty.prefix(), opcode, to, from);
        self.values.release_operand(from, ty);
        self.values.push(&mut self.asm, ty, Place::Float(to));
    }

    fn float_unary(&mut self, ty: Ty, emit: impl FnOnce(&mut Asm, Reg)) {
        let value = self.values.pop();
        let reg = self.values.float(&mut self.asm, value);
        emit(&mut self.asm, reg);
        self.values.push(&mut self.asm, ty, Place::Float(reg));
    }

    /// `abs`, or `neg` with the opcode of `xorps`.
    fn sign(&mut self, ty: Ty, opcode: u8) {
        let sign: u64 = if ty.is_wide() { 1 << 63 } else { 1 << 31 };
        let mask = if opcode == 0x57 { sign } else { !sign };
        self.float_unary(ty, |asm, reg| {
            asm.mov_imm(SCRATCH2, mask);
            asm.sse_q(0x66, 0x6e, FLOAT_SCRATCH, Rm::Reg(SCRATCH2));
            asm.sse(0, opcode, reg, Rm::Reg(FLOAT_SCRATCH));
        });
    }

    /// `min` and `max`: the processor's own ignore the sign of zero and some NaNs.
    fn float_extreme(&mut self, ty: Ty, max: bool) {
        let (a, b) = self.pop2(false);
        let to = self.values.float(&mut self.asm, a);
        let other = self.values.float(&mut self.asm, b);
        let compare = if ty.is_wide() { 0x66 } else { 0 };
        self.asm.sse(compare, 0x2e, to, Rm::Reg(other));
        let differ = self.skip_if(Cc::NE);
        let nan = self.skip_if(Cc::P);
        self.asm.sse(0, if max { 0x54 } else { 0x56 }, to, Rm::Reg(other));
        let equal = self.asm.jmp();
        self.land(nan);
        self.asm.sse(ty.prefix(), 0x58, to, Rm::Reg(other));
        let done = self.asm.jmp();
        self.land(differ);
        self.asm.sse(ty.prefix(), if max { 0x5f } else { 0x5d }, to, Rm::Reg(other));
        self.land(equal);
        self.land(done);
        self.values.release_float(other);
        self.values.push(&mut self.asm, ty, Place::Float(to));
    }

    /// Compares floats with a condition that is false for NaN. `swaps` exchanges the operands.
    fn float_compare(&mut self, ty: Ty, cc: Cc, swaps: bool) {
        let (a, b) = self.pop2(false);
        let (a, b) = if swaps { (b, a) } else { (a, b) };
        let first = self.values.float(&mut self.asm, a);
        let second = self.values.operand(&mut self.asm, b);
        self.asm.sse(if ty.is_wide() { 0x66 } else { 0 }, 0x2e, first, second);
        self.values.release_float(first);
        self.values.release_operand(second, ty);
        self.condition = Some(cc);
    }

    /// `eq` and `ne`, which need two flags.
    fn float_equal(&mut self, ty: Ty, equal: bool) {
        self.float_compare(ty, Cc::E, false);
        self.condition = None;
        let to = self.values.take(&mut self.asm);
        self.asm.setcc(if equal { Cc::NP } else { Cc::P }, SCRATCH);
        self.asm.setcc(if equal { Cc::E } else { Cc::NE }, to);
        self.asm.alu(if equal { Alu::And } else { Alu::Or }, W::D, to, Rm::Reg(SCRATCH));
        self.asm.movzx8(to, Rm::Reg(to));
        self.values.push(&mut self.asm, Ty::I32, Place::Int(to));
    }

    /// From an integer of width `w`, which is signed there.
    fn int_to_float(&mut self, ty: Ty, w: W) {
        let from = self.values.pop_int(&mut self.asm);
        let to = self.values.take_float(&mut self.asm);
        // The instruction keeps the rest of the register.
        self.asm.sse(0, 0x57, to, Rm::Reg(to));
        match w {
            W::D => self.asm.sse(ty.prefix(), 0x2a, to, Rm::Reg(from)),
            W::Q => self.asm.sse_q(ty.prefix(), 0x2a, to, Rm::Reg(from)),
        }
        self.values.release(from);
        self.values.push(&mut self.asm, ty, Place::Float(to));
    }

    /// From an unsigned 64-bit integer.
    fn unsigned_to_float(&mut self, ty: Ty) {
        let from = self.values.pop_int(&mut self.asm);
        let to = self.values.take_float(&mut self.asm);
        self.asm.sse(0, 0x57, to, Rm::Reg(to));
        self.asm.test(W::Q, from, from);
        let large = self.skip_if(Cc::L);
        self.asm.sse_q(ty.prefix(), 0x2a, to, Rm::Reg(from));
        let done = self.asm.jmp();
        self.land(large);
        // Half of it, rounded to odd, is converted as exactly.
        self.asm.mov(W::Q, SCRATCH, Rm::Reg(from));
        self.asm.alu_imm(Alu::And, W::D, Rm::Reg(SCRATCH), 1);
        self.asm.shift_imm(Shift::Shr, W::Q, from, 1);
        self.asm.alu(Alu::Or, W::Q, from, Rm::Reg(SCRATCH));
        self.asm.sse_q(ty.prefix(), 0x2a, to, Rm::Reg(from));
        self.asm.sse(ty.prefix(), 0x58, to, Rm::Reg(to));
        self.land(done);
        self.values.release(from);
        self.values.push(&mut self.asm, ty, Place::Float(to));
    }

    fn copysign(&mut self, ty: Ty) {
        let (a, b) = self.pop2(false);
        let to = self.values.float(&mut self.asm, a);
        let other = self.values.float(&mut self.asm, b);
        let sign: u64 = if ty.is_wide() { 1 << 63 } else { 1 << 31 };
        self.asm.mov_imm(SCRATCH2, !sign);
        self.asm.sse_q(0x66, 0x6e, FLOAT_SCRATCH, Rm::Reg(SCRATCH2));
        self.asm.sse(0, 0x54, to, Rm::Reg(FLOAT_SCRATCH));
        self.asm.mov_imm(SCRATCH2, sign);
        self.asm.sse_q(0x66, 0x6e, FLOAT_SCRATCH, Rm::Reg(SCRATCH2));
        self.asm.sse(0, 0x54, FLOAT_SCRATCH, Rm::Reg(other));
        self.asm.sse(0, 0x56, to, Rm::Reg(FLOAT_SCRATCH));
        self.values.release_float(other);
        self.values.push(&mut self.asm, ty, Place::Float(to));
    }

    /// Sets a scratch register to the bits of a float.
    fn float_bits(&mut self, bits: u64) {
        self.asm.mov_imm(SCRATCH2, bits);
        self.asm.sse_q(0x66, 0x6e, FLOAT_SCRATCH, Rm::Reg(SCRATCH2));
    }

    /// Compares with a scratch register: below, equal or above.
    fn compare_floats(&mut self, ty: Ty, a: Reg, b: Reg) {
        self.asm.sse(if ty.is_wide() { 0x66 } else { 0 }, 0x2e, a, Rm::Reg(b));
    }

    /// Truncates a float to an integer. What no integer equals is a trap, or with `saturates` the nearest integer.
    fn truncate(&mut self, from: Ty, to: Ty, signed: bool, saturates: bool) {
        let value = self.values.pop();
        let x = self.values.float(&mut self.asm, value);
        let reg = self.values.take(&mut self.asm);
        // What the processor gives for all that does not fit.
        const INDEFINITE: u64 = 1 << 63;
        let two_to_63 = if from.is_wide() { 0x43e0_0000_0000_0000 } else { 0x5f00_0000 };
        self.compare_floats(from, x, x);
        let mut nan = None;
        if saturates {
            nan = Some(self.skip_if(Cc::P));
        } else {
            self.trap_if(Cc::P, TrapCode::InvalidConversionToInteger);
        }
        match (to, signed) {
            (Ty::I32, _) => {
                self.asm.sse_q(from.prefix(), 0x2c, reg, Rm::Reg(x));
                if signed {
                    self.asm.movsx32(SCRATCH, Rm::Reg(reg));
                } else {
                    self.asm.mov(W::D, SCRATCH, Rm::Reg(reg));
                }
                self.asm.alu(Alu::Cmp, W::Q, SCRATCH, Rm::Reg(reg));
                if saturates {
                    let fits = self.skip_if(Cc::E);
                    let (least, most) =
                        if signed { (1 << 31, i32::MAX as u64) } else { (0, u64::from(u32::MAX)) };
                    self.asm.sse(0, 0x57, FLOAT_SCRATCH, Rm::Reg(FLOAT_SCRATCH));
                    self.compare_floats(from, x, FLOAT_SCRATCH);
                    self.asm.mov_imm(reg, least);
                    let negative = self.skip_if(Cc::B);
                    self.asm.mov_imm(reg, most);
                    self.land(negative);
                    self.land(fits);
                } else {
                    self.trap_if(Cc::NE, TrapCode::IntegerOverflow);
                }
                self.asm.mov(W::D, reg, Rm::Reg(reg));
            }
            (_, true) => {
                self.asm.sse_q(from.prefix(), 0x2c, reg, Rm::Reg(x));
                self.asm.mov_imm(SCRATCH2, INDEFINITE);
                self.asm.alu(Alu::Cmp, W::Q, reg, Rm::Reg(SCRATCH2));
                let fits = self.skip_if(Cc::NE);
                if saturates {
                    self.asm.sse(0, 0x57, FLOAT_SCRATCH, Rm::Reg(FLOAT_SCRATCH));
                    self.compare_floats(from, x, FLOAT_SCRATCH);
                    let negative = self.skip_if(Cc::B);
                    self.asm.mov_imm(reg, i64::MAX as u64);
                    self.land(negative);
                } else {
                    // It may be the least integer itself.
                    let sign = if from.is_wide() { 1 << 63 } else { 1 << 31 };
                    self.float_bits(two_to_63 | sign);
                    self.compare_floats(from, x, FLOAT_SCRATCH);
                    self.trap_if(Cc::NE, TrapCode::IntegerOverflow);
                }
                self.land(fits);
            }
            (_, false) => {
                self.float_bits(two_to_63);
                self.compare_floats(from, x, FLOAT_SCRATCH);
                let large = self.skip_if(Cc::AE);
                self.asm.sse_q(from.prefix(), 0x2c, reg, Rm::Reg(x));
                self.out_of_range_if_negative(reg, saturates, 0);
                let done = self.asm.jmp();
                self.land(large);
                self.asm.sse(0, 0x28, FLOAT_SCRATCH2, Rm::Reg(x));
                self.asm.sse(from.prefix(), 0x5c, FLOAT_SCRATCH2, Rm::Reg(FLOAT_SCRATCH));
                self.asm.sse_q(from.prefix(), 0x2c, reg, Rm::Reg(FLOAT_SCRATCH2));
                // The highest bit is set next, so this becomes the greatest integer.
                self.out_of_range_if_negative(reg, saturates, i64::MAX as u64);
                self.asm.mov_imm(SCRATCH2, INDEFINITE);
                self.asm.alu(Alu::Xor, W::Q, reg, Rm::Reg(SCRATCH2));
                self.land(done);
            }
        }
        if let Some(nan) = nan {
            let done = self.asm.jmp();
            self.land(nan);
            self.asm.mov_imm(reg, 0);
            self.land(done);
        }
        self.values.release_float(x);
        self.values.push(&mut self.asm, to, Place::Int(reg));
    }

    fn out_of_range_if_negative(&mut self, reg: Reg, saturates: bool, instead: u64) {
        self.asm.test(W::Q, reg, reg);
        if saturates {
            let fits = self.skip_if(Cc::GE);
            self.asm.mov_imm(reg, instead);
            self.land(fits);
        } else {
            self.trap_if(Cc::L, TrapCode::IntegerOverflow);
        }
    }

    /// Takes the bits of a value as another type.
    fn reinterpret(&mut self, ty: Ty) {
        let value = self.values.pop();
        match value.place {
            Place::Frame(_) | Place::Const(_) => {
                let value = Value { ty, ..value };
                // Operands in the frame are not shared, but locals are: they are read here.
                if ty.is_float() {
                    let to = self.values.float(&mut self.asm, value);
                    self.values.push(&mut self.asm, ty, Place::Float(to));
                } else {
                    let to = self.values.int(&mut self.asm, value);
                    self.values.push(&mut self.asm, ty, Place::Int(to));
                }
            }
            Place::Int(from) => {
                let to = self.values.take_float(&mut self.asm);
                self.asm.sse_q(0x66, 0x6e, to, Rm::Reg(from));
                self.values.release(from);
                self.values.push(&mut self.asm, ty, Place::Float(to));
            }
            Place::Float(from) => {
                let to = self.values.take(&mut self.asm);
                match ty.width() {
                    W::D => self.asm.sse(0x66, 0x7e, from, Rm::Reg(to)),
                    W::Q => self.asm.sse_q(0x66, 0x7e, from, Rm::Reg(to)),
                }
                self.values.release_float(from);
                self.values.push(&mut self.asm, ty, Place::Int(to));
            }
        }
    }

    pub(super) fn numeric(&mut self, op: &Operator<'_>) -> Result {
        use Operator as O;
        use Ty::{F32, F64, I32, I64};
        match *op {
            O::I32Const { value } => self.constant(I32, u64::from(value as u32)),
            O::I64Const { value } => self.constant(I64, value as u64),
            O::F32Const { value } => self.constant(F32, u64::from(value.bits())),
            O::F64Const { value } => self.constant(F64, value.bits()),

            O::I32Load { ref memarg } => self.load(memarg, I32, Load::Whole(I32))?,
            O::I64Load { ref memarg } => self.load(memarg, I64, Load::Whole(I64))?,
            O::F32Load { ref memarg } => self.load(memarg, F32, Load::Whole(F32))?,
            O::F64Load { ref memarg } => self.load(memarg, F64, Load::Whole(F64))?,
            O::I32Load8S { ref memarg } => self.load(memarg, I32, Load::Signed8(W::D))?,
            O::I32Load8U { ref memarg } => self.load(memarg, I32, Load::Unsigned8)?,
            O::I32Load16S { ref memarg } => self.load(memarg, I32, Load::Signed16(W::D))?,
            O::I32Load16U { ref memarg } => self.load(memarg, I32, Load::Unsigned16)?,
            O::I64Load8S { ref memarg } => self.load(memarg, I64, Load::Signed8(W::Q))?,
            O::I64Load8U { ref memarg } => self.load(memarg, I64, Load::Unsigned8)?,
            O::I64Load16S { ref memarg } => self.load(memarg, I64, Load::Signed16(W::Q))?,
            O::I64Load16U { ref memarg } => self.load(memarg, I64, Load::Unsigned16)?,
            O::I64Load32S { ref memarg } => self.load(memarg, I64, Load::Signed32)?,
            O::I64Load32U { ref memarg } => self.load(memarg, I64, Load::Whole(I32))?,
            O::I32Store8 { ref memarg } | O::I64Store8 { ref memarg } => self.store(memarg, 1)?,
            O::I32Store16 { ref memarg } | O::I64Store16 { ref memarg } => self.store(memarg, 2)?,
            O::I32Store { ref memarg } | O::I64Store32 { ref memarg } | O::F32Store { ref memarg } => {
                self.store(memarg, 4)?;
            }
            O::I64Store { ref memarg } | O::F64Store { ref memarg } => self.store(memarg, 8)?,

            O::I32Eqz => self.eqz(I32),
            O::I64Eqz => self.eqz(I64),
            O::I32Eq => self.compare(I32, Cc::E),
            O::I32Ne => self.compare(I32, Cc::NE),
            O::I32LtS => self.compare(I32, Cc::L),
            O::I32LtU => self.compare(I32, Cc::B),
            O::I32GtS => self.compare(I32, Cc::G),
            O::I32GtU => self.compare(I32, Cc::A),
            O::I32LeS => self.compare(I32, Cc::LE),
            O::I32LeU => self.compare(I32, Cc::BE),
            O::I32GeS => self.compare(I32, Cc::GE),
            O::I32GeU => self.compare(I32, Cc::AE),
            O::I64Eq => self.compare(I64, Cc::E),
            O::I64Ne => self.compare(I64, Cc::NE),
            O::I64LtS => self.compare(I64, Cc::L),
            O::I64LtU => self.compare(I64, Cc::B),
            O::I64GtS => self.compare(I64, Cc::G),
            O::I64GtU => self.compare(I64, Cc::A),
            O::I64LeS => self.compare(I64, Cc::LE),
            O::I64LeU => self.compare(I64, Cc::BE),
            O::I64GeS => self.compare(I64, Cc::GE),
            O::I64GeU => self.compare(I64, Cc::AE),
            O::F32Eq => self.float_equal(F32, true),
            O::F32Ne => self.float_equal(F32, false),
            O::F32Lt => self.float_compare(F32, Cc::A, true),
            O::F32Gt => self.float_compare(F32, Cc::A, false),
            O::F32Le => self.float_compare(F32, Cc::AE, true),
            O::F32Ge => self.float_compare(F32, Cc::AE, false),
            O::F64Eq => self.float_equal(F64, true),
            O::F64Ne => self.float_equal(F64, false),
            O::F64Lt => self.float_compare(F64, Cc::A, true),
            O::F64Gt => self.float_compare(F64, Cc::A, false),
            O::F64Le => self.float_compare(F64, Cc::AE, true),
            O::F64Ge => self.float_compare(F64, Cc::AE, false),

            O::I32Clz => self.count_zeros(I32, true),
            O::I32Ctz => self.count_zeros(I32, false),
            O::I32Popcnt => self.popcnt(I32)?,
            O::I32Add => self.alu(I32, Alu::Add),
            O::I32Sub => self.alu(I32, Alu::Sub),
            O::I32Mul => self.mul(I32),
            O::I32DivS => self.div(I32, true, false),
            O::I32DivU => self.div(I32, false, false),
            O::I32RemS => self.div(I32, true, true),
            O::I32RemU => self.div(I32, false, true),
            O::I32And => self.alu(I32, Alu::And),
            O::I32Or => self.alu(I32, Alu::Or),
            O::I32Xor => self.alu(I32, Alu::Xor),
            O::I32Shl => self.shift(I32, Shift::Shl),
            O::I32ShrS => self.shift(I32, Shift::Sar),
            O::I32ShrU => self.shift(I32, Shift::Shr),
            O::I32Rotl => self.shift(I32, Shift::Rol),
            O::I32Rotr => self.shift(I32, Shift::Ror),
            O::I64Clz => self.count_zeros(I64, true),
            O::I64Ctz => self.count_zeros(I64, false),
            O::I64Popcnt => self.popcnt(I64)?,
            O::I64Add => self.alu(I64, Alu::Add),
            O::I64Sub => self.alu(I64, Alu::Sub),
            O::I64Mul => self.mul(I64),
            O::I64DivS => self.div(I64, true, false),
            O::I64DivU => self.div(I64, false, false),
            O::I64RemS => self.div(I64, true, true),
            O::I64RemU => self.div(I64, false, true),
            O::I64And => self.alu(I64, Alu::And),
            O::I64Or => self.alu(I64, Alu::Or),
            O::I64Xor => self.alu(I64, Alu::Xor),
            O::I64Shl => self.shift(I64, Shift::Shl),
            O::I64ShrS => self.shift(I64, Shift::Sar),
            O::I64ShrU => self.shift(I64, Shift::Shr),
            O::I64Rotl => self.shift(I64, Shift::Rol),
            O::I64Rotr => self.shift(I64, Shift::Ror),

            O::I32WrapI64 => self.convert(I32, |asm, reg| asm.mov(W::D, reg, Rm::Reg(reg))),
            // It is zero-extended already.
            O::I64ExtendI32U => self.convert(I64, |_, _| {}),
            O::I64ExtendI32S | O::I64Extend32S => {
                self.convert(I64, |asm, reg| asm.movsx32(reg, Rm::Reg(reg)));
            }
            O::I32Extend8S => self.convert(I32, |asm, reg| asm.movsx8(W::D, reg, Rm::Reg(reg))),
            O::I32Extend16S => self.convert(I32, |asm, reg| asm.movsx16(W::D, reg, Rm::Reg(reg))),
            O::I64Extend8S => self.convert(I64, |asm, reg| asm.movsx8(W::Q, reg, Rm::Reg(reg))),
            O::I64Extend16S => self.convert(I64, |asm, reg| asm.movsx16(W::Q, reg, Rm::Reg(reg))),

            O::F32Abs => self.sign(F32, 0x54),
            O::F32Neg => self.sign(F32, 0x57),
            O::F64Abs => self.sign(F64, 0x54),
            O::F64Neg => self.sign(F64, 0x57),
            O::F32Ceil => self.float_unary(F32, |asm, reg| asm.round(false, reg, Rm::Reg(reg), 2)),
            O::F32Floor => self.float_unary(F32, |asm, reg| asm.round(false, reg, Rm::Reg(reg), 1)),
            O::F32Trunc => self.float_unary(F32, |asm, reg| asm.round(false, reg, Rm::Reg(reg), 3)),
            O::F32Nearest => self.float_unary(F32, |asm, reg| asm.round(false, reg, Rm::Reg(reg), 0)),
            O::F64Ceil => self.float_unary(F64, |asm, reg| asm.round(true, reg, Rm::Reg(reg), 2)),
            O::F64Floor => self.float_unary(F64, |asm, reg| asm.round(true, reg, Rm::Reg(reg), 1)),
            O::F64Trunc => self.float_unary(F64, |asm, reg| asm.round(true, reg, Rm::Reg(reg), 3)),
            O::F64Nearest => self.float_unary(F64, |asm, reg| asm.round(true, reg, Rm::Reg(reg), 0)),
            O::F32Sqrt => self.float_unary(F32, |asm, reg| asm.sse(0xf3, 0x51, reg, Rm::Reg(reg))),
            O::F64Sqrt => self.float_unary(F64, |asm, reg| asm.sse(0xf2, 0x51, reg, Rm::Reg(reg))),
            O::F32Add => self.float_binary(F32, 0x58, false),
            O::F32Sub => self.float_binary(F32, 0x5c, false),
            O::F32Mul => self.float_binary(F32, 0x59, false),
            O::F32Div => self.float_binary(F32, 0x5e, false),
            O::F64Add => self.float_binary(F64, 0x58, false),
            O::F64Sub => self.float_binary(F64, 0x5c, false),
            O::F64Mul => self.float_binary(F64, 0x59, false),
            O::F64Div => self.float_binary(F64, 0x5e, false),
            O::F32Min => self.float_extreme(F32, false),
            O::F32Max => self.float_extreme(F32, true),
            O::F64Min => self.float_extreme(F64, false),
            O::F64Max => self.float_extreme(F64, true),

            O::F32ConvertI32S => self.int_to_float(F32, W::D),
            O::F64ConvertI32S => self.int_to_float(F64, W::D),
            O::F32ConvertI32U | O::F32ConvertI64S => self.int_to_float(F32, W::Q),
            O::F64ConvertI32U | O::F64ConvertI64S => self.int_to_float(F64, W::Q),
            O::F32ConvertI64U => self.unsigned_to_float(F32),
            O::F64ConvertI64U => self.unsigned_to_float(F64),
            O::F32Copysign => self.copysign(F32),
            O::F64Copysign => self.copysign(F64),
            O::I32TruncF32S => self.truncate(F32, I32, true, false),
            O::I32TruncF32U => self.truncate(F32, I32, false, false),
            O::I32TruncF64S => self.truncate(F64, I32, true, false),
            O::I32TruncF64U => self.truncate(F64, I32, false, false),
            O::I64TruncF32S => self.truncate(F32, I64, true, false),
            O::I64TruncF32U => self.truncate(F32, I64, false, false),
            O::I64TruncF64S => self.truncate(F64, I64, true, false),
            O::I64TruncF64U => self.truncate(F64, I64, false, false),
            O::I32TruncSatF32S => self.truncate(F32, I32, true, true),
            O::I32TruncSatF32U => self.truncate(F32, I32, false, true),
            O::I32TruncSatF64S => self.truncate(F64, I32, true, true),
            O::I32TruncSatF64U => self.truncate(F64, I32, false, true),
            O::I64TruncSatF32S => self.truncate(F32, I64, true, true),
            O::I64TruncSatF32U => self.truncate(F32, I64, false, true),
            O::I64TruncSatF64S => self.truncate(F64, I64, true, true),
            O::I64TruncSatF64U => self.truncate(F64, I64, false, true),
            O::F64PromoteF32 => self.float_unary(F64, |asm, reg| asm.sse(0xf3, 0x5a, reg, Rm::Reg(reg))),
            O::F32DemoteF64 => self.float_unary(F32, |asm, reg| asm.sse(0xf2, 0x5a, reg, Rm::Reg(reg))),
            O::I32ReinterpretF32 => self.reinterpret(I32),
            O::I64ReinterpretF64 => self.reinterpret(I64),
            O::F32ReinterpretI32 => self.reinterpret(F32),
            O::F64ReinterpretI64 => self.reinterpret(F64),
            _ => self.atomic(op)?,
        }
        Ok(())
    }
}
