//! Control flow of a translation: blocks, loops, branches.
//!
//! Called by `translate.rs`, and by the files whose operators open blocks. Invariant: a block that is left is
//! sealed as soon as nothing can branch to it any more.

use super::environ::index;
use super::signatures::*;
use super::stack::*;
use super::translate::FuncTranslator;
use crate::types::*;
use cranelift_codegen::ir::{self, BlockArg, InstBuilder, JumpTableData, Value};
use std::collections::HashMap;
use wasmparser::Operator;

impl FuncTranslator<'_> {
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

    pub(super) fn push_dead_frame(&mut self) {
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

    pub(super) fn enter_loop(&mut self, ty: BlockType) {
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
        self.leave_when_hot();
        if self.env.module.tunables.fuel {
            self.env.check_fuel(&mut self.builder);
        }
    }

    pub(super) fn enter_if(&mut self, ty: BlockType) {
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

    pub(super) fn enter_else(&mut self) {
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

    pub(super) fn br(&mut self, depth: u32, results: usize) {
        let (block, count) = self.branch_target(depth, results);
        let args = self.take_args(count);
        self.jump(block, &args);
        self.reachable = false;
    }

    /// Branches if `condition` is not zero, or zero with `when` false. Otherwise falls through.
    pub(super) fn br_when(&mut self, depth: u32, condition: Value, when: bool, results: usize) {
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

    pub(super) fn br_table(&mut self, table: &wasmparser::BrTable<'_>, results: usize) {
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

    pub(super) fn return_(&mut self, results: usize) {
        if let Some(end) = self.inlined.end(self.stacks.control.len()) {
            return self.br(end, results);
        }
        let values = self.take_args(results);
        self.builder.ins().return_(&values);
        self.reachable = false;
    }

    /// In dead code only the nesting is tracked.
    pub(super) fn dead_operator(&mut self, op: &Operator<'_>) {
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
}
