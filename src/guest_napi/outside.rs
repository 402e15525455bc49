//! What a guest has beside the realm's thread: its own threads, and their way to that thread.
//!
//! For this room. Invariants: whatever another thread wants of the guest's instance on the realm's thread is a
//! message ([`Told`]), which is delivered there when no other JavaScript runs, or dropped if the guest is gone.
//! [`Outside`] is the only part of a guest that other threads see. When a thread of the guest traps, the guest
//! dies, also if the realm's thread waits in it.

use super::call;
use super::emnapi;
use super::guest::Guest;
use super::tsfn::Functions;
use super::work::Works;
use crate::node::failure::{Failure, run};
use crate::node::queue::{Message, Queue};
use crate::node::raw::HandleScope;
use crate::node::realm::Realm;
use engine::{InterruptHandle, VMFuncRef, ValType};
use host::team::Team;
use host::thread::GuestFailure;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ptr::NonNull;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};
use wasi::Interrupt;

/// The guests of a realm, for what other threads tell them.
pub struct Guests {
    queue: Arc<Queue<Told>>,
    alive: RefCell<HashMap<u32, Weak<Guest>>>,
    last: Cell<u32>,
    /// How many reasons there are to keep the event loop running.
    holds: Cell<usize>,
}

/// What a thread tells a guest.
pub struct Told {
    guest: u32,
    what: What,
}

pub enum What {
    /// A function of the guest's table is to be called with a word.
    Call { place: u32, data: u32, holds: bool },
    /// The event loop is kept running for one reason more or less.
    Hold(bool),
    /// A thread-safe function was called, or is at its end.
    Function(u32),
    /// An asynchronous work is over, with this status.
    Work(u32, i32),
    /// The next work is to be done on the realm's thread.
    DoWork,
    /// A thread of the guest has ended it.
    Ended,
}

/// The part of a guest that all its threads see.
pub struct Outside {
    number: u32,
    queue: Arc<Queue<Told>>,
    realms_thread: ThreadId,
    /// What the guest passes as `napi_env`.
    pub env: AtomicU32,
    /// The guest's threads, if it can have any and is not closed.
    team: Mutex<Option<Arc<Team>>>,
    pub functions: Functions,
    pub works: Works,
    /// Whether the realm's thread is in the guest.
    inside: AtomicBool,
    /// Whether a thread has ended the guest.
    ended: AtomicBool,
    /// Whether the realm's thread knows that.
    knows: AtomicBool,
    /// Stops the realm's thread in the guest; `true` if it did.
    stop: Mutex<bool>,
    interrupt: InterruptHandle,
    /// Ends what the realm's thread waits for in the guest, until that is closed: it takes a descriptor.
    waits: Mutex<Option<Arc<Interrupt>>>,
}

/// How long a guest that is closed waits for its threads.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ignores poisoning: no code that can panic runs under these locks.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Guests {
    /// The realm's, opened on first use.
    pub fn of(realm: &Rc<Realm>) -> Result<&Guests, Failure> {
        if let Some(guests) = realm.guests.get() {
            return Ok(guests);
        }
        // What is told of later finds the queue closed.
        let queue = Queue::open(realm, || {})?;
        Ok(realm.guests.get_or_init(|| Guests {
            queue,
            alive: RefCell::default(),
            last: Cell::new(0),
            holds: Cell::new(0),
        }))
    }

    /// The bytes that the memories of guests have, of those that are not closed.
    pub fn bytes(&self) -> usize {
        let alive = self.alive.borrow();
        let memories = alive.values().filter_map(|guest| guest.upgrade()?.memory_handle());
        memories.map(|memory| memory.byte_len()).sum()
    }

    /// Keeps what was compiled for the guests that are not closed.
    pub fn keep_progress(&self) {
        let alive: Vec<Rc<Guest>> = self.alive.borrow().values().filter_map(Weak::upgrade).collect();
        for instance in alive.iter().filter_map(|guest| guest.instance()) {
            instance.module().keep_progress();
        }
    }

    /// Makes what a guest has outside of the realm's thread. `pool` is how many threads do its asynchronous work.
    pub fn enroll(&self, guest: &Rc<Guest>, waits: Option<Arc<Interrupt>>, pool: usize) -> Arc<Outside> {
        let number = self.last.get().wrapping_add(1);
        self.last.set(number);
        let mut alive = self.alive.borrow_mut();
        alive.retain(|_, guest| guest.strong_count() > 0);
        alive.insert(number, Rc::downgrade(guest));
        Arc::new(Outside {
            number,
            queue: self.queue.clone(),
            realms_thread: std::thread::current().id(),
            env: AtomicU32::new(1),
            team: Mutex::default(),
            functions: Functions::default(),
            works: Works::new(pool),
            inside: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            knows: AtomicBool::new(false),
            stop: Mutex::new(false),
            interrupt: guest.realm.store.interrupt_handle(),
            waits: Mutex::new(waits),
        })
    }

    fn hold(&self, realm: &Realm, more: usize, less: usize) {
        let before = self.holds.get();
        let now = (before + more).saturating_sub(less);
        self.holds.set(now);
        if (before == 0) != (now == 0) {
            self.queue.hold_event_loop(realm, now > 0);
        }
    }
}

impl Guest {
    /// Keeps the event loop running for one reason more.
    pub fn hold_loop(&self) {
        if let Some(guests) = self.realm.guests.get() {
            self.holds.set(self.holds.get() + 1);
            guests.hold(&self.realm, 1, 0);
        }
    }

    /// For one reason less.
    pub fn release_loop(&self) {
        self.release_holds(1);
    }

    fn release_holds(&self, most: usize) {
        let less = self.holds.get().min(most);
        self.holds.set(self.holds.get() - less);
        if let (Some(guests), true) = (self.realm.guests.get(), less > 0) {
            guests.hold(&self.realm, 0, less);
        }
    }

    pub fn outside(&self) -> Option<&Arc<Outside>> {
        self.outside.get()
    }

    /// Calls a function of the guest where no JavaScript has called: what goes wrong is an uncaught exception.
    ///
    /// # Safety
    /// As for [`Guest::enter`].
    pub unsafe fn call_uncaught<const N: usize>(&self, func: NonNull<VMFuncRef>, args: [u32; N]) {
        if self.is_dead() {
            return;
        }
        self.activate(None, |_| {
            // SAFETY: by this function's contract.
            if let Err(error) = unsafe { self.enter(func, args) } {
                call::throw(self, error);
            }
        });
        emnapi::report(self);
    }

    /// The guest is dead because of this. Nothing of it keeps the event loop running.
    pub fn note_end(&self, failure: Failure) {
        self.die(&failure.summary(), false);
        self.release_holds(usize::MAX);
        let thrown: Result<(), _> = run(&self.realm, || Err(failure));
        if thrown.is_err() {
            emnapi::report(self);
        }
    }

    /// Ends what the guest has on other threads. It calls nothing of the guest.
    pub fn end_threads(&self) {
        let Some(outside) = self.outside() else { return };
        let team = lock(&outside.team).take();
        outside.knows.store(true, Ordering::Release);
        outside.functions.close();
        if let Some(team) = team {
            team.end(None);
            outside.works.wake();
            // Who is not back by then is in a call that the kernel does not let go, and finds the guest gone.
            team.join(Some(PATIENCE));
        }
        outside.settle(self);
        self.release_holds(usize::MAX);
    }
}

impl Outside {
    pub fn set_team(&self, team: Arc<Team>) {
        *lock(&self.team) = Some(team);
    }

    pub fn team(&self) -> Option<Arc<Team>> {
        lock(&self.team).clone()
    }

    /// May be called on any thread.
    pub fn tell(&self, what: What) {
        self.queue.send(Told { guest: self.number, what });
    }

    pub fn is_realms_thread(&self) -> bool {
        std::thread::current().id() == self.realms_thread
    }

    /// Noted with each entry from JavaScript and each return to it.
    #[inline(always)]
    pub fn note_inside(&self, inside: bool) {
        self.inside.store(inside, Ordering::Relaxed);
    }

    #[inline(always)]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// A thread has ended the guest. Called on that thread, which stays until the realm's thread knows, and ends
    /// whatever that thread does in the guest.
    pub fn ended_by_thread(&self) {
        if self.knows.load(Ordering::Acquire) {
            return;
        }
        self.ended.store(true, Ordering::SeqCst);
        self.functions.close();
        self.works.wake();
        self.tell(What::Ended);
        while !self.knows.load(Ordering::Acquire) && self.queue.is_open() {
            let mut stopped = lock(&self.stop);
            if self.inside.load(Ordering::SeqCst) && !self.knows.load(Ordering::Acquire) {
                *stopped = true;
                self.interrupt.interrupt();
                self.fire_waits();
            }
            drop(stopped);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn fire_waits(&self) {
        if let Some(waits) = &*lock(&self.waits) {
            waits.fire();
        }
    }

    /// The realm's thread runs nothing of the guest any more.
    pub fn release_waits(&self) {
        lock(&self.waits).take();
    }

    /// The realm's thread has left a guest that a thread had ended, and other wasm may run there.
    #[cold]
    pub fn settle(&self, guest: &Guest) {
        self.knows.store(true, Ordering::Release);
        if std::mem::take(&mut *lock(&self.stop)) {
            // If the kernel refuses, wasm of this realm stays stopped, which each call tells.
            let _ = guest.realm.store.clear_interrupt();
        }
    }

    /// Why a thread has ended the guest, unless somebody knows already.
    pub fn take_failure(&self) -> Option<GuestFailure> {
        lock(&self.team).as_ref().and_then(|team| team.take_failure())
    }
}

impl Message for Told {
    fn deliver(self, realm: &Realm) -> Result<(), Failure> {
        let Some(guests) = realm.guests.get() else { return Ok(()) };
        let guest = guests.alive.borrow().get(&self.guest).and_then(Weak::upgrade);
        let Some(guest) = guest else { return Ok(()) };
        let _scope = HandleScope::open(realm.env)?;
        match self.what {
            What::Call { place, data, holds } => {
                if holds {
                    guest.release_loop();
                }
                if let Ok(func) = guest.function(place, &[ValType::I32], &[]) {
                    // SAFETY: the type was just looked at.
                    unsafe { guest.call_uncaught(func, [data]) };
                }
            }
            What::Hold(true) => guest.hold_loop(),
            What::Hold(false) => guest.release_loop(),
            What::Function(number) => super::tsfn::deliver(&guest, number),
            What::Work(number, status) => super::work::complete(&guest, number, status),
            What::DoWork => super::work::do_next(&guest),
            What::Ended => {
                if let Some(outside) = guest.outside() {
                    outside.settle(&guest);
                    if let Some(failure) = outside.take_failure() {
                        guest.note_end(failure.into());
                    }
                }
            }
        }
        Ok(())
    }
}

/// A guest whose environment ends: it may not wait in its own cleanup for ever.
pub struct Hurry(pub Arc<Outside>);

impl Hurry {
    /// How long a guest has for its cleanup when its environment ends.
    pub fn deadline() -> Instant {
        Instant::now() + PATIENCE
    }
}

impl host::watchdog::Timed for Hurry {
    fn expire(&self) {
        let mut stopped = lock(&self.0.stop);
        if self.0.inside.load(Ordering::SeqCst) {
            *stopped = true;
            self.0.interrupt.interrupt();
            self.0.fire_waits();
        }
    }
}
