//! Loops of the first tier, where Cranelift makes that: each counts its turns, and is left for better code of it.
//!
//! Part of the translator. The first tier of our own does the same (`baseline/control.rs`). When there were many turns, the
//! libcall `better_loop` is given the values of locals and operands, and answers with the address of code that begins at
//! the loop (`loop_entry.rs`), if it is there. That is then called in place of the rest of the function. Invariant: a value
//! takes 8 bytes, and the first one is the last in memory.

use super::signatures::{POINTER, loop_signature};
use super::stack::{FrameKind, TryState};
use super::translate::FuncTranslator;
use crate::abi::libcalls::Libcall;
use cranelift_codegen::ir::{InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value, types};
use cranelift_frontend::FunctionBuilder;

/// The most locals and operands of a loop that is left. Each is asked for at the header of each loop.
const MOST_VALUES: usize = 500;

/// What the loops of a function share.
pub(super) struct LoopExits {
    /// After how many turns a loop asks.
    every: i32,
    /// The turns that are left.
    turns: StackSlot,
    /// Where the values are passed. It becomes as large as any loop needs.
    values: StackSlot,
}

fn slot(b: &mut FunctionBuilder<'_>, size: u32) -> StackSlot {
    b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, size, 3))
}

impl LoopExits {
    /// At the start of the function.
    pub fn new(b: &mut FunctionBuilder<'_>, every: i32) -> LoopExits {
        let exits = LoopExits { every, turns: slot(b, 8), values: slot(b, 8) };
        exits.begin_to_count(b);
        exits
    }

    fn begin_to_count(&self, b: &mut FunctionBuilder<'_>) {
        let every = b.ins().iconst(types::I32, i64::from(self.every));
        b.ins().stack_store(POINTER, every, self.turns, 0);
    }
}

impl FuncTranslator<'_> {
    /// At the header of a loop, whose operator is the current one.
    pub(super) fn leave_when_hot(&mut self) {
        let count = self.locals.len() + self.stacks.operands.len();
        // The exception that a handler of a legacy `try` has is no operand, so the other code would not find it.
        let in_handler = |frame: &super::stack::Frame| {
            matches!(frame.kind, FrameKind::Try { state: TryState::Catch { .. }, .. })
        };
        if self.exits.is_none() || count > MOST_VALUES || self.stacks.control.iter().any(in_handler) {
            return;
        }
        let mut values: Vec<Value> = Vec::with_capacity(count);
        for local in 0..self.locals.len() {
            let variable = self.local(local as u32);
            values.push(self.builder.use_var(variable));
        }
        values.extend(&self.stacks.operands);
        let b = &mut self.builder;
        // They have no place of 8 bytes.
        if values.iter().any(|value| b.func.dfg.value_type(*value).bits() > 64) {
            return;
        }
        let Some(exits) = &self.exits else { return };
        let (hot, leave, stay) = (b.create_block(), b.create_block(), b.create_block());
        b.set_cold_block(hot);
        b.set_cold_block(leave);
        let turns = b.ins().stack_load(POINTER, types::I32, exits.turns, 0);
        let turns = b.ins().iadd_imm_s(turns, -1);
        b.ins().stack_store(POINTER, turns, exits.turns, 0);
        b.ins().brif(turns, stay, [], hot, []);
        b.seal_block(hot);
        b.switch_to_block(hot);
        exits.begin_to_count(b);
        let size = 8 * count.max(1) as u32;
        let slot = &mut b.func.sized_stack_slots[exits.values];
        slot.size = slot.size.max(size);
        for (place, value) in values.iter().rev().enumerate() {
            b.ins().stack_store(POINTER, *value, exits.values, 8 * place as i32);
        }
        let frame = b.ins().stack_addr(POINTER, exits.values, 0);
        let at = b.ins().iconst(types::I32, i64::from(self.at));
        let count = b.ins().iconst(types::I32, count as i64);
        let code = self.env.libcall(b, Libcall::better_loop, &[at, frame, count]);
        b.ins().brif(code, leave, [], stay, []);
        b.seal_block(leave);
        b.seal_block(stay);
        b.switch_to_block(leave);
        let signature = b.import_signature(loop_signature(self.ty));
        let vmctx = self.env.vmctx();
        b.ins().return_call_indirect(signature, code, &[vmctx]);
        b.switch_to_block(stay);
    }
}
