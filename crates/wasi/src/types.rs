//! The plain data of preview 1: flags, enumerations and records with their
//! sizes, named as in the witx file.
//!
//! Shared by the core and the ABI files. Invariant: nothing here knows guest
//! memory layouts except the `ENCODED_SIZE`/`encode` pairs, which write the
//! preview 1 layout into a host buffer with every padding byte zero.

#![forbid(unsafe_code)]

use bitflags::bitflags;

use crate::errno::Errno;
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

/// Flag words arrive as a whole `i32`; a bit the witx file does not name is
/// `EINVAL`, not something to ignore.
macro_rules! from_guest {
    ($($flags:ident: $bits:ty,)*) => {$(
        impl $flags {
            pub fn from_guest(word: u32) -> Result<$flags, Errno> {
                <$bits>::try_from(word)
                    .ok()
                    .and_then($flags::from_bits)
                    .ok_or(Errno::Inval)
            }
        }
    )*};
}

from_guest! {
    Fdflags: u16,
    Oflags: u16,
    Lookupflags: u32,
    Fstflags: u16,
    Riflags: u16,
    Sdflags: u8,
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

impl Advice {
    pub fn from_guest(raw: u32) -> Result<Advice, Errno> {
        Ok(match raw {
            0 => Advice::Normal,
            1 => Advice::Sequential,
            2 => Advice::Random,
            3 => Advice::Willneed,
            4 => Advice::Dontneed,
            5 => Advice::Noreuse,
            _ => return Err(Errno::Inval),
        })
    }
}

/// `clockid`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clockid {
    Realtime,
    Monotonic,
    ProcessCputimeId,
    ThreadCputimeId,
}

impl Clockid {
    pub fn from_guest(raw: u32) -> Result<Clockid, Errno> {
        Ok(match raw {
            0 => Clockid::Realtime,
            1 => Clockid::Monotonic,
            2 => Clockid::ProcessCputimeId,
            3 => Clockid::ThreadCputimeId,
            _ => return Err(Errno::Inval),
        })
    }
}

/// What `*_set_times` does with one of the two times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    Keep,
    Now,
    /// Nanoseconds since the epoch.
    At(u64),
}

impl SetTime {
    /// The pair `(atim, mtim)` that flags and arguments ask for.
    pub fn pair(atim: u64, mtim: u64, flags: u32) -> Result<(SetTime, SetTime), Errno> {
        let flags = Fstflags::from_guest(flags)?;
        let one = |at: Fstflags, now: Fstflags, value: u64| match (flags.contains(at), flags.contains(now)) {
            (true, true) => Err(Errno::Inval),
            (true, false) => Ok(SetTime::At(value)),
            (false, true) => Ok(SetTime::Now),
            (false, false) => Ok(SetTime::Keep),
        };
        Ok((one(Fstflags::ATIM, Fstflags::ATIM_NOW, atim)?, one(Fstflags::MTIM, Fstflags::MTIM_NOW, mtim)?))
    }
}

/// `filestat`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filestat {
    pub dev: u64,
    pub ino: u64,
    pub filetype: Filetype,
    pub nlink: u64,
    pub size: u64,
    pub atim: u64,
    pub mtim: u64,
    pub ctim: u64,
}

impl Filestat {
    pub const ENCODED_SIZE: usize = 64;

    /// The metadata of something that is not a file: a pipe end in memory.
    pub fn of_stream(filetype: Filetype) -> Filestat {
        Filestat { dev: 0, ino: 0, filetype, nlink: 1, size: 0, atim: 0, mtim: 0, ctim: 0 }
    }

    pub fn encode(&self) -> [u8; Filestat::ENCODED_SIZE] {
        let mut record = Record::<{ Filestat::ENCODED_SIZE }>::new();
        record.put(0, &self.dev.to_le_bytes());
        record.put(8, &self.ino.to_le_bytes());
        record.put(16, &[self.filetype as u8]);
        record.put(24, &self.nlink.to_le_bytes());
        record.put(32, &self.size.to_le_bytes());
        record.put(40, &self.atim.to_le_bytes());
        record.put(48, &self.mtim.to_le_bytes());
        record.put(56, &self.ctim.to_le_bytes());
        record.bytes
    }

    pub const ENCODED_SIZE_P0: usize = 56;

    /// Preview 0 counted links in 32 bits.
    pub fn encode_p0(&self) -> [u8; Filestat::ENCODED_SIZE_P0] {
        let nlink = u32::try_from(self.nlink).unwrap_or(u32::MAX);
        let mut record = Record::<{ Filestat::ENCODED_SIZE_P0 }>::new();
        record.put(0, &self.dev.to_le_bytes());
        record.put(8, &self.ino.to_le_bytes());
        record.put(16, &[self.filetype as u8]);
        record.put(20, &nlink.to_le_bytes());
        record.put(24, &self.size.to_le_bytes());
        record.put(32, &self.atim.to_le_bytes());
        record.put(40, &self.mtim.to_le_bytes());
        record.put(48, &self.ctim.to_le_bytes());
        record.bytes
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

impl Fdstat {
    pub const ENCODED_SIZE: usize = 24;

    pub fn encode(&self) -> [u8; Fdstat::ENCODED_SIZE] {
        let mut record = Record::<{ Fdstat::ENCODED_SIZE }>::new();
        record.put(0, &[self.filetype as u8]);
        record.put(2, &self.flags.bits().to_le_bytes());
        record.put(8, &self.rights_base.bits().to_le_bytes());
        record.put(16, &self.rights_inheriting.bits().to_le_bytes());
        record.bytes
    }
}

/// `dirent`; the name follows it in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirent {
    pub next: u64,
    pub ino: u64,
    pub namlen: u32,
    pub filetype: Filetype,
}

impl Dirent {
    pub const ENCODED_SIZE: usize = 24;

    pub fn encode(&self) -> [u8; Dirent::ENCODED_SIZE] {
        let mut record = Record::<{ Dirent::ENCODED_SIZE }>::new();
        record.put(0, &self.next.to_le_bytes());
        record.put(8, &self.ino.to_le_bytes());
        record.put(16, &self.namlen.to_le_bytes());
        record.put(20, &[self.filetype as u8]);
        record.bytes
    }
}

/// A zeroed record being filled; a field outside it is dropped rather than a
/// panic, and the layout test below would show it.
struct Record<const N: usize> {
    bytes: [u8; N],
}

impl<const N: usize> Record<N> {
    #[inline]
    fn new() -> Record<N> {
        Record { bytes: [0; N] }
    }

    #[inline]
    fn put(&mut self, offset: usize, field: &[u8]) {
        if let Some(slot) = self.bytes.get_mut(offset..offset + field.len()) {
            slot.copy_from_slice(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_flag_bits_are_refused() {
        assert_eq!(Fdflags::from_guest(0x20), Err(Errno::Inval));
        assert_eq!(Oflags::from_guest(0x1_0001), Err(Errno::Inval));
        assert_eq!(Lookupflags::from_guest(2), Err(Errno::Inval));
        assert_eq!(Sdflags::from_guest(3), Ok(Sdflags::RD | Sdflags::WR));
    }

    #[test]
    fn a_time_cannot_be_both_given_and_now() {
        assert_eq!(SetTime::pair(1, 2, 3), Err(Errno::Inval));
        assert_eq!(SetTime::pair(1, 2, 12), Err(Errno::Inval));
        assert_eq!(SetTime::pair(1, 2, 16), Err(Errno::Inval));
        assert_eq!(SetTime::pair(1, 2, 1), Ok((SetTime::At(1), SetTime::Keep)));
        assert_eq!(SetTime::pair(1, 2, 10), Ok((SetTime::Now, SetTime::Now)));
    }

    #[test]
    fn records_have_the_witx_layout() {
        let stat = Filestat {
            dev: 0x0101,
            ino: 0x0202,
            filetype: Filetype::RegularFile,
            nlink: 0x0303,
            size: 0x0404,
            atim: 0x0505,
            mtim: 0x0606,
            ctim: 0x0707,
        };
        let bytes = stat.encode();
        for (offset, value) in [(0, 1), (8, 2), (24, 3), (32, 4), (40, 5), (48, 6), (56, 7)] {
            assert_eq!(&bytes[offset..offset + 3], &[value, value, 0]);
        }
        assert_eq!(&bytes[16..24], &[4, 0, 0, 0, 0, 0, 0, 0]);

        let dirent = Dirent { next: 9, ino: 8, namlen: 7, filetype: Filetype::Directory };
        let bytes = dirent.encode();
        assert_eq!((bytes[0], bytes[8], bytes[16], bytes[20]), (9, 8, 7, 3));
    }
}
