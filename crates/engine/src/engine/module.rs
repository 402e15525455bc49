//! Modules: bytes, what they declare, and their machine code.

pub mod demangle;
pub mod dwarf;
mod foreign;
pub mod info;
pub(super) mod making;
pub(super) mod parse;

pub use making::Compiling;

use super::code::CodeObject;
use super::compile::Stop;
use super::compile::offsets::VMOffsets;
use super::engine::Engine;
use super::error::CompileError;
use super::types::{ExternType, MemoryType};
use info::{FuncIndex, ModuleInfo};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

/// A compiled module: immutable, and shared by every thread of the process.
#[derive(Clone)]
pub struct Module(Arc<Inner>);

/// A module that this does not keep.
#[derive(Clone)]
pub struct WeakModule(Weak<Inner>);

impl WeakModule {
    pub fn upgrade(&self) -> Option<Module> {
        self.0.upgrade().map(Module)
    }
}

struct Inner {
    engine: Engine,
    hash: making::Hash,
    info: Arc<ModuleInfo>,
    bytes: Arc<[u8]>,
    offsets: VMOffsets,
    code: CodeObject,
}

/// An import a module asks for.
#[derive(Clone, Debug)]
pub struct ImportType<'a> {
    pub module: &'a str,
    pub name: &'a str,
    pub ty: ExternType,
}

/// An export a module offers.
#[derive(Clone, Debug)]
pub struct ExportType<'a> {
    pub name: &'a str,
    pub ty: ExternType,
}

impl Module {
    /// Validates and compiles a module. The same bytes are compiled once as long as somebody has the
    /// module.
    pub fn new(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Module, CompileError> {
        Module::new_while(engine, bytes.as_ref(), &|| true)
    }

    /// As [`Module::new`], as long as `go_on` says so, which is asked some times a second.
    pub fn new_while(
        engine: &Engine,
        bytes: &[u8],
        go_on: &dyn Fn() -> bool,
    ) -> Result<Module, CompileError> {
        parse::check_size(bytes)?;
        making::make(engine, bytes, go_on)
    }

    /// As [`Module::new`], on the compile threads of the process. `done` gets the result there; or here
    /// and now, and nothing is returned, if no time is needed. When what is returned is dropped the
    /// result is not wanted any more.
    pub fn start(
        engine: &Engine,
        bytes: &[u8],
        done: impl FnOnce(Result<Module, CompileError>) + Send + 'static,
    ) -> Option<Compiling> {
        match parse::check_size(bytes) {
            Ok(()) => making::start(engine, bytes, Box::new(done)),
            Err(error) => {
                done(Err(error));
                None
            }
        }
    }

    fn compile(
        engine: &Engine,
        bytes: Arc<[u8]>,
        hash: making::Hash,
        stop: &Stop<'_>,
    ) -> Result<Module, CompileError> {
        let mut info = parse::parse(&bytes, engine.features(), engine.threads(), stop)?;
        let [a, b, c, d, ..] = hash;
        info.hash = [a, b, c, d];
        let info = Arc::new(info);
        let offsets = VMOffsets::new(&info)
            .ok_or_else(|| CompileError::general("the module declares too much to be laid out"))?;
        let compiler = engine.compiler();
        let compiled =
            compiler.compile(&info, &bytes, &offsets, engine.tunables(), engine.threads(), stop)?;
        let code = CodeObject::load(&compiler.isa, compiled, info.clone(), bytes.clone())?;
        Ok(Module(Arc::new(Inner { engine: engine.clone(), hash, info, bytes, offsets, code })))
    }

    /// Only checks a module.
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

    /// Whether instantiating it runs code of its own.
    pub fn has_start(&self) -> bool {
        self.info().start.is_some()
    }

    /// The imports in the module's order.
    pub fn imports(&self) -> impl Iterator<Item = ImportType<'_>> {
        let info = self.info();
        info.imports.iter().map(|import| ImportType {
            module: &import.module,
            name: &import.name,
            ty: info.extern_type(import.index),
        })
    }

    /// The type of the import at a place in the module's order.
    pub fn import_type(&self, place: usize) -> Option<ExternType> {
        let info = self.info();
        info.imports.get(place).map(|import| info.extern_type(import.index))
    }

    /// The exports in the module's order.
    pub fn exports(&self) -> impl Iterator<Item = ExportType<'_>> {
        let info = self.info();
        info.exports
            .iter()
            .map(|export| ExportType { name: &export.name, ty: info.extern_type(export.index) })
    }

    /// The memories that are not imported.
    pub fn defined_memories(&self) -> impl Iterator<Item = MemoryType> {
        let info = self.info();
        info.memories.values().skip(info.num_imported_memories).copied()
    }

    /// The contents of the custom sections of this name, in order.
    pub fn custom_sections<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let sections = self.info().custom_sections.iter();
        sections.filter(move |(own, _)| own == name).map(|(_, range)| &self.0.bytes[range.clone()])
    }

    /// Bytes of machine code.
    pub fn code_len(&self) -> usize {
        self.0.code.len()
    }

    pub(super) fn info(&self) -> &ModuleInfo {
        &self.0.info
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    pub(super) fn offsets(&self) -> &VMOffsets {
        &self.0.offsets
    }

    pub(super) fn code(&self) -> &CodeObject {
        &self.0.code
    }
}

/// Bytes of a function's name that anybody is told. A name section may give a function one of many
/// megabytes, and 64 frames of a stack have it each. Mangled names of programs are shorter.
const MAX_NAME: usize = 4096;
/// Bytes of a module's own name that frames show.
const MAX_MODULE_NAME: usize = 256;

impl ModuleInfo {
    /// How frames call the module of which `bytes` is the binary: its name, if it has one, and the
    /// beginning of its hash.
    pub fn url(&self, bytes: &[u8]) -> String {
        let name = self.name.clone().and_then(|range| bytes.get(range)).unwrap_or_default();
        let name = String::from_utf8_lossy(&name[..name.len().min(MAX_MODULE_NAME)]);
        let hash = u32::from_be_bytes(self.hash);
        let dash = if name.is_empty() { "" } else { "-" };
        format!("wasm://wasm/{name}{dash}{hash:08x}")
    }

    /// The function's name in the name section of the module of which `bytes` is the binary; the
    /// beginning of a very long one, and a mark.
    pub fn function_name(&self, bytes: &[u8], index: FuncIndex) -> Option<String> {
        let place = self.function_names.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        let (_, range) = self.function_names.get(place)?;
        let name = bytes.get(range.clone())?;
        let Some(start) = name.get(..MAX_NAME) else {
            return Some(String::from_utf8_lossy(name).into_owned());
        };
        Some(format!("{}…", String::from_utf8_lossy(start)))
    }
}
