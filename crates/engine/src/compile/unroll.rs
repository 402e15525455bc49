//! Translates the bodies of small loops several times in a row.
//!
//! Called by the translator at a `loop` that contains no other. Invariant: every operator of the loop runs as
//! often and in the same order as without. Only the poll of the loop runs once for several turns, so the number
//! of turns between two polls is at most [`MOST`].
//!
//! A turn of a small loop costs as much as what surrounds it: the poll, and the jump back, of which a processor
//! takes one in a cycle or two.

use super::stack::{BlockType, Frame, FrameKind};
use super::translate::FuncTranslator;
use cranelift_codegen::ir;
use wasmparser::{Operator, OperatorsReader};

/// The most turns in a row.
const MOST: usize = 4;
/// The most operators of all turns together.
const OPERATORS: usize = 96;

/// The operators of a loop's body with their offsets, without the final `end`.
type Body<'b> = Vec<(Operator<'b>, u64)>;

/// The body of a loop that is worth unrolling, and into how many turns. `operators` is behind the `loop`.
fn small_loop<'b>(operators: &OperatorsReader<'b>) -> Option<(Body<'b>, usize)> {
    use Operator as O;
    let mut reader = OperatorsReader::new(operators.get_binary_reader());
    let mut body = Vec::new();
    let (mut depth, mut repeats, mut counted) = (0u32, false, 0);
    loop {
        let (op, offset) = reader.read_with_offset().ok()?;
        match op {
            O::Block { .. } | O::If { .. } => depth += 1,
            O::Else => {}
            O::End if depth == 0 => break,
            O::End => depth -= 1,
            // Next to what these take, a turn costs little.
            O::Loop { .. }
            | O::BrTable { .. }
            | O::Call { .. }
            | O::CallIndirect { .. }
            | O::CallRef { .. }
            | O::ReturnCall { .. }
            | O::ReturnCallIndirect { .. }
            | O::ReturnCallRef { .. }
            | O::Try { .. }
            | O::TryTable { .. }
            | O::Catch { .. }
            | O::CatchAll
            | O::Delegate { .. }
            | O::Rethrow { .. }
            | O::Throw { .. }
            | O::ThrowRef
            | O::MemoryGrow { .. }
            | O::MemoryFill { .. }
            | O::MemoryCopy { .. }
            | O::MemoryInit { .. }
            | O::TableGrow { .. }
            | O::TableFill { .. }
            | O::TableCopy { .. }
            | O::TableInit { .. } => return None,
            O::Br { relative_depth } | O::BrIf { relative_depth } => repeats |= relative_depth == depth,
            _ => {}
        }
        counted += usize::from(!matches!(op, O::Block { .. } | O::Else | O::End));
        if counted > OPERATORS / 2 || depth as usize > OPERATORS {
            return None;
        }
        body.push((op, offset));
    }
    repeats.then_some((body, (OPERATORS / counted.max(1)).min(MOST)))
}

impl FuncTranslator<'_> {
    /// Translates all turns of the loop that was just entered but the last. The caller translates that one, as
    /// the body of an ordinary loop. `operators` is at the body.
    pub(super) fn first_turns(&mut self, operators: &OperatorsReader<'_>, ty: BlockType, results: usize) {
        let Some((body, turns)) = small_loop(operators) else { return };
        let Some(FrameKind::Loop { header: first }) = self.stacks.control.last().map(|frame| &frame.kind)
        else {
            return;
        };
        let first = *first;
        for _ in 1..turns {
            // Branches back lead to the next turn.
            let next = self.block_with(ty.params(self.env.module.info));
            self.set_header(next);
            for (op, offset) in &body {
                self.any_operator(op, *offset, results);
            }
            self.end_turn(next);
        }
        self.set_header(first);
    }

    fn set_header(&mut self, block: ir::Block) {
        if let Some(Frame { kind: FrameKind::Loop { header }, .. }) = self.stacks.control.last_mut() {
            *header = block;
        }
    }

    /// Leaves the loop at the end of a turn, and begins the next one.
    fn end_turn(&mut self, next: ir::Block) {
        if self.reachable {
            self.jump_to_exit();
        }
        if let Some(frame) = self.stacks.control.last() {
            self.stacks.operands.truncate(frame.height);
        }
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
        let params = self.builder.block_params(next).to_vec();
        self.stacks.operands.extend(params);
        // All branches back may be in dead code.
        self.reachable = !self.builder.is_unreachable();
    }
}
