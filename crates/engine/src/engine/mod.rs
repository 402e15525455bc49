//! The engine: settings and the compiler, shared by every thread of the process.

mod making;
mod module;

pub use making::Compiling;
pub use module::{ExportType, ImportType, Module, WeakModule};

use crate::abi::{MemoryStyle, Tunables};
use crate::code::{self, Cache, CodeObject, Key};
use crate::compile::{Compiler, OptLevel};
use crate::error::CompileError;
use crate::pages::Pool;
use crate::parse::FEATURES;
use crate::sys::Mmap;
use crate::types::{SharedFuncType, TypeId};
use making::Modules;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use wasmparser::WasmFeatures;

/// How modules are compiled and run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    pub opt_level: OptLevel,
    /// Threads that compile one module.
    pub threads: usize,
    /// The proposals a module may use.
    pub features: WasmFeatures,
    /// How memories lie; `None` lets the engine see what the address space allows.
    pub memory: Option<MemoryStyle>,
    /// How shared memories lie; `None` means as the others. Bytes of the host's own
    /// (`SharedMemory::of_host`) need them bounded.
    pub shared_memory: Option<MemoryStyle>,
    pub trap_mode: TrapMode,
    /// Whether loops look for a request to stop: see `Store::interrupt_handle`.
    pub interruptible: bool,
    /// Whether operators are counted: see `Store::set_fuel`.
    pub fuel: bool,
    /// Bytes of stack that wasm may use, counted from where the host enters it; less where the thread's
    /// stack has no more.
    pub max_wasm_stack: usize,
    /// Where compiled code is kept for other processes; `None` for nowhere.
    pub cache: Option<Cache>,
}

/// How compiled code comes to its traps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TrapMode {
    /// By faults that a signal handler of ours turns into traps.
    #[default]
    Signals,
    /// By checks alone: no signal handler is installed.
    Explicit,
}

impl Default for Config {
    fn default() -> Config {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Config {
            opt_level: OptLevel::Speed,
            threads: cores.min(8),
            features: FEATURES,
            memory: None,
            shared_memory: None,
            trap_mode: TrapMode::Signals,
            interruptible: true,
            fuel: false,
            // Where the system sets a thread no bound (`ulimit -s unlimited`) there is one nevertheless, or
            // endless recursion would take all memory.
            max_wasm_stack: 64 << 20,
            cache: None,
        }
    }
}

/// Compiles modules and holds the settings of what runs them.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    config: Config,
    tunables: Tunables,
    /// A hash of all that code depends on but for the module.
    settings: [u8; 32],
    compiler: Compiler,
    pool: Arc<Pool>,
    modules: Modules,
    /// Trampolines for host functions that no module has made any for, by their types.
    trampolines: Mutex<HashMap<TypeId, Weak<CodeObject>>>,
}

impl Engine {
    /// Fails if no code can be made for this machine.
    pub fn new(config: &Config) -> Result<Engine, CompileError> {
        let memory = config.memory.unwrap_or_else(|| {
            // Under a limit on the address space (`ulimit -v`) a reservation may fit once but
            // not for a second memory, so ask for a few.
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
        // The sources stand for our version: between two versions there are many builds.
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
            modules: Modules::default(),
            trampolines: Mutex::default(),
        })))
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

    /// Where compiled code is kept for other processes.
    pub fn cache(&self) -> Option<&Cache> {
        self.0.config.cache.as_ref()
    }

    /// By what the code of a module is found that this engine makes.
    pub(crate) fn key(&self, module: &[u8; 32]) -> Key {
        Key { settings: self.0.settings, module: *module }
    }

    /// Address space for memories.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.0.pool
    }

    pub(crate) fn compiler(&self) -> &Compiler {
        &self.0.compiler
    }

    /// Trampolines for a host function that no module has made any for.
    pub(crate) fn compile_trampolines(&self, ty: &SharedFuncType) -> Result<Arc<CodeObject>, CompileError> {
        let mut trampolines = self.0.trampolines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = trampolines.get(&ty.id()).and_then(Weak::upgrade) {
            return Ok(known);
        }
        if trampolines.len() >= 64 && trampolines.len().is_power_of_two() {
            trampolines.retain(|_, code| code.strong_count() > 0);
        }
        let compiled = self.compiler().compile_trampolines(ty.ty())?;
        // Nobody looks for it.
        let artifact = code::link(&self.compiler().isa, &compiled, Key::default())?;
        let code = Arc::new(CodeObject::of_trampolines(artifact, ty.id()));
        trampolines.insert(ty.id(), Arc::downgrade(&code));
        Ok(code)
    }

    pub(crate) fn modules(&self) -> &Modules {
        &self.0.modules
    }
}
