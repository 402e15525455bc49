//! Control flow of the first tier: blocks, loops, branches and returns.
//!
//! Part of its translator. Invariants: when a construct opens, all operands are in their places, and those below it stay
//! there. A branch moves what it passes to the places of the target's results or parameters.

use super::asm::*;
use super::values::Ty;
use super::{Baseline, Label, Result, SCRATCH, SCRATCH2, Stub, TURNS_PLACE, VMCTX};
use crate::abi::TrapCode;
use crate::abi::offsets;
use crate::compile::stack::type_index;
use crate::types::ValType;
use wasmparser::Operator;

/// A construct that is open.
pub struct Frame {
    pub kind: Kind,
    /// Where branches to it go.
    pub label: Label,
    /// Operands below its parameters.
    pub height: usize,
    pub params: Vec<Ty>,
    pub results: Vec<Ty>,
    /// Whether a branch leads to its end.
    pub reached: bool,
    /// Where calls around the construct continue with an exception.
    pub landing_around: Option<Label>,
}

#[derive(Clone, Copy)]
pub enum Kind {
    Block,
    Loop,
    /// The label is for a false condition. It is used at `else`, or at `end` if there is none.
    If {
        otherwise: Option<Label>,
    },
    TryTable {
        landing: Label,
    },
    /// The body of a legacy `try`.
    Try {
        landing: Label,
    },
    /// A handler of a legacy `try`. Exceptions that none so far has matched continue at `rest`.
    Catch {
        rest: Option<Label>,
    },
    /// Opened in dead code: nothing is emitted for it.
    Dead,
}

impl Frame {
    pub fn new(label: Label, kind: Kind) -> Frame {
        Frame {
            kind,
            label,
            height: 0,
            params: Vec::new(),
            results: Vec::new(),
            reached: false,
            landing_around: None,
        }
    }

    fn is_loop(&self) -> bool {
        matches!(self.kind, Kind::Loop)
    }
}

impl Baseline<'_> {
    pub(super) fn open(&mut self, ty: wasmparser::BlockType, kind: Kind) -> Result {
        let info = self.module.info;
        let each = |tys: &[ValType]| tys.iter().map(|ty| Ty::of(*ty)).collect::<Result<Vec<Ty>>>();
        let (params, results) = match ty {
            wasmparser::BlockType::Empty => (Vec::new(), Vec::new()),
            wasmparser::BlockType::Type(ty) => (Vec::new(), vec![Ty::of_wasm(ty)?]),
            wasmparser::BlockType::FuncType(ty) => {
                let ty = info.types[type_index(ty)].ty();
                (each(&ty.params)?, each(&ty.results)?)
            }
        };
        let label = self.label();
        let height = self.values.len() - params.len();
        let landing_around = self.landing(self.control.len());
        let frame = Frame { height, params, results, landing_around, ..Frame::new(label, kind) };
        self.control.push(frame);
        Ok(())
    }

    pub(super) fn enter_loop(&mut self, ty: wasmparser::BlockType) -> Result {
        self.values.settle(&mut self.asm);
        self.open(ty, Kind::Loop)?;
        let Some(header) = self.control.last().map(|frame| frame.label) else { return Ok(()) };
        self.bind(header);
        if self.module.tunables.interruptible {
            let store = Rm::Mem(VMCTX, offsets::header::STORE);
            self.asm.mov(W::Q, SCRATCH, store);
            self.may_fault(TrapCode::Interrupted);
            self.asm.mov(W::D, SCRATCH2, Rm::Mem(SCRATCH, -4));
        }
        // The exception that a handler of a legacy `try` has is no operand, so the other tier would not find it.
        if self.control.iter().any(|frame| matches!(frame.kind, Kind::Catch { .. })) {
            return Ok(());
        }
        self.asm.alu_imm(Alu::Sub, W::D, TURNS_PLACE, 1);
        let from = self.asm.jcc(Cc::E);
        let values = (self.values.locals.len() + self.values.len()) as u32;
        let back = self.asm.at();
        self.stubs.push(Stub::Hot { from, back, at: self.at, values });
        Ok(())
    }

    pub(super) fn enter_if(&mut self, ty: wasmparser::BlockType) -> Result {
        let condition = self.pop_condition();
        self.values.settle(&mut self.asm);
        let otherwise = self.label();
        self.jump_if(condition.not(), otherwise);
        self.open(ty, Kind::If { otherwise: Some(otherwise) })
    }

    /// Leaves one of the parts of a construct with its results, if its end can be reached.
    pub(super) fn leave_arm(&mut self) {
        if self.reachable {
            let (label, count, height) = self.target(0);
            self.values.copy_to(&mut self.asm, count, height);
            self.jump(label);
        }
    }

    pub(super) fn enter_else(&mut self) {
        let Some(Frame { kind: Kind::If { otherwise: Some(otherwise) }, .. }) = self.control.last() else {
            return;
        };
        let otherwise = *otherwise;
        self.leave_arm();
        let Some(frame) = self.control.last_mut() else { return };
        frame.kind = Kind::If { otherwise: None };
        self.values.reset(frame.height, &frame.params);
        self.bind(otherwise);
        self.reachable = true;
    }

    pub(super) fn end(&mut self) {
        let Some(mut frame) = self.control.pop() else { return };
        match frame.kind {
            Kind::Dead => return,
            Kind::Loop => {
                // Nothing comes together here: branches go to the header.
                if !self.reachable {
                    self.values.reset(frame.height, &frame.results);
                }
                return;
            }
            _ => {}
        }
        if self.reachable && self.control.is_empty() && !frame.reached {
            return self.return_();
        }
        let has_more = matches!(frame.kind, Kind::Try { .. } | Kind::Catch { rest: Some(_) });
        if self.reachable {
            self.values.copy_to(&mut self.asm, frame.results.len(), frame.height);
            frame.reached = true;
            if has_more {
                self.jump(frame.label);
            }
        }
        self.end_try(frame.kind, frame.height);
        if let Kind::If { otherwise: Some(otherwise) } = frame.kind {
            // Without an `else` the results are the parameters, which are in the same places.
            self.bind(otherwise);
            frame.reached = true;
        }
        self.bind(frame.label);
        self.values.reset(frame.height, &frame.results);
        self.reachable = frame.reached;
        if self.control.is_empty() && self.reachable {
            self.return_();
        }
    }

    pub(super) fn frame_mut(&mut self, depth: u32) -> &mut Frame {
        let index = self.control.len() - 1 - depth as usize;
        &mut self.control[index]
    }

    /// The target of a branch: its label, the number of operands it passes, and the height for them.
    pub(super) fn target(&mut self, depth: u32) -> (Label, usize, usize) {
        let frame = self.frame_mut(depth);
        frame.reached |= !frame.is_loop();
        let count = if frame.is_loop() { frame.params.len() } else { frame.results.len() };
        (frame.label, count, frame.height)
    }

    pub(super) fn br(&mut self, depth: u32) {
        let (label, count, height) = self.target(depth);
        self.values.copy_to(&mut self.asm, count, height);
        self.jump(label);
        self.reachable = false;
    }

    pub(super) fn br_if(&mut self, depth: u32) {
        let condition = self.pop_condition();
        let (label, count, height) = self.target(depth);
        if count == 0 {
            self.jump_if(condition, label);
            return;
        }
        let next = self.skip_if(condition.not());
        self.values.copy_to(&mut self.asm, count, height);
        self.jump(label);
        self.land(next);
    }

    pub(super) fn br_table(&mut self, table: &wasmparser::BrTable<'_>) -> Result {
        let selector = self.values.pop_int(&mut self.asm);
        let mut depths: Vec<u32> = table.targets().collect::<std::result::Result<_, _>>()?;
        let last = depths.len() as u64;
        depths.push(table.default());
        // A selector past the end becomes the default, also if the processor guesses.
        self.asm.mov_imm(SCRATCH2, last);
        self.asm.alu(Alu::Cmp, W::D, selector, Rm::Reg(SCRATCH2));
        self.asm.cmov(Cc::A, W::D, selector, Rm::Reg(SCRATCH2));
        let (_, count, _) = self.target(table.default());
        if count > 0 {
            self.values.settle(&mut self.asm);
        }
        let address = self.asm.lea_rip(SCRATCH);
        self.asm.movsx32(SCRATCH2, Rm::Scaled(SCRATCH, selector, 2));
        self.values.release(selector);
        self.asm.alu(Alu::Add, W::Q, SCRATCH2, Rm::Reg(SCRATCH));
        self.asm.jmp_reg(SCRATCH2);
        let start = self.asm.at();
        self.asm.patch(address, (start - (address + 4)) as i32);
        let mut stubs: Vec<(u32, Label)> = Vec::new();
        let mut known = std::collections::HashMap::new();
        for depth in depths {
            let label = if count == 0 {
                self.target(depth).0
            } else {
                *known.entry(depth).or_insert_with(|| {
                    let label = Label(self.labels.len() as u32);
                    self.labels.push(None);
                    stubs.push((depth, label));
                    label
                })
            };
            let place = self.asm.at();
            self.asm.code.extend_from_slice(&[0; 4]);
            self.fixups.push((place, start, label));
        }
        for (depth, label) in stubs {
            self.bind(label);
            let (label, count, height) = self.target(depth);
            self.values.copy_to(&mut self.asm, count, height);
            self.jump(label);
        }
        self.reachable = false;
        Ok(())
    }

    pub(super) fn return_(&mut self) {
        if self.values.len() > 0 && !self.ty.results.is_empty() {
            let value = self.values.at(self.values.len() - 1);
            if value.ty.is_float() {
                self.values.load_float_into(&mut self.asm, 0, value);
            } else {
                self.values.load_into(&mut self.asm, RAX, value);
            }
        }
        self.leave_frame();
        self.asm.ret(self.own_args as u16);
        self.reachable = false;
    }

    /// In dead code only the nesting is tracked.
    pub(super) fn dead_operator(&mut self, op: &Operator<'_>) -> Result {
        match op {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. }
            | Operator::Try { .. } => self.control.push(Frame::new(Label(0), Kind::Dead)),
            Operator::Else => self.enter_else(),
            Operator::Catch { tag_index } => self.enter_catch(Some(*tag_index))?,
            Operator::CatchAll => self.enter_catch(None)?,
            Operator::Delegate { relative_depth } => self.delegate(*relative_depth),
            Operator::End => self.end(),
            _ => {}
        }
        Ok(())
    }
}
