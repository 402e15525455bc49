//! Random modules (wasm-smith), executed by this engine and by an independent one (wasmi). Both must
//! have the same results, kinds of traps, calls of the host, memories, tables and globals.
//!
//! `cargo test` runs a fixed set of seeds, the same everywhere. `npm run fuzz` runs new ones for
//! `WASI_NATIVE_FUZZ_SECONDS` seconds from `WASI_NATIVE_FUZZ_SEED` on. A module on which the engines
//! differ is written to the temporary directory and named by its seed, which is enough to generate it
//! again. Features that wasmi does not support (exceptions) are compared between our own modes.
//! docs/fuzzing.md lists what has been found so far.

mod support;

use arbitrary::Unstructured;
use engine::*;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::*;

/// An externally observable event of a module's execution, in order.
#[derive(Clone, PartialEq, Debug)]
enum Event {
    Refused,
    Instantiated,
    Called(usize, Vec<Seen>),
    /// A call from the guest to the host, with its arguments.
    Host(u64, Vec<Seen>),
    Trapped(Kind),
    Global(usize, Seen),
    /// Length and hash.
    Memory(usize, u64, u64),
    Table(usize, Vec<Seen>),
    /// Nothing after this is comparable: stacks and limits differ between engines.
    GaveUp,
}

#[derive(Clone, PartialEq, Debug)]
enum Seen {
    Bits(u128),
    /// A reference: only whether it is null.
    Null(bool),
}

/// The kinds of traps, as coarse as in the less precise of the two engines.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Unreachable,
    Memory,
    Table,
    NullFunction,
    SignatureMismatch,
    DivideByZero,
    Overflow,
    BadConversion,
    Exception,
    Other,
}

/// The number of loop iterations and calls that a module may make in total.
const FUEL: u32 = 3000;
const MEMORY_BYTES: u64 = 1 << 20;
const TABLE_ELEMENTS: u64 = 1000;

/// The language features that the module of a seed may use.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Language {
    /// Features that wasmi also supports.
    Common,
    /// Features including those that only this engine supports.
    Ours,
}

fn module_of(seed: u64, language: Language) -> Option<Vec<u8>> {
    let mut random = Random(mix(seed));
    let mut input = vec![0; 1 << (11 + random.below(6))];
    random.fill(&mut input);
    let ours = language == Language::Ours;
    let config = wasm_smith::Config {
        allow_start_export: true,
        bulk_memory_enabled: true,
        canonicalize_nans: true,
        compact_imports_enabled: false,
        custom_page_sizes_enabled: random.below(8) == 0,
        disallow_traps: random.below(2) == 0,
        exceptions_enabled: ours,
        export_everything: true,
        gc_enabled: false,
        max_data_segments: 5,
        max_element_segments: 5,
        max_funcs: 12,
        max_globals: 12,
        max_imports: 6,
        max_instructions: 50 + random.below(400),
        max_memories: 1 + random.below(3),
        max_memory32_bytes: MEMORY_BYTES,
        max_memory64_bytes: MEMORY_BYTES.into(),
        max_table_elements: TABLE_ELEMENTS,
        max_tables: 1 + random.below(3),
        memory64_enabled: random.below(3) == 0,
        memory_max_size_required: true,
        min_exports: 1,
        min_funcs: 4,
        reference_types_enabled: true,
        relaxed_simd_enabled: random.below(4) == 0,
        simd_enabled: random.below(2) == 0,
        table_max_size_required: true,
        tail_call_enabled: true,
        threads_enabled: false,
        wide_arithmetic_enabled: true,
        ..wasm_smith::Config::default()
    };
    let mut module = wasm_smith::Module::new(config, &mut Unstructured::new(&input)).ok()?;
    module.ensure_termination(FUEL).ok()?;
    let bytes = module.to_bytes();
    // These may be fused or not, and the engines chose differently.
    const FUSED: [&[u8]; 4] =
        [&[0xfd, 0x85, 0x02], &[0xfd, 0x86, 0x02], &[0xfd, 0x87, 0x02], &[0xfd, 0x88, 0x02]];
    let fused = FUSED.iter().any(|op| bytes.windows(op.len()).any(|part| part == *op));
    (!fused || ours).then_some(bytes)
}

/// An identity for an import. wasmi does not list imports in the module's order.
fn place_of(module: &str, name: &str) -> u64 {
    hash(module.as_bytes()) ^ mix(hash(name.as_bytes()))
}

fn hash(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(bytes.len() as u64, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(hash ^ u64::from_le_bytes(word))
    })
}

/// An argument or host result. It is often an edge case.
fn number(random: &mut Random) -> u128 {
    const EDGES: [u64; 10] = [
        0,
        1,
        u64::MAX,
        0x8000_0000,
        0x7fff_ffff,
        1 << 63,
        0xffff,
        0x4029_0000_0000_0000,
        0x4228_0000,
        0xffff_ffff_0000_0000,
    ];
    match random.below(3) {
        0 => u128::from(random.next()) << 64 | u128::from(random.next()),
        1 => EDGES[random.below(EDGES.len())].into(),
        _ => random.below(300) as u128,
    }
}

// --- this engine ---

fn seen(value: &Val) -> Seen {
    match value {
        Val::Func(func) => Seen::Null(func.is_none()),
        Val::Extern(value) => Seen::Null(value.is_none()),
        Val::Exn(exception) => Seen::Null(exception.is_none()),
        number => Seen::Bits(bits(number)),
    }
}

fn random_val(ty: ValType, random: &mut Random) -> Val {
    match ty {
        ValType::Ref(_) => Val::default_of(ty),
        ty => value(ty, number(random)),
    }
}

fn kind(code: TrapCode) -> Option<Kind> {
    Some(match code {
        TrapCode::Unreachable => Kind::Unreachable,
        TrapCode::MemoryOutOfBounds => Kind::Memory,

        // wasmi does not distinguish these.
        TrapCode::TableOutOfBounds | TrapCode::UndefinedElement => Kind::Table,
        TrapCode::UninitializedElement => Kind::NullFunction,
        TrapCode::IndirectCallTypeMismatch => Kind::SignatureMismatch,
        TrapCode::IntegerDivideByZero => Kind::DivideByZero,
        TrapCode::IntegerOverflow => Kind::Overflow,
        TrapCode::InvalidConversionToInteger => Kind::BadConversion,
        TrapCode::StackExhausted => return None,
        _ => Kind::Other,
    })
}

fn failure(error: &Error) -> Event {
    match error {
        Error::Trap(trap) => kind(trap.code).map_or(Event::GaveUp, Event::Trapped),
        Error::Exception(_) => Event::Trapped(Kind::Exception),
        _ => Event::GaveUp,
    }
}

fn run_ours(config: &Config, bytes: &[u8], seed: u64) -> Vec<Event> {
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let note = |event: Event| events.lock().expect("not poisoned").push(event);
    let log = || events.lock().expect("not poisoned").clone();
    let engine = Engine::new(config).expect("an engine");
    let store = Store::new(&engine).expect("a store");
    let module = match Module::new(&engine, bytes) {
        Ok(module) => module,
        Err(error) if error.message.contains("internal") => panic!("seed {seed}: {error}"),
        Err(_) => return vec![Event::Refused],
    };
    let mut random = Random(mix(seed ^ 1));
    let mut imports = Vec::new();
    for import in module.imports() {
        let place = place_of(import.module, import.name);
        let mut random = Random(mix(seed ^ place));
        imports.push(match import.ty {
            ExternType::Func(ty) => {
                let (ty, events) = (ty.ty().clone(), events.clone());
                let (params, results) = (ty.params.clone(), ty.results.clone());
                let numbers = Mutex::new(random);
                let host = Func::new(&store, ty, move |values| {
                    let args = params.iter().zip(values.iter()).map(|(ty, raw)| {
                        // SAFETY: the arguments have the function's types.
                        unsafe {
                            match ty {
                                ValType::I32 => Seen::Bits(u128::from(raw.i32 as u32)),
                                ValType::I64 => Seen::Bits(u128::from(raw.i64 as u64)),
                                ValType::F32 => Seen::Bits(u128::from(raw.f32)),
                                ValType::F64 => Seen::Bits(u128::from(raw.f64)),
                                ValType::V128 => Seen::Bits(raw.v128),
                                ValType::Ref(_) => Seen::Null(raw.externref == 0),
                            }
                        }
                    });
                    let event = Event::Host(place, args.collect());
                    events.lock().expect("not poisoned").push(event);
                    let mut random = numbers.lock().expect("not poisoned");
                    for (ty, slot) in results.iter().zip(values.iter_mut()) {
                        *slot = ValRaw::ZERO;
                        match random_val(*ty, &mut random) {
                            Val::I32(v) => slot.i32 = v,
                            Val::I64(v) => slot.i64 = v,
                            Val::F32(v) => slot.f32 = v,
                            Val::F64(v) => slot.f64 = v,
                            Val::V128(v) => slot.v128 = v,
                            _ => {}
                        }
                    }
                    Ok(())
                });
                Extern::Func(host)
            }
            ExternType::Global(ty) => Extern::Global(
                Global::new(&store, ty, random_val(ty.content, &mut random)).expect("a global"),
            ),
            ExternType::Memory(ty) => Extern::Memory(Memory::new(&store, ty).expect("a memory")),
            ExternType::Table(ty) => {
                let null = Val::default_of(ValType::Ref(ty.element));
                Extern::Table(Table::new(&store, ty, null).expect("a table"))
            }
            ExternType::Tag(ty) => Extern::Tag(Tag::new(&store, ty.ty().clone())),
        });
    }
    let instance = match Instance::new(&store, &module, &imports) {
        Ok(instance) => instance,
        Err(InstantiateError::Error(error)) => {
            note(failure(&error));
            return log();
        }
        Err(InstantiateError::Link(error)) => panic!("seed {seed}: {error}"),
    };
    note(Event::Instantiated);
    let exports = instance.exports();
    for (place, (_, export)) in exports.iter().enumerate() {
        let Extern::Func(func) = export else { continue };
        let args: Vec<Val> = func.ty().ty().params.iter().map(|ty| random_val(*ty, &mut random)).collect();
        match func.call(&args) {
            Ok(values) => note(Event::Called(place, values.iter().map(seen).collect())),
            Err(error) => {
                let event = failure(&error);
                note(event.clone());
                if event == Event::GaveUp {
                    return log();
                }
            }
        }
        for (place, (_, export)) in exports.iter().enumerate() {
            match export {
                Extern::Global(global) => note(Event::Global(place, seen(&global.get()))),
                Extern::Memory(memory) => {
                    // SAFETY: no guest runs while we read the memory.
                    let bytes = unsafe { std::slice::from_raw_parts(memory.base(), memory.byte_len()) };
                    note(Event::Memory(place, memory.size(), hash(bytes)));
                }
                Extern::Table(table) => {
                    let elements = (0..table.size()).map(|i| seen(&table.get(i).expect("it is inside")));
                    note(Event::Table(place, elements.collect()));
                }
                _ => {}
            }
        }
    }
    log()
}

// --- wasmi ---

fn wasmi_seen(value: &wasmi::Val) -> Seen {
    match value {
        wasmi::Val::I32(v) => Seen::Bits((*v as u32).into()),
        wasmi::Val::I64(v) => Seen::Bits((*v as u64).into()),
        wasmi::Val::F32(v) => Seen::Bits(v.to_bits().into()),
        wasmi::Val::F64(v) => Seen::Bits(v.to_bits().into()),
        wasmi::Val::V128(v) => Seen::Bits(v.as_u128()),
        wasmi::Val::FuncRef(v) => Seen::Null(v.is_null()),
        wasmi::Val::ExternRef(v) => Seen::Null(v.is_null()),
    }
}

fn wasmi_val(ty: wasmi::ValType, random: &mut Random) -> wasmi::Val {
    match ty {
        wasmi::ValType::I32 => wasmi::Val::I32(number(random) as i32),
        wasmi::ValType::I64 => wasmi::Val::I64(number(random) as i64),
        wasmi::ValType::F32 => wasmi::Val::F32(wasmi::F32::from_bits(number(random) as u32)),
        wasmi::ValType::F64 => wasmi::Val::F64(wasmi::F64::from_bits(number(random) as u64)),
        wasmi::ValType::V128 => wasmi::Val::V128(number(random).into()),
        wasmi::ValType::FuncRef => wasmi::Val::FuncRef(wasmi::Ref::Null),
        wasmi::ValType::ExternRef => wasmi::Val::ExternRef(wasmi::Ref::Null),
    }
}

fn wasmi_failure(error: &wasmi::Error) -> Event {
    use wasmi::TrapCode as T;
    let Some(code) = error.as_trap_code() else {
        // wasmi reports an active segment with another error than a running guest.
        let text = error.to_string();
        return match () {
            _ if text.contains("out of bounds table access") => Event::Trapped(Kind::Table),
            _ if text.contains("out of bounds memory access") => Event::Trapped(Kind::Memory),
            _ => Event::GaveUp,
        };
    };
    Event::Trapped(match code {
        T::UnreachableCodeReached => Kind::Unreachable,
        T::MemoryOutOfBounds => Kind::Memory,
        T::TableOutOfBounds => Kind::Table,
        T::IndirectCallToNull => Kind::NullFunction,
        T::BadSignature => Kind::SignatureMismatch,
        T::IntegerDivisionByZero => Kind::DivideByZero,
        T::IntegerOverflow => Kind::Overflow,
        T::BadConversionToInteger => Kind::BadConversion,
        _ => return Event::GaveUp,
    })
}

fn export_names(bytes: &[u8]) -> impl Iterator<Item = &str> {
    let payloads = wasmparser::Parser::new(0).parse_all(bytes);
    let exports = payloads.filter_map(|payload| match payload {
        Ok(wasmparser::Payload::ExportSection(exports)) => Some(exports),
        _ => None,
    });
    exports.flatten().map(|export| export.expect("it is valid").name)
}

fn run_wasmi(bytes: &[u8], seed: u64) -> Vec<Event> {
    let mut config = wasmi::Config::default();
    config
        .wasm_custom_page_sizes(true)
        .wasm_memory64(true)
        .wasm_wide_arithmetic(true)
        .wasm_simd(true)
        .wasm_relaxed_simd(true)
        .wasm_multi_memory(true)
        .wasm_tail_call(true)
        .wasm_extended_const(true)
        .set_max_recursion_depth(100_000)
        .set_max_stack_height(64 << 20);
    let engine = wasmi::Engine::new(&config);
    let mut store = wasmi::Store::new(&engine, Vec::<Event>::new());
    let module = match wasmi::Module::new(&engine, bytes) {
        Ok(module) => module,
        Err(_) => return vec![Event::Refused],
    };
    let mut random = Random(mix(seed ^ 1));
    let mut imports: Vec<wasmi::Extern> = Vec::new();
    for import in module.imports() {
        let place = place_of(import.module(), import.name());
        let mut random = Random(mix(seed ^ place));
        imports.push(match import.ty().clone() {
            wasmi::ExternType::Func(ty) => {
                let numbers = Mutex::new(random);
                let results_ty: Vec<_> = ty.results().to_vec();
                let host = wasmi::Func::new(
                    &mut store,
                    ty,
                    move |mut caller: wasmi::Caller<'_, Vec<Event>>, args, results| {
                        let event = Event::Host(place, args.iter().map(wasmi_seen).collect());
                        caller.data_mut().push(event);
                        let mut random = numbers.lock().expect("not poisoned");
                        for (slot, ty) in results.iter_mut().zip(&results_ty) {
                            *slot = wasmi_val(*ty, &mut random);
                        }
                        Ok(())
                    },
                );
                host.into()
            }
            wasmi::ExternType::Global(ty) => {
                let value = wasmi_val(ty.content(), &mut random);
                wasmi::Global::new(&mut store, value, ty.mutability()).into()
            }
            wasmi::ExternType::Memory(ty) => wasmi::Memory::new(&mut store, ty).expect("a memory").into(),
            wasmi::ExternType::Table(ty) => {
                let null = wasmi::Val::default(ty.element());
                wasmi::Table::new(&mut store, ty, null).expect("a table").into()
            }
        });
    }
    let instance = match wasmi::Instance::new(&mut store, &module, &imports) {
        Ok(instance) => instance,
        Err(error) => {
            let event = wasmi_failure(&error);
            store.data_mut().push(event);
            return store.into_data();
        }
    };
    store.data_mut().push(Event::Instantiated);
    // In the module's order, which wasmi does not keep.
    let exports: Vec<wasmi::Extern> =
        export_names(bytes).filter_map(|name| instance.get_export(&store, name)).collect();
    for (place, export) in exports.iter().enumerate() {
        let wasmi::Extern::Func(func) = export else { continue };
        let ty = func.ty(&store);
        let args: Vec<_> = ty.params().iter().map(|ty| wasmi_val(*ty, &mut random)).collect();
        let mut results: Vec<_> = ty.results().iter().map(|_| wasmi::Val::I32(0)).collect();
        match func.call(&mut store, &args, &mut results) {
            Ok(()) => store.data_mut().push(Event::Called(place, results.iter().map(wasmi_seen).collect())),
            Err(error) => {
                let event = wasmi_failure(&error);
                store.data_mut().push(event.clone());
                if event == Event::GaveUp {
                    return store.into_data();
                }
            }
        }
        for (place, export) in exports.iter().enumerate() {
            let event = match export {
                wasmi::Extern::Global(global) => Event::Global(place, wasmi_seen(&global.get(&store))),
                wasmi::Extern::Memory(memory) => {
                    let (size, hash) = (memory.size(&store), hash(memory.data(&store)));
                    Event::Memory(place, size, hash)
                }
                wasmi::Extern::Table(table) => {
                    let null = |i| wasmi_seen(&table.get(&store, i).expect("it is inside"));
                    Event::Table(place, (0..table.size(&store)).map(null).collect())
                }
                wasmi::Extern::Func(_) => continue,
            };
            store.data_mut().push(event);
        }
    }
    store.into_data()
}

// --- comparing ---

#[derive(Default, Debug)]
struct Tally {
    modules: usize,
    instantiated: usize,
    calls: usize,
    returned: usize,
    traps: usize,
    gave_up: usize,
}

fn mode(seed: u64) -> Config {
    let modes = modes();
    let config = modes[seed as usize % modes.len()].clone();
    // The same stack size as the other engine, so that deep recursion ends at the same place.
    Config { max_wasm_stack: 16 << 20, ..config }
}

/// Runs the module of a seed in both engines. Panics if they differ.
fn compare(seed: u64, language: Language, tally: &mut Tally) {
    let Some(bytes) = module_of(seed, language) else { return };
    let config = mode(seed);
    let ours = run_ours(&config, &bytes, seed);
    let (theirs, other) = match language {
        Language::Common => (run_wasmi(&bytes, seed), "wasmi".to_string()),
        Language::Ours => {
            let config = mode(seed / 8 + seed % 8 + 1);
            (run_ours(&config, &bytes, seed), mode_name(&config))
        }
    };
    tally.modules += 1;
    for (i, event) in ours.iter().enumerate() {
        if *event == Event::GaveUp || theirs.get(i) == Some(&Event::GaveUp) {
            tally.gave_up += 1;
            return;
        }
        match event {
            Event::Instantiated => tally.instantiated += 1,
            Event::Called(..) => (tally.calls, tally.returned) = (tally.calls + 1, tally.returned + 1),
            Event::Trapped(_) => (tally.calls, tally.traps) = (tally.calls + 1, tally.traps + 1),
            _ => {}
        }
        if theirs.get(i) != Some(event) {
            differ(seed, language, &bytes, &mode_name(&config), &other, i, Some(event), theirs.get(i));
        }
    }
    if theirs.len() > ours.len() {
        differ(seed, language, &bytes, &mode_name(&config), &other, ours.len(), None, theirs.get(ours.len()));
    }
}

#[allow(clippy::too_many_arguments)]
fn differ(
    seed: u64,
    language: Language,
    bytes: &[u8],
    mode: &str,
    other: &str,
    at: usize,
    ours: Option<&Event>,
    theirs: Option<&Event>,
) -> ! {
    let file = std::env::temp_dir().join(format!("wasi-native-differs-{seed}.wasm"));
    let _ = std::fs::write(&file, bytes);
    panic!(
        "seed {seed} ({language:?}) differs at event {at}:\n{mode}: {ours:?}\n{other}: {theirs:?}\nmodule: {}",
        file.display()
    );
}

/// Runs `work` on a thread that has room for [`mode`]'s stack.
fn with_stack(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().stack_size(64 << 20).spawn_scoped(scope, work).expect("a thread");
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn fixed(language: Language, seeds: std::ops::Range<u64>) {
    with_stack(|| {
        let start = Instant::now();
        let mut tally = Tally::default();
        for seed in seeds {
            compare(seed, language, &mut tally);
        }
        println!("{language:?}: {tally:?} in {} ms", start.elapsed().as_millis());
        assert!(tally.gave_up * 20 < tally.modules, "too little is compared: {tally:?}");
        assert!(tally.returned > tally.modules / 4 && tally.traps > tally.modules / 4, "{tally:?}");
    });
}

#[test]
fn random_modules_do_the_same_here_and_in_wasmi() {
    fixed(Language::Common, 0..5000);
}

#[test]
fn random_modules_do_the_same_in_all_modes() {
    fixed(Language::Ours, 0..1500);
}

#[test]
#[ignore = "npm run fuzz"]
fn fuzz() {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = variable("WASI_NATIVE_FUZZ_SECONDS").unwrap_or(60);
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let seed = variable("WASI_NATIVE_FUZZ_SEED").unwrap_or(now << 24);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    println!("seeds from {seed}");
    let total = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let total = &total;
            let work = move || {
                let start = Instant::now();
                let mut tally = Tally::default();
                let mut seed = seed + thread;
                while start.elapsed() < Duration::from_secs(seconds) {
                    let language = if seed / threads % 5 == 4 { Language::Ours } else { Language::Common };
                    compare(seed, language, &mut tally);
                    seed += threads;
                }
                let mut total = total.lock().expect("not poisoned");
                total.modules += tally.modules;
                total.instantiated += tally.instantiated;
                total.calls += tally.calls;
                total.returned += tally.returned;
                total.traps += tally.traps;
                total.gave_up += tally.gave_up;
            };
            std::thread::Builder::new().stack_size(64 << 20).spawn_scoped(scope, work).expect("a thread");
        }
    });
    println!("{:?}", total.into_inner().expect("not poisoned"));
}
