//! The guest's copies of JavaScript's bytes.
//!
//! For `bytes.rs` and `call.rs`. A guest has no other way to bytes that lie outside of its memory than a copy.
//! What a native addon could rely on holds all the same: what the guest writes is seen by JavaScript when the
//! call is over and whenever the guest calls JavaScript, and the other way round; two views of the same bytes
//! have the same address; and while the guest has a strong reference to the value, so that it may use the
//! bytes on other threads and in later calls, the copy stays where it is.
//!
//! What may run JavaScript by the way, as a property that has a getter, brings only small copies up to date: it
//! would cost too much for others at each property that a guest reads.
//!
//! Invariant: before bytes of JavaScript's are touched after JavaScript may have run, the host is asked where they
//! are now. What was detached or made smaller meanwhile is left alone.

use super::call::{Activation, Call};
use super::guest::Guest;
use super::status::{Done, Status};
use crate::node::raw;
use guest_memory::GuestMemory;
use napi::sys;
use std::cell::{Cell, RefCell};
use std::ptr;

/// The bytes of the room for small copies, which the guest's `malloc` is asked for once.
const ARENA: u32 = 64 << 10;
/// Larger copies have room of their own.
const SMALL: usize = 16 << 10;
/// From so many bytes on, the system is asked for large pages for a copy: much of the time goes into making pages.
const HUGE: usize = 4 << 20;
/// Larger copies are not brought up to date where JavaScript runs only by the way.
const LARGE: usize = 64 << 10;
/// Bytes that are looked at together, where both sides can have changed some.
const CHUNK: usize = 4096;

#[derive(Default)]
pub struct Copies {
    list: RefCell<Vec<Copy>>,
    /// Whether the list has something.
    any: Cell<bool>,
    /// The bytes of values that the guest has strong references to: the reference, start and length.
    held: RefCell<Vec<(u32, usize, usize)>>,
    /// The guest's room for small copies, and how much of it is in use.
    arena: Cell<u32>,
    used: Cell<u32>,
    /// How often JavaScript may have run.
    turns: Cell<u64>,
}

struct Copy {
    /// Where JavaScript has the bytes.
    host: usize,
    len: usize,
    guest: u32,
    holder: Holder,
    room: Room,
    /// The activation that it was made in, as its place on the stack; 0 for one that is kept.
    made_in: usize,
    /// The turn of JavaScript's after which the bytes were known to be there.
    seen_in: u64,
    /// The bytes when both sides last were the same. Only copies that both sides may have changed need it.
    agreed: Option<Vec<u8>>,
}

/// What tells whether the bytes are still there.
enum Holder {
    /// A handle of the activation: the `ArrayBuffer`.
    Handle(sys::napi_value),
    /// A weak reference to it.
    Reference(raw::Reference),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Arena,
    Malloc,
}

/// Bytes of a value, as the host tells of them.
pub struct Bytes {
    pub start: *mut u8,
    pub len: usize,
    pub buffer: sys::napi_value,
}

impl Copies {
    /// The guest's address of these bytes. Those of its own memory are where they are; of others it gets a copy.
    pub fn address_of(&self, call: &Call<'_>, bytes: &Bytes) -> Result<u32, Status> {
        if bytes.len == 0 {
            return Ok(0);
        }
        if let Some(offset) = call.memory().offset_of(bytes.start, bytes.len) {
            return Ok(offset);
        }
        let (start, end) = (bytes.start.addr(), bytes.start.addr() + bytes.len);
        if self.any.get() {
            for copy in self.list.borrow().iter() {
                if copy.host <= start && end <= copy.host + copy.len {
                    return Ok(copy.guest + (start - copy.host) as u32);
                }
            }
        }
        self.make(call, bytes)
    }

    /// Has one side of a part of these bytes be the other's, whatever either has changed.
    pub fn have_same(&self, call: &Call<'_>, all: &Bytes, part: &Bytes, to_guest: bool) -> Done {
        let address = self.address_of(call, all)? + (part.start.addr() - all.start.addr()) as u32;
        let memory = call.memory();
        if part.len == 0 || memory.offset_of(part.start, part.len).is_some() {
            return Ok(());
        }
        // SAFETY: the host has just said where the bytes are, and no JavaScript has run since: the guest's allocator
        // runs alone.
        unsafe {
            match to_guest {
                true => memory.copy_from(address, part.start, part.len)?,
                false => memory.copy_to(address, part.len, part.start)?,
            }
        }
        let of_copy = |copy: &&mut Copy| {
            address.checked_sub(copy.guest).is_some_and(|from| from as usize + part.len <= copy.len)
        };
        if let Some(copy) = self.list.borrow_mut().iter_mut().find(of_copy)
            && let Some(agreed) = &mut copy.agreed
        {
            let from = (address - copy.guest) as usize;
            let place = agreed.get_mut(from..from + part.len).ok_or(Status::GENERIC_FAILURE)?;
            memory.read_into(address, place)?;
        }
        Ok(())
    }

    fn make(&self, call: &Call<'_>, bytes: &Bytes) -> Result<u32, Status> {
        let guest = call.guest;
        let (start, len) = (bytes.start.addr(), bytes.len);
        let activation = guest.current()?;
        let length = u32::try_from(len).map_err(|_| Status::GENERIC_FAILURE)?;
        let is_held = self.is_held(start, len);
        let (address, room) = self.room(guest, length, is_held)?;
        if len >= HUGE {
            call.memory().expect_filled(address, len)?;
        }
        // SAFETY: the host has just said so, and no JavaScript has run since: `room` runs the guest's `malloc`
        // alone.
        let copied = unsafe { call.memory().copy_from(address, bytes.start, len) };
        copied?;
        let holder = self.holder(guest, activation, bytes, is_held)?;
        let mut list = self.list.borrow_mut();
        // Where copies overlap, neither may write back what the other has changed.
        let mut overlaps = false;
        for other in list.iter_mut() {
            if other.host < start + len && start < other.host + other.len {
                overlaps = true;
                if other.agreed.is_none() {
                    other.agreed = Some(snapshot(other.host, other.len)?);
                }
            }
        }
        let agreed = if overlaps || is_held { Some(snapshot(start, len)?) } else { None };
        list.try_reserve(1).map_err(|_| Status::GENERIC_FAILURE)?;
        let made_in = (&raw const *activation).addr();
        self.any.set(true);
        let seen_in = self.turns.get();
        list.push(Copy { host: start, len, guest: address, holder, room, made_in, seen_in, agreed });
        Ok(address)
    }

    /// Room in the guest: of the arena if that will be free again soon, else of its own.
    fn room(&self, guest: &Guest, len: u32, is_held: bool) -> Result<(u32, Room), Status> {
        let small = len as usize <= SMALL && !is_held;
        if small {
            if self.arena.get() == 0 {
                self.arena.set(guest.malloc(ARENA)?);
            }
            let used = self.used.get();
            if used + len <= ARENA {
                // The next one begins at a multiple of 16, as any type may want.
                self.used.set((used + len).next_multiple_of(16).min(ARENA));
                return Ok((self.arena.get() + used, Room::Arena));
            }
        }
        Ok((guest.malloc(len)?, Room::Malloc))
    }

    fn holder(
        &self,
        guest: &Guest,
        activation: &Activation,
        bytes: &Bytes,
        is_held: bool,
    ) -> Result<Holder, Status> {
        if is_held || guest.handles.has_scope(activation.mark) {
            return Ok(Holder::Reference(raw::Reference::weak(guest.host, bytes.buffer)?));
        }
        Ok(Holder::Handle(bytes.buffer))
    }

    /// Whether the guest has a strong reference to a value with some of these bytes.
    fn is_held(&self, start: usize, len: usize) -> bool {
        let held = self.held.borrow();
        !held.is_empty() && held.iter().any(|(_, from, length)| *from < start + len && start < from + length)
    }

    /// The guest has made a strong reference to this value. Tells whether it has bytes that are kept for it.
    pub fn hold(&self, guest: &Guest, reference: u32, value: sys::napi_value) -> bool {
        let Some(bytes) = super::bytes::bytes_of(guest.host, value) else { return false };
        let own = guest.memory().offset_of(bytes.start, bytes.len).is_some();
        if bytes.len == 0 || own || self.held.borrow_mut().try_reserve(1).is_err() {
            return false;
        }
        self.held.borrow_mut().push((reference, bytes.start.addr(), bytes.len));
        true
    }

    /// The guest has let such a reference go. Copies that nothing holds any more end with the activation.
    pub fn let_go(&self, guest: &Guest, reference: u32) {
        self.held.borrow_mut().retain(|(held, ..)| *held != reference);
        let Ok(activation) = guest.current() else { return };
        let here = (&raw const *activation).addr();
        for copy in self.list.borrow_mut().iter_mut() {
            if copy.made_in == 0 && !self.is_held(copy.host, copy.len) {
                copy.made_in = here;
            }
        }
    }

    /// The guest is entered: it sees what JavaScript has written to what is kept for it.
    #[inline(always)]
    pub fn begin(&self, guest: &Guest) {
        self.read_from_javascript(guest);
    }

    /// The guest has returned: JavaScript sees what the guest has written, and room is given back.
    #[inline(always)]
    pub fn end(&self, guest: &Guest, activation: &Activation) {
        if self.any.get() {
            self.end_here(guest, activation);
        }
    }

    fn end_here(&self, guest: &Guest, activation: &Activation) {
        self.synchronize(guest, Direction::ToJavaScript, usize::MAX);
        let here = (&raw const *activation).addr();
        if self.held.borrow().is_empty() {
            // As most calls have it: one small copy, which nothing keeps.
            let mut list = self.list.borrow_mut();
            if matches!(&list[..], [copy] if copy.made_in == here && copy.room == Room::Arena) {
                list.clear();
                self.used.set(0);
                self.any.set(false);
                return;
            }
        }
        loop {
            let ended = {
                let mut list = self.list.borrow_mut();
                let Some(place) = list.iter().rposition(|copy| copy.made_in == here) else { break };
                let copy = &mut list[place];
                if self.is_held(copy.host, copy.len) && keep(guest, copy) {
                    copy.made_in = 0;
                    continue;
                }
                list.swap_remove(place)
            };
            if ended.room == Room::Malloc {
                // A `free` that fails has told JavaScript so.
                let _ = guest.free(ended.guest);
            }
        }
        let mut list = self.list.borrow_mut();
        let in_arena = list.iter().filter(|copy| copy.room == Room::Arena);
        let used = in_arena.map(|copy| copy.guest - self.arena.get() + copy.len as u32).max().unwrap_or(0);
        self.used.set(used.next_multiple_of(16).min(ARENA));
        self.any.set(!list.is_empty());
        if list.is_empty() && list.capacity() > 64 {
            list.shrink_to(8);
        }
    }

    /// JavaScript is about to run.
    #[inline(always)]
    pub fn write_to_javascript(&self, guest: &Guest) {
        if self.any.get() {
            self.synchronize(guest, Direction::ToJavaScript, usize::MAX);
        }
    }

    /// JavaScript has run.
    #[inline(always)]
    pub fn read_from_javascript(&self, guest: &Guest) {
        self.turns.set(self.turns.get() + 1);
        if self.any.get() {
            self.synchronize(guest, Direction::FromJavaScript, usize::MAX);
        }
    }

    /// The guest calls what may run JavaScript by the way.
    #[inline(always)]
    pub fn write_small_to_javascript(&self, guest: &Guest) {
        if self.any.get() {
            self.synchronize(guest, Direction::ToJavaScript, LARGE);
        }
    }

    /// That call is over.
    #[inline(always)]
    pub fn read_small_from_javascript(&self, guest: &Guest) {
        self.turns.set(self.turns.get() + 1);
        if self.any.get() {
            self.synchronize(guest, Direction::FromJavaScript, LARGE);
        }
    }

    /// Brings one side of the copies with at most so many bytes up to date.
    fn synchronize(&self, guest: &Guest, direction: Direction, most: usize) {
        let turn = self.turns.get();
        for copy in self.list.borrow_mut().iter_mut().filter(|copy| copy.len <= most) {
            if copy.seen_in == turn {
                copy.synchronize(guest, direction);
                continue;
            }
            // References make handles.
            let scope = match copy.holder {
                Holder::Handle(_) => None,
                Holder::Reference(_) => Some(raw::HandleScope::open(guest.host)),
            };
            if !matches!(scope, Some(Err(_))) && copy.is_there(guest.host) {
                copy.seen_in = turn;
                copy.synchronize(guest, direction);
            }
        }
    }

    /// The guest ends, and its memory with it.
    pub fn abandon(&self, _: &Guest) {
        self.list.borrow_mut().clear();
        self.any.set(false);
        self.held.borrow_mut().clear();
        self.arena.set(0);
        self.used.set(0);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToJavaScript,
    FromJavaScript,
}

/// Has a copy outlive its activation. False if that cannot be.
fn keep(guest: &Guest, copy: &mut Copy) -> bool {
    if let Holder::Handle(buffer) = copy.holder {
        match raw::Reference::weak(guest.host, buffer) {
            Ok(reference) => copy.holder = Holder::Reference(reference),
            Err(_) => return false,
        }
    }
    if copy.agreed.is_none() {
        match snapshot(copy.host, copy.len) {
            Ok(agreed) => copy.agreed = Some(agreed),
            Err(_) => return false,
        }
    }
    true
}

/// JavaScript's bytes as they are.
fn snapshot(start: usize, len: usize) -> Result<Vec<u8>, Status> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Status::GENERIC_FAILURE)?;
    // SAFETY: the callers know that the bytes are there. Those of a `SharedArrayBuffer` may change meanwhile:
    // no reference to them is made.
    unsafe {
        ptr::copy_nonoverlapping(ptr::with_exposed_provenance::<u8>(start), bytes.as_mut_ptr(), len);
        bytes.set_len(len);
    }
    Ok(bytes)
}

impl Copy {
    /// Whether JavaScript still has the bytes where they were.
    fn is_there(&self, env: sys::napi_env) -> bool {
        let buffer = match &self.holder {
            Holder::Handle(buffer) => Some(*buffer),
            Holder::Reference(reference) => reference.get(),
        };
        let Some(buffer) = buffer else { return false };
        let (mut start, mut len) = (ptr::null_mut(), 0);
        // SAFETY: a handle of an open scope, and local results.
        match raw::check(unsafe { sys::napi_get_arraybuffer_info(env, buffer, &mut start, &mut len) }) {
            Ok(()) => start.addr() <= self.host && self.host + self.len <= start.addr() + len,
            // A `SharedArrayBuffer`, whose bytes nobody can take away as long as it is there.
            Err(raw::Refused) => true,
        }
    }

    fn synchronize(&mut self, guest: &Guest, direction: Direction) {
        let memory = guest.memory();
        let host = ptr::with_exposed_provenance_mut::<u8>(self.host);
        if self.agreed.is_none() {
            // Only one side can have changed them. What is the same is not written.
            // SAFETY: the bytes are there: `is_there` was asked since JavaScript last ran. The guest's memory never
            // shrinks, so its side is there, too.
            let _ = unsafe {
                match direction {
                    Direction::ToJavaScript => memory.copy_changes_to(self.guest, self.len, host),
                    Direction::FromJavaScript => memory.copy_changes_from(self.guest, host, self.len),
                }
            };
            return;
        }
        for from in (0..self.len).step_by(CHUNK) {
            self.reconcile(&memory, host.wrapping_add(from), from);
        }
    }

    /// Each side keeps what it has changed. Where both have, the guest's bytes are the later ones.
    fn reconcile(&mut self, memory: &GuestMemory<'_>, host: *mut u8, from: usize) {
        let Some(agreed) = &mut self.agreed else { return };
        let len = CHUNK.min(self.len - from);
        let mut mine = [0; CHUNK];
        let mut theirs = [0; CHUNK];
        let (mine, theirs) = (&mut mine[..len], &mut theirs[..len]);
        let Some(agreed) = agreed.get_mut(from..from + len) else { return };
        // The guest's memory never shrinks, so this does not fail.
        if memory.read_into(self.guest + from as u32, mine).is_err() {
            return;
        }
        // SAFETY: as in `synchronize`.
        unsafe { ptr::copy_nonoverlapping(host, theirs.as_mut_ptr(), len) };
        if mine == agreed && theirs == agreed {
            return;
        }
        let mut guest_changes = false;
        for ((mine, theirs), agreed) in mine.iter_mut().zip(theirs.iter_mut()).zip(agreed) {
            if *mine != *agreed {
                *theirs = *mine;
            } else if *theirs != *agreed {
                *mine = *theirs;
                guest_changes = true;
            }
            *agreed = *mine;
        }
        // SAFETY: as above.
        unsafe { ptr::copy_nonoverlapping(theirs.as_ptr(), host, len) };
        if guest_changes {
            let _ = memory.write_bytes(self.guest + from as u32, mine);
        }
    }
}
