//! An artifact: the linked output of the compiler for a module, as plain bytes that are used in place.
//!
//! Made by `link.rs`, or mapped from a file by `cache.rs`. Used by `object.rs` and `registry.rs`. Invariants:
//! an artifact is position-independent and contains no address, name or number of this process, so the same
//! module gives the same bytes everywhere. Its pages are never writable and executable at the same time, and
//! not executable before everything in them has been checked.
//!
//! Format: a header, then the sections in the order of [`Section`], each aligned to 8. Those whose pages are
//! mapped elsewhere or executed are aligned to [`PAGE`]. Numbers have the byte order of the machine, which is
//! part of the key. A written artifact also has the module's binary, so that it is all that a start needs. One
//! in memory has no such sections.

use crate::abi::TrapCode;
use crate::bytes::ModuleBytes;
use crate::compile::{Handler, SourceLocation, TypeTrampoline};
use crate::parse::info::DefinedFuncIndex;
use crate::sys::{Mmap, page_size};
use cranelift_entity::EntityRef;
use std::fs::File;
use std::hash::Hasher;
use std::io::{self, Seek, Write};
use std::ops::Range;
use std::sync::Arc;
use twox_hash::XxHash3_64;
use wasmtime_internal_jit_icache_coherence as icache;

/// Identifies an artifact, by hashes.
#[derive(Clone, Copy, Default, PartialEq, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Key {
    /// Of the compiler, the machine and the settings.
    pub settings: [u8; 32],
    /// Of the module's binary.
    pub module: [u8; 32],
}

/// Code is aligned to this: a multiple of every page size of the supported machines.
const PAGE: usize = 64 << 10;
pub const MAGIC: [u8; 8] = *b"wn-code\0";

/// The parts of an artifact.
#[derive(Clone, Copy)]
pub enum Section {
    /// `u32` each: the offset of a function in the text, in order. See [`Contents::functions`].
    Functions,
    /// `u32` each: offsets of instructions that may fault, in order.
    Traps,
    /// `u8` each: their trap codes.
    TrapCodes,
    /// [`SourceLocation`] each, in order.
    SourceMap,
    /// [`Handler`] each, ordered by call.
    Handlers,
    /// [`TypeTrampoline`] each.
    Trampolines,
    /// Machine code.
    Text,
    /// Written artifacts only: the module's binary.
    Module,
    /// Written artifacts only: initial contents of memories, see `parse::image`. May be empty.
    Image,
}

const SECTIONS: usize = Section::Image as usize + 1;
/// The sections of an artifact in memory.
const LINKED: usize = Section::Text as usize + 1;

/// What a written artifact has beside what was linked.
pub struct Attached<'a> {
    pub image: &'a [u8],
    pub module: &'a ModuleBytes,
}

/// All sections except the text.
#[derive(Default)]
pub struct Contents {
    /// The module's own functions by index, then trampolines. An absent one has the offset of the next.
    pub functions: Vec<u32>,
    pub traps: Vec<u32>,
    pub trap_codes: Vec<u8>,
    pub source_map: Vec<SourceLocation>,
    pub handlers: Vec<Handler>,
    pub trampolines: Vec<TypeTrampoline>,
}

/// The ranges of an artifact's sections, in bytes from its start.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Layout([[u64; 2]; SECTIONS]);

impl Layout {
    /// The layout for linked sections of these byte lengths. The length of the text is a multiple of the page
    /// size.
    pub fn new(lens: [usize; LINKED]) -> Layout {
        let mut end = HEADER;
        Layout(std::array::from_fn(|section| {
            let len = lens.get(section).copied().unwrap_or(0);
            let alignment = if section == Section::Text as usize { PAGE } else { 8 };
            let start = end.next_multiple_of(alignment);
            end = start + len;
            [start as u64, end as u64]
        }))
    }

    /// The layout of the same artifact when it is written.
    fn with(mut self, attached: &Attached<'_>) -> Layout {
        let module = self.range(Section::Text).end;
        let end = module + attached.module.len();
        let image = end.next_multiple_of(if attached.image.is_empty() { 8 } else { PAGE });
        self.0[Section::Module as usize] = [module, end].map(|at| at as u64);
        self.0[Section::Image as usize] = [image, image + attached.image.len()].map(|at| at as u64);
        self
    }

    pub fn range(&self, section: Section) -> Range<usize> {
        let [start, end] = self.0[section as usize];
        start as usize..end as usize
    }

    /// The size of the artifact in bytes.
    pub fn len(&self) -> usize {
        self.range(Section::Image).end
    }

    /// Whether this can be the layout of an artifact of `len` bytes.
    fn fits(&self, len: u64) -> bool {
        let follow = self.0.windows(2).all(|pair| pair[0][1] <= pair[1][0]);
        let aligned = self.0.iter().all(|[start, end]| start % 8 == 0 && start <= end);
        let [text, text_end] = self.0[Section::Text as usize];
        let [image, end] = self.0[Section::Image as usize];
        let paged = text % PAGE as u64 == 0 && text_end % page_size() as u64 == 0;
        let paged = paged && (image == end || image % page_size() as u64 == 0);
        follow && aligned && paged && self.0[0][0] >= HEADER as u64 && end == len
    }
}

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    /// Covers everything after it. 0 in an artifact that was not written anywhere.
    checksum: u64,
    key: Key,
    layout: Layout,
}

const HEADER: usize = size_of::<Header>();

/// How long the beginning is that a written artifact and a file of pieces have in common.
pub const BEGIN: usize = CHECKED + size_of::<Key>();

/// The magic and the key in such a beginning.
pub fn begin(bytes: &[u8; BEGIN]) -> ([u8; 8], Key) {
    let (magic, key) = (&bytes[..8], &bytes[CHECKED..]);
    (bytemuck::pod_read_unaligned(magic), bytemuck::pod_read_unaligned(key))
}
/// The start of the bytes covered by the checksum.
const CHECKED: usize = 16;

/// An artifact in its written form. After `linked` comes the module's binary, and after the zeros the image.
struct Parts<'a> {
    header: Header,
    linked: &'a [u8],
    zeros: &'a [u8],
}

/// Why bytes are rejected as an artifact. The module is then compiled again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Refused {
    /// Not an artifact, or truncated, or modified, or of another module.
    Damaged,
    /// Made by a different build, for another machine, or with other settings.
    Foreign,
}

/// The bytes of an artifact, with executable text.
pub struct Artifact {
    memory: Arc<Mmap>,
    layout: Layout,
    key: Key,
}

impl Artifact {
    /// Builds an artifact in `memory`, which has the size of `layout`, is writable, and already contains the
    /// text. The contents have the lengths for which the layout was made.
    pub fn new(memory: Mmap, layout: Layout, key: Key, contents: &Contents) -> io::Result<Artifact> {
        let header = Header { magic: MAGIC, checksum: 0, key, layout };
        let parts: [(Range<usize>, &[u8]); LINKED] = [
            (0..HEADER, bytemuck::bytes_of(&header)),
            (layout.range(Section::Functions), bytemuck::cast_slice(&contents.functions)),
            (layout.range(Section::Traps), bytemuck::cast_slice(&contents.traps)),
            (layout.range(Section::TrapCodes), &contents.trap_codes),
            (layout.range(Section::SourceMap), bytemuck::cast_slice(&contents.source_map)),
            (layout.range(Section::Handlers), bytemuck::cast_slice(&contents.handlers)),
            (layout.range(Section::Trampolines), bytemuck::cast_slice(&contents.trampolines)),
        ];
        for (range, bytes) in parts {
            if range.len() != bytes.len() || range.end > memory.len() {
                return Err(io::Error::other("a section is not as long as was laid out"));
            }
            // SAFETY: the range is inside the mapping, which is writable and not shared.
            unsafe { memory.start().add(range.start).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        }
        let artifact = Artifact { memory: Arc::new(memory), layout, key };
        artifact.publish()?;
        Ok(artifact)
    }

    /// An artifact without code, to write with what belongs to a module.
    pub fn empty(key: Key) -> io::Result<Artifact> {
        let layout = Layout::new([0; LINKED]);
        Artifact::new(writable(layout.len())?, layout, key, &Contents::default())
    }

    /// Where the module's binary is in an artifact without code, in bytes from the start.
    pub fn module_in_empty() -> usize {
        Layout::new([0; LINKED]).range(Section::Text).end
    }

    /// Opens a written artifact. `memory` contains all of it and is readable. Everything is checked first,
    /// except what the caller knows: `verified` says that these very bytes have been opened before.
    pub fn open(memory: Mmap, key: &Key, verified: bool) -> Result<Artifact, Refused> {
        let bytes = all(&memory);
        let header = bytes.get(..HEADER).ok_or(Refused::Damaged)?;
        let header: Header = bytemuck::pod_read_unaligned(header);
        if header.magic != MAGIC {
            return Err(Refused::Damaged);
        }
        if header.key.settings != key.settings {
            return Err(Refused::Foreign);
        }
        let fits = header.key.module == key.module && header.layout.fits(bytes.len() as u64);
        if !fits || !verified && header.checksum != XxHash3_64::oneshot(&bytes[CHECKED..]) {
            return Err(Refused::Damaged);
        }
        let artifact = Artifact { layout: header.layout, key: header.key, memory: Arc::new(memory) };
        if !verified && !artifact.is_consistent() {
            return Err(Refused::Damaged);
        }
        if artifact.publish().is_ok() {
            return Ok(artifact);
        }
        // The file system may be mounted without permission to execute.
        let copy = artifact.copy().and_then(|copy| copy.publish().map(|()| copy));
        copy.map_err(|_| Refused::Damaged)
    }

    /// Copies a written artifact into memory of its own and opens it. `key` computes the expected key from the
    /// module's binary.
    pub fn read(bytes: &[u8], key: &dyn Fn(&[u8]) -> Key) -> Result<Artifact, Refused> {
        let header: Header = bytemuck::pod_read_unaligned(bytes.get(..HEADER).ok_or(Refused::Damaged)?);
        if header.magic != MAGIC || !header.layout.fits(bytes.len() as u64) {
            return Err(Refused::Damaged);
        }
        let memory = writable(bytes.len()).map_err(|_| Refused::Damaged)?;
        // SAFETY: the memory is new, has this length, and is not shared.
        unsafe { memory.start().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        let key = key(&all(&memory)[header.layout.range(Section::Module)]);
        Artifact::open(memory, &key, false)
    }

    /// Whether the sections are consistent. The content of an artifact with the right checksum is trusted.
    /// This check prevents a wrongly made one from crashing the process later.
    fn is_consistent(&self) -> bool {
        let text = self.text().len() as u32;
        let functions = self.functions();
        let sorted = |offsets: &[u32]| offsets.is_sorted() && offsets.last().is_none_or(|last| *last <= text);
        sorted(functions)
            && sorted(self.traps())
            && self.traps().len() == self.bytes(Section::TrapCodes).len()
            && self.trampolines().iter().all(|trampoline| (trampoline.function as usize) < functions.len())
    }

    /// Makes the text executable.
    fn publish(&self) -> io::Result<()> {
        let text = self.layout.range(Section::Text);
        // SAFETY: the range is in our own mapping, and no thread executes it yet.
        let cleared = unsafe { icache::clear_cache(self.memory.start().add(text.start).cast(), text.len()) };
        // The errors are of another type under Miri.
        cleared.map_err(|error| io::Error::other(error.to_string()))?;
        self.memory.make_executable(text)?;
        icache::pipeline_flush_mt().map_err(|error| io::Error::other(error.to_string()))
    }

    /// A copy in its own memory.
    fn copy(&self) -> io::Result<Artifact> {
        let memory = writable(self.layout.len())?;
        // SAFETY: the memory is new, has this length, and is not shared.
        unsafe { memory.start().copy_from_nonoverlapping(self.memory.start(), self.layout.len()) };
        Ok(Artifact { memory: Arc::new(memory), layout: self.layout, key: self.key })
    }

    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Writes the artifact in the form that [`Artifact::open`] reads.
    pub fn write(&self, attached: &Attached<'_>, out: &mut dyn Write) -> io::Result<()> {
        let parts = self.parts(attached);
        out.write_all(bytemuck::bytes_of(&parts.header))?;
        out.write_all(parts.linked)?;
        out.write_all(attached.module)?;
        out.write_all(parts.zeros)?;
        out.write_all(attached.image)
    }

    /// Writes everything but the module's binary to a file that has it already, where [`Artifact::write`] would write
    /// it.
    pub fn write_around(&self, attached: &Attached<'_>, mut file: &File) -> io::Result<()> {
        let parts = self.parts(attached);
        file.rewind()?;
        file.write_all(bytemuck::bytes_of(&parts.header))?;
        file.write_all(parts.linked)?;
        file.seek_relative(attached.module.len() as i64)?;
        file.write_all(parts.zeros)?;
        file.write_all(attached.image)
    }

    /// The written form but for what is attached.
    fn parts(&self, attached: &Attached<'_>) -> Parts<'_> {
        static ZEROS: [u8; PAGE] = [0; PAGE];
        let layout = self.layout.with(attached);
        let header = Header { magic: MAGIC, checksum: 0, key: self.key, layout };
        let [text, module, image] =
            [Section::Text, Section::Module, Section::Image].map(|section| layout.range(section));
        let (linked, zeros) = (&all(&self.memory)[HEADER..text.end], &ZEROS[..image.start - module.end]);
        let mut checksum = XxHash3_64::new();
        checksum.write(&bytemuck::bytes_of(&header)[CHECKED..]);
        checksum.write(linked);
        attached.module.for_each_part(|part| checksum.write(part));
        checksum.write(zeros);
        checksum.write(attached.image);
        Parts { header: Header { checksum: checksum.finish(), ..header }, linked, zeros }
    }

    /// The number of bytes that [`Artifact::write`] writes.
    pub fn written_len(&self, attached: &Attached<'_>) -> usize {
        self.layout.with(attached).len()
    }

    /// The module's binary. Empty unless the artifact was written.
    pub fn module(&self) -> ModuleBytes {
        ModuleBytes::mapped(self.memory.clone(), self.layout.range(Section::Module))
    }

    /// The range of the initial contents of memories, in bytes from the start. Empty if there are none.
    pub fn image(&self) -> Range<usize> {
        self.layout.range(Section::Image)
    }

    fn bytes(&self, section: Section) -> &[u8] {
        &all(&self.memory)[self.layout.range(section)]
    }

    /// The items of a section. Empty if its length is not a multiple of the item size, which is never
    /// written.
    fn items<T: bytemuck::Pod>(&self, section: Section) -> &[T] {
        bytemuck::try_cast_slice(self.bytes(section)).unwrap_or_default()
    }

    pub fn text(&self) -> &[u8] {
        self.bytes(Section::Text)
    }

    pub fn functions(&self) -> &[u32] {
        self.items(Section::Functions)
    }

    pub fn traps(&self) -> &[u32] {
        self.items(Section::Traps)
    }

    pub fn source_map(&self) -> &[SourceLocation] {
        self.items(Section::SourceMap)
    }

    pub fn handlers(&self) -> &[Handler] {
        self.items(Section::Handlers)
    }

    /// The trap code for a fault of the instruction at this offset in the text.
    pub fn trap_at(&self, offset: u32) -> Option<TrapCode> {
        let place = self.traps().binary_search(&offset).ok()?;
        self.bytes(Section::TrapCodes).get(place).copied().and_then(TrapCode::from_u8)
    }

    /// The handler of the call that returns to this offset.
    pub fn handler_at(&self, offset: u32) -> Option<Handler> {
        let handlers = self.handlers();
        let place = handlers.binary_search_by_key(&offset, |handler| handler.call).ok()?;
        handlers.get(place).copied()
    }

    /// The function at this offset, and where in the module's binary the instruction comes from: see
    /// `CompiledFunction::source_map`. `None` if it is not one of the module's `bodies` functions.
    pub fn location_at(&self, offset: u32, bodies: usize) -> Option<(DefinedFuncIndex, &[SourceLocation])> {
        let functions = self.functions();
        let place = functions.partition_point(|start| *start <= offset).checked_sub(1)?;
        if place >= bodies {
            return None;
        }
        let at = SourceLocation::at(self.source_map(), offset);
        let own = at.first().is_some_and(|at| at.code >= functions[place]);
        Some((DefinedFuncIndex::new(place), if own { at } else { &[] }))
    }

    pub fn trampolines(&self) -> &[TypeTrampoline] {
        self.items(Section::Trampolines)
    }
}

/// The readable bytes of a mapping.
fn all(memory: &Mmap) -> &[u8] {
    // SAFETY: an artifact's mapping is readable. Nothing writes to it once the artifact exists: the mapping
    // of a file is private, and the file is only ever replaced as a whole.
    unsafe { std::slice::from_raw_parts(memory.start(), memory.len()) }
}

/// New memory for an artifact.
pub fn writable(len: usize) -> io::Result<Mmap> {
    let memory = Mmap::reserve(len)?;
    memory.make_writable(0..len)?;
    Ok(memory)
}
