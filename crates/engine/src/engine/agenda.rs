//! What of a module that is compiled while it runs is made, and what comes next.
//!
//! Plain data of `lazy.rs`, which locks it and does the work. Invariant: each function is begun at most once in each
//! tier.

use crate::code::{Made, Piece};
use crate::compile::{CompiledFunction, Tier, Worker};
use crate::error::CompileError;
use crate::parse::info::{DefinedFuncIndex, ModuleInfo};
use crate::progress::Tally;
use cranelift_entity::PrimaryMap;
use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is made. It is locked for as long as code is added to the table.
pub struct Agenda {
    pub functions: PrimaryMap<DefinedFuncIndex, Function>,
    /// Functions that may be called soon, and how many calls they are away.
    pub likely: VecDeque<(DefinedFuncIndex, usize)>,
    /// Functions that are made, but no call leads to their code yet.
    pub ready: Vec<DefinedFuncIndex>,
    /// Functions that were called, in the order of their first calls, and then the large ones of them.
    called: [VecDeque<DefinedFuncIndex>; 2],
    /// All functions, the smallest last. Sorted when they are first needed.
    all: Option<Vec<DefinedFuncIndex>>,
    /// The number of functions without better code.
    pub left: usize,
    /// The same in bytes, for those who watch.
    pub tally: Arc<Tally>,
    pub info: Arc<ModuleInfo>,
    /// Whether a thread links everything.
    pub linking: bool,
    pub failed: Option<CompileError>,
    /// Hot loops, by function and offset of the operator in the module.
    pub loops: HashMap<(DefinedFuncIndex, u32), Loop>,
    /// Those for which no code is made yet, and then those in large functions.
    hot: [VecDeque<(DefinedFuncIndex, u32)>; 2],
    /// First calls so far.
    pub steps: usize,
    pub workers: Vec<Worker>,
    begun: Instant,
    /// When the functions made so far are stored next.
    pub store: Store,
}

/// What is stored for processes that come later, in case this one ends too soon.
pub struct Store {
    pub next: Instant,
    /// Doubled each time.
    pub interval: Duration,
    /// Whether anything was made since the last time.
    pub changed: bool,
    /// Bytes of code since then.
    bytes: usize,
    /// Whether the trampolines are stored.
    pub trampolines: bool,
    /// What is stored of functions that were not called.
    pub others: Others,
}

/// The functions that earlier processes have made, but none has called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// They are not needed yet.
    NotLoaded,
    Loading,
    Loaded,
}

#[derive(Clone, Default)]
pub struct Function {
    /// The code of the first tier, until it is stored.
    pub first: Option<Made>,
    /// The tier of the code that is stored for a function that was called.
    pub stored: Option<Tier>,
    /// Whether it is stored as one that was not called.
    pub stored_apart: bool,
    /// The tier of the code that a call leads to.
    pub placed: Option<Tier>,
    /// Whether a thread compiles it in the first tier.
    pub making: bool,
    /// Whether one of its loops turned often.
    pub hot: bool,
    pub best: Best,
}

impl Function {
    /// Whether it has no code and no thread makes any.
    fn is_missing(&self) -> bool {
        self.placed.is_none() && !self.making && self.first.is_none() && matches!(self.best, Best::Missing)
    }

    /// The code that is made and may not be in use yet.
    pub fn made(&self) -> Option<(Tier, &Made)> {
        match (&self.best, &self.first) {
            (Best::Made(best), _) => Some((Tier::Best, best)),
            (_, Some(first)) => Some((Tier::First, first)),
            _ => None,
        }
    }
}

/// The better code of a function.
#[derive(Clone, Default)]
pub enum Best {
    #[default]
    Missing,
    Making,
    Made(Made),
    /// It is in the whole artifact.
    Linked,
}

/// Code that begins at a hot loop.
#[derive(Clone, Copy)]
pub enum Loop {
    Missing,
    /// At this address.
    Made(usize),
}

/// What a thread can do next.
pub enum Job {
    Loop(DefinedFuncIndex, u32),
    First(DefinedFuncIndex, usize),
    /// Storing is due.
    Store,
    Best(DefinedFuncIndex),
    /// To load what earlier processes have made.
    Others,
    Link(Vec<Arc<CompiledFunction>>),
}

/// A function of more bytes than this takes long to compile, so the others come first. A process that ends soon has
/// made these then, and leaves them to the next one.
const LARGE: usize = 16 << 10;
/// It is compiled when the module is there for this time for each of its bytes, which is twice what that takes. Whoever
/// calls a function meanwhile waits for it, and a process that ends soon compiles it in vain.
const DUE: Duration = Duration::from_micros(3);
/// Functions are stored before they take more memory than this, in bytes of code.
const MUCH: usize = 4 << 20;
/// When the functions made so far are first stored.
const FIRST_STORE: Duration = Duration::from_millis(40);

impl Agenda {
    /// The agenda of a module of which nothing is made yet.
    pub fn new(info: &Arc<ModuleInfo>, tally: &Arc<Tally>) -> Agenda {
        let functions = info.bodies.keys().map(|_| Function::default()).collect();
        // The largest function is the main loop of many programs. When it is called, it should be made.
        let largest = info.bodies.keys().max_by_key(|index| info.bodies[*index].len());
        let mut agenda = Agenda {
            functions,
            likely: VecDeque::new(),
            ready: Vec::new(),
            called: Default::default(),
            left: info.bodies.len(),
            tally: tally.clone(),
            info: info.clone(),
            all: None,
            linking: false,
            failed: None,
            loops: HashMap::new(),
            hot: Default::default(),
            steps: 0,
            workers: Vec::new(),
            begun: Instant::now(),
            store: Store {
                next: Instant::now() + FIRST_STORE,
                interval: FIRST_STORE,
                changed: false,
                bytes: 0,
                trampolines: false,
                others: Others::NotLoaded,
            },
        };
        largest.into_iter().for_each(|index| agenda.called(index));
        agenda
    }

    fn is_large(&self, index: DefinedFuncIndex) -> bool {
        self.info.bodies[index].len() > LARGE
    }

    /// A function was called for the first time.
    pub fn called(&mut self, index: DefinedFuncIndex) {
        let large = self.is_large(index);
        self.called[usize::from(large)].push_back(index);
    }

    /// A loop of a function turns often. Returns whether there is something to do now that was not there before.
    pub fn hot(&mut self, index: DefinedFuncIndex, at: u32) -> bool {
        let large = usize::from(self.is_large(index));
        let function = &mut self.functions[index];
        // If it is called again soon, it needs no code that begins at the loop.
        if self.failed.is_none() && !matches!(function.best, Best::Made(_) | Best::Linked) {
            if !std::mem::replace(&mut function.hot, true) {
                self.called[large].push_front(index);
            }
            return false;
        }
        self.loops.insert((index, at), Loop::Missing);
        self.hot[large].push_back((index, at));
        true
    }

    fn is_due(&self, index: DefinedFuncIndex) -> bool {
        self.begun.elapsed() >= DUE * self.info.bodies[index].len() as u32
    }

    /// The next function that was called and is small, or else is due.
    fn next_due(&mut self) -> Option<DefinedFuncIndex> {
        self.called[0].pop_front().or_else(|| {
            let next = *self.called[1].front()?;
            self.is_due(next).then(|| self.called[1].pop_front()).flatten()
        })
    }

    /// The next function, called or not.
    fn next_of_all(&mut self) -> Option<DefinedFuncIndex> {
        let all = self.all.get_or_insert_with(|| {
            let mut all: Vec<DefinedFuncIndex> = self.info.bodies.keys().collect();
            all.sort_by_key(|index| Reverse(self.info.bodies[*index].len()));
            all
        });
        all.pop()
    }

    /// For tests: the next function that was called.
    pub fn next_called(&mut self) -> Option<DefinedFuncIndex> {
        self.called.iter_mut().find_map(VecDeque::pop_front)
    }

    /// Everything is made.
    pub fn clear(&mut self) {
        (self.likely, self.ready, self.called) = Default::default();
        self.workers = Vec::new();
    }

    /// What to do next.
    pub fn next(&mut self) -> Option<Job> {
        let goes_on = self.failed.is_none() && !self.linking;
        if let Some((index, at)) = self.hot[0].pop_front() {
            return Some(Job::Loop(index, at));
        }
        if let Some((index, at)) = self.hot[1].front().copied()
            && (!goes_on || self.is_due(index))
        {
            self.hot[1].pop_front();
            return Some(Job::Loop(index, at));
        }
        if !goes_on {
            return None;
        }
        if self.store.bytes > MUCH {
            return Some(Job::Store);
        }
        while let Some((index, away)) = self.likely.pop_front() {
            let function = &mut self.functions[index];
            if function.is_missing() {
                function.making = true;
                return Some(Job::First(index, away));
            }
        }
        if self.store.changed && Instant::now() >= self.store.next {
            return Some(Job::Store);
        }
        while let Some(index) = self.next_due() {
            if let Some(job) = self.begin_best(index) {
                return Some(job);
            }
        }
        if self.store.others == Others::NotLoaded {
            self.store.others = Others::Loading;
            return Some(Job::Others);
        }
        while let Some(index) = self.next_of_all() {
            if let Some(job) = self.begin_best(index) {
                return Some(job);
            }
        }
        if self.left > 0 {
            return None;
        }
        let made = self.functions.values().filter_map(|function| match &function.best {
            Best::Made(made) => Some(made.compiled()),
            _ => None,
        });
        let made: Vec<_> = made.collect();
        if made.len() < self.functions.len() {
            return None;
        }
        self.linking = true;
        Some(Job::Link(made))
    }

    pub fn begin_best(&mut self, index: DefinedFuncIndex) -> Option<Job> {
        let best = &mut self.functions[index].best;
        matches!(best, Best::Missing).then(|| {
            *best = Best::Making;
            Job::Best(index)
        })
    }

    /// A function is made, but not in use yet.
    pub fn ready(&mut self, index: DefinedFuncIndex) {
        if !self.ready.contains(&index) {
            self.ready.push(index);
        }
    }

    /// Code that is made takes memory until it is stored.
    fn unstored(&mut self, made: &Made) {
        self.store.changed = true;
        if let Made::Compiled(function) = made {
            self.store.bytes += function.code.len();
        }
    }

    pub fn made_first(&mut self, index: DefinedFuncIndex, made: Made) {
        self.unstored(&made);
        self.functions[index].first = Some(made);
    }

    pub fn made_best(&mut self, index: DefinedFuncIndex, made: Made) {
        if matches!(self.functions[index].best, Best::Made(_) | Best::Linked) {
            return;
        }
        self.unstored(&made);
        let function = &mut self.functions[index];
        (function.best, function.first) = (Best::Made(made), None);
        self.left -= 1;
        self.tally.add(self.info.bodies[index].len());
    }

    /// What was made of functions since it was last asked: of those that were called, and of others.
    pub fn take_unstored(&mut self) -> [Vec<Piece>; 2] {
        (self.store.changed, self.store.bytes) = (false, 0);
        let now = Instant::now();
        if now >= self.store.next {
            self.store.interval *= 2;
        }
        self.store.next = now + self.store.interval;
        let [mut called, mut others] = [Vec::new(), Vec::new()];
        for (index, function) in self.functions.iter_mut() {
            let (tier, code) = match (&function.best, function.first.take()) {
                (Best::Made(best), _) => (Tier::Best, best.clone()),
                (_, Some(first)) => (Tier::First, first),
                _ => continue,
            };
            let piece = Piece { index, tier, code };
            if function.placed.is_some() {
                if function.stored.is_none_or(|stored| stored < tier) {
                    function.stored = Some(tier);
                    called.push(piece);
                }
            } else if self.store.others == Others::Loaded && !function.stored_apart {
                function.stored_apart = true;
                others.push(piece);
            }
        }
        [called, others]
    }
}
