//! Parses bytes to a validated [`ModuleInfo`]: wasmparser reads and validates, and we keep what we need.
//!
//! Called by `Module::new` and `Module::validate`. Invariant: if [`parse`] returns `Ok`, every section and every
//! body has been validated. An error in a section is reported before one in a body.

pub mod bodies;
pub mod features;
mod foreign;
pub mod image;
pub mod info;

use crate::error::CompileError;
use crate::pool::Stop;
use crate::types::*;
use bodies::BodyValidator;
use cranelift_entity::EntityRef;
use info::*;
use std::ops::Range;
use wasmparser as wp;
use wasmparser::{Parser, Payload, ValidPayload, Validator, WasmFeatures};

/// The proposals that the engine implements.
pub const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::WIDE_ARITHMETIC)
    .union(WasmFeatures::THREADS)
    .union(WasmFeatures::CUSTOM_PAGE_SIZES)
    .union(WasmFeatures::FUNCTION_REFERENCES)
    .union(WasmFeatures::GC)
    .union(WasmFeatures::EXCEPTIONS)
    .union(WasmFeatures::LEGACY_EXCEPTIONS)
    .union(WasmFeatures::COMPACT_IMPORTS)
    .union(WasmFeatures::MEMORY64);

/// The JavaScript interface's limits on a module (its "Implementation-defined Limits").
const MAX_SIZE: u64 = 1 << 30;

/// Rejects a module above the size limit before its bytes are processed.
pub fn check_size(bytes: &[u8]) -> Result<(), CompileError> {
    check_len(bytes.len() as u64)
}

/// As [`check_size`], for a module that has not been read yet.
pub fn check_len(len: u64) -> Result<(), CompileError> {
    if len <= MAX_SIZE {
        return Ok(());
    }
    Err(CompileError::general(format!("the module has {len} bytes; {MAX_SIZE} are the most")))
}

/// Parses and validates a module. Bodies are validated on up to `threads` threads.
pub fn parse(
    bytes: &[u8],
    features: WasmFeatures,
    threads: usize,
    stop: &Stop<'_>,
) -> Result<ModuleInfo, CompileError> {
    if let Some(what) = foreign::explain(bytes) {
        return Err(CompileError::new(what, 0));
    }
    let mut validator = Validator::new_with_features(features);
    let mut reader = ModuleReader { bytes, info: ModuleInfo::default(), canonical: Vec::new() };
    let mut bodies = None;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        if let ValidPayload::Func(body, _) = validator.payload(&payload)? {
            bodies.get_or_insert_with(|| BodyValidator::of(body));
        }
        let section = payload.as_section().map_or(0, |(_, range)| range.start);
        reader.payload(payload).map_err(|error| error.or_at(section))?;
    }
    if let Some(bodies) = bodies {
        bodies.validate_all(&reader.info, bytes, threads, stop)?;
    }
    Ok(reader.info)
}

/// The declarations of a module that is known to be valid. The code section is not looked at, so there are no
/// [`ModuleInfo::bodies`], and reading takes no longer for a module with more code.
pub fn read(bytes: &[u8]) -> Result<ModuleInfo, CompileError> {
    let mut reader = ModuleReader { bytes, info: ModuleInfo::default(), canonical: Vec::new() };
    let mut parser = Parser::new(0);
    let mut rest = bytes;
    while !rest.is_empty() {
        let parsed = parser.parse(rest, true)?;
        let wp::Chunk::Parsed { consumed, payload } = parsed else { break };
        rest = rest.get(consumed..).unwrap_or_default();
        if let Payload::CodeSectionStart { size, .. } = payload {
            parser.skip_section();
            rest = rest.get(size as usize..).unwrap_or_default();
        }
        if matches!(payload, Payload::End(_)) {
            break;
        }
        reader.payload(payload)?;
    }
    Ok(reader.info)
}

/// The length of all bodies of a module that is known to be valid.
pub fn body_len(bytes: &[u8]) -> usize {
    bodies_in(bytes).map(|body| body.len()).sum()
}

/// Where the bodies of a module are that is known to be valid.
fn bodies_in(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    Parser::new(0).parse_all(bytes).map_while(Result::ok).filter_map(|payload| match payload {
        Payload::CodeSectionEntry(body) => {
            let range = body.range();
            Some(range.start as usize..range.end as usize)
        }
        _ => None,
    })
}

/// As [`read`], with the ranges of the bodies.
pub fn read_with_bodies(bytes: &[u8]) -> Result<ModuleInfo, CompileError> {
    let mut reader = ModuleReader { bytes, info: ModuleInfo::default(), canonical: Vec::new() };
    for payload in Parser::new(0).parse_all(bytes) {
        reader.payload(payload?)?;
    }
    Ok(reader.info)
}

struct ModuleReader<'a> {
    bytes: &'a [u8],
    info: ModuleInfo,
    /// The identities of the types read so far, to resolve references to them.
    canonical: Vec<TypeId>,
}

fn unsupported(what: &str) -> CompileError {
    CompileError::general(format!("{what} are not supported by this engine yet"))
}

impl<'a> ModuleReader<'a> {
    fn payload(&mut self, payload: Payload<'a>) -> Result<(), CompileError> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    self.rec_group(group?)?;
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports_with_offsets() {
                    let (offset, import) = import?;
                    self.import(import, offset)?;
                }
                let info = &mut self.info;
                info.num_imported_functions = info.functions.len();
                info.num_imported_tables = info.tables.len();
                info.num_imported_memories = info.memories.len();
                info.num_imported_globals = info.globals.len();
                info.num_imported_tags = info.tags.len();
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.function(ty?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    let table = table?;
                    let init = match &table.init {
                        wp::TableInit::RefNull => None,
                        wp::TableInit::Expr(expr) => Some(self.const_expr(expr)?),
                    };
                    let ty = self.table_type(&table.ty)?;
                    let lists_functions = init.is_none() && ty.element.is_func();
                    self.info.tables.push(Table { ty, init, lists_functions });
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.info.memories.push(memory_type(&memory?));
                }
            }
            Payload::TagSection(section) => {
                for tag in section {
                    self.info.tags.push(TypeIndex::from_u32(tag?.func_type_idx));
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let global = global?;
                    let ty = self.global_type(&global.ty)?;
                    let init = Some(self.const_expr(&global.init_expr)?);
                    self.info.globals.push(Global { ty, init });
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let i = export.index;
                    let index = match export.kind {
                        wp::ExternalKind::Func | wp::ExternalKind::FuncExact => {
                            self.note_func_ref(FuncIndex::from_u32(i));
                            EntityIndex::Func(FuncIndex::from_u32(i))
                        }
                        wp::ExternalKind::Table => EntityIndex::Table(TableIndex::from_u32(i)),
                        wp::ExternalKind::Memory => EntityIndex::Memory(MemoryIndex::from_u32(i)),
                        wp::ExternalKind::Global => EntityIndex::Global(GlobalIndex::from_u32(i)),
                        wp::ExternalKind::Tag => EntityIndex::Tag(TagIndex::from_u32(i)),
                    };
                    self.info.exports.push(Export { name: export.name.to_owned(), index });
                }
            }
            Payload::StartSection { func, .. } => {
                self.note_func_ref(FuncIndex::from_u32(func));
                self.info.start = Some(FuncIndex::from_u32(func));
            }
            Payload::ElementSection(section) => {
                for elem in section {
                    let elem = self.elem(elem?)?;
                    if let (SegmentMode::Active { target, .. }, ElemItems::Expressions(_)) =
                        (&elem.mode, &elem.items)
                        && let Some(table) = self.info.tables.get_mut(*target)
                    {
                        table.lists_functions = false;
                    }
                    self.info.elems.push(elem);
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    let data = data?;
                    let mode = match data.kind {
                        wp::DataKind::Passive => SegmentMode::Passive,
                        wp::DataKind::Active { memory_index, offset_expr } => SegmentMode::Active {
                            target: MemoryIndex::from_u32(memory_index),
                            offset: self.const_expr(&offset_expr)?,
                        },
                    };
                    let bytes = range_of(self.bytes, data.data);
                    self.info.data.push(Data { bytes, mode });
                }
            }
            Payload::CodeSectionStart { unchecked_range, .. } => {
                self.info.code_section = unchecked_range.start as usize;
            }
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                self.info.bodies.push(range.start as usize..range.end as usize);
            }
            Payload::CustomSection(section) => {
                let contents = range_of(self.bytes, section.data());
                self.info.custom_sections.push((section.name().to_owned(), contents));
            }
            _ => {}
        }
        Ok(())
    }

    fn rec_group(&mut self, group: wp::RecGroup) -> Result<(), CompileError> {
        let first = self.canonical.len() as u32;
        let mut types = Vec::new();
        for (offset, sub) in group.into_types_and_offsets() {
            let wp::CompositeInnerType::Func(ty) = &sub.composite_type.inner else {
                return Err(unsupported("the struct and array types of the gc proposal").or_at(offset));
            };
            let val_types = |tys: &[wp::ValType]| -> Result<Box<[ValType]>, CompileError> {
                tys.iter().map(|ty| self.val_type_in_group(*ty, first)).collect()
            };
            types.push(SubType {
                ty: FuncType { params: val_types(ty.params())?, results: val_types(ty.results())? },
                supertype: match sub.supertype_idxs.first() {
                    Some(index) => Some(self.type_reference(index.unpack(), first)?),
                    None => None,
                },
                is_final: sub.is_final,
            });
        }
        for ty in SharedFuncType::register_group(&types) {
            self.canonical.push(ty.id());
            self.info.types.push(ty);
        }
        Ok(())
    }

    fn type_reference(&self, index: wp::UnpackedIndex, group: u32) -> Result<HeapType, CompileError> {
        let index = match index {
            wp::UnpackedIndex::Module(index) => index,
            wp::UnpackedIndex::RecGroup(index) => return Ok(HeapType::Recursive(index)),
            wp::UnpackedIndex::Id(_) => return Err(unsupported("validator-internal type ids")),
        };
        Ok(match self.canonical.get(index as usize) {
            Some(id) => HeapType::Concrete(*id),
            None => HeapType::Recursive(index - group),
        })
    }

    /// A value type in the recursion group whose first type has the index `group`.
    fn val_type_in_group(&self, ty: wp::ValType, group: u32) -> Result<ValType, CompileError> {
        Ok(match ty {
            wp::ValType::I32 => ValType::I32,
            wp::ValType::I64 => ValType::I64,
            wp::ValType::F32 => ValType::F32,
            wp::ValType::F64 => ValType::F64,
            wp::ValType::V128 => ValType::V128,
            wp::ValType::Ref(r) => ValType::Ref(RefType {
                nullable: r.is_nullable(),
                heap: self.heap_type(r.heap_type(), group)?,
            }),
        })
    }

    fn heap_type(&self, heap: wp::HeapType, group: u32) -> Result<HeapType, CompileError> {
        use wp::AbstractHeapType as A;
        Ok(match heap {
            wp::HeapType::Abstract { shared: false, ty } => match ty {
                A::Func => HeapType::Func,
                A::NoFunc => HeapType::NoFunc,
                A::Extern => HeapType::Extern,
                A::NoExtern => HeapType::NoExtern,
                A::Exn => HeapType::Exn,
                A::NoExn => HeapType::NoExn,
                _ => return Err(unsupported("references of the gc proposal")),
            },
            wp::HeapType::Concrete(index) | wp::HeapType::Exact(index) => {
                self.type_reference(index, group)?
            }
            wp::HeapType::Abstract { shared: true, .. } => {
                return Err(unsupported("shared references"));
            }
        })
    }

    /// A value type outside of the type section, where all types are known.
    fn val_type(&self, ty: wp::ValType) -> Result<ValType, CompileError> {
        self.val_type_in_group(ty, self.canonical.len() as u32)
    }

    fn global_type(&self, ty: &wp::GlobalType) -> Result<GlobalType, CompileError> {
        Ok(GlobalType { content: self.val_type(ty.content_type)?, mutable: ty.mutable })
    }

    fn table_type(&self, ty: &wp::TableType) -> Result<TableType, CompileError> {
        let element = self.val_type(wp::ValType::Ref(ty.element_type))?;
        let ValType::Ref(element) = element else {
            return Err(unsupported("tables of anything but references"));
        };
        Ok(TableType { element, minimum: ty.initial, maximum: ty.maximum, table64: ty.table64 })
    }

    fn import(&mut self, import: wp::Import<'_>, offset: u64) -> Result<(), CompileError> {
        let index = match import.ty {
            wp::TypeRef::Func(ty) | wp::TypeRef::FuncExact(ty) => EntityIndex::Func(self.function(ty)),
            wp::TypeRef::Table(ty) => {
                let ty = self.table_type(&ty)?;
                EntityIndex::Table(self.info.tables.push(Table { ty, init: None, lists_functions: false }))
            }
            wp::TypeRef::Memory(ty) => EntityIndex::Memory(self.info.memories.push(memory_type(&ty))),
            wp::TypeRef::Global(ty) => {
                let ty = self.global_type(&ty).map_err(|error| error.or_at(offset))?;
                EntityIndex::Global(self.info.globals.push(Global { ty, init: None }))
            }
            wp::TypeRef::Tag(tag) => {
                EntityIndex::Tag(self.info.tags.push(TypeIndex::from_u32(tag.func_type_idx)))
            }
        };
        self.info.imports.push(Import {
            module: import.module.to_owned(),
            name: import.name.to_owned(),
            index,
        });
        Ok(())
    }

    fn function(&mut self, ty: u32) -> FuncIndex {
        self.info.functions.push(Function { ty: TypeIndex::from_u32(ty), func_ref: None })
    }

    fn note_func_ref(&mut self, index: FuncIndex) {
        let function = &mut self.info.functions[index];
        if function.func_ref.is_none() {
            function.func_ref = Some(self.info.func_refs.push(index));
        }
    }

    fn elem(&mut self, elem: wp::Element<'_>) -> Result<Elem, CompileError> {
        let mut ty = RefType::FUNCREF;
        let items = match elem.items {
            wp::ElementItems::Functions(section) => {
                let mut items = Vec::with_capacity(section.count() as usize);
                for index in section {
                    let index = FuncIndex::from_u32(index?);
                    self.note_func_ref(index);
                    items.push(index);
                }
                ElemItems::Functions(items.into())
            }
            wp::ElementItems::Expressions(element, section) => {
                if let ValType::Ref(element) = self.val_type(wp::ValType::Ref(element))? {
                    ty = element;
                }
                let items: Result<_, CompileError> =
                    section.into_iter().map(|expr| self.const_expr(&expr?)).collect();
                ElemItems::Expressions(items?)
            }
        };
        let mode = match elem.kind {
            wp::ElementKind::Passive => SegmentMode::Passive,
            wp::ElementKind::Declared => SegmentMode::Declared,
            wp::ElementKind::Active { table_index, offset_expr } => SegmentMode::Active {
                target: TableIndex::from_u32(table_index.unwrap_or(0)),
                offset: self.const_expr(&offset_expr)?,
            },
        };
        Ok(Elem { ty, items, mode })
    }

    fn const_expr(&mut self, expr: &wp::ConstExpr<'_>) -> Result<ConstExpr, CompileError> {
        use wp::Operator as O;
        let mut ops = ConstExpr::new();
        for op in expr.get_operators_reader().into_iter_with_offsets() {
            let (op, offset) = op?;
            ops.push(match op {
                O::I32Const { value } => ConstOp::I32Const(value),
                O::I64Const { value } => ConstOp::I64Const(value),
                O::F32Const { value } => ConstOp::F32Const(value.bits()),
                O::F64Const { value } => ConstOp::F64Const(value.bits()),
                O::V128Const { value } => ConstOp::V128Const(value.i128() as u128),
                O::GlobalGet { global_index } => ConstOp::GlobalGet(GlobalIndex::from_u32(global_index)),
                O::RefNull { .. } => ConstOp::RefNull,
                O::RefFunc { function_index } => {
                    let index = FuncIndex::from_u32(function_index);
                    self.note_func_ref(index);
                    ConstOp::RefFunc(index)
                }
                O::I32Add => ConstOp::I32Add,
                O::I32Sub => ConstOp::I32Sub,
                O::I32Mul => ConstOp::I32Mul,
                O::I64Add => ConstOp::I64Add,
                O::I64Sub => ConstOp::I64Sub,
                O::I64Mul => ConstOp::I64Mul,
                O::End => break,
                _ => return Err(unsupported("constant expressions of the gc proposal").or_at(offset)),
            });
        }
        Ok(ops)
    }
}

/// The names in the name section of a module. A malformed section never makes a module invalid (spec: "Custom
/// Section"). The names before the malformed part are used.
fn names(info: &ModuleInfo, bytes: &[u8]) -> Names {
    let mut names = Names::default();
    for (_, range) in info.custom_sections.iter().filter(|(name, _)| name == "name") {
        if let Some(section) = bytes.get(range.clone()) {
            let _ = read_names(section, bytes, &mut names);
        }
    }
    names.functions.sort_by_key(|(index, _)| index.index());
    names
}

fn read_names(section: &[u8], bytes: &[u8], names: &mut Names) -> wp::Result<()> {
    for name in wp::NameSectionReader::new(wp::BinaryReader::new(section, 0)) {
        match name? {
            wp::Name::Module { name, .. } => names.module = Some(range_of(bytes, name.as_bytes())),
            wp::Name::Function(map) => {
                for naming in map {
                    let naming = naming?;
                    let range = range_of(bytes, naming.name.as_bytes());
                    names.functions.push((FuncIndex::from_u32(naming.index), range));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The byte range of a part of the module.
fn range_of(module: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - module.as_ptr() as usize;
    start..start + part.len()
}

/// Whether a module imports or defines a shared memory, as far as its bytes make sense. It need not be valid.
pub fn shares_memory(bytes: &[u8]) -> bool {
    for payload in Parser::new(0).parse_all(bytes) {
        let found = match payload {
            Ok(Payload::ImportSection(section)) => section.into_imports().any(
                |import| matches!(import, Ok(wp::Import { ty: wp::TypeRef::Memory(ty), .. }) if ty.shared),
            ),
            Ok(Payload::MemorySection(section)) => section.into_iter().any(|ty| ty.is_ok_and(|ty| ty.shared)),
            Ok(Payload::CodeSectionStart { .. }) | Err(_) => return false,
            Ok(_) => false,
        };
        if found {
            return true;
        }
    }
    false
}

fn memory_type(ty: &wp::MemoryType) -> MemoryType {
    MemoryType {
        minimum: ty.initial,
        maximum: ty.maximum,
        memory64: ty.memory64,
        shared: ty.shared,
        page_size_log2: ty.page_size_log2.unwrap_or(16) as u8,
    }
}
