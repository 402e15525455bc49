//! Memories as the embedder holds them.

use crate::abi::MemoryStyle;
use crate::engine::Module;
use crate::runtime::vm::group::{Group, WeakGroup};
use crate::runtime::vm::memory::{MemoryObj, Pin};
use crate::runtime::vm::shared_memory::{MemoryHost, SharedMemory};
use crate::runtime::vm::store::Store;
use crate::runtime::vm::traps::Error;
use crate::runtime::vm::vm_box::VmBox;
use crate::types::MemoryType;
use std::ops::Range;
use std::ptr::NonNull;
use std::rc::Rc;

/// A handle to a memory.
#[derive(Clone)]
pub struct Memory {
    group: Group,
    obj: NonNull<MemoryObj>,
}

impl Memory {
    /// Makes a memory for code of the store's engine.
    pub fn new(store: &Store, ty: MemoryType) -> Result<Memory, Error> {
        Ok(Memory::adopt(store, MemoryObj::new(store, store.engine(), ty, None)?))
    }

    /// Makes a memory for the code of a module, which may assume more than that of the store's engine.
    pub fn for_module(store: &Store, module: &Module, ty: MemoryType) -> Result<Memory, Error> {
        Ok(Memory::adopt(store, MemoryObj::new(store, module.engine(), ty, None)?))
    }

    pub(crate) fn of_shared(store: &Store, shared: SharedMemory, host: Option<Rc<dyn MemoryHost>>) -> Memory {
        Memory::adopt(store, MemoryObj::of_shared(store, shared, host))
    }

    fn adopt(store: &Store, obj: VmBox<MemoryObj>) -> Memory {
        let group = Group::new(store);
        let ptr = obj.as_ptr();
        group.add(|members| members.memories.push(obj));
        Memory { group, obj: ptr }
    }

    pub(crate) fn of(group: Group, obj: NonNull<MemoryObj>) -> Memory {
        Memory { group, obj }
    }

    fn obj(&self) -> &MemoryObj {
        // SAFETY: our group keeps the object alive, and only shared references to it are ever made (`VmBox`).
        unsafe { self.obj.as_ref() }
    }

    /// What other threads need to use this memory, if its type is shared and the engine owns its bytes.
    pub fn share(&self) -> Option<SharedMemory> {
        match self.obj().shared()? {
            (memory, None) => Some(memory.clone()),
            // Another thread could not keep the host's bytes alive.
            (_, Some(_)) => None,
        }
    }

    /// The declared type. Its minimum is still the one the memory was made with.
    pub fn ty(&self) -> MemoryType {
        self.obj().ty()
    }

    /// The address of the first byte. It changes only when a bounded memory grows that is not shared and
    /// has no [`Pin`].
    pub fn base(&self) -> *mut u8 {
        self.obj().base()
    }

    pub fn byte_len(&self) -> usize {
        self.obj().byte_len()
    }

    /// The current size in pages.
    pub fn size(&self) -> u64 {
        self.obj().pages()
    }

    /// Updates the length after the host may have grown its bytes.
    pub fn follow_host(&self) {
        if let Some((memory, Some(host))) = self.obj().shared() {
            memory.follow(host);
        }
    }

    /// A weak reference to the group that can reach the memory.
    pub fn weak_group(&self) -> WeakGroup {
        self.group.root().downgrade()
    }

    /// A number that changes whenever the memory grows, even by zero pages, and when it is closed. Holders
    /// of addresses of its bytes compare it to see whether to look again. Shared memories never need it.
    pub fn generation(&self) -> u64 {
        self.obj().generation()
    }

    /// Keeps the bytes in place as long as the pin and the memory live. Shared bytes never move anyway.
    pub fn pin(&self) -> Pin {
        self.obj().pin()
    }

    /// Keeps the pages mapped for ever. For a holder of a [`Pin`] that is not told when the last user of
    /// the bytes is gone.
    pub fn abandon(&self, pin: &Pin) {
        self.obj().abandon(pin);
    }

    /// The same for some of the bytes alone: the rest goes with the memory.
    pub fn abandon_bytes(&self, pin: &Pin, bytes: Range<usize>) {
        self.obj().abandon_bytes(pin, bytes);
    }

    /// Grows by `delta` pages. Returns the old size, or `None` if the memory cannot grow.
    pub fn grow(&self, delta: u64) -> Option<u64> {
        self.obj().grow(delta)
    }

    /// An identity: equal for two handles to the same memory. A shared memory has one for all stores.
    pub fn id(&self) -> usize {
        self.obj().definition() as usize
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    /// Whether a module's code can work on this memory: it may assume guard pages, which memories of a host
    /// lack.
    pub fn suits(&self, module: &Module) -> bool {
        let assumed = module.engine().tunables().style_of(&self.ty());
        assumed == MemoryStyle::Bounded || self.obj().style() == MemoryStyle::Reserved
    }

    pub(crate) fn as_ptr(&self) -> NonNull<MemoryObj> {
        self.obj
    }
}

impl SharedMemory {
    /// Makes a handle for a store. Fails if the bytes belong to a host, which must keep them.
    pub fn to_memory(&self, store: &Store) -> Result<Memory, Error> {
        if self.is_hosts() {
            return Err(Error::Internal("a memory of the host's without the host".into()));
        }
        Ok(Memory::of_shared(store, self.clone(), None))
    }

    /// As [`SharedMemory::to_memory`], for a memory whose bytes belong to the host.
    pub fn with_host(self, store: &Store, host: Rc<dyn MemoryHost>) -> Memory {
        Memory::of_shared(store, self, Some(host))
    }
}
