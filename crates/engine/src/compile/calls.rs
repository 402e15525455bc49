//! Calls of a translation.
//!
//! Called by `translate.rs`, and by `exceptions.rs` for calls that throw. Invariant: a call inside of a `try`
//! has that as its handler.

use super::environ::index;
use super::stack::type_index;
use super::translate::{Callee, FuncTranslator};
use crate::abi::TrapCode;
use crate::parse::info::*;
use cranelift_codegen::ir::{self, BlockArg, InstBuilder, Value};

impl FuncTranslator<'_> {
    /// Emits a call with the handler of the innermost enclosing `try`, if there is one, and pushes the
    /// results.
    pub(super) fn emit_call(&mut self, callee: Callee, args: &[Value]) {
        let Some(landing) = self.landing(self.stacks.control.len()) else {
            let call = match callee {
                Callee::Direct(callee) => self.builder.ins().call(callee, args),
                Callee::Indirect(signature, code) => self.builder.ins().call_indirect(signature, code, args),
            };
            self.stacks.operands.extend_from_slice(self.builder.inst_results(call));
            return;
        };
        let dfg = &mut self.builder.func.dfg;
        let signature = match callee {
            Callee::Direct(callee) => dfg.ext_funcs[callee].signature,
            Callee::Indirect(signature, _) => signature,
        };
        let results: Vec<ir::Type> =
            dfg.signatures[signature].returns.iter().map(|result| result.value_type).collect();
        let returned = self.builder.create_block();
        for ty in &results {
            self.builder.append_block_param(returned, *ty);
        }
        let dfg = &mut self.builder.func.dfg;
        let on_return = ir::BlockCall::new(
            returned,
            (0..results.len()).map(|i| BlockArg::TryCallRet(i as u32)),
            &mut dfg.value_lists,
        );
        let on_throw = ir::BlockCall::new(landing, [BlockArg::TryCallExn(0)], &mut dfg.value_lists);
        let handlers = [ir::ExceptionTableItem::Default(on_throw)];
        let table = dfg.exception_tables.push(ir::ExceptionTableData::new(signature, on_return, handlers));
        match callee {
            Callee::Direct(callee) => self.builder.ins().try_call(callee, args, table),
            Callee::Indirect(_, code) => self.builder.ins().try_call_indirect(code, args, table),
        };
        self.builder.seal_block(returned);
        self.builder.switch_to_block(returned);
        self.stacks.operands.extend_from_slice(self.builder.block_params(returned));
    }

    pub(super) fn call_args(&mut self, vmctx: Value, count: usize) -> Vec<Value> {
        let mut args = vec![vmctx];
        args.extend(self.take_args(count));
        args
    }

    pub(super) fn call(&mut self, callee: FuncIndex, tail: bool) {
        let info = self.env.module.info;
        let params = info.func_type(callee).ty().params.len();
        match info.defined_func(callee) {
            Some(defined) if !tail && self.inline(callee, defined) => return,
            Some(defined) => {
                let args = self.call_args(self.env.vmctx(), params);
                let callee = self.env.callee(&mut self.builder, callee, defined);
                if tail {
                    self.env.poll(&mut self.builder);
                    self.builder.ins().return_call(callee, &args);
                } else {
                    self.emit_call(Callee::Direct(callee), &args);
                }
            }
            None => {
                let ty = info.functions[callee].ty;
                let target = self.env.imported_function(&mut self.builder, callee);
                self.call_target(target, ty, tail);
            }
        }
        self.reachable = !tail;
    }

    /// Calls code of this type with its context. The arguments are on the stack.
    pub(super) fn call_target(&mut self, (code, vmctx): (Value, Value), ty: TypeIndex, tail: bool) {
        let params = self.env.module.info.types[ty].ty().params.len();
        let args = self.call_args(vmctx, params);
        let signature = self.env.signature(&mut self.builder, ty);
        if tail {
            self.env.poll(&mut self.builder);
            self.builder.ins().return_call_indirect(signature, code, &args);
        } else {
            self.emit_call(Callee::Indirect(signature, code), &args);
        }
        self.reachable = !tail;
    }

    pub(super) fn call_indirect(&mut self, table: u32, ty: u32, tail: bool) {
        let (table, ty) = (index(table), type_index(ty));
        let element = self.pop_i64();
        let func_ref = self.env.table_get(&mut self.builder, table, element, TrapCode::UndefinedElement);
        let target = self.env.checked_func_ref(&mut self.builder, func_ref, ty);
        self.call_target(target, ty, tail);
    }

    pub(super) fn call_ref(&mut self, ty: u32, tail: bool) {
        let func_ref = self.pop1();
        self.trapz(func_ref, TrapCode::NullFunctionReference.to_clif());
        let target = self.env.func_ref_target(&mut self.builder, func_ref);
        self.call_target(target, type_index(ty), tail);
    }
}
