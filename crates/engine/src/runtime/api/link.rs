//! Linking: checks the imports, then fills an instance's context.

use super::externs::Extern;
use super::memory::Memory;
use crate::abi::TrapCode;
use crate::engine::Module;
use crate::error::LinkError;
use crate::parse::info::{EntityIndex, FuncIndex};
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
    let (info, offsets, code) = (module.info(), module.offsets(), module.code());
    let vmctx = obj.context.vmctx();
    // SAFETY (for every write below): the context was allocated with the size that `offsets` gives. Each
    // offset is that of a field of the written type for this module. Nobody else has a pointer to the
    // context yet.
    unsafe {
        VMContext::header(vmctx).write(VMHeader {
            magic: INSTANCE_MAGIC,
            _pad: 0,
            store: store.vm(),
            // Set once the instance has its final address.
            owner: ptr::null_mut(),
            libcalls: libcalls::TABLE.0.as_ptr(),
        });
        for (index, ty) in info.types.iter() {
            obj.context.field::<u32>(offsets.type_id(index)).write(ty.id().0);
        }
    }

    let mut funcs = Vec::new();
    for (import, given) in info.imports.iter().zip(imports) {
        match (import.index, given) {
            (EntityIndex::Func(index), Extern::Func(_) | Extern::Native(_)) => funcs.push((index, given)),
            (EntityIndex::Table(index), Extern::Table(table)) => {
                obj.tables.push(table.as_ptr());
                // SAFETY: see above. The table belongs to our group.
                unsafe {
                    let definition = table.as_ptr().as_ref().definition();
                    obj.context
                        .field::<*mut VMTableDefinition>(offsets.imported_table(index))
                        .write(definition);
                }
            }
            (EntityIndex::Memory(_), Extern::Memory(memory)) => obj.memories.push(memory.as_ptr()),
            (EntityIndex::Global(index), Extern::Global(global)) => {
                // SAFETY: see above.
                unsafe {
                    obj.context
                        .field::<*mut VMGlobalDefinition>(offsets.imported_global(index))
                        .write(global.definition())
                };
            }
            (EntityIndex::Tag(index), Extern::Tag(tag)) => {
                // SAFETY: see above.
                unsafe { obj.context.field::<*mut TagObj>(offsets.tag(index)).write(tag.as_ptr().as_ptr()) };
            }
            _ => unreachable!("check_imports compared the kinds"),
        }
    }
    for index in info.tags.keys().skip(info.num_imported_tags) {
        let tag = TagObj::new(info.tag_type(index).clone());
        // SAFETY: see above.
        unsafe { obj.context.field::<*mut TagObj>(offsets.tag(index)).write(tag.as_ptr().as_ptr()) };
        group.add(|members| members.tags.push(tag));
    }
    let mut made = shared_memories.into_iter();
    for ty in info.memories.values().skip(info.num_imported_memories) {
        if ty.shared
            && let Some(memory) = made.next().flatten()
        {
            if memory.ty() != *ty {
                return Err(Error::Internal("the host made a shared memory of another type".into()).into());
            }
            obj.memories.push(memory.as_ptr());
            continue;
        }
        let memory = MemoryObj::new(store, *ty)?;
        obj.memories.push(memory.as_ptr());
        group.add(|members| members.memories.push(memory));
    }
    for (index, memory) in info.memories.keys().zip(&obj.memories) {
        // SAFETY: see above. The memory belongs to our group.
        unsafe {
            let memory = memory.as_ref();
            let seen = VMMemory { base: memory.base(), definition: memory.definition() };
            obj.context.field::<VMMemory>(offsets.memory(index)).write(seen);
        }
    }
    let native_memory = native_memory(obj);
    for (index, given) in funcs {
        let import = link_func(obj, group, index, given, native_memory)?;
        // SAFETY: see above.
        unsafe { obj.context.field::<VMFunctionImport>(offsets.imported_function(index)).write(import) };
    }
    for (place, index) in info.func_refs.iter() {
        let Some(defined) = info.defined_func(*index) else { continue };
        let ty = info.func_type(*index).id();
        let func_ref = VMFuncRef {
            code: Cell::new(code.function(defined)),
            entry: Cell::new(code.entry(ty).unwrap_or(ptr::null())),
            vmctx,
            type_id: ty.0,
            _pad: 0,
        };
        // SAFETY: see above.
        unsafe { obj.context.field::<VMFuncRef>(offsets.func_ref(place)).write(func_ref) };
    }
    for (index, global) in info.globals.iter() {
        if let (Some(defined), Some(init)) = (info.defined_global(index), &global.init) {
            let value = obj.evaluate(init);
            // SAFETY: see above.
            unsafe {
                obj.context
                    .field::<VMGlobalDefinition>(offsets.defined_global(defined))
                    .write(VMGlobalDefinition { value: Cell::new(value) })
            };
        }
    }
    for (index, table) in info.tables.iter() {
        let Some(defined) = info.defined_table(index) else { continue };
        // SAFETY: a table's element type is a reference type.
        let init = table.init.as_ref().map_or(0, |init| unsafe { obj.evaluate(init).externref });
        let definition = NonNull::new(obj.context.field(offsets.defined_table(defined)));
        let table = TableObj::new(store, table.ty, init, definition)?;
        obj.tables.push(table.as_ptr());
        group.add(|members| members.tables.push(table));
    }
    Ok(())
}

/// Links an imported function. A host function gets the trampoline of the importing module.
fn link_func(
    obj: &InstanceObj,
    group: &Group,
    index: FuncIndex,
    given: &Extern,
    native_memory: *const VMMemoryDefinition,
) -> Result<VMFunctionImport, Error> {
    let (info, code) = (obj.module.info(), obj.module.code());
    let ty = info.func_type(index);
    let func_ref = match given {
        Extern::Func(func) => {
            func.offer_code(code.host(ty.id()), code.entry(ty.id()));
            func.raw()
        }
        Extern::Native(native) => {
            let (Some(trampoline), Some(entry)) = (code.native(ty.id()), code.entry(ty.id())) else {
                return Err(Error::Internal(format!("{} is no type of a native function", ty.ty())));
            };
            HostFunc::bind_native(group, native, ty.clone(), native_memory, (trampoline, entry))
        }
        _ => unreachable!("check_imports compared the kinds"),
    };
    // SAFETY: the function belongs to our group.
    let VMFuncRef { code, vmctx, .. } = unsafe { func_ref.as_ref() };
    Ok(VMFunctionImport { code: code.get(), vmctx: *vmctx, func_ref: func_ref.as_ptr() })
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
