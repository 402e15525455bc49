//! Nodes and their names.
//!
//! Used by the files beside it. Invariants: whoever changes names holds `Tree::changing`, so that what
//! it found stays true until it is done, and only then locks directories, one at a time. Every byte
//! charged to the quota is given back: for a node when it is dropped, for a name when it is taken out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use super::lock;
use super::tree::Tree;
use crate::errno::Errno;
use crate::sys::LockKind;
use crate::types::{DirEntry, Filestat, Filetype, SetTime, Timestamp};

/// Taken out of the quota for a node, for the lists of names that a directory
/// has besides, and for a name besides its length.
const NODE_COST: u64 = 256;
const LISTS_COST: u64 = 768;
const NAME_COST: u64 = 128;

/// As on Linux.
const NAME_MAX: usize = 255;

pub enum Body {
    File(RwLock<Vec<u8>>),
    Directory(Mutex<Directory>),
    Link(Box<str>),
}

#[derive(Clone, Copy)]
struct Times {
    accessed: Timestamp,
    modified: Timestamp,
    changed: Timestamp,
}

pub struct Node {
    tree: Arc<Tree>,
    inode: u64,
    pub body: Body,
    /// Names, of a file or link; a directory has one.
    links: AtomicU64,
    times: Mutex<Times>,
    locks: Mutex<Locks>,
    /// What its drop gives back, besides a file's contents.
    cost: u64,
}

/// Advisory locks that open files hold.
#[derive(Clone, Copy, Default)]
struct Locks {
    shared: usize,
    exclusive: bool,
}

#[derive(Default)]
pub struct Directory {
    entries: BTreeMap<Arc<str>, Entry>,
    /// The names in the order they came, which is that of listings. A position is never used again,
    /// so a listing goes on where it was, whatever happens in between.
    order: BTreeMap<u64, Arc<str>>,
    next_position: u64,
    parent: Weak<Node>,
    /// It has no name any more, and gets no entries.
    removed: bool,
}

struct Entry {
    node: Arc<Node>,
    position: u64,
}

impl Node {
    pub fn new(tree: Arc<Tree>, body: Body, cost: u64) -> Node {
        let now = tree.now();
        Node {
            inode: tree.next_inode(),
            tree,
            body,
            links: AtomicU64::new(0),
            times: Mutex::new(Times { accessed: now, modified: now, changed: now }),
            locks: Mutex::default(),
            cost,
        }
    }

    /// A node without a name yet.
    pub fn create(tree: &Arc<Tree>, body: Body) -> Result<Arc<Node>, Errno> {
        let contents = match &body {
            Body::Link(contents) => contents.len() as u64,
            Body::Directory(_) => LISTS_COST,
            Body::File(_) => 0,
        };
        let cost = NODE_COST + contents;
        tree.charge(cost)?;
        Ok(Arc::new(Node::new(tree.clone(), body, cost)))
    }

    #[inline]
    pub fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    #[inline]
    pub fn filetype(&self) -> Filetype {
        match &self.body {
            Body::File(_) => Filetype::RegularFile,
            Body::Directory(_) => Filetype::Directory,
            Body::Link(_) => Filetype::SymbolicLink,
        }
    }

    #[inline]
    pub fn require_directory(&self) -> Result<(), Errno> {
        self.directory().map(drop)
    }

    #[inline]
    pub fn directory(&self) -> Result<MutexGuard<'_, Directory>, Errno> {
        match &self.body {
            Body::Directory(directory) => Ok(lock(directory)),
            _ => Err(Errno::Notdir),
        }
    }

    #[inline]
    pub fn stat(&self) -> Filestat {
        let times = *lock(&self.times);
        let size = match &self.body {
            Body::File(contents) => {
                let contents = contents.read().unwrap_or_else(PoisonError::into_inner);
                contents.len() as u64
            }
            Body::Directory(_) => 0,
            Body::Link(contents) => contents.len() as u64,
        };
        Filestat {
            dev: self.tree.device,
            ino: self.inode,
            filetype: self.filetype(),
            nlink: self.links.load(Ordering::Relaxed),
            size,
            atim: times.accessed,
            mtim: times.modified,
            ctim: times.changed,
        }
    }

    pub fn set_times(&self, accessed: SetTime, modified: SetTime) {
        let now = self.tree.now();
        let new = |time, old| match time {
            SetTime::Keep => old,
            SetTime::Now => now,
            SetTime::At(at) => at,
        };
        let mut times = lock(&self.times);
        *times = Times {
            accessed: new(accessed, times.accessed),
            modified: new(modified, times.modified),
            changed: now,
        };
    }

    /// Gives one lock up for another, or keeps it with `EAGAIN`.
    pub fn exchange_lock(&self, held: Option<LockKind>, wanted: Option<LockKind>) -> Result<(), Errno> {
        let mut locks = lock(&self.locks);
        let mut others = *locks;
        match held {
            Some(LockKind::Shared) => others.shared = others.shared.saturating_sub(1),
            Some(LockKind::Exclusive) => others.exclusive = false,
            None => {}
        }
        match wanted {
            Some(LockKind::Shared) if !others.exclusive => others.shared += 1,
            Some(LockKind::Exclusive) if !others.exclusive && others.shared == 0 => {
                others.exclusive = true;
            }
            None => {}
            Some(_) => return Err(Errno::Again),
        }
        *locks = others;
        Ok(())
    }

    /// The contents, or a directory's names, changed.
    pub fn touch(&self) {
        self.set_times(SetTime::Keep, SetTime::Now);
    }

    /// Calls `visit` for what is in a directory, sorted by name, until it fails.
    /// It must not come back to this file system.
    pub fn each_child(
        &self,
        mut visit: impl FnMut(&str, &Arc<Node>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let directory = self.directory()?;
        let mut entries = directory.entries.iter();
        entries.try_for_each(|(name, entry)| visit(name, &entry.node))
    }

    #[inline]
    pub fn child(&self, name: &str) -> Result<Option<Arc<Node>>, Errno> {
        if name.len() > NAME_MAX {
            return Err(Errno::Nametoolong);
        }
        let directory = self.directory()?;
        let entry = directory.entries.get(name);
        Ok(entry.map(|entry| entry.node.clone()))
    }

    /// Calls `emit` for the entries from a position on, until it returns false. `.` and `..` have the
    /// first two positions. The parent may lie outside: `..` has this directory's own inode.
    pub fn list(
        &self,
        from: u64,
        mut emit: impl FnMut(DirEntry<'_>) -> Result<bool, Errno>,
    ) -> Result<(), Errno> {
        let directory = self.directory()?;
        if directory.removed {
            return Ok(());
        }
        for (position, name) in [(0, "."), (1, "..")] {
            let entry = DirEntry {
                next: position + 1,
                ino: self.inode,
                filetype: Filetype::Directory,
                name: name.as_bytes(),
            };
            if from <= position && !emit(entry)? {
                return Ok(());
            }
        }
        for (position, name) in directory.order.range(from.saturating_sub(2)..) {
            let Some(entry) = directory.entries.get(name) else {
                continue;
            };
            let node = &entry.node;
            let entry = DirEntry {
                next: position + 3,
                ino: node.inode,
                filetype: node.filetype(),
                name: name.as_bytes(),
            };
            if !emit(entry)? {
                break;
            }
        }
        Ok(())
    }

    // ---- changes, under `Tree::changing` ----

    /// Gives a node a name here that is not taken.
    pub fn insert(self: &Arc<Node>, name: &str, node: Arc<Node>) -> Result<(), Errno> {
        let mut directory = self.directory()?;
        if directory.removed {
            return Err(Errno::Noent);
        }
        self.tree.charge(name_cost(name))?;
        node.links.fetch_add(1, Ordering::Relaxed);
        let (name, position): (Arc<str>, u64) = (name.into(), directory.next_position);
        directory.next_position += 1;
        directory.order.insert(position, name.clone());
        let entry = Entry { node: node.clone(), position };
        directory.entries.insert(name, entry);
        drop(directory);
        self.adopt(&node);
        Ok(())
    }

    /// Gives a name that is taken to another node; cannot run out of quota.
    pub fn replace(self: &Arc<Node>, name: &str, node: Arc<Node>) -> Result<(), Errno> {
        let mut directory = self.directory()?;
        let entry = directory.entries.get_mut(name).ok_or(Errno::Noent)?;
        node.links.fetch_add(1, Ordering::Relaxed);
        let replaced = std::mem::replace(&mut entry.node, node.clone());
        drop(directory);
        replaced.lose_name();
        self.adopt(&node);
        Ok(())
    }

    fn adopt(self: &Arc<Node>, node: &Node) {
        if let Body::Directory(directory) = &node.body {
            lock(directory).parent = Arc::downgrade(self);
        }
        self.touch();
    }

    fn lose_name(&self) {
        self.links.fetch_sub(1, Ordering::Relaxed);
        self.set_times(SetTime::Keep, SetTime::Keep);
    }

    /// Takes a name away; the node lives on while it is open or has another.
    pub fn remove(&self, name: &str) -> Result<(), Errno> {
        let mut directory = self.directory()?;
        let entry = directory.entries.remove(name).ok_or(Errno::Noent)?;
        directory.order.remove(&entry.position);
        drop(directory);
        self.tree.give_back(name_cost(name));
        entry.node.lose_name();
        self.touch();
        Ok(())
    }

    /// Makes sure that an empty directory stays empty, before its name goes.
    pub fn retire(&self) -> Result<(), Errno> {
        let mut directory = self.directory()?;
        if !directory.entries.is_empty() {
            return Err(Errno::Notempty);
        }
        directory.removed = true;
        Ok(())
    }

    /// Whether this directory is `other` or lies beneath it.
    pub fn is_within(self: &Arc<Node>, other: &Arc<Node>) -> bool {
        let mut at = Some(self.clone());
        while let Some(node) = at {
            if Arc::ptr_eq(&node, other) {
                return true;
            }
            at = node.directory().ok().and_then(|it| it.parent.upgrade());
        }
        false
    }
}

fn name_cost(name: &str) -> u64 {
    NAME_COST + name.len() as u64
}

/// Drops what lies beneath one by one: a guest may nest directories deeper than a stack is.
impl Drop for Node {
    fn drop(&mut self) {
        let contents = match &mut self.body {
            Body::File(contents) => contents.get_mut().unwrap_or_else(PoisonError::into_inner).len() as u64,
            _ => 0,
        };
        self.tree.give_back(self.cost + contents);
        let mut open = Vec::new();
        let mut entries = self.take_entries();
        loop {
            let Some((_, entry)) = entries.pop_first() else {
                match open.pop() {
                    Some(above) => entries = above,
                    None => return,
                }
                continue;
            };
            let Some(mut last) = Arc::into_inner(entry.node) else {
                continue;
            };
            let within = last.take_entries();
            if within.is_empty() {
                continue;
            }
            let above = std::mem::replace(&mut entries, within);
            if above.is_empty() {
                continue;
            }
            match open.try_reserve(1) {
                Ok(()) => open.push(above),
                // No memory to let go of memory with: then it stays.
                Err(_) => std::mem::forget(above),
            }
        }
    }
}

impl Node {
    fn take_entries(&mut self) -> BTreeMap<Arc<str>, Entry> {
        let Body::Directory(directory) = &mut self.body else {
            return BTreeMap::new();
        };
        let directory = directory.get_mut().unwrap_or_else(PoisonError::into_inner);
        let entries = std::mem::take(&mut directory.entries);
        let names: u64 = entries.keys().map(|name| name_cost(name)).sum();
        self.tree.give_back(names);
        entries
    }
}
