//! What a guest calls, in words, as strace would say it.
//!
//! Used by `functions.rs` for contexts that have a sink. Invariants: arguments
//! are read before the call, which may write over them, and results after it;
//! reading them has no effect on the guest; at most a few hundred bytes of its
//! memory are shown for one argument.

#![forbid(unsafe_code)]

use std::fmt::{self, Write};
use std::sync::Arc;

use super::errno::{Errno, Error};
use super::functions::Function;
use super::guest::GuestMemory;
use super::rights::Rights;
use super::types::{Advice, Clockid, Fdflags, Fstflags, Lookupflags, Oflags, Riflags, Sdflags};
use super::watch::WatchEvents;

/// One call that has ended. Displayed, it is a line without the newline:
/// `path_open(fd: 3, path: "f", ...) = ESUCCESS, opened_fd: 4`.
pub struct TracedCall {
    pub module: &'static str,
    pub name: &'static str,
    /// The decoded arguments, separated by commas.
    pub arguments: String,
    pub outcome: Result<(), Error>,
    /// What the call wrote to its result pointers, in the same way.
    pub results: String,
}

impl fmt::Display for TracedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}) = ", self.name, self.arguments)?;
        match self.outcome {
            Ok(()) => f.write_str(Errno::Success.name())?,
            Err(Error::Errno(errno)) => f.write_str(errno.name())?,
            Err(Error::Exit(_)) => f.write_str("?")?,
            Err(Error::Interrupted) => f.write_str("? (interrupted)")?,
        }
        if !self.results.is_empty() {
            write!(f, ", {}", self.results)?;
        }
        Ok(())
    }
}

/// Takes each call of a context, on the thread that made it.
pub type TraceSink = Arc<dyn Fn(&TracedCall) + Send + Sync>;

pub fn traced(
    sink: &TraceSink,
    function: &'static Function,
    mem: &GuestMemory<'_>,
    args: &[u64],
    body: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    let call = Call {
        function,
        mem,
        args,
    };
    let arguments = call.arguments();
    let outcome = body();
    let results = match outcome {
        Ok(()) => call.results(),
        Err(_) => String::new(),
    };
    sink(&TracedCall {
        module: function.module,
        name: function.name,
        arguments,
        outcome,
        results,
    });
    outcome
}

struct Call<'a> {
    function: &'static Function,
    mem: &'a GuestMemory<'a>,
    args: &'a [u64],
}

/// Bytes shown of a path or a buffer.
const SHOWN: u32 = 128;

impl Call<'_> {
    fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = self.function.params.iter().map(|param| param.name);
        names.zip(self.args.iter().copied())
    }

    fn value(&self, wanted: &str) -> u32 {
        self.named()
            .find(|(name, _)| *name == wanted)
            .map_or(0, |(_, value)| value as u32)
    }

    fn arguments(&self) -> String {
        let mut line = String::new();
        for (name, value) in self.named() {
            if result_size(self.function, name).is_some() {
                continue;
            }
            let decoded = self.argument(name, value);
            let separator = if line.is_empty() { "" } else { ", " };
            let _ = write!(line, "{separator}{name}: {decoded}");
        }
        line
    }

    fn argument(&self, name: &str, value: u64) -> String {
        let word = value as u32;
        match (name, self.function.name) {
            ("path" | "old_path" | "new_path" | "name", called)
                if called != "fd_prestat_dir_name" =>
            {
                self.text(word, self.value(&format!("{name}_len")))
            }
            ("iovs" | "si_data", "fd_write" | "fd_pwrite" | "sock_send") => self.buffers(word),
            ("oflags", _) => flags(Oflags::from_guest(word), word),
            ("fdflags", _) | ("flags", "fd_fdstat_set_flags" | "sock_accept") => {
                flags(Fdflags::from_guest(word), word)
            }
            ("flags" | "dirflags" | "old_flags", _) => flags(Lookupflags::from_guest(word), word),
            ("fst_flags", _) => flags(Fstflags::from_guest(word), word),
            ("ri_flags", _) => flags(Riflags::from_guest(word), word),
            ("how", _) => flags(Sdflags::from_guest(word), word),
            ("fs_rights_base" | "fs_rights_inheriting", _) => {
                flags(Rights::from_bits(value).ok_or(Errno::Inval), value)
            }
            ("events", _) => flags(WatchEvents::from_guest(word), word),
            ("advice", _) => debug(Advice::from_guest(word), word),
            ("id", _) => debug(Clockid::from_guest(word), word),
            ("offset", "fd_seek") => (value as i64).to_string(),
            _ if is_address(name) => format!("0x{word:x}"),
            _ => value.to_string(),
        }
    }

    fn text(&self, address: u32, len: u32) -> String {
        let mut bytes = vec![0; len.min(SHOWN) as usize];
        if self.mem.read_into(address, &mut bytes).is_err() {
            return format!("0x{address:x}");
        }
        let dots = if len > SHOWN { "..." } else { "" };
        format!("\"{}\"{dots}", bytes.escape_ascii())
    }

    /// The first of the buffers to be written.
    fn buffers(&self, array: u32) -> String {
        let entry = self.mem.read_u32(array).and_then(|address| {
            let len = self
                .mem
                .read_u32(array.checked_add(4).ok_or(Errno::Fault)?)?;
            Ok((address, len))
        });
        match entry {
            Ok((address, len)) => self.text(address, len),
            Err(_) => format!("0x{array:x}"),
        }
    }

    fn results(&self) -> String {
        let mut line = String::new();
        for (name, value) in self.named() {
            let address = value as u32;
            let value = match result_size(self.function, name) {
                Some(2) => self.mem.read_u16(address).map(u64::from),
                Some(4) => self.mem.read_u32(address).map(u64::from),
                Some(_) => self.mem.read_u64(address),
                None => continue,
            };
            let separator = if line.is_empty() { "" } else { ", " };
            let _ = match value {
                Ok(value) => write!(line, "{separator}{name}: {value}"),
                Err(_) => write!(line, "{separator}{name}: ?"),
            };
        }
        line
    }
}

/// The size of what a result pointer points to, if it is a plain integer.
fn result_size(function: &Function, name: &str) -> Option<usize> {
    Some(match name {
        "argc" | "argv_buf_size" | "environc" | "environ_buf_size" | "nread" | "nwritten"
        | "bufused" | "opened_fd" | "given_fd" | "nevents" | "result_fd" | "ro_datalen"
        | "so_datalen" => 4,
        "ro_flags" => 2,
        "resolution" | "time" | "newoffset" => 8,
        "offset" if function.name == "fd_tell" => 8,
        _ => return None,
    })
}

fn is_address(name: &str) -> bool {
    matches!(
        name,
        "argv"
            | "argv_buf"
            | "environ"
            | "environ_buf"
            | "stat"
            | "buf"
            | "iovs"
            | "path"
            | "in_"
            | "out"
            | "ri_data"
            | "si_data"
    )
}

/// Names joined by bars; what cannot be decoded is shown as it came.
fn flags<F: bitflags::Flags>(flags: Result<F, Errno>, raw: impl fmt::LowerHex) -> String {
    match flags {
        Ok(flags) if flags.is_empty() => "0".to_owned(),
        Ok(flags) => {
            let names: Vec<&str> = flags.iter_names().map(|(name, _)| name).collect();
            names.join("|")
        }
        Err(_) => format!("0x{raw:x}"),
    }
}

fn debug<T: fmt::Debug>(value: Result<T, Errno>, raw: u32) -> String {
    value.map_or_else(
        |_| raw.to_string(),
        |value| format!("{value:?}").to_lowercase(),
    )
}
