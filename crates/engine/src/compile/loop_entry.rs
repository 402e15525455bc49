//! Functions that begin in the middle: at the header of one of their loops.
//!
//! Part of the translator. The first tier jumps to such code when a loop is hot (`baseline/`). It takes the values of
//! locals and operands from the store, where the libcall `better_loop` left them: each has 8 bytes, the first one is
//! the last in memory, as in the first tier's frame. The function is translated as usual,
//! but its own start cannot be reached. Operands below a construct are therefore kept in variables while it is open:
//! what was computed before it may never have been. Invariant: where control comes together, the operands below are
//! read from their variables again.

use super::environ::FuncEnvironment;
use super::signatures::POINTER;
use super::translate::FuncTranslator;
use crate::abi::offsets;
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, Type, Value};
use cranelift_frontend::{FunctionBuilder, Variable};
use std::collections::HashMap;

/// Where the function begins.
pub(super) struct LoopEntry {
    /// The offset of the loop's operator in the module.
    at: u32,
    /// The block that leads to the loop's header.
    block: ir::Block,
    /// The address after the values.
    values: Value,
    /// The offset of the last one that was taken.
    offset: i32,
    /// A variable for each depth and type of an operand.
    variables: HashMap<(usize, Type), Variable>,
    /// The variables of the operands below the innermost construct.
    kept: Vec<Variable>,
}

impl LoopEntry {
    /// At the start of the function's real entry.
    pub fn new(b: &mut FunctionBuilder<'_>, env: &mut FuncEnvironment<'_>, at: u32) -> LoopEntry {
        let store = env.store(b);
        let values = b.ins().load(POINTER, MemFlagsData::trusted(), store, offsets::store::VALUES);
        let block = b.create_block();
        let (variables, kept) = (HashMap::new(), Vec::new());
        LoopEntry { at, block, values, offset: 0, variables, kept }
    }

    /// The value that comes next.
    pub fn next(&mut self, b: &mut FunctionBuilder<'_>, ty: Type) -> Value {
        self.offset -= 8;
        b.ins().load(ty, MemFlagsData::trusted(), self.values, self.offset)
    }

    /// Ends the entry, when the locals are set. What follows is the function's start, which nothing reaches.
    pub fn begin(&mut self, b: &mut FunctionBuilder<'_>) {
        b.ins().jump(self.block, []);
        let start = b.create_block();
        b.switch_to_block(start);
        b.seal_block(start);
    }
}

impl FuncTranslator<'_> {
    /// Before a construct: keeps all operands in variables.
    pub(super) fn keep_operands(&mut self) {
        if self.entry.is_none() {
            return;
        }
        for depth in 0..self.stacks.operands.len() {
            let value = self.canonical(self.stacks.operands[depth]);
            self.stacks.operands[depth] = value;
            let Some(entry) = &mut self.entry else { return };
            let ty = self.builder.func.dfg.value_type(value);
            let declare = || self.builder.declare_var(ty);
            let variable = *entry.variables.entry((depth, ty)).or_insert_with(declare);
            entry.kept.truncate(depth);
            entry.kept.push(variable);
            self.builder.def_var(variable, value);
        }
    }

    /// Where control comes together: takes the operands below a construct from their variables.
    pub(super) fn reload_operands(&mut self) {
        let Some(entry) = &self.entry else { return };
        for (operand, variable) in self.stacks.operands.iter_mut().zip(&entry.kept) {
            *operand = self.builder.use_var(*variable);
        }
    }

    /// Before the header of a loop whose parameters have these types: if it is the one to begin at, lets the entry
    /// lead there. The operands on the stack are those below it.
    pub(super) fn begin_here(&mut self, at: u32, header: ir::Block, params: &[Type]) {
        let Some(entry) = self.entry.as_mut().filter(|entry| entry.at == at) else { return };
        let b = &mut self.builder;
        b.switch_to_block(entry.block);
        b.seal_block(entry.block);
        for depth in 0..self.stacks.operands.len() {
            let ty = b.func.dfg.value_type(self.stacks.operands[depth]);
            let value = entry.next(b, ty);
            b.def_var(entry.kept[depth], value);
        }
        let args: Vec<ir::BlockArg> = params.iter().map(|ty| entry.next(b, *ty).into()).collect();
        b.ins().jump(header, &args);
    }
}
