//! What Linux has calls of its own for, by those that every Unix has. Built on Linux for its tests only.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Dir, OFlags, SeekFrom};
use rustix::io::{Errno as HostErrno, FdFlags};
use rustix::net::SocketType;

use super::stat::filetype;
use crate::errno::Errno;
use crate::types::DirEntry;

/// Hands out all entries from the position on, at once. The positions of a stream of `readdir` are the stream's own, so
/// a position is the number of entries before it, and the offset of the open directory keeps it. Who reads on has
/// what was there at the beginning, whatever is removed meanwhile.
pub fn read_directory(
    dir: &File,
    _: u64,
    inode: u64,
    mut emit: impl FnMut(DirEntry<'_>) -> Result<(), Errno>,
) -> Result<bool, Errno> {
    let from = rustix::fs::tell(dir)?;
    let mut entries = match Dir::read_from(dir) {
        Err(HostErrno::NOENT) => return Ok(false), // removed while open
        entries => entries?,
    };
    let mut next = 0;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        next += 1;
        if next <= from {
            continue;
        }
        let name = entry.file_name().to_bytes();
        emit(DirEntry {
            next,
            ino: if name == b".." { inode } else { entry.ino() },
            filetype: filetype(entry.file_type()),
            name,
        })?;
    }
    seek_directory(dir, next.max(from))?;
    Ok(next > from)
}

/// Moves a directory to a position it reported, or to the start.
pub fn seek_directory(dir: &File, position: u64) -> Result<(), Errno> {
    rustix::fs::seek(dir, SeekFrom::Start(position))?;
    Ok(())
}

/// Accepts a connection. On some systems it has what the listening socket has set.
pub fn accept(fd: BorrowedFd<'_>, nonblock: bool) -> Result<OwnedFd, Errno> {
    let socket = rustix::net::accept(fd)?;
    set_flags(&socket, nonblock)?;
    Ok(socket)
}

/// Closed by `exec`, and waiting or not.
fn set_flags(fd: &OwnedFd, nonblock: bool) -> Result<(), Errno> {
    rustix::io::fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    let mut flags = rustix::fs::fcntl_getfl(fd)?;
    flags.set(OFlags::NONBLOCK, nonblock);
    Ok(rustix::fs::fcntl_setfl(fd, flags)?)
}

/// Whether a socket that the host handed in listens: of those that are streams, it is what has no peer.
pub fn is_listening(fd: BorrowedFd<'_>) -> bool {
    rustix::net::sockopt::socket_type(fd) == Ok(SocketType::STREAM)
        && matches!(rustix::net::getpeername(fd), Err(HostErrno::NOTCONN))
}

/// Reserves what lies beyond the end of a file, which becomes so long. What it has already stays as it is.
pub fn allocate(fd: BorrowedFd<'_>, offset: u64, len: u64) -> Result<(), Errno> {
    let end = offset.checked_add(len).ok_or(Errno::Fbig)?;
    if i64::try_from(end).is_err() {
        return Err(Errno::Fbig);
    }
    let size = u64::try_from(rustix::fs::fstat(fd)?.st_size).map_err(|_| Errno::Io)?;
    if end <= size {
        return Ok(());
    }
    // From the beginning, since on macOS this sets the length to what is asked for.
    Ok(rustix::fs::fallocate(fd, rustix::fs::FallocateFlags::empty(), 0, end)?)
}

/// Something that another thread can make readable, once and for good: a pipe.
pub struct Event {
    reads: OwnedFd,
    writes: OwnedFd,
}

impl Event {
    pub fn new() -> Result<Event, Errno> {
        let (reads, writes) = rustix::pipe::pipe()?;
        set_flags(&reads, true)?;
        set_flags(&writes, true)?;
        Ok(Event { reads, writes })
    }

    pub fn set(&self) {
        // It can fail only when the pipe is full, and so set already.
        let _ = rustix::io::write(&self.writes, &[1]);
    }

    pub fn clear(&self) {
        let mut bytes = [0; 64];
        while rustix::io::read(&self.reads, &mut bytes).is_ok_and(|read| read == bytes.len()) {}
    }

    pub fn handle(&self) -> BorrowedFd<'_> {
        self.reads.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::sys::{Interest, Readiness, borrow, reopen_directory, wait};

    fn names(dir: &File) -> Vec<(u64, String)> {
        let mut names = Vec::new();
        let any = read_directory(dir, 0, 7, |entry| {
            names.push((entry.next, String::from_utf8_lossy(entry.name).into_owned()));
            Ok(())
        });
        assert_eq!(any, Ok(!names.is_empty()));
        names
    }

    #[test]
    fn a_directory_is_listed_once_and_again_from_any_position() {
        let place = tempfile::tempdir().unwrap();
        for number in 0..300 {
            File::create(place.path().join(format!("{number}"))).unwrap();
        }
        let dir = reopen_directory(&File::open(place.path()).unwrap()).unwrap();
        let all = names(&dir);
        assert_eq!(all.len(), 302);
        assert_eq!(names(&dir), []);
        for (index, (next, _)) in all.iter().enumerate() {
            seek_directory(&dir, *next).unwrap();
            assert_eq!(names(&dir), all[index + 1..]);
        }
        seek_directory(&dir, 0).unwrap();
        assert_eq!(names(&dir), all);
        seek_directory(&dir, 1000).unwrap();
        assert_eq!(names(&dir), []);
    }

    #[test]
    fn a_directory_that_is_gone_has_no_entries() {
        let place = tempfile::tempdir().unwrap();
        let dir = reopen_directory(&File::open(place.path()).unwrap()).unwrap();
        place.close().unwrap();
        assert!(matches!(names(&dir).as_slice(), [] | [_, _]));
    }

    #[test]
    fn a_file_that_is_allocated_grows_and_never_shrinks() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"some text").unwrap();
        let size = || file.metadata().unwrap().len();
        allocate(borrow(&file), 0, 4).unwrap();
        assert_eq!(size(), 9);
        allocate(borrow(&file), 100, 4).unwrap();
        assert_eq!(size(), 104);
        assert_eq!(allocate(borrow(&file), u64::MAX, 1), Err(Errno::Fbig));
        assert_eq!(allocate(borrow(&file), 1 << 62, 1 << 62), Err(Errno::Fbig));
    }

    #[test]
    fn a_listening_socket_is_told_from_a_connection_and_hands_out_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let waits = accept(listener.as_fd(), false).unwrap();
        let _other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let does_not = accept(listener.as_fd(), true).unwrap();
        assert!(is_listening(listener.as_fd()));
        for socket in [client.as_fd(), waits.as_fd(), does_not.as_fd()] {
            assert!(!is_listening(socket));
        }
        for (socket, nonblock) in [(&waits, false), (&does_not, true)] {
            assert!(rustix::io::fcntl_getfd(socket).unwrap().contains(FdFlags::CLOEXEC));
            assert_eq!(rustix::fs::fcntl_getfl(socket).unwrap().contains(OFlags::NONBLOCK), nonblock);
        }
    }

    #[test]
    fn an_event_is_ready_from_when_it_is_set_until_it_is_cleared() {
        let event = Event::new().unwrap();
        let is_ready = || {
            let mut found: Vec<Readiness> = Vec::new();
            wait(&[(event.handle(), Interest::Read)], Some(std::time::Duration::ZERO), &mut found).unwrap();
            found[0].ready
        };
        assert!(!is_ready());
        for _ in 0..200_000 {
            event.set();
        }
        assert!(is_ready());
        event.clear();
        assert!(!is_ready());
        event.set();
        assert!(is_ready());
    }
}
