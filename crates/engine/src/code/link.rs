//! Links the compiled functions of a module, through cranelift-jit, into an [`Artifact`].
//!
//! Called by the code that makes modules. Invariant: the result depends only on the compiled functions. All
//! calls between functions are relative, and no symbol is looked up by name.

use super::artifact::*;
use crate::compile::{CompiledFunction, CompiledModule, Handler, SourceLocation, TypeTrampoline};
use crate::error::CompileError;
use crate::sys::arch::VENEER_SIZE;
use crate::sys::{Mmap, page_size};
use cranelift_codegen::ir::Signature;
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa};
use cranelift_jit::{BranchProtection, JITBuilder, JITMemoryKind, JITMemoryProvider, JITModule};
use cranelift_module::{Module as _, ModuleError, ModuleResult};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The text while it is written: one range, so that calls between functions are near calls.
struct Text {
    memory: Mmap,
    end: usize,
    used: AtomicUsize,
}

/// The memory provider for cranelift-jit.
struct Provider(Arc<Text>);

impl JITMemoryProvider for Provider {
    fn allocate(&mut self, size: usize, align: u64, kind: JITMemoryKind) -> io::Result<*mut u8> {
        if !matches!(kind, JITMemoryKind::Executable) {
            return Err(io::Error::other("a module's code has no data of its own"));
        }
        let text = &*self.0;
        let start = text.used.load(Ordering::Relaxed).next_multiple_of(align as usize);
        let end = start.checked_add(size).filter(|end| *end <= text.end);
        let Some(end) = end else {
            return Err(io::Error::other("the code is larger than what was summed up"));
        };
        text.used.store(end, Ordering::Relaxed);
        Ok(text.memory.start().wrapping_add(start))
    }

    unsafe fn free_memory(&mut self) {}

    /// The artifact makes its text executable when it is complete.
    fn finalize(&mut self, _: BranchProtection) -> ModuleResult<()> {
        Ok(())
    }
}

fn room_for(function: &CompiledFunction) -> usize {
    let veneers = function.relocs.len() * VENEER_SIZE;
    function.code.len() + veneers + alignment_of(function) as usize
}

fn alignment_of(function: &CompiledFunction) -> u64 {
    u64::from(function.alignment.max(16))
}

/// Links a module. `key` identifies the artifact.
pub fn link(isa: &OwnedTargetIsa, compiled: &CompiledModule, key: Key) -> Result<Artifact, CompileError> {
    let failed =
        |what: &dyn std::fmt::Display| CompileError::general(format!("cannot load compiled code: {what}"));
    let functions = || compiled.functions.iter().flatten();
    let text_len =
        functions().map(|function| room_for(function)).sum::<usize>().next_multiple_of(page_size());
    if i32::try_from(text_len).is_err() {
        return Err(failed(&format!("{text_len} bytes are more than near calls reach")));
    }
    let sum = |len: fn(&CompiledFunction) -> usize| functions().map(|function| len(function)).sum::<usize>();
    // Entry trampolines also have handlers for their calls, but those are for traps.
    let own = || compiled.functions.iter().take(compiled.bodies).flatten();
    let (traps, handlers) = (sum(|f| f.traps.len()), own().map(|f| f.handlers.len()).sum::<usize>());
    let layout = Layout::new([
        compiled.functions.len() * size_of::<u32>(),
        traps * size_of::<u32>(),
        traps,
        sum(|f| f.source_map.len()) * size_of::<SourceLocation>(),
        handlers * size_of::<Handler>(),
        compiled.trampolines.len() * size_of::<TypeTrampoline>(),
        text_len,
    ]);
    let memory = writable(layout.len()).map_err(|e| failed(&e))?;
    let text = layout.range(Section::Text);
    let text = Arc::new(Text { memory, end: text.end, used: AtomicUsize::new(text.start) });
    let starts = write_text(isa, compiled, &text).map_err(|e| failed(&e))?;

    let mut contents =
        Contents { functions: starts, trampolines: compiled.trampolines.clone(), ..Contents::default() };
    for (place, function) in compiled.functions.iter().enumerate() {
        let (start, Some(function)) = (contents.functions[place], function) else { continue };
        for (offset, code) in &function.traps {
            contents.traps.push(start + offset);
            contents.trap_codes.push(*code as u8);
        }
        let locations = function.source_map.iter();
        contents
            .source_map
            .extend(locations.map(|at| SourceLocation { code: start + at.code, wasm: at.wasm }));
        if place < compiled.bodies {
            contents.handlers.extend(function.handlers.iter().map(|handler| Handler {
                call: start + handler.call,
                handler: start + handler.handler,
                ..*handler
            }));
        }
    }
    let Some(Text { memory, .. }) = Arc::into_inner(text) else {
        return Err(failed(&"somebody still writes to it"));
    };
    Artifact::new(memory, layout, key, &contents).map_err(|e| failed(&e))
}

/// Writes the text. Returns the offset of each function in it, in order.
fn write_text(
    isa: &OwnedTargetIsa,
    compiled: &CompiledModule,
    text: &Arc<Text>,
) -> Result<Vec<u32>, Box<ModuleError>> {
    let first = text.used.load(Ordering::Relaxed);
    // No symbol is looked up by name: every name below is an index in this module.
    let mut builder = JITBuilder::with_isa(isa.clone(), Box::new(|call| format!("{call:?}")));
    builder.memory_provider(Box::new(Provider(text.clone())));
    let mut jit = JITModule::new(builder);
    let signature = Signature::new(CallConv::Tail);
    let mut ids = Vec::with_capacity(compiled.functions.len());
    for _ in &compiled.functions {
        ids.push(jit.declare_anonymous_function(&signature)?);
    }
    let mut starts = Vec::with_capacity(ids.len());
    for (id, function) in ids.iter().zip(&compiled.functions) {
        let end = text.used.load(Ordering::Relaxed) - first;
        let start = match function {
            None => end,
            Some(function) => {
                let alignment = alignment_of(function);
                jit.define_function_bytes(*id, alignment, &function.code, &function.relocs)?;
                end.next_multiple_of(alignment as usize)
            }
        };
        starts.push(start as u32);
    }
    jit.finalize_definitions()?;
    Ok(starts)
}
