//! From offsets in a module to places in its source, by the DWARF in its custom sections.
//!
//! For who makes the stack of an error, through [`source_frames`]. Invariant: a module's debug
//! information is the guest's, so nothing here trusts it. All reading counts against an allowance
//! that is made once for a module; nothing recurses; what is kept has a bound. Whatever is wrong
//! with it, the answer is that the place is not known.
//!
//! This is why gimli is used without addr2line: that one recurses as deep as inlined functions are
//! nested, and keeps all rows and entries that it has read.

use super::Frame;
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

/// A place in the source, and the function it is in, which may be inlined.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceFrame {
    /// As it stands in the debug information: it may be mangled.
    pub function: Option<String>,
    pub file: String,
    pub line: u32,
    /// Counted from 1; 0 if it is not known.
    pub column: u32,
}

/// How many reads a module's debug information is worth, in its whole life. About a second.
const READS: u64 = 50_000_000;
/// Entries in entries.
const MAX_DEPTH: usize = 4096;
/// Functions inlined into each other at one place.
const MAX_INLINED: usize = 32;
/// Address ranges of units.
const MAX_RANGES: usize = 1 << 20;
const MAX_NAME: usize = 1024;
/// Places that are remembered.
const MAX_KNOWN: usize = 256;
/// Steps from an inlined function to the entry that has its name.
const MAX_ORIGINS: usize = 16;

/// The debug information of a module.
pub struct DebugInfo {
    module: Arc<ModuleInfo>,
    bytes: Arc<[u8]>,
    state: Mutex<State>,
}

struct State {
    reads_left: u64,
    /// Made at the first question.
    units: Option<Vec<UnitRange>>,
    known: HashMap<u64, Vec<SourceFrame>>,
}

#[derive(Clone, Copy)]
struct UnitRange {
    begin: u64,
    end: u64,
    unit: DebugInfoOffset<usize>,
}

/// For each frame the places in the source that it stands for, innermost first: more than one where
/// functions were inlined, none where nothing is known.
pub fn source_frames(frames: &[Frame]) -> Vec<Vec<SourceFrame>> {
    let mut found = vec![Vec::new(); frames.len()];
    // Almost always all frames are of one module, and one reading answers for all of them.
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
    pub fn new(module: Arc<ModuleInfo>, bytes: Arc<[u8]>) -> DebugInfo {
        let state = State { reads_left: READS, units: None, known: HashMap::new() };
        DebugInfo { module, bytes, state: Mutex::new(state) }
    }

    /// How frames call the module: `wasm://wasm/<name>-<hash>`.
    pub fn module_url(&self) -> String {
        self.module.url(&self.bytes)
    }

    /// The places for byte offsets in the module.
    fn locate(&self, offsets: &[u64]) -> Vec<Vec<SourceFrame>> {
        if !self.module.custom_sections.iter().any(|(name, _)| name == ".debug_info") {
            return vec![Vec::new(); offsets.len()];
        }
        // A panic below is a bug, and leaves at worst a place that is not known.
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
            // Addresses in DWARF count from the contents of the code section.
            let code = self.module.code_section as u64;
            let addresses = wanted.iter().map(|offset| offset.saturating_sub(code)).collect();
            let mut search = Search { addresses, found: vec![Vec::new(); wanted.len()] };
            // What went wrong says no more than what was found.
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
                // Kept also if the end could not be read, so that nobody tries again.
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
            // One unit that cannot be read says nothing of the next.
            if let Ok(unit) = unit {
                let _ = search.unit(UnitRef::new(&dwarf, &unit));
            }
        }
        Ok(())
    }
}

/// The ranges of all units. A range that begins at 0 is of code that the linker took out.
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

/// Addresses, in order, and what was found for each.
struct Search {
    addresses: Vec<u64>,
    found: Vec<Vec<SourceFrame>>,
}

/// A row of a line table: file, line, column.
type Row = (u64, u32, u32);

/// A function at an address, on the way from the outermost to the innermost.
struct Function<'a> {
    /// How deep its entry is, and which entry it is.
    depth: usize,
    entry: UnitOffset<usize>,
    name: Option<Counted<'a>>,
    /// Where an inlined one was called.
    call: Row,
}

impl Search {
    /// The places of the addresses in a range.
    fn inside(&self, begin: u64, end: u64) -> Range<usize> {
        let before = |bound: u64| self.addresses.partition_point(|address| *address < bound);
        before(begin)..before(end)
    }

    /// Looks for all addresses in one unit.
    fn unit(&mut self, unit: UnitRef<'_, Counted<'_>>) -> gimli::Result<()> {
        let rows = self.rows(unit)?;
        // Without functions a place still has its line.
        let functions = self.functions(unit).unwrap_or_default();
        for (index, row) in rows.into_iter().enumerate() {
            let Some(row) = row else { continue };
            let Some(found) = self.found.get_mut(index).filter(|found| found.is_empty()) else { continue };
            let mut place = row;
            let chain = functions.get(index).map(Vec::as_slice).unwrap_or_default();
            for function in chain.iter().rev() {
                let name = function.name.as_ref().and_then(|name| text(name).ok());
                found.push(source_frame(unit, place, name)?);
                place = function.call;
            }
            if chain.is_empty() {
                found.push(source_frame(unit, place, None)?);
            }
        }
        Ok(())
    }

    /// The row of the line table for each address.
    fn rows(&self, unit: UnitRef<'_, Counted<'_>>) -> gimli::Result<Vec<Option<Row>>> {
        let mut found = vec![None; self.addresses.len()];
        let Some(program) = unit.line_program.clone() else { return Ok(found) };
        let mut rows = program.rows();
        let mut last: Option<(u64, Row)> = None;
        // Of code that the linker took out.
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

    /// The functions around each address, outermost first.
    fn functions<'a>(&self, unit: UnitRef<'_, Counted<'a>>) -> gimli::Result<Vec<Vec<Function<'a>>>> {
        let mut found: Vec<Vec<Function<'a>>> = Vec::new();
        found.resize_with(self.addresses.len(), Vec::new);
        let mut entries = unit.entries_raw(None)?;
        // The entries around the one that is read, and itself.
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
                let name = match &named {
                    Some(name) => Option::clone(name),
                    None => named.insert(entry.name(unit)?).clone(),
                };
                chain.push(Function { depth, entry: offset, name, call: entry.call });
            }
        }
        Ok(found)
    }
}

/// What is of interest in the entry of a function.
#[derive(Default)]
struct Entry<'a> {
    low: Option<u64>,
    high: Option<u64>,
    size: Option<u64>,
    ranges: Option<gimli::RangeListsOffset<usize>>,
    linkage_name: Option<Counted<'a>>,
    plain_name: Option<Counted<'a>>,
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

    /// For each address whether it is the function's.
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

    /// The name of the function, which may stand in an entry that this one refers to.
    fn name(&self, unit: UnitRef<'_, Counted<'a>>) -> gimli::Result<Option<Counted<'a>>> {
        let own = |entry: &Entry<'a>| entry.linkage_name.clone().or(entry.plain_name.clone());
        let mut name = own(self);
        let mut origin = self.origin.clone();
        // The unit that an entry of another one belongs to.
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
            (name, origin) = (own(&entry), entry.origin);
        }
        Ok(name)
    }
}

/// The unit that the entry at this offset of the section belongs to, and its offset in there.
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
) -> gimli::Result<SourceFrame> {
    let file = file_name(unit, file)?.unwrap_or_default();
    Ok(SourceFrame { function, file, line, column })
}

/// The path of a file of the unit's line table.
fn file_name(unit: UnitRef<'_, Counted<'_>>, index: u64) -> gimli::Result<Option<String>> {
    let Some(program) = &unit.line_program else { return Ok(None) };
    let header = program.header();
    let Some(file) = header.file(index) else { return Ok(None) };
    let mut path = match &unit.comp_dir {
        Some(directory) => text(directory)?,
        None => String::new(),
    };
    // Directory 0 is that of the unit.
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

/// A reader that counts what it reads, and has nothing more to read when the allowance is spent.
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
