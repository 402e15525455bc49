//! Waiting.
//!
//! Events and the console can be waited for. Whether a pipe has bytes can only be asked, so somebody who waits for
//! one asks at intervals, which grow to a few milliseconds.

use std::time::{Duration, Instant};

use windows_calls::Kind;

use crate::alloc::vec_for;
use crate::errno::Errno;
use crate::sys::{BorrowedHandle, Interest, Readiness};

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(8);

/// Something that another thread can set, until it is cleared.
pub struct Event(windows_calls::Event);

impl Event {
    pub fn new() -> Result<Event, Errno> {
        Ok(Event(windows_calls::Event::new()?))
    }

    pub fn set(&self) {
        self.0.set();
    }

    pub fn clear(&self) {
        self.0.clear();
    }

    pub fn handle(&self) -> BorrowedHandle<'_> {
        self.0.handle()
    }
}

/// Bytes that a read would get at once, as far as the host can tell.
pub fn readable_bytes(handle: BorrowedHandle<'_>) -> u64 {
    match windows_calls::kind(handle) {
        Kind::Pipe => windows_calls::pending_input(handle).map_or(0, u64::from),
        _ => 0,
    }
}

/// How it is found out whether something is ready.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It always is.
    Always,
    Ask,
    Wait,
}

fn way(handle: BorrowedHandle<'_>, interest: Interest) -> Way {
    match (interest, windows_calls::kind(handle)) {
        (Interest::Write, _) | (_, Kind::Disk) => Way::Always,
        (_, Kind::Pipe) => Way::Ask,
        (_, Kind::Character) if !windows_calls::is_console(handle) => Way::Always,
        // The console, and events.
        (_, Kind::Character | Kind::Other) => Way::Wait,
    }
}

/// Waits until one of the handles is ready or the time is over.
pub fn wait(
    interests: &[(BorrowedHandle<'_>, Interest)],
    timeout: Option<Duration>,
    found: &mut Vec<Readiness>,
) -> Result<(), Errno> {
    let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut ways: Vec<Way> = vec_for(interests.len())?;
    ways.extend(interests.iter().map(|(handle, interest)| way(*handle, *interest)));
    let mut waitable: Vec<BorrowedHandle<'_>> = vec_for(interests.len())?;
    let each = || interests.iter().zip(&ways);
    waitable.extend(each().filter(|(_, way)| **way == Way::Wait).map(|((handle, _), _)| *handle));
    let asks = ways.contains(&Way::Ask);
    let mut pause = SHORTEST;
    loop {
        found.clear();
        found.try_reserve(interests.len()).map_err(|_| Errno::Nomem)?;
        for ((handle, _), way) in each() {
            found.push(match way {
                Way::Always => Readiness { ready: true, ..Readiness::default() },
                Way::Ask => match windows_calls::pending_input(*handle) {
                    Ok(bytes) => Readiness { ready: bytes > 0, ..Readiness::default() },
                    // Nobody is left to write any.
                    Err(_) => Readiness { ready: true, hangup: true, invalid: false },
                },
                Way::Wait => {
                    let signalled = windows_calls::wait_for_any(&[*handle], Some(Duration::ZERO))?;
                    Readiness { ready: signalled.is_some(), ..Readiness::default() }
                }
            });
        }
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if found.iter().any(|readiness| readiness.ready) || left == Some(Duration::ZERO) {
            return Ok(());
        }
        // More than one call can wait for are asked, too.
        let next = match asks || waitable.len() > 64 {
            true => Some(left.map_or(pause, |left| left.min(pause))),
            false => left,
        };
        windows_calls::wait_for_any(&waitable, next)?;
        pause = (pause * 2).min(LONGEST);
    }
}

/// Finds out whether a named pipe has a writer. No path of a guest leads to a pipe on Windows.
pub struct WriterProbe {}

impl WriterProbe {
    pub fn new() -> Result<WriterProbe, Errno> {
        Ok(WriterProbe {})
    }

    pub fn has_writer(&self, _: BorrowedHandle<'_>) -> Result<bool, Errno> {
        Ok(true)
    }
}
