//! Exceptions in a function body: `try_table`, the legacy `try`, `throw` and related operators.
//!
//! Part of the translator. A call inside a `try` is a `try_call` whose exceptional edge goes to the *landing*
//! block of the `try`, with the exception. Code there compares the tags. An exception that matches none
//! continues at the landing of the next enclosing `try`, or is thrown again to the caller. The unwinder
//! therefore needs no tags. Invariant: `landing` is the handler in force where the next operator is emitted.

use super::environ::index;
use super::signatures::REFERENCE;
use super::stack::{Frame, FrameKind, TryState};
use super::translate::{Callee, FuncTranslator};
use crate::abi::TrapCode;
use crate::abi::libcalls::Libcall;
use crate::parse::info::TagIndex;
use cranelift_codegen::ir::{self, InstBuilder, Value};

impl FuncTranslator<'_> {
    pub(super) fn landing_block(&mut self) -> ir::Block {
        let landing = self.builder.create_block();
        self.builder.append_block_param(landing, REFERENCE);
        landing
    }

    /// The landing block for an exception inside the `depth` outermost frames.
    pub(super) fn landing(&self, depth: usize) -> Option<ir::Block> {
        self.stacks.landing(depth)
    }

    /// Ends the block by passing an exception to the handler inside the `depth` outermost frames.
    pub(super) fn propagate(&mut self, exception: Value, depth: usize) {
        match self.landing(depth) {
            Some(landing) => self.jump(landing, &[exception]),
            None => {
                self.env.libcall(&mut self.builder, Libcall::throw_ref, &[exception]);
                self.builder.ins().trap(TrapCode::Unreachable.to_clif());
            }
        }
    }

    /// Calls a libcall that does not return, with the enclosing handlers.
    fn emit_throw(&mut self, libcall: Libcall, args: &[Value]) {
        let callee = self.env.libcall_callee(&mut self.builder, libcall);
        let args: Vec<Value> = [self.env.vmctx()].into_iter().chain(args.iter().copied()).collect();
        self.emit_call(Callee::Direct(callee), &args);
        self.pop1();
        self.builder.ins().trap(TrapCode::Unreachable.to_clif());
        self.reachable = false;
    }

    pub(super) fn throw(&mut self, tag: TagIndex) {
        let params = self.env.module.info.tag_type(tag).ty().params.len();
        let values = self.take_args(params);
        let address = self.env.store_exception_values(&mut self.builder, &values);
        let tag = self.number(tag.as_u32());
        self.emit_throw(Libcall::throw, &[tag, address]);
    }

    pub(super) fn throw_ref(&mut self, exception: Value) {
        self.emit_throw(Libcall::throw_ref, &[exception]);
    }

    /// Branches to a new block if the exception has the tag. Returns the block for the other case.
    fn match_tag(&mut self, exception: Value, tag: TagIndex) -> ir::Block {
        let matches = self.env.has_tag(&mut self.builder, exception, tag);
        let (matched, rest) = (self.builder.create_block(), self.builder.create_block());
        self.builder.ins().brif(matches, matched, [], rest, []);
        self.builder.seal_block(matched);
        self.builder.seal_block(rest);
        self.builder.switch_to_block(matched);
        rest
    }

    pub(super) fn enter_try_table(&mut self, table: &wasmparser::TryTable, results: usize) {
        use wasmparser::Catch;
        self.keep_operands();
        let landing = self.landing_block();
        let body = self.builder.create_block();
        self.builder.ins().jump(body, []);
        self.builder.switch_to_block(landing);
        let exception = self.builder.block_params(landing)[0];
        let mut open = true;
        for catch in &table.catches {
            let (tag, label, with_ref) = match *catch {
                Catch::One { tag, label } => (Some(tag), label, false),
                Catch::OneRef { tag, label } => (Some(tag), label, true),
                Catch::All { label } => (None, label, false),
                Catch::AllRef { label } => (None, label, true),
            };
            let mut rest = None;
            let mut values = Vec::new();
            if let Some(tag) = tag {
                rest = Some(self.match_tag(exception, index(tag)));
                values = self.env.exception_values(&mut self.builder, exception, index(tag));
            }
            values.extend(with_ref.then_some(exception));
            // Labels are relative to the outside of the try_table, whose frame is not yet pushed.
            let (target, _) = self.branch_target(label, results);
            self.jump(target, &values);
            match rest {
                Some(rest) => self.builder.switch_to_block(rest),
                None => {
                    open = false;
                    break;
                }
            }
        }
        if open {
            self.propagate(exception, self.stacks.control.len());
        }
        self.builder.switch_to_block(body);
        self.builder.seal_block(body);
        let ty = self.block_type(table.ty);
        self.push_frame(FrameKind::TryTable { landing }, ty);
    }

    /// `catch` of the legacy proposal, or `catch_all` without a tag.
    pub(super) fn enter_catch(&mut self, tag: Option<TagIndex>) {
        let Some(frame) = self.stacks.control.last_mut() else { return };
        let FrameKind::Try { landing, ref state } = frame.kind else { return };
        let (start, exception) = match *state {
            TryState::Body => (landing, None),
            TryState::Catch { exception, rest: Some(rest) } => (rest, Some(exception)),
            TryState::Catch { rest: None, .. } => return,
        };
        let height = frame.height;
        if self.reachable {
            self.jump_to_exit();
        }
        self.builder.switch_to_block(start);
        let exception = exception.unwrap_or_else(|| {
            self.builder.seal_block(landing);
            self.builder.block_params(landing)[0]
        });
        self.stacks.operands.truncate(height);
        self.reload_operands();
        let rest = tag.map(|tag| {
            let rest = self.match_tag(exception, tag);
            let values = self.env.exception_values(&mut self.builder, exception, tag);
            self.stacks.operands.extend(values);
            rest
        });
        if let Some(frame) = self.stacks.control.last_mut() {
            frame.kind = FrameKind::Try { landing, state: TryState::Catch { exception, rest } };
        }
        self.reachable = true;
    }

    /// `delegate`: ends a `try` and passes its exceptions to the enclosing frame of this depth.
    pub(super) fn delegate(&mut self, depth: u32) {
        let around = self.stacks.control.len() - 1;
        if let Some(Frame { kind: FrameKind::Try { landing, .. }, .. }) = self.stacks.control.last() {
            let landing = *landing;
            if self.reachable {
                self.jump_to_exit();
            }
            self.builder.switch_to_block(landing);
            self.builder.seal_block(landing);
            let exception = self.builder.block_params(landing)[0];
            self.propagate(exception, around - depth as usize);
            self.reachable = false;
            if let Some(frame) = self.stacks.control.last_mut() {
                frame.kind = FrameKind::Block;
            }
        }
        self.end();
    }

    /// Leaves the innermost construct with its results.
    pub(super) fn jump_to_exit(&mut self) {
        let Some(frame) = self.stacks.control.last_mut() else { return };
        frame.exit_reached = true;
        let (exit, results) = (frame.exit, frame.ty.results(self.env.module.info).len());
        let args = self.take_args(results);
        self.jump(exit, &args);
    }

    /// At the `end` of a legacy `try`: exceptions that no `catch` matched continue outside.
    pub(super) fn end_try(&mut self, landing: ir::Block, state: TryState) {
        let (block, exception) = match state {
            TryState::Body => {
                self.builder.seal_block(landing);
                (landing, self.builder.block_params(landing)[0])
            }
            TryState::Catch { exception, rest: Some(rest) } => (rest, exception),
            TryState::Catch { rest: None, .. } => return,
        };
        self.builder.switch_to_block(block);
        self.propagate(exception, self.stacks.control.len());
    }
}
