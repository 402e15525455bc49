//! The first tier: translates a function body to machine code in one pass, as quickly as possible.
//!
//! Called by `driver.rs`, only for validated bodies, on x86-64. It knows the operators of most programs. A function
//! with any other is compiled by Cranelift at once. Each local and each depth of the operand stack has a place in the
//! frame. Between operators, operands may also be in registers, or be constants or locals that nothing has read yet.
//! Where control comes together, all of them are in their places. Functions keep to Cranelift's `CallConv::Tail`,
//! so that code of both tiers calls each other.
//!
//! A loop counts its turns. When there were many, it asks for code of the optimising tier that begins at its header
//! (`loop_entry.rs`), which takes locals and operands from their places, and continues there: on-stack replacement.
//!
//! Invariants: an `i32` in a register is zero-extended. An access to guest memory is emitted only if
//! `bounds::is_guarded` says that its address needs no check.

mod asm;
mod numeric;
mod values;

use super::compiled::{CompiledFunction, SourceLocation};
use super::environ::{ModuleEnvironment, index};
use super::stack::type_index;
use super::trampolines::libcall_name;
use crate::abi::libcalls::Libcall;
use crate::abi::offsets;
use crate::abi::{MemoryStyle, TrapCode};
use crate::error::CompileError;
use crate::parse::info::*;
use crate::types::{FuncType, ValType};
use asm::*;
use cranelift_codegen::binemit::Reloc;
use cranelift_module::{ModuleReloc, ModuleRelocTarget};
use values::{Place, Ty, Value, Values, place};
use wasmparser::{BinaryReader, FunctionBody, Operator};

/// Why a function is not translated here.
enum Refused {
    /// It has something that only Cranelift translates.
    Unknown,
    Invalid(CompileError),
}

impl From<wasmparser::BinaryReaderError> for Refused {
    fn from(error: wasmparser::BinaryReaderError) -> Refused {
        Refused::Invalid(error.into())
    }
}

type Result<T = (), E = Refused> = std::result::Result<T, E>;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Label(u32);

/// A construct that is open.
struct Frame {
    /// Where branches to it go.
    label: Label,
    /// For an `if` without an `else` so far.
    else_label: Option<Label>,
    is_loop: bool,
    /// Operands below its parameters.
    height: usize,
    params: Vec<Ty>,
    results: Vec<Ty>,
    /// Whether a branch leads to its end.
    reached: bool,
    /// Opened in dead code.
    dead: bool,
}

/// Code after the function's own.
enum Stub {
    Trap {
        from: u32,
        code: TrapCode,
        at: u32,
    },
    /// Asks for better code of a loop.
    Hot {
        from: u32,
        back: u32,
        at: u32,
        values: u32,
    },
}

/// Where an argument is passed.
#[derive(Clone, Copy)]
enum Arg {
    Int(Reg),
    Float(Reg),
    /// At this offset of the arguments in memory.
    Stack(i32),
}

struct Baseline<'a> {
    module: &'a ModuleEnvironment<'a>,
    ty: &'a FuncType,
    asm: Asm,
    values: Values,
    control: Vec<Frame>,
    reachable: bool,
    /// The topmost operand, if it is in the processor's flags.
    condition: Option<Cc>,
    /// The offset of the current operator in the module.
    at: u32,
    /// Positions of labels in the code.
    labels: Vec<Option<u32>>,
    /// Distances to fill in: their place, what they are relative to, and the label.
    fixups: Vec<(u32, u32, Label)>,
    stubs: Vec<Stub>,
    relocs: Vec<ModuleReloc>,
    traps: Vec<(u32, TrapCode)>,
    source_map: Vec<SourceLocation>,
    /// Bytes of the function's own arguments in memory.
    own_args: u32,
}

/// Holds the context. No operand is ever in it, and callees preserve it.
const VMCTX: Reg = RBX;
/// Holds the base of memory 0 if that is reserved. No operand is ever in it, and callees preserve it.
const MEMORY: Reg = R15;
/// Free to use inside an operator.
const SCRATCH: Reg = R11;
const SCRATCH2: Reg = R10;

/// What the two registers held before.
const SAVED_PLACES: [(Reg, Rm); 2] = [(VMCTX, Rm::Mem(RBP, -8)), (MEMORY, Rm::Mem(RBP, -16))];
/// The turns that loops have left.
const TURNS_PLACE: Rm = Rm::Mem(RBP, -24);
/// Bytes of the frame before the places of values.
const FRAME_HEADER: i32 = 24;

/// Larger functions have frames that only Cranelift should lay out.
const MOST_LOCALS: usize = 2_000;

/// Translates a function body. `bytes` is the body, found at `offset` in the module. `None` if it has something that
/// only Cranelift translates.
pub fn compile(
    module: &ModuleEnvironment<'_>,
    ty: &FuncType,
    bytes: &[u8],
    offset: usize,
) -> Result<Option<CompiledFunction>, CompileError> {
    let tunables = &module.tunables;
    if !cfg!(target_arch = "x86_64") || !tunables.signals || tunables.fuel || ty.results.len() > 1 {
        return Ok(None);
    }
    let mut function = Baseline {
        module,
        ty,
        asm: Asm { code: Vec::with_capacity(bytes.len() * 8) },
        values: Values::default(),
        control: Vec::new(),
        reachable: true,
        condition: None,
        at: offset as u32,
        labels: Vec::new(),
        fixups: Vec::new(),
        stubs: Vec::new(),
        relocs: Vec::new(),
        traps: Vec::new(),
        source_map: Vec::new(),
        own_args: 0,
    };
    match function.body(&FunctionBody::new(BinaryReader::new(bytes, offset as u64))) {
        Ok(()) => Ok(Some(function.finish())),
        Err(Refused::Unknown) => Ok(None),
        Err(Refused::Invalid(error)) => Err(error),
    }
}

/// Where the arguments of a function are passed, after its context, and their bytes in memory.
fn args_of(ty: &FuncType) -> Result<(Vec<(Arg, Ty)>, u32)> {
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
    fn body(&mut self, body: &FunctionBody<'_>) -> Result {
        let patches = self.prologue(body)?;
        let results = self.ty.results.iter().map(|ty| Ty::of(*ty)).collect::<Result<_>>()?;
        let label = self.label();
        self.control.push(Frame {
            label,
            else_label: None,
            is_loop: false,
            height: 0,
            params: Vec::new(),
            results,
            reached: false,
            dead: false,
        });
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let (op, offset) = operators.read_with_offset()?;
            self.at = offset as u32;
            if self.reachable {
                self.operator(&op)?;
            } else {
                self.dead_operator(&op)?;
            }
        }
        self.stubs();
        let frame = (FRAME_HEADER + 8 * self.values.most_places() as i32 + 15) & !15;
        for patch in patches {
            self.asm.patch(patch, -frame);
        }
        for (place, from, label) in std::mem::take(&mut self.fixups) {
            let to = self.labels[label.0 as usize].ok_or(Refused::Unknown)?;
            self.asm.patch(place, (i64::from(to) - i64::from(from)) as i32);
        }
        Ok(())
    }

    fn finish(self) -> CompiledFunction {
        CompiledFunction {
            code: self.asm.code,
            alignment: 16,
            relocs: self.relocs,
            traps: self.traps,
            source_map: self.source_map,
            handlers: Vec::new(),
        }
    }

    /// Returns where the size of the frame is to be filled in.
    fn prologue(&mut self, body: &FunctionBody<'_>) -> Result<[u32; 2]> {
        let (args, own_args) = args_of(self.ty)?;
        self.own_args = own_args;
        if own_args > u32::from(u16::MAX) {
            return Err(Refused::Unknown);
        }
        self.asm.push(RBP);
        self.asm.mov(W::Q, RBP, Rm::Reg(RSP));
        self.asm.mov(W::Q, SCRATCH, Rm::Mem(RDI, offsets::header::STORE));
        let check = self.asm.lea_later(SCRATCH2, RSP);
        self.asm.alu(Alu::Cmp, W::Q, SCRATCH2, Rm::Mem(SCRATCH, offsets::store::STACK_LIMIT));
        self.trap_if(Cc::B, TrapCode::StackExhausted);
        let grow = self.asm.lea_later(RSP, RSP);
        for (reg, saved) in SAVED_PLACES {
            self.asm.store(W::Q, saved, reg);
        }
        self.asm.mov(W::Q, VMCTX, Rm::Reg(RDI));
        if let Some((memory, ty)) = self.module.info.memories.iter().next()
            && self.module.tunables.style_of(ty) == MemoryStyle::Reserved
        {
            let base = self.module.offsets.memory(memory) + offsets::memory::BASE;
            self.asm.mov(W::Q, MEMORY, Rm::Mem(VMCTX, base));
        }
        self.asm.store_imm(W::D, TURNS_PLACE, self.module.loop_turns);
        for (i, (arg, ty)) in args.iter().enumerate() {
            self.values.locals.push(*ty);
            let to = place(i as u32);
            match *arg {
                Arg::Int(reg) => self.asm.store(ty.width(), to, reg),
                Arg::Float(reg) => self.asm.sse(0x66, 0xd6, reg, to),
                Arg::Stack(offset) => {
                    self.asm.mov(W::Q, SCRATCH, Rm::Mem(RBP, 16 + offset));
                    self.asm.store(W::Q, to, SCRATCH);
                }
            }
        }
        let params = self.values.locals.len();
        for declared in body.get_locals_reader()? {
            let (count, ty) = declared?;
            let ty = Ty::of_wasm(ty)?;
            if self.values.locals.len() + count as usize > MOST_LOCALS {
                return Err(Refused::Unknown);
            }
            self.values.locals.resize(self.values.locals.len() + count as usize, ty);
        }
        let zeros = self.values.locals.len() - params;
        if zeros > 0 {
            self.asm.alu(Alu::Xor, W::D, RAX, Rm::Reg(RAX));
        }
        if zeros <= 8 {
            for local in params..self.values.locals.len() {
                self.asm.store(W::Q, place(local as u32), RAX);
            }
        } else {
            // The last local has the lowest address.
            self.asm.lea(RDI, place(self.values.locals.len() as u32 - 1));
            self.asm.mov_imm(RCX, zeros as u64);
            self.asm.rep_stosq();
        }
        self.values.start();
        Ok([check, grow])
    }

    // --- labels ---

    fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() as u32 - 1)
    }

    /// The label is here.
    fn bind(&mut self, label: Label) {
        self.labels[label.0 as usize] = Some(self.asm.at());
    }

    fn jump(&mut self, label: Label) {
        let place = self.asm.jmp();
        self.fixups.push((place, place + 4, label));
    }

    fn jump_if(&mut self, cc: Cc, label: Label) {
        let place = self.asm.jcc(cc);
        self.fixups.push((place, place + 4, label));
    }

    /// Jumps over what comes next, until the result is given to [`Baseline::land`].
    fn skip_if(&mut self, cc: Cc) -> u32 {
        self.asm.jcc(cc)
    }

    fn land(&mut self, from: u32) {
        let distance = self.asm.at() - (from + 4);
        self.asm.patch(from, distance as i32);
    }

    // --- traps and calls ---

    /// The next instruction belongs to the current operator: it is a call, or may fault.
    fn locate(&mut self) {
        let (code, wasm) = (self.asm.at(), self.at);
        if self.source_map.last().is_none_or(|last| last.wasm != wasm) {
            self.source_map.push(SourceLocation { code, wasm });
        }
    }

    /// The next instruction traps if it faults.
    fn may_fault(&mut self, code: TrapCode) {
        self.locate();
        self.traps.push((self.asm.at(), code));
    }

    fn trap_if(&mut self, cc: Cc, code: TrapCode) {
        let from = self.asm.jcc(cc);
        self.stubs.push(Stub::Trap { from, code, at: self.at });
    }

    fn trap(&mut self, code: TrapCode) {
        self.may_fault(code);
        self.asm.ud2();
        self.reachable = false;
    }

    /// Emits what is jumped to in rare cases.
    fn stubs(&mut self) {
        for stub in std::mem::take(&mut self.stubs) {
            match stub {
                Stub::Trap { from, code, at } => {
                    self.land(from);
                    self.at = at;
                    self.may_fault(code);
                    self.asm.ud2();
                }
                Stub::Hot { from, back, at, values } => {
                    self.land(from);
                    self.at = at;
                    self.asm.store_imm(W::D, TURNS_PLACE, self.module.loop_turns);
                    self.asm.mov(W::Q, RDI, Rm::Reg(VMCTX));
                    self.asm.mov_imm(RSI, u64::from(at));
                    self.asm.lea(RDX, place(values.saturating_sub(1)));
                    self.asm.mov_imm(RCX, u64::from(values));
                    self.call_direct(libcall_name(self.module.info, Libcall::better_loop));
                    self.asm.test(W::Q, RAX, RAX);
                    let leave = self.asm.jcc(Cc::NE);
                    let place = self.asm.jmp();
                    self.asm.patch(place, back as i32 - (place + 4) as i32);
                    self.land(leave);
                    self.asm.mov(W::Q, SCRATCH, Rm::Reg(RAX));
                    self.asm.mov(W::Q, RDI, Rm::Reg(VMCTX));
                    self.leave_frame();
                    if self.own_args > 0 {
                        // The code there takes no arguments in memory, so these are removed here.
                        self.asm.pop(SCRATCH2);
                        self.asm.lea(RSP, Rm::Mem(RSP, self.own_args as i32));
                        self.asm.push(SCRATCH2);
                    }
                    self.asm.jmp_reg(SCRATCH);
                }
            }
        }
    }

    fn leave_frame(&mut self) {
        for (reg, saved) in SAVED_PLACES {
            self.asm.mov(W::Q, reg, saved);
        }
        self.asm.mov(W::Q, RSP, Rm::Reg(RBP));
        self.asm.pop(RBP);
    }

    /// Calls a function or trampoline by its index in the module.
    fn call_direct(&mut self, index: u32) {
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
    fn push_result(&mut self, ty: Ty) {
        self.values.push_register(&mut self.asm, ty, 0);
    }

    fn call(&mut self, callee: FuncIndex) -> Result {
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
            }
            None => {
                let import = self.module.offsets.imported_function(callee);
                self.asm.mov(W::Q, SCRATCH, Rm::Mem(VMCTX, import + offsets::function_import::CODE));
                self.asm.mov(W::Q, RDI, Rm::Mem(VMCTX, import + offsets::function_import::VMCTX));
                self.locate();
                self.asm.call_reg(SCRATCH);
            }
        }
        self.returned(ty)
    }

    fn call_indirect(&mut self, table: u32, ty: u32) -> Result {
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
        self.returned(signature)
    }

    /// Calls a libcall with the indices `places` and this many operands. The result is in `rax`.
    fn libcall(&mut self, libcall: Libcall, places: &[u32], operands: usize) {
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

    // --- control ---

    fn open(&mut self, ty: wasmparser::BlockType, is_loop: bool, else_label: Option<Label>) -> Result {
        let info = self.module.info;
        let each = |tys: &[ValType]| tys.iter().map(|ty| Ty::of(*ty)).collect::<Result<Vec<Ty>>>();
        let (params, results) = match ty {
            wasmparser::BlockType::Empty => (Vec::new(), Vec::new()),
            wasmparser::BlockType::Type(ty) => (Vec::new(), vec![Ty::of_wasm(ty)?]),
            wasmparser::BlockType::FuncType(ty) => {
                let ty = info.types[type_index(ty)].ty();
                (each(&ty.params)?, each(&ty.results)?)
            }
        };
        let label = self.label();
        let height = self.values.len() - params.len();
        let reached = false;
        self.control.push(Frame {
            label,
            else_label,
            is_loop,
            height,
            params,
            results,
            reached,
            dead: false,
        });
        Ok(())
    }

    fn enter_loop(&mut self, ty: wasmparser::BlockType) -> Result {
        self.values.settle(&mut self.asm);
        self.open(ty, true, None)?;
        let Some(header) = self.control.last().map(|frame| frame.label) else { return Ok(()) };
        self.bind(header);
        if self.module.tunables.interruptible {
            let store = Rm::Mem(VMCTX, offsets::header::STORE);
            self.asm.mov(W::Q, SCRATCH, store);
            self.may_fault(TrapCode::Interrupted);
            self.asm.mov(W::D, SCRATCH2, Rm::Mem(SCRATCH, -4));
        }
        self.asm.alu_imm(Alu::Sub, W::D, TURNS_PLACE, 1);
        let from = self.asm.jcc(Cc::E);
        let values = (self.values.locals.len() + self.values.len()) as u32;
        let back = self.asm.at();
        self.stubs.push(Stub::Hot { from, back, at: self.at, values });
        Ok(())
    }

    fn enter_if(&mut self, ty: wasmparser::BlockType) -> Result {
        let condition = self.pop_condition();
        self.values.settle(&mut self.asm);
        let else_label = self.label();
        self.jump_if(condition.not(), else_label);
        self.open(ty, false, Some(else_label))
    }

    fn enter_else(&mut self) {
        let Some(frame) = self.control.last_mut() else { return };
        let Some(else_label) = frame.else_label.take() else { return };
        if self.reachable {
            let (label, results, height) = (frame.label, frame.results.len(), frame.height);
            frame.reached = true;
            self.values.copy_to(&mut self.asm, results, height);
            self.jump(label);
        }
        let Some(frame) = self.control.last() else { return };
        self.values.reset(frame.height, &frame.params);
        self.bind(else_label);
        self.reachable = true;
    }

    fn end(&mut self) {
        let Some(mut frame) = self.control.pop() else { return };
        if frame.dead {
            return;
        }
        if frame.is_loop {
            // Nothing comes together here: branches go to the header.
            if !self.reachable {
                self.values.reset(frame.height, &frame.results);
            }
            return;
        }
        if self.reachable && self.control.is_empty() && !frame.reached {
            return self.return_();
        }
        if self.reachable {
            self.values.copy_to(&mut self.asm, frame.results.len(), frame.height);
            frame.reached = true;
        }
        if let Some(else_label) = frame.else_label {
            // Without an `else` the results are the parameters, which are in the same places.
            self.bind(else_label);
            frame.reached = true;
        }
        self.bind(frame.label);
        self.values.reset(frame.height, &frame.results);
        self.reachable = frame.reached;
        if self.control.is_empty() && self.reachable {
            self.return_();
        }
    }

    fn frame_mut(&mut self, depth: u32) -> &mut Frame {
        let index = self.control.len() - 1 - depth as usize;
        &mut self.control[index]
    }

    /// The target of a branch: its label, the number of operands it passes, and the height for them.
    fn target(&mut self, depth: u32) -> (Label, usize, usize) {
        let frame = self.frame_mut(depth);
        frame.reached |= !frame.is_loop;
        let count = if frame.is_loop { frame.params.len() } else { frame.results.len() };
        (frame.label, count, frame.height)
    }

    fn br(&mut self, depth: u32) {
        let (label, count, height) = self.target(depth);
        self.values.copy_to(&mut self.asm, count, height);
        self.jump(label);
        self.reachable = false;
    }

    fn br_if(&mut self, depth: u32) {
        let condition = self.pop_condition();
        let (label, count, height) = self.target(depth);
        if count == 0 {
            self.jump_if(condition, label);
            return;
        }
        let next = self.skip_if(condition.not());
        self.values.copy_to(&mut self.asm, count, height);
        self.jump(label);
        self.land(next);
    }

    fn br_table(&mut self, table: &wasmparser::BrTable<'_>) -> Result {
        let selector = self.values.pop_int(&mut self.asm);
        let mut depths: Vec<u32> = table.targets().collect::<std::result::Result<_, _>>()?;
        let last = depths.len() as u64;
        depths.push(table.default());
        // A selector past the end becomes the default, also if the processor guesses.
        self.asm.mov_imm(SCRATCH2, last);
        self.asm.alu(Alu::Cmp, W::D, selector, Rm::Reg(SCRATCH2));
        self.asm.cmov(Cc::A, W::D, selector, Rm::Reg(SCRATCH2));
        let (_, count, _) = self.target(table.default());
        if count > 0 {
            self.values.settle(&mut self.asm);
        }
        let address = self.asm.lea_rip(SCRATCH);
        self.asm.movsx32(SCRATCH2, Rm::Scaled(SCRATCH, selector, 2));
        self.values.release(selector);
        self.asm.alu(Alu::Add, W::Q, SCRATCH2, Rm::Reg(SCRATCH));
        self.asm.jmp_reg(SCRATCH2);
        let start = self.asm.at();
        self.asm.patch(address, (start - (address + 4)) as i32);
        let mut stubs: Vec<(u32, Label)> = Vec::new();
        let mut known = std::collections::HashMap::new();
        for depth in depths {
            let label = if count == 0 {
                self.target(depth).0
            } else {
                *known.entry(depth).or_insert_with(|| {
                    let label = Label(self.labels.len() as u32);
                    self.labels.push(None);
                    stubs.push((depth, label));
                    label
                })
            };
            let place = self.asm.at();
            self.asm.code.extend_from_slice(&[0; 4]);
            self.fixups.push((place, start, label));
        }
        for (depth, label) in stubs {
            self.bind(label);
            let (label, count, height) = self.target(depth);
            self.values.copy_to(&mut self.asm, count, height);
            self.jump(label);
        }
        self.reachable = false;
        Ok(())
    }

    fn return_(&mut self) {
        if self.values.len() > 0 && !self.ty.results.is_empty() {
            let value = self.values.at(self.values.len() - 1);
            if value.ty.is_float() {
                self.values.load_float_into(&mut self.asm, 0, value);
            } else {
                self.values.load_into(&mut self.asm, RAX, value);
            }
        }
        self.leave_frame();
        self.asm.ret(self.own_args as u16);
        self.reachable = false;
    }

    /// In dead code only the nesting is tracked.
    fn dead_operator(&mut self, op: &Operator<'_>) -> Result {
        match op {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                let (label, height) = (Label(0), 0);
                self.control.push(Frame {
                    label,
                    else_label: None,
                    is_loop: false,
                    height,
                    params: Vec::new(),
                    results: Vec::new(),
                    reached: false,
                    dead: true,
                });
            }
            Operator::Else => self.enter_else(),
            Operator::End => self.end(),
            Operator::Try { .. } | Operator::TryTable { .. } => return Err(Refused::Unknown),
            _ => {}
        }
        Ok(())
    }

    // --- operators ---

    /// The topmost operand as a condition.
    fn pop_condition(&mut self) -> Cc {
        if let Some(condition) = self.condition.take() {
            return condition;
        }
        let value = self.values.pop();
        match value.place {
            Place::Frame(number) => self.asm.alu_imm(Alu::Cmp, W::D, place(number), 0),
            _ => {
                let reg = self.values.int(&mut self.asm, value);
                self.asm.test(W::D, reg, reg);
                self.values.release(reg);
            }
        }
        Cc::NE
    }

    /// Moves a condition from the flags to a register.
    fn settle_condition(&mut self) {
        if let Some(condition) = self.condition.take() {
            let reg = self.values.take(&mut self.asm);
            self.asm.setcc(condition, reg);
            self.asm.movzx8(reg, Rm::Reg(reg));
            self.values.push(&mut self.asm, Ty::I32, Place::Int(reg));
        }
    }

    fn global(&mut self, global: u32) -> Rm {
        let global = index::<GlobalIndex>(global);
        match self.module.info.defined_global(global) {
            Some(defined) => Rm::Mem(VMCTX, self.module.offsets.defined_global(defined)),
            None => {
                let pointer = Rm::Mem(VMCTX, self.module.offsets.imported_global(global));
                self.asm.mov(W::Q, SCRATCH, pointer);
                Rm::Mem(SCRATCH, 0)
            }
        }
    }

    fn select(&mut self) -> Result {
        let condition = self.pop_condition();
        let (b, a) = (self.values.pop(), self.values.pop());
        if a.ty.is_float() {
            // Loads change no flag.
            let to = self.values.float(&mut self.asm, a);
            let other = self.values.float(&mut self.asm, b);
            let keep = self.skip_if(condition);
            self.asm.sse(0, 0x28, to, Rm::Reg(other));
            self.land(keep);
            self.values.release_float(other);
            self.values.push(&mut self.asm, a.ty, Place::Float(to));
            return Ok(());
        }
        let to = self.values.int(&mut self.asm, a);
        let other = self.values.int(&mut self.asm, b);
        self.asm.cmov(condition.not(), a.ty.width(), to, Rm::Reg(other));
        self.values.release(other);
        self.values.push(&mut self.asm, a.ty, Place::Int(to));
        Ok(())
    }

    fn memory_size(&mut self, memory: u32) -> Result {
        let memory = index::<MemoryIndex>(memory);
        let ty = self.module.info.memories[memory];
        let definition = Rm::Mem(VMCTX, self.module.offsets.memory(memory) + offsets::memory::DEFINITION);
        self.asm.mov(W::Q, SCRATCH, definition);
        let reg = self.values.take(&mut self.asm);
        self.asm.mov(W::Q, reg, Rm::Mem(SCRATCH, offsets::memory_definition::LENGTH));
        self.asm.shift_imm(Shift::Shr, W::Q, reg, ty.page_size_log2);
        let ty = if ty.memory64 { Ty::I64 } else { Ty::I32 };
        self.values.push(&mut self.asm, ty, Place::Int(reg));
        Ok(())
    }

    fn operator(&mut self, op: &Operator<'_>) -> Result {
        use Operator as O;
        if !matches!(op, O::BrIf { .. } | O::If { .. } | O::Select | O::I32Eqz) {
            self.settle_condition();
        }
        match *op {
            O::Nop => {}
            O::Unreachable => self.trap(TrapCode::Unreachable),
            O::Block { blockty } => {
                self.values.settle(&mut self.asm);
                self.open(blockty, false, None)?;
            }
            O::Loop { blockty } => self.enter_loop(blockty)?,
            O::If { blockty } => self.enter_if(blockty)?,
            O::Else => self.enter_else(),
            O::End => self.end(),
            O::Br { relative_depth } => self.br(relative_depth),
            O::BrIf { relative_depth } => self.br_if(relative_depth),
            O::BrTable { ref targets } => self.br_table(targets)?,
            O::Return => self.return_(),
            O::Call { function_index } => self.call(index(function_index))?,
            O::CallIndirect { type_index, table_index } => self.call_indirect(table_index, type_index)?,
            O::Drop => {
                let value = self.values.pop();
                self.values.forget(value);
            }
            O::Select => self.select()?,
            O::LocalGet { local_index } => {
                let ty = self.values.locals[local_index as usize];
                self.values.push(&mut self.asm, ty, Place::Frame(local_index));
            }
            O::LocalSet { local_index } => self.values.set_local(&mut self.asm, local_index, false),
            O::LocalTee { local_index } => self.values.set_local(&mut self.asm, local_index, true),
            O::GlobalGet { global_index } => {
                let ty = Ty::of(self.module.info.globals[index::<GlobalIndex>(global_index)].ty.content)?;
                let from = self.global(global_index);
                self.values.push_loaded(&mut self.asm, ty, from);
            }
            O::GlobalSet { global_index } => {
                let value = self.values.pop();
                let to = self.global(global_index);
                self.values.store(&mut self.asm, to, value);
            }
            O::MemorySize { mem } => self.memory_size(mem)?,
            O::MemoryGrow { mem } => {
                self.libcall(Libcall::memory_grow, &[mem], 1);
                let is_64 = self.module.info.memories[index::<MemoryIndex>(mem)].memory64;
                if !is_64 {
                    self.asm.mov(W::D, RAX, Rm::Reg(RAX));
                }
                self.push_result(if is_64 { Ty::I64 } else { Ty::I32 });
            }
            O::MemoryFill { mem } => self.libcall(Libcall::memory_fill, &[mem], 3),
            O::MemoryCopy { dst_mem, src_mem } => self.libcall(Libcall::memory_copy, &[dst_mem, src_mem], 3),
            O::MemoryInit { data_index, mem } => self.libcall(Libcall::memory_init, &[mem, data_index], 3),
            O::DataDrop { data_index } => self.libcall(Libcall::data_drop, &[data_index], 0),
            _ => self.numeric(op)?,
        }
        Ok(())
    }
}
