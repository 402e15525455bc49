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
mod atomics;
mod calls;
mod control;
mod exceptions;
mod numeric;
mod values;

use super::compiled::{CompiledFunction, Handler, SourceLocation};
use super::environ::{ModuleEnvironment, index};
use super::trampolines::libcall_name;
use crate::abi::libcalls::Libcall;
use crate::abi::offsets;
use crate::abi::{MemoryStyle, TrapCode};
use crate::error::CompileError;
use crate::parse::info::*;
use crate::sys::{GROWS_IN_ORDER, page_size};
use crate::types::FuncType;
use asm::*;
use calls::{Arg, args_of};
use control::{Frame, Kind};
use cranelift_module::ModuleReloc;
use values::{Place, Ty, Values, place};
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
    /// Calls that catch exceptions, by their return address, and where they continue.
    catching: Vec<(u32, Label)>,
    handlers: Vec<Handler>,
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
/// The context, for code that begins with no register.
const VMCTX_PLACE: Rm = Rm::Mem(RBP, -32);
/// Bytes of the frame before the places of values.
const FRAME_HEADER: i32 = 32;

/// The most locals, and with operands the most places in a frame. With more, only Cranelift makes frames that programs
/// can recurse through.
const MOST_LOCALS: usize = 2_000;
const MOST_PLACES: usize = 10_000;
/// The most constructs inside each other. Some are searched for in all of them.
const MOST_NESTED: usize = 1_000;
/// The most bytes of code for each byte of a body that is not small. Each branch may copy a thousand operands.
const MOST_CODE: usize = 32;
const SMALL: usize = 4 << 10;

/// Translates a function body. `bytes` is the body, found at `offset` in the module. `None` if it has something that
/// only Cranelift translates.
pub fn compile(
    module: &ModuleEnvironment<'_>,
    ty: &FuncType,
    bytes: &[u8],
    offset: usize,
) -> Result<Option<CompiledFunction>, CompileError> {
    let tunables = &module.tunables;
    if !tunables.signals || tunables.fuel || ty.results.len() > 1 {
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
        catching: Vec::new(),
        handlers: Vec::new(),
        own_args: 0,
    };
    match function.body(&FunctionBody::new(BinaryReader::new(bytes, offset as u64))) {
        Ok(()) => Ok(Some(function.finish())),
        Err(Refused::Unknown) => Ok(None),
        Err(Refused::Invalid(error)) => Err(error),
    }
}

impl Baseline<'_> {
    fn body(&mut self, body: &FunctionBody<'_>) -> Result {
        let patches = self.prologue(body)?;
        let results = self.ty.results.iter().map(|ty| Ty::of(*ty)).collect::<Result<_>>()?;
        let label = self.label();
        self.control.push(Frame { results, ..Frame::new(label, Kind::Block) });
        let bytes = body.range();
        let most_code = MOST_CODE * (SMALL + (bytes.end - bytes.start) as usize);
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let (op, offset) = operators.read_with_offset()?;
            if self.asm.code.len() > most_code
                || self.control.len() > MOST_NESTED
                || self.values.most_places() > MOST_PLACES
            {
                return Err(Refused::Unknown);
            }
            self.at = offset as u32;
            if self.reachable {
                self.operator(&op)?;
            } else {
                self.dead_operator(&op)?;
            }
        }
        self.stubs();
        let frame = (FRAME_HEADER + 8 * self.values.most_places() as i32 + 15) & !15;
        // This tier does not touch the pages of a frame in their order.
        if GROWS_IN_ORDER && frame as usize >= page_size() {
            return Err(Refused::Unknown);
        }
        for patch in patches {
            self.asm.patch(patch, -frame);
        }
        for (place, from, label) in std::mem::take(&mut self.fixups) {
            let to = self.labels[label.0 as usize].ok_or(Refused::Unknown)?;
            self.asm.patch(place, (i64::from(to) - i64::from(from)) as i32);
        }
        for (call, landing) in std::mem::take(&mut self.catching) {
            let handler = self.labels[landing.0 as usize].ok_or(Refused::Unknown)?;
            self.handlers.push(Handler { call, handler, frame_size: frame as u32 });
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
            handlers: self.handlers,
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
        self.asm.store(W::Q, VMCTX_PLACE, RDI);
        self.asm.mov(W::Q, VMCTX, Rm::Reg(RDI));
        self.load_memory_base();
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

    fn load_memory_base(&mut self) {
        if let Some((memory, ty)) = self.module.info.memories.iter().next()
            && self.module.tunables.style_of(ty) == MemoryStyle::Reserved
        {
            let base = self.module.offsets.memory(memory) + offsets::memory::BASE;
            self.asm.mov(W::Q, MEMORY, Rm::Mem(VMCTX, base));
        }
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
        if !matches!(op, O::BrIf { .. } | O::If { .. } | O::Select | O::TypedSelect { .. } | O::I32Eqz) {
            self.settle_condition();
        }
        match *op {
            O::Nop => {}
            O::Unreachable => self.trap(TrapCode::Unreachable),
            O::Block { blockty } => {
                self.values.settle(&mut self.asm);
                self.open(blockty, Kind::Block)?;
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
            O::TryTable { ref try_table } => self.enter_try_table(try_table)?,
            O::Try { blockty } => self.enter_try(blockty)?,
            O::Catch { tag_index } => self.enter_catch(Some(tag_index))?,
            O::CatchAll => self.enter_catch(None)?,
            O::Delegate { relative_depth } => self.delegate(relative_depth),
            O::Rethrow { relative_depth } => self.rethrow(relative_depth),
            O::Throw { tag_index } => self.throw(tag_index),
            O::ThrowRef => self.throw_ref(),
            O::Drop => {
                let value = self.values.pop();
                self.values.forget(value);
            }
            O::Select | O::TypedSelect { .. } => self.select()?,
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
