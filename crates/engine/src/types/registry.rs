//! The process-wide identity of function types.
//!
//! Invariants: two function types have the same [`TypeId`] exactly if they are equal by the specification, in
//! any modules of the process. A signature check is therefore one integer comparison. A held type knows all
//! its supertypes, so a subtype test takes no lock. The registry is read only to get from an identity to its
//! type.

use super::{FuncType, HeapType};
use once_cell::sync::Lazy;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard, Weak};

/// The process-wide identity of a function type. It is never reused for another type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TypeId(pub u32);

/// A function type with its identity. It keeps the identities of its whole recursion group alive.
#[derive(Clone)]
pub struct SharedFuncType {
    group: Arc<RecGroup>,
    /// The place in the group.
    index: u32,
    /// Kept here, because an instance writes down those of all types of its module.
    id: TypeId,
}

struct RecGroup {
    key: Arc<[SubType]>,
    types: Vec<Registered>,
    /// The types of other groups that this one refers to, held so that their identities stay valid.
    references: Vec<SharedFuncType>,
}

struct Registered {
    ty: FuncType,
    /// The supertypes of this type, from the root down to the type itself. The specification allows at most
    /// 63.
    display: Box<[TypeId]>,
    is_final: bool,
}

impl Registered {
    fn id(&self) -> TypeId {
        self.display[self.display.len() - 1]
    }
}

/// One type of a recursion group before it has an identity.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SubType {
    pub ty: FuncType,
    pub supertype: Option<HeapType>,
    pub is_final: bool,
}

#[derive(Default)]
struct Registry {
    groups: HashMap<Arc<[SubType]>, Weak<RecGroup>>,
    by_id: HashMap<TypeId, (Weak<RecGroup>, usize)>,
    next: u32,
}

static REGISTRY: Lazy<RwLock<Registry>> = Lazy::new(RwLock::default);

/// Locks the registry for writing. Do not drop a `SharedFuncType` while holding the guard: dropping the last
/// one of a group takes the lock again.
fn registry() -> RwLockWriteGuard<'static, Registry> {
    REGISTRY.write().unwrap_or_else(PoisonError::into_inner)
}

impl SharedFuncType {
    /// Registers a type that is alone in its recursion group and does not refer to the group.
    pub fn new(ty: FuncType) -> SharedFuncType {
        let group = SharedFuncType::intern(&[SubType { ty, supertype: None, is_final: true }]);
        SharedFuncType::of(group, 0)
    }

    /// Registers a recursion group (spec: "Rolling" of recursive types) and returns its types in order.
    /// `HeapType::Recursive(i)` refers to the group's own `i`-th type.
    pub fn register_group(types: &[SubType]) -> Vec<SharedFuncType> {
        let group = SharedFuncType::intern(types);
        (0..types.len()).map(|index| SharedFuncType::of(group.clone(), index)).collect()
    }

    fn intern(types: &[SubType]) -> Arc<RecGroup> {
        // Declared before the guard, so that it is dropped after it.
        let mut references = Vec::new();
        let mut registry = registry();
        if let Some(known) = registry.groups.get(types).and_then(Weak::upgrade) {
            return known;
        }
        let first = registry.next;
        registry.next = first
            .checked_add(types.len() as u32)
            .unwrap_or_else(|| panic!("four billion function types in one process"));
        let resolve = |heap| match heap {
            HeapType::Recursive(i) => HeapType::Concrete(TypeId(first + i)),
            other => other,
        };
        let mut note = |heap| {
            if let HeapType::Concrete(id) = heap
                && let Some((group, index)) = registry.by_id.get(&id)
                && let Some(group) = group.upgrade()
            {
                references.push(SharedFuncType::of(group, *index));
            }
            heap
        };
        for sub in types {
            sub.ty.map_refs(&mut note);
            sub.supertype.map(&mut note);
        }
        let mut registered: Vec<Registered> = Vec::with_capacity(types.len());
        for (i, sub) in types.iter().enumerate() {
            // A supertype is declared before its subtypes (spec: "Sub types").
            let mut display = match sub.supertype {
                Some(HeapType::Recursive(i)) => {
                    registered.get(i as usize).map(|ty| ty.display.to_vec()).unwrap_or_default()
                }
                Some(HeapType::Concrete(id)) => {
                    let ty = references.iter().find(|ty| ty.id() == id);
                    ty.map(|ty| ty.get().display.to_vec()).unwrap_or_default()
                }
                _ => Vec::new(),
            };
            display.push(TypeId(first + i as u32));
            registered.push(Registered {
                ty: sub.ty.map_refs(resolve),
                display: display.into(),
                is_final: sub.is_final,
            });
        }
        let group = Arc::new(RecGroup { key: types.into(), types: registered, references });
        for (index, ty) in group.types.iter().enumerate() {
            registry.by_id.insert(ty.id(), (Arc::downgrade(&group), index));
        }
        registry.groups.insert(group.key.clone(), Arc::downgrade(&group));
        group
    }

    fn of(group: Arc<RecGroup>, index: usize) -> SharedFuncType {
        let id = group.types[index].id();
        SharedFuncType { group, index: index as u32, id }
    }

    fn get(&self) -> &Registered {
        &self.group.types[self.index as usize]
    }

    pub fn id(&self) -> TypeId {
        self.id
    }

    pub fn ty(&self) -> &FuncType {
        &self.get().ty
    }

    pub fn is_final(&self) -> bool {
        self.get().is_final
    }

    /// Whether this type is `other` or a subtype of it. Takes no lock.
    pub fn matches(&self, other: &SharedFuncType) -> bool {
        self.get().display.get(other.get().display.len() - 1) == Some(&other.id())
    }

    /// Whether this type is the type `id` or a subtype of it. Takes no lock.
    pub fn is_a(&self, id: TypeId) -> bool {
        self.get().display.contains(&id)
    }

    /// The registered type with this identity, if the process still holds it.
    pub fn from_id(id: TypeId) -> Option<SharedFuncType> {
        let registry = REGISTRY.read().unwrap_or_else(PoisonError::into_inner);
        let (group, index) = registry.by_id.get(&id)?;
        group.upgrade().map(|group| SharedFuncType::of(group, *index))
    }
}

impl Drop for RecGroup {
    fn drop(&mut self) {
        let mut registry = registry();
        for ty in &self.types {
            registry.by_id.remove(&ty.id());
        }
        // Another thread may have registered the same types again since the last reference was dropped.
        if registry.groups.get(&self.key).is_some_and(|group| group.strong_count() == 0) {
            registry.groups.remove(&self.key);
        }
        drop(registry);
        // Types may refer to each other in a chain of any length. To avoid deep recursion, each group hands
        // over its references before it is dropped.
        let mut references = std::mem::take(&mut self.references);
        while let Some(reference) = references.pop() {
            if let Some(mut group) = Arc::into_inner(reference.group) {
                references.append(&mut group.references);
            }
        }
    }
}

impl PartialEq for SharedFuncType {
    fn eq(&self, other: &SharedFuncType) -> bool {
        self.id() == other.id()
    }
}

impl fmt::Debug for SharedFuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.ty(), self.id().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ValType;
    use std::sync::mpsc;
    use std::time::Duration;

    fn sub(supertype: Option<HeapType>) -> SubType {
        SubType { ty: FuncType::new([ValType::I32], []), supertype, is_final: false }
    }

    #[test]
    fn a_test_of_subtyping_takes_no_lock() {
        let of_one_group = SharedFuncType::register_group(&[sub(None), sub(Some(HeapType::Recursive(0)))]);
        let [top, middle] = &of_one_group[..] else { unreachable!("two types were given") };
        let bottom = SharedFuncType::register_group(&[sub(Some(HeapType::Concrete(middle.id())))]).remove(0);
        let other = SharedFuncType::register_group(&[sub(Some(HeapType::Concrete(top.id())))]).remove(0);
        let types = [top.clone(), middle.clone(), bottom, other];
        let (answer, answered) = mpsc::channel();
        let held = registry();
        std::thread::spawn({
            let types = types.clone();
            move || {
                let all = types.each_ref().map(|a| types.each_ref().map(|b| a.matches(b)));
                let by_id = types.each_ref().map(|a| types.each_ref().map(|b| a.is_a(b.id())));
                assert_eq!(all, by_id);
                answer.send(all)
            }
        });
        let matches = answered.recv_timeout(Duration::from_secs(60));
        drop(held);
        assert_eq!(
            matches.expect("answers while the registry is locked"),
            [
                [true, false, false, false],
                [true, true, false, false],
                [true, true, true, false],
                [true, false, false, true],
            ]
        );
    }
}
