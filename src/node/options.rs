//! WASI options to a context.
//!
//! For `wasi.rs`. The only file of the package that may call `ambient_authority()`: what a guest
//! can reach is decided here, from what the user wrote, and nowhere else. Nothing is taken from
//! the process: no argument, no variable, no directory that the options do not name.

use super::failure::{Failure, Kind};
use super::wasi::TraceLines;
use crate::wasi::{
    BuildError, Errno, Grant, Limits, MemoryFs, OwnedHandle, Perms, Policy, Preopen, Stdio,
    TracedCall, WasiCtx,
};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, PoisonError};

/// The options of `new WASI()` after `lib/wasi.js` has checked their types.
#[napi(object)]
pub struct WasiOptions {
    pub args: Vec<String>,
    /// Name, value, name, value.
    pub env: Vec<String>,
    pub preopens: Vec<PreopenOption>,
    /// The descriptors of this process that are the program's 0, 1 and 2.
    pub stdio: Vec<i32>,
    pub sockets: Vec<SocketOption>,
    pub allow: Option<Vec<String>>,
    pub deny: Vec<String>,
    /// The errno that stubs of refused functions return; without it there are no stubs.
    pub refused: Option<String>,
    /// Nanoseconds since the epoch.
    pub now: Option<BigInt>,
    pub random_seed: Option<BigInt>,
    pub limits: LimitOptions,
    /// Whether to print each call to this process's standard error.
    pub trace_to_stderr: bool,
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

/// One of these.
#[napi(object)]
pub struct SocketOption {
    /// A socket that this process has; the program gets a duplicate.
    pub descriptor: Option<i32>,
    pub listen: Option<AddressOption>,
    pub connect: Option<AddressOption>,
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
}

/// `memories` are the file systems of the preopens without a host directory. The trace goes into
/// `lines`, if given.
pub fn context(
    options: WasiOptions,
    memories: Vec<MemoryFs>,
    lines: Option<TraceLines>,
) -> Result<WasiCtx, Failure> {
    let bytes = |text: &String| text.clone().into_bytes();
    let env = options.env.chunks_exact(2).map(|pair| (bytes(&pair[0]), bytes(&pair[1])));
    let mut builder = WasiCtx::builder()
        .args(options.args.iter().map(bytes).collect())
        .env(env.collect())
        .stdin(stdio("stdin", &options, 0)?)
        .stdout(stdio("stdout", &options, 1)?)
        .stderr(stdio("stderr", &options, 2)?);
    let mut memories = memories.into_iter();
    for wanted in &options.preopens {
        let (guest, perms) = (&wanted.guest, perms(wanted));
        builder = match &wanted.host {
            Some(host) => builder.preopen(preopen(guest, host, perms)?),
            None => {
                let missing = || Failure::new(Kind::Internal, "a preopen without a directory");
                let fs = memories.next().ok_or_else(missing)?;
                builder.preopen_memory(fs, guest.clone(), perms)
            }
        };
    }
    for (index, wanted) in options.sockets.iter().enumerate() {
        builder = builder.socket(socket(index, wanted)?);
    }
    builder = builder.policy(policy(&options)?).limits(limits(&options.limits));
    if let Some(now) = &options.now {
        builder = builder.now(now.get_u64().1);
    }
    if let Some(seed) = &options.random_seed {
        builder = builder.random_seed(seed.get_u64().1);
    }
    if let Some(lines) = lines {
        builder = builder.trace(Arc::new(move |call: &TracedCall| {
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(call.to_string());
        }));
    } else if options.trace_to_stderr {
        builder = builder.trace(Arc::new(|call: &TracedCall| {
            // Written at once, so that lines of several threads stay whole. A closed stream is no
            // reason to stop the program that is looked at.
            let _ = io::stderr().write_all(format!("{call}\n").as_bytes());
        }));
    }
    builder.build().map_err(|error| {
        let advice = match &error {
            BuildError::TooLong { .. } => "; give less, or raise options.limits.strings",
            BuildError::Descriptor { errno: Errno::Mfile, .. } => "; raise options.limits.descriptors",
            BuildError::Descriptor { errno: Errno::Notsock, .. } => "; give a listener or a connection",
            _ => "",
        };
        refused(format!("WASI options: {error}{advice}"))
    })
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
    let otherwise = match options.refused.as_deref() {
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

fn limits(options: &LimitOptions) -> Limits {
    let default = Limits::default();
    Limits {
        max_fds: options.descriptors.unwrap_or(default.max_fds),
        max_iovecs: options.buffers.unwrap_or(default.max_iovecs),
        max_path: options.path.unwrap_or(default.max_path),
        max_subscriptions: options.subscriptions.unwrap_or(default.max_subscriptions),
        max_strings: options.strings.map_or(default.max_strings, |bytes| bytes as usize),
    }
}

fn preopen(guest: &str, host: &str, perms: Perms) -> Result<Preopen, Failure> {
    let dir = Dir::open_ambient_dir(host, ambient_authority()).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "; create the directory first, or correct the path",
            io::ErrorKind::NotADirectory => "; only directories can be preopened",
            _ => "",
        };
        refused(format!("options.preopens[{guest:?}]: cannot open {host:?}: {error}{advice}"))
    })?;
    Ok(Preopen { dir, guest_path: guest.to_string(), perms })
}

/// The standard stream with this number.
fn stdio(name: &str, options: &WasiOptions, number: usize) -> Result<Stdio, Failure> {
    let number = number as i32;
    match options.stdio.get(number as usize).copied().unwrap_or(number) {
        same if same == number => Ok(Stdio::Inherit),
        other => duplicate(other).map(Stdio::Host).map_err(|error| {
            refused(format!("options.{name}: cannot use descriptor {other}: {error}"))
        }),
    }
}

/// A listener or a connection is made here, by this process, as a path is opened here.
fn socket(index: usize, wanted: &SocketOption) -> Result<OwnedHandle, Failure> {
    let (what, made) = match (wanted.descriptor, &wanted.listen, &wanted.connect) {
        (Some(descriptor), ..) => (format!("use descriptor {descriptor}"), duplicate(descriptor)),
        (None, Some(AddressOption { host, port }), _) => {
            let listener = TcpListener::bind((host.as_str(), *port));
            (format!("listen on {host}, port {port}"), listener.map(OwnedHandle::from))
        }
        (None, None, Some(AddressOption { host, port })) => {
            let connection = TcpStream::connect((host.as_str(), *port));
            (format!("connect to {host}, port {port}"), connection.map(OwnedHandle::from))
        }
        (None, None, None) => return Err(Failure::new(Kind::Internal, "a socket that is none")),
    };
    made.map_err(|error| refused(format!("options.sockets[{index}]: cannot {what}: {error}")))
}

#[cfg(unix)]
fn duplicate(descriptor: i32) -> io::Result<OwnedHandle> {
    use std::os::fd::BorrowedFd;
    // SAFETY: the number is the user's, not negative, and only passed to the kernel, which
    // refuses it if no descriptor has it.
    unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()
}

#[cfg(not(unix))]
fn duplicate(_: i32) -> io::Result<OwnedHandle> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "descriptors other than 0, 1 and 2"))
}

fn refused(message: String) -> Failure {
    Failure::new(Kind::Option, message)
}
