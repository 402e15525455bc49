//! Maps a program counter to information about the code there.
//!
//! Read by the fault handler and by backtraces, written when code is added and removed. Invariant: a reader
//! takes no lock and allocates nothing, so it is safe in a signal handler. Running code cannot be freed, so
//! its entry is stable while its addresses are looked up.

use super::artifact::Artifact;
use super::lazy::LazyCode;
use crate::abi::TrapCode;
use crate::bytes::ModuleBytes;
use crate::compile::SourceLocation;
use crate::debug::{DebugInfo, Frame};
use crate::error::CompileError;
use crate::parse::info::{DefinedFuncIndex, EntityIndex, FuncIndex, ModuleInfo};
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use wasmparser::BinaryReader;

/// The opcode of `call`.
const CALL: u8 = 0x10;

/// Information about one module's code.
pub struct CodeInfo {
    pub code: Code,
    pub module: Arc<ModuleInfo>,
    pub bytes: ModuleBytes,
    pub debug: Arc<DebugInfo>,
}

/// The forms of a module's code.
pub enum Code {
    Artifact(Box<Artifact>),
    Lazy(Arc<LazyCode>),
}

impl CodeInfo {
    /// The addresses of the code.
    fn addresses(&self) -> Range<usize> {
        match &self.code {
            Code::Artifact(artifact) => {
                let text = artifact.text().as_ptr_range();
                text.start as usize..text.end as usize
            }
            Code::Lazy(code) => code.addresses(),
        }
    }

    /// The offset of `pc` in the text.
    fn offset(&self, pc: usize) -> Option<u32> {
        u32::try_from(pc.checked_sub(self.addresses().start)?).ok()
    }

    /// The trap code for a fault of the instruction at `pc`.
    pub fn trap_at(&self, pc: usize) -> Option<TrapCode> {
        let offset = self.offset(pc)?;
        match &self.code {
            Code::Artifact(artifact) => artifact.trap_at(offset),
            Code::Lazy(code) => code.trap_at(offset),
        }
    }

    /// The handler of the call that returns to `pc`: its address, and the frame size at the call.
    pub fn handler_at(&self, pc: usize) -> Option<(usize, usize)> {
        let offset = self.offset(pc)?;
        let handler = match &self.code {
            Code::Artifact(artifact) => artifact.handler_at(offset),
            Code::Lazy(code) => code.handler_at(offset),
        }?;
        Some((self.addresses().start + handler.handler as usize, handler.frame_size as usize))
    }

    /// Gives the function code whose entry in the procedure linkage table is at `pc`.
    pub fn make(&self, pc: usize) -> Result<(), CompileError> {
        match &self.code {
            Code::Artifact(_) => Ok(()),
            Code::Lazy(code) => code.make(pc),
        }
    }

    /// The import that the call at `pc` calls by name: its module and its name.
    pub fn import_called_at(&self, pc: usize) -> Option<(&str, &str)> {
        let offset = self.location_at(pc)?.1.last()?.wasm;
        let (opcode, rest) = self.bytes.get(offset as usize..)?.split_first()?;
        if *opcode != CALL {
            return None;
        }
        let function = BinaryReader::new(rest, 0).read_var_u32().ok()?;
        let mut imports = self.module.imports.iter();
        let import =
            imports.find(|import| import.index == EntityIndex::Func(FuncIndex::from_u32(function)))?;
        Some((&import.module, &import.name))
    }

    /// The address of better code for a loop of the function at `pc`, which runs code of the first tier. `at` is the
    /// offset of the loop in the module.
    pub fn better_loop(&self, pc: usize, at: u32) -> Option<usize> {
        match &self.code {
            Code::Artifact(_) => None,
            Code::Lazy(code) => code.better_loop(self.offset(pc)?, at),
        }
    }

    /// Where in the module the instruction at `pc` comes from: the function whose code it is, and offsets in the
    /// module, as in `CompiledFunction::source_map`.
    fn location_at(&self, pc: usize) -> Option<(DefinedFuncIndex, &[SourceLocation])> {
        let offset = self.offset(pc)?;
        match &self.code {
            Code::Artifact(artifact) => artifact.location_at(offset, self.module.num_bodies()),
            Code::Lazy(code) => code.location_at(offset),
        }
    }

    /// The guest code at `pc`: a function, and before it those that are inlined there, the innermost first. None in a
    /// trampoline. For a return address pass the address minus one, which is in the call.
    pub fn frames_at(&self, pc: usize) -> Vec<Frame> {
        let Some((function, places)) = self.location_at(pc) else { return Vec::new() };
        let frame = |function, wasm: Option<u32>| {
            let index = self.module.func_index(function);
            Frame {
                func_index: index.as_u32(),
                name: self.module.function_name(&self.bytes, index),
                wasm_offset: wasm.map(u64::from),
                entry: 0,
                debug: self.debug.clone(),
            }
        };
        let inlined = places.iter().skip(1).rev();
        let inlined = inlined.filter_map(|at| {
            Some(frame(self.module.function_at(&self.bytes, at.wasm as usize)?, Some(at.wasm)))
        });
        inlined.chain([frame(function, places.first().map(|at| at.wasm))]).collect()
    }
}

const SLOTS: usize = 64;

/// An entry that may be read during a write. `version` is odd during a write and different after it. A reader
/// that sees it change ignores the entry.
struct Slot {
    version: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    info: AtomicPtr<CodeInfo>,
}

struct Chunk {
    slots: [Slot; SLOTS],
    next: AtomicPtr<Chunk>,
}

impl Chunk {
    const fn new() -> Chunk {
        Chunk {
            slots: [const {
                Slot {
                    version: AtomicUsize::new(0),
                    start: AtomicUsize::new(0),
                    end: AtomicUsize::new(0),
                    info: AtomicPtr::new(ptr::null_mut()),
                }
            }; SLOTS],
            next: AtomicPtr::new(ptr::null_mut()),
        }
    }
}

static FIRST: Chunk = Chunk::new();
/// The free slots. Slots are written only under this lock.
static FREE: Mutex<Vec<&'static Slot>> = Mutex::new(Vec::new());

impl Slot {
    fn write(&self, start: usize, end: usize, info: *mut CodeInfo) {
        self.version.fetch_add(1, Ordering::AcqRel);
        fence(Ordering::Release);
        self.start.store(start, Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
        self.info.store(info, Ordering::Relaxed);
        self.version.fetch_add(1, Ordering::Release);
    }

    fn lookup(&self, pc: usize) -> Option<*const CodeInfo> {
        let before = self.version.load(Ordering::Acquire);
        let hit = pc >= self.start.load(Ordering::Relaxed) && pc < self.end.load(Ordering::Relaxed);
        let info = self.info.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let stable = before & 1 == 0 && self.version.load(Ordering::Relaxed) == before;
        (hit && stable && !info.is_null()).then_some(info.cast_const())
    }
}

fn chunks() -> impl Iterator<Item = &'static Chunk> {
    std::iter::successors(Some(&FIRST), |chunk| {
        // SAFETY: chunks are leaked when linked, so the pointer stays valid.
        unsafe { chunk.next.load(Ordering::Acquire).as_ref() }
    })
}

/// Code that can be found by address until this is dropped, or longer while [`keep_code`] says so.
pub struct Registration(Option<Entry>);

struct Entry {
    slot: &'static Slot,
    info: Box<CodeInfo>,
}

/// What was dropped while code is kept. `None` if it is not.
static KEPT: Mutex<Option<Vec<Entry>>> = Mutex::new(None);

/// From now on code that nobody uses any more stays, until [`free_code`]: whoever notes addresses can look at them
/// later, and no other code gets them.
pub fn keep_code() {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
}

/// Frees what was kept.
pub fn free_code() {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner).take();
    drop(kept);
}

impl Registration {
    pub fn new(info: CodeInfo) -> Registration {
        let info = Box::new(info);
        let Range { start, end } = info.addresses();
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = free.pop().unwrap_or_else(|| {
            let chunk: &'static Chunk = Box::leak(Box::new(Chunk::new()));
            // Inserted after the first one, so that the last need not be found.
            chunk.next.store(FIRST.next.load(Ordering::Relaxed), Ordering::Relaxed);
            FIRST.next.store(ptr::from_ref(chunk).cast_mut(), Ordering::Release);
            free.extend(&chunk.slots[1..]);
            &chunk.slots[0]
        });
        slot.write(start, end, ptr::from_ref(&*info).cast_mut());
        Registration(Some(Entry { slot, info }))
    }

    pub fn info(&self) -> &CodeInfo {
        match &self.0 {
            Some(entry) => &entry.info,
            None => unreachable!("only dropping takes it"),
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(kept), Some(entry)) = (kept.as_mut(), self.0.take()) {
            kept.push(entry);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        self.slot.write(0, 0, ptr::null_mut());
        free.push(self.slot);
    }
}

/// Calls `f` with the information about the code at `pc`.
///
/// # Safety
/// `pc` is an address in a frame on the current thread's stack (the code there cannot be freed meanwhile), or
/// in code that does not belong to the engine, or code is kept ([`keep_code`]).
pub unsafe fn with_code_at<R>(pc: usize, f: impl FnOnce(&CodeInfo) -> R) -> Option<R> {
    let info = chunks().flat_map(|chunk| &chunk.slots).find_map(|slot| slot.lookup(pc))?;
    // SAFETY: the entry was stable and covers `pc`. By this function's contract the code at `pc` is in use,
    // and a registration lives as long as its code.
    Some(f(unsafe { &*info }))
}
