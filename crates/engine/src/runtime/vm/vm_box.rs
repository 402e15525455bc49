//! Owns what compiled code, or another object of the runtime, has a pointer to.
//!
//! For `runtime/`. Invariant: between making and dropping there are shared references to the object
//! and raw pointers, never a `&mut`: what changes is in cells. So whoever reaches it at the same time, a
//! libcall and the collection that it starts, say, may read and write it, and moving the owner leaves every
//! pointer good. (A `Box` says with each move that nobody else has a pointer.)

use std::ops::Deref;
use std::ptr::NonNull;

pub struct VmBox<T: ?Sized>(NonNull<T>);

impl<T> VmBox<T> {
    pub fn new(value: T) -> VmBox<T> {
        Box::new(value).into()
    }
}

impl<T: ?Sized> VmBox<T> {
    /// Good as long as the box, wherever that is moved to.
    pub fn as_ptr(&self) -> NonNull<T> {
        self.0
    }
}

impl<T: ?Sized> From<Box<T>> for VmBox<T> {
    fn from(value: Box<T>) -> VmBox<T> {
        VmBox(NonNull::from(Box::leak(value)))
    }
}

impl<T: ?Sized> Deref for VmBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: ours until it is dropped, and nobody makes a `&mut` of it.
        unsafe { self.0.as_ref() }
    }
}

impl<T: ?Sized> Drop for VmBox<T> {
    fn drop(&mut self) {
        // SAFETY: leaked from a box when made, and nobody who has a pointer uses it any more: that is what
        // the owner, a group or a store, is there for.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
