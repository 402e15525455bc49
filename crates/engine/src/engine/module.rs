//! Modules: bytes, what they declare, and their machine code.

use super::Engine;
use super::making::{self, Compiling};
use crate::abi::offsets::VMOffsets;
use crate::code::CodeObject;
use crate::error::CompileError;
use crate::parse::{self, info::ModuleInfo};
use crate::pool::Stop;
use crate::types::{ExternType, MemoryType};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

/// A compiled module: immutable, and shared by every thread of the process.
#[derive(Clone)]
pub struct Module(pub(super) Arc<Inner>);

/// A module that this does not keep.
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

    pub(super) fn compile(
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

    pub(crate) fn info(&self) -> &ModuleInfo {
        &self.0.info
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    pub(crate) fn offsets(&self) -> &VMOffsets {
        &self.0.offsets
    }

    pub(crate) fn code(&self) -> &CodeObject {
        &self.0.code
    }
}
