//! Operators of the threads proposal in the first tier.
//!
//! Part of its translator. Invariants: guest memory is accessed only at an address from [`Baseline::address`], by an
//! instruction that [`Baseline::may_fault`] knows of. An access whose effective address is not a multiple of its
//! width traps before anything else. Aligned loads are sequentially consistent on this processor, because every
//! store here has a `lock`.

use super::asm::*;
use super::values::{Place, Ty};
use super::{Baseline, Refused, Result, SCRATCH2};
use crate::abi::TrapCode;
use crate::abi::libcalls::Libcall;
use crate::compile::environ::index;
use crate::parse::info::MemoryIndex;
use wasmparser::{MemArg, MemArgTarget, Operator};

/// What a read-modify-write operator makes of the value in memory.
#[derive(Clone, Copy)]
enum Rmw {
    Add,
    Sub,
    Exchange,
    /// The processor has no instruction that also tells the old value.
    Loop(Alu),
}

impl Baseline<'_> {
    /// Translates an operator of the proposal.
    pub(super) fn atomic(&mut self, op: &Operator<'_>) -> Result {
        use Operator as O;
        use Ty::{I32, I64};
        const AND: Rmw = Rmw::Loop(Alu::And);
        const OR: Rmw = Rmw::Loop(Alu::Or);
        const XOR: Rmw = Rmw::Loop(Alu::Xor);
        match *op {
            O::AtomicFence { .. } => self.asm.mfence(),
            O::MemoryAtomicWait32 { ref memarg } => self.wait(memarg, 4)?,
            O::MemoryAtomicWait64 { ref memarg } => self.wait(memarg, 8)?,
            O::MemoryAtomicNotify { ref memarg } => self.notify(memarg)?,

            O::I32AtomicLoad8U { ref memarg } => self.atomic_load(memarg, I32, 1)?,
            O::I32AtomicLoad16U { ref memarg } => self.atomic_load(memarg, I32, 2)?,
            O::I32AtomicLoad { ref memarg } => self.atomic_load(memarg, I32, 4)?,
            O::I64AtomicLoad8U { ref memarg } => self.atomic_load(memarg, I64, 1)?,
            O::I64AtomicLoad16U { ref memarg } => self.atomic_load(memarg, I64, 2)?,
            O::I64AtomicLoad32U { ref memarg } => self.atomic_load(memarg, I64, 4)?,
            O::I64AtomicLoad { ref memarg } => self.atomic_load(memarg, I64, 8)?,

            O::I32AtomicStore8 { ref memarg } | O::I64AtomicStore8 { ref memarg } => {
                self.atomic_store(memarg, 1)?
            }
            O::I32AtomicStore16 { ref memarg } | O::I64AtomicStore16 { ref memarg } => {
                self.atomic_store(memarg, 2)?
            }
            O::I32AtomicStore { ref memarg } | O::I64AtomicStore32 { ref memarg } => {
                self.atomic_store(memarg, 4)?
            }
            O::I64AtomicStore { ref memarg } => self.atomic_store(memarg, 8)?,

            O::I32AtomicRmw8AddU { ref memarg } => self.rmw(memarg, I32, 1, Rmw::Add)?,
            O::I32AtomicRmw16AddU { ref memarg } => self.rmw(memarg, I32, 2, Rmw::Add)?,
            O::I32AtomicRmwAdd { ref memarg } => self.rmw(memarg, I32, 4, Rmw::Add)?,
            O::I64AtomicRmw8AddU { ref memarg } => self.rmw(memarg, I64, 1, Rmw::Add)?,
            O::I64AtomicRmw16AddU { ref memarg } => self.rmw(memarg, I64, 2, Rmw::Add)?,
            O::I64AtomicRmw32AddU { ref memarg } => self.rmw(memarg, I64, 4, Rmw::Add)?,
            O::I64AtomicRmwAdd { ref memarg } => self.rmw(memarg, I64, 8, Rmw::Add)?,

            O::I32AtomicRmw8SubU { ref memarg } => self.rmw(memarg, I32, 1, Rmw::Sub)?,
            O::I32AtomicRmw16SubU { ref memarg } => self.rmw(memarg, I32, 2, Rmw::Sub)?,
            O::I32AtomicRmwSub { ref memarg } => self.rmw(memarg, I32, 4, Rmw::Sub)?,
            O::I64AtomicRmw8SubU { ref memarg } => self.rmw(memarg, I64, 1, Rmw::Sub)?,
            O::I64AtomicRmw16SubU { ref memarg } => self.rmw(memarg, I64, 2, Rmw::Sub)?,
            O::I64AtomicRmw32SubU { ref memarg } => self.rmw(memarg, I64, 4, Rmw::Sub)?,
            O::I64AtomicRmwSub { ref memarg } => self.rmw(memarg, I64, 8, Rmw::Sub)?,

            O::I32AtomicRmw8XchgU { ref memarg } => self.rmw(memarg, I32, 1, Rmw::Exchange)?,
            O::I32AtomicRmw16XchgU { ref memarg } => self.rmw(memarg, I32, 2, Rmw::Exchange)?,
            O::I32AtomicRmwXchg { ref memarg } => self.rmw(memarg, I32, 4, Rmw::Exchange)?,
            O::I64AtomicRmw8XchgU { ref memarg } => self.rmw(memarg, I64, 1, Rmw::Exchange)?,
            O::I64AtomicRmw16XchgU { ref memarg } => self.rmw(memarg, I64, 2, Rmw::Exchange)?,
            O::I64AtomicRmw32XchgU { ref memarg } => self.rmw(memarg, I64, 4, Rmw::Exchange)?,
            O::I64AtomicRmwXchg { ref memarg } => self.rmw(memarg, I64, 8, Rmw::Exchange)?,

            O::I32AtomicRmw8AndU { ref memarg } => self.rmw(memarg, I32, 1, AND)?,
            O::I32AtomicRmw16AndU { ref memarg } => self.rmw(memarg, I32, 2, AND)?,
            O::I32AtomicRmwAnd { ref memarg } => self.rmw(memarg, I32, 4, AND)?,
            O::I64AtomicRmw8AndU { ref memarg } => self.rmw(memarg, I64, 1, AND)?,
            O::I64AtomicRmw16AndU { ref memarg } => self.rmw(memarg, I64, 2, AND)?,
            O::I64AtomicRmw32AndU { ref memarg } => self.rmw(memarg, I64, 4, AND)?,
            O::I64AtomicRmwAnd { ref memarg } => self.rmw(memarg, I64, 8, AND)?,

            O::I32AtomicRmw8OrU { ref memarg } => self.rmw(memarg, I32, 1, OR)?,
            O::I32AtomicRmw16OrU { ref memarg } => self.rmw(memarg, I32, 2, OR)?,
            O::I32AtomicRmwOr { ref memarg } => self.rmw(memarg, I32, 4, OR)?,
            O::I64AtomicRmw8OrU { ref memarg } => self.rmw(memarg, I64, 1, OR)?,
            O::I64AtomicRmw16OrU { ref memarg } => self.rmw(memarg, I64, 2, OR)?,
            O::I64AtomicRmw32OrU { ref memarg } => self.rmw(memarg, I64, 4, OR)?,
            O::I64AtomicRmwOr { ref memarg } => self.rmw(memarg, I64, 8, OR)?,

            O::I32AtomicRmw8XorU { ref memarg } => self.rmw(memarg, I32, 1, XOR)?,
            O::I32AtomicRmw16XorU { ref memarg } => self.rmw(memarg, I32, 2, XOR)?,
            O::I32AtomicRmwXor { ref memarg } => self.rmw(memarg, I32, 4, XOR)?,
            O::I64AtomicRmw8XorU { ref memarg } => self.rmw(memarg, I64, 1, XOR)?,
            O::I64AtomicRmw16XorU { ref memarg } => self.rmw(memarg, I64, 2, XOR)?,
            O::I64AtomicRmw32XorU { ref memarg } => self.rmw(memarg, I64, 4, XOR)?,
            O::I64AtomicRmwXor { ref memarg } => self.rmw(memarg, I64, 8, XOR)?,

            O::I32AtomicRmw8CmpxchgU { ref memarg } => self.compare_exchange(memarg, I32, 1)?,
            O::I32AtomicRmw16CmpxchgU { ref memarg } => self.compare_exchange(memarg, I32, 2)?,
            O::I32AtomicRmwCmpxchg { ref memarg } => self.compare_exchange(memarg, I32, 4)?,
            O::I64AtomicRmw8CmpxchgU { ref memarg } => self.compare_exchange(memarg, I64, 1)?,
            O::I64AtomicRmw16CmpxchgU { ref memarg } => self.compare_exchange(memarg, I64, 2)?,
            O::I64AtomicRmw32CmpxchgU { ref memarg } => self.compare_exchange(memarg, I64, 4)?,
            O::I64AtomicRmwCmpxchg { ref memarg } => self.compare_exchange(memarg, I64, 8)?,
            _ => return Err(Refused::Unknown),
        }
        Ok(())
    }

    /// The place of an aligned access, and the register that belongs to it.
    fn aligned(&mut self, memarg: &MemArg, size: u64) -> Result<(Rm, Reg)> {
        let (place, address) = self.address(memarg, size)?;
        self.check_alignment(address, memarg.offset, size);
        Ok((place, address))
    }

    /// Traps if the sum is no multiple of the size. Only its low bits matter.
    fn check_alignment(&mut self, address: Reg, offset: u64, size: u64) {
        let mask = size - 1;
        if mask == 0 {
            return;
        }
        let low = (offset & mask) as i32;
        if low == 0 {
            self.asm.test_imm(address, mask as i32);
        } else {
            self.asm.lea(SCRATCH2, Rm::Mem(address, low));
            self.asm.test_imm(SCRATCH2, mask as i32);
        }
        self.trap_if(Cc::NE, TrapCode::UnalignedAtomic);
    }

    fn atomic_load(&mut self, memarg: &MemArg, ty: Ty, size: u64) -> Result {
        let (from, address) = self.aligned(memarg, size)?;
        self.may_fault(TrapCode::MemoryOutOfBounds);
        self.load_unsigned(address, from, size);
        self.values.push(&mut self.asm, ty, Place::Int(address));
        Ok(())
    }

    fn load_unsigned(&mut self, to: Reg, from: Rm, size: u64) {
        match size {
            1 => self.asm.movzx8(to, from),
            2 => self.asm.movzx16(to, from),
            4 => self.asm.mov(W::D, to, from),
            _ => self.asm.mov(W::Q, to, from),
        }
    }

    fn atomic_store(&mut self, memarg: &MemArg, size: u64) -> Result {
        let from = self.values.pop_int(&mut self.asm);
        let (to, address) = self.aligned(memarg, size)?;
        self.may_fault(TrapCode::MemoryOutOfBounds);
        self.asm.xchg(size, to, from);
        self.values.release(from);
        self.values.release(address);
        Ok(())
    }

    fn rmw(&mut self, memarg: &MemArg, ty: Ty, size: u64, op: Rmw) -> Result {
        let operand = self.values.pop_int(&mut self.asm);
        let (place, address) = self.aligned(memarg, size)?;
        let old = match op {
            Rmw::Loop(alu) => {
                let (place, address, operand) = self.without_rax(place, address, operand);
                self.may_fault(TrapCode::MemoryOutOfBounds);
                self.load_unsigned(RAX, place, size);
                let again = self.asm.at();
                self.asm.mov(W::Q, SCRATCH2, Rm::Reg(RAX));
                self.asm.alu(alu, W::Q, SCRATCH2, Rm::Reg(operand));
                self.may_fault(TrapCode::MemoryOutOfBounds);
                self.asm.lock_cmpxchg(size, place, SCRATCH2);
                let failed = self.asm.jcc(Cc::NE);
                self.asm.patch(failed, again as i32 - (failed + 4) as i32);
                self.values.release(operand);
                self.values.release(address);
                RAX
            }
            Rmw::Exchange => {
                self.may_fault(TrapCode::MemoryOutOfBounds);
                self.asm.xchg(size, place, operand);
                self.values.release(address);
                operand
            }
            Rmw::Add | Rmw::Sub => {
                if matches!(op, Rmw::Sub) {
                    self.asm.neg(operand);
                }
                self.may_fault(TrapCode::MemoryOutOfBounds);
                self.asm.lock_xadd(size, place, operand);
                self.values.release(address);
                operand
            }
        };
        self.load_unsigned(old, Rm::Reg(old), size);
        self.values.push(&mut self.asm, ty, Place::Int(old));
        Ok(())
    }

    /// The narrow forms take the low bits of the expected value.
    fn compare_exchange(&mut self, memarg: &MemArg, ty: Ty, size: u64) -> Result {
        let replacement = self.values.pop_int(&mut self.asm);
        let expected = self.values.pop_int(&mut self.asm);
        let (place, address) = self.aligned(memarg, size)?;
        let (place, address, replacement) = match expected {
            RAX => (place, address, replacement),
            _ => self.without_rax(place, address, replacement),
        };
        if expected != RAX {
            self.asm.mov(W::Q, RAX, Rm::Reg(expected));
            self.values.release(expected);
        }
        self.may_fault(TrapCode::MemoryOutOfBounds);
        self.asm.lock_cmpxchg(size, place, replacement);
        self.values.release(address);
        self.values.release(replacement);
        self.load_unsigned(RAX, Rm::Reg(RAX), size);
        self.values.push(&mut self.asm, ty, Place::Int(RAX));
        Ok(())
    }

    /// Makes `rax` the caller's, and moves what it holds: an address or another value of the caller's, or an operand.
    fn without_rax(&mut self, place: Rm, address: Reg, value: Reg) -> (Rm, Reg, Reg) {
        if address == RAX {
            let other = self.values.take(&mut self.asm);
            self.asm.mov(W::Q, other, Rm::Reg(RAX));
            let place = match place {
                Rm::Index(base, RAX, offset) => Rm::Index(base, other, offset),
                place => place,
            };
            return (place, other, value);
        }
        if value == RAX {
            let other = self.values.take(&mut self.asm);
            self.asm.mov(W::Q, other, Rm::Reg(RAX));
            return (place, address, other);
        }
        self.values.claim(&mut self.asm, RAX);
        (place, address, value)
    }

    /// Replaces the address `depth` operands below the topmost by the effective one, and checks it. Returns the
    /// memory.
    fn effective_address(&mut self, memarg: &MemArg, depth: usize, size: u64) -> Result<u32> {
        let MemArgTarget::Memory(memory) = memarg.target else { return Err(Refused::Unknown) };
        if self.module.info.memories[index::<MemoryIndex>(memory)].memory64 {
            return Err(Refused::Unknown);
        }
        let above: Vec<_> = (0..depth).map(|_| self.values.pop()).collect();
        let address = self.values.pop_int(&mut self.asm);
        if memarg.offset != 0 {
            self.asm.mov_imm(SCRATCH2, memarg.offset);
            self.asm.alu(Alu::Add, W::Q, address, Rm::Reg(SCRATCH2));
        }
        self.check_alignment(address, 0, size);
        self.values.push(&mut self.asm, Ty::I64, Place::Int(address));
        for value in above.into_iter().rev() {
            self.values.push(&mut self.asm, value.ty, value.place);
        }
        Ok(memory)
    }

    fn wait(&mut self, memarg: &MemArg, size: u64) -> Result {
        let memory = self.effective_address(memarg, 2, size)?;
        self.libcall(Libcall::memory_wait, &[memory, size as u32], 3);
        self.push_number();
        Ok(())
    }

    fn notify(&mut self, memarg: &MemArg) -> Result {
        let memory = self.effective_address(memarg, 1, 4)?;
        self.libcall(Libcall::memory_notify, &[memory], 2);
        self.push_number();
        Ok(())
    }

    fn push_number(&mut self) {
        self.asm.mov(W::D, RAX, Rm::Reg(RAX));
        self.push_result(Ty::I32);
    }
}
