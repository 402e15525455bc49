//! Maps offsets in a module to source locations, with the DWARF in its custom sections.
//!
//! Used through [`source_frames`] to build the stack of an error. Invariant: debug information is guest input
//! and is not trusted. All reads count against a limit per module. Nothing recurses. Everything that is kept
//! is limited in size. If anything is wrong, the location is unknown.
//!
//! This is why gimli is used without addr2line, which recurses to the depth of inlined functions, and keeps
//! all rows and entries that it has read.

use super::Frame;
use crate::bytes::ModuleBytes;
use crate::parse::info::ModuleInfo;
use gimli::{
    AttributeValue, ColumnType, DebugInfoOffset, Dwarf, EndianSlice, LittleEndian, Reader, ReaderOffsetId,
    Unit, UnitOffset, UnitRef, constants as dw,
};
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// A source location and its function, which may be inlined.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceFrame {
    /// The name from the debug information. It may be mangled.
    pub function: Option<String>,
    pub file: String,
    pub line: u32,
    /// Starts at 1. 0 if unknown.
    pub column: u32,
    /// The line on which the function is declared. 0 if unknown.
    pub declared: u32,
}

/// The read limit for a module's debug information, over its whole life. About a second.
const READS: u64 = 50_000_000;
/// Maximum nesting depth of entries.
const MAX_DEPTH: usize = 4096;
/// Maximum number of functions inlined into each other at one address.
const MAX_INLINED: usize = 32;
/// Maximum number of address ranges of units.
const MAX_RANGES: usize = 1 << 20;
const MAX_NAME: usize = 1024;
/// Maximum number of cached locations.
const MAX_KNOWN: usize = 256;
/// Maximum number of steps from an inlined function to the entry with its name.
const MAX_ORIGINS: usize = 16;

pub struct DebugInfo {
    module: Arc<ModuleInfo>,
    bytes: ModuleBytes,
    state: Mutex<State>,
}

struct State {
    reads_left: u64,
    /// Built on first use.
    units: Option<Vec<UnitRange>>,
    known: HashMap<u64, Vec<SourceFrame>>,
}

#[derive(Clone, Copy)]
struct UnitRange {
    begin: u64,
    end: u64,
    unit: DebugInfoOffset<usize>,
}

/// The source locations of each frame, innermost first. There are several if functions were inlined, and none
/// if the location is unknown.
pub fn source_frames(frames: &[Frame]) -> Vec<Vec<SourceFrame>> {
    let mut found = vec![Vec::new(); frames.len()];
    // Almost always all frames belong to one module, and one search finds all of them.
    let mut left: Vec<usize> = (0..frames.len()).collect();
    while let Some(first) = left.first().and_then(|first| frames.get(*first)) {
        let (these, others): (Vec<usize>, Vec<usize>) =
            left.iter().partition(|index| Arc::ptr_eq(&frames[**index].debug, &first.debug));
        let offsets: Vec<u64> = these.iter().map(|index| frames[*index].wasm_offset.unwrap_or(0)).collect();
        for (index, places) in these.iter().zip(first.debug.locate(&offsets)) {
            found[*index] = places;
        }
        left = others;
    }
    found
}

impl fmt::Debug for DebugInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DebugInfo")
    }
}

impl DebugInfo {
    pub fn new(module: Arc<ModuleInfo>, bytes: ModuleBytes) -> DebugInfo {
        let state = State { reads_left: READS, units: None, known: HashMap::new() };
        DebugInfo { module, bytes, state: Mutex::new(state) }
    }

    /// The module's URL in stack frames: `wasm://wasm/<name>-<hash>`.
    pub fn module_url(&self) -> String {
        self.module.url(&self.bytes)
    }

    /// The source locations for byte offsets in the module.
    fn locate(&self, offsets: &[u64]) -> Vec<Vec<SourceFrame>> {
        if !self.module.custom_sections.iter().any(|(name, _)| name == ".debug_info") {
            return vec![Vec::new(); offsets.len()];
        }
        // A panic below is a bug. At worst it leaves a location unknown.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.known.len() > MAX_KNOWN {
            state.known.clear();
        }
        let mut wanted: Vec<u64> =
            offsets.iter().copied().filter(|offset| !state.known.contains_key(offset)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        if !wanted.is_empty() {
            let left = Cell::new(state.reads_left);
            // DWARF addresses are relative to the contents of the code section.
            let code = self.module.code_section as u64;
            let addresses = wanted.iter().map(|offset| offset.saturating_sub(code)).collect();
            let mut search = Search { addresses, found: vec![Vec::new(); wanted.len()] };
            // After an error the results found so far are used.
            let _ = self.search(&mut search, &mut state.units, &left);
            state.reads_left = left.get();
            state.known.extend(wanted.into_iter().zip(search.found));
        }
        offsets.iter().map(|offset| state.known.get(offset).cloned().unwrap_or_default()).collect()
    }

    fn search(
        &self,
        search: &mut Search,
        units: &mut Option<Vec<UnitRange>>,
        left: &Cell<u64>,
    ) -> gimli::Result<()> {
        let section = |id: gimli::SectionId| {
            let mut sections = self.module.custom_sections.iter();
            let range = sections.find(|(name, _)| name == id.name()).map(|(_, range)| range.clone());
            let bytes = range.and_then(|range| self.bytes.get(range)).unwrap_or_default();
            gimli::Result::Ok(Counted { bytes: EndianSlice::new(bytes, LittleEndian), left })
        };
        let dwarf = Dwarf::load(section)?;
        let units = match units {
            Some(units) => units,
            None => {
                // Also kept if the rest could not be read, so that it is not read again.
                let units = units.insert(Vec::new());
                let _ = unit_ranges(&dwarf, units);
                units
            }
        };
        let mut of_interest: Vec<DebugInfoOffset<usize>> = units
            .iter()
            .filter(|range| !search.inside(range.begin, range.end).is_empty())
            .map(|range| range.unit)
            .collect();
        of_interest.sort_unstable();
        of_interest.dedup();
        for offset in of_interest {
            let unit = dwarf.unit_header(offset).and_then(|header| dwarf.unit(header));
            // If one unit cannot be read, the next one may still be.
            if let Ok(unit) = unit {
                let _ = search.unit(UnitRef::new(&dwarf, &unit));
            }
        }
        Ok(())
    }
}

/// Collects the ranges of all units. A range that begins at 0 belongs to code that the linker removed.
fn unit_ranges(dwarf: &Dwarf<Counted<'_>>, into: &mut Vec<UnitRange>) -> gimli::Result<()> {
    let mut headers = dwarf.units();
    while let Some(header) = headers.next()? {
        let Some(offset) = header.debug_info_offset() else { continue };
        let Ok(unit) = dwarf.unit(header) else { continue };
        let Ok(mut ranges) = dwarf.unit_ranges(&unit) else { continue };
        while let Ok(Some(range)) = ranges.next() {
            if into.len() >= MAX_RANGES {
                return Ok(());
            }
            if range.begin != 0 {
                into.push(UnitRange { begin: range.begin, end: range.end, unit: offset });
            }
        }
    }
    Ok(())
}

/// Sorted addresses, and the results for each.
struct Search {
    addresses: Vec<u64>,
    found: Vec<Vec<SourceFrame>>,
}

/// A row of a line table: file, line, column.
type Row = (u64, u32, u32);

/// A function at an address. Such functions are ordered from outermost to innermost.
struct Function<'a> {
    /// The depth and the offset of its entry.
    depth: usize,
    entry: UnitOffset<usize>,
    name: Option<Counted<'a>>,
    declared: u32,
    /// The call site of an inlined function.
    call: Row,
}

impl Search {
    /// The indices of the addresses in a range.
    fn inside(&self, begin: u64, end: u64) -> Range<usize> {
        let before = |bound: u64| self.addresses.partition_point(|address| *address < bound);
        before(begin)..before(end)
    }

    /// Searches one unit for all addresses.
    fn unit(&mut self, unit: UnitRef<'_, Counted<'_>>) -> gimli::Result<()> {
        let rows = self.rows(unit)?;
        // Without functions a location still has its line.
        let functions = self.functions(unit).unwrap_or_default();
        for (index, row) in rows.into_iter().enumerate() {
            let Some(row) = row else { continue };
            let Some(found) = self.found.get_mut(index).filter(|found| found.is_empty()) else { continue };
            let mut place = row;
            let chain = functions.get(index).map(Vec::as_slice).unwrap_or_default();
            for function in chain.iter().rev() {
                let name = function.name.as_ref().and_then(|name| text(name).ok());
                found.push(source_frame(unit, place, name, function.declared)?);
                place = function.call;
            }
            if chain.is_empty() {
                found.push(source_frame(unit, place, None, 0)?);
            }
        }
        Ok(())
    }

    /// The line table row of each address.
    fn rows(&self, unit: UnitRef<'_, Counted<'_>>) -> gimli::Result<Vec<Option<Row>>> {
        let mut found = vec![None; self.addresses.len()];
        let Some(program) = unit.line_program.clone() else { return Ok(found) };
        let mut rows = program.rows();
        let mut last: Option<(u64, Row)> = None;
        // Whether the rows belong to code that the linker removed.
        let mut dead = false;
        while let Some((_, row)) = rows.next_row()? {
            let address = row.address();
            match last {
                None => dead = address == 0,
                Some((begin, row)) if !dead => {
                    found.get_mut(self.inside(begin, address)).into_iter().flatten().for_each(|found| {
                        *found = Some(row);
                    });
                }
                Some(_) => {}
            }
            let column = match row.column() {
                ColumnType::LeftEdge => 0,
                ColumnType::Column(column) => u32::try_from(column.get()).unwrap_or(0),
            };
            let line = row.line().and_then(|line| u32::try_from(line.get()).ok()).unwrap_or(0);
            last = (!row.end_sequence()).then_some((address, (row.file_index(), line, column)));
        }
        Ok(found)
    }

    /// The functions that contain each address, outermost first.
    fn functions<'a>(&self, unit: UnitRef<'_, Counted<'a>>) -> gimli::Result<Vec<Vec<Function<'a>>>> {
        let mut found: Vec<Vec<Function<'a>>> = Vec::new();
        found.resize_with(self.addresses.len(), Vec::new);
        let mut entries = unit.entries_raw(None)?;
        // The ancestors of the current entry, and the entry itself.
        let mut path: Vec<UnitOffset<usize>> = Vec::new();
        while !entries.is_empty() {
            let depth = usize::try_from(entries.next_depth()).unwrap_or(MAX_DEPTH);
            let offset = entries.next_offset();
            let Some(abbreviation) = entries.read_abbreviation()? else { continue };
            if depth >= MAX_DEPTH {
                break;
            }
            path.truncate(depth);
            path.push(offset);
            let inlined = abbreviation.tag() == dw::DW_TAG_inlined_subroutine;
            if !inlined && abbreviation.tag() != dw::DW_TAG_subprogram {
                entries.skip_attributes(abbreviation.attributes())?;
                continue;
            }
            let mut entry = Entry::default();
            for spec in abbreviation.attributes() {
                let attribute = entries.read_attribute(*spec)?;
                entry.attribute(unit, attribute.name(), attribute.value())?;
            }
            let hits = entry.hits(unit, self)?;
            let mut named = None;
            for chain in found.iter_mut().zip(hits).filter_map(|(chain, hit)| hit.then_some(chain)) {
                let fits = match chain.last() {
                    None => !inlined,
                    Some(outer) => {
                        inlined && chain.len() < MAX_INLINED && path.get(outer.depth) == Some(&outer.entry)
                    }
                };
                if !fits {
                    continue;
                }
                let (name, declared) = match &named {
                    Some(named) => <(Option<_>, u32)>::clone(named),
                    None => named.insert(entry.name(unit)?).clone(),
                };
                chain.push(Function { depth, entry: offset, name, declared, call: entry.call });
            }
        }
        Ok(found)
    }
}

/// The relevant attributes of a function entry.
#[derive(Default)]
struct Entry<'a> {
    low: Option<u64>,
    high: Option<u64>,
    size: Option<u64>,
    ranges: Option<gimli::RangeListsOffset<usize>>,
    linkage_name: Option<Counted<'a>>,
    plain_name: Option<Counted<'a>>,
    declared: u32,
    origin: Option<AttributeValue<Counted<'a>>>,
    call: Row,
}

impl<'a> Entry<'a> {
    fn attribute(
        &mut self,
        unit: UnitRef<'_, Counted<'a>>,
        name: gimli::DwAt,
        value: AttributeValue<Counted<'a>>,
    ) -> gimli::Result<()> {
        let number = || value.udata_value().and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
        match name {
            dw::DW_AT_low_pc => self.low = unit.attr_address(value)?,
            dw::DW_AT_high_pc => match value {
                AttributeValue::Udata(size) => self.size = Some(size),
                other => self.high = unit.attr_address(other)?,
            },
            dw::DW_AT_ranges => self.ranges = unit.attr_ranges_offset(value)?,
            dw::DW_AT_linkage_name | dw::DW_AT_MIPS_linkage_name => {
                self.linkage_name = unit.attr_string(value).ok();
            }
            dw::DW_AT_name => self.plain_name = unit.attr_string(value).ok(),
            dw::DW_AT_decl_line => self.declared = number(),
            dw::DW_AT_abstract_origin | dw::DW_AT_specification => self.origin = Some(value),
            dw::DW_AT_call_file => {
                self.call.0 = match value {
                    AttributeValue::FileIndex(index) => index,
                    other => other.udata_value().unwrap_or(0),
                }
            }
            dw::DW_AT_call_line => self.call.1 = number(),
            dw::DW_AT_call_column => self.call.2 = number(),
            _ => {}
        }
        Ok(())
    }

    /// For each address, whether the function contains it.
    fn hits(&self, unit: UnitRef<'_, Counted<'a>>, search: &Search) -> gimli::Result<Vec<bool>> {
        let mut hits = vec![false; search.addresses.len()];
        let mut add = |begin: u64, end: u64| {
            if begin != 0 {
                hits.get_mut(search.inside(begin, end)).into_iter().flatten().for_each(|hit| *hit = true);
            }
        };
        match (self.ranges, self.low, self.high, self.size) {
            (Some(offset), ..) => {
                let mut ranges = unit.ranges(offset)?;
                while let Some(range) = ranges.next()? {
                    add(range.begin, range.end);
                }
            }
            (None, Some(low), Some(high), _) => add(low, high),
            (None, Some(low), None, Some(size)) => add(low, low.saturating_add(size)),
            _ => {}
        }
        Ok(hits)
    }

    /// The name of the function, and the line of its declaration. They may be in an entry that this one refers to.
    fn name(&self, unit: UnitRef<'_, Counted<'a>>) -> gimli::Result<(Option<Counted<'a>>, u32)> {
        let own = |entry: &Entry<'a>| entry.linkage_name.clone().or(entry.plain_name.clone());
        let mut name = own(self);
        let mut declared = self.declared;
        let mut origin = self.origin.clone();
        // The unit of an entry in another unit.
        let mut other: Option<Unit<Counted<'a>>> = None;
        for _ in 0..MAX_ORIGINS {
            if name.is_some() {
                break;
            }
            let offset: UnitOffset<usize> = match origin.take() {
                Some(AttributeValue::UnitRef(offset)) => offset,
                Some(AttributeValue::DebugInfoRef(offset)) => {
                    let Some((found, offset)) = unit_around(unit.dwarf, offset)? else { break };
                    other = Some(found);
                    offset
                }
                _ => break,
            };
            let unit = other.as_ref().map_or(unit, |other| UnitRef::new(unit.dwarf, other));
            let mut entries = unit.entries_raw(Some(offset))?;
            let Some(abbreviation) = entries.read_abbreviation()? else { break };
            let mut entry = Entry::default();
            for spec in abbreviation.attributes() {
                let attribute = entries.read_attribute(*spec)?;
                if attribute.name() != dw::DW_AT_ranges {
                    entry.attribute(unit, attribute.name(), attribute.value())?;
                }
            }
            if declared == 0 {
                declared = entry.declared;
            }
            (name, origin) = (own(&entry), entry.origin);
        }
        Ok((name, declared))
    }
}

/// The unit of the entry at this section offset, and the entry's offset in the unit.
fn unit_around<'a>(
    dwarf: &Dwarf<Counted<'a>>,
    offset: DebugInfoOffset<usize>,
) -> gimli::Result<Option<(Unit<Counted<'a>>, UnitOffset<usize>)>> {
    let mut headers = dwarf.units();
    while let Some(header) = headers.next()? {
        if let Some(within) = offset.to_unit_offset(&header) {
            return Ok(Some((dwarf.unit(header)?, within)));
        }
    }
    Ok(None)
}

fn source_frame(
    unit: UnitRef<'_, Counted<'_>>,
    (file, line, column): Row,
    function: Option<String>,
    declared: u32,
) -> gimli::Result<SourceFrame> {
    let file = file_name(unit, file)?.unwrap_or_default();
    Ok(SourceFrame { function, file, line, column, declared })
}

/// The path of a file in the unit's line table.
fn file_name(unit: UnitRef<'_, Counted<'_>>, index: u64) -> gimli::Result<Option<String>> {
    let Some(program) = &unit.line_program else { return Ok(None) };
    let header = program.header();
    let Some(file) = header.file(index) else { return Ok(None) };
    let mut path = match &unit.comp_dir {
        Some(directory) => text(directory)?,
        None => String::new(),
    };
    // Directory 0 is the directory of the unit.
    if let Some(directory) = file.directory(header).filter(|_| file.directory_index() != 0) {
        append(&mut path, &text(&unit.attr_string(directory)?)?);
    }
    append(&mut path, &text(&unit.attr_string(file.path_name())?)?);
    Ok(Some(path))
}

fn append(path: &mut String, part: &str) {
    let drive = part.as_bytes().get(1) == Some(&b':');
    if part.starts_with(['/', '\\']) || drive {
        path.clear();
    } else if !path.is_empty() && !path.ends_with(['/', '\\']) {
        path.push('/');
    }
    path.push_str(part);
}

/// The beginning of a string.
fn text(of: &Counted<'_>) -> gimli::Result<String> {
    let mut short = of.clone();
    short.truncate(of.len().min(MAX_NAME))?;
    Ok(short.to_string_lossy()?.into_owned())
}

/// A reader that counts its reads. When the limit is reached it has no more data.
#[derive(Clone)]
struct Counted<'a> {
    bytes: EndianSlice<'a, LittleEndian>,
    left: &'a Cell<u64>,
}

impl Counted<'_> {
    #[inline]
    fn count(&self, cost: usize) -> gimli::Result<()> {
        match self.left.get().checked_sub(cost as u64) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                self.left.set(0);
                Err(gimli::Error::UnexpectedEof(self.bytes.offset_id()))
            }
        }
    }
}

impl fmt::Debug for Counted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

impl Reader for Counted<'_> {
    type Endian = LittleEndian;
    type Offset = usize;

    fn endian(&self) -> LittleEndian {
        self.bytes.endian()
    }

    fn len(&self) -> usize {
        Reader::len(&self.bytes)
    }

    fn empty(&mut self) {
        self.bytes.empty();
    }

    fn truncate(&mut self, len: usize) -> gimli::Result<()> {
        self.bytes.truncate(len)
    }

    fn offset_from(&self, base: &Self) -> usize {
        Reader::offset_from(&self.bytes, &base.bytes)
    }

    fn offset_id(&self) -> ReaderOffsetId {
        self.bytes.offset_id()
    }

    fn lookup_offset_id(&self, id: ReaderOffsetId) -> Option<usize> {
        self.bytes.lookup_offset_id(id)
    }

    fn find(&self, byte: u8) -> gimli::Result<usize> {
        let found = Reader::find(&self.bytes, byte);
        self.count(*found.as_ref().unwrap_or(&self.len()) / 16 + 1)?;
        found
    }

    #[inline]
    fn skip(&mut self, len: usize) -> gimli::Result<()> {
        self.count(1)?;
        self.bytes.skip(len)
    }

    #[inline]
    fn split(&mut self, len: usize) -> gimli::Result<Self> {
        self.count(1)?;
        Ok(Counted { bytes: self.bytes.split(len)?, left: self.left })
    }

    fn to_slice(&self) -> gimli::Result<Cow<'_, [u8]>> {
        self.bytes.to_slice()
    }

    fn to_string(&self) -> gimli::Result<Cow<'_, str>> {
        Reader::to_string(&self.bytes)
    }

    fn to_string_lossy(&self) -> gimli::Result<Cow<'_, str>> {
        Reader::to_string_lossy(&self.bytes)
    }

    #[inline]
    fn read_slice(&mut self, buf: &mut [u8]) -> gimli::Result<()> {
        self.count(1)?;
        self.bytes.read_slice(buf)
    }
}
