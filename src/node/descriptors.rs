//! The descriptors of a realm's programs, which go with its environment.
//!
//! For this room. A runtime need not run the finalizers of what JavaScript still holds when an environment ends: Bun does
//! not. What the process has only so much of must not wait for them. Invariant: this keeps nothing alive.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

/// What has descriptors.
pub trait Holder {
    /// The environment has ended, and nobody uses them any more.
    fn let_go(&self);
}

#[derive(Default)]
pub struct Descriptors {
    holders: RefCell<Vec<Weak<dyn Holder>>>,
}

impl Descriptors {
    pub fn follow<T: Holder + 'static>(&self, holder: &Arc<T>) {
        let mut holders = self.holders.borrow_mut();
        if holders.len() == holders.capacity() {
            holders.retain(|holder| holder.strong_count() > 0);
        }
        let holder: Weak<T> = Arc::downgrade(holder);
        holders.push(holder);
    }

    pub fn let_go(&self) {
        self.holders.take().iter().filter_map(Weak::upgrade).for_each(|holder| holder.let_go());
    }
}
