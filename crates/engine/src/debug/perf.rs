//! Tells Linux's `perf` which functions of guests are where, if somebody asks for it ([`log_code`]).
//!
//! Public; told by `code/` of all code that becomes executable. Invariants: without [`log_code`] it costs one load.
//! A file that cannot be written ends the log, and nothing else.

use super::demangle;
use crate::sys::{monotonic_nanoseconds, name_for_perf, open_shared_log, thread_id};
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process;
use std::sync::{Mutex, OnceLock, PoisonError};

/// The two ways to tell it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodeLog {
    /// `/tmp/perf-PID.map`: addresses and names. `perf report` reads it, and V8 writes there with
    /// `--perf-basic-prof`.
    Map,
    /// `jit-PID.dump` in the working directory: the code, too. `perf inject --jit` reads it.
    Dump,
}

struct Log {
    kind: CodeLog,
    file: File,
    /// The number of functions until now.
    functions: u64,
}

/// What `perf` reads is one file for a process.
static LOG: OnceLock<Mutex<Option<Log>>> = OnceLock::new();

/// A piece of code.
pub struct Logged<'a> {
    pub code: &'a [u8],
    /// As the module has it, if it has one.
    pub name: Option<String>,
    pub index: u32,
}

/// Logs all code that is made from now on. The first call decides; another with the same or another kind changes
/// nothing.
pub fn log_code(kind: CodeLog) -> io::Result<()> {
    let mut result = Ok(());
    LOG.get_or_init(|| {
        let opened = open(kind);
        let log = opened.map_err(|error| result = Err(error)).ok();
        Mutex::new(log)
    });
    result
}

/// Whether code is logged.
pub fn is_logged() -> bool {
    LOG.get().is_some()
}

/// Logs functions of a module.
pub fn log<'a>(functions: impl Iterator<Item = Logged<'a>>) {
    let Some(log) = LOG.get() else { return };
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(open) = &mut *log else { return };
    let mut text = Vec::new();
    functions.for_each(|function| open.append(&mut text, &function));
    if open.file.write_all(&text).is_err() {
        *log = None;
    }
}

fn open(kind: CodeLog) -> io::Result<Log> {
    let pid = process::id();
    let path = match kind {
        CodeLog::Map => PathBuf::from(format!("/tmp/perf-{pid}.map")),
        CodeLog::Dump => PathBuf::from(format!("jit-{pid}.dump")),
    };
    let mut file = open_shared_log(&path)?;
    if kind == CodeLog::Dump {
        // Another engine of this process may have begun it.
        if file.metadata()?.len() == 0 {
            let machine: u32 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
            let mut header = Vec::new();
            for word in [MAGIC, VERSION, HEADER, machine, 0, pid] {
                header.extend(word.to_ne_bytes());
            }
            header.extend(monotonic_nanoseconds().to_ne_bytes());
            header.extend(0u64.to_ne_bytes());
            file.write_all(&header)?;
        }
        name_for_perf(&file)?;
    }
    Ok(Log { kind, file, functions: 0 })
}

// The format of the kernel's tools/perf/Documentation/jitdump-specification.txt.
/// `JiTD`.
const MAGIC: u32 = 0x4a69_5444;
const VERSION: u32 = 1;
/// Bytes of the header.
const HEADER: u32 = 40;
const CODE_LOAD: u32 = 0;
/// Bytes of the record of a function before its name.
const LOAD: usize = 56;

/// Bytes of a name that are written.
const MAX_NAME: usize = 512;

impl Log {
    fn append(&mut self, text: &mut Vec<u8>, Logged { code, name, index }: &Logged<'_>) {
        let name = match name {
            Some(name) => demangle(name).unwrap_or_else(|| name.clone()),
            None => format!("wasm-function[{index}]"),
        };
        // A line is a function, and names are the guest's.
        let name = name.replace(char::is_control, "\u{fffd}");
        let name = &name[..name.floor_char_boundary(MAX_NAME)];
        let address = code.as_ptr() as u64;
        match self.kind {
            // Writing to a vector cannot fail.
            CodeLog::Map => drop(writeln!(text, "{address:x} {:x} wasm:{name}", code.len())),
            CodeLog::Dump => {
                let size = LOAD + name.len() + 1 + code.len();
                for word in [CODE_LOAD, u32::try_from(size).unwrap_or(u32::MAX)] {
                    text.extend(word.to_ne_bytes());
                }
                text.extend(monotonic_nanoseconds().to_ne_bytes());
                for word in [process::id(), thread_id()] {
                    text.extend(word.to_ne_bytes());
                }
                for word in [address, address, code.len() as u64, self.functions] {
                    text.extend(word.to_ne_bytes());
                }
                text.extend(name.as_bytes());
                text.push(0);
                text.extend(*code);
            }
        }
        self.functions += 1;
    }
}
