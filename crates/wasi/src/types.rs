//! The plain data of the core, named as in the witx file.
//!
//! At the ground. Invariant: nothing here knows how it lies in guest memory; `abi/records.rs` does.

use std::time::Duration;

use bitflags::bitflags;

use crate::rights::Rights;

bitflags! {
    /// `fdflags`
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Fdflags: u16 {
        const APPEND = 1 << 0;
        const DSYNC = 1 << 1;
        const NONBLOCK = 1 << 2;
        const RSYNC = 1 << 3;
        const SYNC = 1 << 4;
    }
}

bitflags! {
    /// `oflags`
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Oflags: u16 {
        const CREAT = 1 << 0;
        const DIRECTORY = 1 << 1;
        const EXCL = 1 << 2;
        const TRUNC = 1 << 3;
    }
}

bitflags! {
    /// `lookupflags`
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Lookupflags: u32 {
        const SYMLINK_FOLLOW = 1 << 0;
    }
}

bitflags! {
    /// `fstflags`
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Fstflags: u16 {
        const ATIM = 1 << 0;
        const ATIM_NOW = 1 << 1;
        const MTIM = 1 << 2;
        const MTIM_NOW = 1 << 3;
    }
}

bitflags! {
    /// `riflags`
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Riflags: u16 {
        const RECV_PEEK = 1 << 0;
        const RECV_WAITALL = 1 << 1;
    }
}

bitflags! {
    /// `roflags`
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Roflags: u16 {
        const RECV_DATA_TRUNCATED = 1 << 0;
    }
}

bitflags! {
    /// `sdflags`
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Sdflags: u8 {
        const RD = 1 << 0;
        const WR = 1 << 1;
    }
}

/// `filetype`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Filetype {
    /// Also pipes: the witx file has no word for them.
    Unknown = 0,
    BlockDevice = 1,
    CharacterDevice = 2,
    Directory = 3,
    RegularFile = 4,
    SocketDgram = 5,
    SocketStream = 6,
    SymbolicLink = 7,
}

impl Filetype {
    pub fn from_raw(raw: u8) -> Option<Filetype> {
        Some(match raw {
            0 => Filetype::Unknown,
            1 => Filetype::BlockDevice,
            2 => Filetype::CharacterDevice,
            3 => Filetype::Directory,
            4 => Filetype::RegularFile,
            5 => Filetype::SocketDgram,
            6 => Filetype::SocketStream,
            7 => Filetype::SymbolicLink,
            _ => return None,
        })
    }

    pub fn is_socket(self) -> bool {
        matches!(self, Filetype::SocketDgram | Filetype::SocketStream)
    }
}

/// `whence`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    Set,
    Cur,
    End,
}

/// `advice`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    Normal,
    Sequential,
    Random,
    Willneed,
    Dontneed,
    Noreuse,
}

/// `clockid`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clockid {
    Realtime,
    Monotonic,
    ProcessCputimeId,
    ThreadCputimeId,
}

/// A point in time: nanoseconds since the epoch, or since whatever a clock counts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    #[inline]
    pub const fn from_nanos(nanoseconds: u64) -> Timestamp {
        Timestamp(nanoseconds)
    }

    /// Times outside of what it can hold are moved to its ends.
    #[inline]
    pub fn from_parts(seconds: i64, nanoseconds: u64) -> Timestamp {
        Timestamp(
            u64::try_from(seconds)
                .map_or(0, |seconds| seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)),
        )
    }

    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    pub fn saturating_add(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Nothing if it is not after `earlier`.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// What `*_set_times` does with one of the two times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    Keep,
    Now,
    At(Timestamp),
}

/// `filestat`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filestat {
    pub dev: u64,
    pub ino: u64,
    pub filetype: Filetype,
    pub nlink: u64,
    pub size: u64,
    pub atim: Timestamp,
    pub mtim: Timestamp,
    pub ctim: Timestamp,
}

impl Filestat {
    /// The metadata of something that is not a file: a pipe end in memory.
    pub fn of_stream(filetype: Filetype) -> Filestat {
        let never = Timestamp::default();
        Filestat { dev: 0, ino: 0, filetype, nlink: 1, size: 0, atim: never, mtim: never, ctim: never }
    }
}

/// `fdstat`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fdstat {
    pub filetype: Filetype,
    pub flags: Fdflags,
    pub rights_base: Rights,
    pub rights_inheriting: Rights,
}

/// One name of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// Where the listing goes on after it.
    pub next: u64,
    pub ino: u64,
    pub filetype: Filetype,
    pub name: &'a [u8],
}
