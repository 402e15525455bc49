//! One program's view of its host: arguments, environment, descriptors.
//!
//! Made by whoever runs a guest, used by the ABI files. Invariants: a
//! [`WasiCtx`] holds nothing that its builder was not given, so nothing of the
//! process leaks in by default (no environment, no files, no standard
//! streams); it may be used by many threads at once, and none waits while it
//! holds a lock.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use crate::clock::{Clock, VirtualClock};
use crate::descriptor::{Descriptor, FdTable, KeptTable, Object};
use crate::errno::Errno;
use crate::fs::file::OpenFile;
use crate::fs::memory::MemoryFs;
use crate::policy::{Grant, Policy};
use crate::random::Random;
use crate::rights::{Perms, Rights};
use crate::stdio::{InputBuffer, OutputBuffer};
use crate::sys::{self, OwnedHandle};
use crate::trace::{Trace, TraceRoom, TraceSink};
use crate::types::{Fdflags, Filetype};
use crate::wait::{Interrupt, Waiter};

/// How much a guest may ask of its host at once.
#[derive(Clone, Copy, Debug)]
pub struct WasiLimits {
    /// Open descriptors; beyond them `EMFILE`. Default 4096.
    pub max_fds: u32,
    /// Buffers that one vectored read or write moves; those beyond are left, as
    /// by a short one. Default 1024, which is also what a file or socket of
    /// the host takes at once.
    pub max_iovecs: u32,
    /// Bytes of a path; beyond them `ENAMETOOLONG`. Default 4096.
    pub max_path: u32,
    /// Subscriptions of one `poll_oneoff`; beyond them `EINVAL`. Default 4096.
    pub max_subscriptions: u32,
    /// Bytes of all arguments, and again of the whole environment, with a NUL
    /// each. Default 2 MiB.
    pub max_strings: usize,
}

impl Default for WasiLimits {
    fn default() -> WasiLimits {
        WasiLimits {
            max_fds: 4096,
            max_iovecs: 1024,
            max_path: 4096,
            max_subscriptions: 4096,
            max_strings: 2 * 1024 * 1024,
        }
    }
}

/// One of the three standard streams.
#[derive(Default)]
pub enum Stdio {
    /// Reads end at once, writes vanish.
    #[default]
    Null,
    /// That stream of this process: for descriptor 0 its standard input, and
    /// so on.
    Inherit,
    /// A file, pipe or terminal of the host. Closed with the context.
    Host(OwnedHandle),
    /// These bytes, then the end of the file.
    ReadBuffer(Vec<u8>),
    /// Kept for the host, which has a clone of the same buffer.
    WriteBuffer(OutputBuffer),
}

/// A directory a guest starts with.
pub struct Preopen {
    pub dir: cap_std::fs::Dir,
    /// What the guest calls it.
    pub guest_path: String,
    pub perms: Perms,
}

/// Why a context could not be made.
#[derive(Debug)]
pub enum BuildError {
    /// An argument or a variable contains a NUL byte.
    Nul { what: &'static str },
    /// The arguments or the environment exceed [`WasiLimits::max_strings`].
    TooLong { what: &'static str, limit: usize },
    /// What was given for a descriptor cannot be used.
    Descriptor { what: String, errno: Errno },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::Nul { what } => write!(f, "{what} must not contain NUL bytes"),
            BuildError::TooLong { what, limit } => {
                write!(f, "{what} exceed the limit of {limit} bytes")
            }
            BuildError::Descriptor { what, errno } => write!(f, "cannot use {what}: {errno}"),
        }
    }
}

impl std::error::Error for BuildError {}

/// What a preopened directory is of.
enum Mount {
    Host(cap_std::fs::Dir, Perms),
    Memory(MemoryFs, Perms),
}

#[derive(Default)]
pub struct WasiCtxBuilder {
    args: Vec<Vec<u8>>,
    env: Vec<(Vec<u8>, Vec<u8>)>,
    stdio: [Stdio; 3],
    preopens: Vec<(String, Mount)>,
    /// Each with whether it makes nobody wait.
    sockets: Vec<(OwnedHandle, bool)>,
    limits: WasiLimits,
    policy: Policy,
    clock: Clock,
    random: Random,
    trace: Option<Trace>,
}

impl WasiCtxBuilder {
    pub fn new() -> WasiCtxBuilder {
        WasiCtxBuilder::default()
    }

    pub fn args(mut self, args: Vec<Vec<u8>>) -> WasiCtxBuilder {
        self.args = args;
        self
    }

    pub fn env(mut self, env: Vec<(Vec<u8>, Vec<u8>)>) -> WasiCtxBuilder {
        self.env = env;
        self
    }

    pub fn stdin(mut self, stdin: Stdio) -> WasiCtxBuilder {
        self.stdio[0] = stdin;
        self
    }

    pub fn stdout(mut self, stdout: Stdio) -> WasiCtxBuilder {
        self.stdio[1] = stdout;
        self
    }

    pub fn stderr(mut self, stderr: Stdio) -> WasiCtxBuilder {
        self.stdio[2] = stderr;
        self
    }

    /// Preopened directories get the descriptors from 3 on, in order.
    pub fn preopen(mut self, preopen: Preopen) -> WasiCtxBuilder {
        let mount = Mount::Host(preopen.dir, preopen.perms);
        self.preopens.push((preopen.guest_path, mount));
        self
    }

    /// A file system in memory, as a preopened directory. It is shared with
    /// whoever else has a clone of it.
    pub fn preopen_memory(mut self, fs: MemoryFs, guest_path: String, perms: Perms) -> WasiCtxBuilder {
        self.preopens.push((guest_path, Mount::Memory(fs, perms)));
        self
    }

    /// A listening or connected socket. Sockets come after the directories,
    /// because wasi-libc looks for directories until a number is no preopen.
    pub fn socket(mut self, socket: OwnedHandle) -> WasiCtxBuilder {
        self.sockets.push((socket, false));
        self
    }

    /// The same, with NONBLOCK set to begin with. Go takes a listener only so.
    pub fn nonblocking_socket(mut self, socket: OwnedHandle) -> WasiCtxBuilder {
        self.sockets.push((socket, true));
        self
    }

    pub fn limits(mut self, limits: WasiLimits) -> WasiCtxBuilder {
        self.limits = limits;
        self
    }

    /// Which functions the program gets. By default all of WASI and no
    /// extension.
    pub fn policy(mut self, policy: Policy) -> WasiCtxBuilder {
        self.policy = policy;
        self
    }

    /// Clocks that run the same way every time, the realtime clock from `now`
    /// on, in nanoseconds since the epoch. A sleep then ends at once.
    pub fn now(mut self, now: u64) -> WasiCtxBuilder {
        self.clock = Clock::Virtual(VirtualClock::new(now));
        self
    }

    /// The same random bytes every time. Nothing secret may come of them.
    pub fn random_seed(mut self, seed: u64) -> WasiCtxBuilder {
        self.random = Random::seeded(seed);
        self
    }

    /// Is told of every call after it ended.
    pub fn trace(mut self, sink: TraceSink) -> WasiCtxBuilder {
        self.trace = Some(Trace { sink, room: None });
        self
    }

    /// The same, with a program that waits before a call as long as there is
    /// no `room` for it.
    pub fn trace_while(mut self, sink: TraceSink, room: TraceRoom) -> WasiCtxBuilder {
        self.trace = Some(Trace { sink, room: Some(room) });
        self
    }

    pub fn build(self) -> Result<WasiCtx, BuildError> {
        let limit = self.limits.max_strings;
        let args = StringTable::new("arguments", self.args, limit)?;
        let pairs = self.env.into_iter().map(|(mut name, value)| {
            name.push(b'=');
            name.extend_from_slice(&value);
            name
        });
        let env = StringTable::new("environment variables", pairs.collect(), limit)?;

        let table = FdTable::new(self.limits.max_fds);
        let add = |what: String, descriptor: Result<Descriptor, Errno>| {
            descriptor
                .and_then(|descriptor| table.insert(descriptor))
                .map_err(|errno| BuildError::Descriptor { what, errno })
        };
        for (number, stdio) in (0..).zip(self.stdio) {
            add(format!("standard stream {number}"), stdio_descriptor(number, stdio))?;
        }
        for (guest_path, mount) in self.preopens {
            let what = format!("preopened directory {guest_path:?}");
            let dir = match mount {
                Mount::Host(dir, perms) => OpenFile::preopened(dir, perms),
                Mount::Memory(fs, perms) => Ok(OpenFile::preopened_memory(&fs, perms)),
            };
            add(what, dir.map(|dir| Descriptor::preopened(dir, guest_path)))?;
        }
        for (index, (socket, nonblock)) in self.sockets.into_iter().enumerate() {
            add(format!("socket {index}"), socket_descriptor(socket, nonblock))?;
        }
        let state = State {
            args,
            env,
            table,
            limits: self.limits,
            policy: self.policy,
            clock: self.clock,
            random: self.random,
            trace: self.trace,
            peers: RwLock::default(),
            held: AtomicBool::new(false),
            exit: AtomicU64::new(NO_EXIT),
        };
        Ok(WasiCtx { state: Arc::new(state), waiter: Arc::default() })
    }
}

fn stdio_descriptor(number: u32, stdio: Stdio) -> Result<Descriptor, Errno> {
    let direction =
        if number == 0 { Rights::STREAM - Rights::FD_WRITE } else { Rights::STREAM - Rights::FD_READ };
    let object = match stdio {
        Stdio::Null => Object::Null,
        Stdio::ReadBuffer(bytes) => Object::Input(Arc::new(InputBuffer::new(bytes))),
        Stdio::WriteBuffer(buffer) => Object::Output(buffer),
        Stdio::Host(handle) => return host_stdio(direction, handle),
        Stdio::Inherit => return host_stdio(direction, sys::inherit_stdio(number)?),
    };
    Ok(Descriptor::new(object, direction, Rights::empty()))
}

fn host_stdio(direction: Rights, handle: OwnedHandle) -> Result<Descriptor, Errno> {
    let file = OpenFile::inherited(handle)?;
    let positioned = match file.filetype()? {
        Filetype::RegularFile | Filetype::BlockDevice => true,
        Filetype::CharacterDevice => !file.is_terminal(),
        Filetype::Directory => return Err(Errno::Isdir),
        _ => false,
    };
    let mut rights = direction;
    if positioned {
        rights |= Rights::FD_SEEK | Rights::FD_TELL;
    }
    Ok(Descriptor::new(Object::File(file), rights, Rights::empty()))
}

fn socket_descriptor(handle: OwnedHandle, nonblock: bool) -> Result<Descriptor, Errno> {
    let file = OpenFile::inherited(handle)?;
    if !file.filetype()?.is_socket() {
        return Err(Errno::Notsock);
    }
    if nonblock {
        file.set_flags(Fdflags::NONBLOCK)?;
    }
    Ok(if file.host().is_some_and(|host| sys::is_listening(host.handle())) {
        let listener = Rights::SOCK_ACCEPT
            | Rights::FD_READ
            | Rights::FD_FDSTAT_SET_FLAGS
            | Rights::FD_FILESTAT_GET
            | Rights::POLL_FD_READWRITE;
        Descriptor::new(Object::File(file), listener, Rights::SOCKET)
    } else {
        Descriptor::new(Object::File(file), Rights::SOCKET, Rights::empty())
    })
}

/// The state of one running program, and how its calls wait.
pub struct WasiCtx {
    state: Arc<State>,
    pub(crate) waiter: Arc<Waiter>,
}

impl Deref for WasiCtx {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

/// What all calls of a program share, whoever makes them.
pub struct State {
    pub(crate) args: StringTable,
    pub(crate) env: StringTable,
    pub(crate) table: FdTable,
    pub(crate) limits: WasiLimits,
    pub(crate) policy: Policy,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) trace: Option<Trace>,
    peers: RwLock<BTreeMap<Vec<u8>, Weak<WasiCtx>>>,
    held: AtomicBool,
    /// What was given to `proc_exit` last, or [`NO_EXIT`].
    exit: AtomicU64,
}

/// No exit code, which has 32 bits.
const NO_EXIT: u64 = u64::MAX;

impl WasiCtx {
    pub fn builder() -> WasiCtxBuilder {
        WasiCtxBuilder::new()
    }

    /// This program's functions for another that imports them: what they wait
    /// for ends when the other is interrupted, and not when this one is.
    pub fn called_by(&self, other: &WasiCtx) -> WasiCtx {
        WasiCtx { state: self.state.clone(), waiter: other.waiter.clone() }
    }

    /// Lets this program hand descriptors to `peer`, which it knows by `name`,
    /// if it is granted `fd_give`. Not the other way round, and neither keeps
    /// the other alive.
    pub fn link(&self, name: &str, peer: &Arc<WasiCtx>) {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        peers.insert(name.as_bytes().to_vec(), Arc::downgrade(peer));
    }

    pub(crate) fn peer(&self, name: &[u8]) -> Option<Arc<WasiCtx>> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.get(name)?.upgrade()
    }

    /// What becomes of an import of the function with this number.
    pub fn grant(&self, number: usize) -> Grant {
        self.policy.grant(number)
    }

    /// Whether compiled code may call the function with this number straight,
    /// rather than through `functions::call`.
    pub fn is_direct(&self, number: usize) -> bool {
        self.trace.is_none() && self.grant(number) == Grant::Granted
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether the program is held: its host has not started it, and whoever binds its functions
    /// refuses to call them. It is not, unless [`hold`](Self::hold) says so.
    #[inline]
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// What the program gave to `proc_exit`, also if its host has not let that end it.
    pub fn exit_code(&self) -> Option<u32> {
        u32::try_from(self.exit.load(Ordering::Relaxed)).ok()
    }

    pub(crate) fn set_exit_code(&self, code: u32) {
        self.exit.store(u64::from(code), Ordering::Relaxed);
    }

    /// Closes all descriptors, at once rather than when the last holder of the
    /// context goes. Calls under way finish with what they have.
    pub fn close(&self) {
        self.table.clear();
    }

    /// The descriptors that are open now, for [`WasiCtx::restore`].
    pub fn kept(&self) -> KeptTable {
        self.table.kept()
    }

    /// Has those descriptors open that were open then, and no others.
    pub fn restore(&self, kept: &KeptTable) {
        self.table.restore(kept);
    }

    /// A handle by which another thread ends whatever this program waits for,
    /// from then on until it is cleared. It takes a host descriptor on first use.
    pub fn interrupt(&self) -> Result<Arc<Interrupt>, Errno> {
        self.waiter.interrupt()
    }
}

/// Strings as `args_get` and `environ_get` deliver them: one block, each
/// string ended by NUL.
pub(crate) struct StringTable {
    pub(crate) block: Vec<u8>,
    /// Where each string starts in the block.
    pub(crate) starts: Vec<u32>,
}

impl StringTable {
    fn new(what: &'static str, strings: Vec<Vec<u8>>, limit: usize) -> Result<StringTable, BuildError> {
        let mut table = StringTable { block: Vec::new(), starts: Vec::new() };
        for string in strings {
            if string.contains(&0) {
                return Err(BuildError::Nul { what });
            }
            // The limit keeps sizes within what a guest's `u32` holds.
            let limit = limit.min(u32::MAX as usize / 2);
            if table.block.len() + string.len() >= limit {
                return Err(BuildError::TooLong { what, limit });
            }
            table.starts.push(table.block.len() as u32);
            table.block.extend_from_slice(&string);
            table.block.push(0);
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<WasiCtx>();
    }

    #[test]
    fn strings_are_checked() {
        let args = vec![b"a\0b".to_vec()];
        assert!(matches!(WasiCtx::builder().args(args).build(), Err(BuildError::Nul { .. })));
        let env = vec![(b"X".to_vec(), vec![b'y'; 3 << 20])];
        assert!(matches!(WasiCtx::builder().env(env).build(), Err(BuildError::TooLong { .. })));
    }
}
