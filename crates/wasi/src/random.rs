//! Random bytes for guests, without a system call for most of them.
//!
//! Used by `random_get` alone. ChaCha20 keyed by the operating system fills a
//! buffer; each fill also replaces the key, and bytes handed out are wiped, so
//! that memory read later reveals none of them. Invariant: two processes never
//! share a stream, unless the host fixed its seed. The process id shows that a process forked, which
//! costs a system call. A host that has [`after_fork_in_child`] called in every child (by
//! `pthread_atfork`) may say so with [`rely_on_fork_notice`] and saves it. Forks are the process's, so
//! their number is a static.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};

use crate::errno::Errno;

static FORKS: AtomicU32 = AtomicU32::new(0);
static FORKS_ARE_TOLD: AtomicBool = AtomicBool::new(false);

/// To be called in the child of every fork. Async-signal-safe.
pub fn after_fork_in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// From now on [`after_fork_in_child`] is the only sign of a fork.
pub fn rely_on_fork_notice() {
    FORKS_ARE_TOLD.store(true, Ordering::Relaxed);
}

/// Which process this is, as far as a stream of random bytes is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ProcessMark {
    forks: u32,
    id: u32,
}

impl ProcessMark {
    #[inline]
    fn current() -> ProcessMark {
        let told = FORKS_ARE_TOLD.load(Ordering::Relaxed);
        ProcessMark { forks: FORKS.load(Ordering::Relaxed), id: if told { 0 } else { std::process::id() } }
    }
}

const KEY: usize = 32;
const BUFFER: usize = 1024;

struct Stream {
    mark: ProcessMark,
    key: [u8; KEY],
    buffer: [u8; BUFFER],
    /// The first byte not handed out.
    next: usize,
}

/// The random bytes of one context.
#[derive(Default)]
pub struct Random {
    stream: Mutex<Option<Box<Stream>>>,
    /// The same bytes every time, for reproducible runs. Nothing secret may
    /// come of them.
    seed: Option<u64>,
}

impl Random {
    pub fn seeded(seed: u64) -> Random {
        Random { seed: Some(seed), ..Random::default() }
    }

    pub fn fill(&self, into: &mut [u8]) -> Result<(), Errno> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = ProcessMark::current();
        let stream = match (stream.as_mut(), self.seed) {
            (Some(stream), None) if stream.mark == mark => stream,
            (Some(stream), Some(_)) => stream,
            (_, None) => stream.insert(Stream::keyed_by_the_system(mark)?),
            (None, Some(seed)) => {
                let mut key = [0; KEY];
                ChaCha20Rng::seed_from_u64(seed).fill_bytes(&mut key);
                stream.insert(Stream::keyed(mark, key))
            }
        };
        let mut rest = into;
        while !rest.is_empty() {
            rest = stream.hand_out(rest);
        }
        Ok(())
    }
}

impl Stream {
    fn keyed_by_the_system(mark: ProcessMark) -> Result<Box<Stream>, Errno> {
        let mut key = [0; KEY];
        getrandom::fill(&mut key).map_err(|_| Errno::Io)?;
        Ok(Stream::keyed(mark, key))
    }

    fn keyed(mark: ProcessMark, key: [u8; KEY]) -> Box<Stream> {
        Box::new(Stream { mark, key, buffer: [0; BUFFER], next: BUFFER })
    }

    /// Fills the front of `into` and returns the rest of it.
    fn hand_out<'a>(&mut self, into: &'a mut [u8]) -> &'a mut [u8] {
        if self.next >= BUFFER {
            let mut rng = ChaCha20Rng::from_seed(self.key);
            rng.fill_bytes(&mut self.key);
            rng.fill_bytes(&mut self.buffer);
            self.next = 0;
        }
        let ready = self.buffer.get_mut(self.next..).unwrap_or_default();
        let count = ready.len().min(into.len());
        let (now, later) = into.split_at_mut(count);
        if let Some(ready) = ready.get_mut(..count) {
            now.copy_from_slice(ready);
            ready.fill(0);
        }
        self.next += count;
        later
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_filled_and_none_repeats() {
        let random = Random::default();
        for len in [1, 16, BUFFER - 1, BUFFER, BUFFER + 1, 5 * BUFFER] {
            let (mut first, mut second) = (vec![0; len], vec![0; len]);
            random.fill(&mut first).unwrap();
            random.fill(&mut second).unwrap();
            if len >= 16 {
                assert_ne!(first, second);
                assert!(!first.windows(16).any(|window| window == [0; 16]));
            }
        }
    }

    #[test]
    fn bytes_handed_out_are_wiped() {
        let random = Random::default();
        random.fill(&mut [0; 100]).unwrap();
        let stream = random.stream.lock().unwrap();
        let stream = stream.as_ref().unwrap();
        assert_eq!(stream.buffer[..100], [0; 100]);
        assert_ne!(stream.buffer[100..132], [0; 32]);
    }

    #[test]
    fn a_seed_fixes_every_byte() {
        let bytes = |seed, pieces: usize| {
            let random = Random::seeded(seed);
            let mut bytes = [0; 3000];
            for piece in bytes.chunks_mut(3000 / pieces) {
                random.fill(piece).unwrap();
                after_fork_in_child();
            }
            bytes
        };
        assert_eq!(bytes(7, 1), bytes(7, 10), "however it is asked for");
        assert_ne!(bytes(7, 1), bytes(8, 1));
    }

    #[test]
    fn a_fork_starts_another_stream() {
        let random = Random::default();
        random.fill(&mut [0; 16]).unwrap();
        let key = random.stream.lock().unwrap().as_ref().unwrap().key;
        after_fork_in_child();
        random.fill(&mut [0; 16]).unwrap();
        assert_ne!(random.stream.lock().unwrap().as_ref().unwrap().key, key);
    }
}
