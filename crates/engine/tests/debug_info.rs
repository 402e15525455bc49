//! Source locations from a module's DWARF: correct if it is well-formed, bounded in cost if it is not.

use engine::*;
use std::time::{Duration, Instant};
use wasm_encoder as enc;

mod support;
use support::Random;

const C: &[u8] = include_bytes!("../../../__test__/fixtures/inlined.wasm");
const RUST: &[u8] = include_bytes!("../../../__test__/fixtures/shapes.wasm");

fn engine() -> Engine {
    Engine::new(&Config { threads: 1, opt_level: OptLevel::None, ..Config::default() }).unwrap()
}

/// The trap of an export called with 0.
fn trap(bytes: &[u8], export: &str) -> Trap {
    trap_of(&engine(), bytes, export)
}

fn trap_of(engine: &Engine, bytes: &[u8], export: &str) -> Trap {
    let store = Store::new(engine).unwrap();
    let module = Module::new(engine, bytes).unwrap();
    let instance = Instance::new(&store, &module, &[]).unwrap();
    let Some(Extern::Func(run)) = instance.export(export) else { panic!("no function {export}") };
    match run.call(&[Val::I32(0)]) {
        Err(Error::Trap(trap)) => trap,
        other => panic!("{other:?}"),
    }
}

/// `function file:line` for each place, innermost first.
fn places(trap: &Trap) -> Vec<String> {
    let place = |source: &SourceFrame| {
        let name = source.function.as_deref().unwrap_or("?");
        format!("{} {}:{}", demangle(name).as_deref().unwrap_or(name), source.file, source.line)
    };
    source_frames(&trap.backtrace).concat().iter().map(place).collect()
}

#[test]
fn a_trap_in_c_has_its_lines_with_those_of_inlined_functions() {
    let expected = [
        "divide /src/inlined.c:6",
        "mean /src/inlined.c:12",
        "average /src/inlined.c:18",
        "outer /src/inlined.c:22",
        "nested /src/inlined.c:26",
    ];
    let trap = trap(C, "nested");
    assert_eq!(places(&trap), expected);
    // On the second request the locations are already known.
    assert_eq!(places(&trap), expected);
}

#[test]
fn a_trap_in_rust_has_its_lines_and_names() {
    let places = places(&trap(RUST, "measure"));
    assert!(places[0].starts_with("core::core_arch::wasm32::unreachable "));
    assert_eq!(places[1], "<shapes::Circle as shapes::Shape>::area /src/shapes.rs:21");
    assert_eq!(places[2], "shapes::total::{{closure}} /src/shapes.rs:29");
    assert_eq!(places[places.len() - 2], "shapes::total /src/shapes.rs:29");
    assert_eq!(places[places.len() - 1], "measure /src/shapes.rs:34");
}

#[test]
fn names_are_demangled() {
    assert_eq!(demangle("_ZN4core9panicking5panic17h0123456789abcdefE").unwrap(), "core::panicking::panic");
    assert_eq!(demangle("_ZNSt6vectorIiE4sizeEv").unwrap(), "std::vector<int>::size()");
    assert_eq!(demangle("_RNvC6_123foo3bar").unwrap(), "123foo::bar");
    assert_eq!(demangle("main"), None);
    assert_eq!(demangle("_Zwhatever"), None);
}

#[test]
fn a_name_that_expands_without_end_is_cut() {
    // Each substitution is twice as long as the one before.
    let name = format!(
        "_Z1fI1aE{}",
        (0..24)
            .map(|i| {
                let s = if i == 0 {
                    "S_".to_string()
                } else {
                    format!("S{}_", std::char::from_digit(i - 1, 36).unwrap().to_ascii_uppercase())
                };
                format!("1bI{s}{s}E")
            })
            .collect::<String>()
    );
    let started = Instant::now();
    assert!(demangle(&name).is_none_or(|demangled| demangled.len() < 1000));
    assert!(demangle(&format!("_ZN{}E", "3abc".repeat(10_000))).is_none_or(|name| name.len() < 1000));
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// The ranges of the contents of the custom sections for debugging in a module.
fn debug_sections(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let sections = wasmparser::Parser::new(0).parse_all(bytes).filter_map(|payload| match payload {
        Ok(wasmparser::Payload::CustomSection(section)) if section.name().starts_with(".debug") => {
            let start = section.data().as_ptr() as usize - bytes.as_ptr() as usize;
            Some(start..start + section.data().len())
        }
        _ => None,
    });
    sections.collect()
}

#[test]
fn damaged_debug_information_is_survived() {
    let mut random = Random(7);
    let engine = engine();
    for (bytes, export) in [(C, "nested"), (RUST, "measure")] {
        let frames = trap(bytes, export).backtrace.len();
        let sections = debug_sections(bytes).into_iter();
        let places: Vec<(usize, usize)> =
            sections.flat_map(|section| section.clone().map(move |place| (place, section.end))).collect();
        assert!(places.len() > 500);
        for (place, end) in places.into_iter().step_by(3) {
            let mut damaged = bytes.to_vec();
            match random.below(3) {
                0 => damaged[place] ^= 1 << random.below(8),
                1 => damaged[place] = 0xff,
                length => {
                    let end = end.min(place + length + random.below(16));
                    random.fill(&mut damaged[place..end]);
                }
            }
            let found = source_frames(&trap_of(&engine, &damaged, export).backtrace);
            assert_eq!(found.len(), frames);
            let longest =
                |source: &SourceFrame| source.file.len().max(source.function.as_ref().map_or(0, String::len));
            assert!(found.iter().all(|places| places.len() <= 40));
            assert!(found.concat().iter().map(longest).max().unwrap_or(0) < 10_000);
        }
    }
}

/// A module that traps, with these debug sections.
fn with_debug_sections(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut module = enc::Module::new();
    let mut types = enc::TypeSection::new();
    types.ty().function([enc::ValType::I32], []);
    let mut functions = enc::FunctionSection::new();
    functions.function(0);
    let mut exports = enc::ExportSection::new();
    exports.export("run", enc::ExportKind::Func, 0);
    let mut code = enc::CodeSection::new();
    let mut body = enc::Function::new([]);
    body.instructions().unreachable().end();
    code.function(&body);
    module.section(&types).section(&functions).section(&exports).section(&code);
    for (name, data) in sections {
        module.section(&enc::CustomSection { name: (*name).into(), data: (*data).into() });
    }
    module.finish()
}

/// A DWARF 4 unit with these entries. Its abbreviations are at the start of their section.
fn unit(entries: &[u8]) -> Vec<u8> {
    let mut bytes = ((entries.len() + 7) as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(&[4, 0, 0, 0, 0, 0, 4]);
    bytes.extend_from_slice(entries);
    bytes
}

/// Entry 1 is a unit, 2 a function, 3 an inlined function. Each has children and a range.
const ABBREVIATIONS: &[u8] = &[
    1, 0x11, 1, 0x11, 0x01, 0x12, 0x06, 0, 0, //
    2, 0x2e, 1, 0x11, 0x01, 0x12, 0x06, 0, 0, //
    3, 0x1d, 1, 0x11, 0x01, 0x12, 0x06, 0, 0, //
];
/// A range that starts at 1 and is 1000 bytes long.
const RANGE: [u8; 8] = [1, 0, 0, 0, 0xe8, 3, 0, 0];

fn entry(kind: u8) -> Vec<u8> {
    [&[kind][..], &RANGE].concat()
}

/// The time allowed to find locations in a hostile module: much more than it takes, much less than it
/// would take without the bound.
const ENOUGH: Duration = Duration::from_secs(60);

#[test]
fn functions_inlined_a_million_deep_do_not_exhaust_the_stack() {
    let entries = [entry(1), entry(2), entry(3).repeat(1_000_000)].concat();
    let abbreviations = [ABBREVIATIONS, &[0]].concat();
    let bytes = with_debug_sections(&[(".debug_info", &unit(&entries)), (".debug_abbrev", &abbreviations)]);
    let started = Instant::now();
    let found = source_frames(&trap(&bytes, "run").backtrace);
    assert_eq!(found.len(), 1);
    assert!(started.elapsed() < ENOUGH);
}

#[test]
fn units_that_share_large_abbreviations_do_not_take_forever() {
    let mut abbreviations = ABBREVIATIONS.to_vec();
    for code in 4..100_000u32 {
        let code = code | 0x0100_0000;
        abbreviations.extend(
            [0, 7, 14, 21].map(|shift| (code >> shift) as u8 & 0x7f | if shift < 21 { 0x80 } else { 0 }),
        );
        abbreviations.extend_from_slice(&[0x34, 0, 0, 0]);
    }
    abbreviations.push(0);
    let one = unit(&[entry(1), vec![0]].concat());
    let bytes =
        with_debug_sections(&[(".debug_info", &one.repeat(100_000)), (".debug_abbrev", &abbreviations)]);
    let started = Instant::now();
    let trap = trap(&bytes, "run");
    assert_eq!(source_frames(&trap.backtrace), [vec![]]);
    assert!(started.elapsed() < ENOUGH);
    // The allowance is spent, so no further attempt is made.
    let started = Instant::now();
    for _ in 0..1000 {
        source_frames(&trap.backtrace);
    }
    assert!(started.elapsed() < ENOUGH);
}
