//! Linking: checks the imports, then fills an instance's context.

use super::externs::Extern;
use super::memory::Memory;
use crate::abi::TrapCode;
use crate::abi::offsets::VMOffsets;
use crate::engine::Module;
use crate::error::LinkError;
use crate::parse::info::{EntityIndex, FuncIndex, ModuleInfo};
use crate::runtime::vm::exception::TagObj;
use crate::runtime::vm::group::Group;
use crate::runtime::vm::host_func::HostFunc;
use crate::runtime::vm::instance::InstanceObj;
use crate::runtime::vm::libcalls;
use crate::runtime::vm::memory::MemoryObj;
use crate::runtime::vm::store::Store;
use crate::runtime::vm::table::TableObj;
use crate::runtime::vm::traps::Error;
use crate::runtime::vm::vmcontext::*;
use crate::table_pages::TablePages;
use crate::types::*;
use cranelift_entity::EntityRef;
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// Why a module could not be instantiated.
#[derive(Debug)]
pub enum InstantiateError {
    Link(LinkError),
    /// An active segment did not fit, or the start function did not return.
    Error(Error),
}

impl From<Error> for InstantiateError {
    fn from(error: Error) -> InstantiateError {
        InstantiateError::Error(error)
    }
}

impl From<TrapCode> for InstantiateError {
    fn from(code: TrapCode) -> InstantiateError {
        InstantiateError::Error(code.into())
    }
}

/// Whether an item of type `given` can be imported where `asked` is required (spec: "Matching").
fn matches(given: &ExternType, asked: &ExternType) -> bool {
    let limits = |min: u64, max: Option<u64>, asked_min: u64, asked_max: Option<u64>| {
        min >= asked_min && asked_max.is_none_or(|asked| max.is_some_and(|max| max <= asked))
    };
    match (given, asked) {
        (ExternType::Func(a), ExternType::Func(b)) => a.matches(b),
        (ExternType::Table(a), ExternType::Table(b)) => {
            a.element == b.element
                && a.table64 == b.table64
                && limits(a.minimum, a.maximum, b.minimum, b.maximum)
        }
        (ExternType::Memory(a), ExternType::Memory(b)) => {
            (a.memory64, a.shared, a.page_size_log2) == (b.memory64, b.shared, b.page_size_log2)
                && limits(a.minimum, a.maximum, b.minimum, b.maximum)
        }
        (ExternType::Global(a), ExternType::Global(b)) => {
            a.mutable == b.mutable
                && if a.mutable { a.content == b.content } else { a.content.matches(b.content) }
        }
        (ExternType::Tag(a), ExternType::Tag(b)) => a == b,
        _ => false,
    }
}

fn describe(ty: &ExternType) -> String {
    let limits = |min: u64, max: Option<u64>| match max {
        Some(max) => format!("{min}..{max}"),
        None => format!("{min}.."),
    };
    match ty {
        ExternType::Func(ty) => format!("a function {}", ty.ty()),
        ExternType::Tag(ty) => format!("a tag {}", ty.ty()),
        ExternType::Table(ty) => format!("a table of {} {}", limits(ty.minimum, ty.maximum), ty.element),
        ExternType::Memory(ty) => format!(
            "a {}{}memory of {} pages",
            if ty.shared { "shared " } else { "" },
            if ty.memory64 { "64-bit " } else { "" },
            limits(ty.minimum, ty.maximum)
        ),
        ExternType::Global(ty) => {
            format!("{} global {}", if ty.mutable { "a mutable" } else { "an immutable" }, ty.content)
        }
    }
}

pub(super) fn check_imports(store: &Store, module: &Module, imports: &[Extern]) -> Result<(), LinkError> {
    let info = module.info();
    if imports.len() != info.imports.len() {
        return Err(LinkError(format!(
            "unknown import: the module has {} imports, {} were given",
            info.imports.len(),
            imports.len()
        )));
    }
    for (import, given) in info.imports.iter().zip(imports) {
        let fail =
            |what: String| LinkError(format!("import \"{}\" \"{}\": {what}", import.module, import.name));
        if given.group().is_some_and(|group| !group.store().same(store)) {
            return Err(fail("it belongs to another store".into()));
        }
        // Programs import dozens of these, so their types are compared where they are.
        if let (Extern::Native(native), EntityIndex::Func(index)) = (given, import.index)
            && native.ty().matches(info.func_type(index))
        {
            continue;
        }
        let (asked, given) = (info.extern_type(import.index), given.ty());
        if !matches(&given, &asked) {
            return Err(fail(format!(
                "incompatible import type: expected {}, got {}",
                describe(&asked),
                describe(&given)
            )));
        }
    }
    Ok(())
}

/// Fills the context: header, types, imports, then the module's own definitions.
pub(super) fn link(
    obj: &mut InstanceObj,
    store: &Store,
    group: &Group,
    imports: &[Extern],
    shared_memories: Vec<Option<Memory>>,
) -> Result<(), InstantiateError> {
    let module = obj.module.clone();
    let mut linker = Linker { obj, store, group, info: module.info(), offsets: module.offsets() };
    linker.header();
    let functions = linker.imports(imports);
    linker.tags();
    linker.memories(shared_memories)?;
    linker.imported_functions(functions)?;
    linker.globals();
    linker.tables()?;
    Ok(())
}

/// An instance whose context nobody else knows of yet.
struct Linker<'a> {
    obj: &'a mut InstanceObj,
    store: &'a Store,
    group: &'a Group,
    info: &'a ModuleInfo,
    offsets: &'a VMOffsets,
}

impl<'a> Linker<'a> {
    /// Sets a field of the context. `offset` is what `offsets` gives for a field of type `T`.
    fn set<T>(&self, offset: i32, value: T) {
        // SAFETY: the context was allocated with the size that `offsets` gives. The callers, all in this
        // file, pass offsets of fields of the written type for this module. Nobody else has a pointer to the
        // context yet.
        unsafe { self.obj.context.field::<T>(offset).write(value) };
    }

    fn header(&self) {
        let header = VMHeader {
            magic: INSTANCE_MAGIC,
            _pad: 0,
            store: self.store.vm(),
            // Set once the instance has its final address.
            owner: ptr::null_mut(),
            libcalls: libcalls::TABLE.0.as_ptr(),
        };
        self.set(0, header);
        for (index, ty) in self.info.types.iter() {
            self.set(self.offsets.type_id(index), ty.id().0);
        }
    }

    /// Notes what is imported. Returns the functions, which are linked when the memories are there.
    fn imports<'e>(&mut self, imports: &'e [Extern]) -> Vec<(FuncIndex, &'e Extern)> {
        let mut functions = Vec::with_capacity(imports.len());
        for (import, given) in self.info.imports.iter().zip(imports) {
            match (import.index, given) {
                (EntityIndex::Func(index), Extern::Func(_) | Extern::Native(_)) => {
                    functions.push((index, given))
                }
                (EntityIndex::Table(index), Extern::Table(table)) => {
                    let table = table.as_ptr();
                    self.obj.tables.push(table);
                    // SAFETY: the table belongs to our group.
                    let definition = unsafe { table.as_ref() }.definition();
                    self.set(self.offsets.imported_table(index), definition);
                }
                (EntityIndex::Memory(_), Extern::Memory(memory)) => self.obj.memories.push(memory.as_ptr()),
                (EntityIndex::Global(index), Extern::Global(global)) => {
                    self.set(self.offsets.imported_global(index), global.definition());
                }
                (EntityIndex::Tag(index), Extern::Tag(tag)) => {
                    self.set(self.offsets.tag(index), tag.as_ptr().as_ptr());
                }
                _ => unreachable!("check_imports compared the kinds"),
            }
        }
        functions
    }

    fn tags(&self) {
        for index in self.info.tags.keys().skip(self.info.num_imported_tags) {
            let tag = TagObj::new(self.info.tag_type(index).clone());
            self.set(self.offsets.tag(index), tag.as_ptr().as_ptr());
            self.group.add(|members| members.tags.push(tag));
        }
    }

    fn memories(&mut self, shared: Vec<Option<Memory>>) -> Result<(), InstantiateError> {
        let mut shared = shared.into_iter();
        let module = self.obj.module.clone();
        for (index, ty) in self.info.memories.iter().skip(self.info.num_imported_memories) {
            if ty.shared
                && let Some(memory) = shared.next().flatten()
            {
                if memory.ty() != *ty {
                    return Err(
                        Error::Internal("the host made a shared memory of another type".into()).into()
                    );
                }
                self.obj.memories.push(memory.as_ptr());
                continue;
            }
            let image = module.images().as_ref().and_then(|images| images.get(index.index())?.clone());
            let memory = MemoryObj::new(self.store, module.engine(), *ty, image)?;
            self.obj.memories.push(memory.as_ptr());
            self.group.add(|members| members.memories.push(memory));
        }
        for (index, memory) in self.info.memories.keys().zip(&self.obj.memories) {
            // SAFETY: the memory belongs to our group.
            let memory = unsafe { memory.as_ref() };
            let seen = VMMemory { base: memory.base(), definition: memory.definition() };
            self.set(self.offsets.memory(index), seen);
        }
        Ok(())
    }

    fn imported_functions(&self, functions: Vec<(FuncIndex, &Extern)>) -> Result<(), Error> {
        let native_memory = native_memory(self.obj);
        let code = self.obj.module.code();
        let mut places = Vec::with_capacity(functions.len());
        let mut natives = Vec::with_capacity(functions.len());
        for (index, given) in functions {
            let ty = self.info.func_type(index);
            match given {
                // It gets the trampoline of the importing module.
                Extern::Func(func) => {
                    func.offer_code(code.host(ty.id()), code.entry(ty.id()));
                    self.imported_function(index, func.raw());
                }
                Extern::Native(native) => {
                    let (Some(trampoline), Some(entry)) = (code.native(ty.id()), code.entry(ty.id())) else {
                        let why = format!("{} is no type of a native function", ty.ty());
                        return Err(Error::Internal(why));
                    };
                    places.push(index);
                    natives.push(HostFunc::of_native(self.group, native, native_memory, (trampoline, entry)));
                }
                _ => unreachable!("check_imports compared the kinds"),
            }
        }
        for (index, func_ref) in places.into_iter().zip(HostFunc::add(self.group, natives)) {
            self.imported_function(index, func_ref);
        }
        Ok(())
    }

    fn imported_function(&self, index: FuncIndex, func_ref: NonNull<VMFuncRef>) {
        // SAFETY: the function belongs to our group.
        let VMFuncRef { code, vmctx, .. } = unsafe { func_ref.as_ref() };
        let import = VMFunctionImport { code: code.get(), vmctx: *vmctx, func_ref: func_ref.as_ptr() };
        self.set(self.offsets.imported_function(index), import);
    }

    fn globals(&self) {
        for (index, global) in self.info.globals.iter() {
            if let (Some(defined), Some(init)) = (self.info.defined_global(index), &global.init) {
                let value = Cell::new(self.obj.evaluate(init));
                self.set(self.offsets.defined_global(defined), VMGlobalDefinition { value });
            }
        }
    }

    fn tables(&mut self) -> Result<(), Error> {
        for (index, table) in self.info.tables.iter() {
            let Some(defined) = self.info.defined_table(index) else { continue };
            // SAFETY: a table's element type is a reference type.
            let init = table.init.as_ref().map_or(0, |init| unsafe { self.obj.evaluate(init).externref });
            let definition = NonNull::new(self.obj.context.field(self.offsets.defined_table(defined)));
            let engine = self.store.engine();
            let from = engine.fills_later_from();
            let later = table.lists_functions && from.is_some_and(|from| table.ty.minimum >= from);
            let pages = if later { TablePages::new(engine.table_pool(), table.ty.minimum) } else { None };
            let table = match (pages, definition) {
                (Some(pages), Some(definition)) => {
                    TableObj::filled_later(self.store, table.ty, definition, pages)?
                }
                _ => TableObj::new(self.store, table.ty, init, definition)?,
            };
            self.obj.tables.push(table.as_ptr());
            self.group.add(|members| members.tables.push(table));
        }
        Ok(())
    }
}

/// The memory that WASI functions of this instance work on: the one exported as `memory`, as WASI
/// requires, or else the first.
fn native_memory(obj: &InstanceObj) -> *const VMMemoryDefinition {
    let exported = obj.module.info().exports.iter().find_map(|export| match export.index {
        EntityIndex::Memory(index) if export.name == "memory" => Some(index.index()),
        _ => None,
    });
    match obj.memories.get(exported.unwrap_or(0)) {
        // SAFETY: the memory belongs to our group.
        Some(memory) => unsafe { memory.as_ref() }.definition(),
        None => ptr::null(),
    }
}
