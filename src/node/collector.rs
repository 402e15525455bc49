//! What V8's collector is told of native memory, and what is given back when it has collected.
//!
//! For this room. A memory is much larger than the JavaScript object that keeps it, so V8 has to hear of its
//! bytes. It marks its heap for each 64 MB that it hears of, so where bytes that nobody has touched cost nothing,
//! it hears of the others alone. Node runs the finalizers of what V8 collected only when the event loop turns,
//! which a loop of `await instantiate()` never lets it do. So a weak reference, which V8 clears at once, watches
//! each handle that keeps memories. Invariant: whatever JavaScript can reach keeps the handles of its group (in
//! the face), so when such a handle is gone nobody can use its group's memories.

use super::platform;
use super::raw::Reference;
use super::realm::Realm;
use crate::guest_napi::Guests;
use engine::{MemoryStyle, WeakGroup};
use napi::sys;
use std::cell::{Cell, RefCell};

/// A collection is worth while for so many touched bytes beyond those that the last one left.
const MUCH: usize = 256 << 20;
/// And for memories of this size, touched or not: pages that the system has swapped out do not show as touched.
const LARGE: usize = 4 << 30;
/// What a handle counts in that size: a memory takes 4 GiB of address space and three mappings, however small it is.
const MAPPINGS: usize = 1 << 20;
/// How much the size may grow until it is asked how much was touched.
const STEP: usize = 32 << 20;
/// So many bytes that V8 collects at once.
const PRESSURE: i64 = 1 << 40;
/// How many handles are watched before a first search for those that are gone.
const FEW: usize = 256;

/// From how many bytes on a collection is worth while, if the last one left so many.
fn worth(left: usize, much: usize) -> usize {
    left.saturating_add(left.max(much))
}

pub struct Collector {
    /// How many bytes V8 knows of.
    told: Cell<usize>,
    /// How many of the memories' bytes were touched when that was last asked, at the most: other bytes of the process
    /// may have become more, too.
    touched: Cell<usize>,
    /// The fewest bytes that the process had when that was asked. They are taken not to be the memories'.
    without: Cell<usize>,
    /// The size from which on that is asked again.
    ask_at: Cell<usize>,
    /// The touched bytes, and the size, from which on V8 collects.
    collect_at: Cell<[usize; 2]>,
    watched: RefCell<Vec<Watched>>,
    search_at: Cell<usize>,
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
            touched: Cell::new(0),
            without: Cell::new(usize::MAX),
            ask_at: Cell::new(STEP),
            collect_at: Cell::new([MUCH, LARGE]),
            watched: RefCell::default(),
            search_at: Cell::new(FEW),
        }
    }
}

impl Realm {
    /// Gives the memories of `group` back soon after its `handle` is garbage.
    pub fn watch(&self, handle: sys::napi_value, group: WeakGroup) {
        // Without the reference the finalizer gives them back, later.
        let Ok(handle) = Reference::weak(self.env, handle) else { return };
        let mut watched = self.collector.watched.borrow_mut();
        if watched.len() >= self.collector.search_at.get() {
            watched.retain(|watched| !watched.group.is_gone());
            self.collector.search_at.set((watched.len() * 2).max(FEW));
        }
        watched.push(Watched { handle, group });
    }

    /// Tells V8 what memories, tables and exceptions take. Lets it collect if that is much more than the last
    /// collection left. Must be called when there may be more.
    pub fn account(&self) {
        let collector = &self.collector;
        if self.size() >= collector.ask_at.get() {
            self.ask();
            let [touched, size] = collector.collect_at.get();
            if collector.touched.get() > touched || self.size() > size {
                self.collect();
            }
        }
        let bytes = collector.touched.get().min(self.collectable());
        self.tell_collector(bytes as i64 - collector.told.replace(bytes) as i64);
        // What Node's finalizers have given back is no reason to wait for more.
        collector.ask_at.set(collector.ask_at.get().min(self.size() + STEP));
        let [touched, size] = collector.collect_at.get();
        collector.collect_at.set([touched.min(worth(bytes, MUCH)), size.min(worth(self.size(), LARGE))]);
    }

    /// Asks how much was touched.
    fn ask(&self) {
        let collector = &self.collector;
        let bytes = self.collectable();
        // The engine reserves nothing if there is little address space, and then untouched bytes take of that.
        let reserved = self.store.engine().tunables().memory == MemoryStyle::Reserved;
        match reserved.then(platform::touched_bytes).flatten() {
            Some(all) => {
                let without = collector.without.get().min(all);
                collector.without.set(without);
                collector.touched.set((all - without).min(bytes));
                collector.ask_at.set(self.size() + STEP);
            }
            None => {
                collector.touched.set(bytes);
                collector.ask_at.set(0);
            }
        }
    }

    /// Of the memories that a collection may give back, with what their mappings count.
    fn size(&self) -> usize {
        self.collectable() + self.collector.watched.borrow().len() * MAPPINGS
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
        self.ask();
        let touched = self.collector.touched.get();
        self.collector.collect_at.set([worth(touched, MUCH), worth(self.size(), LARGE)]);
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
