//! What a descriptor may be used for: the rights a guest sees and can only
//! give away, and the permissions the host set on a preopened directory.
//!
//! Used by descriptors, `fs/` and `abi/`. Invariants: rights only
//! shrink; permissions never change after the preopen and every descriptor
//! opened beneath it carries the same ones. The two are checked separately: a
//! read-only preopen still advertises full rights, so that a program which
//! opens for writing gets `EROFS` from that open, as on a read-only mount,
//! instead of a descriptor that silently lacks the right.
//!
//! The standard libraries of Go and Zig ask `path_open` for rights as if nobody
//! read them, and expect what wasmtime gives. So what is asked for sets a
//! file's access, to read or to write, and takes away nothing else: a directory
//! has all that its parent passes on. A program that wants less gives it away with
//! `fd_fdstat_set_rights`, or hands on a narrowed descriptor, and that holds to
//! the letter: more than a directory passes on is `ENOTCAPABLE`.

use bitflags::bitflags;

use crate::errno::Errno;
use crate::types::Filetype;

bitflags! {
    /// `rights`
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Rights: u64 {
        const FD_DATASYNC = 1 << 0;
        const FD_READ = 1 << 1;
        const FD_SEEK = 1 << 2;
        const FD_FDSTAT_SET_FLAGS = 1 << 3;
        const FD_SYNC = 1 << 4;
        const FD_TELL = 1 << 5;
        const FD_WRITE = 1 << 6;
        const FD_ADVISE = 1 << 7;
        const FD_ALLOCATE = 1 << 8;
        const PATH_CREATE_DIRECTORY = 1 << 9;
        const PATH_CREATE_FILE = 1 << 10;
        const PATH_LINK_SOURCE = 1 << 11;
        const PATH_LINK_TARGET = 1 << 12;
        const PATH_OPEN = 1 << 13;
        const FD_READDIR = 1 << 14;
        const PATH_READLINK = 1 << 15;
        const PATH_RENAME_SOURCE = 1 << 16;
        const PATH_RENAME_TARGET = 1 << 17;
        const PATH_FILESTAT_GET = 1 << 18;
        const PATH_FILESTAT_SET_SIZE = 1 << 19;
        const PATH_FILESTAT_SET_TIMES = 1 << 20;
        const FD_FILESTAT_GET = 1 << 21;
        const FD_FILESTAT_SET_SIZE = 1 << 22;
        const FD_FILESTAT_SET_TIMES = 1 << 23;
        const PATH_SYMLINK = 1 << 24;
        const PATH_REMOVE_DIRECTORY = 1 << 25;
        const PATH_UNLINK_FILE = 1 << 26;
        const POLL_FD_READWRITE = 1 << 27;
        const SOCK_SHUTDOWN = 1 << 28;
        const SOCK_ACCEPT = 1 << 29;
    }
}

impl Rights {
    /// Rights that mean something on a regular file.
    pub const FILE: Rights = Rights::FD_DATASYNC
        .union(Rights::FD_READ)
        .union(Rights::FD_SEEK)
        .union(Rights::FD_FDSTAT_SET_FLAGS)
        .union(Rights::FD_SYNC)
        .union(Rights::FD_TELL)
        .union(Rights::FD_WRITE)
        .union(Rights::FD_ADVISE)
        .union(Rights::FD_ALLOCATE)
        .union(Rights::FD_FILESTAT_GET)
        .union(Rights::FD_FILESTAT_SET_SIZE)
        .union(Rights::FD_FILESTAT_SET_TIMES)
        .union(Rights::POLL_FD_READWRITE);

    /// Rights that mean something on a directory.
    pub const DIRECTORY: Rights = Rights::FD_FDSTAT_SET_FLAGS
        .union(Rights::FD_DATASYNC)
        .union(Rights::FD_SYNC)
        .union(Rights::FD_ADVISE)
        .union(Rights::PATH_CREATE_DIRECTORY)
        .union(Rights::PATH_CREATE_FILE)
        .union(Rights::PATH_LINK_SOURCE)
        .union(Rights::PATH_LINK_TARGET)
        .union(Rights::PATH_OPEN)
        .union(Rights::FD_READDIR)
        .union(Rights::PATH_READLINK)
        .union(Rights::PATH_RENAME_SOURCE)
        .union(Rights::PATH_RENAME_TARGET)
        .union(Rights::PATH_FILESTAT_GET)
        .union(Rights::PATH_FILESTAT_SET_SIZE)
        .union(Rights::PATH_FILESTAT_SET_TIMES)
        .union(Rights::FD_FILESTAT_GET)
        .union(Rights::FD_FILESTAT_SET_TIMES)
        .union(Rights::PATH_SYMLINK)
        .union(Rights::PATH_REMOVE_DIRECTORY)
        .union(Rights::PATH_UNLINK_FILE)
        .union(Rights::POLL_FD_READWRITE);

    /// Rights of a pipe or a terminal. Neither SEEK nor TELL: wasi-libc's
    /// `isatty` takes a character device without them for a terminal.
    pub const STREAM: Rights = Rights::FD_READ
        .union(Rights::FD_WRITE)
        .union(Rights::FD_FDSTAT_SET_FLAGS)
        .union(Rights::FD_FILESTAT_GET)
        .union(Rights::POLL_FD_READWRITE);

    /// Rights of a socket, listening or connected.
    pub const SOCKET: Rights = Rights::STREAM.union(Rights::SOCK_SHUTDOWN).union(Rights::SOCK_ACCEPT);

    /// What descriptors opened beneath a preopened directory may have.
    pub const PREOPEN_INHERITING: Rights = Rights::DIRECTORY.union(Rights::FILE);

    /// Rights that a file only has if it was opened for writing, which asking
    /// for `FD_WRITE` does: Go asks for the others to read.
    pub const IMPLIES_WRITE: Rights =
        Rights::FD_WRITE.union(Rights::FD_ALLOCATE).union(Rights::FD_FILESTAT_SET_SIZE);

    /// What a file or directory gets of the rights that its directory passes
    /// on, when these were asked for.
    pub fn opened(inheriting: Rights, asked: Rights) -> Rights {
        let mut rights = inheriting;
        if !asked.contains(Rights::FD_READ) {
            rights -= Rights::FD_READ;
        }
        if !asked.contains(Rights::FD_WRITE) {
            rights -= Rights::IMPLIES_WRITE;
        }
        rights
    }

    /// The rights that apply to a file of this type. For the rest `path_open`
    /// may return fewer than asked.
    pub fn applicable(filetype: Filetype) -> Rights {
        match filetype {
            Filetype::Directory => Rights::DIRECTORY,
            Filetype::SocketDgram | Filetype::SocketStream => Rights::SOCKET,
            Filetype::Unknown => Rights::STREAM,
            _ => Rights::FILE,
        }
    }
}

bitflags! {
    /// What the host lets a guest do beneath a preopened directory, whatever
    /// rights the guest holds.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Perms: u8 {
        /// Read contents and metadata, list directories, read links.
        const READ = 1 << 0;
        /// Change existing files: contents, size and times.
        const WRITE = 1 << 1;
        /// Make new names: files, directories, links, the target of a rename.
        const CREATE = 1 << 2;
        /// Take names away: unlink, rmdir, both sides of a rename (its target
        /// is replaced if it exists).
        const REMOVE = 1 << 3;
        /// Make symbolic links, be it by giving one that exists another name.
        /// Links that exist are followed regardless.
        const SYMLINKS = 1 << 4;
    }
}

impl Perms {
    pub const READ_ONLY: Perms = Perms::READ;
    pub const READ_WRITE: Perms = Perms::all();

    /// `EROFS` where nothing can ever be written, as a read-only mount says
    /// it; `EPERM` where only this was withheld.
    pub fn require(self, wanted: Perms) -> Result<(), Errno> {
        if self.contains(wanted) {
            Ok(())
        } else if self == Perms::READ_ONLY {
            Err(Errno::Rofs)
        } else {
            Err(Errno::Perm)
        }
    }

    /// Whether what is reachable with `self` may get a name in `target` as far
    /// as symbolic links go: where none may be made, none gets a name. Neither
    /// does a directory that may have some the guest made; `EXDEV` has programs
    /// copy it, one by one.
    pub fn require_movable(self, moved: Filetype, target: Perms) -> Result<(), Errno> {
        match moved {
            Filetype::SymbolicLink => target.require(Perms::SYMLINKS),
            Filetype::Directory if self.contains(Perms::SYMLINKS) && !target.contains(Perms::SYMLINKS) => {
                Err(Errno::Xdev)
            }
            _ => Ok(()),
        }
    }

    /// A name made in `target` for something reachable with `self` must not
    /// give a guest more over its contents than it had.
    pub fn require_not_wider(self, target: Perms) -> Result<(), Errno> {
        let contents = Perms::READ | Perms::WRITE;
        self.require(target & contents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_the_witx_file() {
        assert_eq!(Rights::FD_DATASYNC.bits(), 1);
        assert_eq!(Rights::PATH_OPEN.bits(), 1 << 13);
        assert_eq!(Rights::SOCK_ACCEPT.bits(), 1 << 29);
        assert_eq!(Rights::all().bits(), (1 << 30) - 1);
    }

    #[test]
    fn directories_can_neither_seek_nor_be_written() {
        let refused = Rights::FD_SEEK | Rights::FD_TELL | Rights::FD_READ | Rights::FD_WRITE;
        assert!(!Rights::DIRECTORY.intersects(refused));
        assert!(!Rights::DIRECTORY.intersects(Rights::FD_FILESTAT_SET_SIZE));
    }

    #[test]
    fn what_is_asked_for_sets_access_and_takes_nothing_from_a_directory() {
        let all = Rights::PREOPEN_INHERITING;
        let go = Rights::all() - Rights::FD_WRITE - Rights::FD_ALLOCATE;
        assert_eq!(Rights::opened(all, go), all - Rights::IMPLIES_WRITE);
        assert_eq!(Rights::opened(all, Rights::empty()) & Rights::DIRECTORY, Rights::DIRECTORY);
        assert_eq!(Rights::opened(Rights::FD_READ, Rights::all()), Rights::FD_READ);
    }

    #[test]
    fn read_only_is_erofs_and_a_withheld_permission_eperm() {
        assert_eq!(Perms::READ_ONLY.require(Perms::CREATE), Err(Errno::Rofs));
        let no_remove = Perms::READ_WRITE - Perms::REMOVE;
        assert_eq!(no_remove.require(Perms::REMOVE), Err(Errno::Perm));
        assert_eq!(no_remove.require(Perms::WRITE | Perms::READ), Ok(()));
    }

    #[test]
    fn a_link_never_widens() {
        assert!(Perms::READ_ONLY.require_not_wider(Perms::READ_WRITE).is_err());
        assert!(Perms::READ_WRITE.require_not_wider(Perms::READ_ONLY).is_ok());
    }
}
