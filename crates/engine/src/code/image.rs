//! Compiled bytes into executable memory, through cranelift-jit.
//!
//! Called by `Module::new`. Invariant (W^X): the pages are writable until every relocation is
//! done, then executable and never writable again. They go when the `CodeObject` does.

use super::registry::{CodeInfo, Registration};
use crate::compile::{CompiledFunction, CompiledModule, Handler, Trampolines};
use crate::debug::DebugInfo;
use crate::error::CompileError;
use crate::parse::info::{DefinedFuncIndex, ModuleInfo};
use crate::sys::arch::VENEER_SIZE;
use crate::sys::{Mmap, page_size};
use crate::types::TypeId;
use cranelift_codegen::ir::Signature;
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa};
use cranelift_entity::EntityRef;
use cranelift_jit::{BranchProtection, JITBuilder, JITMemoryKind, JITMemoryProvider, JITModule};
use cranelift_module::{FuncId, Module as _, ModuleResult};
use std::ffi::c_void;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasmtime_internal_jit_icache_coherence as icache;

/// The machine code of a module, ready to run.
pub struct CodeObject {
    registration: Registration,
    /// Offset of each piece of code, in the order of `CompiledModule::functions`.
    places: Vec<u32>,
    trampolines: Trampolines,
    _memory: Arc<CodeMemory>,
}

/// One range for all code of a module, so that calls between functions are near calls.
struct CodeMemory {
    pages: Mmap,
    used: AtomicUsize,
}

/// What cranelift-jit allocates from. The memory itself is owned by the `CodeObject`.
struct Provider(Arc<CodeMemory>);

impl JITMemoryProvider for Provider {
    fn allocate(&mut self, size: usize, align: u64, kind: JITMemoryKind) -> io::Result<*mut u8> {
        if !matches!(kind, JITMemoryKind::Executable) {
            return Err(io::Error::other("a module's code has no data of its own"));
        }
        let memory = &*self.0;
        let start = memory.used.load(Ordering::Relaxed).next_multiple_of(align as usize);
        let end = start.checked_add(size).filter(|end| *end <= memory.pages.len());
        let Some(end) = end else {
            return Err(io::Error::other("the code is larger than what was summed up"));
        };
        memory.used.store(end, Ordering::Relaxed);
        // SAFETY: `start` is inside the mapping.
        Ok(unsafe { memory.pages.start().add(start) })
    }

    unsafe fn free_memory(&mut self) {}

    fn finalize(&mut self, _: BranchProtection) -> ModuleResult<()> {
        let pages = &self.0.pages;
        let flush = || {
            // SAFETY: the range is our own mapping, and no thread runs it yet.
            unsafe { icache::clear_cache(pages.start().cast(), pages.len())? };
            pages.make_executable(0..pages.len())?;
            icache::pipeline_flush_mt()
        };
        flush().map_err(|err| cranelift_module::ModuleError::Allocation { err })
    }
}

fn room_for(function: &CompiledFunction) -> usize {
    let veneers = function.relocs.len() * VENEER_SIZE;
    function.code.len() + veneers + alignment_of(function) as usize
}

fn alignment_of(function: &CompiledFunction) -> u64 {
    u64::from(function.alignment.max(16))
}

impl CodeObject {
    pub fn load(
        isa: &OwnedTargetIsa,
        compiled: CompiledModule,
        module: Arc<ModuleInfo>,
        bytes: Arc<[u8]>,
    ) -> Result<CodeObject, CompileError> {
        let failed = |what: &dyn std::fmt::Display| {
            CompileError::general(format!("cannot load compiled code: {what}"))
        };
        let size: usize = compiled.functions.iter().flatten().map(|function| room_for(function)).sum();
        let size = size.next_multiple_of(page_size());
        if u32::try_from(size).is_err() || i32::try_from(size).is_err() {
            return Err(failed(&format!("{size} bytes are more than near calls reach")));
        }
        let pages = Mmap::reserve(size).map_err(|e| failed(&e))?;
        pages.make_writable(0..size).map_err(|e| failed(&e))?;
        let memory = Arc::new(CodeMemory { pages, used: AtomicUsize::new(0) });

        // Nothing is ever looked up by name: every name below is a place in this module.
        let mut builder = JITBuilder::with_isa(isa.clone(), Box::new(|call| format!("{call:?}")));
        builder.memory_provider(Box::new(Provider(memory.clone())));
        let mut jit = JITModule::new(builder);
        let signature = Signature::new(CallConv::Tail);
        let ids = compiled
            .functions
            .iter()
            .map(|_| jit.declare_anonymous_function(&signature))
            .collect::<ModuleResult<Vec<_>>>()
            .map_err(|e| failed(&e))?;
        for (id, function) in ids.iter().zip(&compiled.functions) {
            let Some(function) = function else { continue };
            jit.define_function_bytes(*id, alignment_of(function), &function.code, &function.relocs)
                .map_err(|e| failed(&e))?;
        }
        jit.finalize_definitions().map_err(|e| failed(&e))?;

        let start = memory.pages.start() as usize;
        let place = |id: &FuncId| (jit.get_finalized_function(*id) as usize - start) as u32;
        let placed = ids.iter().zip(&compiled.functions);
        let places: Vec<u32> =
            placed.map(|(id, function)| function.as_ref().map_or(0, |_| place(id))).collect();
        let mut info = CodeInfo {
            start,
            len: size,
            functions: Vec::with_capacity(places.len()),
            traps: Vec::new(),
            trap_codes: Vec::new(),
            srclocs: Vec::new(),
            handlers: Vec::new(),
            debug: Arc::new(DebugInfo::new(module.clone(), bytes.clone())),
            bytes,
            module,
        };
        for (i, (place, function)) in places.iter().zip(&compiled.functions).enumerate() {
            let Some(function) = function else { continue };
            let own =
                (i < info.module.bodies.len()).then(|| info.module.func_index(DefinedFuncIndex::new(i)));
            info.functions.push((*place, own));
            for (offset, code) in &function.traps {
                info.traps.push(place + offset);
                info.trap_codes.push(*code);
            }
            if own.is_some() {
                // The calls of entry trampolines have handlers too, but those are for traps.
                info.handlers.extend(function.handlers.iter().map(|handler| Handler {
                    call: place + handler.call,
                    handler: place + handler.handler,
                    ..*handler
                }));
            }
            info.srclocs.extend(function.srclocs.iter().map(|(at, wasm)| (place + at, *wasm)));
        }
        Ok(CodeObject {
            registration: Registration::new(info),
            places,
            trampolines: compiled.trampolines,
            _memory: memory,
        })
    }

    fn address(&self, place: usize) -> *const c_void {
        (self.registration.info().start + self.places[place] as usize) as *const c_void
    }

    /// The code of a function of the module.
    pub fn function(&self, index: DefinedFuncIndex) -> *const c_void {
        self.address(index.index())
    }

    /// The entry trampoline of a type, if the module has one: see `VMEntry`.
    pub fn entry(&self, ty: TypeId) -> Option<*const c_void> {
        self.trampolines.entries.get(&ty).map(|place| self.address(*place))
    }

    /// The exit trampoline to a host function of this type.
    pub fn host(&self, ty: TypeId) -> Option<*const c_void> {
        self.trampolines.hosts.get(&ty).map(|place| self.address(*place))
    }

    /// The exit trampoline to a typed native host function of this type.
    pub fn native(&self, ty: TypeId) -> Option<*const c_void> {
        self.trampolines.natives.get(&ty).map(|place| self.address(*place))
    }

    /// Bytes of machine code, trampolines included.
    pub fn len(&self) -> usize {
        self.registration.info().len
    }
}

const _: () = {
    // A module's code is used from every thread that has an instance of it.
    const fn shared<T: Send + Sync>() {}
    shared::<CodeObject>();
};
