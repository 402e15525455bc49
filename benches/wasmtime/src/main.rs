//! The wasmtime side of the benchmarks.
//!
//! benches/sides.mjs starts this program and asks it for one measurement at a time, so that ours
//! and wasmtime's take turns within one run. A request is one line of tab-separated words, the
//! reply is one line: `ok` or `error`, then words again. Times are nanoseconds.
//!
//!     compile PATH                      -> time                 compile once and throw away
//!     load NAME PATH [GUEST=HOST...]    ->                      keep an instance, with preopened directories
//!     call NAME EXPORT [I32...]         -> time, [RESULT]       call an export once
//!     enter NAME EXPORT COUNT           -> time                 COUNT calls of an (i32, i32) -> i32
//!     write NAME ADDRESS HEX            ->                      bytes into memory
//!     read NAME ADDRESS LENGTH          -> HEX                  bytes out of memory
//!     instantiate PATH COUNT            -> time                 COUNT new instances, each thrown away
//!     free NAME                         ->

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use wasmtime::error::Context;
use wasmtime::{
    Config, Engine, Instance, Linker, Memory, Module, Result, Store, Val, bail, format_err,
};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

struct Guest {
    store: Store<WasiP1Ctx>,
    instance: Instance,
}

struct Peer {
    engine: Engine,
    modules: HashMap<String, Module>,
    guests: HashMap<String, Guest>,
}

fn main() -> Result<()> {
    let mut config = Config::new();
    // The rest stays as wasmtime ships it: optimised for speed, guard pages, all cores.
    config.wasm_exceptions(true);
    // CRuby's parser goes deeper than the default half MiB.
    config.max_wasm_stack(1 << 20);
    let mut peer = Peer {
        engine: Engine::new(&config)?,
        modules: HashMap::new(),
        guests: HashMap::new(),
    };

    let mut stdout = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split('\t').collect();
        match peer.answer(&words) {
            Ok(reply) => writeln!(stdout, "ok\t{reply}")?,
            Err(error) => writeln!(stdout, "error\t{}", format!("{error:#}").replace('\n', " "))?,
        }
        stdout.flush()?;
    }
    Ok(())
}

impl Peer {
    fn answer(&mut self, words: &[&str]) -> Result<String> {
        match words {
            ["compile", path] => {
                let bytes = std::fs::read(path)?;
                let (time, module) = timed(|| Module::new(&self.engine, &bytes));
                module?;
                Ok(time)
            }
            ["load", name, path, directories @ ..] => self.load(name, path, directories),
            ["call", name, export, arguments @ ..] => {
                let guest = self.guest(name)?;
                let function = guest
                    .instance
                    .get_func(&mut guest.store, export)
                    .ok_or_else(|| format_err!("no export named {export}"))?;
                let arguments = arguments
                    .iter()
                    .map(|word| Ok(Val::I32(word.parse()?)))
                    .collect::<Result<Vec<_>>>()?;
                let mut results = vec![Val::I32(0); function.ty(&guest.store).results().len()];
                let (time, outcome) =
                    timed(|| function.call(&mut guest.store, &arguments, &mut results));
                outcome?;
                Ok(match results.first() {
                    Some(result) => format!("{time}\t{}", result.i32().context("not an i32")?),
                    None => time,
                })
            }
            ["enter", name, export, count] => {
                let guest = self.guest(name)?;
                let function = guest
                    .instance
                    .get_typed_func::<(i32, i32), i32>(&mut guest.store, export)?;
                let count: u32 = count.parse()?;
                let (time, outcome) = timed(|| -> Result<i32> {
                    let mut value = 0;
                    for _ in 0..count {
                        value = function.call(&mut guest.store, (value, 1))?;
                    }
                    Ok(value)
                });
                outcome?;
                Ok(time)
            }
            ["write", name, address, hex] => {
                let guest = self.guest(name)?;
                let memory = guest.memory()?;
                memory.write(&mut guest.store, address.parse()?, &from_hex(hex)?)?;
                Ok(String::new())
            }
            ["read", name, address, length] => {
                let guest = self.guest(name)?;
                let memory = guest.memory()?;
                let mut bytes = vec![0; length.parse()?];
                memory.read(&guest.store, address.parse()?, &mut bytes)?;
                Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
            }
            ["instantiate", path, count] => {
                let module = self.compiled(path)?;
                let mut linker: Linker<()> = Linker::new(&self.engine);
                linker.define_unknown_imports_as_traps(&module)?;
                let ready = linker.instantiate_pre(&module)?;
                let count: u32 = count.parse()?;
                let (time, outcome) = timed(|| -> Result<()> {
                    for _ in 0..count {
                        ready.instantiate(&mut Store::new(&self.engine, ()))?;
                    }
                    Ok(())
                });
                outcome?;
                Ok(time)
            }
            ["free", name] => {
                self.guests.remove(*name);
                Ok(String::new())
            }
            _ => bail!("not a request: {}", words.join(" ")),
        }
    }

    fn load(&mut self, name: &str, path: &str, directories: &[&str]) -> Result<String> {
        let module = self.compiled(path)?;
        let mut wasi = WasiCtxBuilder::new();
        // Without it every file operation is sent to another thread: slower, and not how ours works.
        wasi.allow_blocking_current_thread(true);
        for directory in directories {
            let (guest, host) = directory.split_once('=').context("not GUEST=HOST")?;
            wasi.preopened_dir(host, guest, FsPerms::ReadWrite)?;
        }
        let mut store = Store::new(&self.engine, wasi.build_p1());
        let mut linker = Linker::new(&self.engine);
        p1::add_to_linker_sync(&mut linker, |wasi| wasi)?;
        // What the boundary kernel imports.
        linker.func_wrap("env", "increment", |value: i32| value.wrapping_add(1))?;
        // CRuby's JavaScript bridge.
        linker.define_unknown_imports_as_default_values(&mut store, &module)?;
        let instance = linker.instantiate(&mut store, &module)?;
        self.guests
            .insert(name.to_owned(), Guest { store, instance });
        Ok(String::new())
    }

    fn compiled(&mut self, path: &str) -> Result<Module> {
        if let Some(module) = self.modules.get(path) {
            return Ok(module.clone());
        }
        let module = Module::from_file(&self.engine, path)?;
        self.modules.insert(path.to_owned(), module.clone());
        Ok(module)
    }

    fn guest(&mut self, name: &str) -> Result<&mut Guest> {
        self.guests
            .get_mut(name)
            .ok_or_else(|| format_err!("nothing loaded as {name}"))
    }
}

impl Guest {
    fn memory(&mut self) -> Result<Memory> {
        self.instance
            .get_memory(&mut self.store, "memory")
            .context("no exported memory")
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (String, T) {
    let start = Instant::now();
    let result = work();
    let elapsed: Duration = start.elapsed();
    (elapsed.as_nanos().to_string(), result)
}

fn from_hex(hex: &str) -> Result<Vec<u8>> {
    (0..hex.len())
        .step_by(2)
        .map(|at| Ok(u8::from_str_radix(&hex[at..at + 2], 16)?))
        .collect()
}
