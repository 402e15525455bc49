//! What of a module that is compiled while it runs is made, and what comes next.
//!
//! Plain data of `lazy.rs`, which locks it and does the work. Invariant: each function is begun at most once in each
//! tier.

use crate::compile::{CompiledFunction, Tier, Worker};
use crate::error::CompileError;
use crate::parse::info::{DefinedFuncIndex, ModuleInfo};
use crate::progress::Tally;
use cranelift_entity::PrimaryMap;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is made. It is locked for as long as code is added to the table.
pub struct Agenda {
    pub functions: PrimaryMap<DefinedFuncIndex, Function>,
    /// Functions that may be called soon, and how many calls they are away.
    pub likely: VecDeque<(DefinedFuncIndex, usize)>,
    /// Functions that were called, in the order of their first calls.
    pub called: VecDeque<DefinedFuncIndex>,
    /// All functions, the largest last.
    pub all: Vec<DefinedFuncIndex>,
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
    /// Those for which no code is made yet.
    pub hot: VecDeque<(DefinedFuncIndex, u32)>,
    /// First calls so far.
    pub steps: usize,
    pub workers: Vec<Worker>,
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
    /// The number of functions that a guest waited for since then.
    pub waited_for: usize,
}

#[derive(Clone, Default)]
pub struct Function {
    /// The code of the first tier.
    pub first: Option<Arc<CompiledFunction>>,
    /// The tier of the code that a call leads to.
    pub placed: Option<Tier>,
    /// Whether a thread compiles it in the first tier.
    pub making: bool,
    pub best: Best,
}

/// The better code of a function.
#[derive(Clone, Default)]
pub enum Best {
    #[default]
    Missing,
    Making,
    Made(Arc<CompiledFunction>),
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
    Best(DefinedFuncIndex),
    Link(Vec<Arc<CompiledFunction>>),
}

/// When the functions made so far are first stored.
const FIRST_STORE: Duration = Duration::from_millis(40);

impl Agenda {
    /// The agenda of a module of which nothing is made yet.
    pub fn new(info: &Arc<ModuleInfo>, tally: &Arc<Tally>) -> Agenda {
        let mut all: Vec<DefinedFuncIndex> = info.bodies.keys().collect();
        all.sort_by_key(|index| info.bodies[*index].len());
        let functions = info.bodies.keys().map(|_| Function::default()).collect();
        Agenda {
            functions,
            likely: VecDeque::new(),
            // The largest function is the main loop of many programs. When it is called, it should be made.
            called: all.last().copied().into_iter().collect(),
            left: all.len(),
            tally: tally.clone(),
            info: info.clone(),
            all,
            linking: false,
            failed: None,
            loops: HashMap::new(),
            hot: VecDeque::new(),
            steps: 0,
            workers: Vec::new(),
            store: Store {
                next: Instant::now() + FIRST_STORE,
                interval: FIRST_STORE,
                changed: false,
                waited_for: 0,
            },
        }
    }

    /// What to do next.
    pub fn next(&mut self) -> Option<Job> {
        if let Some((index, at)) = self.hot.pop_front() {
            return Some(Job::Loop(index, at));
        }
        if self.failed.is_some() || self.linking {
            return None;
        }
        while let Some((index, away)) = self.likely.pop_front() {
            let function = &mut self.functions[index];
            if function.placed.is_none() && !function.making && matches!(function.best, Best::Missing) {
                function.making = true;
                return Some(Job::First(index, away));
            }
        }
        while let Some(index) = self.called.pop_front().or_else(|| self.all.pop()) {
            if let Some(job) = self.begin_best(index) {
                return Some(job);
            }
        }
        if self.left > 0 {
            return None;
        }
        let made = self.functions.values().filter_map(|function| match &function.best {
            Best::Made(made) => Some(made.clone()),
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

    pub fn made_best(&mut self, index: DefinedFuncIndex, made: Arc<CompiledFunction>) {
        let function = &mut self.functions[index];
        if matches!(function.best, Best::Made(_) | Best::Linked) {
            return;
        }
        (function.best, function.first) = (Best::Made(made), None);
        self.left -= 1;
        self.tally.add(self.info.bodies[index].len());
        self.store.changed = true;
    }
}
