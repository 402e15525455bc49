//! Stacks of one thread, as the tree of all that were seen, and the samples in order of time.
//!
//! Used by `runtime/vm/profile/`. Invariant: parents come before their children.

use std::collections::HashMap;

/// Marks in the place of an address. No code is there.
/// The thread waits.
pub const IDLE: usize = 1;
/// It runs, and no wasm is on its stack.
pub const PROGRAM: usize = 2;
/// It is in a function that wasm has called.
pub const HOST: usize = 3;
/// The frames outside of this are not known.
pub const CUT: usize = 4;

/// Beyond so many samples nothing more is noted: more than an hour at the usual interval.
const MAX_SAMPLES: usize = 1 << 22;

pub struct Tree {
    pub nodes: Vec<Address>,
    children: HashMap<(u32, usize), u32>,
    /// Nanoseconds and the node of the innermost frame.
    pub samples: Vec<(u64, u32)>,
}

/// An address, or a mark, as called by its parent.
pub struct Address {
    pub parent: u32,
    pub pc: usize,
}

impl Default for Tree {
    fn default() -> Tree {
        let root = Address { parent: 0, pc: 0 };
        Tree { nodes: vec![root], children: HashMap::new(), samples: Vec::new() }
    }
}

impl Tree {
    /// Adds a sample: its frames, innermost first.
    pub fn add(&mut self, time: u64, stack: &[usize]) {
        let mut node = 0;
        for pc in stack.iter().rev() {
            node = self.child(node, *pc);
        }
        // One sample tells of a time in which nothing happens.
        let waits = stack == [IDLE] && self.samples.last().is_some_and(|(_, last)| *last == node);
        if !waits && self.samples.len() < MAX_SAMPLES {
            self.samples.push((time, node));
        }
    }

    fn child(&mut self, parent: u32, pc: usize) -> u32 {
        let nodes = &mut self.nodes;
        *self.children.entry((parent, pc)).or_insert_with(|| {
            nodes.push(Address { parent, pc });
            (nodes.len() - 1) as u32
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_share_what_they_begin_with_and_waiting_is_told_once() {
        let mut tree = Tree::default();
        for (time, stack) in
            [&[20, 10][..], &[30, 10], &[20, 10], &[IDLE], &[IDLE], &[20, 10]].iter().enumerate()
        {
            tree.add(time as u64, stack);
        }
        let nodes: Vec<_> = tree.nodes.iter().map(|node| (node.parent, node.pc)).collect();
        assert_eq!(nodes, [(0, 0), (0, 10), (1, 20), (1, 30), (0, IDLE)]);
        assert_eq!(tree.samples, [(0, 2), (1, 3), (2, 2), (3, 4), (5, 2)]);
    }
}
