//! The wasmtime side of the benchmarks.
//!
//! benches/sides.mjs starts this program and asks it for one measurement at a time, so that ours
//! and wasmtime's take turns within one run. A request is one line of tab-separated words, the
//! reply is one line: `ok` or `error`, then words again. Times are nanoseconds.
//!
//!     compile PATH                      -> time                 compile once and throw away
//!     complete PATH                     -> time                 the same: all of it is compiled then
//!     program PATH ARG...               -> time                 a program, in whose arguments `\n` is a new line
//!     load NAME PATH [GUEST=HOST...]    ->                      keep an instance, with preopened directories
//!     call NAME EXPORT [I32...]         -> time, [RESULT]       call an export once
//!     enter NAME EXPORT COUNT           -> time                 COUNT calls of an (i32, i32) -> i32
//!     write NAME ADDRESS HEX            ->                      bytes into memory
//!     read NAME ADDRESS LENGTH          -> HEX                  bytes out of memory
//!     instantiate PATH COUNT            -> time                 COUNT new instances, each thrown away
//!     pooled PATH COUNT                 -> time                 the same with the pooling allocator
//!     runs PATH COUNT                   -> time                 COUNT programs on as many threads as there are cores
//!     free NAME                         ->

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use wasmtime::error::Context;
use wasmtime::{
    Config, Engine, Instance, InstanceAllocationStrategy, Linker, Memory, Module, Result, Store,
    Val, bail, format_err,
};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtxBuilder};

struct Guest {
    store: Store<WasiP1Ctx>,
    instance: Instance,
}

struct Peer {
    engine: Engine,
    /// The same, with the pooling allocator.
    pooling: Engine,
    modules: HashMap<(String, bool), Module>,
    guests: HashMap<String, Guest>,
}

fn main() -> Result<()> {
    let mut config = Config::new();
    // The rest stays as wasmtime ships it: optimised for speed, guard pages, all cores.
    config.wasm_exceptions(true);
    // CRuby's parser goes deeper than the default half MiB.
    config.max_wasm_stack(1 << 20);
    let engine = Engine::new(&config)?;
    config.allocation_strategy(InstanceAllocationStrategy::pooling());
    let mut peer = Peer {
        engine,
        pooling: Engine::new(&config)?,
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
            // Compiled code is complete at once here.
            ["complete", path] => self.answer(&["compile", path]),
            ["program", path, args @ ..] => self.program(path, args),
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
                self.instantiate(path, count.parse()?, false)
            }
            ["pooled", path, count] => self.instantiate(path, count.parse()?, true),
            ["runs", path, count] => self.runs(path, count.parse()?),
            ["free", name] => {
                self.guests.remove(*name);
                Ok(String::new())
            }
            _ => bail!("not a request: {}", words.join(" ")),
        }
    }

    fn instantiate(&mut self, path: &str, count: u32, pooled: bool) -> Result<String> {
        let module = self.compiled_for(path, pooled)?;
        let mut linker: Linker<()> = Linker::new(module.engine());
        linker.define_unknown_imports_as_traps(&module)?;
        let ready = linker.instantiate_pre(&module)?;
        let (time, outcome) = timed(|| -> Result<()> {
            for _ in 0..count {
                ready.instantiate(&mut Store::new(module.engine(), ()))?;
            }
            Ok(())
        });
        outcome?;
        Ok(time)
    }

    /// As an embedder serves requests: threads that stay, and a store for each program.
    fn runs(&mut self, path: &str, count: u32) -> Result<String> {
        let module = self.compiled_for(path, true)?;
        let mut linker: Linker<WasiP1Ctx> = Linker::new(module.engine());
        p1::add_to_linker_sync(&mut linker, |wasi| wasi)?;
        let ready = linker.instantiate_pre(&module)?;
        let left = AtomicU32::new(count);
        let serve = || -> Result<()> {
            while left
                .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
                .is_ok()
            {
                let mut wasi = WasiCtxBuilder::new();
                wasi.allow_blocking_current_thread(true);
                let mut store = Store::new(module.engine(), wasi.build_p1());
                let instance = ready.instantiate(&mut store)?;
                let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
                match start.call(&mut store, ()) {
                    Err(error) if !matches!(error.downcast_ref(), Some(I32Exit(0))) => {
                        return Err(error);
                    }
                    _ => {}
                }
            }
            Ok(())
        };
        let threads = std::thread::available_parallelism()?.get();
        let (time, outcome) = timed(|| {
            std::thread::scope(|scope| {
                let servers: Vec<_> = (0..threads).map(|_| scope.spawn(serve)).collect();
                servers.into_iter().try_for_each(|server| {
                    server
                        .join()
                        .unwrap_or_else(|_| bail!("a thread panicked"))
                })
            })
        });
        outcome?;
        Ok(time)
    }

    fn program(&mut self, path: &str, args: &[&str]) -> Result<String> {
        let module = self.compiled(path)?;
        let mut linker: Linker<WasiP1Ctx> = Linker::new(&self.engine);
        p1::add_to_linker_sync(&mut linker, |wasi| wasi)?;
        let (time, outcome) = timed(|| -> Result<()> {
            let mut wasi = WasiCtxBuilder::new();
            wasi.allow_blocking_current_thread(true).arg("program");
            args.iter().for_each(|word| _ = wasi.arg(word.replace("\\n", "\n")));
            let mut store = Store::new(&self.engine, wasi.build_p1());
            linker.define_unknown_imports_as_default_values(&mut store, &module)?;
            let instance = linker.instantiate(&mut store, &module)?;
            let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
            match start.call(&mut store, ()) {
                Err(error) if !matches!(error.downcast_ref(), Some(I32Exit(0))) => Err(error),
                _ => Ok(()),
            }
        });
        outcome?;
        Ok(time)
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
        self.compiled_for(path, false)
    }

    fn compiled_for(&mut self, path: &str, pooled: bool) -> Result<Module> {
        let key = (path.to_owned(), pooled);
        if let Some(module) = self.modules.get(&key) {
            return Ok(module.clone());
        }
        let engine = if pooled { &self.pooling } else { &self.engine };
        let module = Module::from_file(engine, path)?;
        self.modules.insert(key, module.clone());
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
