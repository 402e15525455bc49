//! Exceptions in the first tier: `try_table`, the legacy `try`, `throw` and related operators.
//!
//! Part of its translator. As in the optimising tier, a call inside a `try` continues at its *landing* with an
//! exception, which is in `rax` there. The code at the landing compares the tags, and passes on an exception that none
//! matches. In a handler of a legacy `try`, the exception has the place of the first operand above the construct, below
//! the handler's own operands. Invariant: a landing expects nothing of any register but `rax` and the frame pointer.

use super::asm::*;
use super::control::Kind;
use super::values::{Place, Ty, place};
use super::{Baseline, Label, Result, SCRATCH, SCRATCH2, VMCTX, VMCTX_PLACE};
use crate::abi::TrapCode;
use crate::abi::libcalls::Libcall;
use crate::abi::offsets;
use crate::compile::environ::index;
use crate::compile::trampolines::{libcall_name, value_offset};
use crate::parse::info::TagIndex;

impl Baseline<'_> {
    /// Where calls inside the `depth` outermost frames continue with an exception.
    pub(super) fn landing(&self, depth: usize) -> Option<Label> {
        let innermost = self.control.get(depth.checked_sub(1)?)?;
        match innermost.kind {
            Kind::Try { landing } | Kind::TryTable { landing } => Some(landing),
            _ => innermost.landing_around,
        }
    }

    /// After a call that may throw.
    pub(super) fn catch_here(&mut self) {
        if let Some(landing) = self.landing(self.control.len()) {
            self.catching.push((self.asm.at(), landing));
        }
    }

    /// The code at a landing begins here.
    fn land_exception(&mut self, landing: Label) {
        self.bind(landing);
        self.asm.mov(W::Q, VMCTX, VMCTX_PLACE);
        self.load_memory_base();
    }

    /// Ends the code with the exception in `rax`: it continues at a landing, or leaves the function.
    fn propagate(&mut self, landing: Option<Label>) {
        match landing {
            Some(landing) => self.jump(landing),
            None => {
                self.asm.mov(W::Q, RSI, Rm::Reg(RAX));
                self.call_throwing(Libcall::throw_ref);
            }
        }
        self.reachable = false;
    }

    /// Calls a libcall that does not return. Its arguments are in their registers.
    fn call_throwing(&mut self, libcall: Libcall) {
        self.asm.mov(W::Q, RDI, Rm::Reg(VMCTX));
        self.call_direct(libcall_name(self.module.info, libcall));
        self.catch_here();
        self.trap(TrapCode::Unreachable);
    }

    /// Jumps if the exception in this place does not have the tag. Otherwise pushes its values.
    fn match_tag(&mut self, exception: u32, tag: TagIndex, rest: Label) -> Result {
        self.asm.mov(W::Q, SCRATCH, place(exception));
        self.asm.mov(W::Q, SCRATCH2, Rm::Mem(VMCTX, self.module.offsets.tag(tag)));
        self.asm.alu(Alu::Cmp, W::Q, SCRATCH2, Rm::Mem(SCRATCH, offsets::exception::TAG));
        self.jump_if(Cc::NE, rest);
        self.asm.mov(W::Q, SCRATCH, Rm::Mem(SCRATCH, offsets::exception::VALUES));
        for (i, param) in self.module.info.tag_type(tag).ty().params.iter().enumerate() {
            self.values.push_loaded(&mut self.asm, Ty::of(*param)?, Rm::Mem(SCRATCH, value_offset(i)));
        }
        Ok(())
    }

    pub(super) fn throw(&mut self, tag: u32) {
        let params = self.module.info.tag_type(index::<TagIndex>(tag)).ty().params.len();
        let address = self.values.copy_apart(&mut self.asm, params);
        self.asm.mov_imm(RSI, u64::from(tag));
        self.asm.lea(RDX, address);
        self.call_throwing(Libcall::throw);
    }

    pub(super) fn throw_ref(&mut self) {
        let exception = self.values.pop();
        self.values.load_into(&mut self.asm, RSI, exception);
        self.call_throwing(Libcall::throw_ref);
    }

    pub(super) fn rethrow(&mut self, depth: u32) {
        let height = self.frame_mut(depth).height;
        let exception = self.values.own_place(height);
        self.asm.mov(W::Q, RAX, place(exception));
        self.propagate(self.landing(self.control.len()));
    }

    pub(super) fn enter_try_table(&mut self, table: &wasmparser::TryTable) -> Result {
        use wasmparser::Catch;
        self.values.settle(&mut self.asm);
        let (landing, body) = (self.label(), self.label());
        self.jump(body);
        self.land_exception(landing);
        let height = self.values.len();
        let exception = self.values.own_place(height);
        self.values.push_register(&mut self.asm, Ty::I64, RAX);
        self.values.settle(&mut self.asm);
        let mut open = true;
        for catch in &table.catches {
            let (tag, label, with_ref) = match *catch {
                Catch::One { tag, label } => (Some(tag), label, false),
                Catch::OneRef { tag, label } => (Some(tag), label, true),
                Catch::All { label } => (None, label, false),
                Catch::AllRef { label } => (None, label, true),
            };
            let rest = self.label();
            if let Some(tag) = tag {
                self.match_tag(exception, index(tag), rest)?;
            }
            if with_ref {
                self.values.push(&mut self.asm, Ty::I64, Place::Frame(exception));
            }
            // Labels are relative to the outside of the try_table, whose frame is not yet pushed.
            let (label, count, target) = self.target(label);
            self.values.copy_to(&mut self.asm, count, target);
            self.jump(label);
            self.values.reset(height, &[Ty::I64]);
            self.bind(rest);
            if tag.is_none() {
                open = false;
                break;
            }
        }
        if open {
            self.asm.mov(W::Q, RAX, place(exception));
            self.propagate(self.landing(self.control.len()));
        }
        self.values.reset(height, &[]);
        self.reachable = true;
        self.bind(body);
        self.open(table.ty, Kind::TryTable { landing })
    }

    pub(super) fn enter_try(&mut self, ty: wasmparser::BlockType) -> Result {
        self.values.settle(&mut self.asm);
        let landing = self.label();
        self.open(ty, Kind::Try { landing })
    }

    /// `catch` of the legacy proposal, or `catch_all` without a tag.
    pub(super) fn enter_catch(&mut self, tag: Option<u32>) -> Result {
        let Some(frame) = self.control.last() else { return Ok(()) };
        let (kind, height) = (frame.kind, frame.height);
        if !matches!(kind, Kind::Try { .. } | Kind::Catch { rest: Some(_) }) {
            return Ok(());
        }
        self.leave_arm();
        match kind {
            Kind::Try { landing } => {
                self.land_exception(landing);
                self.values.reset(height, &[]);
                self.values.push_register(&mut self.asm, Ty::I64, RAX);
                self.values.settle(&mut self.asm);
            }
            Kind::Catch { rest: Some(rest) } => {
                self.bind(rest);
                self.values.reset(height, &[Ty::I64]);
            }
            _ => {}
        }
        let rest = match tag {
            Some(tag) => {
                let (exception, rest) = (self.values.own_place(height), self.label());
                self.match_tag(exception, index(tag), rest)?;
                Some(rest)
            }
            None => None,
        };
        if let Some(frame) = self.control.last_mut() {
            frame.kind = Kind::Catch { rest };
        }
        self.reachable = true;
        Ok(())
    }

    /// `delegate`: ends a `try` and passes its exceptions to the enclosing frame of this depth.
    pub(super) fn delegate(&mut self, depth: u32) {
        let around = self.control.len() - 1;
        if let Some(&Kind::Try { landing }) = self.control.last().map(|frame| &frame.kind) {
            self.leave_arm();
            self.land_exception(landing);
            self.propagate(self.landing(around - depth as usize));
            if let Some(frame) = self.control.last_mut() {
                frame.kind = Kind::Block;
            }
        }
        self.end();
    }

    /// At the `end` of a legacy `try`, whose frame is popped: exceptions that no `catch` matched continue outside.
    pub(super) fn end_try(&mut self, kind: Kind, height: usize) {
        match kind {
            Kind::Try { landing } => self.land_exception(landing),
            Kind::Catch { rest: Some(rest) } => {
                self.bind(rest);
                self.asm.mov(W::Q, RAX, place(self.values.own_place(height)));
            }
            _ => return,
        }
        self.propagate(self.landing(self.control.len()));
    }
}
