//! Nodes, their names, and the way from a name to a node.
//!
//! Used by the files beside it. Invariants: whoever changes names holds
//! `Tree::changes`, so that what it found stays true until it is done, and
//! only then locks directories, one at a time; lookups lock one directory at
//! a time; every byte charged to the quota is given back by whoever lets go
//! of it, nodes when they are dropped and names when they are taken out.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use crate::alloc::text_of;
use crate::clock::Clock;
use crate::errno::Errno;
use crate::sys::LockKind;
use crate::types::{Clockid, Filestat, Filetype, SetTime};

/// What all nodes of one file system share.
pub struct Tree {
    device: u64,
    quota: u64,
    used: AtomicU64,
    next_inode: AtomicU64,
    clock: Clock,
    changes: Mutex<()>,
}

/// Taken out of the quota for a node, for the lists of names that a directory
/// has besides, and for a name besides its length.
const NODE_COST: u64 = 256;
const LISTS_COST: u64 = 768;
const NAME_COST: u64 = 128;

/// As on Linux.
const NAME_MAX: usize = 255;
const LINKS_MAX: u32 = 40;

impl Tree {
    pub fn root(quota: u64, clock: Clock) -> Arc<Node> {
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

    pub fn now(&self) -> u64 {
        self.clock.time(Clockid::Realtime)
    }

    pub fn changing(&self) -> MutexGuard<'_, ()> {
        lock(&self.changes)
    }
}

pub enum Body {
    File(RwLock<Vec<u8>>),
    Directory(Mutex<Directory>),
    Link(Box<str>),
}

#[derive(Clone, Copy)]
struct Times {
    accessed: u64,
    modified: u64,
    changed: u64,
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
    /// The names in the order they came, which is that of listings: a place
    /// is never used again, so a listing goes on where it was whatever
    /// happened in between.
    order: BTreeMap<u64, Arc<str>>,
    next_place: u64,
    parent: Weak<Node>,
    /// It has no name any more, and gets no entries.
    removed: bool,
}

struct Entry {
    node: Arc<Node>,
    place: u64,
}

impl Node {
    fn new(tree: Arc<Tree>, body: Body, cost: u64) -> Node {
        let now = tree.now();
        Node {
            inode: tree.next_inode.fetch_add(1, Ordering::Relaxed),
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

    pub fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    pub fn filetype(&self) -> Filetype {
        match &self.body {
            Body::File(_) => Filetype::RegularFile,
            Body::Directory(_) => Filetype::Directory,
            Body::Link(_) => Filetype::SymbolicLink,
        }
    }

    fn require_directory(&self) -> Result<(), Errno> {
        self.directory().map(drop)
    }

    pub fn directory(&self) -> Result<MutexGuard<'_, Directory>, Errno> {
        match &self.body {
            Body::Directory(directory) => Ok(lock(directory)),
            _ => Err(Errno::Notdir),
        }
    }

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

    fn child(&self, name: &str) -> Result<Option<Arc<Node>>, Errno> {
        if name.len() > NAME_MAX {
            return Err(Errno::Nametoolong);
        }
        let directory = self.directory()?;
        let entry = directory.entries.get(name);
        Ok(entry.map(|entry| entry.node.clone()))
    }

    /// Calls `emit` for the entries from a place on with the place after, the
    /// inode, the type and the name, until it returns false. `.` and `..` have
    /// the first two places; the parent may lie outside and has inode 0.
    pub fn list(
        &self,
        from: u64,
        mut emit: impl FnMut(u64, u64, Filetype, &str) -> Result<bool, Errno>,
    ) -> Result<(), Errno> {
        let directory = self.directory()?;
        if directory.removed {
            return Ok(());
        }
        for (place, inode, name) in [(0, self.inode, "."), (1, self.inode, "..")] {
            if from <= place && !emit(place + 1, inode, Filetype::Directory, name)? {
                return Ok(());
            }
        }
        for (place, name) in directory.order.range(from.saturating_sub(2)..) {
            let Some(entry) = directory.entries.get(name) else {
                continue;
            };
            let (next, node) = (place + 3, &entry.node);
            if !emit(next, node.inode, node.filetype(), name)? {
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
        let (name, place): (Arc<str>, u64) = (name.into(), directory.next_place);
        directory.next_place += 1;
        directory.order.insert(place, name.clone());
        let entry = Entry { node: node.clone(), place };
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
        directory.order.remove(&entry.place);
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

/// Lets go of what lies beneath one by one: a guest may nest directories
/// deeper than a stack is.
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

/// Where a path leads.
pub struct Place {
    pub parent: Arc<Node>,
    /// `None` if the path ends in `.` or `..` and so names no entry.
    pub name: Option<Box<str>>,
    pub node: Option<Arc<Node>>,
}

impl Place {
    pub fn existing(self) -> Result<Arc<Node>, Errno> {
        self.node.ok_or(Errno::Noent)
    }
}

/// Walks from a directory along a path. Neither the path nor a link on the way
/// leads above that directory, which is the whole of what a guest can reach
/// by it: above is `ENOTCAPABLE`, as is a link to an absolute path.
pub fn walk(start: &Arc<Node>, path: &str, follow: bool) -> Result<Place, Errno> {
    walk_on(start, path, follow, false)
}

/// The same for a file that may have to be made, which it cannot where a link
/// ends in a slash: `EISDIR`, whatever is there.
pub fn walk_to_create(start: &Arc<Node>, path: &str, follow: bool) -> Result<Place, Errno> {
    walk_on(start, path, follow, true)
}

fn walk_on(start: &Arc<Node>, path: &str, follow: bool, create: bool) -> Result<Place, Errno> {
    let mut above: Vec<Arc<Node>> = Vec::new();
    let mut here = start.clone();
    let mut links = 0;
    let mut todo: Vec<Box<str>> = Vec::new();
    push_components(&mut todo, path)?;
    loop {
        let Some(component) = todo.pop() else {
            return Ok(Place { node: Some(here.clone()), parent: here, name: None });
        };
        let is_last = todo.is_empty();
        match &*component {
            "" | "." => {
                here.require_directory()?;
            }
            ".." => {
                here.require_directory()?;
                here = above.pop().ok_or(Errno::Notcapable)?;
            }
            name => {
                if create && !is_last && todo.iter().all(|rest| rest.is_empty()) {
                    return Err(Errno::Isdir);
                }
                let child = here.child(name)?;
                if let Some(node) = &child
                    && let Body::Link(contents) = &node.body
                    && (follow || !is_last)
                {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Errno::Loop);
                    }
                    if contents.starts_with('/') {
                        return Err(Errno::Notcapable);
                    }
                    push_components(&mut todo, contents)?;
                } else if is_last {
                    return Ok(Place { parent: here, name: Some(component), node: child });
                } else {
                    let child = child.ok_or(Errno::Noent)?;
                    child.require_directory()?;
                    above.try_reserve(1).map_err(|_| Errno::Nomem)?;
                    above.push(std::mem::replace(&mut here, child));
                }
            }
        }
    }
}

/// The last first.
fn push_components(todo: &mut Vec<Box<str>>, path: &str) -> Result<(), Errno> {
    let components = path.rsplit('/');
    todo.try_reserve(components.clone().count()).map_err(|_| Errno::Nomem)?;
    for component in components {
        todo.push(text_of(component)?);
    }
    Ok(())
}

/// A panic elsewhere leaves these values whole, so a poisoned lock is no
/// reason to fail.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
