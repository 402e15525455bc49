//! WASI options to a context.
//!
//! For `wasi.rs`. The only file of the package that may call `ambient_authority()`: what a guest
//! can reach is decided here, from what the user wrote, and nowhere else. Nothing is taken from
//! the process: no argument, no variable, no directory that the options do not name.

use super::failure::{Failure, Kind};
use crate::wasi::{OwnedHandle, Perms, Preopen, Stdio, WasiCtx};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use napi_derive::napi;
use std::io;

/// The options of `new WASI()` after `lib/wasi.js` has checked their types.
#[napi(object)]
pub struct WasiOptions {
    pub args: Vec<String>,
    /// Name, value, name, value.
    pub env: Vec<String>,
    /// Guest path, host path, guest path, host path.
    pub preopens: Vec<String>,
    /// The descriptors of this process that are the program's 0, 1 and 2.
    pub stdio: Vec<i32>,
}

pub fn context(options: WasiOptions) -> Result<WasiCtx, Failure> {
    let bytes = |text: &String| text.clone().into_bytes();
    let env = options.env.chunks_exact(2).map(|pair| (bytes(&pair[0]), bytes(&pair[1])));
    let mut builder = WasiCtx::builder()
        .args(options.args.iter().map(bytes).collect())
        .env(env.collect())
        .stdin(stdio("stdin", &options, 0)?)
        .stdout(stdio("stdout", &options, 1)?)
        .stderr(stdio("stderr", &options, 2)?);
    for pair in options.preopens.chunks_exact(2) {
        builder = builder.preopen(preopen(&pair[0], &pair[1])?);
    }
    builder.build().map_err(|error| refused(format!("WASI options: {error}")))
}

fn preopen(guest: &str, host: &str) -> Result<Preopen, Failure> {
    let dir = Dir::open_ambient_dir(host, ambient_authority()).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "; create the directory first, or correct the path",
            io::ErrorKind::NotADirectory => "; only directories can be preopened",
            _ => "",
        };
        refused(format!("options.preopens[{guest:?}]: cannot open {host:?}: {error}{advice}"))
    })?;
    Ok(Preopen { dir, guest_path: guest.to_string(), perms: Perms::READ_WRITE })
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
