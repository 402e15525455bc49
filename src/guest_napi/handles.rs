//! The values that a guest holds, by number, and the scopes that let them go.
//!
//! For this room. A guest's `napi_value` is the place of the host's in this table, plus one, so it can forge
//! no pointer: a number beyond the table's end is refused. Invariants: the table's values are handles of
//! host scopes that are open. A callback's values are cut off when it returns, those of a scope when it
//! is closed, and scopes close in the reverse order of opening, whatever the guest asks for: V8 needs that.

use super::call::Arguments;
use super::status::{Done, Status, check};
use napi::sys;
use std::cell::RefCell;
use std::ptr;

/// So many values a guest may hold at a time.
const MOST: usize = 1 << 25;
/// Room that is kept for the next call.
const KEPT: usize = 1 << 12;

#[derive(Default)]
pub struct Handles {
    values: RefCell<Vec<sys::napi_value>>,
    scopes: RefCell<Vec<Scope>>,
}

struct Scope {
    /// The guest's name for it.
    number: u32,
    /// How many values there were.
    values: usize,
    host: HostScope,
}

#[derive(Clone, Copy)]
enum HostScope {
    Plain(sys::napi_handle_scope),
    /// The place of the value that escapes lies before the scope's own values.
    Escapable(sys::napi_escapable_handle_scope),
}

/// How much a table held when a callback was entered.
#[derive(Clone, Copy)]
pub struct Mark {
    values: usize,
    scopes: usize,
}

impl Handles {
    /// The host's value.
    #[inline(always)]
    pub fn get(&self, handle: u32) -> Result<sys::napi_value, Status> {
        let values = self.values.borrow();
        let value = values.get((handle as usize).wrapping_sub(1)).copied();
        value.filter(|value| !value.is_null()).ok_or(Status::INVALID_ARG)
    }

    /// The guest's number for a value.
    #[inline(always)]
    pub fn push(&self, value: sys::napi_value) -> Result<u32, Status> {
        let mut values = self.values.borrow_mut();
        if values.len() == values.capacity() {
            Handles::make_room(&mut values)?;
        }
        values.push(value);
        Ok(values.len() as u32)
    }

    /// The guest's numbers for some values: the first of them, which the others follow.
    #[inline(always)]
    pub fn push_all(&self, some: &[sys::napi_value]) -> Result<u32, Status> {
        let mut values = self.values.borrow_mut();
        if values.capacity() - values.len() < some.len() {
            Handles::make_room(&mut values)?;
        }
        let first = values.len() as u32 + 1;
        values.extend_from_slice(some);
        Ok(first)
    }

    /// Makes room for as many as a call has arguments.
    #[cold]
    fn make_room(values: &mut Vec<sys::napi_value>) -> Done {
        const { assert!(Arguments::FIRST < 64) };
        if values.len() >= MOST || values.try_reserve(values.len().max(64)).is_err() {
            return Err(Status::GENERIC_FAILURE);
        }
        Ok(())
    }

    #[inline(always)]
    pub fn mark(&self) -> Mark {
        Mark { values: self.values.borrow().len(), scopes: self.scopes.borrow().len() }
    }

    /// Whether the guest has opened a scope since `mark`.
    #[inline(always)]
    pub fn has_scope(&self, mark: Mark) -> bool {
        self.scopes.borrow().len() > mark.scopes
    }

    /// Closes what was opened since `mark` and lets its values go. Those of the callback itself belong to the
    /// scope that Node has opened around it.
    #[inline(always)]
    pub fn reset(&self, env: sys::napi_env, mark: Mark) {
        if self.has_scope(mark) {
            self.close_to(env, mark.scopes);
        }
        let mut values = self.values.borrow_mut();
        values.truncate(mark.values);
        if values.capacity() > 4 * KEPT && values.len() < KEPT {
            values.shrink_to(KEPT);
        }
    }

    #[cold]
    fn close_to(&self, env: sys::napi_env, scopes: usize) {
        while self.scopes.borrow().len() > scopes {
            let Some(scope) = self.scopes.borrow_mut().pop() else { return };
            close(env, scope.host);
        }
    }

    /// Opens a scope; `number` is a new name for it.
    pub fn open(&self, env: sys::napi_env, number: u32, escapable: bool) -> Done {
        if escapable {
            // The place of what escapes.
            self.push(ptr::null_mut())?;
        }
        let mut scopes = self.scopes.borrow_mut();
        scopes.try_reserve(1).map_err(|_| Status::GENERIC_FAILURE)?;
        // SAFETY: the environment of this thread.
        let host = unsafe {
            match escapable {
                false => {
                    let mut scope = ptr::null_mut();
                    check(sys::napi_open_handle_scope(env, &mut scope))?;
                    HostScope::Plain(scope)
                }
                true => {
                    let mut scope = ptr::null_mut();
                    check(sys::napi_open_escapable_handle_scope(env, &mut scope))?;
                    HostScope::Escapable(scope)
                }
            }
        };
        scopes.push(Scope { number, values: self.values.borrow().len(), host });
        Ok(())
    }

    /// Closes the innermost scope, which must have been opened since `mark` and have this number.
    pub fn close(&self, env: sys::napi_env, mark: Mark, number: u32, escapable: bool) -> Done {
        let scope = {
            let mut scopes = self.scopes.borrow_mut();
            let own = scopes.len() > mark.scopes;
            let fits = |scope: &Scope| {
                scope.number == number && matches!(scope.host, HostScope::Escapable(_)) == escapable
            };
            if !own || !scopes.last().is_some_and(fits) {
                return Err(Status::HANDLE_SCOPE_MISMATCH);
            }
            scopes.pop().ok_or(Status::HANDLE_SCOPE_MISMATCH)?
        };
        close(env, scope.host);
        self.values.borrow_mut().truncate(scope.values);
        Ok(())
    }

    /// Moves a value out of an escapable scope: its number outside.
    pub fn escape(
        &self,
        env: sys::napi_env,
        mark: Mark,
        number: u32,
        value: sys::napi_value,
    ) -> Result<u32, Status> {
        let (place, host) = {
            let scopes = self.scopes.borrow();
            let own = scopes.get(mark.scopes..).unwrap_or_default();
            let scope = own.iter().find(|scope| scope.number == number).ok_or(Status::INVALID_ARG)?;
            let HostScope::Escapable(host) = scope.host else { return Err(Status::INVALID_ARG) };
            (scope.values - 1, host)
        };
        let mut escaped = ptr::null_mut();
        // SAFETY: the scope is open, and the value is a handle of a scope that is.
        check(unsafe { sys::napi_escape_handle(env, host, value, &mut escaped) })?;
        *self.values.borrow_mut().get_mut(place).ok_or(Status::GENERIC_FAILURE)? = escaped;
        Ok(place as u32 + 1)
    }
}

fn close(env: sys::napi_env, scope: HostScope) {
    // The statuses can be ignored: the calls fail only for scopes that were never opened.
    // SAFETY: the scope was opened by `open`, is the innermost, and is closed once.
    unsafe {
        match scope {
            HostScope::Plain(scope) => sys::napi_close_handle_scope(env, scope),
            HostScope::Escapable(scope) => sys::napi_close_escapable_handle_scope(env, scope),
        };
    }
}
