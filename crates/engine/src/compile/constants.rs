//! Makes integer constants in each block that uses them.
//!
//! Called by `driver.rs` between Cranelift's optimiser and its code generator. Invariant: each value stays what
//! it was; only where it is made changes.
//!
//! A constant costs one instruction without operands. One that is made at the top of a function, or before a
//! loop, takes a register from there to its last use, and often the loop's own variables lie in memory for it.
//! The optimiser is meant to do this, but forgets it for each constant that it makes a second time.

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{DataFlowGraph, Function, Inst, InstructionData, Opcode, Value};
use std::collections::HashMap;

pub(super) fn make_at_uses(func: &mut Function) {
    let mut made: HashMap<Value, Value> = HashMap::new();
    let mut values: Vec<Value> = Vec::new();
    let mut cursor = FuncCursor::new(func);
    while let Some(block) = cursor.next_block() {
        made.clear();
        while let Some(inst) = cursor.next_inst() {
            let func = &mut *cursor.func;
            let mut changed = false;
            values.clear();
            values.extend(func.dfg.inst_values(inst));
            for value in &mut values {
                let Some(constant) = constant(&func.dfg, *value) else { continue };
                if func.layout.inst_block(constant) == Some(block) {
                    continue;
                }
                *value = *made.entry(*value).or_insert_with(|| {
                    let copy = func.dfg.clone_inst(constant);
                    func.layout.insert_inst(copy, inst);
                    func.dfg.first_result(copy)
                });
                changed = true;
            }
            if changed {
                func.dfg.overwrite_inst_values(inst, values.drain(..));
            }
        }
    }
}

/// The instruction that makes the value, if it is a constant.
fn constant(dfg: &DataFlowGraph, value: Value) -> Option<Inst> {
    let inst = dfg.value_def(value).inst()?;
    matches!(dfg.insts[inst], InstructionData::UnaryImm { opcode: Opcode::Iconst, .. }).then_some(inst)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cranelift_codegen::ir::{InstBuilder, types};
    use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

    #[test]
    fn a_block_that_uses_a_constant_has_one_of_its_own() {
        let mut func = Function::new();
        let mut context = FunctionBuilderContext::new();
        let mut b = FunctionBuilder::new(&mut func, &mut context);
        let (top, next, end) = (b.create_block(), b.create_block(), b.create_block());
        let passed = b.append_block_param(end, types::I32);
        b.switch_to_block(top);
        let seven = b.ins().iconst(types::I32, 7);
        let here = b.ins().iadd(seven, seven);
        b.ins().jump(next, []);
        b.switch_to_block(next);
        let there = b.ins().iadd(here, seven);
        b.ins().imul(there, seven);
        b.ins().jump(end, &[seven.into()]);
        b.switch_to_block(end);
        b.ins().return_(&[passed]);
        b.seal_all_blocks();
        make_at_uses(&mut func);
        let made_in = |block| {
            let insts = func.layout.block_insts(block);
            insts.filter(|inst| func.dfg.insts[*inst].opcode() == Opcode::Iconst).collect::<Vec<_>>()
        };
        // One for all three uses, and none where there is no use.
        assert_eq!([top, next, end].map(|block| made_in(block).len()), [1, 1, 0]);
        let own = func.dfg.first_result(made_in(next)[0]);
        let uses = func.layout.block_insts(next).flat_map(|inst| func.dfg.inst_values(inst));
        assert_eq!(uses.filter(|value| *value == own).count(), 3);
        assert!(!func.layout.block_insts(next).any(|inst| func.dfg.inst_values(inst).any(|v| v == seven)));
    }
}
