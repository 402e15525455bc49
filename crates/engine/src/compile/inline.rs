//! Translates calls of small functions as the bodies of those functions.
//!
//! Called by `calls.rs` at a direct call. Invariants: every operator runs as often and in the same order as without. An
//! operator of an inlined body keeps its own offset in the module, and with it the calls that led there, so a stack
//! names each function that wasm has called. Whether a call is inlined depends on the module's text alone.
//!
//! A call of a function of a few operators costs more than these: the frame, the check of the stack, the registers that
//! are saved around it. And the optimiser sees through it.

use super::signatures::clif_type;
use super::stack::{BlockType, FrameKind};
use super::translate::{FuncTranslator, Local, local_type};
use crate::parse::info::*;
use cranelift_codegen::ir::Type;
use cranelift_frontend::Variable;
use std::collections::HashMap;
use std::rc::Rc;
use wasmparser::{BinaryReader, FunctionBody, Operator};

/// Bytes of the largest body that is inlined anywhere, if it calls nothing.
const LEAF: usize = 40;
/// Bytes of the largest body that is inlined in loops, also if it calls others or itself. Recursion without a loop keeps
/// its frames: programs reckon with how many fit on a stack.
const HOT: usize = 80;
/// How many inlined bodies are in each other. The variables of more do not fit in the registers that a call leaves as they
/// are: a function that calls itself in a loop took 8% longer with three, and 12% with four.
const DEEPEST: usize = 2;
/// Bytes of all bodies that are inlined in one function: this, and a share of its own.
const FEW_BYTES: usize = 320;
const SHARE: usize = 4;
/// Locals of an inlined function.
const LOCALS: u32 = 16;

/// Marks the places that [`Places`] has among source locations.
const MARK: u32 = 1 << 31;

/// Where inlined operators come from.
#[derive(Default)]
pub(super) struct Places {
    /// Each inlined call: its offset in the module, and the inlined call whose body it is in.
    calls: Vec<(u32, Option<u32>)>,
    /// Each inlined operator: its call and its offset in the module.
    operators: Vec<(u32, u32)>,
}

impl Places {
    /// The offsets in the module of the operator at a source location, and of the calls that it is inlined by, the
    /// innermost first.
    pub fn of(&self, location: u32) -> impl Iterator<Item = u32> {
        let operator = self.operators.get((location & !MARK) as usize).filter(|_| location & MARK != 0);
        let (mut call, first) = match operator {
            Some((call, offset)) => (Some(*call), *offset),
            None => (None, location),
        };
        let calls = std::iter::from_fn(move || {
            let (offset, around) = *self.calls.get(call? as usize)?;
            call = around;
            Some(offset)
        });
        std::iter::once(first).chain(calls)
    }
}

/// A body that may be inlined, without its last `end`.
struct Body<'a> {
    locals: Vec<(u32, wasmparser::ValType)>,
    operators: Vec<(Operator<'a>, u64)>,
    /// Its size in the module.
    size: usize,
    calls: bool,
}

/// What is inlined in a function.
pub(super) struct Inlined<'a> {
    bytes: &'a [u8],
    pub places: Places,
    /// The bodies that are open, the outermost first: the call, and the number of constructs around the body.
    open: Vec<(u32, usize)>,
    /// How many bytes may still be inlined.
    room: usize,
    bodies: HashMap<DefinedFuncIndex, Option<Rc<Body<'a>>>>,
    /// Variables that no open body uses.
    unused: HashMap<Type, Vec<Variable>>,
}

impl<'a> Inlined<'a> {
    /// For a function of the module `bytes`. `size` is that of its body. Nothing is inlined unless that is wanted.
    pub fn new(bytes: &'a [u8], size: usize, wanted: bool) -> Inlined<'a> {
        Inlined {
            bytes,
            places: Places::default(),
            open: Vec::new(),
            // Marked locations must not be offsets of the module.
            room: if wanted && bytes.len() < MARK as usize { FEW_BYTES + size / SHARE } else { 0 },
            bodies: HashMap::new(),
            unused: HashMap::new(),
        }
    }

    /// The source location of an operator at this offset.
    pub fn place(&mut self, offset: u32) -> u32 {
        let Some((call, _)) = self.open.last() else { return offset };
        self.places.operators.push((*call, offset));
        MARK | (self.places.operators.len() - 1) as u32
    }

    /// The depth of the innermost inlined body's end, as a branch in it counts. `None` in the function's own body.
    pub fn end(&self, constructs: usize) -> Option<u32> {
        self.open.last().map(|(_, around)| (constructs - 1 - around) as u32)
    }

    fn body(&mut self, info: &ModuleInfo, index: DefinedFuncIndex) -> Option<Rc<Body<'a>>> {
        let range = info.bodies[index].clone();
        if range.len() > HOT {
            return None;
        }
        let offset = range.start as u64;
        let read = || read(&FunctionBody::new(BinaryReader::new(&self.bytes[range], offset))).map(Rc::new);
        self.bodies.entry(index).or_insert_with(read).clone()
    }

    fn fits(&self, body: &Body<'_>, in_loop: bool) -> bool {
        let most = if in_loop { HOT } else { LEAF };
        (in_loop || !body.calls) && body.size <= most.min(self.room) && self.open.len() < DEEPEST
    }
}

fn read<'a>(body: &FunctionBody<'a>) -> Option<Body<'a>> {
    use Operator as O;
    let mut locals = Vec::new();
    for declared in body.get_locals_reader().ok()? {
        locals.push(declared.ok()?);
    }
    if locals.iter().try_fold(0u32, |sum, (count, _)| sum.checked_add(*count))? > LOCALS {
        return None;
    }
    let mut operators = Vec::new();
    let mut calls = false;
    let mut reader = body.get_operators_reader().ok()?;
    while !reader.eof() {
        let (op, offset) = reader.read_with_offset().ok()?;
        match op {
            O::Call { .. } | O::CallIndirect { .. } | O::CallRef { .. } => calls = true,
            // A tail call leaves a frame, and an inlined body has none of its own. Exceptions are seldom small.
            O::ReturnCall { .. }
            | O::ReturnCallIndirect { .. }
            | O::ReturnCallRef { .. }
            | O::Try { .. }
            | O::TryTable { .. }
            | O::Catch { .. }
            | O::CatchAll
            | O::Delegate { .. }
            | O::Rethrow { .. }
            | O::Throw { .. }
            | O::ThrowRef => return None,
            _ => {}
        }
        operators.push((op, offset));
    }
    operators.pop();
    Some(Body { locals, operators, size: body.as_bytes().len(), calls })
}

impl<'a> FuncTranslator<'a> {
    /// Translates the body of a function in the place of a call, if that is worth it. The arguments are on the stack.
    pub(super) fn inline(&mut self, callee: FuncIndex, defined: DefinedFuncIndex) -> bool {
        let info = self.env.module.info;
        let ty = info.func_type(callee).ty();
        // Fuel is counted by functions.
        if ty.results.len() > 1 || self.env.module.tunables.fuel {
            return false;
        }
        let in_loop = self.stacks.control.iter().any(|frame| matches!(frame.kind, FrameKind::Loop { .. }));
        let Some(body) = self.inlined.body(info, defined) else { return false };
        if !self.inlined.fits(&body, in_loop) {
            return false;
        }
        self.inlined.room -= body.size;
        let locals = self.inlined_locals(ty, &body);
        let outer = std::mem::replace(&mut self.locals, locals);
        self.keep_operands();
        let result = ty.results.first().map_or(BlockType::Empty, |ty| BlockType::Result(*ty));
        self.push_frame(FrameKind::Block, result);
        let around = self.stacks.control.len() - 1;
        let call = self.inlined.places.calls.len() as u32;
        let calling = self.inlined.open.last().map(|(call, _)| *call);
        self.inlined.places.calls.push((self.operator_at, calling));
        self.inlined.open.push((call, around));
        for (op, offset) in &body.operators {
            self.any_operator(op, *offset, ty.results.len());
        }
        self.end();
        self.inlined.open.pop();
        for local in std::mem::replace(&mut self.locals, outer) {
            self.inlined.unused.entry(local.ty).or_default().push(local.variable);
        }
        true
    }

    /// The locals of an inlined function. Takes the arguments from the stack.
    fn inlined_locals(&mut self, ty: &crate::types::FuncType, body: &Body<'_>) -> Vec<Local> {
        let args = self.take_args(ty.params.len());
        let mut values: Vec<_> = ty.params.iter().map(|ty| clif_type(*ty)).zip(args).collect();
        for (count, ty) in &body.locals {
            let ty = local_type(*ty);
            let zero = self.zero(ty);
            values.extend((0..*count).map(|_| (ty, zero)));
        }
        let blocks = self.builder.func.dfg.num_blocks();
        let each = values.into_iter().map(|(ty, value)| {
            let unused = self.inlined.unused.get_mut(&ty).and_then(Vec::pop);
            let variable = unused.unwrap_or_else(|| self.builder.declare_var(ty));
            self.builder.def_var(variable, value);
            Local { variable, ty, blocks }
        });
        each.collect()
    }
}
