//! Calls of the first tier: functions, imports, tables and libcalls.
//!
//! Part of its translator. Invariant: before a call every operand that outlives it is in its place.

use super::asm::*;
use super::values::{Ty, Value};
use super::{Baseline, Refused, Result, SCRATCH, SCRATCH2, VMCTX};
use crate::abi::TrapCode;
use crate::abi::libcalls::Libcall;
use crate::abi::offsets;
use crate::compile::environ::index;
use crate::compile::stack::type_index;
use crate::compile::trampolines::libcall_name;
use crate::parse::info::*;
use crate::types::FuncType;
use cranelift_codegen::binemit::Reloc;
use cranelift_module::{ModuleReloc, ModuleRelocTarget};

/// Where an argument is passed.
#[derive(Clone, Copy)]
pub enum Arg {
    Int(Reg),
    Float(Reg),
    /// At this offset of the arguments in memory.
    Stack(i32),
}

/// Where the arguments of a function are passed, after its context, and their bytes in memory.
pub fn args_of(ty: &FuncType) -> Result<(Vec<(Arg, Ty)>, u32)> {
    const INTS: [Reg; 5] = [RSI, RDX, RCX, R8, R9];
    let (mut ints, mut floats, mut stack) = (INTS.into_iter(), 0..8, 0);
    let mut args = Vec::with_capacity(ty.params.len());
    for param in &ty.params {
        let ty = Ty::of(*param)?;
        let register = if ty.is_float() { floats.next().map(Arg::Float) } else { ints.next().map(Arg::Int) };
        let arg = register.unwrap_or_else(|| {
            stack += 8;
            Arg::Stack(stack - 8)
        });
        args.push((arg, ty));
    }
    Ok((args, (stack as u32).next_multiple_of(16)))
}

impl Baseline<'_> {
    /// Calls a function or trampoline by its index in the module.
    pub(super) fn call_direct(&mut self, index: u32) {
        self.locate();
        let offset = self.asm.call();
        self.relocs.push(ModuleReloc {
            offset,
            kind: Reloc::X86CallPCRel4,
            name: ModuleRelocTarget::User { namespace: 0, index },
            addend: -4,
        });
    }

    /// Moves the arguments on top of the stack to where they are passed. Everything else goes to its place.
    fn pass_args(&mut self, ty: &FuncType) -> Result {
        let (args, bytes) = args_of(ty)?;
        // A register may hold an argument that belongs in another one.
        self.values.settle_registers(&mut self.asm);
        self.values.settle_below(&mut self.asm, args.len());
        if bytes > 0 {
            self.asm.lea(RSP, Rm::Mem(RSP, -(bytes as i32)));
        }
        let first = self.values.len() - args.len();
        for (i, (arg, ty)) in args.iter().enumerate() {
            let value = self.values.at(first + i);
            match *arg {
                Arg::Int(reg) => self.values.load_into(&mut self.asm, reg, value),
                Arg::Float(reg) => self.values.load_float_into(&mut self.asm, reg, value),
                Arg::Stack(offset) => {
                    let bits = Value { ty: if ty.is_wide() { Ty::I64 } else { Ty::I32 }, ..value };
                    self.values.load_into(&mut self.asm, RAX, bits);
                    self.asm.store(W::Q, Rm::Mem(RSP, offset), RAX);
                }
            }
        }
        self.values.drop(args.len());
        Ok(())
    }

    /// After a call: no register holds what it did. Pushes the result.
    fn returned(&mut self, ty: &FuncType) -> Result {
        match *ty.results {
            [] => Ok(()),
            [result] => {
                let ty = Ty::of(result)?;
                if ty == Ty::I32 {
                    self.asm.mov(W::D, RAX, Rm::Reg(RAX));
                }
                self.push_result(ty);
                Ok(())
            }
            _ => Err(Refused::Unknown),
        }
    }

    /// Pushes what is in `rax` or `xmm0`.
    pub(super) fn push_result(&mut self, ty: Ty) {
        self.values.push_register(&mut self.asm, ty, 0);
    }

    pub(super) fn call(&mut self, callee: FuncIndex) -> Result {
        let info = self.module.info;
        let ty = info.func_type(callee).ty();
        if ty.results.len() > 1 {
            return Err(Refused::Unknown);
        }
        self.pass_args(ty)?;
        match info.defined_func(callee) {
            Some(defined) => {
                self.asm.mov(W::Q, RDI, Rm::Reg(VMCTX));
                self.call_direct(defined.as_u32());
                self.catch_here();
            }
            None => {
                let import = self.module.offsets.imported_function(callee);
                self.asm.mov(W::Q, SCRATCH, Rm::Mem(VMCTX, import + offsets::function_import::CODE));
                self.asm.mov(W::Q, RDI, Rm::Mem(VMCTX, import + offsets::function_import::VMCTX));
                self.locate();
                self.asm.call_reg(SCRATCH);
                self.catch_here();
            }
        }
        self.returned(ty)
    }

    pub(super) fn call_indirect(&mut self, table: u32, ty: u32) -> Result {
        let info = self.module.info;
        let (table, ty) = (index::<TableIndex>(table), type_index(ty));
        let signature = info.types[ty].ty();
        let declared = &info.tables[table].ty;
        if !info.types[ty].is_final() || signature.results.len() > 1 || declared.table64 {
            return Err(Refused::Unknown);
        }
        let element = self.values.pop_int(&mut self.asm);
        let definition = match info.defined_table(table) {
            Some(defined) => (VMCTX, self.module.offsets.defined_table(defined)),
            None => {
                self.asm.mov(W::Q, SCRATCH, Rm::Mem(VMCTX, self.module.offsets.imported_table(table)));
                (SCRATCH, 0)
            }
        };
        let field = |offset: i32| Rm::Mem(definition.0, definition.1 + offset);
        self.asm.alu(Alu::Cmp, W::Q, element, field(offsets::table_definition::LENGTH));
        self.trap_if(Cc::AE, TrapCode::UndefinedElement);
        // If that is mispredicted, the element is the first one.
        self.asm.mov_imm(SCRATCH2, 0);
        self.asm.cmov(Cc::AE, W::Q, element, Rm::Reg(SCRATCH2));
        self.asm.mov(W::Q, SCRATCH, field(offsets::table_definition::BASE));
        self.asm.mov(W::Q, SCRATCH, Rm::Scaled(SCRATCH, element, 3));
        self.values.release(element);
        self.asm.mov(W::D, SCRATCH2, Rm::Mem(VMCTX, self.module.offsets.type_id(ty)));
        // A null reference faults here, because the first page of the address space is never mapped.
        self.may_fault(TrapCode::UninitializedElement);
        self.asm.alu(Alu::Cmp, W::D, SCRATCH2, Rm::Mem(SCRATCH, offsets::func_ref::TYPE_ID));
        self.trap_if(Cc::NE, TrapCode::IndirectCallTypeMismatch);
        // The scratch registers are used for arguments, so the reference waits in `rdi`.
        self.values.evict(&mut self.asm, RDI);
        self.asm.mov(W::Q, RDI, Rm::Reg(SCRATCH));
        self.pass_args(signature)?;
        self.asm.mov(W::Q, SCRATCH, Rm::Mem(RDI, offsets::func_ref::CODE));
        self.asm.mov(W::Q, RDI, Rm::Mem(RDI, offsets::func_ref::VMCTX));
        self.locate();
        self.asm.call_reg(SCRATCH);
        self.catch_here();
        self.returned(signature)
    }

    /// Calls a libcall with the indices `places` and this many operands. The result is in `rax`.
    pub(super) fn libcall(&mut self, libcall: Libcall, places: &[u32], operands: usize) {
        use cranelift_codegen::ir::types::I64;
        const INTS: [Reg; 5] = [RSI, RDX, RCX, R8, R9];
        self.values.settle_registers(&mut self.asm);
        self.values.settle_below(&mut self.asm, operands);
        let mut registers = INTS.into_iter();
        for (place, register) in places.iter().zip(&mut registers) {
            self.asm.mov_imm(register, u64::from(*place));
        }
        let first = self.values.len() - operands;
        for ((i, register), ty) in (0..operands).zip(&mut registers).zip(&libcall.params()[places.len()..]) {
            let value = self.values.at(first + i);
            debug_assert!(*ty == I64 || value.ty == Ty::I32);
            self.values.load_into(&mut self.asm, register, value);
        }
        self.values.drop(operands);
        self.asm.mov(W::Q, RDI, Rm::Reg(VMCTX));
        self.call_direct(libcall_name(self.module.info, libcall));
    }
}
