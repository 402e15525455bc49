//! What a guest calls, in words, as strace would say it.
//!
//! Goes by the kinds of parameters alone. Used by `functions.rs` for contexts that have a sink.
//! Invariants: arguments are read before the call, which may write over them, and results after it;
//! reading them has no effect on the guest; at most a few hundred bytes of its memory are shown for
//! one argument.

use std::fmt::Write;

use guest_memory::{Error as AccessError, GuestMemory};

use crate::abi::encoded::show_rights;
use crate::abi::functions::Function;
use crate::abi::params::Kind;
use crate::abi::records::{Dirent, Format, Record};
use crate::errno::Error;
use crate::trace::{TraceSink, TracedCall};

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
    /// Each parameter with its argument, from a place on.
    fn params(&self, from: usize) -> impl Iterator<Item = (usize, &'static str, Kind, u64)> {
        let params = self.function.params.iter().zip(self.args).enumerate().skip(from);
        params.map(|(place, (param, value))| (place, param.name, param.kind, *value))
    }

    /// The argument of the first parameter after a place that is of a kind.
    fn next(&self, place: usize, is_kind: fn(&Kind) -> bool) -> Option<u32> {
        let found = self.params(place + 1).find(|(_, _, kind, _)| is_kind(kind));
        found.map(|(_, _, _, value)| value as u32)
    }

    /// How long the text or array at this place is.
    fn size(&self, place: usize) -> u32 {
        self.next(place, |kind| matches!(kind, Kind::Size)).unwrap_or(0)
    }

    /// How much the call put into the buffer at this place: another of its results tells, or else it is
    /// full.
    fn written(&self, place: usize) -> Result<u32, AccessError> {
        match self.next(place, |kind| matches!(kind, Kind::OutSize)) {
            Some(address) => self.mem.read_u32(address),
            None => Ok(self.size(place)),
        }
    }

    fn arguments(&self) -> String {
        let mut line = String::new();
        for (place, name, kind, value) in self.params(0) {
            let word = value as u32;
            let decoded = match kind {
                Kind::OutNumber(_) | Kind::OutSize => continue,
                Kind::Fd | Kind::Unsigned | Kind::Size => value.to_string(),
                Kind::Signed => (value as i64).to_string(),
                Kind::Encoded(show) => show(word),
                Kind::Rights => show_rights(value),
                Kind::Path | Kind::Text => self.text(word, self.size(place)),
                Kind::CiovecArray => self.buffers(word, self.size(place), u32::MAX),
                Kind::InArray(format) => self.records(word, self.size(place), format),
                Kind::IovecArray
                | Kind::OutRecord(_)
                | Kind::OutArray(_)
                | Kind::OutDirents
                | Kind::OutText
                | Kind::OutBytes => format!("0x{word:x}"),
            };
            let separator = if line.is_empty() { "" } else { ", " };
            let _ = write!(line, "{separator}{name}: {decoded}");
        }
        line
    }

    /// What a call wrote to its result pointers and into its buffers.
    fn results(&self) -> String {
        let mut line = String::new();
        for (place, name, kind, value) in self.params(0) {
            let address = value as u32;
            let written = || self.written(place);
            let decoded = match kind {
                Kind::OutNumber(format) | Kind::OutRecord(format) => (format.show)(self.mem, address),
                Kind::OutSize => self.mem.read_u32(address).map(|size| size.to_string()),
                Kind::IovecArray => written().map(|most| self.buffers(address, self.size(place), most)),
                Kind::OutText => written().map(|used| self.text(address, used)),
                Kind::OutDirents => written().map(|used| self.names(address, used)),
                Kind::OutArray(format) => written().map(|count| self.records(address, count, format)),
                _ => continue,
            };
            let separator = if line.is_empty() { "" } else { ", " };
            let decoded = decoded.as_deref().unwrap_or("?");
            let _ = write!(line, "{separator}{name}: {decoded}");
        }
        line
    }

    fn text(&self, address: u32, len: u32) -> String {
        let mut bytes = vec![0; len.min(SHOWN) as usize];
        if self.mem.read_into(address, &mut bytes).is_err() {
            return format!("0x{address:x}");
        }
        let dots = if len > SHOWN { "..." } else { "" };
        format!("\"{}\"{dots}", bytes.escape_ascii())
    }

    /// The beginning of `most` bytes of some buffers, as the one text that they are.
    fn buffers(&self, array: u32, count: u32, most: u32) -> String {
        /// Of as many buffers, empty ones included.
        const BUFFERS: u32 = 64;
        let word = |index: u32, offset: u32| {
            let at = index.checked_mul(8).and_then(|at| array.checked_add(at)?.checked_add(offset));
            self.mem.read_u32(at.ok_or(AccessError::OutOfBounds)?)
        };
        // One more tells whether there are more.
        let wanted = most.min(SHOWN + 1) as usize;
        let mut bytes = Vec::new();
        for index in 0..count.min(BUFFERS) {
            let part = word(index, 0).and_then(|address| {
                let len = (word(index, 4)? as usize).min(wanted - bytes.len());
                let mut part = vec![0; len];
                self.mem.read_into(address, &mut part).map(|()| part)
            });
            let Ok(part) = part else { return format!("0x{array:x}") };
            bytes.extend(part);
        }
        let is_cut = bytes.len() > SHOWN as usize || count > BUFFERS && bytes.len() < wanted;
        bytes.truncate(SHOWN as usize);
        format!("\"{}\"{}", bytes.escape_ascii(), if is_cut { "..." } else { "" })
    }

    /// The whole names of a listing, as far as they are shown.
    fn names(&self, mut at: u32, used: u32) -> String {
        let end = at.saturating_add(used);
        let mut names = String::from("[");
        while let Ok(dirent) = Dirent::read(self.mem, at) {
            let start = at.saturating_add(Dirent::SIZE);
            at = start.saturating_add(dirent.namlen);
            if at > end || at == u32::MAX {
                break;
            }
            let separator = if names.len() == 1 { "" } else { ", " };
            if names.len() > SHOWN as usize {
                names.push_str(", ...");
                break;
            }
            names.push_str(separator);
            names.push_str(&self.text(start, dirent.namlen));
        }
        names.push(']');
        names
    }

    /// The first few of an array of records.
    fn records(&self, array: u32, count: u32, format: Format) -> String {
        const MOST: u32 = 8;
        let (mut list, mut at) = (String::from("["), array);
        for index in 0..count.min(MOST) {
            let Ok(decoded) = (format.show)(self.mem, at) else {
                return format!("0x{array:x}");
            };
            let separator = if index == 0 { "" } else { ", " };
            let _ = write!(list, "{separator}{decoded}");
            at = at.saturating_add(format.size);
        }
        list.push_str(if count > MOST { ", ...]" } else { "]" });
        list
    }
}
