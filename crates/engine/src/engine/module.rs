//! Modules: bytes, declarations and machine code.

use super::Engine;
use super::file::{self, FileResult, Reading};
use super::keeper::{self, Keeper};
use super::lazy::LazyModule;
use super::making::{self, Compiling, Given};
use crate::abi::offsets::VMOffsets;
use crate::bytes::ModuleBytes;
use crate::code::{self, Artifact, Attached, CodeObject, Refused};
use crate::error::CompileError;
use crate::pages::Image;
use crate::parse::image::Plan;
use crate::parse::{self, info::ModuleInfo};
use crate::pool::{self, Stop};
use crate::progress::Progress;
use crate::sys::{DISCARDS, memory_file};
use crate::types::{ExternType, MemoryType};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

/// A compiled module. It is immutable and shared by all threads of the process.
#[derive(Clone)]
pub struct Module(pub(super) Arc<Inner>);

/// A weak reference to a module.
#[derive(Clone)]
pub struct WeakModule(pub(super) Weak<Inner>);

impl WeakModule {
    pub fn upgrade(&self) -> Option<Module> {
        self.0.upgrade().map(Module)
    }
}

pub(super) struct Inner {
    pub(super) engine: Engine,
    pub(super) hash: making::Hash,
    info: Arc<ModuleInfo>,
    bytes: ModuleBytes,
    offsets: VMOffsets,
    code: CodeObject,
    /// Whether the engine's cache had the module when it was made, or got it then.
    is_kept: bool,
    /// The initial contents of the memories in a file of the cache.
    written: Written,
    /// What the module's memories start with, made for the first instance.
    images: OnceLock<Images>,
    /// For a module that is compiled while it runs.
    pub(super) lazy: Option<Arc<LazyModule>>,
}

/// The images of memories, by index. Without any, active data segments are copied.
pub(crate) type Images = Option<Vec<Option<Arc<Image>>>>;

/// Where a module's artifact is beside this process.
enum Kept {
    Nowhere,
    /// The cache got it.
    Written,
    /// The cache had it, in this file.
    Read(File),
}

/// Minimum size in bytes of a cached module. Cranelift takes about two milliseconds of processor time for a kilobyte,
/// writing a file about one, and programs make many tiny modules that no later process asks for.
const WORTH_KEEPING: usize = 4 << 10;

/// The initial contents of the module's memories. Empty if it is better to copy them.
pub(super) fn image_of(info: &ModuleInfo, bytes: &[u8]) -> Vec<u8> {
    Plan::of(info).and_then(|plan| plan.image(bytes)).unwrap_or_default()
}

/// A range of a file.
type Written = Option<(Arc<File>, Range<usize>)>;

/// The image in the file of an artifact. The file is held open for it alone.
fn written(artifact: &Artifact, file: File) -> Written {
    let image = artifact.image();
    (!image.is_empty()).then(|| (Arc::new(file), image))
}

/// An import of a module.
#[derive(Clone, Debug)]
pub struct ImportType<'a> {
    pub module: &'a str,
    pub name: &'a str,
    pub ty: ExternType,
}

/// An export of a module.
#[derive(Clone, Debug)]
pub struct ExportType<'a> {
    pub name: &'a str,
    pub ty: ExternType,
}

impl Module {
    /// Validates and compiles a module. The same bytes are compiled only once while the module exists.
    pub fn new(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Module, CompileError> {
        Module::new_while(engine, bytes.as_ref(), true, &|| true)
    }

    /// Like [`Module::new`], while `go_on` returns true. It is called several times a second. `use_cache`
    /// says whether the engine's cache may be read and written.
    pub fn new_while(
        engine: &Engine,
        bytes: &[u8],
        use_cache: bool,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Module, CompileError> {
        parse::check_size(bytes)?;
        making::make(engine, Given::Borrowed(bytes), use_cache, go_on)
    }

    /// Like [`Module::new`], on the compile threads of the process. `done` is called there with the result.
    /// If no work is needed, it is called immediately and `None` is returned. Dropping the returned value
    /// means that the result is no longer needed.
    pub fn start(
        engine: &Engine,
        bytes: &[u8],
        use_cache: bool,
        done: impl FnOnce(Result<Module, CompileError>) + Send + 'static,
    ) -> Option<Compiling> {
        match parse::check_size(bytes) {
            Ok(()) => making::start(engine, Given::Borrowed(bytes), use_cache, Box::new(done)),
            Err(error) => {
                done(Err(error));
                None
            }
        }
    }

    /// The module in a file, like [`Module::new_while`]. `Ok(None)` if the file cannot be read. If an earlier
    /// process has compiled it, the file is not read. `choose` says which engine makes a module with these
    /// bytes: one of `engines`, the likeliest first.
    pub fn of_file(
        engines: &[Engine],
        choose: &dyn Fn(&[u8]) -> Result<Engine, CompileError>,
        path: &Path,
        use_cache: bool,
        go_on: &dyn Fn() -> bool,
    ) -> FileResult {
        file::make(engines, choose, path, use_cache, go_on)
    }

    /// Like [`Module::of_file`], on the compile threads of the process. `done` is called there with the result.
    /// Dropping the returned value means that the result is no longer needed.
    pub fn start_file(
        engines: Vec<Engine>,
        choose: impl Fn(&[u8]) -> Result<Engine, CompileError> + Send + 'static,
        path: PathBuf,
        use_cache: bool,
        done: impl FnOnce(FileResult) + Send + 'static,
    ) -> Reading {
        file::start(engines, choose, path, use_cache, done)
    }

    /// The module whose bytes have this hash, from the engine's cache. `verified_only`: see `Cache::load`.
    pub(super) fn load(engine: &Engine, hash: &making::Hash, verified_only: bool) -> Option<Module> {
        let (artifact, file) = engine.cache()?.load(&engine.key(hash), verified_only)?;
        // The bytes have the same hash as those that were validated when the artifact was made.
        let bytes = artifact.module();
        let (info, offsets) = Module::declarations(parse::read(&bytes).ok()?, hash).ok()?;
        engine.0.counts.found_in_cache();
        Some(Module::assemble(engine, bytes, *hash, info, offsets, artifact, Kept::Read(file)))
    }

    /// The module whose bytes have this hash, if the engine's cache has it.
    pub fn cached(engine: &Engine, hash: &[u8; 32]) -> Option<Module> {
        // Whoever lets go of it now may have promised to write it.
        while engine.modules().is_going(hash) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let (never, go_on) = (AtomicBool::new(false), || true);
        let resume = || Module::resume(engine, hash, &Stop::new(&never, &go_on));
        Module::load(engine, hash, false).or_else(resume).map(making::keep)
    }

    /// The bytes with this hash, if the engine's cache has the module without code.
    pub(super) fn kept_bytes(engine: &Engine, hash: &making::Hash) -> Option<ModuleBytes> {
        Keeper::find(engine, hash).map(|(begun, _)| begun.module())
    }

    /// Promises that [`Module::cached`] finds the module when nobody holds it any more. False if that cannot be
    /// promised. The files of the cache can be removed, of course.
    pub fn promise_to_keep(&self) -> bool {
        match &self.0.lazy {
            Some(lazy) => lazy.promise_to_keep(),
            None => self.0.is_kept,
        }
    }

    /// Whether the engine's cache has the module, or may get it while it runs.
    pub(super) fn may_be_kept(&self) -> bool {
        self.0.is_kept || self.0.lazy.is_some()
    }

    /// Keeps what is compiled of the module for later processes. Call this when a program ends: the process may end with
    /// it.
    pub fn keep_progress(&self) {
        if let Some(lazy) = &self.0.lazy {
            lazy.keep_progress();
        }
    }

    /// The hash of the module's bytes. [`Module::known`] finds the module by it.
    pub fn hash(&self) -> &[u8; 32] {
        &self.0.hash
    }

    /// The engine's module whose bytes have this hash, if it still exists.
    pub fn known(engine: &Engine, hash: &[u8; 32]) -> Option<Module> {
        engine.modules().made(hash)
    }

    pub(super) fn compile(
        engine: &Engine,
        bytes: ModuleBytes,
        hash: making::Hash,
        use_cache: bool,
        stop: &Stop<'_>,
    ) -> Result<Module, CompileError> {
        let cache = engine.cache().filter(|_| use_cache && bytes.len() >= WORTH_KEEPING);
        if cache.is_some()
            && let Some(module) =
                Module::load(engine, &hash, false).or_else(|| Module::resume(engine, &hash, stop))
        {
            return Ok(module);
        }
        let (begin, size) = (Instant::now(), bytes.len());
        let count = |engine: &Engine| engine.0.counts.compiled(size, begin.elapsed());
        let info = parse::parse(&bytes, engine.features(), engine.threads(), stop)?;
        let (info, offsets) = Module::declarations(info, &hash)?;
        if engine.config().tiers.are_lazy_for(info.code_len()) {
            // Most functions are never called.
            bytes.give_back();
            let keeper = Keeper::new(engine, cache, Arc::new(info), bytes, &hash, false);
            let module = Module::lazy(engine, hash, offsets, keeper, None, stop)?;
            count(engine);
            return Ok(module);
        }
        if let Some(tally) = stop.tally {
            tally.begin(info.code_len());
        }
        let (compiler, tunables, threads) = (engine.compiler(), engine.tunables(), engine.threads());
        let compiled = compiler.compile(&info, &bytes, &offsets, tunables, threads, stop)?;
        let artifact = code::link(&compiler.isa, &compiled, engine.key(&hash))?;
        count(engine);
        let written = cache.is_some_and(|cache| keeper::store(cache, &artifact, &info, &bytes));
        let kept = if written { Kept::Written } else { Kept::Nowhere };
        Ok(Module::assemble(engine, bytes, hash, info, offsets, artifact, kept))
    }

    /// The module with this hash, as far as earlier processes have made it.
    pub(super) fn resume(engine: &Engine, hash: &making::Hash, stop: &Stop<'_>) -> Option<Module> {
        let (begun, file) = Keeper::find(engine, hash)?;
        let bytes = begun.module();
        let (info, offsets) = Module::declarations(parse::read_with_bodies(&bytes).ok()?, hash).ok()?;
        if !engine.config().tiers.are_lazy_for(info.code_len()) {
            return None;
        }
        let keeper = Keeper::new(engine, engine.cache(), Arc::new(info), bytes, hash, true);
        let module = Module::lazy(engine, *hash, offsets, keeper, written(&begun, file), stop).ok()?;
        engine.0.counts.found_in_cache();
        Some(module)
    }

    fn lazy(
        engine: &Engine,
        hash: making::Hash,
        offsets: VMOffsets,
        keeper: Keeper,
        written: Written,
        stop: &Stop<'_>,
    ) -> Result<Module, CompileError> {
        let (info, bytes) = (keeper.info.clone(), keeper.bytes.clone());
        let lazy = LazyModule::new(engine, offsets.clone(), keeper, stop)?;
        let (engine, code, lazy) = (engine.clone(), lazy.code_object(), Some(lazy));
        let images = OnceLock::new();
        let inner = Inner { engine, hash, info, bytes, offsets, code, is_kept: false, written, images, lazy };
        Ok(Module(Arc::new(inner)))
    }

    fn assemble(
        engine: &Engine,
        bytes: ModuleBytes,
        hash: making::Hash,
        info: ModuleInfo,
        offsets: VMOffsets,
        artifact: Artifact,
        kept: Kept,
    ) -> Module {
        let info = Arc::new(info);
        let code = CodeObject::new(artifact, info.clone(), bytes.clone());
        let is_kept = !matches!(kept, Kept::Nowhere);
        let written = match kept {
            Kept::Read(file) => code.artifact().and_then(|artifact| written(artifact, file)),
            _ => None,
        };
        let (engine, images) = (engine.clone(), OnceLock::new());
        Module(Arc::new(Inner {
            engine,
            hash,
            info,
            bytes,
            offsets,
            code,
            is_kept,
            written,
            images,
            lazy: None,
        }))
    }

    /// How far the code of the module is.
    pub fn progress(&self) -> Progress {
        match &self.0.lazy {
            Some(lazy) => lazy.progress(),
            None => {
                let total = parse::body_len(self.bytes());
                Progress { done: total, total }
            }
        }
    }

    /// Makes all of the module's code, and writes it to the cache, on the compile threads of the process. `done` is
    /// called there.
    pub fn start_finish(&self, done: impl FnOnce(Result<(), CompileError>) + Send + 'static) {
        let module = self.clone();
        pool::spawn(move || done(module.finish(&|| true).map(drop)));
    }

    fn finish(&self, go_on: &dyn Fn() -> bool) -> Result<&CodeObject, CompileError> {
        match &self.0.lazy {
            Some(lazy) => lazy.finish(self.0.engine.threads(), go_on),
            None => Ok(&self.0.code),
        }
    }

    /// Serializes the module with its code, for [`Module::deserialize`].
    pub fn serialize(&self) -> Result<Vec<u8>, CompileError> {
        let Some(artifact) = self.finish(&|| true)?.artifact() else {
            return Err(CompileError::general("a module that is not complete cannot be serialized"));
        };
        let image = image_of(self.info(), self.bytes());
        let attached = Attached { image: &image, module: &self.0.bytes };
        let mut serialized = Vec::new();
        let written = serialized
            .try_reserve_exact(artifact.written_len(&attached))
            .map_err(io::Error::from)
            .and_then(|()| artifact.write(&attached, &mut serialized));
        written.map_err(|error| CompileError::general(format!("cannot serialize the module: {error}")))?;
        Ok(serialized)
    }

    /// Loads a module written by [`Module::serialize`] without compiling it. Data from another build, for
    /// another processor or with other settings is rejected, and so is accidentally modified data.
    ///
    /// # Safety
    /// The bytes must be the output of `serialize`: the code in them is executed as it is.
    pub unsafe fn deserialize(engine: &Engine, serialized: &[u8]) -> Result<Module, CompileError> {
        let key = |bytes: &[u8]| engine.key(blake3::hash(bytes).as_bytes());
        let artifact = Artifact::read(serialized, &key).map_err(|refused| {
            CompileError::general(match refused {
                Refused::Damaged => "the bytes are no serialized module, or not all of one, or were changed",
                Refused::Foreign => {
                    "the module was serialized by another version of wasi-native, for another processor, or with \
                     other settings: compile it again"
                }
            })
        })?;
        let (bytes, hash) = (artifact.module(), artifact.key().module);
        let (info, offsets) = Module::declarations(parse::read(&bytes)?, &hash)?;
        Ok(making::keep(Module::assemble(engine, bytes, hash, info, offsets, artifact, Kept::Nowhere)))
    }

    fn declarations(
        mut info: ModuleInfo,
        hash: &making::Hash,
    ) -> Result<(ModuleInfo, VMOffsets), CompileError> {
        let [a, b, c, d, ..] = *hash;
        info.hash = [a, b, c, d];
        let offsets = VMOffsets::new(&info)
            .ok_or_else(|| CompileError::general("the module declares too much to be laid out"))?;
        Ok((info, offsets))
    }

    /// Validates a module without compiling it.
    pub fn validate(engine: &Engine, bytes: &[u8]) -> Result<(), CompileError> {
        parse::check_size(bytes)?;
        let never = AtomicBool::new(false);
        parse::parse(bytes, engine.features(), engine.threads(), &Stop::new(&never, &|| true)).map(drop)
    }

    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub fn downgrade(&self) -> WeakModule {
        WeakModule(Arc::downgrade(&self.0))
    }

    /// Whether instantiation runs code of the module.
    pub fn has_start(&self) -> bool {
        self.info().start.is_some()
    }

    /// The imports in module order.
    pub fn imports(&self) -> impl Iterator<Item = ImportType<'_>> {
        let info = self.info();
        info.imports.iter().map(|import| ImportType {
            module: &import.module,
            name: &import.name,
            ty: info.extern_type(import.index),
        })
    }

    /// The type of the import at this index.
    pub fn import_type(&self, place: usize) -> Option<ExternType> {
        let info = self.info();
        info.imports.get(place).map(|import| info.extern_type(import.index))
    }

    /// The exports in module order.
    pub fn exports(&self) -> impl Iterator<Item = ExportType<'_>> {
        let info = self.info();
        info.exports
            .iter()
            .map(|export| ExportType { name: &export.name, ty: info.extern_type(export.index) })
    }

    /// The proposals without which a module is not valid, beyond WebAssembly 1.0.
    pub fn features(engine: &Engine, bytes: &[u8]) -> Result<Vec<String>, CompileError> {
        Module::validate(engine, bytes)?;
        Ok(parse::features::used(bytes))
    }

    /// The memories that the module imports, then those that it defines.
    pub fn memories(&self) -> impl Iterator<Item = MemoryType> {
        self.info().memories.values().copied()
    }

    /// The memories that the module defines.
    pub fn defined_memories(&self) -> impl Iterator<Item = MemoryType> {
        let info = self.info();
        info.memories.values().skip(info.num_imported_memories).copied()
    }

    /// The contents of the custom sections with this name, in order.
    pub fn custom_sections<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let sections = self.info().custom_sections.iter();
        sections.filter(move |(own, _)| own == name).map(|(_, range)| &self.0.bytes[range.clone()])
    }

    /// The size of the machine code in bytes.
    pub fn code_len(&self) -> usize {
        self.code().len()
    }

    pub(crate) fn info(&self) -> &ModuleInfo {
        &self.0.info
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// What the module's memories start with. `None` if active data segments must be copied.
    pub(crate) fn images(&self) -> &Images {
        self.0.images.get_or_init(|| self.make_images())
    }

    fn make_images(&self) -> Images {
        if !DISCARDS {
            return None;
        }
        let plan = Plan::of(self.info())?;
        let (file, start) = match &self.0.written {
            Some((file, written)) if written.len() == plan.len() => (file.clone(), written.start as u64),
            // If the system has no more files, segments are copied.
            _ => (Arc::new(memory_file(&plan.image(self.bytes())?).ok()?), 0),
        };
        let of = |memory| {
            let runs = plan.runs.iter().filter(|run| run.memory == memory);
            let runs: Vec<_> = runs.map(|run| (run.range.clone(), start + run.place as u64)).collect();
            if runs.is_empty() { None } else { Image::new(file.clone(), runs) }
        };
        Some(self.info().memories.keys().map(of).collect())
    }

    pub(crate) fn offsets(&self) -> &VMOffsets {
        &self.0.offsets
    }

    pub(crate) fn code(&self) -> &CodeObject {
        self.0.lazy.as_ref().and_then(|lazy| lazy.whole()).unwrap_or(&self.0.code)
    }
}
