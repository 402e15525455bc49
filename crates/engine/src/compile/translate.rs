//! Translates one function body to Cranelift IR: control flow, variables, calls, memory, tables and
//! references. Scalar and vector arithmetic is in `numeric.rs` and `simd.rs`.
//!
//! Called by `driver.rs`, only for validated bodies: nothing here checks types again. Invariant: no
//! instruction is emitted while `reachable` is false.

use super::bounds::{self, HeapAccess};
use super::environ::{FuncEnvironment, ModuleEnvironment, index};
use super::loop_entry::LoopEntry;
use super::signatures::*;
use super::stack::*;
use super::{atomics, limits, numeric, simd};
use crate::abi::TrapCode;
use crate::abi::libcalls::Libcall;
use crate::error::CompileError;
use crate::parse::info::*;
use crate::types::*;
use cranelift_codegen::ir::{
    self, BlockArg, InstBuilder, JumpTableData, SourceLoc, Value, condcodes::IntCC, types,
};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use std::collections::HashMap;
use wasmparser::{BinaryReader, FunctionBody, MemArg, Operator};

#[derive(Clone, Copy)]
pub(super) enum Callee {
    Direct(ir::FuncRef),
    Indirect(ir::SigRef, Value),
}

struct Local {
    variable: Variable,
    /// The number of blocks at the last use.
    blocks: usize,
}

pub(super) struct FuncTranslator<'a> {
    pub builder: FunctionBuilder<'a>,
    pub env: FuncEnvironment<'a>,
    pub(super) stacks: Stacks,
    locals: Vec<Local>,
    /// The number of entries in the definition tables of all locals.
    definitions: usize,
    /// Whether control can reach the next operator.
    pub(super) reachable: bool,
    /// Operators since fuel was last accounted for.
    uncounted: u32,
    has: Has,
    /// In a function that begins at a loop, what is to be known of it.
    pub(super) entry: Option<LoopEntry>,
    ty: &'a FuncType,
    /// The offset of the current operator in the module.
    at: u32,
}

/// What decides how a function is compiled.
#[derive(Clone, Copy, Default)]
pub(super) struct Has {
    pub a_loop: bool,
    /// A `br_table` in a loop.
    pub a_dispatch: bool,
}

/// Translates a function body into `func`, whose name and signature are set. `bytes` is the body, found at
/// `offset` in the module. With `from_loop` the function begins at the loop whose operator is at that offset in the
/// module.
pub(super) fn translate(
    module: &ModuleEnvironment<'_>,
    ty: &FuncType,
    bytes: &[u8],
    offset: usize,
    from_loop: Option<u32>,
    func: &mut ir::Function,
    context: &mut FunctionBuilderContext,
) -> Result<Has, CompileError> {
    let mut builder = FunctionBuilder::new(func, context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    builder.seal_block(entry);
    builder.set_srcloc(SourceLoc::new(offset as u32));
    let vmctx = builder.block_params(entry)[0];
    let mut env = FuncEnvironment::new(module, builder.func, vmctx);
    let loop_entry = from_loop.map(|at| LoopEntry::new(&mut builder, &mut env, at));
    let translator = FuncTranslator {
        builder,
        env,
        stacks: Stacks::default(),
        locals: Vec::new(),
        definitions: 0,
        reachable: true,
        uncounted: 0,
        has: Has::default(),
        entry: loop_entry,
        ty,
        at: offset as u32,
    };
    let body = FunctionBody::new(BinaryReader::new(bytes, offset as u64));
    // Fuel is counted at the head of a loop, where it may end the program. A function that begins at a loop keeps the
    // constructs of its text, by whose offset the loop is found.
    let unroll = bytes.len() <= limits::UNROLLED && !module.tunables.fuel && from_loop.is_none();
    translator.body(entry, &body, unroll)
}

impl<'a> FuncTranslator<'a> {
    fn body(mut self, entry: ir::Block, body: &FunctionBody<'_>, unroll: bool) -> Result<Has, CompileError> {
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
        Ok(self.has)
    }

    /// Translates an operator at this offset in the module, except the last one of the function.
    pub(super) fn any_operator(&mut self, op: &Operator<'_>, offset: u64, results: usize) {
        self.builder.set_srcloc(SourceLoc::new(offset as u32));
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
            let ty = match ty {
                wasmparser::ValType::I32 => types::I32,
                wasmparser::ValType::I64 => types::I64,
                wasmparser::ValType::F32 => types::F32,
                wasmparser::ValType::F64 => types::F64,
                wasmparser::ValType::V128 => VECTOR,
                wasmparser::ValType::Ref(_) => REFERENCE,
            };
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
        self.locals.push(Local { variable: local, blocks: 0 });
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
    fn local(&mut self, index: u32) -> Variable {
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

    fn zero(&mut self, ty: ir::Type) -> Value {
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
    fn peek_args(&mut self, count: usize) -> Vec<Value> {
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

    // --- control ---

    pub(super) fn block_type(&self, ty: wasmparser::BlockType) -> BlockType {
        use wasmparser::ValType as V;
        match ty {
            wasmparser::BlockType::Empty => BlockType::Empty,
            wasmparser::BlockType::Type(ty) => BlockType::Result(match ty {
                V::I32 => ValType::I32,
                V::I64 => ValType::I64,
                V::F32 => ValType::F32,
                V::F64 => ValType::F64,
                V::V128 => ValType::V128,
                // All references have the same type in compiled code.
                V::Ref(_) => ValType::FUNCREF,
            }),
            wasmparser::BlockType::FuncType(ty) => BlockType::Func(type_index(ty)),
        }
    }

    pub(super) fn block_with(&mut self, params: &[ValType]) -> ir::Block {
        let block = self.builder.create_block();
        for ty in params {
            self.builder.append_block_param(block, clif_type(*ty));
        }
        block
    }

    pub(super) fn jump(&mut self, block: ir::Block, args: &[Value]) {
        let args: Vec<BlockArg> = args.iter().map(|arg| BlockArg::from(*arg)).collect();
        self.builder.ins().jump(block, &args);
    }

    pub(super) fn push_frame(&mut self, kind: FrameKind, ty: BlockType) {
        let info = self.env.module.info;
        let exit = self.block_with(ty.results(info));
        let height = self.stacks.operands.len() - ty.params(info).len();
        let landing_around = self.landing(self.stacks.control.len());
        self.stacks.control.push(Frame { kind, ty, exit, exit_reached: false, height, landing_around });
    }

    fn push_dead_frame(&mut self) {
        let height = self.stacks.operands.len();
        let exit = ir::Block::from_u32(0);
        self.stacks.control.push(Frame {
            kind: FrameKind::Dead,
            ty: BlockType::Empty,
            exit,
            exit_reached: false,
            height,
            landing_around: None,
        });
    }

    /// The target block of a branch of this depth, and the number of operands it passes.
    pub(super) fn branch_target(&mut self, depth: u32, function_results: usize) -> (ir::Block, usize) {
        let info = self.env.module.info;
        let outermost = depth as usize + 1 == self.stacks.control.len();
        let frame = self.stacks.frame_mut(depth);
        match frame.kind {
            FrameKind::Loop { header } => (header, frame.ty.params(info).len()),
            _ => {
                frame.exit_reached = true;
                let count = if outermost { function_results } else { frame.ty.results(info).len() };
                (frame.exit, count)
            }
        }
    }

    fn enter_loop(&mut self, ty: BlockType) {
        self.has.a_loop = true;
        self.keep_operands();
        let params = ty.params(self.env.module.info);
        let header = self.block_with(params);
        let args = self.take_args(params.len());
        self.jump(header, &args);
        if self.entry.is_some() {
            let params: Vec<ir::Type> = params.iter().map(|ty| clif_type(*ty)).collect();
            self.begin_here(self.at, header, &params);
        }
        self.builder.switch_to_block(header);
        // Reading a variable can add parameters.
        let params = self.builder.block_params(header).to_vec();
        self.reload_operands();
        self.stacks.operands.extend(params);
        self.push_frame(FrameKind::Loop { header }, ty);
        self.env.poll(&mut self.builder);
        if self.env.module.tunables.fuel {
            self.env.check_fuel(&mut self.builder);
        }
    }

    fn enter_if(&mut self, ty: BlockType) {
        let condition = self.pop1();
        self.keep_operands();
        let params = ty.params(self.env.module.info).len();
        let params = self.peek_args(params).into();
        let then_block = self.builder.create_block();
        let else_block = self.builder.create_block();
        self.builder.ins().brif(condition, then_block, [], else_block, []);
        self.builder.seal_block(then_block);
        self.builder.seal_block(else_block);
        self.builder.switch_to_block(then_block);
        self.push_frame(FrameKind::If { else_block: Some(else_block), params }, ty);
    }

    fn enter_else(&mut self) {
        let reachable = self.reachable;
        let Some(frame) = self.stacks.control.last_mut() else { return };
        let FrameKind::If { else_block, params } = &mut frame.kind else { return };
        let Some(else_block) = else_block.take() else { return };
        let params = std::mem::take(params);
        let height = frame.height;
        if reachable {
            self.jump_to_exit();
        }
        self.builder.switch_to_block(else_block);
        self.stacks.operands.truncate(height);
        self.reload_operands();
        self.stacks.operands.extend(params);
        self.reachable = true;
    }

    pub(super) fn end(&mut self) {
        let Some(mut frame) = self.stacks.control.pop() else { return };
        if let FrameKind::Dead = frame.kind {
            return;
        }
        if self.reachable {
            let results = frame.ty.results(self.env.module.info).len();
            let args = self.take_args(results);
            self.jump(frame.exit, &args);
            frame.exit_reached = true;
        }
        match frame.kind {
            FrameKind::Loop { header } => self.builder.seal_block(header),
            FrameKind::TryTable { landing } => self.builder.seal_block(landing),
            FrameKind::Try { landing, state } => self.end_try(landing, state),
            FrameKind::If { else_block: Some(else_block), params } => {
                // Without an `else` the results are the parameters.
                self.builder.switch_to_block(else_block);
                self.jump(frame.exit, &params);
                frame.exit_reached = true;
            }
            _ => {}
        }
        self.stacks.operands.truncate(frame.height);
        self.reachable = frame.exit_reached;
        if frame.exit_reached {
            self.builder.switch_to_block(frame.exit);
            self.builder.seal_block(frame.exit);
            let results = self.builder.block_params(frame.exit).to_vec();
            self.reload_operands();
            self.stacks.operands.extend(results);
        }
    }

    fn br(&mut self, depth: u32, results: usize) {
        let (block, count) = self.branch_target(depth, results);
        let args = self.take_args(count);
        self.jump(block, &args);
        self.reachable = false;
    }

    /// Branches if `condition` is not zero, or zero with `when` false. Otherwise falls through.
    fn br_when(&mut self, depth: u32, condition: Value, when: bool, results: usize) {
        let (block, count) = self.branch_target(depth, results);
        let args: Vec<BlockArg> = self.peek_args(count).into_iter().map(BlockArg::from).collect();
        let next = self.builder.create_block();
        if when {
            self.builder.ins().brif(condition, block, &args, next, []);
        } else {
            self.builder.ins().brif(condition, next, [], block, &args);
        }
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
    }

    fn br_table(&mut self, table: &wasmparser::BrTable<'_>, results: usize) {
        let in_loop = |frame: &Frame| matches!(frame.kind, FrameKind::Loop { .. });
        self.has.a_dispatch |= self.stacks.control.iter().any(in_loop);
        let selector = self.pop1();
        let (default, count) = self.branch_target(table.default(), results);
        let args = self.take_args(count);
        let targets: Vec<ir::Block> =
            table.targets().map_while(Result::ok).map(|depth| self.branch_target(depth, results).0).collect();
        // With operands to pass, the arms go through one block per target. Otherwise every arm would have its
        // own operand list.
        let mut ways: HashMap<ir::Block, ir::Block> = HashMap::new();
        let mut order = Vec::new();
        let mut arm = |target: ir::Block| {
            let way = if args.is_empty() {
                target
            } else {
                *ways.entry(target).or_insert_with(|| {
                    let way = self.builder.create_block();
                    order.push((way, target));
                    way
                })
            };
            ir::BlockCall::new(way, [], &mut self.builder.func.dfg.value_lists)
        };
        let default = arm(default);
        let targets: Vec<ir::BlockCall> = targets.into_iter().map(arm).collect();
        let table = self.builder.create_jump_table(JumpTableData::new(default, &targets));
        self.builder.ins().br_table(selector, table);
        for (way, target) in order {
            self.builder.seal_block(way);
            self.builder.switch_to_block(way);
            self.jump(target, &args);
        }
        self.reachable = false;
    }

    fn return_(&mut self, results: usize) {
        let values = self.take_args(results);
        self.builder.ins().return_(&values);
        self.reachable = false;
    }

    /// In dead code only the nesting is tracked.
    fn dead_operator(&mut self, op: &Operator<'_>) {
        match op {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. }
            | Operator::Try { .. } => self.push_dead_frame(),
            Operator::Else => self.enter_else(),
            Operator::Catch { tag_index } => self.enter_catch(Some(index(*tag_index))),
            Operator::CatchAll => self.enter_catch(None),
            Operator::Delegate { relative_depth } => self.delegate(*relative_depth),
            Operator::End => self.end(),
            _ => {}
        }
    }

    // --- calls ---

    /// Emits a call with the handler of the innermost enclosing `try`, if there is one, and pushes the
    /// results.
    pub(super) fn emit_call(&mut self, callee: Callee, args: &[Value]) {
        let Some(landing) = self.landing(self.stacks.control.len()) else {
            let call = match callee {
                Callee::Direct(callee) => self.builder.ins().call(callee, args),
                Callee::Indirect(signature, code) => self.builder.ins().call_indirect(signature, code, args),
            };
            self.stacks.operands.extend_from_slice(self.builder.inst_results(call));
            return;
        };
        let dfg = &mut self.builder.func.dfg;
        let signature = match callee {
            Callee::Direct(callee) => dfg.ext_funcs[callee].signature,
            Callee::Indirect(signature, _) => signature,
        };
        let results: Vec<ir::Type> =
            dfg.signatures[signature].returns.iter().map(|result| result.value_type).collect();
        let returned = self.builder.create_block();
        for ty in &results {
            self.builder.append_block_param(returned, *ty);
        }
        let dfg = &mut self.builder.func.dfg;
        let on_return = ir::BlockCall::new(
            returned,
            (0..results.len()).map(|i| BlockArg::TryCallRet(i as u32)),
            &mut dfg.value_lists,
        );
        let on_throw = ir::BlockCall::new(landing, [BlockArg::TryCallExn(0)], &mut dfg.value_lists);
        let handlers = [ir::ExceptionTableItem::Default(on_throw)];
        let table = dfg.exception_tables.push(ir::ExceptionTableData::new(signature, on_return, handlers));
        match callee {
            Callee::Direct(callee) => self.builder.ins().try_call(callee, args, table),
            Callee::Indirect(_, code) => self.builder.ins().try_call_indirect(code, args, table),
        };
        self.builder.seal_block(returned);
        self.builder.switch_to_block(returned);
        self.stacks.operands.extend_from_slice(self.builder.block_params(returned));
    }

    fn call_args(&mut self, vmctx: Value, count: usize) -> Vec<Value> {
        let mut args = vec![vmctx];
        args.extend(self.take_args(count));
        args
    }

    fn call(&mut self, callee: FuncIndex, tail: bool) {
        let info = self.env.module.info;
        let params = info.func_type(callee).ty().params.len();
        match info.defined_func(callee) {
            Some(defined) => {
                let args = self.call_args(self.env.vmctx(), params);
                let callee = self.env.callee(&mut self.builder, callee, defined);
                if tail {
                    self.env.poll(&mut self.builder);
                    self.builder.ins().return_call(callee, &args);
                } else {
                    self.emit_call(Callee::Direct(callee), &args);
                }
            }
            None => {
                let ty = info.functions[callee].ty;
                let target = self.env.imported_function(&mut self.builder, callee);
                self.call_target(target, ty, tail);
            }
        }
        self.reachable = !tail;
    }

    /// Calls code of this type with its context. The arguments are on the stack.
    fn call_target(&mut self, (code, vmctx): (Value, Value), ty: TypeIndex, tail: bool) {
        let params = self.env.module.info.types[ty].ty().params.len();
        let args = self.call_args(vmctx, params);
        let signature = self.env.signature(&mut self.builder, ty);
        if tail {
            self.env.poll(&mut self.builder);
            self.builder.ins().return_call_indirect(signature, code, &args);
        } else {
            self.emit_call(Callee::Indirect(signature, code), &args);
        }
        self.reachable = !tail;
    }

    fn call_indirect(&mut self, table: u32, ty: u32, tail: bool) {
        let (table, ty) = (index(table), type_index(ty));
        let element = self.pop_i64();
        let func_ref = self.env.table_get(&mut self.builder, table, element, TrapCode::UndefinedElement);
        let target = self.env.checked_func_ref(&mut self.builder, func_ref, ty);
        self.call_target(target, ty, tail);
    }

    fn call_ref(&mut self, ty: u32, tail: bool) {
        let func_ref = self.pop1();
        self.trapz(func_ref, TrapCode::NullFunctionReference.to_clif());
        let target = self.env.func_ref_target(&mut self.builder, func_ref);
        self.call_target(target, type_index(ty), tail);
    }

    // --- tables and memories ---

    fn as_i64(&mut self, value: Value) -> Value {
        match self.builder.func.dfg.value_type(value) {
            types::I64 => value,
            _ => self.builder.ins().uextend(types::I64, value),
        }
    }

    fn pop_i64(&mut self) -> Value {
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
                self.bulk(Libcall::memory_fill, &[mem], &[dst, value, len]);
            }
            O::MemoryCopy { dst_mem, src_mem } => {
                let (dst, src, len) = self.pop3();
                self.bulk(Libcall::memory_copy, &[dst_mem, src_mem], &[dst, src, len]);
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
                assert!(known, "an operator this engine refuses passed `parse`: {op:?}");
            }
        }
    }
}
