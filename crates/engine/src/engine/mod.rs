//! The engine: settings and the compiler, shared by every thread of the process.

mod agenda;
mod file;
mod keeper;
mod lazy;
mod making;
mod module;
mod statistics;

pub use file::{FileResult, Reading};
pub use making::Compiling;
pub use module::{ExportType, ImportType, Module, WeakModule};
pub use statistics::Statistics;

use crate::abi::{MemoryStyle, Tunables};
use crate::code::{self, Cache, CodeObject, Key, LazyCode};
use crate::compile::{Compiler, OptLevel};
use crate::error::CompileError;
use crate::pages::Pool;
use crate::parse::FEATURES;
use crate::pool;
use crate::sys::Mmap;
use crate::table_pages::TablePool;
use crate::types::{SharedFuncType, TypeId};
use making::Modules;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use wasmparser::WasmFeatures;

/// How modules are compiled and run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    pub opt_level: OptLevel,
    /// Number of threads that compile one module.
    pub threads: usize,
    /// The proposals a module may use.
    pub features: WasmFeatures,
    /// The memory style. `None` lets the engine check what the address space allows.
    pub memory: Option<MemoryStyle>,
    /// The style of shared memories. `None` means the same as for others. Memory of the host
    /// (`SharedMemory::of_host`) needs the bounded style.
    pub shared_memory: Option<MemoryStyle>,
    pub trap_mode: TrapMode,
    /// Whether loops poll for a request to stop: see `Store::interrupt_handle`.
    pub interruptible: bool,
    /// Whether operators are counted: see `Store::set_fuel`.
    pub fuel: bool,
    /// Bytes of stack that wasm may use, counted from where the host enters it. Less if the thread's stack
    /// has less left.
    pub max_wasm_stack: usize,
    /// Where compiled code is cached for other processes. `None` disables the cache.
    pub cache: Option<Cache>,
    /// When functions are compiled.
    pub tiers: Tiers,
}

/// When functions are compiled. Their final code is the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tiers {
    /// All before the module is ready.
    Eager,
    /// If the module's functions have at least `from` bytes: each quickly at its first call, and all of them in the
    /// background as `opt_level` says.
    Lazy { from: usize },
    /// For tests: each at its first call, without threads in the background. Some calls compile everything so far
    /// as `opt_level` says, so that code changes in the middle of execution. Also small tables are filled where they
    /// are first used.
    Stepped,
}

impl Tiers {
    /// Compiling less than this ahead takes a few milliseconds.
    pub const DEFAULT: Tiers = Tiers::Lazy { from: 4 << 10 };

    /// Whether a module with this much code is compiled while it runs.
    fn are_lazy_for(self, code: usize) -> bool {
        LazyCode::has_room(code)
            && match self {
                Tiers::Eager => false,
                Tiers::Lazy { from } => code >= from,
                Tiers::Stepped => code > 0,
            }
    }
}

/// How compiled code traps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TrapMode {
    /// By faults, which our signal handler turns into traps.
    #[default]
    Signals,
    /// By explicit checks only. No signal handler is installed.
    Explicit,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            opt_level: OptLevel::Speed,
            threads: pool::cores().min(8),
            features: FEATURES,
            memory: None,
            shared_memory: None,
            trap_mode: TrapMode::Signals,
            interruptible: true,
            fuel: false,
            // A limit is needed even if the system does not limit a thread's stack (`ulimit -s unlimited`).
            // Otherwise endless recursion would use all memory.
            max_wasm_stack: 64 << 20,
            cache: None,
            tiers: Tiers::DEFAULT,
        }
    }
}

/// Compiles modules, and holds the settings for running them.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    config: Config,
    tunables: Tunables,
    /// A hash of everything that code depends on except the module.
    settings: [u8; 32],
    compiler: Compiler,
    pool: Arc<Pool>,
    table_pool: Arc<TablePool>,
    modules: Modules,
    counts: statistics::Counts,
    /// Trampolines for host function types for which no module has any, by type.
    trampolines: Mutex<HashMap<TypeId, Weak<CodeObject>>>,
}

impl Engine {
    /// Fails if no code can be compiled for this machine.
    pub fn new(config: &Config) -> Result<Engine, CompileError> {
        let memory = config.memory.unwrap_or_else(|| {
            // Under a limit on the address space (`ulimit -v`) one reservation may fit, but not one for a
            // second memory. So this asks for several.
            let room = Mmap::reserve(64 << 30).is_ok();
            if room { MemoryStyle::Reserved } else { MemoryStyle::Bounded }
        });
        let tunables = Tunables {
            memory,
            shared_memory: config.shared_memory.unwrap_or(memory),
            signals: config.trap_mode == TrapMode::Signals,
            interruptible: config.interruptible,
            fuel: config.fuel,
        };
        let compiler = Compiler::new(config.opt_level)?;
        // A hash of the sources is used instead of a version, because there are many builds between two
        // versions.
        let settings = format!(
            "{} {tunables:?} {} {}",
            env!("ENGINE_SOURCES"),
            config.features.bits(),
            compiler.settings()
        );
        Ok(Engine(Arc::new(Inner {
            config: config.clone(),
            tunables,
            settings: *blake3::hash(settings.as_bytes()).as_bytes(),
            compiler,
            pool: Arc::default(),
            table_pool: Arc::default(),
            modules: Modules::default(),
            counts: statistics::Counts::default(),
            trampolines: Mutex::default(),
        })))
    }

    /// Whether both are handles to the same engine.
    pub(crate) fn same(&self, other: &Engine) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub fn config(&self) -> &Config {
        &self.0.config
    }

    pub fn tunables(&self) -> Tunables {
        self.0.tunables
    }

    pub fn features(&self) -> WasmFeatures {
        self.0.config.features
    }

    pub fn threads(&self) -> usize {
        self.0.config.threads
    }

    pub fn max_wasm_stack(&self) -> usize {
        self.0.config.max_wasm_stack
    }

    /// Where compiled code is cached for other processes.
    pub fn cache(&self) -> Option<&Cache> {
        self.0.config.cache.as_ref()
    }

    /// From how many elements on a table of functions is filled where it is first used. That takes a fault, in which
    /// time a smaller one is filled as a whole.
    pub(crate) fn fills_later_from(&self) -> Option<u64> {
        let from = if self.0.config.tiers == Tiers::Stepped { 1 } else { 512 };
        self.0.tunables.signals.then_some(from)
    }

    /// The key of a module's code when compiled by this engine.
    pub(crate) fn key(&self, module: &[u8; 32]) -> Key {
        Key { settings: self.0.settings, module: *module }
    }

    /// The address space for memories.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.0.pool
    }

    /// The address space for tables.
    pub(crate) fn table_pool(&self) -> &Arc<TablePool> {
        &self.0.table_pool
    }

    pub(crate) fn compiler(&self) -> &Compiler {
        &self.0.compiler
    }

    /// Compiles trampolines for a host function type for which no module has any.
    pub(crate) fn compile_trampolines(&self, ty: &SharedFuncType) -> Result<Arc<CodeObject>, CompileError> {
        let mut trampolines = self.0.trampolines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = trampolines.get(&ty.id()).and_then(Weak::upgrade) {
            return Ok(known);
        }
        if trampolines.len() >= 64 && trampolines.len().is_power_of_two() {
            trampolines.retain(|_, code| code.strong_count() > 0);
        }
        let compiled = self.compiler().compile_trampolines(ty.ty())?;
        // It is never looked up by key.
        let artifact = code::link(&self.compiler().isa, &compiled, Key::default())?;
        let code = Arc::new(CodeObject::of_trampolines(artifact, ty.id()));
        trampolines.insert(ty.id(), Arc::downgrade(&code));
        Ok(code)
    }

    /// What it took to make modules until now.
    pub fn statistics(&self) -> Statistics {
        self.0.counts.read()
    }

    pub(crate) fn modules(&self) -> &Modules {
        &self.0.modules
    }
}
