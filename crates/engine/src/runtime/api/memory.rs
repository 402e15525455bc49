//! Memories as the embedder holds them.

use crate::runtime::vm::group::{Group, WeakGroup};
use crate::runtime::vm::memory::{MemoryObj, Pin};
use crate::runtime::vm::shared_memory::{MemoryHost, SharedMemory};
use crate::runtime::vm::store::Store;
use crate::runtime::vm::traps::Error;
use crate::runtime::vm::vm_box::VmBox;
use crate::types::MemoryType;
use std::ptr::NonNull;
use std::rc::Rc;

/// A handle to a memory.
#[derive(Clone)]
pub struct Memory {
    group: Group,
    obj: NonNull<MemoryObj>,
}

impl Memory {
    pub fn new(store: &Store, ty: MemoryType) -> Result<Memory, Error> {
        Ok(Memory::adopt(store, MemoryObj::new(store, ty)?))
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
        // SAFETY: our group keeps the object, and only shared references to it are ever made (`VmBox`).
        unsafe { self.obj.as_ref() }
    }

    /// What other threads need to use this memory, if its type is shared and the bytes are ours.
    pub fn share(&self) -> Option<SharedMemory> {
        match self.obj().shared()? {
            (memory, None) => Some(memory.clone()),
            // Another thread could not keep the host's bytes.
            (_, Some(_)) => None,
        }
    }

    /// The declared type; its minimum stays what it was when the memory was made.
    pub fn ty(&self) -> MemoryType {
        self.obj().ty()
    }

    /// Where the memory starts. Moves only when a bounded memory that is not shared and has no [`Pin`]
    /// grows.
    pub fn base(&self) -> *mut u8 {
        self.obj().base()
    }

    pub fn byte_len(&self) -> usize {
        self.obj().byte_len()
    }

    /// Current size in pages.
    pub fn size(&self) -> u64 {
        self.obj().pages()
    }

    /// Notes that the host's bytes may have become more.
    pub fn follow_host(&self) {
        if let Some((memory, Some(host))) = self.obj().shared() {
            memory.follow(host);
        }
    }

    /// What can reach the memory, without keeping it.
    pub fn weak_group(&self) -> WeakGroup {
        self.group.root().downgrade()
    }

    /// Changes whenever the memory grows, also by nothing, and when it is closed. Those who have
    /// addresses of its bytes see then that they are to look again; what is shared never asks for it.
    pub fn generation(&self) -> u64 {
        self.obj().generation()
    }

    /// Has the bytes stay where they are as long as the pin and the memory live. Shared ones do anyway.
    pub fn pin(&self) -> Pin {
        self.obj().pin()
    }

    /// Has the pages stay mapped for ever. For the holder of a [`Pin`] who will not hear when the last
    /// user of the bytes goes.
    pub fn abandon(&self, pin: &Pin) {
        self.obj().abandon(pin);
    }

    /// Grows by `delta` pages; the old size, or `None` if it cannot.
    pub fn grow(&self, delta: u64) -> Option<u64> {
        self.obj().grow(delta)
    }

    /// The same for the same memory, in whichever stores a shared one is.
    pub fn id(&self) -> usize {
        self.obj().definition() as usize
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    pub(crate) fn as_ptr(&self) -> NonNull<MemoryObj> {
        self.obj
    }
}

impl SharedMemory {
    /// A handle for a store. Fails if the store's engine takes for granted a way of lying in
    /// memory that is not this one's, and for bytes that a host must keep.
    pub fn to_memory(&self, store: &Store) -> Result<Memory, Error> {
        self.check_style(store)?;
        if self.is_hosts() {
            return Err(Error::Internal("a memory of the host's without the host".into()));
        }
        Ok(Memory::of_shared(store, self.clone(), None))
    }

    /// [`SharedMemory::to_memory`] for a memory of the host's.
    pub fn with_host(self, store: &Store, host: Rc<dyn MemoryHost>) -> Result<Memory, Error> {
        self.check_style(store)?;
        Ok(Memory::of_shared(store, self, Some(host)))
    }
}
