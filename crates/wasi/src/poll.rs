//! Everything that waits: `poll_oneoff`, and the wait of a blocking read or
//! write, in one place, so that one event can end any of them.
//!
//! Used by the descriptor files for their waits and by the ABI files for
//! `poll_oneoff`. Invariants: no lock is held while waiting; once interrupted,
//! a context stays interrupted until that is cleared, and every wait in it ends
//! at once.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::alloc::vec_for;
use crate::clock::Clock;
use crate::descriptor::{Descriptor, FdTable, Object};
use crate::errno::{Errno, Error};
use crate::rights::Rights;
use crate::sys::{self, BorrowedHandle, Interest, Readiness};
use crate::types::{Clockid, Filetype};

/// Ends the waits of a context, from any thread.
pub struct Interrupt {
    event: sys::Event,
    fired: AtomicBool,
}

impl Interrupt {
    pub fn fire(&self) {
        self.fired.store(true, Ordering::Release);
        self.event.set();
    }

    /// Lets the context wait again. For whoever can tell that nobody fires it
    /// at the same time.
    pub fn clear(&self) {
        self.event.clear();
        self.fired.store(false, Ordering::Release);
    }

    pub fn has_fired(&self) -> bool {
        self.fired.load(Ordering::Acquire)
    }
}

/// How the calls of one context wait. Costs nothing, and no descriptor, until
/// someone asks for the means to interrupt.
#[derive(Default)]
pub struct Waiter {
    interrupt: OnceLock<Arc<Interrupt>>,
}

impl Waiter {
    pub fn interrupt(&self) -> Result<Arc<Interrupt>, Errno> {
        if let Some(existing) = self.interrupt.get() {
            return Ok(existing.clone());
        }
        let new = Arc::new(Interrupt { event: sys::Event::new()?, fired: AtomicBool::new(false) });
        Ok(self.interrupt.get_or_init(|| new).clone())
    }

    /// Whether waits have to watch for an interrupt.
    pub fn is_armed(&self) -> bool {
        self.interrupt.get().is_some()
    }

    pub fn check(&self) -> Result<(), Error> {
        match self.interrupt.get() {
            Some(interrupt) if interrupt.has_fired() => Err(Error::Interrupted),
            _ => Ok(()),
        }
    }

    /// Waits for one descriptor, however long it takes.
    pub fn wait_for(&self, fd: BorrowedHandle<'_>, interest: Interest) -> Result<(), Error> {
        let mut found = Vec::new();
        self.wait(&[(fd, interest)], None, &mut found)
    }

    /// Waits for nothing but time, or the interrupt.
    pub fn pause(&self, duration: Duration) -> Result<(), Error> {
        let mut found = Vec::new();
        self.wait(&[], Some(duration), &mut found)
    }

    /// Waits until somebody has the other end of a named pipe open, or had.
    pub fn wait_for_writer(&self, pipe: BorrowedHandle<'_>) -> Result<(), Error> {
        let probe = sys::WriterProbe::new()?;
        let mut pauses = Pauses::default();
        let mut found = Vec::new();
        while !probe.has_writer(pipe)? {
            // Is woken by data and by a writer that went, not by one that came.
            let pause = Some(pauses.next());
            self.wait(&[(pipe, Interest::Read)], pause, &mut found)?;
            if found.iter().any(|readiness| readiness.ready) {
                break;
            }
        }
        Ok(())
    }

    /// Whether a descriptor is ready now.
    pub fn is_ready(&self, fd: BorrowedHandle<'_>, interest: Interest) -> Result<bool, Error> {
        let mut found = Vec::new();
        self.wait(&[(fd, interest)], Some(Duration::ZERO), &mut found)?;
        Ok(found.iter().any(|readiness| readiness.ready))
    }

    /// Waits until something is ready, the time is over, or a signal came.
    pub fn wait(
        &self,
        interests: &[(BorrowedHandle<'_>, Interest)],
        timeout: Option<Duration>,
        found: &mut Vec<Readiness>,
    ) -> Result<(), Error> {
        match self.interrupt.get() {
            None => sys::wait(interests, timeout, found)?,
            Some(interrupt) => {
                let mut all = vec_for(interests.len() + 1)?;
                all.extend_from_slice(interests);
                all.push((interrupt.event.handle(), Interest::Read));
                sys::wait(&all, timeout, found)?;
                found.pop();
                self.check()?;
            }
        }
        Ok(())
    }
}

/// How long to pause between trials of what the host cannot be asked to tell,
/// or only by a wait that could not be interrupted: briefly at first.
pub struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Pauses {
        Pauses(Duration::from_micros(100))
    }
}

impl Pauses {
    const LONGEST: Duration = Duration::from_millis(20);

    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(Pauses::LONGEST);
        pause
    }

    pub fn pause(&mut self, waiter: &Waiter) -> Result<(), Error> {
        waiter.pause(self.next())
    }
}

/// `subscription`
#[derive(Clone, Copy, Debug)]
pub struct Subscription {
    pub userdata: u64,
    pub what: Subscribed,
}

#[derive(Clone, Copy, Debug)]
pub enum Subscribed {
    Clock {
        id: Clockid,
        timeout: u64,
        absolute: bool,
    },
    Fd {
        fd: u32,
        interest: Interest,
    },
    /// Well formed but impossible; the event reports why.
    Refused {
        kind: EventKind,
        errno: Errno,
    },
}

/// `eventtype`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EventKind {
    Clock = 0,
    FdRead = 1,
    FdWrite = 2,
}

impl From<Interest> for EventKind {
    fn from(interest: Interest) -> EventKind {
        match interest {
            Interest::Read => EventKind::FdRead,
            Interest::Write => EventKind::FdWrite,
        }
    }
}

/// `event`
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub userdata: u64,
    pub errno: Errno,
    pub kind: EventKind,
    pub nbytes: u64,
    pub hangup: bool,
}

impl Event {
    /// Of a clock.
    pub fn struck(userdata: u64) -> Event {
        Event { userdata, errno: Errno::Success, kind: EventKind::Clock, nbytes: 0, hangup: false }
    }
}

/// A clock that has not struck yet.
struct Alarm {
    index: usize,
    userdata: u64,
    id: Clockid,
    at: u64,
}

/// A descriptor whose readiness only the host knows.
struct Watch {
    index: usize,
    userdata: u64,
    interest: Interest,
    descriptor: Arc<Descriptor>,
}

/// Waits until at least one subscription has something to tell, and tells all
/// that have, in the order of their subscriptions.
pub fn poll_oneoff(
    table: &FdTable,
    waiter: &Waiter,
    clock: &Clock,
    subscriptions: &[Subscription],
) -> Result<Vec<Event>, Error> {
    let mut events: Vec<(usize, Event)> = vec_for(subscriptions.len())?;
    let mut alarms = vec_for(subscriptions.len())?;
    let mut watches: Vec<Watch> = vec_for(subscriptions.len())?;

    for (index, subscription) in subscriptions.iter().enumerate() {
        let userdata = subscription.userdata;
        match subscription.what {
            Subscribed::Clock { id, timeout, absolute } => {
                let at = if absolute { timeout } else { clock.time(id).saturating_add(timeout) };
                alarms.push(Alarm { index, userdata, id, at });
            }
            Subscribed::Fd { fd, interest } => {
                let event = |result: Result<u64, Errno>| Event {
                    userdata,
                    errno: result.err().unwrap_or(Errno::Success),
                    kind: interest.into(),
                    nbytes: result.unwrap_or(0),
                    hangup: false,
                };
                match watched(table, fd, interest) {
                    Ok(descriptor) => match ready_without_asking(&descriptor, interest) {
                        Some(result) => events.push((index, event(result))),
                        None => watches.push(Watch { index, userdata, interest, descriptor }),
                    },
                    Err(errno) => events.push((index, event(Err(errno)))),
                }
            }
            Subscribed::Refused { kind, errno } => {
                let event = Event { userdata, errno, kind, nbytes: 0, hangup: false };
                events.push((index, event));
            }
        }
    }

    let mut interests: Vec<(BorrowedHandle<'_>, Interest)> = vec_for(watches.len())?;
    interests
        .extend(watches.iter().filter_map(|watch| Some((watch.descriptor.host_handle()?, watch.interest))));
    let mut found = Vec::new();
    loop {
        waiter.check()?;
        let left = match clock {
            _ if !events.is_empty() => Some(Duration::ZERO),
            Clock::Host => time_left(&alarms, clock),
            // What is ready comes first; then the sleep is over at once.
            Clock::Virtual(_) => time_left(&alarms, clock).map(|_| Duration::ZERO),
        };
        if !interests.is_empty() || left != Some(Duration::ZERO) {
            waiter.wait(&interests, left, &mut found)?;
        }
        for (watch, readiness) in watches.iter().zip(&found) {
            if readiness.ready {
                events.push((watch.index, fd_event(watch, readiness)));
            }
        }
        if let (Clock::Virtual(clock), true, Some(left)) =
            (clock, events.is_empty(), time_left(&alarms, clock))
        {
            clock.advance(left.as_nanos() as u64);
        }
        for alarm in &alarms {
            if clock.time(alarm.id) >= alarm.at {
                events.push((alarm.index, Event::struck(alarm.userdata)));
            }
        }
        if !events.is_empty() {
            events.sort_unstable_by_key(|(index, _)| *index);
            return Ok(events.into_iter().map(|(_, event)| event).collect());
        }
    }
}

fn watched(table: &FdTable, fd: u32, interest: Interest) -> Result<Arc<Descriptor>, Errno> {
    let descriptor = table.get(fd)?;
    let transfer = match interest {
        Interest::Read => Rights::FD_READ,
        Interest::Write => Rights::FD_WRITE,
    };
    descriptor.require(Rights::POLL_FD_READWRITE)?;
    descriptor.require_transfer(transfer)?;
    Ok(descriptor)
}

/// What a file or a buffer answers: it never makes anyone wait.
fn ready_without_asking(descriptor: &Descriptor, interest: Interest) -> Option<Result<u64, Errno>> {
    match &descriptor.object {
        Object::Null => Some(Ok(0)),
        Object::Input(buffer) => Some(Ok(buffer.remaining())),
        Object::Output(_) => Some(Ok(0)),
        Object::Watch(watch) => match watch.available() {
            Ok(0) => None,
            available => Some(available),
        },
        Object::File(file) => match file.filetype() {
            Err(errno) => Some(Err(errno)),
            Ok(Filetype::RegularFile | Filetype::Directory | Filetype::BlockDevice) => Some(match interest {
                Interest::Read => file.bytes_left(),
                Interest::Write => Ok(0),
            }),
            Ok(_) => None,
        },
    }
}

fn fd_event(watch: &Watch, readiness: &Readiness) -> Event {
    let nbytes = match (watch.interest, watch.descriptor.host_handle()) {
        (Interest::Read, Some(handle)) => match &watch.descriptor.object {
            Object::Watch(watch) => watch.available().unwrap_or(0),
            _ => sys::readable_bytes(handle),
        },
        _ => 0,
    };
    Event {
        userdata: watch.userdata,
        errno: if readiness.invalid { Errno::Badf } else { Errno::Success },
        kind: watch.interest.into(),
        nbytes,
        hangup: readiness.hangup,
    }
}

/// Until the first alarm; `None` is for ever.
fn time_left(alarms: &[Alarm], clock: &Clock) -> Option<Duration> {
    let left = |alarm: &Alarm| alarm.at.saturating_sub(clock.time(alarm.id));
    alarms.iter().map(left).min().map(Duration::from_nanos)
}
