//! Waiting for the first of several things.
//!
//! Used by `poll_oneoff`. Invariant: what an event tells is of the subscription at its index.

use std::sync::Arc;
use std::time::Duration;

use crate::alloc::vec_for;
use crate::clock::Clock;
use crate::descriptor::{Descriptor, Object};
use crate::errno::{Errno, Error};
use crate::sys::{self, BorrowedHandle, Interest, Readiness};
use crate::types::{Clockid, Filetype, Timestamp};
use crate::wait::Waiter;

/// Something to wait for.
pub enum Subscription {
    /// Until a clock shows a time.
    Alarm {
        id: Clockid,
        at: Timestamp,
    },
    /// For so long, by a clock.
    Sleep {
        id: Clockid,
        duration: Duration,
    },
    Readiness {
        descriptor: Arc<Descriptor>,
        interest: Interest,
    },
    /// What cannot be waited for; the event tells why.
    Failed(Errno),
}

/// What came of a subscription.
pub struct Event {
    /// The subscription's place.
    pub index: usize,
    pub errno: Errno,
    pub nbytes: u64,
    pub hangup: bool,
}

impl Event {
    fn new(index: usize, result: Result<u64, Errno>) -> Event {
        let errno = result.err().unwrap_or(Errno::Success);
        Event { index, errno, nbytes: result.unwrap_or(0), hangup: false }
    }
}

/// A clock that has not struck yet.
struct Alarm {
    index: usize,
    id: Clockid,
    at: Timestamp,
}

/// A descriptor whose readiness only the host knows.
struct Watched<'a> {
    index: usize,
    interest: Interest,
    descriptor: &'a Descriptor,
}

/// Waits until at least one subscription has something to tell, and tells all
/// that have, in the order of their subscriptions.
pub fn poll(waiter: &Waiter, clock: &Clock, subscriptions: &[Subscription]) -> Result<Vec<Event>, Error> {
    let mut events: Vec<Event> = vec_for(subscriptions.len())?;
    let mut alarms = vec_for(subscriptions.len())?;
    let mut watched: Vec<Watched<'_>> = vec_for(subscriptions.len())?;

    for (index, subscription) in subscriptions.iter().enumerate() {
        match subscription {
            Subscription::Alarm { id, at } => alarms.push(Alarm { index, id: *id, at: *at }),
            Subscription::Sleep { id, duration } => {
                let at = clock.time(*id).saturating_add(*duration);
                alarms.push(Alarm { index, id: *id, at });
            }
            Subscription::Readiness { descriptor, interest } => {
                match ready_without_asking(descriptor, *interest) {
                    Some(result) => events.push(Event::new(index, result)),
                    None => watched.push(Watched { index, interest: *interest, descriptor }),
                }
            }
            Subscription::Failed(errno) => events.push(Event::new(index, Err(*errno))),
        }
    }

    let mut interests: Vec<(BorrowedHandle<'_>, Interest)> = vec_for(watched.len())?;
    interests.extend(
        watched.iter().filter_map(|watched| Some((watched.descriptor.host_handle()?, watched.interest))),
    );
    let mut found = Vec::new();
    loop {
        waiter.check()?;
        let left = match clock {
            _ if !events.is_empty() => Some(Duration::ZERO),
            Clock::Host(_) => time_left(&alarms, clock),
            // What is ready comes first; then the sleep is over at once.
            Clock::Virtual(_) => time_left(&alarms, clock).map(|_| Duration::ZERO),
        };
        if !interests.is_empty() || left != Some(Duration::ZERO) {
            waiter.wait(&interests, left, &mut found)?;
        }
        for (watched, readiness) in watched.iter().zip(&found) {
            if readiness.ready {
                events.push(readiness_event(watched, readiness));
            }
        }
        if let (Clock::Virtual(clock), true, Some(left)) =
            (clock, events.is_empty(), time_left(&alarms, clock))
        {
            clock.advance(left);
        }
        for alarm in &alarms {
            if clock.time(alarm.id) >= alarm.at {
                events.push(Event::new(alarm.index, Ok(0)));
            }
        }
        if !events.is_empty() {
            events.sort_unstable_by_key(|event| event.index);
            return Ok(events);
        }
    }
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

fn readiness_event(watched: &Watched<'_>, readiness: &Readiness) -> Event {
    let nbytes = match (watched.interest, watched.descriptor.host_handle()) {
        (Interest::Read, Some(handle)) => match &watched.descriptor.object {
            Object::Watch(watch) => watch.available().unwrap_or(0),
            _ => sys::readable_bytes(handle),
        },
        _ => 0,
    };
    let errno = if readiness.invalid { Errno::Badf } else { Errno::Success };
    Event { index: watched.index, errno, nbytes, hangup: readiness.hangup }
}

/// Until the first alarm; `None` is for ever.
fn time_left(alarms: &[Alarm], clock: &Clock) -> Option<Duration> {
    let left = |alarm: &Alarm| alarm.at.since(clock.time(alarm.id));
    alarms.iter().map(left).min()
}
