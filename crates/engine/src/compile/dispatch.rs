//! Gives each arm of an interpreter's loop an indirect jump of its own.
//!
//! Called by `driver.rs` for functions with a `br_table` in a loop, after everything else. The loop of an
//! interpreter is a jump table that all arms jump back to. A processor predicts an indirect jump by its place,
//! so one that all arms share is hard to predict: the same code takes up to three times as long, by the place
//! that it has in memory. So each jump that leads to a jump table without any other decision gets a copy of
//! the instructions from its target to the table's jump. It is what C compilers do for `switch` in a loop. In
//! Cranelift's IR the copies would have as many edges as arms times arms; here each is some 50 bytes.
//!
//! Copies are placed behind the function, so nothing moves. Invariants: only whole instructions are copied,
//! each of them does the same in the copy as in the original, and nothing changes but the target of the jumps.
//! Instructions are found by decoding from the starts of blocks, which Cranelift tells. If anything is not as
//! expected, the jump stays as it is.

use super::compiled::{CompiledFunction, SourceLocation};
use crate::abi::TrapCode;
use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction};
use std::ops::Range;

/// The longest copy, in instructions.
const LONGEST: usize = 32;
/// Bytes of all copies of a function, in relation to its size: no more than a quarter, or this.
const FEW_BYTES: usize = 4 << 10;

/// An instruction of the function.
struct Found {
    end: usize,
    flow: Flow,
    /// The place of a 4-byte distance from the end of the instruction.
    distance: Option<usize>,
}

enum Flow {
    /// Continues with the next instruction, and may branch.
    On,
    Jump {
        target: usize,
    },
    /// An indirect jump.
    Indirect,
    /// A call, return or trap.
    Other,
}

/// What is copied for a jump.
struct Way {
    /// Ranges of instructions that run one after the other. The last one ends with an indirect jump.
    parts: Vec<Range<usize>>,
    instructions: Vec<(usize, Found)>,
}

/// Copies the dispatch of loops to their arms. `starts` are the starts of blocks.
pub(super) fn spread(function: &mut CompiledFunction, starts: &[u32]) {
    let sites = jumps(&function.code, starts);
    let ways: Vec<(usize, Way)> =
        sites.iter().filter_map(|(end, target)| Some((*end, way(function, *end, *target)?))).collect();
    // One jump of its own would be the same as the shared one.
    if ways.len() < 2 {
        return;
    }
    let most = function.code.len() + (function.code.len() / 4).max(FEW_BYTES);
    for (end, way) in ways {
        let size: usize = way.parts.iter().map(|part| part.len()).sum();
        if function.code.len() + size > most {
            break;
        }
        append(function, end, &way);
    }
}

/// The direct jumps of a function: where each ends, and its target.
fn jumps(code: &[u8], starts: &[u32]) -> Vec<(usize, usize)> {
    let mut jumps = Vec::new();
    for (i, start) in starts.iter().enumerate() {
        let next = starts.get(i + 1).map_or(code.len(), |next| *next as usize);
        let mut at = *start as usize;
        while at < next
            && let Some(found) = decode(code, at)
        {
            match found.flow {
                Flow::On => {}
                Flow::Jump { target } => {
                    jumps.push((found.end, target));
                    break;
                }
                Flow::Indirect => break,
                // Code may follow a call. What is no code, as jump tables, comes only behind what ends a block.
                Flow::Other if is_call(code, at) => {}
                Flow::Other => break,
            }
            at = found.end;
        }
    }
    jumps
}

fn instruction(code: &[u8], at: usize) -> Option<(Instruction, Decoder<'_>)> {
    let mut decoder = Decoder::with_ip(64, code.get(at..)?, at as u64, DecoderOptions::NONE);
    let instruction = decoder.decode();
    (instruction.code() != Code::INVALID).then_some((instruction, decoder))
}

fn is_call(code: &[u8], at: usize) -> bool {
    instruction(code, at).is_some_and(|(instruction, _)| {
        matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall)
    })
}

fn decode(code: &[u8], at: usize) -> Option<Found> {
    let (instruction, decoder) = instruction(code, at)?;
    let end = at + instruction.len();
    let offsets = decoder.get_constant_offsets(&instruction);
    let flow = match instruction.flow_control() {
        FlowControl::Next | FlowControl::ConditionalBranch => Flow::On,
        FlowControl::UnconditionalBranch => {
            Flow::Jump { target: usize::try_from(instruction.near_branch_target()).ok()? }
        }
        FlowControl::IndirectBranch => Flow::Indirect,
        _ => Flow::Other,
    };
    let distance = if instruction.is_ip_rel_memory_operand() {
        Some((offsets.displacement_offset(), offsets.displacement_size()))
    } else if let FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch =
        instruction.flow_control()
    {
        Some((offsets.immediate_offset(), offsets.immediate_size()))
    } else {
        None
    };
    match distance {
        Some((place, 4)) => Some(Found { end, flow, distance: Some(at + place) }),
        // A distance of one byte would not reach.
        Some(_) => None,
        None => Some(Found { end, flow, distance: None }),
    }
}

/// The instructions from the target of a jump to the jump of a table. `None` if there is anything else on the
/// way, or no way back in the function, which makes a loop.
fn way(function: &CompiledFunction, site: usize, target: usize) -> Option<Way> {
    let mut way = Way { parts: Vec::new(), instructions: Vec::new() };
    let (mut start, mut at) = (target, target);
    let mut is_loop = target < site;
    for _ in 0..LONGEST {
        let found = decode(&function.code, at)?;
        let end = found.end;
        match found.flow {
            Flow::On => way.instructions.push((at, found)),
            Flow::Jump { target } => {
                way.parts.push(start..at);
                is_loop |= target < end;
                (start, at) = (target, target);
                continue;
            }
            Flow::Indirect => {
                way.instructions.push((at, found));
                way.parts.push(start..end);
                let relocated = |part: &Range<usize>| {
                    function.relocs.iter().any(|reloc| part.contains(&(reloc.offset as usize)))
                };
                let is_ours = is_loop && has_table(&function.code, &way) && !way.parts.iter().any(relocated);
                return is_ours.then_some(way);
            }
            Flow::Other => return None,
        }
        at = end;
    }
    None
}

/// Whether the indirect jump at the end takes its target from a jump table right behind it.
fn has_table(code: &[u8], way: &Way) -> bool {
    let [.., (table, _), (_, _), (_, _), (_, jump)] = &way.instructions[..] else { return false };
    instruction(code, *table).is_some_and(|(lea, _)| {
        lea.code() == Code::Lea_r64_m
            && lea.is_ip_rel_memory_operand()
            && lea.ip_rel_memory_address() == jump.end as u64
    })
}

/// Appends a copy of the instructions and leads the jump that ends at `site` to it.
fn append(function: &mut CompiledFunction, site: usize, way: &Way) {
    let start = function.code.len();
    let mut copy: Vec<u8> = Vec::new();
    let mut traps: Vec<(u32, TrapCode)> = Vec::new();
    let mut source_map: Vec<SourceLocation> = Vec::new();
    for (at, found) in &way.instructions {
        let new = start + copy.len();
        copy.extend_from_slice(&function.code[*at..found.end]);
        if let Some(place) = found.distance {
            let place = place - at + new - start;
            let Some(distance) = moved(&copy, place, *at as i64 - new as i64) else { return };
            copy[place..place + 4].copy_from_slice(&distance);
        }
        let first = function.traps.partition_point(|(offset, _)| (*offset as usize) < *at);
        let mine = function.traps[first..].iter().take_while(|(offset, _)| (*offset as usize) < found.end);
        for (offset, code) in mine {
            let code_offset = new as u32 + (offset - *at as u32);
            traps.push((code_offset, *code));
            let known = SourceLocation::at(&function.source_map, *offset).iter();
            source_map.extend(known.map(|known| SourceLocation { code: code_offset, wasm: known.wasm }));
        }
    }
    let distance = start as i64 - site as i64;
    let (Some(jump), Ok(distance)) = (function.code.get_mut(site - 4..site), i32::try_from(distance)) else {
        return;
    };
    jump.copy_from_slice(&distance.to_le_bytes());
    function.code.append(&mut copy);
    function.traps.append(&mut traps);
    function.source_map.append(&mut source_map);
}

/// A distance in the code, changed by `by`.
fn moved(code: &[u8], place: usize, by: i64) -> Option<[u8; 4]> {
    let distance = i32::from_le_bytes(code.get(place..place + 4)?.try_into().ok()?);
    Some(i32::try_from(i64::from(distance) + by).ok()?.to_le_bytes())
}
