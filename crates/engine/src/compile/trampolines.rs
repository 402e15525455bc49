//! Trampolines: the code that enters wasm from the host, and leaves it for host functions and libcalls.
//!
//! Called by `driver.rs`. Invariant: wasm is always entered through an *entry* trampoline, which records
//! where a trap continues. Every call out to the host passes an *exit* trampoline, which records the last
//! wasm frame. No trap unwinds a Rust frame: host code returns a flag, and the exit trampoline continues at
//! the handler in the store. That is the handler of the entry trampoline, or of a wasm frame which catches an
//! exception.

use super::signatures::*;
use crate::abi::libcalls::{Libcall, TRAPPED};
use crate::abi::offsets;
use crate::parse::info::ModuleInfo;
use crate::types::*;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    self, AbiParam, ArgumentPurpose, BlockArg, InstBuilder, MemFlagsData, Signature, StackSlotData,
    StackSlotKind, Type, Value, types,
};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Trampoline {
    /// Host to wasm: see `VMEntry`.
    Entry(FuncType),
    /// Wasm to a host function that takes its arguments in an array.
    Host(FuncType),
    /// Wasm to a host function with its own C signature.
    Native(FuncType),
    Libcall(Libcall),
}

/// The index of a libcall trampoline in namespace 0, after the module's own functions.
pub fn libcall_name(info: &ModuleInfo, libcall: Libcall) -> u32 {
    info.bodies.len() as u32 + libcall as u32
}

/// The signature of a libcall's trampoline.
pub fn libcall_signature(libcall: Libcall) -> Signature {
    let mut signature = Signature::new(CallConv::Tail);
    signature.params.push(AbiParam::special(POINTER, ArgumentPurpose::VMContext));
    signature.params.extend(libcall.params().iter().map(|ty| AbiParam::new(*ty)));
    signature.returns.push(AbiParam::new(types::I64));
    signature
}

impl Trampoline {
    pub fn signature(&self, isa: &dyn TargetIsa) -> Signature {
        match self {
            Trampoline::Entry(_) => c_signature(isa, &[POINTER; 3], Some(types::I8)),
            Trampoline::Host(ty) | Trampoline::Native(ty) => wasm_signature(ty),
            Trampoline::Libcall(libcall) => libcall_signature(*libcall),
        }
    }

    /// Emits the trampoline into `func`, which has its name and signature.
    pub fn translate(
        &self,
        isa: &dyn TargetIsa,
        func: &mut ir::Function,
        context: &mut FunctionBuilderContext,
    ) {
        let mut b = FunctionBuilder::new(func, context);
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        b.seal_block(entry);
        let params = b.block_params(entry).to_vec();
        match self {
            Trampoline::Entry(ty) => emit_entry(&mut b, ty, &params),
            Trampoline::Host(ty) => emit_host(&mut b, isa, ty, &params),
            Trampoline::Native(ty) => emit_native(&mut b, isa, ty, &params),
            Trampoline::Libcall(libcall) => emit_libcall(&mut b, isa, *libcall, &params),
        }
        b.finalize(isa.frontend_config());
    }
}

/// The offset of the `i`-th value in an array of `ValRaw`.
pub fn value_offset(i: usize) -> i32 {
    (i * offsets::VALUE_SIZE as usize) as i32
}

fn load_field(b: &mut FunctionBuilder<'_>, base: Value, offset: i32) -> Value {
    b.ins().load(POINTER, MemFlagsData::trusted(), base, offset)
}

fn store_field(b: &mut FunctionBuilder<'_>, base: Value, offset: i32, value: Value) {
    b.ins().store(MemFlagsData::trusted(), value, base, offset);
}

fn load_values(b: &mut FunctionBuilder<'_>, tys: &[ValType], values: Value) -> Vec<Value> {
    tys.iter()
        .enumerate()
        .map(|(i, ty)| b.ins().load(clif_type(*ty), MemFlagsData::trusted(), values, value_offset(i)))
        .collect()
}

fn store_values(b: &mut FunctionBuilder<'_>, stored: &[Value], values: Value) {
    for (i, value) in stored.iter().enumerate() {
        b.ins().store(MemFlagsData::trusted(), *value, values, value_offset(i));
    }
}

fn emit_entry(b: &mut FunctionBuilder<'_>, ty: &FuncType, params: &[Value]) {
    let &[vmctx, code, values] = params else { unreachable!("the entry signature has three parameters") };
    let mut args = vec![vmctx];
    args.extend(load_values(b, &ty.params, values));
    let store = load_field(b, vmctx, offsets::header::STORE);

    // The handler belongs to the block that ends with the call, so the call gets its own block.
    let calling = b.create_block();
    b.ins().jump(calling, []);
    b.seal_block(calling);
    b.switch_to_block(calling);
    let fp = b.ins().get_frame_pointer(POINTER);
    store_field(b, store, offsets::store::ENTRY_FP, fp);
    let sp = b.ins().get_stack_pointer(POINTER);
    store_field(b, store, offsets::store::ENTRY_SP, sp);
    let handler = b.ins().get_exception_handler_address(POINTER, calling, 0);
    store_field(b, store, offsets::store::ENTRY_HANDLER, handler);

    let signature = wasm_signature(ty);
    let returned = b.create_block();
    let results: Vec<Value> =
        signature.returns.iter().map(|result| b.append_block_param(returned, result.value_type)).collect();
    let trapped = b.create_block();
    let signature = b.import_signature(signature);
    let dfg = &mut b.func.dfg;
    let on_return = ir::BlockCall::new(
        returned,
        (0..results.len()).map(|i| BlockArg::TryCallRet(i as u32)),
        &mut dfg.value_lists,
    );
    let on_trap = ir::BlockCall::new(trapped, [], &mut dfg.value_lists);
    let table = dfg.exception_tables.push(ir::ExceptionTableData::new(
        signature,
        on_return,
        [ir::ExceptionTableItem::Default(on_trap)],
    ));
    b.ins().try_call_indirect(code, &args, table);
    b.seal_block(returned);
    b.seal_block(trapped);

    b.switch_to_block(returned);
    store_values(b, &results, values);
    let yes = b.ins().iconst(types::I8, 1);
    b.ins().return_(&[yes]);

    b.switch_to_block(trapped);
    let no = b.ins().iconst(types::I8, 0);
    b.ins().return_(&[no]);
}

/// Records the wasm frame that called this trampoline. Returns the store's context.
pub(super) fn emit_exit(b: &mut FunctionBuilder<'_>, vmctx: Value) -> Value {
    let store = load_field(b, vmctx, offsets::header::STORE);
    let fp = b.ins().get_frame_pointer(POINTER);
    store_field(b, store, offsets::store::EXIT_FP, fp);
    let pc = b.ins().get_return_address(POINTER);
    store_field(b, store, offsets::store::EXIT_PC, pc);
    store
}

/// If `failed` is not zero, continues where the failed callee said.
fn emit_raise_if(b: &mut FunctionBuilder<'_>, isa: &dyn TargetIsa, store: Value, failed: Value) {
    let raise = b.create_block();
    let next = b.create_block();
    b.set_cold_block(raise);
    b.ins().brif(failed, raise, [], next, []);
    b.seal_block(raise);
    b.seal_block(next);
    b.switch_to_block(raise);
    use offsets::store::{RESUME, UNWIND_FP, UNWIND_PAYLOAD, UNWIND_PC, UNWIND_SP};
    let target = [UNWIND_PC, UNWIND_SP, UNWIND_FP, UNWIND_PAYLOAD].map(|field| load_field(b, store, field));
    let resume = load_field(b, store, RESUME);
    let signature = b.import_signature(c_signature(isa, &[POINTER; 4], None));
    b.ins().call_indirect(signature, resume, &target);
    b.ins().trap(crate::abi::TrapCode::Unreachable.to_clif());
    b.switch_to_block(next);
}

fn emit_host(b: &mut FunctionBuilder<'_>, isa: &dyn TargetIsa, ty: &FuncType, params: &[Value]) {
    let vmctx = params[0];
    let store = emit_exit(b, vmctx);
    let size = (ty.slots() as u32).max(1) * offsets::VALUE_SIZE;
    let slot = b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, size, 4));
    let values = b.ins().stack_addr(POINTER, slot, 0);
    store_values(b, &params[1..], values);
    let code = load_field(b, vmctx, offsets::host::CODE);
    let signature = b.import_signature(c_signature(isa, &[POINTER; 2], Some(types::I8)));
    let call = b.ins().call_indirect(signature, code, &[vmctx, values]);
    let succeeded = b.inst_results(call)[0];
    let failed = b.ins().icmp_imm_u(IntCC::Equal, succeeded, 0);
    emit_raise_if(b, isa, store, failed);
    let results = load_values(b, &ty.results, values);
    b.ins().return_(&results);
}

fn emit_native(b: &mut FunctionBuilder<'_>, isa: &dyn TargetIsa, ty: &FuncType, params: &[Value]) {
    let vmctx = params[0];
    let store = emit_exit(b, vmctx);
    let code = load_field(b, vmctx, offsets::host::CODE);
    let mut tys: Vec<Type> = vec![POINTER];
    tys.extend(ty.params.iter().map(|ty| clif_type(*ty)));
    let signature = b.import_signature(c_signature(isa, &tys, Some(types::I64)));
    let call = b.ins().call_indirect(signature, code, params);
    let result = b.inst_results(call)[0];
    let failed = b.ins().icmp_imm_s(IntCC::SignedLessThan, result, 0);
    emit_raise_if(b, isa, store, failed);
    if ty.results.is_empty() {
        b.ins().return_(&[]);
    } else {
        let result = b.ins().ireduce(types::I32, result);
        b.ins().return_(&[result]);
    }
}

fn emit_libcall(b: &mut FunctionBuilder<'_>, isa: &dyn TargetIsa, libcall: Libcall, params: &[Value]) {
    let vmctx = params[0];
    super::bulk::quick_way(b, isa, libcall, params);
    let store = emit_exit(b, vmctx);
    let table = load_field(b, vmctx, offsets::header::LIBCALLS);
    let code = load_field(b, table, (libcall as u32 * offsets::POINTER) as i32);
    let mut tys: Vec<Type> = vec![POINTER];
    tys.extend_from_slice(libcall.params());
    let signature = b.import_signature(c_signature(isa, &tys, Some(types::I64)));
    let call = b.ins().call_indirect(signature, code, params);
    let result = b.inst_results(call)[0];
    let failed = b.ins().icmp_imm_s(IntCC::Equal, result, TRAPPED);
    emit_raise_if(b, isa, store, failed);
    b.ins().return_(&[result]);
}
