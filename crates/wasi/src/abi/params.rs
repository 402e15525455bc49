//! What the parameters of functions are: wasm integers, and what they mean.
//!
//! The tables in `names.rs` are written in these types. They make the signature that compiled code
//! calls, the checks of arguments, the words of a trace and the tests. Invariant: a parameter is
//! decoded in one place, here; what cannot be is an errno.

use std::marker::PhantomData;

use guest_memory::{GuestMemory, GuestText, IoVecs};

use crate::abi::records::{Dirent, Format, Record, Show};
use crate::ctx::WasiCtx;
use crate::errno::Errno;
use crate::rights::Rights;
use crate::types::DirEntry;

pub use crate::abi::encoded::{Decode, LockOperation, Siflags};
pub use crate::abi::records::{Event, Fdstat, Prestat};
pub use crate::types::{
    Advice, Clockid, Fdflags, Fstflags, Lookupflags, Oflags, Riflags, Sdflags, Timestamp,
};
pub use crate::watch::WatchEvents;

/// What a parameter is for. Whoever goes over the parameters of a function goes by this.
#[derive(Clone, Copy)]
pub enum Kind {
    /// The number of a descriptor.
    Fd,
    Unsigned,
    Signed,
    /// How many bytes or elements there are at the pointer before it.
    Size,
    /// Flags or one of some values, as these words say. Others are `EINVAL`.
    Encoded(fn(u32) -> String),
    Rights,
    /// A pointer to a path, which passes the gate of paths.
    Path,
    /// A pointer to another text.
    Text,
    /// Buffers to write from.
    CiovecArray,
    /// Buffers to read into.
    IovecArray,
    /// Records of the guest.
    InArray(Format),
    /// A pointer to a result that is a single number.
    OutNumber(Format),
    /// The same, and the number tells how much the call put into the buffer before it.
    OutSize,
    /// A pointer to a result that is a record.
    OutRecord(Format),
    /// Room for as many records as there are of the guest.
    OutArray(Format),
    OutDirents,
    OutText,
    OutBytes,
}

impl Kind {
    /// Whether it is an address in the guest's memory.
    pub fn is_pointer(&self) -> bool {
        !matches!(
            self,
            Kind::Fd | Kind::Unsigned | Kind::Signed | Kind::Size | Kind::Encoded(_) | Kind::Rights
        )
    }
}

/// A type of parameters.
pub trait WasmParam: Copy {
    /// As compiled code passes it.
    type Wasm;
    const KIND: Kind;
    fn from_wasm(value: Self::Wasm) -> Self;
}

macro_rules! params {
    ($($(#[$doc:meta])* $name:ident: $wasm:ty = $kind:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name(pub $wasm);

        impl WasmParam for $name {
            type Wasm = $wasm;
            const KIND: Kind = Kind::$kind;

            #[inline]
            fn from_wasm(value: $wasm) -> $name {
                $name(value)
            }
        }
    )*};
}

params! {
    Fd: u32 = Fd;
    Size: u32 = Size;
    RightsBits: u64 = Rights;
    Path: u32 = Path;
    Text: u32 = Text;
    CiovecArray: u32 = CiovecArray;
    IovecArray: u32 = IovecArray;
    OutSize: u32 = OutSize;
    OutDirents: u32 = OutDirents;
    OutText: u32 = OutText;
    /// Bytes that are of no interest to who reads a trace.
    OutBytes: u32 = OutBytes;
}

macro_rules! plain {
    ($($ty:ty: $wasm:ty = $kind:ident, $from:expr;)*) => {$(
        impl WasmParam for $ty {
            type Wasm = $wasm;
            const KIND: Kind = Kind::$kind;

            #[inline]
            fn from_wasm(value: $wasm) -> $ty {
                $from(value)
            }
        }
    )*};
}

plain! {
    u32: u32 = Unsigned, std::convert::identity;
    u64: u64 = Unsigned, std::convert::identity;
    i64: i64 = Signed, std::convert::identity;
    Timestamp: u64 = Unsigned, Timestamp::from_nanos;
}

macro_rules! generic {
    ($($(#[$doc:meta])* $name:ident<T: $bound:ident $(+ $more:ident)?> = $kind:expr;)*) => {$(
        $(#[$doc])*
        pub struct $name<T>(u32, PhantomData<T>);

        impl<T> Clone for $name<T> {
            #[inline]
            fn clone(&self) -> $name<T> {
                *self
            }
        }

        impl<T> Copy for $name<T> {}

        impl<T: $bound $(+ $more)?> WasmParam for $name<T> {
            type Wasm = u32;
            const KIND: Kind = $kind;

            #[inline]
            fn from_wasm(value: u32) -> $name<T> {
                $name(value, PhantomData)
            }
        }
    )*};
}

generic! {
    /// Flags, or one of some values.
    Encoded<T: Decode> = Kind::Encoded(T::show);
    /// Where a result goes.
    Out<T: Record + Show> =
        if T::IS_NUMBER { Kind::OutNumber(Format::of::<T>()) } else { Kind::OutRecord(Format::of::<T>()) };
    InArray<T: Record + Show> = Kind::InArray(Format::of::<T>());
    OutArray<T: Record + Show> = Kind::OutArray(Format::of::<T>());
}

impl<T: Decode> Encoded<T> {
    #[inline]
    pub fn decode(self) -> Result<T, Errno> {
        T::decode(self.0)
    }
}

// Result pointers are checked by `reserve` before a call has an effect, so that it does not fail half
// done.

impl<T: Record> Out<T> {
    #[inline]
    pub fn reserve(self, mem: &GuestMemory<'_>) -> Result<(), Errno> {
        Ok(mem.reserve(self.0, T::SIZE as usize)?)
    }

    #[inline]
    pub fn write(self, mem: &GuestMemory<'_>, value: &T) -> Result<(), Errno> {
        Ok(value.write(mem, self.0)?)
    }
}

impl OutSize {
    #[inline]
    pub fn reserve(self, mem: &GuestMemory<'_>) -> Result<(), Errno> {
        Ok(mem.reserve(self.0, size_of::<u32>())?)
    }

    /// What a call moved fits, as that of a guest's buffers does.
    #[inline]
    pub fn write(self, mem: &GuestMemory<'_>, size: usize) -> Result<(), Errno> {
        Ok(mem.write_u32(self.0, size as u32)?)
    }
}

impl<T: Record> InArray<T> {
    #[inline]
    pub fn reserve(self, mem: &GuestMemory<'_>, count: Size) -> Result<(), Errno> {
        Ok(mem.reserve(self.0, count.0 as usize * T::SIZE as usize)?)
    }

    /// One that `reserve` found to be there.
    #[inline]
    pub fn read(self, mem: &GuestMemory<'_>, index: u32) -> Result<T, Errno> {
        Ok(T::read(mem, self.0 + index * T::SIZE)?)
    }
}

impl<T: Record> OutArray<T> {
    #[inline]
    pub fn reserve(self, mem: &GuestMemory<'_>, count: Size) -> Result<(), Errno> {
        Ok(mem.reserve(self.0, count.0 as usize * T::SIZE as usize)?)
    }

    /// Writes one that `reserve` found room for.
    #[inline]
    pub fn write(self, mem: &GuestMemory<'_>, index: u32, value: &T) -> Result<(), Errno> {
        Ok(value.write(mem, self.0 + index * T::SIZE)?)
    }
}

impl OutText {
    pub fn reserve(self, mem: &GuestMemory<'_>, len: Size) -> Result<(), Errno> {
        Ok(mem.reserve(self.0, len.0 as usize)?)
    }

    pub fn write(self, mem: &GuestMemory<'_>, bytes: &[u8]) -> Result<(), Errno> {
        Ok(mem.write_bytes(self.0, bytes)?)
    }
}

impl OutDirents {
    pub fn reserve(self, mem: &GuestMemory<'_>, len: Size) -> Result<(), Errno> {
        Ok(mem.reserve(self.0, len.0 as usize)?)
    }

    /// Puts an entry after those that take the first `used` bytes, and says whether it fits.
    #[inline]
    pub fn write(
        self,
        mem: &GuestMemory<'_>,
        len: Size,
        used: &mut u32,
        entry: &DirEntry<'_>,
    ) -> Result<bool, Errno> {
        let namlen = u32::try_from(entry.name.len()).map_err(|_| Errno::Overflow)?;
        let head = Dirent { next: entry.next, ino: entry.ino, namlen, filetype: entry.filetype };
        for piece in [&head.encode(), entry.name] {
            let room = (len.0 - *used) as usize;
            if room == 0 {
                return Ok(false); // there may be no address after these
            }
            let part = piece.get(..room).unwrap_or(piece);
            mem.write_bytes(self.0 + *used, part)?;
            *used += part.len() as u32;
            if part.len() < piece.len() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Where the text at a pointer of either kind goes, without being moved about.
#[inline]
fn read_text(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    at: u32,
    len: Size,
    into: &mut GuestText,
) -> Result<(), Errno> {
    Ok(mem.read_text(at, len.0, ctx.limits.max_path as usize, into)?)
}

impl Path {
    #[inline]
    pub fn read(
        self,
        ctx: &WasiCtx,
        mem: &GuestMemory<'_>,
        len: Size,
        into: &mut GuestText,
    ) -> Result<(), Errno> {
        read_text(ctx, mem, self.0, len, into)
    }
}

impl Text {
    pub fn read(
        self,
        ctx: &WasiCtx,
        mem: &GuestMemory<'_>,
        len: Size,
        into: &mut GuestText,
    ) -> Result<(), Errno> {
        read_text(ctx, mem, self.0, len, into)
    }
}

/// The buffers of an array. A limit of none is `EINVAL`, for nothing could ever be moved.
#[inline(always)]
fn read_iovecs<'a>(
    ctx: &WasiCtx,
    mem: &GuestMemory<'a>,
    array: u32,
    count: Size,
) -> Result<IoVecs<'a>, Errno> {
    let limit = ctx.limits.max_iovecs;
    if count.0 > 0 && limit == 0 {
        return Err(Errno::Inval);
    }
    Ok(mem.iovecs(array, count.0, limit)?)
}

impl IovecArray {
    #[inline(always)]
    pub fn read<'a>(self, ctx: &WasiCtx, mem: &GuestMemory<'a>, count: Size) -> Result<IoVecs<'a>, Errno> {
        read_iovecs(ctx, mem, self.0, count)
    }
}

impl CiovecArray {
    #[inline(always)]
    pub fn read<'a>(self, ctx: &WasiCtx, mem: &GuestMemory<'a>, count: Size) -> Result<IoVecs<'a>, Errno> {
        read_iovecs(ctx, mem, self.0, count)
    }
}

impl RightsBits {
    /// Rights to give away or to hand on: only those that there are.
    pub fn exact(self) -> Result<Rights, Errno> {
        Rights::from_bits(self.0).ok_or(Errno::Notcapable)
    }

    /// Rights of what is opened beneath a directory. Bits that name none are let pass: older guests
    /// ask for everything.
    #[inline]
    pub fn of_opened(self) -> Rights {
        Rights::from_bits_truncate(self.0) & Rights::PREOPEN_INHERITING
    }
}
