//! Addresses become functions: what a profile tells.
//!
//! Used by `runtime/vm/profile/`. Invariant: it runs while code is kept. Names and places come from the guest's module,
//! and are cut to sizes that are shown.

use super::tree::{CUT, HOST, IDLE, PROGRAM, Tree};
use crate::code::registry;
use crate::debug::{Frame, demangle, source_frames};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

pub struct Profile {
    /// Those that have run a guest, or could have.
    pub threads: Vec<ProfiledThread>,
    pub functions: Vec<ProfiledFunction>,
    /// From the beginning to the end.
    pub duration: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProfiledFunction {
    /// In parentheses if it is no function: `(idle)`.
    pub name: String,
    /// The source file, or the URL of the module. Empty if there is neither.
    pub url: String,
    /// Where the function begins, from 1. 0 if that is unknown.
    pub line: u32,
    /// The index of the function in the module. `None` if it is the host's.
    pub func_index: Option<u32>,
}

#[derive(Default)]
pub struct ProfiledThread {
    pub name: Option<String>,
    /// The first is the root. Parents come before their children.
    pub nodes: Vec<Node>,
    /// Nanoseconds since the beginning, and the node.
    pub samples: Vec<(u64, u32)>,
}

/// A function as called by its parent.
#[derive(Default)]
pub struct Node {
    pub parent: u32,
    /// The place in [`Profile::functions`].
    pub function: u32,
    /// The number of samples in it, and not in what it calls.
    pub hits: u32,
    /// The same, by lines of the source.
    pub lines: BTreeMap<u32, u32>,
}

/// The functions at an address, the outermost first: several if some are inlined. Each with the line where it is.
type Chain = Vec<(u32, u32)>;

#[derive(Default)]
struct Functions {
    list: Vec<ProfiledFunction>,
    places: HashMap<ProfiledFunction, u32>,
}

impl Functions {
    fn place(&mut self, function: ProfiledFunction) -> u32 {
        let list = &mut self.list;
        *self.places.entry(function).or_insert_with_key(|function| {
            list.push(function.clone());
            (list.len() - 1) as u32
        })
    }

    /// What is no function of a module.
    fn mark(&mut self, name: &str) -> u32 {
        self.place(ProfiledFunction { name: name.into(), url: String::new(), line: 0, func_index: None })
    }

    fn chain(&mut self, frame: &Frame, sources: &[crate::debug::SourceFrame]) -> Chain {
        let index = frame.func_index;
        let shown = |name: &str| demangle(name).unwrap_or_else(|| name.to_string());
        let own = || match &frame.name {
            Some(name) => shown(name),
            None => format!("wasm-function[{index}]"),
        };
        if sources.is_empty() {
            let url = frame.module_url();
            let function = ProfiledFunction { name: own(), url, line: 0, func_index: Some(index) };
            return vec![(self.place(function), 0)];
        }
        let outermost_first = sources.iter().rev();
        let place = |source: &crate::debug::SourceFrame| {
            let name = source.function.as_deref().map_or_else(own, shown);
            let url = source.file.clone();
            let function = ProfiledFunction { name, url, line: source.declared, func_index: Some(index) };
            (self.place(function), source.line)
        };
        outermost_first.map(place).collect()
    }
}

/// What these threads have seen, whose code is kept.
pub fn report(threads: impl Iterator<Item = (Option<String>, Tree)>, duration: Duration) -> Profile {
    let threads: Vec<_> = threads.collect();
    let mut functions = Functions::default();
    let root = functions.mark("(root)");
    let chains = chains(threads.iter().map(|(_, tree)| tree), &mut functions);
    let threads = threads.into_iter().map(|(name, tree)| {
        let mut thread = ProfiledThread { name, ..ProfiledThread::default() };
        thread.nodes.push(Node { function: root, ..Node::default() });
        let mut children = HashMap::new();
        // For each address of the tree its node, and the line that it is in.
        let mut places: Vec<(u32, u32)> = vec![(0, 0)];
        for address in tree.nodes.iter().skip(1) {
            let (mut node, mut line) = places[address.parent as usize];
            let mut step = |function: u32, at: u32| {
                node = *children.entry((node, function)).or_insert_with(|| {
                    thread.nodes.push(Node { parent: node, function, ..Node::default() });
                    (thread.nodes.len() - 1) as u32
                });
                line = at;
            };
            match address.pc {
                IDLE => step(functions.mark("(idle)"), 0),
                PROGRAM => step(functions.mark("(program)"), 0),
                CUT => step(functions.mark("(deeper)"), 0),
                HOST => step(functions.mark(&host_name(tree.nodes[address.parent as usize].pc)), 0),
                pc => {
                    chains.get(&pc).into_iter().flatten().for_each(|(function, line)| step(*function, *line))
                }
            }
            places.push((node, line));
        }
        for (time, address) in tree.samples {
            let (place, line) = places[address as usize];
            let node = &mut thread.nodes[place as usize];
            node.hits += 1;
            if line != 0 {
                *node.lines.entry(line).or_default() += 1;
            }
            thread.samples.push((time, place));
        }
        thread
    });
    let threads = threads.collect();
    Profile { threads, functions: functions.list, duration }
}

/// The functions at all addresses. They are looked up together, since debug information is read from its beginning.
fn chains<'a>(trees: impl Iterator<Item = &'a Tree>, functions: &mut Functions) -> HashMap<usize, Chain> {
    let mut known = HashSet::new();
    let mut all: Vec<(usize, Frame)> = Vec::new();
    for address in trees.flat_map(|tree| tree.nodes.iter().skip(1)) {
        if address.pc > CUT && known.insert(address.pc) {
            // SAFETY: code is kept. An address that was noted wrongly may be that of no code, or of any.
            let frames = unsafe { registry::with_code_at(address.pc, |code| code.frames_at(address.pc)) };
            let outermost_first = frames.unwrap_or_default().into_iter().rev();
            all.extend(outermost_first.map(|frame| (address.pc, frame)));
        }
    }
    let (addresses, frames): (Vec<usize>, Vec<Frame>) = all.into_iter().unzip();
    let sources = source_frames(&frames);
    let mut chains: HashMap<usize, Chain> = HashMap::new();
    for (pc, (frame, sources)) in addresses.iter().zip(frames.iter().zip(&sources)) {
        chains.entry(*pc).or_default().append(&mut functions.chain(frame, sources));
    }
    chains
}

/// The name of the function that was called at an address, if it is an import.
fn host_name(caller: usize) -> String {
    // SAFETY: code is kept.
    let name = unsafe {
        registry::with_code_at(caller, |code| {
            code.import_called_at(caller).map(|(module, name)| format!("{module}.{name}"))
        })
    };
    name.flatten().unwrap_or_else(|| "(host)".into())
}
