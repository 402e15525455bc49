//! Encodes the x86-64 instructions of the first tier.
//!
//! Used by its translator alone. Registers are numbers, as the processor numbers them. Invariant: an instruction is
//! written once and as a whole, except that jumps and the size of the frame are filled in at the end.

/// A general or vector register.
pub type Reg = u8;

pub const RAX: Reg = 0;
pub const RCX: Reg = 1;
pub const RDX: Reg = 2;
pub const RBX: Reg = 3;
pub const RSP: Reg = 4;
pub const RBP: Reg = 5;
pub const RSI: Reg = 6;
pub const RDI: Reg = 7;
pub const R8: Reg = 8;
pub const R9: Reg = 9;
pub const R10: Reg = 10;
pub const R11: Reg = 11;
pub const R15: Reg = 15;

/// The operand of an instruction that may be in memory.
#[derive(Clone, Copy, Debug)]
pub enum Rm {
    Reg(Reg),
    Mem(Reg, i32),
    /// `base + index + displacement`.
    Index(Reg, Reg, i32),
    /// `base + index`, shifted left by the last number.
    Scaled(Reg, Reg, u8),
}

/// Conditions of jumps, `setcc` and `cmovcc`, by their encoding. The lowest bit inverts one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cc(pub u8);

impl Cc {
    pub const B: Cc = Cc(2);
    pub const AE: Cc = Cc(3);
    pub const E: Cc = Cc(4);
    pub const NE: Cc = Cc(5);
    pub const BE: Cc = Cc(6);
    pub const A: Cc = Cc(7);
    pub const P: Cc = Cc(10);
    pub const NP: Cc = Cc(11);
    pub const L: Cc = Cc(12);
    pub const GE: Cc = Cc(13);
    pub const LE: Cc = Cc(14);
    pub const G: Cc = Cc(15);

    pub fn not(self) -> Cc {
        Cc(self.0 ^ 1)
    }
}

/// The width of an operation on general registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum W {
    D,
    Q,
}

/// Arithmetic with two operands, by the number in its encodings.
#[derive(Clone, Copy)]
pub enum Alu {
    Add = 0,
    Or = 1,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

/// Shifts and rotations, by the number in their encodings.
#[derive(Clone, Copy)]
pub enum Shift {
    Rol = 0,
    Ror = 1,
    Shl = 4,
    Shr = 5,
    Sar = 7,
}

#[derive(Default)]
pub struct Asm {
    pub code: Vec<u8>,
}

impl Asm {
    pub fn at(&self) -> u32 {
        self.code.len() as u32
    }

    fn byte(&mut self, byte: u8) {
        self.code.push(byte);
    }

    fn int(&mut self, value: i32) {
        self.code.extend_from_slice(&value.to_le_bytes());
    }

    /// Overwrites the four bytes at `at`.
    pub fn patch(&mut self, at: u32, value: i32) {
        self.code[at as usize..at as usize + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// An instruction with a register and an operand. `prefix` is 0 for none. `low` says that `reg` or the operand
    /// names the low byte of a register.
    fn op(&mut self, prefix: u8, w: W, low: bool, opcode: &[u8], reg: u8, rm: Rm) {
        if prefix != 0 {
            self.byte(prefix);
        }
        let (index, base) = match rm {
            Rm::Reg(base) | Rm::Mem(base, _) => (0, base),
            Rm::Index(base, index, _) | Rm::Scaled(base, index, _) => (index, base),
        };
        let rex = (u8::from(w == W::Q) << 3) | ((reg >> 3) << 2) | ((index >> 3) << 1) | (base >> 3);
        if rex != 0 || low {
            self.byte(0x40 | rex);
        }
        self.code.extend_from_slice(opcode);
        let reg = (reg & 7) << 3;
        match rm {
            Rm::Reg(rm) => self.byte(0xc0 | reg | (rm & 7)),
            Rm::Mem(base, disp) => {
                let short = i8::try_from(disp);
                self.byte(if short.is_ok() { 0x40 } else { 0x80 } | reg | (base & 7));
                if base & 7 == RSP {
                    self.byte(0x24);
                }
                self.disp(disp);
            }
            Rm::Index(base, index, disp) => {
                let short = i8::try_from(disp);
                self.byte(if short.is_ok() { 0x44 } else { 0x84 } | reg);
                self.byte((index & 7) << 3 | (base & 7));
                self.disp(disp);
            }
            Rm::Scaled(base, index, shift) => {
                self.byte(0x44 | reg);
                self.byte(shift << 6 | (index & 7) << 3 | (base & 7));
                self.disp(0);
            }
        }
    }

    fn disp(&mut self, disp: i32) {
        match i8::try_from(disp) {
            Ok(short) => self.byte(short as u8),
            Err(_) => self.int(disp),
        }
    }

    // --- moves ---

    pub fn mov(&mut self, w: W, to: Reg, from: Rm) {
        self.op(0, w, false, &[0x8b], to, from);
    }

    pub fn store(&mut self, w: W, to: Rm, from: Reg) {
        self.op(0, w, false, &[0x89], from, to);
    }

    pub fn store8(&mut self, to: Rm, from: Reg) {
        self.op(0, W::D, true, &[0x88], from, to);
    }

    pub fn store16(&mut self, to: Rm, from: Reg) {
        self.op(0x66, W::D, false, &[0x89], from, to);
    }

    /// Stores a 32-bit constant, sign-extended to the width.
    pub fn store_imm(&mut self, w: W, to: Rm, value: i32) {
        self.op(0, w, false, &[0xc7], 0, to);
        self.int(value);
    }

    /// Sets a register. No flag changes.
    pub fn mov_imm(&mut self, to: Reg, value: u64) {
        if let Ok(value) = u32::try_from(value) {
            if to >= 8 {
                self.byte(0x41);
            }
            self.byte(0xb8 | (to & 7));
            self.int(value as i32);
        } else if let Ok(value) = i32::try_from(value as i64) {
            self.op(0, W::Q, false, &[0xc7], 0, Rm::Reg(to));
            self.int(value);
        } else {
            self.byte(0x48 | (to >> 3));
            self.byte(0xb8 | (to & 7));
            self.code.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub fn movzx8(&mut self, to: Reg, from: Rm) {
        self.op(0, W::D, true, &[0x0f, 0xb6], to, from);
    }

    pub fn movzx16(&mut self, to: Reg, from: Rm) {
        self.op(0, W::D, false, &[0x0f, 0xb7], to, from);
    }

    pub fn movsx8(&mut self, w: W, to: Reg, from: Rm) {
        self.op(0, w, true, &[0x0f, 0xbe], to, from);
    }

    pub fn movsx16(&mut self, w: W, to: Reg, from: Rm) {
        self.op(0, w, false, &[0x0f, 0xbf], to, from);
    }

    /// 32 bits to 64.
    pub fn movsx32(&mut self, to: Reg, from: Rm) {
        self.op(0, W::Q, false, &[0x63], to, from);
    }

    pub fn lea(&mut self, to: Reg, from: Rm) {
        self.op(0, W::Q, false, &[0x8d], to, from);
    }

    pub fn push(&mut self, reg: Reg) {
        if reg >= 8 {
            self.byte(0x41);
        }
        self.byte(0x50 | (reg & 7));
    }

    pub fn pop(&mut self, reg: Reg) {
        if reg >= 8 {
            self.byte(0x41);
        }
        self.byte(0x58 | (reg & 7));
    }

    // --- arithmetic ---

    pub fn alu(&mut self, alu: Alu, w: W, to: Reg, from: Rm) {
        self.op(0, w, false, &[(alu as u8) << 3 | 3], to, from);
    }

    pub fn alu_imm(&mut self, alu: Alu, w: W, to: Rm, value: i32) {
        match i8::try_from(value) {
            Ok(short) => {
                self.op(0, w, false, &[0x83], alu as u8, to);
                self.byte(short as u8);
            }
            Err(_) => {
                self.op(0, w, false, &[0x81], alu as u8, to);
                self.int(value);
            }
        }
    }

    /// Adds a constant to a place, with an encoding whose length does not depend on it. Returns where the constant is.
    pub fn lea_later(&mut self, to: Reg, base: Reg) -> u32 {
        self.op(0, W::Q, false, &[0x8d], to, Rm::Mem(base, i32::MAX));
        self.at() - 4
    }

    pub fn test(&mut self, w: W, a: Reg, b: Reg) {
        self.op(0, w, false, &[0x85], a, Rm::Reg(b));
    }

    /// Tests bits of the low half of a register.
    pub fn test_imm(&mut self, reg: Reg, bits: i32) {
        self.op(0, W::D, false, &[0xf7], 0, Rm::Reg(reg));
        self.int(bits);
    }

    pub fn neg(&mut self, reg: Reg) {
        self.op(0, W::Q, false, &[0xf7], 3, Rm::Reg(reg));
    }

    pub fn imul(&mut self, w: W, to: Reg, from: Rm) {
        self.op(0, w, false, &[0x0f, 0xaf], to, from);
    }

    pub fn imul_imm(&mut self, w: W, to: Reg, from: Rm, value: i32) {
        self.op(0, w, false, &[0x69], to, from);
        self.int(value);
    }

    /// Divides `rdx:rax`.
    pub fn div(&mut self, w: W, signed: bool, by: Reg) {
        self.op(0, w, false, &[0xf7], if signed { 7 } else { 6 }, Rm::Reg(by));
    }

    /// Sign-extends `rax` into `rdx`.
    pub fn cdq(&mut self, w: W) {
        if w == W::Q {
            self.byte(0x48);
        }
        self.byte(0x99);
    }

    pub fn shift_cl(&mut self, shift: Shift, w: W, to: Reg) {
        self.op(0, w, false, &[0xd3], shift as u8, Rm::Reg(to));
    }

    pub fn shift_imm(&mut self, shift: Shift, w: W, to: Reg, by: u8) {
        self.op(0, w, false, &[0xc1], shift as u8, Rm::Reg(to));
        self.byte(by);
    }

    pub fn bsr(&mut self, w: W, to: Reg, from: Rm) {
        self.op(0, w, false, &[0x0f, 0xbd], to, from);
    }

    pub fn bsf(&mut self, w: W, to: Reg, from: Rm) {
        self.op(0, w, false, &[0x0f, 0xbc], to, from);
    }

    pub fn popcnt(&mut self, w: W, to: Reg, from: Rm) {
        self.op(0xf3, w, false, &[0x0f, 0xb8], to, from);
    }

    pub fn setcc(&mut self, cc: Cc, to: Reg) {
        self.op(0, W::D, true, &[0x0f, 0x90 | cc.0], 0, Rm::Reg(to));
    }

    pub fn cmov(&mut self, cc: Cc, w: W, to: Reg, from: Rm) {
        self.op(0, w, false, &[0x0f, 0x40 | cc.0], to, from);
    }

    /// Stores `rax` at `rdi` and after it, `rcx` times.
    pub fn rep_stosq(&mut self) {
        self.code.extend_from_slice(&[0xf3, 0x48, 0xab]);
    }

    // --- atomics ---

    /// Exchanges so many bytes of memory and a register, with an implied `lock`.
    pub fn xchg(&mut self, size: u64, memory: Rm, reg: Reg) {
        self.sized(size, &[0x86], &[0x87], memory, reg);
    }

    /// Adds a register to memory, which leaves the old bytes in the register.
    pub fn lock_xadd(&mut self, size: u64, memory: Rm, reg: Reg) {
        self.byte(0xf0);
        self.sized(size, &[0x0f, 0xc0], &[0x0f, 0xc1], memory, reg);
    }

    /// Stores a register if memory has what `rax` has, and loads memory into `rax` otherwise.
    pub fn lock_cmpxchg(&mut self, size: u64, memory: Rm, reg: Reg) {
        self.byte(0xf0);
        self.sized(size, &[0x0f, 0xb0], &[0x0f, 0xb1], memory, reg);
    }

    pub fn mfence(&mut self) {
        self.code.extend_from_slice(&[0x0f, 0xae, 0xf0]);
    }

    fn sized(&mut self, size: u64, narrow: &[u8], wide: &[u8], memory: Rm, reg: Reg) {
        match size {
            1 => self.op(0, W::D, true, narrow, reg, memory),
            2 => self.op(0x66, W::D, false, wide, reg, memory),
            4 => self.op(0, W::D, false, wide, reg, memory),
            _ => self.op(0, W::Q, false, wide, reg, memory),
        }
    }

    // --- vector registers ---

    /// An SSE instruction `0F opcode` with a prefix.
    pub fn sse(&mut self, prefix: u8, opcode: u8, to: Reg, from: Rm) {
        self.op(prefix, W::D, false, &[0x0f, opcode], to, from);
    }

    /// The same with 64-bit general registers.
    pub fn sse_q(&mut self, prefix: u8, opcode: u8, to: Reg, from: Rm) {
        self.op(prefix, W::Q, false, &[0x0f, opcode], to, from);
    }

    pub fn round(&mut self, double: bool, to: Reg, from: Rm, mode: u8) {
        self.op(0x66, W::D, false, &[0x0f, 0x3a, 0x0a + u8::from(double)], to, from);
        self.byte(mode | 8);
    }

    // --- control ---

    /// A jump whose distance is filled in later. Returns where.
    pub fn jmp(&mut self) -> u32 {
        self.byte(0xe9);
        self.int(0);
        self.at() - 4
    }

    /// The same with a condition.
    pub fn jcc(&mut self, cc: Cc) -> u32 {
        self.code.extend_from_slice(&[0x0f, 0x80 | cc.0]);
        self.int(0);
        self.at() - 4
    }

    pub fn jmp_reg(&mut self, to: Reg) {
        self.op(0, W::D, false, &[0xff], 4, Rm::Reg(to));
    }

    pub fn call_reg(&mut self, to: Reg) {
        self.op(0, W::D, false, &[0xff], 2, Rm::Reg(to));
    }

    /// A call that a relocation completes. Returns where.
    pub fn call(&mut self) -> u32 {
        self.byte(0xe8);
        self.int(0);
        self.at() - 4
    }

    /// `lea to, [rip + distance]`. Returns where the distance is.
    pub fn lea_rip(&mut self, to: Reg) -> u32 {
        self.byte(0x48 | (to >> 3) << 2);
        self.byte(0x8d);
        self.byte((to & 7) << 3 | 5);
        self.int(0);
        self.at() - 4
    }

    /// Returns, and removes this many bytes of arguments.
    pub fn ret(&mut self, args: u16) {
        if args == 0 {
            self.byte(0xc3);
        } else {
            self.byte(0xc2);
            self.code.extend_from_slice(&args.to_le_bytes());
        }
    }

    pub fn ud2(&mut self) {
        self.code.extend_from_slice(&[0x0f, 0x0b]);
    }
}
