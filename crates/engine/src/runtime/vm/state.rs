//! A snapshot of an instance, which can be restored.
//!
//! Used by `api/instance.rs`. It covers what the instance defines: the bytes and sizes of its memories,
//! the elements and sizes of its tables, its globals, and which segments are dropped. Imports belong to
//! others. Invariant: it is taken and restored while no wasm of the store runs. Searches for live
//! references include those in it, so that their targets still exist when it is restored.

use super::global;
use super::instance::InstanceObj;
use super::memory::MemoryObj;
use super::traps::Error;
use super::vmcontext::ValRaw;
use crate::parse::info::{DataIndex, ModuleInfo};
use crate::types::RefType;
use std::collections::HashSet;
use std::ops::Range;

/// The size of a piece of a memory. Only pieces that differ from zero are kept.
const PIECE: usize = 4096;

/// Longer runs of zeros are given back to the system rather than written.
const LONG: usize = 64 << 10;

pub(crate) struct State {
    memories: Vec<Bytes>,
    tables: Vec<Vec<u64>>,
    globals: Vec<ValRaw>,
    elems: Vec<Box<[u64]>>,
    dropped_data: HashSet<DataIndex>,
}

/// The contents of a memory: pieces in order, with zeros between them.
struct Bytes {
    len: usize,
    pieces: Vec<(usize, Vec<u8>)>,
}

impl Bytes {
    fn of(memory: &MemoryObj) -> Result<Bytes, Error> {
        let len = memory.byte_len();
        // SAFETY: the memory belongs to this thread alone. No wasm runs, and nothing below calls
        // anything that could write the bytes.
        let bytes = unsafe { std::slice::from_raw_parts(memory.base(), len) };
        let mut pieces: Vec<(usize, Vec<u8>)> = Vec::new();
        for (place, piece) in bytes.chunks(PIECE).enumerate().filter(|(_, piece)| !is_zero(piece)) {
            let start = place * PIECE;
            match pieces.last_mut() {
                Some((from, last)) if *from + last.len() == start => append(last, piece)?,
                _ => {
                    let mut first = Vec::new();
                    append(&mut first, piece)?;
                    pieces.try_reserve(1).map_err(|_| no_room())?;
                    pieces.push((start, first));
                }
            }
        }
        Ok(Bytes { len, pieces })
    }

    fn restore(&self, memory: &MemoryObj) -> Result<(), Error> {
        if memory.byte_len() < self.len {
            return Err(Error::Closed);
        }
        memory.shrink(self.len)?;
        let mut done = 0;
        for (start, piece) in &self.pieces {
            zero(memory, done..*start)?;
            // SAFETY: the memory has at least `len` bytes, as was checked above, and the piece is not
            // in it.
            unsafe { std::ptr::copy_nonoverlapping(piece.as_ptr(), memory.base().add(*start), piece.len()) };
            done = start + piece.len();
        }
        zero(memory, done..self.len)
    }
}

/// Makes bytes of a memory zero.
pub(crate) fn zero(memory: &MemoryObj, range: Range<usize>) -> Result<(), Error> {
    if range.len() > LONG {
        return memory.discard(range);
    }
    // SAFETY: the callers pass a range inside the memory, and no wasm runs.
    unsafe { memory.base().add(range.start).write_bytes(0, range.len()) };
    Ok(())
}

fn append(to: &mut Vec<u8>, from: &[u8]) -> Result<(), Error> {
    to.try_reserve(from.len()).map_err(|_| no_room())?;
    to.extend_from_slice(from);
    Ok(())
}

fn no_room() -> Error {
    Error::Internal("no memory to keep the state of an instance in".into())
}

fn is_zero(bytes: &[u8]) -> bool {
    // SAFETY: every bit pattern is a valid u128.
    let (head, middle, tail) = unsafe { bytes.align_to::<u128>() };
    middle.iter().all(|word| *word == 0) && head.iter().chain(tail).all(|byte| *byte == 0)
}

impl State {
    /// # Errors
    /// If a memory is shared, because its other threads cannot be told, or if there is no room.
    pub fn of(obj: &InstanceObj) -> Result<State, Error> {
        let info = obj.info();
        let mut memories = Vec::with_capacity(info.memories.len());
        for memory in obj.own_memories() {
            memories.push(Bytes::of(memory)?);
        }
        let mut tables = Vec::with_capacity(info.tables.len());
        for (_, table) in obj.own_tables() {
            let elements = table.elements()?;
            let mut kept = Vec::new();
            kept.try_reserve_exact(elements.len()).map_err(|_| no_room())?;
            kept.extend_from_slice(&elements);
            tables.push(kept);
        }
        let globals = obj.own_globals().map(|(_, global)| global.value.get()).collect();
        let elems = obj.elems.borrow().clone();
        let dropped_data = obj.dropped_data.borrow().clone();
        Ok(State { memories, tables, globals, elems, dropped_data })
    }

    /// # Errors
    /// If the machine is out of memory. Then only a part has been restored.
    pub fn restore(&self, obj: &InstanceObj) -> Result<(), Error> {
        for (memory, kept) in obj.own_memories().zip(&self.memories) {
            kept.restore(memory)?;
        }
        for ((_, table), kept) in obj.own_tables().zip(&self.tables) {
            table.restore(kept)?;
        }
        for ((_, global), kept) in obj.own_globals().zip(&self.globals) {
            global.value.set(*kept);
        }
        obj.elems.replace(self.elems.clone());
        obj.dropped_data.replace(self.dropped_data.clone());
        Ok(())
    }

    /// Calls `f` with the references in the snapshot.
    pub fn for_each_reference(&self, info: &ModuleInfo, kind: fn(RefType) -> bool, f: &mut dyn FnMut(u64)) {
        let globals = info.globals.iter().filter(|(index, _)| info.defined_global(*index).is_some());
        for ((_, global), kept) in globals.zip(&self.globals) {
            global::for_reference(global.ty, *kept, kind, f);
        }
        let tables = info.tables.iter().filter(|(index, _)| info.defined_table(*index).is_some());
        for ((_, table), kept) in tables.zip(&self.tables) {
            if kind(table.ty.element) {
                kept.iter().for_each(|element| f(*element));
            }
        }
        for (elem, items) in info.elems.values().zip(&self.elems) {
            if kind(elem.ty) {
                items.iter().for_each(|item| f(*item));
            }
        }
    }
}
