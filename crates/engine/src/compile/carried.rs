//! Ends the lives of variables where a loop takes the next turn's.
//!
//! Called by `driver.rs` between Cranelift's optimiser and its code generator. Invariant: each value stays what it was;
//! only which instruction makes it changes.
//!
//! In `loop { i += 1; if (i == n) break; }` the optimiser makes `i + 1` once more behind the loop, because an addition
//! costs little. But then both `i` and `i + 1` are alive at the branch, so they need a register each, and the way back
//! a move and a jump of its own. The sum that is passed to the next turn serves the code behind the branch, too, if
//! nothing else there uses the variable.

use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::ir::{Block, DataFlowGraph, Function, Inst, InstructionData, Opcode, Value};
use std::collections::HashMap;

/// What is made of a variable and a constant.
#[derive(Clone, Copy, PartialEq)]
struct Step {
    opcode: Opcode,
    variable: Value,
    constant: i64,
}

/// A step whose result is passed on where its block ends.
struct Carried {
    step: Step,
    block: Block,
    result: Value,
    /// The same steps behind the block.
    copies: Vec<Inst>,
    /// Whether nothing else there uses the variable.
    alone: bool,
}

pub(super) fn share(func: &mut Function, domtree: &DominatorTree) {
    let mut all = find(func);
    if all.is_empty() {
        return;
    }
    let mut places: HashMap<Value, Vec<usize>> = HashMap::new();
    for (place, carried) in all.iter().enumerate() {
        places.entry(carried.step.variable).or_default().push(place);
    }
    for block in func.layout.blocks() {
        for inst in func.layout.block_insts(block) {
            for value in func.dfg.inst_values(inst) {
                for place in places.get(&value).into_iter().flatten() {
                    let carried = &mut all[*place];
                    if block == carried.block || !domtree.block_dominates(carried.block, block) {
                        continue;
                    }
                    if step(&func.dfg, inst) == Some(carried.step) {
                        carried.copies.push(inst);
                    } else {
                        carried.alone = false;
                    }
                }
            }
        }
    }
    let mut changed = false;
    for carried in all.iter().filter(|carried| carried.alone) {
        for copy in &carried.copies {
            // It may be behind two blocks that carry the same.
            if func.layout.inst_block(*copy).is_none() {
                continue;
            }
            let result = func.dfg.first_result(*copy);
            func.layout.remove_inst(*copy);
            func.dfg.clear_results(*copy);
            func.dfg.change_to_alias(result, carried.result);
            changed = true;
        }
    }
    if changed {
        func.dfg.resolve_all_aliases();
    }
}

/// The steps that are carried, in the order of the function.
fn find(func: &Function) -> Vec<Carried> {
    let dfg = &func.dfg;
    let mut all: Vec<Carried> = Vec::new();
    for block in func.layout.blocks() {
        let Some(last) = func.layout.last_inst(block) else { continue };
        let first = all.len();
        for result in dfg.inst_values(last) {
            if let Some(inst) = dfg.value_def(result).inst()
                && func.layout.inst_block(inst) == Some(block)
                && let Some(step) = step(dfg, inst)
                && !dfg.inst_values(last).any(|value| value == step.variable)
                && !all[first..].iter().any(|known| known.result == result)
            {
                all.push(Carried { step, block, result, copies: Vec::new(), alone: true });
            }
        }
    }
    all
}

/// The step that an instruction is.
fn step(dfg: &DataFlowGraph, inst: Inst) -> Option<Step> {
    let InstructionData::Binary {
        opcode: opcode @ (Opcode::Iadd | Opcode::Isub),
        args: [variable, constant],
    } = dfg.insts[inst]
    else {
        return None;
    };
    let made = dfg.value_def(constant).inst()?;
    let InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } = dfg.insts[made] else { return None };
    Some(Step { opcode, variable, constant: imm.bits() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cranelift_codegen::flowgraph::ControlFlowGraph;
    use cranelift_codegen::ir::condcodes::IntCC;
    use cranelift_codegen::ir::{AbiParam, InstBuilder, types};
    use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

    /// How many additions are left of a loop that counts to ten, with the sum made once more behind it.
    /// `also` says whether the code behind the loop needs the variable, too.
    fn additions(also: bool) -> usize {
        let mut func = Function::new();
        func.signature.returns.push(AbiParam::new(types::I32));
        let mut context = FunctionBuilderContext::new();
        let mut b = FunctionBuilder::new(&mut func, &mut context);
        let (top, turn, end) = (b.create_block(), b.create_block(), b.create_block());
        let variable = b.append_block_param(turn, types::I32);
        b.switch_to_block(top);
        let zero = b.ins().iconst(types::I32, 0);
        b.ins().jump(turn, &[zero.into()]);
        b.switch_to_block(turn);
        let one = b.ins().iconst(types::I32, 1);
        let next = b.ins().iadd(variable, one);
        let more = b.ins().icmp_imm_u(IntCC::UnsignedLessThan, next, 10);
        b.ins().brif(more, turn, &[next.into()], end, []);
        b.switch_to_block(end);
        let again = b.ins().iconst(types::I32, 1);
        let copy = b.ins().iadd(variable, again);
        let result = if also { b.ins().bxor(copy, variable) } else { copy };
        b.ins().return_(&[result]);
        b.seal_all_blocks();
        let domtree = DominatorTree::with_function(&func, &ControlFlowGraph::with_function(&func));
        share(&mut func, &domtree);
        let all = func.layout.blocks().flat_map(|block| func.layout.block_insts(block));
        all.filter(|inst| func.dfg.insts[*inst].opcode() == Opcode::Iadd).count()
    }

    #[test]
    fn the_sum_for_the_next_turn_serves_the_code_behind_the_loop() {
        assert_eq!(additions(false), 1);
    }

    #[test]
    fn a_variable_that_lives_on_keeps_its_own_sum() {
        assert_eq!(additions(true), 2);
    }
}
