//! What a function needs from its environment during translation: context fields, traps, libcalls and
//! callees.
//!
//! Used by the translator, `bounds.rs` and `trampolines.rs`. Invariant: every access to runtime memory other
//! than the guest's heap is emitted here, with an offset from `offsets.rs`.

use super::signatures::*;
use super::trampolines::value_offset;
use crate::abi::TrapCode;
use crate::abi::libcalls::Libcall;
use crate::abi::offsets::{self, VMOffsets};
use crate::abi::{MemoryStyle, POLL_SIZE, Tunables};
use crate::parse::info::*;
use crate::types::ValType;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{
    self, AliasRegion, AliasRegionData, InstBuilder, MemFlagsData, Type, Value, types,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_entity::{EntityRef, packed_option::PackedOption};
use cranelift_frontend::FunctionBuilder;
use std::collections::HashMap;

/// What all functions of a module share.
pub struct ModuleEnvironment<'a> {
    pub isa: &'a dyn TargetIsa,
    pub info: &'a ModuleInfo,
    pub offsets: &'a VMOffsets,
    pub tunables: Tunables,
    /// How often a loop turns in the first tier before it asks for better code.
    pub loop_turns: i32,
}

/// Alias regions: parts of memory that never overlap, so a store to one does not invalidate loads from
/// another.
#[derive(Clone, Copy)]
pub enum Region {
    Heap,
    Table,
    Global,
}

/// Where a table's definition is: in the instance's own context, or behind a pointer.
struct TableAccess {
    base: Value,
    length: Value,
}

pub struct FuncEnvironment<'a> {
    pub module: &'a ModuleEnvironment<'a>,
    vmctx: Value,
    /// Loads of fields that never change. Each is emitted once at the top of the function, and Cranelift
    /// sinks it to its uses.
    fields: Vec<(i32, Value)>,
    regions: [AliasRegion; 3],
    /// A map by index. A table with an entry for every function of the module would make compiling all of
    /// them quadratic.
    callees: HashMap<FuncIndex, ir::FuncRef>,
    libcalls: [PackedOption<ir::FuncRef>; Libcall::ALL.len()],
    signatures: HashMap<TypeIndex, ir::SigRef>,
    /// Polls emitted so far.
    polls: u32,
}

impl<'a> FuncEnvironment<'a> {
    /// For a function whose entry block already has its parameters.
    pub fn new(module: &'a ModuleEnvironment<'a>, func: &mut ir::Function, vmctx: Value) -> Self {
        let mut region = |user_id, description: &'static str| {
            func.dfg.alias_regions.insert(AliasRegionData { user_id, description: description.into() })
        };
        FuncEnvironment {
            module,
            vmctx,
            fields: Vec::new(),
            regions: [region(0, "heap"), region(1, "table"), region(2, "global")],
            callees: HashMap::new(),
            libcalls: [PackedOption::default(); Libcall::ALL.len()],
            signatures: HashMap::new(),
            polls: 0,
        }
    }

    /// The store's context.
    pub fn store(&mut self, b: &mut FunctionBuilder<'_>) -> Value {
        self.constant_field(b, offsets::header::STORE, POINTER)
    }

    pub fn vmctx(&self) -> Value {
        self.vmctx
    }

    pub fn region(&self, region: Region) -> Option<AliasRegion> {
        Some(self.regions[region as usize])
    }

    /// Flags for an aligned access to runtime memory that cannot fault.
    fn trusted(&self, region: Region) -> MemFlagsData {
        MemFlagsData::trusted().with_alias_region(self.region(region))
    }

    /// A field of the context that never changes while the instance lives.
    fn constant_field(&mut self, b: &mut FunctionBuilder<'_>, offset: i32, ty: Type) -> Value {
        if let Some((_, value)) = self.fields.iter().find(|(known, _)| *known == offset) {
            return *value;
        }
        // Values defined at the top have long live ranges. With very many of them the search here and
        // register allocation become quadratic.
        const HOISTED: usize = 64;
        let flags = MemFlagsData::trusted().with_readonly().with_can_move();
        if self.fields.len() == HOISTED {
            return b.ins().load(ty, flags, self.vmctx, offset);
        }
        let mut top = FuncCursor::new(b.func);
        let entry = top.layout().entry_block();
        let value = match entry {
            Some(entry) => {
                top.goto_first_insertion_point(entry);
                top.ins().load(ty, flags, self.vmctx, offset)
            }
            None => b.ins().load(ty, flags, self.vmctx, offset),
        };
        self.fields.push((offset, value));
        value
    }

    // --- traps ---

    pub fn trap(&mut self, b: &mut FunctionBuilder<'_>, code: ir::TrapCode) {
        if !self.module.tunables.signals {
            self.raise(b, code);
        }
        b.ins().trap(code);
    }

    pub fn trapnz(&mut self, b: &mut FunctionBuilder<'_>, condition: Value, code: ir::TrapCode) {
        if self.module.tunables.signals {
            b.ins().trapnz(condition, code);
        } else {
            self.trap_branch(b, condition, code, true);
        }
    }

    pub fn trapz(&mut self, b: &mut FunctionBuilder<'_>, condition: Value, code: ir::TrapCode) {
        if self.module.tunables.signals {
            b.ins().trapz(condition, code);
        } else {
            self.trap_branch(b, condition, code, false);
        }
    }

    fn trap_branch(&mut self, b: &mut FunctionBuilder<'_>, condition: Value, code: ir::TrapCode, when: bool) {
        let trap = b.create_block();
        let next = b.create_block();
        b.set_cold_block(trap);
        if when {
            b.ins().brif(condition, trap, [], next, []);
        } else {
            b.ins().brif(condition, next, [], trap, []);
        }
        b.seal_block(trap);
        b.seal_block(next);
        b.switch_to_block(trap);
        self.raise(b, code);
        b.ins().trap(code);
        b.switch_to_block(next);
    }

    fn raise(&mut self, b: &mut FunctionBuilder<'_>, code: ir::TrapCode) {
        let code = TrapCode::from_clif(code).unwrap_or(TrapCode::Unreachable);
        let code = b.ins().iconst(types::I32, code as i64);
        self.libcall(b, Libcall::raise, &[code]);
    }

    /// The stack check of compiled functions. With signals it is part of the prologue. Otherwise the
    /// translator calls this first.
    pub fn check_stack(&mut self, b: &mut FunctionBuilder<'_>) {
        let store = self.store(b);
        let limit = b.ins().load(POINTER, MemFlagsData::trusted(), store, offsets::store::STACK_LIMIT);
        let sp = b.ins().get_stack_pointer(POINTER);
        let below = b.ins().icmp(ir::condcodes::IntCC::UnsignedLessThan, sp, limit);
        self.trapnz(b, below, ir::TrapCode::STACK_OVERFLOW);
    }

    // --- interruption and fuel ---

    /// Emits a poll at a loop header or before a tail call: the guest stops here if the host requests it.
    /// Other calls need no poll, because the stack check of the calling function fails then.
    pub fn poll(&mut self, b: &mut FunctionBuilder<'_>) {
        if !self.module.tunables.interruptible {
            return;
        }
        let store = self.store(b);
        // Each poll reads its own word. The optimiser would remove a second load of the same word if there is
        // no store in between.
        let words = (POLL_SIZE / 4) as i32;
        let word = self.polls as i32 % words - words;
        self.polls += 1;
        let interrupted = TrapCode::Interrupted.to_clif();
        let flags = MemFlagsData::new().with_aligned();
        if self.module.tunables.signals {
            b.ins().load(types::I32, flags.with_trap_code(Some(interrupted)), store, word * 4);
            // The host may call wasm during a poll, which can change globals and move tables. Values loaded
            // before must not be reused after. `sequence_point` emits no machine code.
            b.ins().sequence_point();
        } else {
            let stop = b.ins().load(types::I32, flags.with_notrap(), store, word * 4);
            self.trapnz(b, stop, interrupted);
        }
    }

    /// Adds operators to the fuel counter.
    pub fn use_fuel(&mut self, b: &mut FunctionBuilder<'_>, operators: u32) {
        let store = self.store(b);
        let flags = MemFlagsData::trusted();
        let used = b.ins().load(types::I64, flags, store, offsets::store::FUEL);
        let used = b.ins().iadd_imm_s(used, i64::from(operators));
        b.ins().store(flags, used, store, offsets::store::FUEL);
    }

    /// If the fuel is used up, asks the store for more. It traps if there is none.
    pub fn check_fuel(&mut self, b: &mut FunctionBuilder<'_>) {
        let store = self.store(b);
        let used = b.ins().load(types::I64, MemFlagsData::trusted(), store, offsets::store::FUEL);
        let is_empty = b.ins().icmp_imm_s(ir::condcodes::IntCC::SignedGreaterThanOrEqual, used, 0);
        let (empty, next) = (b.create_block(), b.create_block());
        b.set_cold_block(empty);
        b.ins().brif(is_empty, empty, [], next, []);
        b.seal_block(empty);
        b.switch_to_block(empty);
        self.libcall(b, Libcall::refuel, &[]);
        b.ins().jump(next, []);
        b.seal_block(next);
        b.switch_to_block(next);
    }

    // --- calls ---

    /// Calls a runtime function through its trampoline. If it traps, it does not return.
    pub fn libcall(&mut self, b: &mut FunctionBuilder<'_>, libcall: Libcall, args: &[Value]) -> Value {
        let callee = self.libcall_callee(b, libcall);
        let args: Vec<Value> = [self.vmctx].into_iter().chain(args.iter().copied()).collect();
        let call = b.ins().call(callee, &args);
        b.inst_results(call)[0]
    }

    /// The trampoline of a runtime function. Its first argument is the calling instance's context.
    pub fn libcall_callee(&mut self, b: &mut FunctionBuilder<'_>, libcall: Libcall) -> ir::FuncRef {
        let place = libcall as usize;
        self.libcalls[place].expand().unwrap_or_else(|| {
            let signature = super::trampolines::libcall_signature(libcall);
            let index = super::trampolines::libcall_name(self.module.info, libcall);
            let callee = self.colocated(b, index, signature);
            self.libcalls[place] = callee.into();
            callee
        })
    }

    // --- exceptions ---

    /// Whether an exception has a tag, as an integer condition.
    pub fn has_tag(&mut self, b: &mut FunctionBuilder<'_>, exception: Value, tag: TagIndex) -> Value {
        let expected = self.constant_field(b, self.module.offsets.tag(tag), POINTER);
        let flags = MemFlagsData::trusted().with_readonly();
        let found = b.ins().load(POINTER, flags, exception, offsets::exception::TAG);
        b.ins().icmp(ir::condcodes::IntCC::Equal, found, expected)
    }

    /// The values that an exception with this tag carries.
    pub fn exception_values(
        &mut self,
        b: &mut FunctionBuilder<'_>,
        exception: Value,
        tag: TagIndex,
    ) -> Vec<Value> {
        let tys = &self.module.info.tag_type(tag).ty().params;
        let flags = MemFlagsData::trusted().with_readonly();
        let values = b.ins().load(POINTER, flags, exception, offsets::exception::VALUES);
        let load = |(i, ty): (usize, &ValType)| b.ins().load(clif_type(*ty), flags, values, value_offset(i));
        tys.iter().enumerate().map(load).collect()
    }

    /// Stores the values of a new exception in the stack frame. Returns their address.
    pub fn store_exception_values(&mut self, b: &mut FunctionBuilder<'_>, values: &[Value]) -> Value {
        let size = (values.len() as u32).max(1) * offsets::VALUE_SIZE;
        let slot =
            b.create_sized_stack_slot(ir::StackSlotData::new(ir::StackSlotKind::ExplicitSlot, size, 4));
        let address = b.ins().stack_addr(POINTER, slot, 0);
        for (i, value) in values.iter().enumerate() {
            b.ins().store(MemFlagsData::trusted(), *value, address, value_offset(i));
        }
        address
    }

    fn colocated(&self, b: &mut FunctionBuilder<'_>, index: u32, signature: ir::Signature) -> ir::FuncRef {
        let signature = b.import_signature(signature);
        let name = b.func.declare_imported_user_function(ir::UserExternalName { namespace: 0, index });
        b.import_function(ir::ExtFuncData {
            name: ir::ExternalName::User(name),
            signature,
            colocated: true,
            patchable: false,
        })
    }

    /// A function defined by the module, for direct calls.
    pub fn callee(
        &mut self,
        b: &mut FunctionBuilder<'_>,
        index: FuncIndex,
        defined: DefinedFuncIndex,
    ) -> ir::FuncRef {
        self.callees.get(&index).copied().unwrap_or_else(|| {
            let signature = wasm_signature(self.module.info.func_type(index).ty());
            let callee = self.colocated(b, defined.as_u32(), signature);
            self.callees.insert(index, callee);
            callee
        })
    }

    pub fn signature(&mut self, b: &mut FunctionBuilder<'_>, ty: TypeIndex) -> ir::SigRef {
        self.signatures.get(&ty).copied().unwrap_or_else(|| {
            let signature = b.import_signature(wasm_signature(self.module.info.types[ty].ty()));
            self.signatures.insert(ty, signature);
            signature
        })
    }

    /// Code and context of an imported function.
    pub fn imported_function(&mut self, b: &mut FunctionBuilder<'_>, index: FuncIndex) -> (Value, Value) {
        let offset = self.module.offsets.imported_function(index);
        (
            self.constant_field(b, offset + offsets::function_import::CODE, POINTER),
            self.constant_field(b, offset + offsets::function_import::VMCTX, POINTER),
        )
    }

    /// Checks a function reference for `call_indirect` and returns its code and context.
    pub fn checked_func_ref(
        &mut self,
        b: &mut FunctionBuilder<'_>,
        func_ref: Value,
        ty: TypeIndex,
    ) -> (Value, Value) {
        let null = TrapCode::UninitializedElement.to_clif();
        let expected = self.constant_field(b, self.module.offsets.type_id(ty), types::I32);
        // A null reference faults here, because the first page of the address space is never mapped.
        let mut flags = MemFlagsData::new().with_aligned().with_readonly();
        if self.module.tunables.signals {
            flags = flags.with_trap_code(Some(null));
        } else {
            self.trapz(b, func_ref, null);
            flags = flags.with_notrap();
        }
        let found = b.ins().load(types::I32, flags, func_ref, offsets::func_ref::TYPE_ID);
        let same = b.ins().icmp(ir::condcodes::IntCC::Equal, found, expected);
        let same =
            if self.module.info.types[ty].is_final() { same } else { self.or_subtype(b, same, func_ref, ty) };
        self.trapz(b, same, TrapCode::IndirectCallTypeMismatch.to_clif());
        self.func_ref_target(b, func_ref)
    }

    /// Checks that `same` holds or that the function's type is a subtype of `ty`.
    fn or_subtype(
        &mut self,
        b: &mut FunctionBuilder<'_>,
        same: Value,
        func_ref: Value,
        ty: TypeIndex,
    ) -> Value {
        let (slow, next) = (b.create_block(), b.create_block());
        let result = b.append_block_param(next, types::I8);
        b.set_cold_block(slow);
        b.ins().brif(same, next, &[same.into()], slow, []);
        b.seal_block(slow);
        b.switch_to_block(slow);
        let ty = b.ins().iconst(types::I32, i64::from(ty.as_u32()));
        let matches = self.libcall(b, Libcall::func_matches, &[func_ref, ty]);
        let matches = b.ins().ireduce(types::I8, matches);
        b.ins().jump(next, &[matches.into()]);
        b.seal_block(next);
        b.switch_to_block(next);
        result
    }

    /// Code and context of a function reference that is known to be non-null.
    pub fn func_ref_target(&mut self, b: &mut FunctionBuilder<'_>, func_ref: Value) -> (Value, Value) {
        let flags = MemFlagsData::trusted().with_readonly();
        (
            b.ins().load(POINTER, flags, func_ref, offsets::func_ref::CODE),
            b.ins().load(POINTER, flags, func_ref, offsets::func_ref::VMCTX),
        )
    }

    /// `ref.func`: a pointer to the function's `VMFuncRef`.
    pub fn ref_func(&mut self, b: &mut FunctionBuilder<'_>, index: FuncIndex) -> Value {
        let info = self.module.info;
        match (info.defined_func(index), info.functions[index].func_ref) {
            (Some(_), Some(place)) => {
                // Null until a reference of the block is first needed.
                let block = self.module.offsets.func_ref_block(place);
                let block = b.ins().load(POINTER, MemFlagsData::trusted(), self.vmctx, block);
                let (made, missing, next) = (b.create_block(), b.create_block(), b.create_block());
                let result = b.append_block_param(next, REFERENCE);
                b.set_cold_block(missing);
                b.ins().brif(block, made, [], missing, []);
                b.seal_block(missing);
                b.switch_to_block(missing);
                let number = b.ins().iconst(types::I32, i64::from(index.as_u32()));
                let func_ref = self.libcall(b, Libcall::ref_func, &[number]);
                b.ins().jump(next, &[func_ref.into()]);
                b.seal_block(made);
                b.switch_to_block(made);
                let place = self.module.offsets.place_in_block(place) as i64;
                let func_ref = b.ins().iadd_imm_s(block, place * i64::from(offsets::func_ref::SIZE));
                b.ins().jump(next, &[func_ref.into()]);
                b.seal_block(next);
                b.switch_to_block(next);
                result
            }
            _ => {
                let offset =
                    self.module.offsets.imported_function(index) + offsets::function_import::FUNC_REF;
                self.constant_field(b, offset, POINTER)
            }
        }
    }

    // --- memories ---

    /// The memory style that the code may assume. Only ordinary 32-bit memories are reserved.
    pub fn memory_style(&self, index: MemoryIndex) -> MemoryStyle {
        self.module.tunables.style_of(&self.module.info.memories[index])
    }

    pub fn memory_base(&mut self, b: &mut FunctionBuilder<'_>, index: MemoryIndex) -> Value {
        let offset = self.module.offsets.memory(index);
        match self.memory_style(index) {
            MemoryStyle::Reserved => self.constant_field(b, offset + offsets::memory::BASE, POINTER),
            MemoryStyle::Bounded => {
                let definition = self.constant_field(b, offset + offsets::memory::DEFINITION, POINTER);
                b.ins().load(POINTER, MemFlagsData::trusted(), definition, offsets::memory_definition::BASE)
            }
        }
    }

    /// The memory's size in bytes.
    pub fn memory_length(&mut self, b: &mut FunctionBuilder<'_>, index: MemoryIndex) -> Value {
        let offset = self.module.offsets.memory(index) + offsets::memory::DEFINITION;
        let definition = self.constant_field(b, offset, POINTER);
        let length = offsets::memory_definition::LENGTH;
        // The length of a shared memory may be stale. That is safe, because it only grows.
        b.ins().load(POINTER, MemFlagsData::trusted(), definition, length)
    }

    // --- tables ---

    fn table(&mut self, b: &mut FunctionBuilder<'_>, index: TableIndex) -> TableAccess {
        let (definition, offset) = match self.module.info.defined_table(index) {
            Some(defined) => (self.vmctx, self.module.offsets.defined_table(defined)),
            None => {
                let offset = self.module.offsets.imported_table(index);
                (self.constant_field(b, offset, POINTER), 0)
            }
        };
        let flags = self.trusted(Region::Table);
        let base = b.ins().load(POINTER, flags, definition, offset + offsets::table_definition::BASE);
        let ty = &self.module.info.tables[index].ty;
        let length = if ty.maximum == Some(ty.minimum) && self.module.info.defined_table(index).is_some() {
            b.ins().iconst(types::I64, ty.minimum as i64)
        } else {
            b.ins().load(types::I64, flags, definition, offset + offsets::table_definition::LENGTH)
        };
        TableAccess { base, length }
    }

    /// The size of a table in elements, as `i64`.
    pub fn table_length(&mut self, b: &mut FunctionBuilder<'_>, index: TableIndex) -> Value {
        self.table(b, index).length
    }

    /// The address of an element. Traps with `code` if `element`, an `i64`, is past the end.
    fn table_element(
        &mut self,
        b: &mut FunctionBuilder<'_>,
        index: TableIndex,
        element: Value,
        code: TrapCode,
    ) -> Value {
        let table = self.table(b, index);
        let outside = b.ins().icmp(ir::condcodes::IntCC::UnsignedGreaterThanOrEqual, element, table.length);
        self.trapnz(b, outside, code.to_clif());
        let scaled = b.ins().ishl_imm_u(element, 3);
        let address = b.ins().iadd(table.base, scaled);
        // If the check above is mispredicted, the address is the table's base.
        b.ins().select_spectre_guard(outside, table.base, address)
    }

    pub fn table_get(
        &mut self,
        b: &mut FunctionBuilder<'_>,
        index: TableIndex,
        element: Value,
        code: TrapCode,
    ) -> Value {
        let address = self.table_element(b, index, element, code);
        b.ins().load(REFERENCE, self.trusted(Region::Table), address, 0)
    }

    pub fn table_set(
        &mut self,
        b: &mut FunctionBuilder<'_>,
        index: TableIndex,
        element: Value,
        value: Value,
    ) {
        let address = self.table_element(b, index, element, TrapCode::TableOutOfBounds);
        b.ins().store(self.trusted(Region::Table), value, address, 0);
    }

    // --- globals ---

    fn global(&mut self, b: &mut FunctionBuilder<'_>, index: GlobalIndex) -> (Value, i32) {
        match self.module.info.defined_global(index) {
            Some(defined) => (self.vmctx, self.module.offsets.defined_global(defined)),
            None => {
                let offset = self.module.offsets.imported_global(index);
                (self.constant_field(b, offset, POINTER), 0)
            }
        }
    }

    pub fn global_get(&mut self, b: &mut FunctionBuilder<'_>, index: GlobalIndex) -> Value {
        let (base, offset) = self.global(b, index);
        let ty = clif_type(self.module.info.globals[index].ty.content);
        b.ins().load(ty, self.trusted(Region::Global), base, offset)
    }

    pub fn global_set(&mut self, b: &mut FunctionBuilder<'_>, index: GlobalIndex, value: Value) {
        let (base, offset) = self.global(b, index);
        b.ins().store(self.trusted(Region::Global), value, base, offset);
    }
}

/// Converts an index in the binary to a typed index.
pub fn index<I: EntityRef>(number: u32) -> I {
    I::new(number as usize)
}
