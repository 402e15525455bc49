//! What a guest calls, in words, as strace would say it.
//!
//! Used by `functions.rs` for contexts that have a sink. Invariants: arguments
//! are read before the call, which may write over them, and results after it;
//! reading them has no effect on the guest; at most a few hundred bytes of its
//! memory are shown for one argument.

#![forbid(unsafe_code)]

use std::fmt::{self, Write};
use std::sync::Arc;

use crate::abi::functions::Function;
use crate::abi::p0;
use crate::errno::{Errno, Error};
use crate::poll::{Pauses, Waiter};
use crate::rights::Rights;
use crate::types::{
    Advice, Clockid, Dirent, Fdflags, Filetype, Fstflags, Lookupflags, Oflags, Riflags, Sdflags,
};
use crate::watch::WatchEvents;
use guest_memory::GuestMemory;

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
            Err(Error::OutputLimit(_)) => f.write_str("? (more than is captured)")?,
        }
        if !self.results.is_empty() {
            write!(f, ", {}", self.results)?;
        }
        Ok(())
    }
}

/// Takes each call of a context, on the thread that made it.
pub type TraceSink = Arc<dyn Fn(&TracedCall) + Send + Sync>;

/// Whether a sink takes another call now.
pub type TraceRoom = Arc<dyn Fn() -> bool + Send + Sync>;

/// Who is told of the calls of a context.
#[derive(Clone)]
pub struct Trace {
    pub sink: TraceSink,
    pub room: Option<TraceRoom>,
}

impl Trace {
    /// Waits until the sink takes another call: a program may call more quickly than anybody reads.
    pub fn wait_for_room(&self, waiter: &Waiter) -> Result<(), Error> {
        let Some(room) = &self.room else { return Ok(()) };
        let mut pauses = Pauses::default();
        while !room() {
            pauses.pause(waiter)?;
        }
        Ok(())
    }
}

pub fn traced(
    sink: &TraceSink,
    function: &'static Function,
    mem: &GuestMemory<'_>,
    args: &[u64],
    body: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    let call = Call { function, mem, args };
    let arguments = call.arguments();
    let outcome = body();
    let results = match outcome {
        Ok(()) => call.results(),
        Err(_) => String::new(),
    };
    sink(&TracedCall { module: function.module, name: function.name, arguments, outcome, results });
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
        self.named().find(|(name, _)| *name == wanted).map_or(0, |(_, value)| value as u32)
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
            ("path" | "old_path" | "new_path" | "name", called) if called != "fd_prestat_dir_name" => {
                self.text(word, self.value(&format!("{name}_len")))
            }
            ("iovs" | "si_data", "fd_write" | "fd_pwrite" | "sock_send") => self.buffers(word, SHOWN),
            ("in_", _) => self.records(word, self.value("nsubscriptions"), Call::subscription),
            ("whence", _) => self.whence(word),
            ("operation", _) => lock_operation(word),
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

    /// The first of the buffers, up to a number of bytes.
    fn buffers(&self, array: u32, most: u32) -> String {
        let (Ok(address), Ok(len)) = (self.u32(array, 0), self.u32(array, 4)) else {
            return format!("0x{array:x}");
        };
        self.text(address, len.min(most))
    }

    fn is_preview_0(&self) -> bool {
        self.function.module == p0::MODULE
    }

    fn whence(&self, word: u32) -> String {
        let preview_1 = ["SET", "CUR", "END"];
        let preview_0 = ["CUR", "END", "SET"];
        let names = if self.is_preview_0() { preview_0 } else { preview_1 };
        let name = names.get(word as usize);
        name.map_or_else(|| word.to_string(), |&name| name.to_owned())
    }

    fn results(&self) -> String {
        let mut line = String::new();
        for (name, value) in self.named() {
            let address = value as u32;
            let value = match result_size(self.function, name) {
                Some(2) => self.u16(address, 0).map(|value| value.to_string()),
                Some(4) => self.u32(address, 0).map(|value| value.to_string()),
                Some(_) => self.u64(address, 0).map(|value| value.to_string()),
                None => match self.result(name, address) {
                    Some(decoded) => decoded,
                    None => continue,
                },
            };
            let separator = if line.is_empty() { "" } else { ", " };
            let value = value.as_deref().unwrap_or("?");
            let _ = write!(line, "{separator}{name}: {value}");
        }
        line
    }

    /// What a call wrote to a place that is more than a plain integer.
    fn result(&self, name: &str, address: u32) -> Option<Result<String, Errno>> {
        // How much it wrote there, which another of its results tells.
        let written = |name| self.u32(self.value(name), 0);
        Some(match (name, self.function.name) {
            ("iovs", "fd_read" | "fd_pread") => written("nread").map(|most| self.buffers(address, most)),
            ("ri_data", _) => written("ro_datalen").map(|most| self.buffers(address, most)),
            ("buf", "path_readlink") => written("bufused").map(|used| self.text(address, used)),
            ("path", "fd_prestat_dir_name") => Ok(self.text(address, self.value("path_len"))),
            ("buf", "fd_filestat_get" | "path_filestat_get") => self.filestat(address),
            ("buf", "fd_prestat_get") => {
                let len = self.u32(address, 4);
                len.map(|len| format!("{{directory, name of {len}}}"))
            }
            ("buf", "fd_readdir") => written("bufused").map(|used| self.names(address, used)),
            ("stat", _) => self.fdstat(address),
            ("out", _) => written("nevents").map(|count| self.records(address, count, Call::event)),
            _ => return None,
        })
    }

    fn filestat(&self, at: u32) -> Result<String, Errno> {
        let (nlink, size) = if self.is_preview_0() {
            (u64::from(self.u32(at, 20)?), self.u64(at, 24)?)
        } else {
            (self.u64(at, 24)?, self.u64(at, 32)?)
        };
        let (filetype, inode) = (self.filetype(at, 16)?, self.u64(at, 8)?);
        Ok(format!("{{{filetype}, ino: {inode}, nlink: {nlink}, size: {size}}}"))
    }

    fn fdstat(&self, at: u32) -> Result<String, Errno> {
        let flags = flags(Fdflags::from_guest(self.u16(at, 2)?.into()), 0);
        let rights = |offset| {
            let rights = self.u64(at, offset)?;
            Ok::<_, Errno>(format!("0x{rights:x}"))
        };
        let (filetype, base, inheriting) = (self.filetype(at, 0)?, rights(8)?, rights(16)?);
        Ok(format!("{{{filetype}, flags: {flags}, rights: {base}, inheriting: {inheriting}}}"))
    }

    fn filetype(&self, at: u32, offset: u32) -> Result<String, Errno> {
        let raw = self.u16(at, offset)? as u8;
        Ok(debug(Filetype::from_raw(raw).ok_or(Errno::Inval), raw.into()))
    }

    /// The whole names of a listing, as far as they are shown.
    fn names(&self, mut at: u32, used: u32) -> String {
        let end = at.saturating_add(used);
        let mut names = String::from("[");
        while let Ok(len) = self.u32(at, 16) {
            let start = at.saturating_add(Dirent::ENCODED_SIZE as u32);
            at = start.saturating_add(len);
            if at > end || at == u32::MAX {
                break;
            }
            let separator = if names.len() == 1 { "" } else { ", " };
            if names.len() > SHOWN as usize {
                names.push_str(", ...");
                break;
            }
            names.push_str(separator);
            names.push_str(&self.text(start, len));
        }
        names.push(']');
        names
    }

    /// The first few of an array of records, each with its size.
    fn records(
        &self,
        array: u32,
        count: u32,
        record: fn(&Self, u32) -> Result<(String, u32), Errno>,
    ) -> String {
        const MOST: u32 = 8;
        let (mut list, mut at) = (String::from("["), array);
        for index in 0..count.min(MOST) {
            let Ok((decoded, size)) = record(self, at) else {
                return format!("0x{array:x}");
            };
            let separator = if index == 0 { "" } else { ", " };
            let _ = write!(list, "{separator}{decoded}");
            at = at.saturating_add(size);
        }
        list.push_str(if count > MOST { ", ...]" } else { "]" });
        list
    }

    fn subscription(&self, at: u32) -> Result<(String, u32), Errno> {
        // Preview 0 has an identifier of its own in front of a clock's fields.
        let (size, clock) = if self.is_preview_0() { (56, 24) } else { (48, 16) };
        let decoded = match (self.u16(at, 8)? as u8, self.u32(at, 16)?) {
            (0, _) => {
                let id = self.u32(at, clock)?;
                let id = debug(Clockid::from_guest(id), id);
                let sign = if self.u16(at, clock + 24)? & 1 == 0 { "+" } else { "" };
                format!("{id} {sign}{} ns", self.u64(at, clock + 8)?)
            }
            (1, fd) => format!("read {fd}"),
            (2, fd) => format!("write {fd}"),
            (other, _) => format!("unknown {other}"),
        };
        Ok((decoded, size))
    }

    fn event(&self, at: u32) -> Result<(String, u32), Errno> {
        let (errno, bytes) = (self.u16(at, 8)?, self.u64(at, 16)?);
        let mut decoded = match self.u16(at, 10)? as u8 {
            0 => "clock".to_owned(),
            1 => format!("read {bytes}"),
            _ => format!("write {bytes}"),
        };
        if errno != 0 {
            let _ = write!(decoded, " errno {errno}");
        }
        Ok((decoded, 32))
    }

    fn u16(&self, at: u32, offset: u32) -> Result<u16, Errno> {
        Ok(self.mem.read_u16(at.checked_add(offset).ok_or(Errno::Fault)?)?)
    }

    fn u32(&self, at: u32, offset: u32) -> Result<u32, Errno> {
        Ok(self.mem.read_u32(at.checked_add(offset).ok_or(Errno::Fault)?)?)
    }

    fn u64(&self, at: u32, offset: u32) -> Result<u64, Errno> {
        Ok(self.mem.read_u64(at.checked_add(offset).ok_or(Errno::Fault)?)?)
    }
}

/// Of `fd_lock`, as its header names them.
fn lock_operation(word: u32) -> String {
    let names = ["UN", "SH", "EX"];
    match (names.get((word & 3) as usize), word & !3) {
        (Some(name), 0) => (*name).to_owned(),
        (Some(name), 4) => format!("{name}|TRY"),
        _ => word.to_string(),
    }
}

/// The size of what a result pointer points to, if it is a plain integer.
fn result_size(function: &Function, name: &str) -> Option<usize> {
    Some(match name {
        "argc" | "argv_buf_size" | "environc" | "environ_buf_size" | "nread" | "nwritten" | "bufused"
        | "opened_fd" | "given_fd" | "nevents" | "result_fd" | "ro_datalen" | "so_datalen" => 4,
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
    value.map_or_else(|_| raw.to_string(), |value| format!("{value:?}").to_lowercase())
}
