//! What all nodes of one file system share: its quota, its clock and its lock.
//!
//! Invariant: every byte charged to the quota is given back by whoever lets go of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::lock;
use super::node::{Body, Node};
use crate::clock::Clock;
use crate::errno::Errno;
use crate::types::{Clockid, Timestamp};

/// What all nodes of one file system share.
pub struct Tree {
    pub device: u64,
    quota: u64,
    used: AtomicU64,
    next_inode: AtomicU64,
    clock: Clock,
    changes: Mutex<()>,
}

impl Tree {
    pub fn root(quota: u64, clock: Clock) -> Arc<Node> {
        // A guest compares the device numbers of all its directories, also those of other contexts.
        static NEXT_DEVICE: AtomicU64 = AtomicU64::new(0x6d65_6d66_7300);
        let tree = Arc::new(Tree {
            device: NEXT_DEVICE.fetch_add(1, Ordering::Relaxed),
            quota,
            used: AtomicU64::new(0),
            next_inode: AtomicU64::new(1),
            clock,
            changes: Mutex::new(()),
        });
        Arc::new(Node::new(tree, Body::Directory(Mutex::default()), 0))
    }

    pub fn next_inode(&self) -> u64 {
        self.next_inode.fetch_add(1, Ordering::Relaxed)
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes all or nothing.
    pub fn charge(&self, bytes: u64) -> Result<(), Errno> {
        if self.charge_up_to(bytes, bytes) == bytes { Ok(()) } else { Err(Errno::Nospc) }
    }

    /// Takes as much as there is room for, but nothing if less than `least`.
    pub fn charge_up_to(&self, bytes: u64, least: u64) -> u64 {
        let mut taken = 0;
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            taken = bytes.min(self.quota.saturating_sub(used));
            if taken < least {
                taken = 0;
            }
            used.checked_add(taken)
        });
        taken
    }

    pub fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub fn now(&self) -> Timestamp {
        self.clock.time(Clockid::Realtime)
    }

    pub fn changing(&self) -> MutexGuard<'_, ()> {
        lock(&self.changes)
    }
}
