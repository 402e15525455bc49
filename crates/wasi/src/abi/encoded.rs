//! Flags and choices, which guests pass as a whole `i32`.
//!
//! Invariant: a bit or a value that the witx file does not name is `EINVAL`, and nothing to ignore.

use std::fmt;

use crate::errno::Errno;
use crate::rights::Rights;
use crate::sys::LockKind;
use crate::types::{
    Advice, Clockid, Fdflags, Fstflags, Lookupflags, Oflags, Riflags, Sdflags, SetTime, Timestamp,
};
use crate::watch::WatchEvents;

pub use crate::types::Whence;

/// What an `i32` can stand for.
pub trait Decode: Sized {
    fn decode(word: u32) -> Result<Self, Errno>;

    /// For a trace: its name, or the number as it came.
    fn show(word: u32) -> String;
}

/// Names joined by bars; what cannot be decoded is shown as it came.
pub fn show_flags<F: bitflags::Flags>(flags: Result<F, Errno>, raw: impl fmt::LowerHex) -> String {
    match flags {
        Ok(flags) if flags.is_empty() => "0".to_owned(),
        Ok(flags) => {
            let names: Vec<&str> = flags.iter_names().map(|(name, _)| name).collect();
            names.join("|")
        }
        Err(_) => format!("0x{raw:x}"),
    }
}

/// Rights as far as their names say something: few of them, or what is missing of the sets that programs ask for.
/// Otherwise the number, which is shorter than thirty names.
pub fn show_rights(bits: u64) -> String {
    const FEW: u32 = 4;
    const MOST_MISSING: u32 = 3;
    let Some(rights) = Rights::from_bits(bits) else { return format!("0x{bits:x}") };
    if rights.bits().count_ones() <= FEW {
        return show_flags(Ok(rights), bits);
    }
    let sets = [
        ("all", Rights::all()),
        ("directory and file", Rights::PREOPEN_INHERITING),
        ("directory", Rights::DIRECTORY),
        ("file", Rights::FILE),
        ("socket", Rights::SOCKET),
        ("stream", Rights::STREAM),
    ];
    let missing = |set: Rights| (set - rights).bits().count_ones();
    let around = sets.iter().filter(|(_, set)| set.contains(rights) && missing(*set) <= MOST_MISSING);
    match around.min_by_key(|(_, set)| missing(*set)) {
        Some((name, set)) if *set == rights => format!("({name})"),
        Some((name, set)) => format!("({name} without {})", show_flags(Ok(*set - rights), 0)),
        None => format!("0x{bits:x}"),
    }
}

macro_rules! flags {
    ($($flags:ident: $bits:ty;)*) => {$(
        impl Decode for $flags {
            #[inline]
            fn decode(word: u32) -> Result<$flags, Errno> {
                <$bits>::try_from(word).ok().and_then($flags::from_bits).ok_or(Errno::Inval)
            }

            fn show(word: u32) -> String {
                show_flags($flags::decode(word), word)
            }
        }
    )*};
}

flags! {
    Fdflags: u16;
    Oflags: u16;
    Lookupflags: u32;
    Fstflags: u16;
    Riflags: u16;
    Sdflags: u8;
}

macro_rules! choices {
    ($($choice:ident { $($number:literal = $variant:ident,)* })*) => {$(
        impl Decode for $choice {
            #[inline]
            fn decode(word: u32) -> Result<$choice, Errno> {
                Ok(match word {
                    $($number => $choice::$variant,)*
                    _ => return Err(Errno::Inval),
                })
            }

            fn show(word: u32) -> String {
                let value = $choice::decode(word);
                value.map_or_else(|_| word.to_string(), |value| format!("{value:?}").to_lowercase())
            }
        }
    )*};
}

choices! {
    Advice {
        0 = Normal,
        1 = Sequential,
        2 = Random,
        3 = Willneed,
        4 = Dontneed,
        5 = Noreuse,
    }
    Clockid {
        0 = Realtime,
        1 = Monotonic,
        2 = ProcessCputimeId,
        3 = ThreadCputimeId,
    }
}

/// `whence` of preview 0, which had another order.
pub struct WhenceP0(Whence);

impl From<WhenceP0> for Whence {
    fn from(whence: WhenceP0) -> Whence {
        whence.0
    }
}

impl Decode for Whence {
    #[inline]
    fn decode(word: u32) -> Result<Whence, Errno> {
        Ok(match word {
            0 => Whence::Set,
            1 => Whence::Cur,
            2 => Whence::End,
            _ => return Err(Errno::Inval),
        })
    }

    fn show(word: u32) -> String {
        show_whence(Whence::decode(word), word)
    }
}

impl Decode for WhenceP0 {
    fn decode(word: u32) -> Result<WhenceP0, Errno> {
        Ok(WhenceP0(match word {
            0 => Whence::Cur,
            1 => Whence::End,
            2 => Whence::Set,
            _ => return Err(Errno::Inval),
        }))
    }

    fn show(word: u32) -> String {
        show_whence(WhenceP0::decode(word).map(Whence::from), word)
    }
}

fn show_whence(whence: Result<Whence, Errno>, word: u32) -> String {
    whence.map_or_else(|_| word.to_string(), |whence| format!("{whence:?}").to_uppercase())
}

/// `siflags`: there are none yet.
pub struct Siflags;

impl Decode for Siflags {
    fn decode(word: u32) -> Result<Siflags, Errno> {
        if word == 0 { Ok(Siflags) } else { Err(Errno::Inval) }
    }

    fn show(word: u32) -> String {
        word.to_string()
    }
}

/// Of `fd_lock`, as its header names them.
pub struct LockOperation {
    /// `None` gives the lock up.
    pub kind: Option<LockKind>,
    pub wait: bool,
}

const LOCK_TRY: u32 = 4;

impl Decode for LockOperation {
    fn decode(word: u32) -> Result<LockOperation, Errno> {
        let wait = word & LOCK_TRY == 0;
        let kind = match word & !LOCK_TRY {
            0 if wait => None,
            1 => Some(LockKind::Shared),
            2 => Some(LockKind::Exclusive),
            _ => return Err(Errno::Inval),
        };
        Ok(LockOperation { kind, wait })
    }

    fn show(word: u32) -> String {
        let names = ["UN", "SH", "EX"];
        match (names.get((word & 3) as usize), word & !3) {
            (Some(name), 0) => (*name).to_owned(),
            (Some(name), LOCK_TRY) => format!("{name}|TRY"),
            _ => word.to_string(),
        }
    }
}

impl Decode for WatchEvents {
    /// None at all means all of them.
    fn decode(word: u32) -> Result<WatchEvents, Errno> {
        match WatchEvents::from_bits(word) {
            Some(events) if events.is_empty() => Ok(WatchEvents::all()),
            Some(events) => Ok(events),
            None => Err(Errno::Inval),
        }
    }

    fn show(word: u32) -> String {
        show_flags(WatchEvents::decode(word), word)
    }
}

/// The pair `(atim, mtim)` that flags and arguments ask for.
pub fn decode_times(atim: Timestamp, mtim: Timestamp, flags: Fstflags) -> Result<(SetTime, SetTime), Errno> {
    let one = |at: Fstflags, now: Fstflags, value| match (flags.contains(at), flags.contains(now)) {
        (true, true) => Err(Errno::Inval),
        (true, false) => Ok(SetTime::At(value)),
        (false, true) => Ok(SetTime::Now),
        (false, false) => Ok(SetTime::Keep),
    };
    Ok((one(Fstflags::ATIM, Fstflags::ATIM_NOW, atim)?, one(Fstflags::MTIM, Fstflags::MTIM_NOW, mtim)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_told_by_name_where_the_names_say_something() {
        let read = Rights::FD_READ | Rights::FD_SEEK;
        for (rights, shown) in [
            (Rights::empty(), "0"),
            (read, "FD_READ|FD_SEEK"),
            (Rights::all(), "(all)"),
            (Rights::FILE, "(file)"),
            (Rights::FILE - Rights::FD_WRITE, "(file without FD_WRITE)"),
            (Rights::PREOPEN_INHERITING, "(directory and file)"),
            (Rights::DIRECTORY - Rights::PATH_OPEN, "(directory without PATH_OPEN)"),
            (Rights::FILE - Rights::IMPLIES_WRITE - read, "0x8a000b9"),
        ] {
            assert_eq!(show_rights(rights.bits()), shown);
            assert!(shown.len() < 80);
        }
        assert_eq!(show_rights(1 << 40), "0x10000000000");
    }

    #[test]
    fn unknown_flag_bits_are_refused() {
        assert_eq!(Fdflags::decode(0x20), Err(Errno::Inval));
        assert_eq!(Oflags::decode(0x1_0001), Err(Errno::Inval));
        assert_eq!(Lookupflags::decode(2), Err(Errno::Inval));
        assert_eq!(Sdflags::decode(3), Ok(Sdflags::RD | Sdflags::WR));
    }

    #[test]
    fn a_time_cannot_be_both_given_and_now() {
        let (one, two) = (Timestamp::from_nanos(1), Timestamp::from_nanos(2));
        let pair = |word| decode_times(one, two, Fstflags::decode(word)?);
        assert_eq!(pair(3), Err(Errno::Inval));
        assert_eq!(pair(12), Err(Errno::Inval));
        assert_eq!(pair(16), Err(Errno::Inval));
        assert_eq!(pair(1), Ok((SetTime::At(one), SetTime::Keep)));
        assert_eq!(pair(10), Ok((SetTime::Now, SetTime::Now)));
    }
}
