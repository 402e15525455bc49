//! What an instance was when it trapped, as a file that debuggers read.
//!
//! The format is that of the tool conventions (Coredump.md), as wasmtime writes it. Invariants: it is written piece by
//! piece, so a dump of gigabytes needs no memory. Bytes of memories are read as other threads may write them.

use super::instance::Instance;
use crate::debug::Frame;
use crate::parse::info::{FuncIndex, GlobalIndex};
use crate::runtime::vm::memory::MemoryObj;
use crate::types::ValType;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use wasm_encoder::{
    ConstExpr, CoreDumpInstancesSection, CoreDumpModulesSection, CoreDumpSection, CoreDumpStackSection,
    Encode, GlobalSection, GlobalType, Ieee32, Ieee64, MemorySection, MemoryType, SectionId,
};

/// Memories are looked at in pieces of this size, which pages are a multiple of if they are not tiny. Pieces of zeros
/// are left out.
const PIECE: usize = 4096;

/// Nobody gets a section of the format that is larger.
const MAX_SECTION: usize = u32::MAX as usize;

impl Instance {
    /// Writes a core dump: the frames of a trap, memories and globals. `name` is that of the program. Memories beyond
    /// what a section of four gigabytes holds are cut.
    pub fn write_coredump(&self, name: &str, frames: &[Frame], out: &mut impl Write) -> io::Result<()> {
        let obj = self.obj();
        let info = obj.info();
        let mut dump = wasm_encoder::Module::new();
        dump.section(&CoreDumpSection::new(name));
        let mut modules = CoreDumpModulesSection::new();
        modules.module(name);
        dump.section(&modules);
        let mut instances = CoreDumpInstancesSection::new();
        let numbers = |count: usize| 0..u32::try_from(count).unwrap_or(0);
        instances.instance(0, numbers(info.memories.len()), numbers(info.globals.len()));
        dump.section(&instances);
        let mut stack = CoreDumpStackSection::new("main");
        for frame in frames {
            // What the registers held is not known.
            stack.frame(0, frame.func_index, self.offset_in_function(frame), [], []);
        }
        dump.section(&stack);
        let mut memories = MemorySection::new();
        for (index, ty) in info.memories.iter() {
            let pages = (obj.memory(index.as_u32()).byte_len() as u64) >> ty.page_size_log2;
            memories.memory(MemoryType {
                minimum: pages,
                maximum: None,
                memory64: ty.memory64,
                shared: false,
                page_size_log2: (ty.page_size_log2 != 16).then_some(ty.page_size_log2.into()),
            });
        }
        dump.section(&memories);
        let mut globals = GlobalSection::new();
        for index in info.globals.keys() {
            let (ty, value) = self.dumped_global(index);
            globals.global(GlobalType { val_type: ty, mutable: false, shared: false }, &value);
        }
        dump.section(&globals);
        out.write_all(dump.as_slice())?;
        self.write_data(out)?;
        out.flush()
    }

    /// Where the frame is, from the beginning of its function.
    fn offset_in_function(&self, frame: &Frame) -> u32 {
        let info = self.obj().info();
        let defined = info.defined_func(FuncIndex::from_u32(frame.func_index));
        let body = defined.and_then(|index| info.bodies.get(index));
        let offset = body
            .zip(frame.wasm_offset)
            .and_then(|(body, offset)| u32::try_from(offset.checked_sub(body.start as u64)?).ok());
        offset.unwrap_or(0)
    }

    fn dumped_global(&self, index: GlobalIndex) -> (wasm_encoder::ValType, ConstExpr) {
        use wasm_encoder::ValType as Dumped;
        let obj = self.obj();
        let value = obj.global(index).value.get();
        // SAFETY: any bits are a number. A reference is looked at by nobody.
        unsafe {
            match obj.info().globals[index].ty.content {
                ValType::I32 => (Dumped::I32, ConstExpr::i32_const(value.i32)),
                ValType::I64 => (Dumped::I64, ConstExpr::i64_const(value.i64)),
                ValType::F32 => (Dumped::F32, ConstExpr::f32_const(Ieee32::new(value.f32))),
                ValType::F64 => (Dumped::F64, ConstExpr::f64_const(Ieee64::new(value.f64))),
                ValType::V128 => (Dumped::V128, ConstExpr::v128_const(value.v128 as i128)),
                // What a reference refers to is not in the dump.
                ValType::Ref(_) => (Dumped::EXTERNREF, ConstExpr::ref_null(wasm_encoder::HeapType::EXTERN)),
            }
        }
    }

    fn write_data(&self, out: &mut impl Write) -> io::Result<()> {
        let obj = self.obj();
        let info = obj.info();
        let mut segments: Vec<(u32, Range<usize>, Vec<u8>)> = Vec::new();
        let mut size = 10;
        for (index, ty) in info.memories.iter() {
            let memory = obj.memory(index.as_u32());
            for range in written(memory) {
                let mut header = Vec::new();
                // An active segment of a memory by its index.
                2u32.encode(&mut header);
                index.as_u32().encode(&mut header);
                let offset = match ty.memory64 {
                    true => ConstExpr::i64_const(range.start as i64),
                    false => ConstExpr::i32_const(range.start as u32 as i32),
                };
                offset.encode(&mut header);
                range.len().encode(&mut header);
                if size + header.len() + range.len() > MAX_SECTION {
                    break;
                }
                size += header.len() + range.len();
                segments.push((index.as_u32(), range, header));
            }
        }
        let mut count = Vec::new();
        segments.len().encode(&mut count);
        let mut head = vec![SectionId::Data as u8];
        (size - 10 + count.len()).encode(&mut head);
        out.write_all(&head)?;
        out.write_all(&count)?;
        let mut piece = [0; PIECE];
        for (index, range, header) in segments {
            out.write_all(&header)?;
            let memory = obj.memory(index);
            for start in range.clone().step_by(PIECE) {
                let part = &mut piece[..PIECE.min(range.end - start)];
                read(memory, start, part);
                out.write_all(part)?;
            }
        }
        Ok(())
    }
}

/// The ranges of a memory that are not zero, in pieces.
fn written(memory: &MemoryObj) -> Vec<Range<usize>> {
    let len = memory.byte_len();
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut piece = [0; PIECE];
    for start in (0..len).step_by(PIECE) {
        let part = &mut piece[..PIECE.min(len - start)];
        read(memory, start, part);
        if part.iter().all(|byte| *byte == 0) {
            continue;
        }
        let end = start + part.len();
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => ranges.push(start..end),
        }
    }
    ranges
}

/// Copies bytes that other threads may write meanwhile. `start` is a multiple of eight.
fn read(memory: &MemoryObj, start: usize, into: &mut [u8]) {
    for (offset, word) in into.chunks_mut(8).enumerate() {
        let at = start + offset * 8;
        let bytes = match word.len() {
            8 => {
                // SAFETY: the word is inside of the memory, whose base is aligned to pages, and is only ever read
                // atomically here.
                unsafe { &*memory.base().add(at).cast::<AtomicU64>() }.load(Ordering::Relaxed).to_ne_bytes()
            }
            few => {
                let mut bytes = [0; 8];
                for (place, byte) in bytes.iter_mut().enumerate().take(few) {
                    // SAFETY: the byte is inside of the memory.
                    *byte = unsafe { memory.base().add(at + place).read_volatile() };
                }
                bytes
            }
        };
        word.copy_from_slice(&bytes[..word.len()]);
    }
}
