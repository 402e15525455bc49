//! The records that guests and WASI exchange: where each field lies.
//!
//! The one place with offsets and sizes. Used by `params.rs`, which moves them, and by the trace,
//! which reads them back. Invariant: padding is written as zero.

use std::fmt::Write;

use guest_memory::{Error, GuestMemory};

use crate::abi::encoded::{Decode, show_flags, show_rights};
use crate::rights::Rights;
use crate::types::{Clockid, Fdflags, Filestat, Filetype, Timestamp};
use crate::watch::WatchEvents;

pub use crate::types::Fdstat;

/// Something with a layout in guest memory.
pub trait Record: Sized {
    const SIZE: u32;
    /// Whether it is a single number.
    const IS_NUMBER: bool = false;

    fn write(&self, mem: &GuestMemory<'_>, at: u32) -> Result<(), Error>;
    fn read(mem: &GuestMemory<'_>, at: u32) -> Result<Self, Error>;
}

/// Something that a trace tells.
pub trait Show {
    fn show(&self) -> String;
}

/// A type of records, for who goes by kinds.
#[derive(Clone, Copy)]
pub struct Format {
    pub size: u32,
    pub show: fn(&GuestMemory<'_>, u32) -> Result<String, Error>,
}

impl Format {
    pub const fn of<T: Record + Show>() -> Format {
        Format { size: T::SIZE, show: |mem, at| Ok(T::read(mem, at)?.show()) }
    }
}

/// Something that a record has as a field.
trait Field: Sized {
    type Int;
    fn to_int(&self) -> Self::Int;
    fn from_int(int: Self::Int) -> Self;
}

macro_rules! numbers {
    ($($int:ident $read:ident $write:ident;)*) => {$(
        impl Record for $int {
            const SIZE: u32 = size_of::<$int>() as u32;
            const IS_NUMBER: bool = true;

            #[inline]
            fn write(&self, mem: &GuestMemory<'_>, at: u32) -> Result<(), Error> {
                mem.$write(at, *self)
            }

            #[inline]
            fn read(mem: &GuestMemory<'_>, at: u32) -> Result<$int, Error> {
                mem.$read(at)
            }
        }

        impl Show for $int {
            fn show(&self) -> String {
                self.to_string()
            }
        }

        impl Field for $int {
            type Int = $int;

            #[inline]
            fn to_int(&self) -> $int {
                *self
            }

            #[inline]
            fn from_int(int: $int) -> $int {
                int
            }
        }
    )*};
}

numbers! {
    u8 read_u8 write_u8;
    u16 read_u16 write_u16;
    u32 read_u32 write_u32;
    u64 read_u64 write_u64;
}

macro_rules! fields {
    ($($ty:ty: $int:ty, $to:expr, $from:expr;)*) => {$(
        impl Field for $ty {
            type Int = $int;

            #[inline]
            fn to_int(&self) -> $int {
                $to(self)
            }

            #[inline]
            fn from_int(int: $int) -> $ty {
                $from(int)
            }
        }
    )*};
}

fields! {
    Filetype: u8, |it: &Filetype| *it as u8, |raw| Filetype::from_raw(raw).unwrap_or(Filetype::Unknown);
    Timestamp: u64, |it: &Timestamp| it.as_nanos(), Timestamp::from_nanos;
    Fdflags: u16, Fdflags::bits, Fdflags::from_bits_retain;
    Rights: u64, Rights::bits, Rights::from_bits_retain;
}

impl Record for Timestamp {
    const SIZE: u32 = 8;
    const IS_NUMBER: bool = true;

    #[inline]
    fn write(&self, mem: &GuestMemory<'_>, at: u32) -> Result<(), Error> {
        mem.write_u64(at, self.as_nanos())
    }

    fn read(mem: &GuestMemory<'_>, at: u32) -> Result<Timestamp, Error> {
        Ok(Timestamp::from_nanos(mem.read_u64(at)?))
    }
}

impl Show for Timestamp {
    fn show(&self) -> String {
        self.as_nanos().to_string()
    }
}

/// The layout of a record: for each field its type and its offset.
macro_rules! record {
    ($record:ty, $size:literal { $($field:ident: $ty:ty = $offset:literal,)* }) => {
        impl $record {
            #[inline]
            pub(in crate::abi) fn encode(&self) -> [u8; $size] {
                let mut bytes = [0; $size];
                $({
                    let field = <$ty as Field>::to_int(&self.$field).to_le_bytes();
                    if let Some(slot) = bytes.get_mut($offset..$offset + field.len()) {
                        slot.copy_from_slice(&field);
                    }
                })*
                bytes
            }
        }

        impl Record for $record {
            const SIZE: u32 = $size;

            #[inline]
            fn write(&self, mem: &GuestMemory<'_>, at: u32) -> Result<(), Error> {
                mem.write_bytes(at, &self.encode())
            }

            #[inline]
            fn read(mem: &GuestMemory<'_>, at: u32) -> Result<$record, Error> {
                let mut bytes = [0; $size];
                mem.read_into(at, &mut bytes)?;
                Ok(Self {$(
                    $field: {
                        let field = bytes.get($offset..).and_then(|rest| rest.first_chunk());
                        let field = field.ok_or(Error::OutOfBounds)?;
                        <$ty as Field>::from_int(<$ty as Field>::Int::from_le_bytes(*field))
                    },
                )*})
            }
        }
    };
}

record! {
    Filestat, 64 {
        dev: u64 = 0,
        ino: u64 = 8,
        filetype: Filetype = 16,
        nlink: u64 = 24,
        size: u64 = 32,
        atim: Timestamp = 40,
        mtim: Timestamp = 48,
        ctim: Timestamp = 56,
    }
}

/// `filestat` of preview 0, which counted links in 32 bits.
pub struct FilestatP0 {
    dev: u64,
    ino: u64,
    filetype: Filetype,
    nlink: u32,
    size: u64,
    atim: Timestamp,
    mtim: Timestamp,
    ctim: Timestamp,
}

record! {
    FilestatP0, 56 {
        dev: u64 = 0,
        ino: u64 = 8,
        filetype: Filetype = 16,
        nlink: u32 = 20,
        size: u64 = 24,
        atim: Timestamp = 32,
        mtim: Timestamp = 40,
        ctim: Timestamp = 48,
    }
}

impl From<Filestat> for FilestatP0 {
    fn from(stat: Filestat) -> FilestatP0 {
        let Filestat { dev, ino, filetype, nlink, size, atim, mtim, ctim } = stat;
        let nlink = u32::try_from(nlink).unwrap_or(u32::MAX);
        FilestatP0 { dev, ino, filetype, nlink, size, atim, mtim, ctim }
    }
}

fn show_filestat(filetype: Filetype, ino: u64, nlink: u64, size: u64) -> String {
    format!("{{{}, ino: {ino}, nlink: {nlink}, size: {size}}}", show_filetype(filetype))
}

fn show_filetype(filetype: Filetype) -> String {
    format!("{filetype:?}").to_lowercase()
}

impl Show for Filestat {
    fn show(&self) -> String {
        show_filestat(self.filetype, self.ino, self.nlink, self.size)
    }
}

impl Show for FilestatP0 {
    fn show(&self) -> String {
        show_filestat(self.filetype, self.ino, self.nlink.into(), self.size)
    }
}

record! {
    Fdstat, 24 {
        filetype: Filetype = 0,
        flags: Fdflags = 2,
        rights_base: Rights = 8,
        rights_inheriting: Rights = 16,
    }
}

impl Show for Fdstat {
    fn show(&self) -> String {
        let flags = show_flags(Ok(self.flags), 0);
        let filetype = show_filetype(self.filetype);
        let [base, inheriting] = [self.rights_base, self.rights_inheriting].map(|of| show_rights(of.bits()));
        format!("{{{filetype}, flags: {flags}, rights: {base}, inheriting: {inheriting}}}")
    }
}

/// `prestat`, of which there is one kind: a directory.
pub struct Prestat {
    tag: u32,
    name_len: u32,
}

record! {
    Prestat, 8 {
        tag: u32 = 0,
        name_len: u32 = 4,
    }
}

impl Prestat {
    pub fn directory(name: &str) -> Prestat {
        Prestat { tag: 0, name_len: name.len() as u32 }
    }
}

impl Show for Prestat {
    fn show(&self) -> String {
        format!("{{directory, name of {}}}", self.name_len)
    }
}

/// `dirent`; the name follows it.
pub struct Dirent {
    pub next: u64,
    pub ino: u64,
    pub namlen: u32,
    pub filetype: Filetype,
}

record! {
    Dirent, 24 {
        next: u64 = 0,
        ino: u64 = 8,
        namlen: u32 = 16,
        filetype: Filetype = 20,
    }
}

/// `eventtype`, which is also the tag of a subscription.
pub const EVENT_CLOCK: u8 = 0;
pub const EVENT_FD_READ: u8 = 1;
pub const EVENT_FD_WRITE: u8 = 2;

/// What a subscription says, whichever its layout. Those of a clock have its fields, the others `fd`.
#[derive(Clone, Copy)]
pub struct SubscriptionFields {
    pub userdata: u64,
    pub tag: u8,
    pub fd: u32,
    pub clock_id: u32,
    pub timeout: u64,
    pub flags: u16,
}

pub const SUBSCRIPTION_CLOCK_ABSTIME: u16 = 1;

/// `subscription`
pub struct Subscription {
    userdata: u64,
    tag: u8,
    fd: u32,
    clock_id: u32,
    timeout: u64,
    flags: u16,
}

record! {
    Subscription, 48 {
        userdata: u64 = 0,
        tag: u8 = 8,
        fd: u32 = 16,
        clock_id: u32 = 16,
        timeout: u64 = 24,
        flags: u16 = 40,
    }
}

/// `subscription` of preview 0, whose clocks had an identifier in front.
pub struct SubscriptionP0 {
    userdata: u64,
    tag: u8,
    fd: u32,
    clock_id: u32,
    timeout: u64,
    flags: u16,
}

record! {
    SubscriptionP0, 56 {
        userdata: u64 = 0,
        tag: u8 = 8,
        fd: u32 = 16,
        clock_id: u32 = 24,
        timeout: u64 = 32,
        flags: u16 = 48,
    }
}

macro_rules! subscription {
    ($($record:ident)*) => {$(
        impl From<$record> for SubscriptionFields {
            #[inline]
            fn from(record: $record) -> SubscriptionFields {
                let $record { userdata, tag, fd, clock_id, timeout, flags } = record;
                SubscriptionFields { userdata, tag, fd, clock_id, timeout, flags }
            }
        }

        impl Show for $record {
            fn show(&self) -> String {
                match self.tag {
                    EVENT_CLOCK => {
                        let sign = if self.flags & SUBSCRIPTION_CLOCK_ABSTIME == 0 { "+" } else { "" };
                        format!("{} {sign}{} ns", Clockid::show(self.clock_id), self.timeout)
                    }
                    EVENT_FD_READ => format!("read {}", self.fd),
                    EVENT_FD_WRITE => format!("write {}", self.fd),
                    other => format!("unknown {other}"),
                }
            }
        }
    )*};
}

subscription! { Subscription SubscriptionP0 }

/// `event`
pub struct Event {
    pub userdata: u64,
    pub errno: u16,
    pub kind: u8,
    pub nbytes: u64,
    pub flags: u16,
}

pub const EVENT_FD_READWRITE_HANGUP: u16 = 1;

record! {
    Event, 32 {
        userdata: u64 = 0,
        errno: u16 = 8,
        kind: u8 = 10,
        nbytes: u64 = 16,
        flags: u16 = 24,
    }
}

impl Show for Event {
    fn show(&self) -> String {
        let mut told = match self.kind {
            EVENT_CLOCK => "clock".to_owned(),
            EVENT_FD_READ => format!("read {}", self.nbytes),
            _ => format!("write {}", self.nbytes),
        };
        if self.errno != 0 {
            let _ = write!(told, " errno {}", self.errno);
        }
        told
    }
}

/// What `fd_read` yields of a watch: the kind and the length of the name, each a `u32`; the name
/// follows, then zeros up to a multiple of eight.
pub fn watch_record(events: WatchEvents, name: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(16 + name.len());
    record.extend_from_slice(&events.bits().to_le_bytes());
    record.extend_from_slice(&(name.len() as u32).to_le_bytes());
    record.extend_from_slice(name);
    record.resize(record.len().next_multiple_of(8), 0);
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(record: &impl Record) -> Vec<u8> {
        let mut bytes = vec![0xff; 64];
        record.write(&GuestMemory::from_slice(&mut bytes), 0).unwrap();
        bytes
    }

    #[test]
    fn records_have_the_witx_layout() {
        let time = Timestamp::from_nanos;
        let stat = Filestat {
            dev: 0x0101,
            ino: 0x0202,
            filetype: Filetype::RegularFile,
            nlink: 0x0303,
            size: 0x0404,
            atim: time(0x0505),
            mtim: time(0x0606),
            ctim: time(0x0707),
        };
        let bytes = written(&stat);
        for (offset, value) in [(0, 1), (8, 2), (24, 3), (32, 4), (40, 5), (48, 6), (56, 7)] {
            assert_eq!(&bytes[offset..offset + 3], &[value, value, 0]);
        }
        assert_eq!(&bytes[16..24], &[4, 0, 0, 0, 0, 0, 0, 0]);

        let dirent = Dirent { next: 9, ino: 8, namlen: 7, filetype: Filetype::Directory };
        let bytes = written(&dirent);
        assert_eq!((bytes[0], bytes[8], bytes[16], bytes[20]), (9, 8, 7, 3));
    }
}
