//! What a context is made of.
//!
//! Invariant: nothing of the process gets into a context but what was given here.

use std::fmt;
use std::sync::Arc;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::strings::StringTable;
use super::{NO_EXIT, State, WasiCtx};
use crate::clock::{Clock, VirtualClock};
use crate::descriptor::{Descriptor, FdTable, Object};
use crate::errno::Errno;
use crate::fs::file::OpenFile;
use crate::fs::memory::MemoryFs;
use crate::metrics::CallMetrics;
use crate::policy::Policy;
use crate::random::Random;
use crate::rights::{Perms, Rights};
use crate::stdio::{InputBuffer, OutputBuffer};
use crate::sys::{self, OwnedHandle};
use crate::trace::{Trace, TraceRoom, TraceSink};
use crate::types::{Fdflags, Filetype};

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
    /// Each with whether NONBLOCK is set from the start.
    sockets: Vec<(OwnedHandle, bool)>,
    limits: WasiLimits,
    policy: Policy,
    clock: Clock,
    random: Random,
    trace: Option<Trace>,
    metrics: Option<Arc<CallMetrics>>,
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

    /// The same, with NONBLOCK set from the start, which Go wants of a listener.
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

    /// Counts the calls, beside those of other programs.
    pub fn metrics(mut self, metrics: Arc<CallMetrics>) -> WasiCtxBuilder {
        self.metrics = Some(metrics);
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
            metrics: self.metrics,
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
