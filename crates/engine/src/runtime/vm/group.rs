//! Groups: objects that can reach each other, with one common lifetime.
//!
//! Used by the handles of `runtime/api/`. Invariant: a pointer from one object to another (an
//! import, a table element, a funcref in a global) stays inside one group, so the holder of a
//! handle to a member can follow every pointer. Groups are joined but never split.

use super::exception::TagObj;
use super::global::HostGlobal;
use super::host_func::HostFunc;
use super::instance::InstanceObj;
use super::memory::MemoryObj;
use super::store::Store;
use super::table::TableObj;
use super::vm_box::VmBox;
use crate::types::RefType;
use std::cell::RefCell;
use std::rc::{Rc, Weak};

/// A strong reference to a group. References to groups that have been joined are interchangeable.
#[derive(Clone)]
pub struct Group(Rc<Node>);

#[derive(Clone)]
pub struct WeakGroup(Weak<Node>);

struct Node {
    store: Store,
    /// The group that this one was joined into.
    joined: RefCell<Option<Group>>,
    members: RefCell<Members>,
}

/// The members. Compiled code and other members point to them. Instances and host functions keep code
/// alive, so they are dropped last.
#[derive(Default)]
pub struct Members {
    pub memories: Vec<VmBox<MemoryObj>>,
    pub tables: Vec<VmBox<TableObj>>,
    pub globals: Vec<VmBox<HostGlobal>>,
    pub tags: Vec<VmBox<TagObj>>,
    pub instances: Vec<VmBox<InstanceObj>>,
    pub funcs: Vec<VmBox<[HostFunc]>>,
}

impl Group {
    pub fn new(store: &Store) -> Group {
        let group = Group(Rc::new(Node {
            store: store.clone(),
            joined: RefCell::new(None),
            members: RefCell::default(),
        }));
        store.register(&group);
        group
    }

    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The group that this one has been joined into. Members point back to the root.
    pub fn root(&self) -> Group {
        let mut root = self.clone();
        loop {
            let next = root.0.joined.borrow().clone();
            match next {
                Some(next) => root = next,
                None => break,
            }
        }
        if !Rc::ptr_eq(&root.0, &self.0) {
            // Shortens the path for the next call.
            *self.0.joined.borrow_mut() = Some(root.clone());
        }
        root
    }

    /// The number of members that a join would have to move.
    fn len(&self) -> usize {
        let members = self.0.members.borrow();
        let things =
            members.memories.len() + members.tables.len() + members.globals.len() + members.tags.len();
        things + members.instances.len() + members.funcs.len()
    }

    /// Adds a member. Its address does not change from then on.
    pub fn add<R>(&self, add: impl FnOnce(&mut Members) -> R) -> R {
        add(&mut self.root().0.members.borrow_mut())
    }

    /// Joins two groups: from now on all members of both live together.
    pub fn join(&self, other: &Group) {
        let (a, b) = (self.root(), other.root());
        if Rc::ptr_eq(&a.0, &b.0) {
            return;
        }
        let (a, b) = if a.len() < b.len() { (b, a) } else { (a, b) };
        let mut moved = b.0.members.take();
        *b.0.joined.borrow_mut() = Some(a.clone());
        // Only a root is certain to live as long as its members.
        moved.instances.iter().for_each(|instance| instance.set_group(&a));
        moved.funcs.iter().flat_map(|funcs| funcs.iter()).for_each(|func| func.set_group(&a));
        let mut members = a.0.members.borrow_mut();
        members.memories.append(&mut moved.memories);
        members.tables.append(&mut moved.tables);
        members.globals.append(&mut moved.globals);
        members.tags.append(&mut moved.tags);
        members.instances.append(&mut moved.instances);
        members.funcs.append(&mut moved.funcs);
    }

    pub fn downgrade(&self) -> WeakGroup {
        WeakGroup(Rc::downgrade(&self.0))
    }

    /// Calls `f` with every reference of a kind that a member holds, as the reference's 8 bytes.
    pub fn for_each_reference(&self, kind: fn(RefType) -> bool, f: &mut dyn FnMut(u64)) {
        let members = self.0.members.borrow();
        members.tables.iter().for_each(|table| table.for_each_reference(kind, f));
        members.globals.iter().for_each(|global| global.for_each_reference(kind, f));
        members.instances.iter().for_each(|instance| instance.for_each_reference(kind, f));
    }
}

impl WeakGroup {
    pub(crate) fn upgrade(&self) -> Option<Group> {
        self.0.upgrade().map(Group)
    }

    /// Whether the members have been dropped.
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }

    /// Frees the memories of the group before its last handle is dropped, except for pinned ones. They are
    /// empty from then on. For a host that knows that nobody will use a member any more. Does nothing while
    /// wasm of the store runs, because that may belong to the group.
    pub fn release_memories(&self) {
        let Some(group) = self.upgrade() else { return };
        if !group.store().is_running() {
            group.root().0.members.borrow().memories.iter().for_each(|memory| memory.release());
        }
    }
}
