//! Translates one function body to Cranelift IR: variables, memory, tables and references. Control flow and calls
//! are in `control.rs` and `calls.rs`, scalar and vector arithmetic in `numeric.rs` and `simd.rs`.
//!
//! Called by `driver.rs`, only for validated bodies: nothing here checks types again. Invariant: no
//! instruction is emitted while `reachable` is false.

use super::bounds::{self, HeapAccess};
use super::environ::{FuncEnvironment, ModuleEnvironment, index};
use super::inline::{Inlined, Places};
use super::loop_entry::LoopEntry;
use super::loop_exit::LoopExits;
use super::signatures::*;
use super::stack::*;
use super::{atomics, limits, numeric, simd};
use crate::abi::TrapCode;
use crate::abi::libcalls::Libcall;
use crate::error::CompileError;
use crate::parse::info::*;
use crate::types::*;
use cranelift_codegen::ir::{self, InstBuilder, SourceLoc, Value, condcodes::IntCC, types};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use wasmparser::{BinaryReader, FunctionBody, MemArg, Operator};

#[derive(Clone, Copy)]
pub(super) enum Callee {
    Direct(ir::FuncRef),
    Indirect(ir::SigRef, Value),
}

pub(super) struct Local {
    pub variable: Variable,
    pub ty: ir::Type,
    /// The number of blocks at the last use.
    pub blocks: usize,
}

pub(super) struct FuncTranslator<'a> {
    pub builder: FunctionBuilder<'a>,
    pub env: FuncEnvironment<'a>,
    pub(super) stacks: Stacks,
    pub(super) locals: Vec<Local>,
    pub(super) inlined: Inlined<'a>,
    /// The number of entries in the definition tables of all locals.
    definitions: usize,
    /// Whether control can reach the next operator.
    pub(super) reachable: bool,
    /// Operators since fuel was last accounted for.
    uncounted: u32,
    pub(super) has: Has,
    /// In a function that begins at a loop, what is to be known of it.
    pub(super) entry: Option<LoopEntry>,
    /// In the first tier, how its loops are left.
    pub(super) exits: Option<LoopExits>,
    pub(super) ty: &'a FuncType,
    /// The offset in the module of the current operator of the function's own body.
    pub(super) at: u32,
    /// The offset in the module of the current operator.
    pub(super) operator_at: u32,
}

/// What decides how a function is compiled.
#[derive(Clone, Copy, Default)]
pub(super) struct Has {
    pub a_loop: bool,
    /// A `br_table` in a loop.
    pub a_dispatch: bool,
}

/// What the code of a function is to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// What `Tier::Best` is.
    Best,
    /// That, but it begins at the loop whose operator is at this offset in the module.
    FromLoop(u32),
    /// What `Tier::First` is, where Cranelift makes it.
    First,
}

impl Form {
    pub fn first_loop(self) -> Option<u32> {
        match self {
            Form::FromLoop(at) => Some(at),
            Form::Best | Form::First => None,
        }
    }
}

/// Translates the body of a function of the module `bytes` into `func`, whose name and signature are set.
pub(super) fn translate(
    module: &ModuleEnvironment<'_>,
    bytes: &[u8],
    function: DefinedFuncIndex,
    form: Form,
    func: &mut ir::Function,
    context: &mut FunctionBuilderContext,
) -> Result<(Has, Places), CompileError> {
    let ty = module.info.func_type(module.info.func_index(function)).ty();
    let range = module.info.bodies[function].clone();
    let offset = range.start;
    // The first tier leaves its loops with the locals of the function alone.
    let inlined = Inlined::new(bytes, range.len(), form != Form::First);
    let bytes = &bytes[range];
    let mut builder = FunctionBuilder::new(func, context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    builder.seal_block(entry);
    builder.set_srcloc(SourceLoc::new(offset as u32));
    let vmctx = builder.block_params(entry)[0];
    let mut env = FuncEnvironment::new(module, builder.func, vmctx);
    let loop_entry = form.first_loop().map(|at| LoopEntry::new(&mut builder, &mut env, at));
    let exits = (form == Form::First).then(|| LoopExits::new(&mut builder, module.loop_turns));
    let translator = FuncTranslator {
        builder,
        env,
        stacks: Stacks::default(),
        locals: Vec::new(),
        inlined,
        definitions: 0,
        reachable: true,
        uncounted: 0,
        has: Has::default(),
        entry: loop_entry,
        exits,
        ty,
        at: offset as u32,
        operator_at: offset as u32,
    };
    let body = FunctionBody::new(BinaryReader::new(bytes, offset as u64));
    // Fuel is counted at the head of a loop, where it may end the program. A function that begins at a loop keeps the
    // constructs of its text, by whose offset the loop is found.
    let unroll = bytes.len() <= limits::UNROLLED && !module.tunables.fuel && form == Form::Best;
    translator.body(entry, &body, unroll)
}

/// The type of a declared local.
pub(super) fn local_type(ty: wasmparser::ValType) -> ir::Type {
    match ty {
        wasmparser::ValType::I32 => types::I32,
        wasmparser::ValType::I64 => types::I64,
        wasmparser::ValType::F32 => types::F32,
        wasmparser::ValType::F64 => types::F64,
        wasmparser::ValType::V128 => VECTOR,
        wasmparser::ValType::Ref(_) => REFERENCE,
    }
}

impl<'a> FuncTranslator<'a> {
    fn body(
        mut self,
        entry: ir::Block,
        body: &FunctionBody<'_>,
        unroll: bool,
    ) -> Result<(Has, Places), CompileError> {
        if !self.env.module.tunables.signals {
            self.env.check_stack(&mut self.builder);
        }
        self.declare_locals(entry, body)?;
        if self.env.module.tunables.fuel {
            self.env.check_fuel(&mut self.builder);
        }
        let exit = self.builder.create_block();
        self.builder.append_block_params_for_function_returns(exit);
        // The function's own frame: its type gives the results, and its parameters are locals.
        self.stacks.control.push(Frame {
            kind: FrameKind::Block,
            ty: BlockType::Empty,
            exit,
            exit_reached: false,
            height: 0,
            landing_around: None,
        });
        let results = self.ty.results.len();
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let (op, offset) = operators.read_with_offset()?;
            if self.too_large() {
                return Err(CompileError::new("function too large to compile", offset));
            }
            self.at = offset as u32;
            self.builder.set_srcloc(SourceLoc::new(self.at));
            if self.reachable && self.env.module.tunables.fuel {
                self.count_fuel(&op);
            }
            if operators.eof() {
                self.end_function(results);
                continue;
            }
            let unrolled = unroll && self.reachable;
            self.any_operator(&op, offset, results);
            if let Operator::Loop { blockty } = op
                && unrolled
            {
                self.first_turns(&operators, self.block_type(blockty), results);
            }
        }
        self.builder.finalize(self.env.module.isa.frontend_config());
        Ok((self.has, self.inlined.places))
    }

    /// Translates an operator at this offset in the module, except the last one of the function.
    pub(super) fn any_operator(&mut self, op: &Operator<'_>, offset: u64, results: usize) {
        self.operator_at = offset as u32;
        let place = self.inlined.place(self.operator_at);
        self.builder.set_srcloc(SourceLoc::new(place));
        if self.reachable {
            self.operator(op, results);
        } else {
            self.dead_operator(op);
        }
    }

    /// Declares the parameters and the other locals, and sets them.
    fn declare_locals(&mut self, entry: ir::Block, body: &FunctionBody<'_>) -> Result<(), CompileError> {
        for (i, param) in self.ty.params.iter().enumerate() {
            let ty = clif_type(*param);
            let value = match &mut self.entry {
                Some(entry) => entry.next(&mut self.builder, ty),
                None => self.builder.block_params(entry)[i + 1],
            };
            self.declare_local(ty, value);
        }
        for declared in body.get_locals_reader()? {
            let (count, ty) = declared?;
            let ty = local_type(ty);
            let zero = self.zero(ty);
            for _ in 0..count {
                let value = match &mut self.entry {
                    Some(entry) => entry.next(&mut self.builder, ty),
                    None => zero,
                };
                self.declare_local(ty, value);
            }
        }
        if let Some(entry) = &mut self.entry {
            entry.begin(&mut self.builder);
        }
        Ok(())
    }

    fn declare_local(&mut self, ty: ir::Type, value: Value) {
        let local = self.builder.declare_var(ty);
        self.builder.def_var(local, value);
        self.locals.push(Local { variable: local, ty, blocks: 0 });
    }

    /// Whether compiling the IR emitted so far would take too much memory or time.
    fn too_large(&self) -> bool {
        let dfg = &self.builder.func.dfg;
        dfg.num_insts() > limits::INSTRUCTIONS
            || dfg.num_values() > limits::VALUES
            || dfg.value_lists.capacity() > limits::LISTED_VALUES
            || self.stacks.control.len() > limits::NESTING
            || self.definitions > limits::LOCAL_DEFINITIONS
    }

    /// Records a use of a local. For each local the builder keeps a table with an entry for each block up to
    /// the current one.
    pub(super) fn local(&mut self, index: u32) -> Variable {
        let local = &mut self.locals[index as usize];
        let blocks = self.builder.func.dfg.num_blocks();
        self.definitions += blocks - local.blocks;
        local.blocks = blocks;
        local.variable
    }

    fn end_function(&mut self, results: usize) {
        let Some(frame) = self.stacks.control.pop() else { return };
        if self.reachable {
            let values = self.take_args(results);
            if frame.exit_reached {
                self.jump(frame.exit, &values);
            } else {
                self.builder.ins().return_(&values);
            }
        }
        if frame.exit_reached {
            self.builder.switch_to_block(frame.exit);
            self.builder.seal_block(frame.exit);
            let values = self.builder.block_params(frame.exit).to_vec();
            self.builder.ins().return_(&values);
        }
    }

    /// Counts an operator, and updates the fuel before control may leave the block. Every operator costs one
    /// unit, except those that only delimit blocks, which cost none.
    fn count_fuel(&mut self, op: &Operator<'_>) {
        use Operator as O;
        let delimits = matches!(
            op,
            O::Block { .. }
                | O::Loop { .. }
                | O::Else
                | O::End
                | O::Try { .. }
                | O::TryTable { .. }
                | O::Catch { .. }
                | O::CatchAll
                | O::Delegate { .. }
        );
        self.uncounted += u32::from(!delimits);
        let leaves = delimits
            || matches!(
                op,
                O::If { .. }
                    | O::Br { .. }
                    | O::BrIf { .. }
                    | O::BrTable { .. }
                    | O::BrOnNull { .. }
                    | O::BrOnNonNull { .. }
                    | O::Return
                    | O::Unreachable
                    | O::Call { .. }
                    | O::CallIndirect { .. }
                    | O::CallRef { .. }
                    | O::ReturnCall { .. }
                    | O::ReturnCallIndirect { .. }
                    | O::ReturnCallRef { .. }
                    | O::Throw { .. }
                    | O::ThrowRef
                    | O::Rethrow { .. }
            );
        if leaves && self.uncounted > 0 {
            self.env.use_fuel(&mut self.builder, std::mem::take(&mut self.uncounted));
        }
    }

    pub(super) fn zero(&mut self, ty: ir::Type) -> Value {
        match ty {
            types::F32 => self.builder.ins().f32const(0.0),
            types::F64 => self.builder.ins().f64const(0.0),
            VECTOR => {
                let zero = self.builder.func.dfg.constants.insert([0u8; 16].as_slice().into());
                self.builder.ins().vconst(VECTOR, zero)
            }
            integer => self.builder.ins().iconst(integer, 0),
        }
    }

    // --- the operand stack ---

    pub(super) fn push1(&mut self, value: Value) {
        self.stacks.operands.push(value);
    }

    pub(super) fn pop1(&mut self) -> Value {
        match self.stacks.operands.pop() {
            Some(value) => value,
            None => unreachable!("validated code never pops an empty stack"),
        }
    }

    pub(super) fn peek1(&self) -> Value {
        match self.stacks.operands.last() {
            Some(value) => *value,
            None => unreachable!("validated code never reads an empty stack"),
        }
    }

    /// The two topmost operands, the deeper one first.
    pub(super) fn pop2(&mut self) -> (Value, Value) {
        let top = self.pop1();
        (self.pop1(), top)
    }

    /// The three topmost operands, the deepest one first.
    pub(super) fn pop3(&mut self) -> (Value, Value, Value) {
        let top = self.pop1();
        let (a, b) = self.pop2();
        (a, b, top)
    }

    /// Casts a vector to the type used for block parameters, calls and variables.
    pub(super) fn canonical(&mut self, value: Value) -> Value {
        let ty = self.builder.func.dfg.value_type(value);
        if ty.is_vector() && ty != VECTOR { self.bitcast(VECTOR, value) } else { value }
    }

    /// The same 128 bits as a different vector type.
    pub(super) fn bitcast(&mut self, ty: ir::Type, value: Value) -> Value {
        let flags = ir::MemFlagsData::new().with_endianness(ir::Endianness::Little);
        self.builder.ins().bitcast(ty, flags, value)
    }

    /// The `count` topmost operands in order. They stay on the stack.
    pub(super) fn peek_args(&mut self, count: usize) -> Vec<Value> {
        let start = self.stacks.operands.len() - count;
        (start..start + count)
            .map(|i| {
                let value = self.canonical(self.stacks.operands[i]);
                self.stacks.operands[i] = value;
                value
            })
            .collect()
    }

    pub(super) fn take_args(&mut self, count: usize) -> Vec<Value> {
        let args = self.peek_args(count);
        self.stacks.operands.truncate(self.stacks.operands.len() - count);
        args
    }

    // --- memory and traps, also used by numeric.rs and simd.rs ---

    pub(super) fn heap_access(&mut self, memarg: &MemArg, address: Value, size: u8) -> HeapAccess {
        let wasmparser::MemArgTarget::Memory(memory) = memarg.target else {
            unreachable!("arrays as memories belong to a proposal that is not enabled")
        };
        let memory = index(memory);
        bounds::heap_access(&mut self.env, &mut self.builder, memory, address, memarg.offset, size)
    }

    pub(super) fn trapz(&mut self, condition: Value, code: ir::TrapCode) {
        self.env.trapz(&mut self.builder, condition, code);
    }

    pub(super) fn trapnz(&mut self, condition: Value, code: ir::TrapCode) {
        self.env.trapnz(&mut self.builder, condition, code);
    }

    /// Whether every trap must be an explicit check.
    pub(super) fn explicit_traps(&self) -> bool {
        !self.env.module.tunables.signals
    }

    // --- tables and memories ---

    fn as_i64(&mut self, value: Value) -> Value {
        match self.builder.func.dfg.value_type(value) {
            types::I64 => value,
            _ => self.builder.ins().uextend(types::I64, value),
        }
    }

    pub(super) fn pop_i64(&mut self) -> Value {
        let value = self.pop1();
        self.as_i64(value)
    }

    /// Pushes an `i64` as the index type of a table or memory. -1 stays -1.
    fn push_size(&mut self, value: Value, is_64: bool) {
        let value = if is_64 { value } else { self.builder.ins().ireduce(types::I32, value) };
        self.push1(value);
    }

    pub(super) fn number(&mut self, number: u32) -> Value {
        self.builder.ins().iconst(types::I32, i64::from(number))
    }

    /// Calls a bulk libcall with the given indices, then the operands.
    fn bulk(&mut self, libcall: Libcall, places: &[u32], operands: &[Value]) -> Value {
        let mut args: Vec<Value> = places.iter().map(|place| self.number(*place)).collect();
        for (operand, ty) in operands.iter().zip(&libcall.params()[places.len()..]) {
            let operand = if *ty == types::I64 { self.as_i64(*operand) } else { *operand };
            args.push(operand);
        }
        self.env.libcall(&mut self.builder, libcall, &args)
    }

    fn memory_size(&mut self, memory: u32) {
        let ty = self.env.module.info.memories[index::<MemoryIndex>(memory)];
        let length = self.env.memory_length(&mut self.builder, index(memory));
        let pages = self.builder.ins().ushr_imm_u(length, i64::from(ty.page_size_log2));
        self.push_size(pages, ty.memory64);
    }

    fn operator(&mut self, op: &Operator<'_>, results: usize) {
        use Operator as O;
        let info = self.env.module.info;
        match *op {
            O::Nop => {}
            O::Unreachable => {
                self.env.trap(&mut self.builder, TrapCode::Unreachable.to_clif());
                self.reachable = false;
            }
            O::Block { blockty } => {
                self.keep_operands();
                let ty = self.block_type(blockty);
                self.push_frame(FrameKind::Block, ty);
            }
            O::Loop { blockty } => self.enter_loop(self.block_type(blockty)),
            O::If { blockty } => self.enter_if(self.block_type(blockty)),
            O::Else => self.enter_else(),
            O::End => self.end(),
            O::Br { relative_depth } => self.br(relative_depth, results),
            O::BrIf { relative_depth } => {
                let condition = self.pop1();
                self.br_when(relative_depth, condition, true, results);
            }
            O::BrTable { ref targets } => self.br_table(targets, results),
            O::Return => self.return_(results),
            O::Call { function_index } => self.call(index(function_index), false),
            O::CallIndirect { type_index, table_index } => self.call_indirect(table_index, type_index, false),
            O::CallRef { type_index } => self.call_ref(type_index, false),
            O::ReturnCall { function_index } => self.call(index(function_index), true),
            O::ReturnCallIndirect { type_index, table_index } => {
                self.call_indirect(table_index, type_index, true);
            }
            O::ReturnCallRef { type_index } => self.call_ref(type_index, true),

            O::TryTable { ref try_table } => self.enter_try_table(try_table, results),
            O::Throw { tag_index } => self.throw(index(tag_index)),
            O::ThrowRef => {
                let exception = self.pop1();
                self.throw_ref(exception);
            }
            O::Try { blockty } => {
                self.keep_operands();
                let ty = self.block_type(blockty);
                let landing = self.landing_block();
                self.push_frame(FrameKind::Try { landing, state: TryState::Body }, ty);
            }
            O::Catch { tag_index } => self.enter_catch(Some(index(tag_index))),
            O::CatchAll => self.enter_catch(None),
            O::Delegate { relative_depth } => self.delegate(relative_depth),
            O::Rethrow { relative_depth } => {
                if let FrameKind::Try { state: TryState::Catch { exception, .. }, .. } =
                    self.stacks.frame_mut(relative_depth).kind
                {
                    self.throw_ref(exception);
                }
            }

            O::Drop => {
                self.pop1();
            }
            O::Select | O::TypedSelect { .. } => {
                let (a, b, condition) = self.pop3();
                let (a, b) = (self.canonical(a), self.canonical(b));
                let value = self.builder.ins().select(condition, a, b);
                self.push1(value);
            }
            O::LocalGet { local_index } => {
                let local = self.local(local_index);
                let value = self.builder.use_var(local);
                self.push1(value);
            }
            O::LocalSet { local_index } => {
                let value = self.pop1();
                let value = self.canonical(value);
                let local = self.local(local_index);
                self.builder.def_var(local, value);
            }
            O::LocalTee { local_index } => {
                let value = self.pop1();
                let value = self.canonical(value);
                let local = self.local(local_index);
                self.builder.def_var(local, value);
                self.push1(value);
            }
            O::GlobalGet { global_index } => {
                let value = self.env.global_get(&mut self.builder, index(global_index));
                self.push1(value);
            }
            O::GlobalSet { global_index } => {
                let value = self.pop1();
                let value = self.canonical(value);
                self.env.global_set(&mut self.builder, index(global_index), value);
            }

            O::RefNull { .. } => {
                let null = self.builder.ins().iconst(REFERENCE, 0);
                self.push1(null);
            }
            O::RefIsNull => {
                let value = self.pop1();
                let is_null = self.builder.ins().icmp_imm_u(IntCC::Equal, value, 0);
                let is_null = self.builder.ins().uextend(types::I32, is_null);
                self.push1(is_null);
            }
            O::RefFunc { function_index } => {
                let value = self.env.ref_func(&mut self.builder, index(function_index));
                self.push1(value);
            }
            O::RefAsNonNull => {
                let value = self.pop1();
                self.trapz(value, TrapCode::NullReference.to_clif());
                self.push1(value);
            }
            O::BrOnNull { relative_depth } => {
                let value = self.pop1();
                self.br_when(relative_depth, value, false, results);
                self.push1(value);
            }
            O::BrOnNonNull { relative_depth } => {
                let value = self.peek1();
                self.br_when(relative_depth, value, true, results);
                self.pop1();
            }

            O::TableGet { table } => {
                let element = self.pop_i64();
                let value =
                    self.env.table_get(&mut self.builder, index(table), element, TrapCode::TableOutOfBounds);
                self.push1(value);
            }
            O::TableSet { table } => {
                let value = self.pop1();
                let element = self.pop_i64();
                self.env.table_set(&mut self.builder, index(table), element, value);
            }
            O::TableSize { table } => {
                let length = self.env.table_length(&mut self.builder, index(table));
                self.push_size(length, info.tables[index(table)].ty.table64);
            }
            O::TableGrow { table } => {
                let (init, delta) = self.pop2();
                let old = self.bulk(Libcall::table_grow, &[table], &[delta, init]);
                self.push_size(old, info.tables[index(table)].ty.table64);
            }
            O::TableFill { table } => {
                let (dst, value, len) = self.pop3();
                self.bulk(Libcall::table_fill, &[table], &[dst, value, len]);
            }
            O::TableCopy { dst_table, src_table } => {
                let (dst, src, len) = self.pop3();
                self.bulk(Libcall::table_copy, &[dst_table, src_table], &[dst, src, len]);
            }
            O::TableInit { elem_index, table } => {
                let (dst, src, len) = self.pop3();
                self.bulk(Libcall::table_init, &[table, elem_index], &[dst, src, len]);
            }
            O::ElemDrop { elem_index } => {
                self.bulk(Libcall::elem_drop, &[elem_index], &[]);
            }

            O::MemorySize { mem } => self.memory_size(mem),
            O::MemoryGrow { mem } => {
                let delta = self.pop1();
                let old = self.bulk(Libcall::memory_grow, &[mem], &[delta]);
                self.push_size(old, info.memories[index(mem)].memory64);
            }
            O::MemoryFill { mem } => {
                let (dst, value, len) = self.pop3();
                if !self.fill_few(mem, [dst, value, len]) {
                    self.bulk(Libcall::memory_fill, &[mem], &[dst, value, len]);
                }
            }
            O::MemoryCopy { dst_mem, src_mem } => {
                let (dst, src, len) = self.pop3();
                if !self.copy_few(dst_mem, src_mem, [dst, src, len]) {
                    self.bulk(Libcall::memory_copy, &[dst_mem, src_mem], &[dst, src, len]);
                }
            }
            O::MemoryInit { data_index, mem } => {
                let (dst, src, len) = self.pop3();
                self.bulk(Libcall::memory_init, &[mem, data_index], &[dst, src, len]);
            }
            O::DataDrop { data_index } => {
                self.bulk(Libcall::data_drop, &[data_index], &[]);
            }
            _ => {
                let known =
                    numeric::translate(self, op) || simd::translate(self, op) || atomics::translate(self, op);
                // Its name would bring the words for all operators into the addon.
                assert!(known, "an operator this engine refuses passed `parse`");
            }
        }
    }
}
