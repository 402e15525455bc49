//! What V8's collector is told of native memory, and what is given back when it has collected.
//!
//! For this room. A memory is much larger than the JavaScript object that keeps it, so V8 has to hear of its
//! bytes. Node runs the finalizers of what V8 collected only when the event loop turns, which a loop of
//! `await instantiate()` never lets it do. So a weak reference, which V8 clears at once, watches each handle
//! that keeps memories. Invariant: whatever JavaScript can reach keeps the handles of its group (in the
//! face), so when such a handle is gone nobody can use its group's memories.

use super::raw::Reference;
use super::realm::Realm;
use crate::guest_napi::Guests;
use engine::WeakGroup;
use napi::sys;
use std::cell::{Cell, RefCell};

/// A collection is worth while for so many bytes beyond those that the last one left.
const MUCH: usize = 256 << 20;
/// So many bytes that V8 collects at once.
const PRESSURE: i64 = 1 << 40;
/// How many handles are watched before a first search for those that are gone.
const FEW: usize = 256;

/// From how many bytes on a collection is worth while, if the last one left so many.
fn worth(left: usize) -> usize {
    left.saturating_add(left.max(MUCH))
}

pub struct Collector {
    /// How many of the store's bytes V8 knows of.
    told: Cell<usize>,
    collect_at: Cell<usize>,
    watched: RefCell<Vec<Watched>>,
    look_at: Cell<usize>,
}

struct Watched {
    /// Weak, to a handle of a member.
    handle: Reference,
    group: WeakGroup,
}

impl Default for Collector {
    fn default() -> Collector {
        Collector {
            told: Cell::new(0),
            collect_at: Cell::new(MUCH),
            watched: RefCell::default(),
            look_at: Cell::new(FEW),
        }
    }
}

impl Realm {
    /// Gives the memories of `group` back soon after its `handle` is garbage.
    pub fn watch(&self, handle: sys::napi_value, group: WeakGroup) {
        // Without the reference the finalizer gives them back, later.
        let Ok(handle) = Reference::weak(self.env, handle) else { return };
        let mut watched = self.collector.watched.borrow_mut();
        if watched.len() >= self.collector.look_at.get() {
            watched.retain(|watched| !watched.group.is_gone());
            self.collector.look_at.set((watched.len() * 2).max(FEW));
        }
        watched.push(Watched { handle, group });
    }

    /// Tells V8 what memories, tables and exceptions take. Lets it collect if that is much more than the last
    /// collection left. Must be called when there may be more.
    pub fn account(&self) {
        let collector = &self.collector;
        if self.collectable() > collector.collect_at.get() {
            self.collect();
        }
        let bytes = self.collectable();
        self.tell_collector(bytes as i64 - collector.told.replace(bytes) as i64);
        collector.collect_at.set(collector.collect_at.get().min(worth(bytes)));
    }

    /// The bytes that a collection may give back. Native modules live until they are closed, so those of their memories
    /// would have V8 collect in vain, also when one is loaded: most begin with 64 MB, which nobody has touched.
    fn collectable(&self) -> usize {
        let of_guests = self.guests.get().map_or(0, Guests::bytes);
        self.store.bytes().saturating_sub(of_guests)
    }

    /// Makes something that needs address space or memory. If there is none, V8 collects, and it is tried
    /// once more.
    pub fn with_room<T, E>(
        &self,
        make: impl Fn() -> Result<T, E>,
        lacks_room: impl Fn(&E) -> bool,
    ) -> Result<T, E> {
        match make() {
            Err(error) if lacks_room(&error) => {
                self.collect();
                make()
            }
            made => made,
        }
    }

    /// Lets V8 collect, and gives back what nobody can use any more.
    #[cold]
    pub fn collect(&self) {
        self.tell_collector(PRESSURE);
        self.tell_collector(-PRESSURE);
        let watched = self.collector.watched.take();
        let (kept, gone): (Vec<Watched>, Vec<Watched>) =
            watched.into_iter().partition(|watched| watched.handle.is_alive());
        gone.iter().for_each(|watched| watched.group.release_memories());
        let running = self.store.is_running();
        let mut watched = self.collector.watched.borrow_mut();
        watched.extend(kept);
        if running {
            // Wasm runs, so nothing was given back. The next collection tries again.
            watched.extend(gone);
        }
        drop(watched);
        self.collector.collect_at.set(worth(self.collectable()));
    }

    /// Gives all memories back but those with buffers whose bytes others may have: the environment has ended.
    pub fn release_memories(&self) {
        self.collector.watched.take().iter().for_each(|watched| watched.group.release_memories());
    }

    fn tell_collector(&self, bytes: i64) {
        let mut all = 0;
        // The status can be ignored: the call fails only for null.
        // SAFETY: `env` is the environment of this thread.
        unsafe { sys::napi_adjust_external_memory(self.env, bytes, &mut all) };
    }
}
