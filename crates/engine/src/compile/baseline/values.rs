//! Where the locals and operands of a function are: in the frame, in registers, or nowhere yet.
//!
//! Used by the first tier's translator. Operand `k` has the place in the frame after those of all locals and of the
//! `k` operands below it. Invariants: a register belongs to at most one operand, or to the operator that is being
//! translated. Operands below `settled` are in their own places. Moves change no flag.

use super::asm::*;
use super::{FRAME_HEADER, Refused, Result, SCRATCH2};
use crate::types::ValType;

/// The type of a value. References are `i64`s here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ty {
    I32,
    I64,
    F32,
    F64,
}

impl Ty {
    pub fn of(ty: ValType) -> Result<Ty> {
        Ok(match ty {
            ValType::I32 => Ty::I32,
            ValType::I64 | ValType::Ref(_) => Ty::I64,
            ValType::F32 => Ty::F32,
            ValType::F64 => Ty::F64,
            ValType::V128 => return Err(Refused::Unknown),
        })
    }

    pub fn of_wasm(ty: wasmparser::ValType) -> Result<Ty> {
        Ok(match ty {
            wasmparser::ValType::I32 => Ty::I32,
            wasmparser::ValType::I64 | wasmparser::ValType::Ref(_) => Ty::I64,
            wasmparser::ValType::F32 => Ty::F32,
            wasmparser::ValType::F64 => Ty::F64,
            wasmparser::ValType::V128 => return Err(Refused::Unknown),
        })
    }

    pub fn is_float(self) -> bool {
        matches!(self, Ty::F32 | Ty::F64)
    }

    pub fn is_wide(self) -> bool {
        matches!(self, Ty::I64 | Ty::F64)
    }

    pub fn width(self) -> W {
        if self.is_wide() { W::Q } else { W::D }
    }

    /// The prefix of scalar SSE instructions.
    pub fn prefix(self) -> u8 {
        if self.is_wide() { 0xf2 } else { 0xf3 }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A place in the frame, by its number.
    Frame(u32),
    /// The bits of a constant.
    Const(u64),
    /// A general register.
    Int(Reg),
    /// A vector register.
    Float(Reg),
}

#[derive(Clone, Copy, Debug)]
pub struct Value {
    pub ty: Ty,
    pub place: Place,
}

/// A place in the frame.
pub fn place(number: u32) -> Rm {
    Rm::Mem(RBP, -FRAME_HEADER - 8 - 8 * number as i32)
}

/// The general registers that operands may be in. A function preserves all others but those that are free to use.
const INTS: u16 = 1 << RAX | 1 << RCX | 1 << RDX | 1 << RSI | 1 << RDI | 1 << R8 | 1 << R9;
/// The vector registers that operands may be in.
const FLOATS: u16 = 0x3fff;
/// Free to use inside an operator.
pub const FLOAT_SCRATCH: Reg = 15;
pub const FLOAT_SCRATCH2: Reg = 14;

/// The most operands that are not in their places. Setting a local looks at them all.
const MOST_UNSETTLED: usize = 24;

#[derive(Default)]
pub struct Values {
    pub locals: Vec<Ty>,
    stack: Vec<Value>,
    settled: usize,
    /// The registers that are free.
    ints: u16,
    floats: u16,
    most: usize,
}

impl Values {
    /// Call this when all locals are known.
    pub fn start(&mut self) {
        (self.ints, self.floats) = (INTS, FLOATS);
        self.most = self.locals.len();
    }

    /// The number of places in the frame.
    pub fn most_places(&self) -> usize {
        self.most
    }

    /// The number of operands.
    pub fn len(&self) -> usize {
        self.stack.len()
    }

    pub fn at(&self, operand: usize) -> Value {
        self.stack[operand]
    }

    /// The number of an operand's place.
    pub fn own_place(&self, operand: usize) -> u32 {
        (self.locals.len() + operand) as u32
    }

    // --- registers ---

    /// A free general register. It belongs to the caller.
    pub fn take(&mut self, asm: &mut Asm) -> Reg {
        if self.ints == 0 {
            let held = |value: &Value| matches!(value.place, Place::Int(_));
            let oldest = self.stack[self.settled..].iter().position(held);
            // An operator never needs more than a few registers of its own.
            let Some(oldest) = oldest else { unreachable!("operands hold the registers that are not free") };
            self.settle_at(asm, self.settled + oldest);
        }
        let reg = self.ints.trailing_zeros() as Reg;
        self.ints &= !(1 << reg);
        reg
    }

    pub fn take_float(&mut self, asm: &mut Asm) -> Reg {
        if self.floats == 0 {
            let held = |value: &Value| matches!(value.place, Place::Float(_));
            let oldest = self.stack[self.settled..].iter().position(held);
            let Some(oldest) = oldest else { unreachable!("operands hold the registers that are not free") };
            self.settle_at(asm, self.settled + oldest);
        }
        let reg = self.floats.trailing_zeros() as Reg;
        self.floats &= !(1 << reg);
        reg
    }

    pub fn release(&mut self, reg: Reg) {
        self.ints |= (1 << reg) & INTS;
    }

    pub fn release_float(&mut self, reg: Reg) {
        self.floats |= (1 << reg) & FLOATS;
    }

    /// Lets go of the register of a value that was popped.
    pub fn forget(&mut self, value: Value) {
        match value.place {
            Place::Int(reg) => self.release(reg),
            Place::Float(reg) => self.release_float(reg),
            Place::Frame(_) | Place::Const(_) => {}
        }
    }

    /// Makes the operand in this register go to its place. The register is then free, unless the caller has it.
    pub fn evict(&mut self, asm: &mut Asm, reg: Reg) {
        let held = |value: &Value| value.place == Place::Int(reg);
        if let Some(operand) = self.stack[self.settled..].iter().position(held) {
            self.settle_at(asm, self.settled + operand);
        }
    }

    /// Makes a register the caller's, which has it in none of its operands.
    pub fn claim(&mut self, asm: &mut Asm, reg: Reg) {
        self.evict(asm, reg);
        self.ints &= !(1 << reg);
    }

    // --- the operand stack ---

    pub fn push(&mut self, asm: &mut Asm, ty: Ty, place: Place) {
        if self.stack.len() - self.settled >= MOST_UNSETTLED {
            self.settle(asm);
        }
        self.stack.push(Value { ty, place });
        self.most = self.most.max(self.locals.len() + self.stack.len());
    }

    /// Pushes the value in register 0 of its kind, after a call.
    pub fn push_register(&mut self, asm: &mut Asm, ty: Ty, reg: Reg) {
        if ty.is_float() {
            self.floats &= !(1 << reg);
            self.push(asm, ty, Place::Float(reg));
        } else {
            self.ints &= !(1 << reg);
            self.push(asm, ty, Place::Int(reg));
        }
    }

    pub fn push_loaded(&mut self, asm: &mut Asm, ty: Ty, from: Rm) {
        if ty.is_float() {
            let reg = self.take_float(asm);
            asm.sse(ty.prefix(), 0x10, reg, from);
            self.push(asm, ty, Place::Float(reg));
        } else {
            let reg = self.take(asm);
            asm.mov(ty.width(), reg, from);
            self.push(asm, ty, Place::Int(reg));
        }
    }

    /// The popped value keeps its register.
    pub fn pop(&mut self) -> Value {
        let Some(value) = self.stack.pop() else { unreachable!("validated code never pops an empty stack") };
        self.settled = self.settled.min(self.stack.len());
        value
    }

    pub fn pop_int(&mut self, asm: &mut Asm) -> Reg {
        let value = self.pop();
        self.int(asm, value)
    }

    /// Removes operands.
    pub fn drop(&mut self, count: usize) {
        for _ in 0..count {
            let value = self.pop();
            self.forget(value);
        }
    }

    /// Nothing but the operands below `height` and those of these types are on the stack, in their places.
    pub fn reset(&mut self, height: usize, tys: &[Ty]) {
        self.stack.truncate(height);
        for ty in tys {
            let place = Place::Frame(self.own_place(self.stack.len()));
            self.stack.push(Value { ty: *ty, place });
        }
        self.most = self.most.max(self.locals.len() + self.stack.len());
        self.settled = self.stack.len();
        (self.ints, self.floats) = (INTS, FLOATS);
    }

    // --- places ---

    /// Stores an operand in its own place.
    fn settle_at(&mut self, asm: &mut Asm, operand: usize) {
        let own = self.own_place(operand);
        let value = self.stack[operand];
        if value.place != Place::Frame(own) {
            self.copy(asm, own, value);
            self.forget(value);
            self.stack[operand].place = Place::Frame(own);
        }
    }

    /// Stores all operands in their places.
    pub fn settle(&mut self, asm: &mut Asm) {
        self.settle_below(asm, 0);
    }

    /// Stores all operands but the topmost ones.
    pub fn settle_below(&mut self, asm: &mut Asm, topmost: usize) {
        let end = self.stack.len() - topmost;
        for operand in self.settled..end {
            self.settle_at(asm, operand);
        }
        self.settled = self.settled.max(end);
    }

    /// Stores all operands that are in registers.
    pub fn settle_registers(&mut self, asm: &mut Asm) {
        for operand in self.settled..self.stack.len() {
            if matches!(self.stack[operand].place, Place::Int(_) | Place::Float(_)) {
                self.settle_at(asm, operand);
            }
        }
    }

    /// Copies a value to a place in the frame.
    fn copy(&self, asm: &mut Asm, to: u32, value: Value) {
        let to = place(to);
        match value.place {
            Place::Int(reg) => asm.store(W::Q, to, reg),
            Place::Float(reg) => asm.sse(0x66, 0xd6, reg, to),
            Place::Frame(from) => {
                asm.mov(W::Q, SCRATCH2, place(from));
                asm.store(W::Q, to, SCRATCH2);
            }
            Place::Const(bits) => store_bits(asm, value.ty.width(), to, bits),
        }
    }

    /// Copies the `count` topmost operands to the places of those from `height` on. What is known of operands does not
    /// change.
    pub fn copy_to(&mut self, asm: &mut Asm, count: usize, height: usize) {
        let first = self.stack.len() - count;
        // From the deepest on: a place that is written belonged to an operand that is already copied.
        for i in 0..count {
            let (to, value) = (self.own_place(height + i), self.stack[first + i]);
            if value.place != Place::Frame(to) {
                self.copy(asm, to, value);
            }
        }
    }

    /// Copies the `count` topmost operands to an array of 16 bytes each, above all operands. Returns its address.
    pub fn copy_apart(&mut self, asm: &mut Asm, count: usize) -> Rm {
        let first = self.stack.len() - count;
        // Places go down in memory, and the array goes up.
        let end = self.stack.len() + 2 * count.max(1);
        self.most = self.most.max(self.locals.len() + end);
        for i in 0..count {
            self.copy(asm, self.own_place(end - 1 - 2 * i), self.stack[first + i]);
        }
        place(self.own_place(end - 1))
    }

    /// Pops a value, or for `tee` not, and stores it in a local.
    pub fn set_local(&mut self, asm: &mut Asm, local: u32, tee: bool) {
        let value = self.pop();
        // These still mean the local's value so far.
        for operand in self.settled..self.stack.len() {
            if self.stack[operand].place == Place::Frame(local) {
                self.settle_at(asm, operand);
            }
        }
        if value.place != Place::Frame(local) {
            self.copy(asm, local, value);
        }
        if !tee {
            self.forget(value);
        } else if let Place::Frame(_) = value.place {
            self.push(asm, value.ty, Place::Frame(local));
        } else {
            self.push(asm, value.ty, value.place);
        }
    }

    // --- popped values ---

    /// A popped value as an operand of an instruction. If that is a register, the caller has it.
    pub fn operand(&mut self, asm: &mut Asm, value: Value) -> Rm {
        match value.place {
            Place::Frame(number) => place(number),
            Place::Int(reg) | Place::Float(reg) => Rm::Reg(reg),
            Place::Const(_) if value.ty.is_float() => Rm::Reg(self.float(asm, value)),
            Place::Const(_) => Rm::Reg(self.int(asm, value)),
        }
    }

    /// Lets go of an operand's register.
    pub fn release_operand(&mut self, operand: Rm, ty: Ty) {
        match operand {
            Rm::Reg(reg) if ty.is_float() => self.release_float(reg),
            Rm::Reg(reg) => self.release(reg),
            _ => {}
        }
    }

    /// A popped value in a register that the caller has.
    pub fn int(&mut self, asm: &mut Asm, value: Value) -> Reg {
        if let Place::Int(reg) = value.place {
            return reg;
        }
        let reg = self.take(asm);
        self.load_into(asm, reg, value);
        reg
    }

    pub fn float(&mut self, asm: &mut Asm, value: Value) -> Reg {
        if let Place::Float(reg) = value.place {
            return reg;
        }
        let reg = self.take_float(asm);
        self.load_float_into(asm, reg, value);
        reg
    }

    /// Copies a value that is not in a vector register.
    pub fn load_into(&self, asm: &mut Asm, to: Reg, value: Value) {
        match value.place {
            Place::Frame(number) => asm.mov(value.ty.width(), to, place(number)),
            Place::Const(bits) => asm.mov_imm(to, bits),
            Place::Int(reg) if reg == to => {}
            Place::Int(reg) => asm.mov(W::Q, to, Rm::Reg(reg)),
            Place::Float(_) => unreachable!("a float in place of an integer"),
        }
    }

    pub fn load_float_into(&self, asm: &mut Asm, to: Reg, value: Value) {
        match value.place {
            Place::Frame(number) => asm.sse(value.ty.prefix(), 0x10, to, place(number)),
            Place::Const(0) => asm.sse(0, 0x57, to, Rm::Reg(to)),
            Place::Const(bits) => {
                asm.mov_imm(SCRATCH2, bits);
                asm.sse_q(0x66, 0x6e, to, Rm::Reg(SCRATCH2));
            }
            Place::Float(reg) if reg == to => {}
            Place::Float(reg) => asm.sse(0, 0x28, to, Rm::Reg(reg)),
            Place::Int(_) => unreachable!("an integer in place of a float"),
        }
    }

    /// Stores a popped value in memory, and lets go of its register. `to` must not use the second scratch register.
    pub fn store(&mut self, asm: &mut Asm, to: Rm, value: Value) {
        match value.place {
            Place::Int(reg) => asm.store(value.ty.width(), to, reg),
            Place::Float(reg) => asm.sse(value.ty.prefix(), 0x11, reg, to),
            Place::Frame(from) => {
                asm.mov(value.ty.width(), SCRATCH2, place(from));
                asm.store(value.ty.width(), to, SCRATCH2);
            }
            Place::Const(bits) => store_bits(asm, value.ty.width(), to, bits),
        }
        self.forget(value);
    }
}

fn store_bits(asm: &mut Asm, width: W, to: Rm, bits: u64) {
    let short = match width {
        W::D => Some(bits as i32),
        W::Q => i32::try_from(bits as i64).ok(),
    };
    match short {
        Some(value) => asm.store_imm(width, to, value),
        None => {
            asm.mov_imm(SCRATCH2, bits);
            asm.store(width, to, SCRATCH2);
        }
    }
}
