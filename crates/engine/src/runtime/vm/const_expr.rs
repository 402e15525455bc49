//! Constant expressions: the initial values of globals, tables and segments.

use super::instance::InstanceObj;
use super::traps::Error;
use super::vmcontext::ValRaw;
use crate::parse::info::{ConstExpr, ConstOp, ElemItems, SegmentMode, TableIndex};
use cranelift_entity::EntityRef;
use std::ptr::NonNull;

impl InstanceObj {
    /// Evaluates a constant expression (spec: "Constant Expressions").
    pub(crate) fn evaluate(&self, expr: &ConstExpr) -> ValRaw {
        let mut stack: Vec<ValRaw> = Vec::new();
        let pop = |stack: &mut Vec<ValRaw>| stack.pop().unwrap_or(ValRaw::ZERO);
        for op in expr {
            let mut raw = ValRaw::ZERO;
            // SAFETY: validation typed the expression, so each popped value is read as its own type.
            unsafe {
                match *op {
                    ConstOp::I32Const(value) => raw.i32 = value,
                    ConstOp::I64Const(value) => raw.i64 = value,
                    ConstOp::F32Const(bits) => raw.f32 = bits,
                    ConstOp::F64Const(bits) => raw.f64 = bits,
                    ConstOp::V128Const(bits) => raw.v128 = bits,
                    ConstOp::RefNull => {}
                    ConstOp::RefFunc(index) => raw.func = NonNull::new(self.func_ref(index)),
                    ConstOp::GlobalGet(index) => raw = self.global(index).value.get(),
                    ConstOp::I32Add | ConstOp::I32Sub | ConstOp::I32Mul => {
                        let (b, a) = (pop(&mut stack).i32, pop(&mut stack).i32);
                        raw.i32 = match op {
                            ConstOp::I32Add => a.wrapping_add(b),
                            ConstOp::I32Sub => a.wrapping_sub(b),
                            _ => a.wrapping_mul(b),
                        };
                    }
                    ConstOp::I64Add | ConstOp::I64Sub | ConstOp::I64Mul => {
                        let (b, a) = (pop(&mut stack).i64, pop(&mut stack).i64);
                        raw.i64 = match op {
                            ConstOp::I64Add => a.wrapping_add(b),
                            ConstOp::I64Sub => a.wrapping_sub(b),
                            _ => a.wrapping_mul(b),
                        };
                    }
                }
            }
            stack.push(raw);
        }
        pop(&mut stack)
    }

    /// Evaluates a constant expression to an offset into a table or memory with the given index type.
    pub(crate) fn offset(&self, expr: &ConstExpr, is_64: bool) -> u64 {
        let raw = self.evaluate(expr);
        // SAFETY: the expression has the index type.
        unsafe { if is_64 { raw.i64 as u64 } else { u64::from(raw.i32 as u32) } }
    }

    pub(crate) fn elements(&self, items: &ElemItems) -> Result<Box<[u64]>, Error> {
        let count = items.len();
        let mut elements = Vec::new();
        elements
            .try_reserve_exact(count)
            .map_err(|_| Error::OutOfMemory(format!("cannot allocate a segment of {count} elements")))?;
        elements.resize(count, 0);
        self.write_elements(items, &mut elements);
        Ok(elements.into_boxed_slice())
    }

    /// Writes the elements of a segment to as many slots.
    pub(crate) fn write_elements(&self, items: &ElemItems, slots: &mut [u64]) {
        match items {
            ElemItems::Functions(indices) => {
                for (slot, index) in slots.iter_mut().zip(indices) {
                    *slot = self.func_ref(*index) as u64;
                }
            }
            ElemItems::Expressions(exprs) => {
                for (slot, expr) in slots.iter_mut().zip(exprs) {
                    // SAFETY: the expressions have a reference type.
                    *slot = unsafe { self.evaluate(expr).externref };
                }
            }
        }
    }

    /// Writes what the segments that are in their tables have put into a table of the module whose elements are null
    /// otherwise: its elements from `first` on. All these segments list functions.
    pub(crate) fn write_initial_elements(&self, table: TableIndex, first: usize, slots: &mut [u64]) {
        slots.fill(0);
        let placed = self.info().elems.values().take(self.unused_elem.get().index());
        for elem in placed {
            let (SegmentMode::Active { target, offset }, ElemItems::Functions(items)) =
                (&elem.mode, &elem.items)
            else {
                continue;
            };
            if *target != table {
                continue;
            }
            let start = self.offset(offset, self.info().tables[table].ty.table64) as usize;
            let skipped = first.saturating_sub(start);
            let place = start.saturating_sub(first);
            let slots = slots.iter_mut().skip(place);
            for (slot, index) in slots.zip(items.iter().skip(skipped)) {
                *slot = self.func_ref(*index) as u64;
            }
        }
    }
}
