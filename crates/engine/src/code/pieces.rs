//! The functions of a module that were compiled so far, for later processes.
//!
//! Made and used by the code that makes modules, kept by `cache.rs`. A process that ends before a module is
//! complete leaves them, and the next one goes on from there. Invariant: as for an artifact, no byte is used before
//! all of them have been checked. What is linked from them is checked again, because `LazyCode` trusts no
//! relocation.
//!
//! Format: a header, a [`Record`] for each function, then for each function in the same order its relocations,
//! traps, source map, handlers and code.

use super::artifact::Key;
use crate::abi::TrapCode;
use crate::compile::{CompiledFunction, Handler, SourceLocation, Tier};
use crate::parse::info::DefinedFuncIndex;
use cranelift_codegen::binemit::Reloc;
use cranelift_entity::EntityRef;
use cranelift_module::{ModuleReloc, ModuleRelocTarget};
use std::hash::Hasher;
use std::io::{self, Write};
use std::sync::Arc;
use twox_hash::XxHash3_64;

/// One function.
pub struct Piece {
    /// The index in [`CompiledModule::functions`](crate::compile::CompiledModule::functions), trampolines included.
    pub index: DefinedFuncIndex,
    pub tier: Tier,
    /// Whether it was called, or may be soon.
    pub used: bool,
    pub code: Arc<CompiledFunction>,
}

pub const MAGIC: [u8; 8] = *b"wn-part\0";

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    /// Covers everything after it.
    checksum: u64,
    key: Key,
    count: u64,
}

/// The start of the bytes covered by the checksum.
const CHECKED: usize = 16;

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Record {
    function: u32,
    /// 0 for the first tier, 1 for the best.
    tier: u32,
    used: u32,
    alignment: u32,
    relocs: u32,
    traps: u32,
    source_map: u32,
    handlers: u32,
    code: u32,
}

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
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

/// The relocations of a piece. `None` if they have no form as bytes: such a piece is left out.
fn relocations(piece: &Piece) -> Option<Vec<Relocation>> {
    piece.code.relocs.iter().map(relocation).collect()
}

/// The most bytes that [`write`] writes for these pieces.
pub fn written_len(pieces: &[Piece]) -> usize {
    let each = pieces.iter().map(|Piece { code, .. }| {
        size_of::<Record>()
            + size_of_val(&code.source_map[..])
            + size_of_val(&code.handlers[..])
            + code.relocs.len() * size_of::<Relocation>()
            + code.traps.len() * size_of::<[u32; 2]>()
            + code.code.len()
    });
    size_of::<Header>() + each.sum::<usize>()
}

/// Writes the pieces. Everything is gone through twice, first for the checksum, so that nothing is copied.
pub fn write(key: &Key, pieces: &[Piece], out: &mut dyn Write) -> io::Result<()> {
    let mut records = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let Piece { index, tier, used, code } = piece;
        if relocations(piece).is_none() {
            continue;
        }
        records.push(Record {
            function: index.as_u32(),
            tier: u32::from(*tier == Tier::Best),
            used: u32::from(*used),
            alignment: code.alignment,
            relocs: code.relocs.len() as u32,
            traps: code.traps.len() as u32,
            source_map: code.source_map.len() as u32,
            handlers: code.handlers.len() as u32,
            code: code.code.len() as u32,
        });
    }
    let header = Header { magic: MAGIC, checksum: 0, key: *key, count: records.len() as u64 };
    let each = |part: &mut dyn FnMut(&[u8]) -> io::Result<()>| {
        part(&bytemuck::bytes_of(&header)[CHECKED..])?;
        part(bytemuck::cast_slice(&records))?;
        for piece in pieces {
            let Some(relocs) = relocations(piece) else { continue };
            let code = &piece.code;
            let traps: Vec<[u32; 2]> = code.traps.iter().map(|(at, code)| [*at, *code as u32]).collect();
            part(bytemuck::cast_slice(&relocs))?;
            part(bytemuck::cast_slice(&traps))?;
            part(bytemuck::cast_slice(&code.source_map))?;
            part(bytemuck::cast_slice(&code.handlers))?;
            part(&code.code)?;
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

/// Takes items from the front of bytes.
fn take<T: bytemuck::Pod>(bytes: &mut &[u8], count: usize) -> Option<Vec<T>> {
    let (own, rest) = bytes.split_at_checked(count.checked_mul(size_of::<T>())?)?;
    *bytes = rest;
    Some(own.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect())
}

/// The pieces of the module with this key. `None` if the bytes are not exactly what [`write`] gave for it.
pub fn read(bytes: &[u8], key: &Key) -> Option<Vec<Piece>> {
    let mut rest = bytes;
    let header = take::<Header>(&mut rest, 1)?.pop()?;
    if header.magic != MAGIC
        || header.key != *key
        || header.checksum != XxHash3_64::oneshot(&bytes[CHECKED..])
    {
        return None;
    }
    let records = take::<Record>(&mut rest, usize::try_from(header.count).ok()?)?;
    let mut pieces = Vec::with_capacity(records.len());
    for record in records {
        let relocs = take::<Relocation>(&mut rest, record.relocs as usize)?;
        let traps = take::<[u32; 2]>(&mut rest, record.traps as usize)?;
        let source_map = take::<SourceLocation>(&mut rest, record.source_map as usize)?;
        let handlers = take::<Handler>(&mut rest, record.handlers as usize)?;
        let code = take::<u8>(&mut rest, record.code as usize)?;
        if !record.alignment.is_power_of_two() {
            return None;
        }
        let relocs = relocs.iter().map(|reloc| {
            Some(ModuleReloc {
                offset: reloc.offset,
                kind: *KINDS.get(reloc.kind as usize)?,
                name: ModuleRelocTarget::user(0, reloc.target),
                addend: reloc.addend.into(),
            })
        });
        let traps = traps.iter().map(|[at, code]| Some((*at, TrapCode::from_u8(u8::try_from(*code).ok()?)?)));
        pieces.push(Piece {
            index: DefinedFuncIndex::new(record.function as usize),
            tier: if record.tier == 0 { Tier::First } else { Tier::Best },
            used: record.used != 0,
            code: Arc::new(CompiledFunction {
                code,
                alignment: record.alignment,
                relocs: relocs.collect::<Option<_>>()?,
                traps: traps.collect::<Option<_>>()?,
                source_map,
                handlers,
            }),
        });
    }
    rest.is_empty().then_some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            used: index % 2 == 0,
            code: Arc::new(CompiledFunction {
                code: (0..len).map(|i| i as u8).collect(),
                alignment: 16,
                relocs: vec![reloc(1), reloc(9)],
                traps: vec![(3, TrapCode::Unreachable)],
                source_map: vec![SourceLocation { code: 3, wasm: 11 }],
                handlers: vec![Handler { call: 5, handler: 6, frame_size: 32 }],
            }),
        };
        let key = Key { settings: [1; 32], module: [2; 32] };
        let pieces = [piece(0, 100), piece(3, 1001), piece(4, 0)];
        let mut bytes = Vec::new();
        write(&key, &pieces, &mut bytes).expect("a vector grows");
        assert_eq!(bytes.len(), written_len(&pieces));
        let again = read(&bytes, &key).expect("as it was written");
        assert_eq!(again.len(), 3);
        for (again, piece) in again.iter().zip(&pieces) {
            assert_eq!((again.index, again.tier, again.used), (piece.index, piece.tier, piece.used));
            let relocs = |code: &CompiledFunction| -> Vec<_> {
                let each = code.relocs.iter().filter_map(relocation);
                each.map(|reloc| (reloc.offset, reloc.target, reloc.addend, reloc.kind)).collect()
            };
            assert_eq!((&again.code.code, relocs(&again.code)), (&piece.code.code, relocs(&piece.code)));
            assert_eq!((&again.code.traps, &again.code.handlers), (&piece.code.traps, &piece.code.handlers));
            assert_eq!(again.code.source_map, piece.code.source_map);
        }
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x10;
            assert!(read(&damaged, &key).is_none(), "a flipped bit in byte {place}");
            assert!(read(&bytes[..place], &key).is_none(), "only {place} bytes");
        }
        assert!(read(&[&bytes[..], &[0]].concat(), &key).is_none(), "a byte more");
        assert!(read(&bytes, &Key { module: [3; 32], ..key }).is_none(), "another module");
        assert!(read(&bytes, &Key { settings: [3; 32], ..key }).is_none(), "other settings");
    }
}
