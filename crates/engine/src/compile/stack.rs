//! The two stacks of the translation: the operand stack as SSA values, and the control stack.
//!
//! Used only by the translator. Invariant: in reachable code the operand stack is the same as the
//! validator's. In dead code only the depth of the control stack is tracked.

use crate::parse::info::{ModuleInfo, TypeIndex};
use crate::types::ValType;
use cranelift_codegen::ir::{Block, Value};
use cranelift_entity::EntityRef;

/// The type of a block, without a copy of the module's types.
#[derive(Clone, Copy)]
pub enum BlockType {
    Empty,
    Result(ValType),
    Func(TypeIndex),
}

impl BlockType {
    pub fn params(self, info: &ModuleInfo) -> &[ValType] {
        match self {
            BlockType::Empty | BlockType::Result(_) => &[],
            BlockType::Func(index) => &info.types[index].ty().params,
        }
    }

    pub fn results<'a>(&'a self, info: &'a ModuleInfo) -> &'a [ValType] {
        match self {
            BlockType::Empty => &[],
            BlockType::Result(ty) => std::slice::from_ref(ty),
            BlockType::Func(index) => &info.types[*index].ty().results,
        }
    }
}

pub enum FrameKind {
    Block,
    Loop {
        header: Block,
    },
    If {
        /// The target of a false condition. Used at `else`, or at `end` if there is none.
        else_block: Option<Block>,
        /// The initial operands of the `else` arm.
        params: Box<[Value]>,
    },
    TryTable {
        /// Where calls inside continue with an exception.
        landing: Block,
    },
    /// The `try` of the legacy proposal.
    Try {
        /// Where calls of the body continue with an exception.
        landing: Block,
        state: TryState,
    },
    /// Opened in dead code: nothing is emitted for it.
    Dead,
}

pub enum TryState {
    Body,
    /// In a `catch` or `catch_all`.
    Catch {
        exception: Value,
        /// The block for exceptions that no `catch` so far has matched. `None` after `catch_all`.
        rest: Option<Block>,
    },
}

pub struct Frame {
    pub kind: FrameKind,
    pub ty: BlockType,
    /// The block after the construct. Its parameters are the results.
    pub exit: Block,
    /// Whether anything jumps to `exit`.
    pub exit_reached: bool,
    /// The number of operands below the construct's parameters.
    pub height: usize,
    /// Where calls around the construct continue with an exception.
    pub landing_around: Option<Block>,
}

#[derive(Default)]
pub struct Stacks {
    pub operands: Vec<Value>,
    pub control: Vec<Frame>,
}

impl Stacks {
    /// Where calls inside the `depth` outermost frames continue with an exception. `None` if no such frame
    /// catches any.
    pub fn landing(&self, depth: usize) -> Option<Block> {
        let innermost = self.control.get(depth.checked_sub(1)?)?;
        match innermost.kind {
            FrameKind::TryTable { landing } | FrameKind::Try { landing, state: TryState::Body } => {
                Some(landing)
            }
            _ => innermost.landing_around,
        }
    }

    /// The frame of a branch depth: 0 is the innermost.
    pub fn frame_mut(&mut self, depth: u32) -> &mut Frame {
        let index = self.control.len() - 1 - depth as usize;
        &mut self.control[index]
    }
}

pub fn type_index(index: u32) -> TypeIndex {
    TypeIndex::new(index as usize)
}
