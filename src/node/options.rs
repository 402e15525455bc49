//! WASI options to a context.
//!
//! For `wasi.rs`. This is the only file of the package that may call `ambient_authority()`: what a guest can
//! reach is decided here, from what the user wrote, and nowhere else. Nothing is taken from the process: no
//! argument, no variable, no directory that the options do not name.

use super::failure::{Failure, Kind};
use super::platform::{duplicate, open_directory, path_of_directory, socket_handle};
use super::wasi::{Program, TraceLines};
use cap_std::ambient_authority;
use host::Metrics;
use napi::bindgen_prelude::{BigInt, Uint8Array};
use napi_derive::napi;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasi::{
    BuildError, Errno, Grant, MemoryFs, OutputBuffer, OwnedHandle, Perms, Policy, Preopen, Stdio, TracedCall,
    WasiCtx, WasiLimits, is_listener,
};

/// The options of `new WASI()`, whose types the face has checked.
#[napi(object, object_to_js = false)]
pub struct WasiOptions {
    pub preopens: Vec<PreopenOption>,
    pub sockets: Vec<SocketOption>,
    pub allow: Option<Vec<String>>,
    pub deny: Vec<String>,
    /// The errno that stubs of refused functions return; without it there are no stubs.
    pub on_refused: Option<String>,
    /// Nanoseconds since the epoch.
    pub now: Option<BigInt>,
    pub random_seed: Option<BigInt>,
    pub limits: LimitOptions,
    /// Whether to print each call to this process's standard error.
    pub trace_to_stderr: bool,
    /// Whether its lines, or those for JavaScript, are as long as they get.
    pub full_trace: bool,
    /// Whether calls are counted.
    pub count_calls: bool,
}

/// What differs from one program of a `WASI` object to the next.
#[napi(object, object_to_js = false)]
pub struct ProgramOptions {
    pub args: Vec<String>,
    /// Name, value, name, value.
    pub env: Vec<String>,
    /// The program's 0, 1 and 2.
    pub stdio: Vec<StdioOption>,
}

/// A standard stream.
#[napi(object, object_to_js = false)]
pub struct StdioOption {
    /// `descriptor`, which is duplicated; `ignore`; `bytes`, to be read; `capture`, to be kept for
    /// `take_output`.
    pub kind: String,
    pub descriptor: Option<i32>,
    pub bytes: Option<Uint8Array>,
}

#[napi(object)]
pub struct PreopenOption {
    pub guest: String,
    /// A directory of the host; without it the next of the file systems in memory.
    pub host: Option<String>,
    pub read: bool,
    pub write: bool,
    pub create: bool,
    pub remove: bool,
    pub symlinks: bool,
}

/// A socket: one of the first three is given.
#[napi(object)]
pub struct SocketOption {
    /// A socket that this process has; the program gets a duplicate.
    pub descriptor: Option<i32>,
    pub listen: Option<AddressOption>,
    pub connect: Option<AddressOption>,
    /// Whether the program finds it non-blocking. By default a listener is, like those that other hosts hand
    /// in, and a connection is not.
    pub nonblock: Option<bool>,
}

#[napi(object)]
pub struct AddressOption {
    pub host: String,
    pub port: u16,
}

/// What is not given keeps its default.
#[napi(object)]
pub struct LimitOptions {
    pub descriptors: Option<u32>,
    pub buffers: Option<u32>,
    pub path: Option<u32>,
    pub subscriptions: Option<u32>,
    pub strings: Option<u32>,
    /// Bytes of each captured stream.
    pub output: f64,
}

/// What the options of a `WASI` object came to. Directories and sockets are opened once, and each program
/// has duplicates of its own. A connection is for one program only: the first.
pub struct Template {
    /// None when the object is closed.
    opened: Mutex<Option<Opened>>,
    pub policy: Policy,
    limits: WasiLimits,
    /// Bytes of each captured stream.
    output: usize,
    now: Option<u64>,
    random_seed: Option<u64>,
    trace_to_stderr: bool,
    full_trace: bool,
    count_calls: bool,
    pub metrics: Arc<Metrics>,
}

struct Opened {
    mounts: Vec<Mount>,
    sockets: Vec<Socket>,
}

struct Socket {
    kind: SocketKind,
    nonblock: bool,
}

enum SocketKind {
    Listener(OwnedHandle),
    /// None when it has gone to a program.
    Connection(Option<OwnedHandle>),
}

enum Mount {
    Host(Preopen),
    Memory { fs: MemoryFs, guest_path: String, perms: Perms },
}

impl Template {
    /// `memories` are the file systems of the preopens without a host directory.
    pub fn new(options: WasiOptions, memories: Vec<MemoryFs>) -> Result<Template, Failure> {
        let mut memories = memories.into_iter();
        let mut mounts = Vec::with_capacity(options.preopens.len());
        for wanted in &options.preopens {
            let (guest, perms) = (&wanted.guest, perms(wanted));
            mounts.push(match &wanted.host {
                Some(host) => Mount::Host(preopen(guest, host, perms)?),
                None => {
                    let missing = || Failure::new(Kind::Internal, "a preopen without a directory");
                    let fs = memories.next().ok_or_else(missing)?;
                    Mount::Memory { fs, guest_path: guest.clone(), perms }
                }
            });
        }
        let sockets = options.sockets.iter().enumerate().map(|(index, wanted)| {
            let handle = socket(index, wanted)?;
            let listens = is_listener(&handle);
            let nonblock = wanted.nonblock.unwrap_or(listens);
            Ok(match listens {
                true => Socket { kind: SocketKind::Listener(handle), nonblock },
                false => Socket { kind: SocketKind::Connection(Some(handle)), nonblock },
            })
        });
        let sockets = sockets.collect::<Result<_, Failure>>()?;
        Ok(Template {
            opened: Mutex::new(Some(Opened { mounts, sockets })),
            policy: policy(&options)?,
            limits: limits(&options.limits),
            output: options.limits.output as usize,
            now: options.now.as_ref().map(|now| now.get_u64().1),
            random_seed: options.random_seed.as_ref().map(|seed| seed.get_u64().1),
            trace_to_stderr: options.trace_to_stderr,
            full_trace: options.full_trace,
            count_calls: options.count_calls,
            metrics: Arc::default(),
        })
    }

    /// The paths of the directories that were opened, wherever the text that named them leads now. `None`
    /// where nothing tells the path, and for directories in memory.
    pub fn opened_paths(&self) -> Vec<Option<String>> {
        let opened = self.lock();
        let mounts = opened.as_ref().map_or(&[][..], |opened| &opened.mounts);
        let path = |mount: &Mount| match mount {
            Mount::Host(preopen) => path_of_directory(&preopen.dir),
            Mount::Memory { .. } => None,
        };
        mounts.iter().map(path).collect()
    }

    /// Closes what was opened. No more programs are made then.
    pub fn close(&self) {
        drop(self.lock().take());
    }

    fn lock(&self) -> MutexGuard<'_, Option<Opened>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether such programs can be made.
    pub fn check(&self, options: &ProgramOptions) -> Result<(), Failure> {
        self.make(options, None, |socket| match socket {
            SocketKind::Listener(handle) | SocketKind::Connection(Some(handle)) => {
                handle.try_clone().map(Some)
            }
            SocketKind::Connection(None) => Ok(None),
        })
        .map(drop)
    }

    /// A program. Its trace goes into `lines`, if given.
    pub fn program(&self, options: &ProgramOptions, lines: Option<TraceLines>) -> Result<Program, Failure> {
        self.make(options, lines, |socket| match socket {
            SocketKind::Listener(handle) => handle.try_clone().map(Some),
            SocketKind::Connection(handle) => Ok(handle.take()),
        })
    }

    fn make(
        &self,
        options: &ProgramOptions,
        lines: Option<TraceLines>,
        take: impl Fn(&mut SocketKind) -> io::Result<Option<OwnedHandle>>,
    ) -> Result<Program, Failure> {
        let mut opened = self.lock();
        let Some(Opened { mounts, sockets }) = &mut *opened else {
            return Err(Failure::new(Kind::Closed, "the WASI object is closed; make a new one"));
        };
        let [stdin, stdout, stderr] = &options.stdio[..] else {
            return Err(Failure::new(Kind::Internal, "a program has three standard streams"));
        };
        let (stdout, stderr) = (self.output("stdout", 1, stdout)?, self.output("stderr", 2, stderr)?);
        let bytes = |text: &String| text.clone().into_bytes();
        let env = options.env.chunks_exact(2).map(|pair| (bytes(&pair[0]), bytes(&pair[1])));
        let mut builder = WasiCtx::builder()
            .args(options.args.iter().map(bytes).collect())
            .env(env.collect())
            .stdin(stream("stdin", 0, stdin)?)
            .stdout(stdout.stdio)
            .stderr(stderr.stdio)
            .policy(self.policy.clone())
            .limits(self.limits);
        let failed = |error: io::Error| {
            Failure::new(
                Kind::Resource,
                format!(
                    "cannot give the program a directory or socket: {error}; close some, or raise the system's limit"
                ),
            )
        };
        for mount in mounts {
            builder = match mount {
                Mount::Host(Preopen { dir, guest_path, perms }) => builder.preopen(Preopen {
                    dir: dir.try_clone().map_err(failed)?,
                    guest_path: guest_path.clone(),
                    perms: *perms,
                }),
                Mount::Memory { fs, guest_path, perms } => {
                    builder.preopen_memory(fs.clone(), guest_path.clone(), *perms)
                }
            };
        }
        for (index, socket) in sockets.iter_mut().enumerate() {
            let handle = take(&mut socket.kind).map_err(failed)?.ok_or_else(|| {
                refused(format!(
                    "options.sockets[{index}] is a connection, which the first program of this WASI \
                     object has got; make a WASI object for each"
                ))
            })?;
            builder = match socket.nonblock {
                true => builder.nonblocking_socket(handle),
                false => builder.socket(handle),
            };
        }
        if let Some(now) = self.now {
            builder = builder.now(now);
        }
        if let Some(seed) = self.random_seed {
            builder = builder.random_seed(seed);
        }
        if self.count_calls {
            builder = builder.metrics(self.metrics.calls.clone());
        }
        let shown: fn(&TracedCall) -> String =
            if self.full_trace { TracedCall::to_string } else { TracedCall::short };
        if let Some(lines) = lines {
            let room = lines.clone();
            let sink = Arc::new(move |call: &TracedCall| lines.push(shown(call)));
            builder = builder.trace_while(sink, Arc::new(move || room.has_room()));
        } else if self.trace_to_stderr {
            builder = builder.trace(Arc::new(move |call: &TracedCall| {
                // One write a line, so that lines of several threads stay whole. A closed stream is no
                // reason to stop the program.
                let _ = io::stderr().write_all(format!("{}\n", shown(call)).as_bytes());
            }));
        }
        let ctx = builder.build().map_err(|error| {
            let advice = match &error {
                BuildError::TooLong { .. } => "; give less, or raise options.limits.strings",
                BuildError::Descriptor { errno: Errno::Mfile, .. } => "; raise options.limits.descriptors",
                BuildError::Descriptor { errno: Errno::Notsock, .. } => "; give a listener or a connection",
                BuildError::Descriptor { errno: Errno::Isdir, .. } => {
                    "; it is a directory: give a file or a stream"
                }
                _ => "",
            };
            refused(format!("WASI options: {error}{advice}"))
        })?;
        let (ctx, metrics) = (Arc::new(ctx), self.metrics.clone());
        Ok(Program { ctx, captured: [stdout.captured, stderr.captured], metrics })
    }

    fn output(&self, name: &str, number: i32, option: &StdioOption) -> Result<Output, Failure> {
        let buffer = match option.kind.as_str() {
            "capture" if number == 1 => OutputBuffer::capture("stdout", self.output),
            "capture" => OutputBuffer::capture("stderr", self.output),
            "relay" => OutputBuffer::new(RELAY),
            _ => return Ok(Output { stdio: stream(name, number, option)?, captured: None }),
        };
        Ok(Output { stdio: Stdio::WriteBuffer(buffer.clone()), captured: Some(buffer) })
    }
}

/// Bytes of one write that are taken at once, where JavaScript takes each write as it comes.
const RELAY: usize = 1 << 20;

/// Standard output or error, and the end of it that stays with us.
struct Output {
    stdio: Stdio,
    captured: Option<OutputBuffer>,
}

/// The standard stream with this number.
fn stream(name: &str, number: i32, option: &StdioOption) -> Result<Stdio, Failure> {
    let descriptor = option.descriptor.unwrap_or(number);
    match option.kind.as_str() {
        "descriptor" if descriptor == number => Ok(Stdio::Inherit),
        "descriptor" => duplicate(descriptor).map(Stdio::Host).map_err(|error| {
            refused(format!(
                "options.{name}: cannot use descriptor {descriptor}: {error}; give one that is open"
            ))
        }),
        "bytes" => Ok(Stdio::ReadBuffer(option.bytes.as_deref().unwrap_or_default().to_vec())),
        _ => Ok(Stdio::Null),
    }
}

fn perms(wanted: &PreopenOption) -> Perms {
    let mut perms = Perms::empty();
    perms.set(Perms::READ, wanted.read);
    perms.set(Perms::WRITE, wanted.write);
    perms.set(Perms::CREATE, wanted.create);
    perms.set(Perms::REMOVE, wanted.remove);
    perms.set(Perms::SYMLINKS, wanted.symlinks);
    perms
}

fn policy(options: &WasiOptions) -> Result<Policy, Failure> {
    let otherwise = match options.on_refused.as_deref() {
        None => Grant::Refused,
        Some("ENOSYS") => Grant::Stub(Errno::Nosys),
        Some(_) => Grant::Stub(Errno::Notcapable),
    };
    Policy::new(options.allow.as_deref(), &options.deny, otherwise).map_err(|unmatched| {
        let is_in = |list: &[String]| list.contains(&unmatched.pattern);
        let name = if is_in(options.allow.as_deref().unwrap_or_default()) { "allow" } else { "deny" };
        refused(format!(
            "options.{name}: {unmatched}; write the name of one, such as \"fd_read\", or \"fd_*\" \
             for several, and an extension's with its module, such as \"wasi_native_ext.fd_lock\""
        ))
    })
}

fn limits(options: &LimitOptions) -> WasiLimits {
    let default = WasiLimits::default();
    WasiLimits {
        max_fds: options.descriptors.unwrap_or(default.max_fds),
        max_iovecs: options.buffers.unwrap_or(default.max_iovecs),
        max_path: options.path.unwrap_or(default.max_path),
        max_subscriptions: options.subscriptions.unwrap_or(default.max_subscriptions),
        max_strings: options.strings.map_or(default.max_strings, |bytes| bytes as usize),
    }
}

fn preopen(guest: &str, host: &str, perms: Perms) -> Result<Preopen, Failure> {
    let dir = open_directory(host, ambient_authority()).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "; create the directory first, or correct the path",
            io::ErrorKind::NotADirectory => "; only directories can be preopened",
            _ => "",
        };
        refused(format!("options.preopens[{guest:?}]: cannot open {host:?}: {error}{advice}"))
    })?;
    Ok(Preopen { dir, guest_path: guest.to_string(), perms })
}

/// Makes a listener or a connection, as a path is opened: by this process.
fn socket(index: usize, wanted: &SocketOption) -> Result<OwnedHandle, Failure> {
    let (what, made) = match (wanted.descriptor, &wanted.listen, &wanted.connect) {
        (Some(descriptor), ..) => (format!("use descriptor {descriptor}"), duplicate(descriptor)),
        (None, Some(AddressOption { host, port }), _) => {
            let listener = TcpListener::bind((host.as_str(), *port));
            (format!("listen on {host}, port {port}"), listener.and_then(socket_handle))
        }
        (None, None, Some(AddressOption { host, port })) => {
            let connection = TcpStream::connect((host.as_str(), *port));
            (format!("connect to {host}, port {port}"), connection.and_then(socket_handle))
        }
        (None, None, None) => return Err(Failure::new(Kind::Internal, "a socket that is none")),
    };
    made.map_err(|error| refused(format!("options.sockets[{index}]: cannot {what}: {error}")))
}

fn refused(message: String) -> Failure {
    Failure::new(Kind::Option, message)
}
