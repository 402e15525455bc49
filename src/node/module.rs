//! Compiling at once, validating and describing modules, behind `WebAssembly.Module`.
//!
//! For the face, through Node-API. Invariant: bytes are copied before anything else happens, so JavaScript
//! may change them while we compile.

use super::failure::{Failure, Kind, run};
use super::realm::{Realm, engine, guest_engine, sharing_engine, statistics};
use engine::{CompileError, Engine, Kept, MemoryType, Module};
use napi::bindgen_prelude::{ArrayBuffer, Buffer, Env, External};
use napi_derive::napi;
use std::path::Path;
use std::rc::Rc;
use std::time::UNIX_EPOCH;

/// The engine that compiles a module: for a guest, whose shared memories are ours, or for anybody.
pub fn engine_of(bytes: &[u8], fuel: bool, for_guest: bool) -> Result<Engine, Failure> {
    let engine = if for_guest { guest_engine(bytes, fuel) } else { engine(fuel) };
    Ok(engine?)
}

/// The same, for bytes that are read later.
pub fn chooser(
    fuel: bool,
    for_guest: bool,
) -> impl Fn(&[u8]) -> Result<Engine, CompileError> + Send + 'static {
    move |bytes| if for_guest { guest_engine(bytes, fuel) } else { engine(fuel) }
}

/// Whether the module's shared memories are ours and not V8's.
#[napi(catch_unwind)]
pub fn owns_shared_memory(module: &External<Module>) -> bool {
    module.engine().config().shared_memory.is_none()
}

/// Those that [`chooser`] chooses from, the likeliest first: most guests share their memory with their threads.
pub fn engines(fuel: bool, for_guest: bool) -> Result<Vec<Engine>, CompileError> {
    let others = engine(fuel)?;
    Ok(if for_guest { vec![sharing_engine(fuel)?, others] } else { vec![others] })
}

/// What it took to make the modules of this process. The time is in milliseconds.
#[napi(object, object_from_js = false)]
pub struct CompileMetrics {
    pub compiled: f64,
    pub bytes: f64,
    pub milliseconds: f64,
    pub from_cache: f64,
}

#[napi(catch_unwind)]
pub fn compile_metrics() -> CompileMetrics {
    let sums = statistics();
    CompileMetrics {
        compiled: sums.compiled as f64,
        bytes: sums.compiled_bytes as f64,
        milliseconds: sums.compile_time.as_secs_f64() * 1e3,
        from_cache: sums.from_cache as f64,
    }
}

/// Compiles now. `what` begins the message of an error. `use_cache` tells whether the code may come from
/// the cache, and go there.
#[napi(catch_unwind)]
pub fn compile(
    realm: &External<Rc<Realm>>,
    what: String,
    bytes: &[u8],
    fuel: bool,
    use_cache: bool,
    for_guest: bool,
) -> napi::Result<External<Module>> {
    run(realm, || {
        let engine = engine_of(bytes, fuel, for_guest)?;
        let go_on = || realm.goes_on();
        let compiled = Module::new_while(&engine, bytes, use_cache, &go_on);
        let failed = |error| Failure::new(Kind::Compile, format!("{what}: {error}"));
        Ok(External::new(compiled.map_err(failed)?))
    })
}

/// As [`compile`], for the bytes in a file. Null if it cannot be read.
#[napi(catch_unwind)]
pub fn compile_file(
    realm: &External<Rc<Realm>>,
    what: String,
    path: String,
    fuel: bool,
    use_cache: bool,
    for_guest: bool,
) -> napi::Result<Option<External<Module>>> {
    run(realm, || {
        let go_on = || realm.goes_on();
        let compiled = Module::of_file(
            &engines(fuel, for_guest)?,
            &chooser(fuel, for_guest),
            Path::new(&path),
            use_cache,
            &go_on,
        );
        let failed = |error| Failure::new(Kind::Compile, format!("{what}: {error}"));
        Ok(compiled.map_err(failed)?.map(External::new))
    })
}

/// Where compiled code is kept; null for nowhere.
#[napi(catch_unwind)]
pub fn cache_directory(realm: &External<Rc<Realm>>) -> Option<String> {
    let cache = realm.store.engine().cache()?;
    Some(cache.directory.to_string_lossy().into_owned())
}

/// What is kept of one module.
#[napi(object, object_from_js = false)]
pub struct KeptModule {
    /// The beginning of its hash, as stacks have it.
    pub hash: String,
    pub paths: Vec<String>,
    pub bytes: f64,
    /// Milliseconds since 1970.
    pub used: f64,
    pub is_begun: bool,
}

/// The modules whose code is kept, the most recently used first.
#[napi(catch_unwind)]
pub fn cached_modules(realm: &External<Rc<Realm>>) -> Vec<KeptModule> {
    let Some(cache) = realm.store.engine().cache() else { return Vec::new() };
    let told = |kept: Kept| KeptModule {
        hash: kept.module[..4].iter().map(|byte| format!("{byte:02x}")).collect(),
        paths: kept.paths,
        bytes: kept.bytes as f64,
        used: kept.used.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0,
        is_begun: kept.is_begun,
    };
    cache.modules().into_iter().map(told).collect()
}

/// A module and its code as bytes.
#[napi(catch_unwind)]
pub fn serialize(
    realm: &External<Rc<Realm>>,
    what: String,
    module: &External<Module>,
) -> napi::Result<Buffer> {
    run(realm, || {
        let failed = |error| Failure::new(Kind::Memory, format!("{what}: {error}"));
        Ok(Buffer::from(module.serialize().map_err(failed)?))
    })
}

/// The module of bytes that [`serialize`] gave.
#[napi(catch_unwind)]
pub fn deserialize(
    realm: &External<Rc<Realm>>,
    what: String,
    bytes: &[u8],
) -> napi::Result<External<Module>> {
    run(realm, || {
        // SAFETY: who calls `Module.deserialize()` answers for the bytes, as its documentation says.
        let deserialize = |fuel: bool| unsafe { Module::deserialize(&engine(fuel)?, bytes) };
        // Those that count their operators are of another engine.
        let module = deserialize(false).or_else(|error| deserialize(true).map_err(|_| error));
        let failed = |error| Failure::new(Kind::Compile, format!("{what}: {error}"));
        Ok(External::new(module.map_err(failed)?))
    })
}

#[napi(catch_unwind)]
pub fn validate(realm: &External<Rc<Realm>>, bytes: &[u8]) -> napi::Result<bool> {
    run(realm, || Ok(Module::validate(&engine(false)?, bytes).is_ok()))
}

/// Whether instantiating a module runs code of its own.
#[napi(catch_unwind)]
pub fn has_start(module: &External<Module>) -> bool {
    module.has_start()
}

/// Whether the module counts its operators, for `limits.fuel`.
#[napi(catch_unwind)]
pub fn counts_fuel(module: &External<Module>) -> bool {
    module.engine().tunables().fuel
}

/// The imports of a module, four strings each: module, name, kind, type (see [`Realm::type_text`]).
#[napi(catch_unwind)]
pub fn imports(realm: &External<Rc<Realm>>, module: &External<Module>) -> Vec<String> {
    let each = |import: engine::ImportType<'_>| {
        let (kind, ty) = (import.ty.kind().to_string(), realm.type_text(&import.ty));
        [import.module.to_string(), import.name.to_string(), kind, ty]
    };
    module.imports().flat_map(each).collect()
}

/// The exports of a module, three strings each: name, kind, type.
#[napi(catch_unwind)]
pub fn exports(realm: &External<Rc<Realm>>, module: &External<Module>) -> Vec<String> {
    let each = |export: engine::ExportType<'_>| {
        [export.name.to_string(), export.ty.kind().to_string(), realm.type_text(&export.ty)]
    };
    module.exports().flat_map(each).collect()
}

/// The shared memories that the module defines, each as [`limits`] has it.
#[napi(catch_unwind)]
pub fn shared_memories(module: &External<Module>) -> Vec<f64> {
    module.defined_memories().filter(|ty| ty.shared).flat_map(limits).collect()
}

/// All memories of the module, imported ones first: each as [`limits`] has it, and 1 if it is shared. A memory
/// without a maximum has -1 in its place.
#[napi(catch_unwind)]
pub fn memories(module: &External<Module>) -> Vec<f64> {
    let each = |ty: MemoryType| {
        let [initial, maximum, wide, page] = limits(ty);
        let maximum = if ty.maximum.is_some() { maximum } else { -1.0 };
        [initial, maximum, wide, page, f64::from(u8::from(ty.shared))]
    };
    module.memories().flat_map(each).collect()
}

/// The proposals that a module makes use of.
#[napi(catch_unwind)]
pub fn features(realm: &External<Rc<Realm>>, bytes: &[u8]) -> napi::Result<Vec<String>> {
    let failed = |error| Failure::new(Kind::Compile, format!("{error}"));
    run(realm, || Module::features(&engine(false)?, bytes).map_err(failed))
}

/// The type of a shared memory as the face reads it: initial and maximum pages, 1 if its addresses are
/// 64 bits wide, and the size of a page.
pub fn limits(ty: MemoryType) -> [f64; 4] {
    let maximum = ty.maximum.unwrap_or(ty.minimum);
    let page = (1_u64 << ty.page_size_log2) as f64;
    [ty.minimum as f64, maximum as f64, f64::from(u8::from(ty.memory64)), page]
}

/// Copies of the custom sections of this name.
#[napi(catch_unwind)]
pub fn custom_sections<'env>(
    env: &'env Env,
    module: &External<Module>,
    name: String,
) -> napi::Result<Vec<ArrayBuffer<'env>>> {
    module.custom_sections(&name).map(|bytes| ArrayBuffer::from_data(env, bytes)).collect()
}
