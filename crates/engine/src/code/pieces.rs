//! The functions of a module that were compiled so far, for later processes.
//!
//! Made and used by the code that makes modules, kept by `cache.rs`. A process that ends before a module is
//! complete leaves them, and the next one goes on from there. Invariant: as for an artifact, no byte of a segment is
//! used before all of them have been checked. What is linked from them is checked again, because `LazyCode` trusts
//! no relocation.
//!
//! Format: segments, which are only ever appended. A segment has a header, a [`Record`] for each function, then for
//! each function in the same order its relocations, traps, source map, handlers and code.

use super::artifact::Key;
use crate::abi::TrapCode;
use crate::compile::{CompiledFunction, Handler, SourceLocation, Tier};
use crate::parse::info::DefinedFuncIndex;
use crate::sys::Mmap;
use bytemuck::{AnyBitPattern, NoUninit};
use cranelift_codegen::binemit::Reloc;
use cranelift_entity::EntityRef;
use cranelift_module::{ModuleReloc, ModuleRelocTarget};
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;
use twox_hash::XxHash3_64;

/// One function.
pub struct Piece {
    /// The index in [`CompiledModule::functions`](crate::compile::CompiledModule::functions), trampolines included.
    pub index: DefinedFuncIndex,
    pub tier: Tier,
    pub code: Made,
}

/// A function that is compiled. A module can have thousands that are stored, so these stay where they are.
#[derive(Clone)]
pub enum Made {
    Compiled(Arc<CompiledFunction>),
    Stored(Stored),
}

/// A function in a file, which has been checked. Ranges of bytes.
#[derive(Clone)]
pub struct Stored {
    file: Arc<Mmap>,
    alignment: u32,
    relocs: Range<usize>,
    traps: Range<usize>,
    source_map: Range<usize>,
    handlers: Range<usize>,
    code: Range<usize>,
}

/// What a file of segments has.
#[derive(Default)]
pub struct Pieces {
    /// The best of each function, by index.
    pub all: BTreeMap<u32, Piece>,
    /// Whether the file is good to its end. Otherwise something is left of what a process wrote, or writes now.
    pub is_whole: bool,
    /// Whether most of the file is code of functions that it has better code of.
    pub is_wasteful: bool,
}

impl Pieces {
    /// Whether others can be added to the file. Otherwise these should be written anew with them.
    pub fn can_grow(&self) -> bool {
        self.is_whole && !self.is_wasteful
    }
}

pub const MAGIC: [u8; 8] = *b"wn-part\0";

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    /// Covers everything after it.
    checksum: u64,
    key: Key,
    /// The number of bytes after the header.
    len: u64,
    count: u64,
}

/// The start of the bytes covered by the checksum.
const CHECKED: usize = 16;
/// Of everything in the file.
const ALIGNMENT: usize = 4;

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Record {
    function: u32,
    /// 0 for the first tier, 1 for the best.
    tier: u32,
    alignment: u32,
    relocs: u32,
    traps: u32,
    source_map: u32,
    handlers: u32,
    code: u32,
}

#[derive(Clone, Copy, PartialEq, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Relocation {
    offset: u32,
    /// The index in [`CompiledModule::functions`](crate::compile::CompiledModule::functions).
    target: u32,
    addend: i32,
    kind: u32,
}

/// The relocations that calls have, by number.
const KINDS: [Reloc; 2] = [Reloc::X86CallPCRel4, Reloc::Arm64Call];

fn relocation(reloc: &ModuleReloc) -> Option<Relocation> {
    let ModuleRelocTarget::User { namespace: 0, index } = reloc.name else { return None };
    Some(Relocation {
        offset: reloc.offset,
        target: index,
        addend: i32::try_from(reloc.addend).ok()?,
        kind: KINDS.iter().position(|kind| *kind == reloc.kind)? as u32,
    })
}

impl Relocation {
    fn is_valid(&self) -> bool {
        (self.kind as usize) < KINDS.len()
    }

    /// For a valid one.
    fn decoded(&self) -> ModuleReloc {
        ModuleReloc {
            offset: self.offset,
            kind: KINDS[self.kind as usize],
            name: ModuleRelocTarget::user(0, self.target),
            addend: self.addend.into(),
        }
    }
}

/// The relocations of a function. `None` if they have no form as bytes: such a function is left out.
fn relocations(function: &CompiledFunction) -> Option<Vec<Relocation>> {
    function.relocs.iter().map(relocation).collect()
}

fn trap(stored: &[u32; 2]) -> Option<(u32, TrapCode)> {
    Some((stored[0], TrapCode::from_u8(u8::try_from(stored[1]).ok()?)?))
}

impl Stored {
    fn part<T: AnyBitPattern>(&self, range: &Range<usize>) -> &[T] {
        // `take` has cast it before.
        bytemuck::try_cast_slice(&self.file.bytes_of_file()[range.clone()]).unwrap_or_default()
    }

    fn relocs(&self) -> impl Iterator<Item = ModuleReloc> {
        self.part::<Relocation>(&self.relocs).iter().map(Relocation::decoded)
    }

    fn traps(&self) -> &[[u32; 2]] {
        self.part(&self.traps)
    }

    fn compiled(&self) -> CompiledFunction {
        CompiledFunction {
            code: self.part(&self.code).to_vec(),
            alignment: self.alignment,
            relocs: self.relocs().collect(),
            traps: self.traps().iter().filter_map(trap).collect(),
            source_map: self.part(&self.source_map).to_vec(),
            handlers: self.part(&self.handlers).to_vec(),
        }
    }
}

impl Made {
    pub fn compiled(&self) -> Arc<CompiledFunction> {
        match self {
            Made::Compiled(function) => function.clone(),
            Made::Stored(stored) => Arc::new(stored.compiled()),
        }
    }

    pub fn code(&self) -> &[u8] {
        match self {
            Made::Compiled(function) => &function.code,
            Made::Stored(stored) => stored.part(&stored.code),
        }
    }

    pub fn alignment(&self) -> usize {
        let alignment = match self {
            Made::Compiled(function) => function.alignment,
            Made::Stored(stored) => stored.alignment,
        };
        alignment.max(16) as usize
    }

    /// Calls `each` with all relocations.
    pub fn relocate(&self, mut each: impl FnMut(&ModuleReloc) -> io::Result<()>) -> io::Result<()> {
        match self {
            Made::Compiled(function) => function.relocs.iter().try_for_each(each),
            Made::Stored(stored) => stored.relocs().try_for_each(|reloc| each(&reloc)),
        }
    }
}

/// What is known of the instructions of a function. Offsets are from its start.
pub enum Positions {
    Own { traps: Box<[(u32, TrapCode)]>, source_map: Box<[SourceLocation]>, handlers: Box<[Handler]> },
    Stored(Stored),
}

impl Positions {
    pub fn of(made: &Made) -> Positions {
        match made {
            Made::Compiled(function) => Positions::Own {
                traps: function.traps.as_slice().into(),
                source_map: function.source_map.as_slice().into(),
                handlers: function.handlers.as_slice().into(),
            },
            Made::Stored(stored) => Positions::Stored(stored.clone()),
        }
    }

    /// The trap code of the instruction at this offset.
    pub fn trap_at(&self, offset: u32) -> Option<TrapCode> {
        match self {
            Positions::Own { traps, .. } => {
                let place = traps.binary_search_by_key(&offset, |(at, _)| *at).ok()?;
                traps.get(place).map(|(_, code)| *code)
            }
            Positions::Stored(stored) => {
                let place = stored.traps().binary_search_by_key(&offset, |[at, _]| *at).ok()?;
                stored.traps().get(place).and_then(trap).map(|(_, code)| code)
            }
        }
    }

    /// The handler of the call that returns to this offset.
    pub fn handler_at(&self, offset: u32) -> Option<Handler> {
        let handlers = match self {
            Positions::Own { handlers, .. } => handlers,
            Positions::Stored(stored) => stored.part::<Handler>(&stored.handlers),
        };
        let place = handlers.binary_search_by_key(&offset, |handler| handler.call).ok()?;
        handlers.get(place).copied()
    }

    /// Where in the module's binary the instruction at this offset comes from: see [`CompiledFunction::source_map`].
    pub fn location_at(&self, offset: u32) -> &[SourceLocation] {
        let source_map = match self {
            Positions::Own { source_map, .. } => source_map,
            Positions::Stored(stored) => stored.part::<SourceLocation>(&stored.source_map),
        };
        SourceLocation::at(source_map, offset)
    }
}

/// The most bytes that [`write`] writes for these pieces.
pub fn written_len(pieces: &[Piece]) -> usize {
    let functions: Vec<_> = pieces.iter().map(|piece| piece.code.compiled()).collect();
    size_of::<Header>() + len_after_header(functions.iter().map(|function| &**function))
}

fn len_after_header<'a>(functions: impl Iterator<Item = &'a CompiledFunction>) -> usize {
    let each = functions.map(|function| {
        size_of::<Record>()
            + size_of_val(&function.source_map[..])
            + size_of_val(&function.handlers[..])
            + function.relocs.len() * size_of::<Relocation>()
            + function.traps.len() * size_of::<[u32; 2]>()
            + function.code.len().next_multiple_of(ALIGNMENT)
    });
    each.sum()
}

/// Writes the pieces, as a segment. Everything is gone through twice, first for the checksum, so that nothing is
/// copied.
pub fn write(key: &Key, pieces: &[Piece], out: &mut dyn Write) -> io::Result<()> {
    let functions: Vec<_> = pieces.iter().map(|piece| (piece, piece.code.compiled())).collect();
    let functions = functions.iter().filter_map(|(piece, code)| Some((piece, code, relocations(code)?)));
    let functions: Vec<_> = functions.collect();
    let records: Vec<Record> = functions
        .iter()
        .map(|(Piece { index, tier, .. }, code, _)| Record {
            function: index.as_u32(),
            tier: u32::from(*tier == Tier::Best),
            alignment: code.alignment,
            relocs: code.relocs.len() as u32,
            traps: code.traps.len() as u32,
            source_map: code.source_map.len() as u32,
            handlers: code.handlers.len() as u32,
            code: code.code.len() as u32,
        })
        .collect();
    let len = len_after_header(functions.iter().map(|(_, code, _)| &***code)) as u64;
    let header = Header { magic: MAGIC, checksum: 0, key: *key, len, count: records.len() as u64 };
    let each = |part: &mut dyn FnMut(&[u8]) -> io::Result<()>| {
        part(&bytemuck::bytes_of(&header)[CHECKED..])?;
        part(bytemuck::cast_slice(&records))?;
        for (_, code, relocs) in &functions {
            let traps: Vec<[u32; 2]> = code.traps.iter().map(|(at, code)| [*at, *code as u32]).collect();
            part(bytemuck::cast_slice(relocs))?;
            part(bytemuck::cast_slice(&traps))?;
            part(bytemuck::cast_slice(&code.source_map))?;
            part(bytemuck::cast_slice(&code.handlers))?;
            part(&code.code)?;
            part(&[0; ALIGNMENT][..code.code.len().next_multiple_of(ALIGNMENT) - code.code.len()])?;
        }
        Ok(())
    };
    let mut checksum = XxHash3_64::new();
    each(&mut |part| {
        checksum.write(part);
        Ok(())
    })?;
    out.write_all(&MAGIC)?;
    out.write_all(&checksum.finish().to_ne_bytes())?;
    each(&mut |part| out.write_all(part))
}

/// A place in a file.
struct Cursor<'a> {
    file: &'a Arc<Mmap>,
    at: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    /// Goes over so many items. Returns the range of their bytes, and them.
    fn take<T: AnyBitPattern + NoUninit>(&mut self, count: usize) -> Option<(Range<usize>, &'a [T])> {
        let end = self.at.checked_add(count.checked_mul(size_of::<T>())?).filter(|end| *end <= self.end)?;
        let range = self.at..end;
        let items = bytemuck::try_cast_slice(&self.file.bytes_of_file()[range.clone()]).ok()?;
        self.at = end;
        Some((range, items))
    }
}

/// The pieces of the module with this key in a file, as far as it is exactly what [`write`] wrote for it.
pub fn read(file: &Arc<Mmap>, key: &Key) -> Pieces {
    let mut pieces = Pieces::default();
    let mut all_code = 0;
    let mut cursor = Cursor { file, at: 0, end: file.len() };
    while cursor.at < cursor.end {
        let Some(segment) = read_segment(&mut cursor, key) else { break };
        for piece in segment {
            all_code += piece.code.code().len();
            let known = pieces.all.get(&piece.index.as_u32());
            if known.is_none_or(|known| known.tier <= piece.tier) {
                pieces.all.insert(piece.index.as_u32(), piece);
            }
        }
    }
    let used: usize = pieces.all.values().map(|piece| piece.code.code().len()).sum();
    pieces.is_whole = cursor.at == cursor.end;
    pieces.is_wasteful = all_code / 2 > used;
    pieces
}

/// Goes over a segment, if there is a good one.
fn read_segment(cursor: &mut Cursor<'_>, key: &Key) -> Option<Vec<Piece>> {
    let file = cursor.file;
    let mut inside = Cursor { ..*cursor };
    let (_, header) = inside.take::<u8>(size_of::<Header>())?;
    let header: Header = bytemuck::pod_read_unaligned(header);
    inside.end = inside.at.checked_add(usize::try_from(header.len).ok()?).filter(|end| *end <= inside.end)?;
    let checked = &file.bytes_of_file()[cursor.at + CHECKED..inside.end];
    if header.magic != MAGIC || header.key != *key || header.checksum != XxHash3_64::oneshot(checked) {
        return None;
    }
    let (_, records) = inside.take::<Record>(usize::try_from(header.count).ok()?)?;
    let mut pieces = Vec::with_capacity(records.len());
    for record in records {
        let (relocs, each) = inside.take::<Relocation>(record.relocs as usize)?;
        let are_valid = each.iter().all(Relocation::is_valid);
        let (traps, each) = inside.take::<[u32; 2]>(record.traps as usize)?;
        if !are_valid || !each.iter().all(|each| trap(each).is_some()) || !record.alignment.is_power_of_two()
        {
            return None;
        }
        let (source_map, _) = inside.take::<SourceLocation>(record.source_map as usize)?;
        let (handlers, _) = inside.take::<Handler>(record.handlers as usize)?;
        let (code, _) = inside.take::<u8>(record.code as usize)?;
        let padding = code.len().next_multiple_of(ALIGNMENT) - code.len();
        inside.take::<u8>(padding)?;
        let (file, alignment) = (file.clone(), record.alignment);
        pieces.push(Piece {
            index: DefinedFuncIndex::new(record.function as usize),
            tier: if record.tier == 0 { Tier::First } else { Tier::Best },
            code: Made::Stored(Stored { file, alignment, relocs, traps, source_map, handlers, code }),
        });
    }
    if inside.at != inside.end {
        return None;
    }
    cursor.at = inside.end;
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads bytes as a file has them.
    fn read(bytes: &[u8], key: &Key) -> Pieces {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("room");
        super::read(&Arc::new(Mmap::of_file(&file, bytes.len()).expect("it can be mapped")), key)
    }

    fn indices(pieces: &Pieces) -> Vec<u32> {
        pieces.all.keys().copied().collect()
    }

    const KEY: Key = Key { settings: [1; 32], module: [2; 32] };

    #[test]
    fn what_is_not_exactly_as_it_was_written_is_refused() {
        let reloc = |offset| ModuleReloc {
            offset,
            kind: Reloc::X86CallPCRel4,
            name: ModuleRelocTarget::user(0, 7),
            addend: -4,
        };
        let piece = |index, len: usize| Piece {
            index: DefinedFuncIndex::new(index),
            tier: Tier::Best,
            code: Made::Compiled(Arc::new(CompiledFunction {
                code: (0..len).map(|i| i as u8).collect(),
                alignment: 16,
                relocs: vec![reloc(1), reloc(9)],
                traps: vec![(3, TrapCode::Unreachable)],
                source_map: vec![SourceLocation { code: 3, wasm: 11 }],
                handlers: vec![Handler { call: 5, handler: 6, frame_size: 32 }],
            })),
        };
        let pieces = [piece(0, 100), piece(3, 1001), piece(4, 0)];
        let mut bytes = Vec::new();
        write(&KEY, &pieces, &mut bytes).expect("a vector grows");
        assert_eq!(bytes.len(), written_len(&pieces));
        let again = read(&bytes, &KEY);
        assert!(again.can_grow());
        assert_eq!(indices(&again), [0, 3, 4]);
        for (again, piece) in again.all.values().zip(&pieces) {
            assert_eq!((again.index, again.tier), (piece.index, piece.tier));
            let positions = Positions::of(&again.code);
            assert_eq!(positions.trap_at(3), Some(TrapCode::Unreachable));
            assert_eq!(positions.location_at(2), []);
            assert_eq!(positions.location_at(4), piece.code.compiled().source_map);
            assert_eq!(positions.handler_at(5).map(|handler| handler.handler), Some(6));
            let (again, piece) = (again.code.compiled(), piece.code.compiled());
            assert_eq!((&again.code, relocations(&again)), (&piece.code, relocations(&piece)));
            assert_eq!((&again.traps, &again.handlers), (&piece.traps, &piece.handlers));
            assert_eq!((&again.source_map, again.alignment), (&piece.source_map, piece.alignment));
        }
        let mut rewritten = Vec::new();
        write(&KEY, &again.all.into_values().collect::<Vec<_>>(), &mut rewritten).expect("a vector grows");
        assert!(rewritten == bytes, "what is stored can be stored again");

        let refused = |bytes: &[u8], key: &Key, what: &str| {
            let read = read(bytes, key);
            assert!(read.all.is_empty(), "{what}");
            assert_eq!(read.is_whole, bytes.is_empty(), "{what}");
        };
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x10;
            refused(&damaged, &KEY, &format!("a flipped bit in byte {place}"));
            refused(&bytes[..place], &KEY, &format!("only {place} bytes"));
        }
        refused(&bytes, &Key { module: [3; 32], ..KEY }, "another module");
        refused(&bytes, &Key { settings: [3; 32], ..KEY }, "other settings");

        // What is before something damaged is good.
        let first = bytes.len();
        write(&KEY, &[piece(7, 10)], &mut bytes).expect("a vector grows");
        let all = read(&bytes, &KEY);
        assert!(all.can_grow());
        assert_eq!(indices(&all), [0, 3, 4, 7]);
        for place in first..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x10;
            for bytes in [&damaged[..], &bytes[..place]] {
                let read = read(bytes, &KEY);
                assert_eq!(read.is_whole, bytes.len() == first, "byte {place}");
                assert_eq!(indices(&read), [0, 3, 4], "byte {place}");
            }
        }
    }

    #[test]
    fn the_better_code_of_a_function_counts() {
        let piece = |tier, code: u8| Piece {
            index: DefinedFuncIndex::new(5),
            tier,
            code: Made::Compiled(Arc::new(CompiledFunction {
                code: vec![code],
                alignment: 16,
                ..CompiledFunction::default()
            })),
        };
        let mut bytes = Vec::new();
        for (tier, code) in [(Tier::First, 1), (Tier::Best, 2), (Tier::First, 3)] {
            write(&KEY, &[piece(tier, code)], &mut bytes).expect("a vector grows");
        }
        let pieces = read(&bytes, &KEY);
        assert!(pieces.can_grow());
        assert_eq!(pieces.all.values().map(|piece| piece.code.code()[0]).collect::<Vec<_>>(), [2]);
        write(&KEY, &[piece(Tier::First, 4)], &mut bytes).expect("a vector grows");
        assert!(!read(&bytes, &KEY).can_grow());
    }
}
