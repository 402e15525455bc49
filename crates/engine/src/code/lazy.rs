//! Machine code of a module that runs before all of its functions are compiled.
//!
//! Made by the code that makes modules, filled by whoever compiles a function, read by the registry. All is in one
//! range of address space: the slots of a procedure linkage table (see `sys/plt/`), the table, then functions in
//! the order in which they were made. Every call of a function of the module leads through the table, so the same
//! output of the compiler serves here and in an artifact. Where a near call reaches less than a module may need, there
//! are further tables between the functions, with the same slots. Invariants: a page is first written, then executable, and
//! never both. A slot gets the address of a function only when its code is complete. Nothing moves or is removed
//! while this exists. The list of functions is ordered by address and read without a lock, also in signal handlers.

use super::pieces::{Made, Positions};
use crate::abi::TrapCode;
use crate::compile::{CompiledFunction, CompiledModule, Handler, SourceLocation};
use crate::error::CompileError;
use crate::parse::info::DefinedFuncIndex;
use crate::sys::{Mmap, page_size, plt};
use cranelift_codegen::binemit::Reloc;
use cranelift_entity::EntityRef;
use cranelift_module::{ModuleReloc, ModuleRelocTarget};
use std::ffi::c_void;
use std::io;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, Weak};
use wasmtime_internal_jit_icache_coherence as icache;

/// The address space for one module. Only pages in use take memory.
const SPACE: usize = (2 << 30) - (64 << 10);

/// How far a function may be from the start of the newest table. Unit tests have many tables.
const REACH: usize = if cfg!(test) { 64 << 10 } else { plt::REACH };

/// With more bytes than this, making the pages at once is cheaper than when each is first written.
const MANY: usize = 64 << 10;

/// Whoever compiles the functions of a module.
pub trait Maker: Send + Sync {
    /// Gives a function code, for a guest that calls it.
    fn make(&self, index: DefinedFuncIndex) -> Result<(), CompileError>;

    /// The address of better code that begins at a loop, whose operator is at the offset `at` in the module. Makes it
    /// later if there is none.
    fn better_loop(&self, index: DefinedFuncIndex, at: u32) -> Option<usize>;
}

/// Is told of each function with its code, when it is about to be called.
type Watcher = Box<dyn Fn(DefinedFuncIndex, &[u8]) + Send + Sync>;

/// The number of loops of a module for which there may be code that begins there.
pub const LOOPS: usize = 1024;

/// The code of a module, as far as there is any.
pub struct LazyCode {
    /// It is alive as long as the module.
    maker: OnceLock<Weak<dyn Maker>>,
    watcher: OnceLock<Watcher>,
    memory: Mmap,
    /// The number of the module's own functions.
    functions: usize,
    /// Offset of the first table. The slots are before it.
    table: usize,
    /// Bytes of a table with the trampolines after it.
    table_len: usize,
    /// Whoever holds the lock adds code.
    written: Mutex<Written>,
    /// The first `known` of them are set.
    placed: Box<[AtomicPtr<Placed>]>,
    known: AtomicUsize,
    /// Where the libcall trampolines are, and then the other ones, as in [`CompiledModule::functions`]. Offsets from the
    /// start of a table.
    trampolines: Vec<u32>,
}

/// What of the range is written.
struct Written {
    /// Offset of the end.
    end: usize,
    /// Offset of the newest table.
    table: usize,
}

/// One function in the range.
pub struct Placed {
    /// Offsets of its start and end.
    range: Range<u32>,
    function: DefinedFuncIndex,
    positions: Positions,
}

fn failed(why: &str) -> io::Error {
    io::Error::other(why)
}

impl LazyCode {
    /// Whether a module with this much code can run lazily. The quickly made code is up to ten times as large.
    pub fn has_room(code: usize) -> bool {
        plt::HAS_PLT && code <= SPACE / 16
    }

    /// Code without any function. `compiled` has all trampolines.
    pub fn new(compiled: &CompiledModule) -> io::Result<LazyCode> {
        let functions = compiled.bodies;
        let memory = Mmap::reserve(SPACE)?;
        let table = ((plt::FIRST_SLOT + functions) * plt::SLOT).next_multiple_of(page_size());
        memory.make_writable(0..table)?;
        // Twice for each function, because it has two tiers.
        let placed = (0..functions * 2 + LOOPS).map(|_| AtomicPtr::new(ptr::null_mut())).collect();
        let mut code = LazyCode {
            maker: OnceLock::new(),
            watcher: OnceLock::new(),
            memory,
            functions,
            table,
            table_len: 0,
            written: Mutex::new(Written { end: table, table }),
            placed,
            known: AtomicUsize::new(0),
            trampolines: Vec::new(),
        };
        let mut end = plt::entry(functions);
        let mut starts = Vec::new();
        for trampoline in compiled.functions[functions..].iter().flatten() {
            let start = end.next_multiple_of(alignment(trampoline));
            end = start + trampoline.code.len();
            starts.push(start as u32);
        }
        let mut used = table;
        code.write(&mut used, end, |bytes| {
            plt::write(bytes, functions, table);
            for (start, trampoline) in starts.iter().zip(compiled.functions[functions..].iter().flatten()) {
                let start = *start as usize;
                bytes[start..start + trampoline.code.len()].copy_from_slice(&trampoline.code);
                if !trampoline.relocs.is_empty() {
                    return Err(failed("a trampoline calls another function"));
                }
            }
            Ok(())
        })?;
        (code.trampolines, code.table_len) = (starts, end);
        code.written = Mutex::new(Written { end: used, table });
        let first = plt::first_call as *const () as usize;
        let starts = (0..functions).map(|index| code.address(table + plt::without_code(index)));
        for (place, address) in [first].into_iter().chain(starts).enumerate() {
            code.slot(place).store(address as u64, Ordering::Release);
        }
        Ok(code)
    }

    /// Sets who compiles the functions. Must be called before any is called.
    pub fn set_maker(&self, maker: Weak<dyn Maker>) {
        let _ = self.maker.set(maker);
    }

    /// Tells of all functions that are placed: now of those that came out of the cache, later of others.
    pub fn watch(&self, watcher: Watcher) {
        // Nobody adds functions meanwhile.
        let _written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let watcher = self.watcher.get_or_init(|| watcher);
        for placed in &self.placed[..self.known.load(Ordering::Relaxed)] {
            // SAFETY: the entry is one of those that are known, which are set and freed only with `self`.
            let Some(placed) = (unsafe { placed.load(Ordering::Acquire).as_ref() }) else { continue };
            watcher(placed.function, self.code(placed.range.start as usize, placed.range.len()));
        }
    }

    /// The code at an offset, where functions have been written.
    fn code(&self, start: usize, len: usize) -> &[u8] {
        assert!(start.checked_add(len).is_some_and(|end| end <= self.memory.len()));
        // SAFETY: it is in the range. Code that was written is readable, never changes, and stays as long as `self`.
        unsafe { std::slice::from_raw_parts(self.memory.start().add(start), len) }
    }

    fn address(&self, offset: usize) -> usize {
        self.memory.start().addr() + offset
    }

    fn slot(&self, place: usize) -> &AtomicU64 {
        assert!(place < plt::FIRST_SLOT + self.functions);
        // SAFETY: the slots are at the start of the range, which is writable up to the table and aligned to pages.
        // They are only ever accessed atomically.
        unsafe { &*self.memory.start().cast::<AtomicU64>().add(place) }
    }

    /// Appends `len` bytes after `used`, which `fill` writes, and makes them executable.
    ///
    /// Another thread may call them as soon as this returns. On aarch64 that needs three things. What was written is
    /// cleaned out of the data cache: the system does so when it makes pages executable that never were. No instruction
    /// cache has old bytes: `clear_cache`. No processor has fetched old instructions: `pipeline_flush_mt`, which on Linux
    /// is a `membarrier` that synchronises all cores; where there is none, no processor can have fetched from pages that
    /// were not executable.
    fn write(
        &self,
        used: &mut usize,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let start = *used;
        let end = start
            .checked_add(len)
            .map(|end| end.next_multiple_of(page_size()))
            .filter(|end| *end <= self.memory.len())
            .ok_or_else(|| failed("no near call would reach more code of this module"))?;
        self.memory.make_writable(start..end)?;
        if len > MANY {
            self.memory.populate(start..end);
        }
        // Whatever happens next, these pages are not used again.
        *used = end;
        // SAFETY: the range is inside our mapping, was made writable, and nobody else knows of it.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.memory.start().add(start), len) };
        fill(bytes)?;
        // SAFETY: the range is inside our mapping, and nobody executes it yet.
        let cleared = unsafe { icache::clear_cache(self.memory.start().add(start).cast(), len) };
        cleared.map_err(|error| failed(&error.to_string()))?;
        self.memory.make_executable(start..end)?;
        icache::pipeline_flush_mt().map_err(|error| failed(&error.to_string()))
    }

    /// Adds functions, and lets the next call of each lead to its new code.
    pub fn place(&self, functions: &[(DefinedFuncIndex, Made)]) -> io::Result<()> {
        let starts = self.add(functions)?;
        for (start, (index, _)) in starts.iter().zip(functions) {
            self.set(*index, *start as *const c_void);
        }
        Ok(())
    }

    /// Adds code of a function to which no call leads. Returns its address.
    pub fn place_apart(&self, index: DefinedFuncIndex, code: Made) -> io::Result<usize> {
        self.add(&[(index, code)])?.pop().ok_or_else(|| failed("no code was added"))
    }

    /// Adds functions. Returns their addresses.
    fn add(&self, functions: &[(DefinedFuncIndex, Made)]) -> io::Result<Vec<usize>> {
        let mut end = 0;
        let mut starts = Vec::with_capacity(functions.len());
        for (_, function) in functions {
            let start = usize::next_multiple_of(end, function.alignment());
            end = start + function.code().len();
            starts.push(start);
        }
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known.load(Ordering::Relaxed);
        if known + functions.len() > self.placed.len() {
            return Err(failed("a function was compiled too often"));
        }
        if written.end + end - written.table > REACH {
            self.repeat_table(&mut written)?;
        }
        let Written { end: base, table } = *written;
        self.write(&mut written.end, end, |bytes| {
            for (start, (_, function)) in starts.iter().zip(functions) {
                let code = &mut bytes[*start..start + function.code().len()];
                code.copy_from_slice(function.code());
                function.relocate(|reloc| self.relocate(code, base + start, table, reloc))?;
            }
            Ok(())
        })?;
        for (place, (start, (index, function))) in starts.iter().zip(functions).enumerate() {
            let start = base + start;
            let placed = Box::new(Placed {
                range: start as u32..(start + function.code().len()) as u32,
                function: *index,
                positions: Positions::of(function),
            });
            self.placed[known + place].store(Box::into_raw(placed), Ordering::Release);
        }
        self.known.store(known + functions.len(), Ordering::Release);
        for (start, (index, function)) in starts.iter().zip(functions) {
            let Some(watcher) = self.watcher.get() else { break };
            watcher(*index, self.code(base + start, function.code().len()));
        }
        Ok(starts.iter().map(|start| self.address(base + start)).collect())
    }

    /// Appends another table, for the calls of what comes after it.
    fn repeat_table(&self, written: &mut Written) -> io::Result<()> {
        let table = written.end;
        self.write(&mut written.end, self.table_len, |bytes| {
            let trampolines = plt::entry(self.functions)..self.table_len;
            // SAFETY: the first table was written when this was made, is readable, and never changes.
            let first = unsafe {
                std::slice::from_raw_parts(self.memory.start().add(self.table).cast::<u8>(), self.table_len)
            };
            plt::write(bytes, self.functions, table);
            bytes[trampolines.clone()].copy_from_slice(&first[trampolines]);
            Ok(())
        })?;
        written.table = table;
        Ok(())
    }

    /// Lets the next call of a function lead to this code.
    pub fn set(&self, index: DefinedFuncIndex, code: *const c_void) {
        self.slot(plt::FIRST_SLOT + index.index()).store(code.addr() as u64, Ordering::Release);
    }

    /// Applies a relocation in the code of a function that starts at the offset `start`, and calls through the table at
    /// the offset `table`.
    fn relocate(&self, code: &mut [u8], start: usize, table: usize, reloc: &ModuleReloc) -> io::Result<()> {
        let target = match reloc.name {
            ModuleRelocTarget::User { namespace: 0, index } => {
                match (index as usize).checked_sub(self.functions) {
                    None => Some(plt::entry(index as usize)),
                    Some(libcall) => self.trampolines.get(libcall).map(|start| *start as usize),
                }
            }
            _ => None,
        };
        let target = table + target.ok_or_else(|| failed("a call of an unknown function"))?;
        let at = reloc.offset as usize;
        let distance = target as i64 + reloc.addend - (start + at) as i64;
        let place = at.checked_add(4).and_then(|end| code.get_mut(at..end));
        let place = place.ok_or_else(|| failed("a call outside of its function"))?;
        let far = || failed("a call that is not near");
        match reloc.kind {
            Reloc::X86CallPCRel4 | Reloc::X86PCRel4 => {
                let distance = i32::try_from(distance).map_err(|_| far())?;
                place.copy_from_slice(&distance.to_le_bytes());
            }
            // The lower 26 bits of the instruction are the distance in instructions.
            Reloc::Arm64Call => {
                const BITS: u32 = (1 << 26) - 1;
                let words = distance / 4;
                if distance % 4 != 0 || !(-(1 << 25)..1 << 25).contains(&words) {
                    return Err(far());
                }
                let call = u32::from_le_bytes([place[0], place[1], place[2], place[3]]) & !BITS;
                place.copy_from_slice(&(call | words as u32 & BITS).to_le_bytes());
            }
            _ => return Err(failed("an unknown relocation")),
        }
        Ok(())
    }

    /// The code to call a function at, now and later.
    pub fn function(&self, index: DefinedFuncIndex) -> *const c_void {
        self.address(self.table + plt::entry(index.index())) as *const c_void
    }

    /// Gives the function code that is called without: see [`plt::Make`].
    pub fn make(&self, called: usize) -> Result<(), CompileError> {
        let unknown = || CompileError::general("a call of a function that no module has");
        let offset = called.checked_sub(self.address(0)).ok_or_else(unknown)?;
        let index = plt::function_at(offset, self.table)
            .filter(|index| *index < self.functions)
            .ok_or_else(unknown)?;
        self.maker.get().and_then(Weak::upgrade).ok_or_else(unknown)?.make(DefinedFuncIndex::new(index))
    }

    /// See [`Maker::better_loop`], for the function at this offset of the range.
    pub fn better_loop(&self, offset: u32, at: u32) -> Option<usize> {
        let (placed, _) = self.at(offset)?;
        self.maker.get().and_then(Weak::upgrade)?.better_loop(placed.function, at)
    }

    /// The address of a trampoline by its index in [`CompiledModule::functions`].
    pub fn trampoline(&self, function: u32) -> Option<usize> {
        let place = (function as usize).checked_sub(self.functions)?;
        self.trampolines.get(place).map(|offset| self.address(self.table + *offset as usize))
    }

    /// All addresses that code may have.
    pub fn addresses(&self) -> Range<usize> {
        self.address(0)..self.address(self.memory.len())
    }

    /// Bytes of code.
    pub fn len(&self) -> usize {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).end - self.table
    }

    /// The function at this offset of the range, and the offset in it.
    fn at(&self, offset: u32) -> Option<(&Placed, u32)> {
        let (mut low, mut high) = (0, self.known.load(Ordering::Acquire));
        while low < high {
            let middle = low + (high - low) / 2;
            // SAFETY: the entry is one of those that are known, which are set and freed only with `self`.
            let placed = unsafe { self.placed[middle].load(Ordering::Acquire).as_ref() }?;
            if offset < placed.range.start {
                high = middle;
            } else if offset >= placed.range.end {
                low = middle + 1;
            } else {
                return Some((placed, offset - placed.range.start));
            }
        }
        None
    }

    /// The trap code for a fault of the instruction at this offset.
    pub fn trap_at(&self, offset: u32) -> Option<TrapCode> {
        let (placed, inside) = self.at(offset)?;
        placed.positions.trap_at(inside)
    }

    /// The handler of the call that returns to this offset.
    pub fn handler_at(&self, offset: u32) -> Option<Handler> {
        // A call may be the last instruction of its function.
        let (placed, before) = self.at(offset.checked_sub(1)?)?;
        let handler = placed.positions.handler_at(before + 1)?;
        Some(Handler { call: offset, handler: placed.range.start + handler.handler, ..handler })
    }

    /// The function at this offset, and where in the module's binary the instruction comes from: see
    /// `CompiledFunction::source_map`.
    pub fn location_at(&self, offset: u32) -> Option<(DefinedFuncIndex, &[SourceLocation])> {
        let (placed, inside) = self.at(offset)?;
        Some((placed.function, placed.positions.location_at(inside)))
    }
}

impl Drop for LazyCode {
    fn drop(&mut self) {
        for placed in &mut self.placed {
            let placed = *placed.get_mut();
            if !placed.is_null() {
                // SAFETY: `place` made it from a box, and nobody reads the list any more.
                drop(unsafe { Box::from_raw(placed) });
            }
        }
    }
}

fn alignment(function: &CompiledFunction) -> usize {
    function.alignment.max(16) as usize
}
