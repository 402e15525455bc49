//! Random modules for `fuzz/smith.mjs`, which runs them here and on V8: `smith SEED COUNT` prints a line of JSON for
//! each seed from `SEED` on. Names are the hexadecimal digits of their bytes.
//!
//! Invariant: a seed gives the same module on every machine. The modules end by themselves, and ask for no more
//! than V8 of Node 26 and this engine both have.

use arbitrary::Unstructured;
use std::fmt::Write;
use wasm_smith::{Config, Module};
use wasmparser::{ExternalKind, Parser, Payload, RefType, TypeRef, ValType};

/// How many iterations of loops and calls a module may make in total.
const FUEL: u32 = 10_000;
const MEMORY_BYTES: u64 = 1 << 20;

/// Numbers of a seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

fn module_of(seed: u64) -> Option<Vec<u8>> {
    let mut random = Random(seed);
    // A module of some thousand bytes of code starts before all of it is compiled, a smaller one does not.
    let is_large = random.chance(2);
    let len = if is_large { 1 << 16 } else { 1 << (11 + random.below(4)) };
    let input: Vec<u8> = std::iter::repeat_with(|| random.next() as u8).take(len).collect();
    let config = Config {
        allow_start_export: true,
        bulk_memory_enabled: true,
        canonicalize_nans: true,
        compact_imports_enabled: false,
        custom_page_sizes_enabled: false,
        disallow_traps: random.chance(2),
        exceptions_enabled: random.chance(2),
        export_everything: true,
        extended_const_enabled: true,
        gc_enabled: false,
        max_data_segments: 5,
        max_element_segments: 5,
        max_funcs: if is_large { 60 } else { 12 },
        max_globals: 12,
        max_imports: 6,
        max_instructions: if is_large { 1000 } else { 50 + random.below(400) },
        max_memories: 1 + random.below(3),
        max_memory32_bytes: MEMORY_BYTES,
        max_memory64_bytes: MEMORY_BYTES.into(),
        max_table_elements: 1000,
        max_tables: 1 + random.below(3),
        max_tags: 4,
        memory64_enabled: random.chance(3),
        memory_max_size_required: true,
        min_exports: 1,
        min_funcs: if is_large { 30 } else { 4 },
        multi_value_enabled: true,
        reference_types_enabled: true,
        relaxed_simd_enabled: false,
        simd_enabled: random.chance(2),
        table_max_size_required: true,
        tail_call_enabled: true,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..Config::default()
    };
    let mut module = Module::new(config, &mut Unstructured::new(&input)).ok()?;
    module.ensure_termination(FUEL).ok()?;
    Some(module.to_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn named(ty: ValType) -> &'static str {
    match ty {
        ValType::I32 => "i32",
        ValType::I64 => "i64",
        ValType::F32 => "f32",
        ValType::F64 => "f64",
        ValType::V128 => "v128",
        ValType::Ref(ty) if ty == RefType::EXTERNREF => "externref",
        ValType::Ref(ty) if ty == RefType::FUNCREF => "funcref",
        ValType::Ref(_) => "other",
    }
}

fn list(types: &[ValType]) -> String {
    let names: Vec<String> = types.iter().map(|ty| format!("\"{}\"", named(*ty))).collect();
    format!("[{}]", names.join(","))
}

/// A module with what it takes to make its imports and call its exports.
fn line(seed: u64, bytes: &[u8]) -> Option<String> {
    let (mut types, mut functions) = (Vec::new(), Vec::new());
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.ok()? {
            Payload::TypeSection(section) => {
                types = section.into_iter_err_on_gc_types().collect::<Result<Vec<_>, _>>().ok()?;
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.ok()?;
                    let what = match import.ty {
                        TypeRef::Func(ty) => {
                            functions.push(ty);
                            let ty = types.get(ty as usize)?;
                            format!(
                                "\"kind\":\"function\",\"params\":{},\"results\":{}",
                                list(ty.params()),
                                list(ty.results())
                            )
                        }
                        TypeRef::Memory(ty) => format!(
                            "\"kind\":\"memory\",\"initial\":{},\"maximum\":{},\"wide\":{}",
                            ty.initial, ty.maximum?, ty.memory64
                        ),
                        TypeRef::Table(ty) => format!(
                            "\"kind\":\"table\",\"initial\":{},\"maximum\":{},\"wide\":{},\"type\":\"{}\"",
                            ty.initial,
                            ty.maximum?,
                            ty.table64,
                            named(ValType::Ref(ty.element_type))
                        ),
                        TypeRef::Global(ty) => format!(
                            "\"kind\":\"global\",\"mutable\":{},\"type\":\"{}\"",
                            ty.mutable,
                            named(ty.content_type)
                        ),
                        TypeRef::Tag(ty) => {
                            let ty = types.get(ty.func_type_idx as usize)?;
                            format!("\"kind\":\"tag\",\"params\":{}", list(ty.params()))
                        }
                        TypeRef::FuncExact(_) => return None,
                    };
                    let (module, name) = (hex(import.module.as_bytes()), hex(import.name.as_bytes()));
                    imports.push(format!("{{\"module\":\"{module}\",\"name\":\"{name}\",{what}}}"));
                }
            }
            Payload::FunctionSection(section) => {
                functions.extend(section.into_iter().collect::<Result<Vec<_>, _>>().ok()?);
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.ok()?;
                    if export.kind == ExternalKind::Func {
                        let ty = types.get(*functions.get(export.index as usize)? as usize)?;
                        let (name, params, results) =
                            (hex(export.name.as_bytes()), list(ty.params()), list(ty.results()));
                        exports.push(format!(
                            "{{\"name\":\"{name}\",\"params\":{params},\"results\":{results}}}"
                        ));
                    }
                }
            }
            _ => {}
        }
    }
    let (bytes, imports, exports) = (hex(bytes), imports.join(","), exports.join(","));
    Some(format!(
        "{{\"seed\":{seed},\"bytes\":\"{bytes}\",\"imports\":[{imports}],\"functions\":[{exports}]}}"
    ))
}

fn main() {
    let mut args = std::env::args().skip(1).map(|word| word.parse::<u64>());
    let (Some(Ok(first)), Some(Ok(count))) = (args.next(), args.next()) else {
        eprintln!("smith SEED COUNT");
        std::process::exit(2);
    };
    for seed in first..first.saturating_add(count) {
        // Not every seed makes a module.
        if let Some(line) = module_of(seed).and_then(|bytes| line(seed, &bytes)) {
            println!("{line}");
        }
    }
}
