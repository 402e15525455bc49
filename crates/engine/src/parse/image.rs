//! The initial contents of a module's memories as whole pages, which can be mapped instead of copied.
//!
//! Used by the code that writes artifacts and by instantiation. Invariant: a plan depends only on what the
//! module declares. If there is one, then writing all active data segments into the module's own memories, in
//! order, succeeds and gives exactly these pages, whatever the imports are.

use super::info::*;
use smallvec::SmallVec;
use std::ops::Range;

/// Runs begin and end at multiples of this, a multiple of every page size of the supported machines and the
/// size of a WebAssembly page.
pub const PAGE: usize = 64 << 10;
const PAGE_LOG2: u8 = 16;

/// With less data than this, copying is cheaper than mapping.
const WORTH_MAPPING: usize = 64 << 10;
/// Each run is a mapping of its own.
const MAX_RUNS: usize = 16;
/// Runs with less between them become one.
const GAP: u64 = 4 * PAGE as u64;
/// How many times as large as the data the image may be.
const MAX_SPARSE: usize = 4;

/// Consecutive pages of a memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub memory: MemoryIndex,
    /// The byte range in the memory.
    pub range: Range<usize>,
    /// The offset of its contents in the image.
    pub place: usize,
}

/// What the initial contents of all memories are made of.
#[derive(Debug, Default)]
pub struct Plan {
    pub runs: Vec<Run>,
    /// Where each data segment lies in the image, and its byte range in the module.
    segments: Vec<(usize, Range<usize>)>,
}

impl Plan {
    /// `None` if the segments depend on imports, or do not fit, or if copying them is cheaper.
    pub fn of(info: &ModuleInfo) -> Option<Plan> {
        let mut segments = Vec::new();
        for data in info.data.values() {
            let SegmentMode::Active { target, offset } = &data.mode else { continue };
            let ty = info.memories.get(*target)?;
            if target.as_u32() < info.num_imported_memories as u32
                || ty.shared
                || ty.page_size_log2 != PAGE_LOG2
            {
                return None;
            }
            let value = constant(info, offset, 0)?;
            let start = if ty.memory64 { value } else { u64::from(value as u32) };
            let end = start.checked_add(data.bytes.len() as u64)?;
            if end > ty.minimum.checked_mul(PAGE as u64)? {
                return None;
            }
            segments.push((*target, start..end, data.bytes.clone()));
        }
        segments.retain(|(_, range, _)| !range.is_empty());
        let len: usize = segments.iter().map(|(_, _, bytes)| bytes.len()).sum();
        if len < WORTH_MAPPING {
            return None;
        }
        let runs = runs(segments.iter().map(|(memory, range, _)| (*memory, range.clone())).collect())?;
        if runs.last().map_or(0, |run| run.place + run.range.len()) > len.saturating_mul(MAX_SPARSE) {
            return None;
        }
        let place = |memory: MemoryIndex, start: usize| {
            let run = runs.iter().find(|run| run.memory == memory && run.range.contains(&start))?;
            Some(run.place + (start - run.range.start))
        };
        let segments = segments
            .into_iter()
            .map(|(memory, range, bytes)| Some((place(memory, usize::try_from(range.start).ok()?)?, bytes)));
        let segments = segments.collect::<Option<Vec<_>>>()?;
        Some(Plan { segments, runs })
    }

    /// The size of the image in bytes.
    pub fn len(&self) -> usize {
        self.runs.last().map_or(0, |run| run.place + run.range.len())
    }

    /// The bytes of the image. `None` if there is no memory for them.
    pub fn image(&self, module: &[u8]) -> Option<Vec<u8>> {
        let mut image = Vec::new();
        image.try_reserve_exact(self.len()).ok()?;
        image.resize(self.len(), 0);
        for (place, bytes) in &self.segments {
            let bytes = module.get(bytes.clone())?;
            image.get_mut(*place..place + bytes.len())?.copy_from_slice(bytes);
        }
        Some(image)
    }
}

/// The pages of byte ranges. `None` if there are too many runs.
fn runs(mut ranges: Vec<(MemoryIndex, Range<u64>)>) -> Option<Vec<Run>> {
    ranges.sort_by_key(|(memory, range)| (*memory, range.start));
    let mut merged: Vec<(MemoryIndex, Range<u64>)> = Vec::new();
    for (memory, range) in ranges {
        let page = PAGE as u64;
        let pages = range.start / page * page..range.end.next_multiple_of(page);
        match merged.last_mut() {
            Some((last, end)) if *last == memory && pages.start <= end.end + GAP => {
                end.end = end.end.max(pages.end);
            }
            _ => merged.push((memory, pages)),
        }
    }
    if merged.len() > MAX_RUNS {
        return None;
    }
    let mut place = 0;
    let mut runs = Vec::new();
    for (memory, pages) in merged {
        let range = usize::try_from(pages.start).ok()?..usize::try_from(pages.end).ok()?;
        let len = range.len();
        runs.push(Run { memory, range, place });
        place += len;
    }
    Some(runs)
}

/// The value of a constant expression of an integer type. `None` if it depends on imports.
fn constant(info: &ModuleInfo, expr: &ConstExpr, depth: usize) -> Option<u64> {
    // Each global refers only to earlier ones. A longer chain of them is unusual.
    const MAX_DEPTH: usize = 8;
    let mut stack: SmallVec<[u64; 4]> = SmallVec::new();
    for op in expr {
        let mut binary = |apply: fn(u64, u64) -> u64| {
            let (b, a) = (stack.pop()?, stack.pop()?);
            stack.push(apply(a, b));
            Some(())
        };
        match *op {
            ConstOp::I32Const(value) => stack.push(u64::from(value as u32)),
            ConstOp::I64Const(value) => stack.push(value as u64),
            // The low half of a 32-bit result is right, whatever is above it.
            ConstOp::I32Add | ConstOp::I64Add => binary(u64::wrapping_add)?,
            ConstOp::I32Sub | ConstOp::I64Sub => binary(u64::wrapping_sub)?,
            ConstOp::I32Mul | ConstOp::I64Mul => binary(u64::wrapping_mul)?,
            ConstOp::GlobalGet(index) if depth < MAX_DEPTH => {
                let global = info.globals.get(index).filter(|global| !global.ty.mutable)?;
                stack.push(constant(info, global.init.as_ref()?, depth + 1)?);
            }
            _ => return None,
        }
    }
    stack.pop().filter(|_| stack.is_empty())
}
