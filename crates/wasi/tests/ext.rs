//! The extension module: locks, watching files, handing descriptors on.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use support::*;
use wasi::{Ending, Errno, Error, Fdflags, Oflags, Perms, Rights, WasiCtx, WasiCtxBuilder, ext, p1};

const NONE: Oflags = Oflags::empty();
const UNLOCK: u32 = 0;
const SHARED: u32 = 1;
const EXCLUSIVE: u32 = 2;
const TRY: u32 = 4;

fn lock(guest: &mut Guest, fd: u32, operation: u32) -> Result<()> {
    guest.call(|ctx, mem| ext::fd_lock(ctx, mem, fd, operation))
}

#[test]
fn locks_are_shared_or_exclusive() {
    on_each(|back| {
        let (mut guest, disk) = guest_on(back);
        disk.write("f", b"x");
        // Each open file holds its own, in one program or in two.
        let mut other = disk.guest(Perms::READ_WRITE);
        let a = guest.open("f", NONE, READ_WRITE).unwrap();
        let b = guest.open("f", NONE, READ).unwrap();
        let c = other.open("f", NONE, READ).unwrap();
        lock(&mut guest, a, SHARED).unwrap();
        lock(&mut guest, b, SHARED | TRY).unwrap();
        assert_eq!(lock(&mut other, c, EXCLUSIVE | TRY), Err(Errno::Again));
        lock(&mut guest, b, UNLOCK).unwrap();
        lock(&mut guest, a, EXCLUSIVE | TRY).unwrap();
        lock(&mut guest, a, EXCLUSIVE | TRY).unwrap();
        assert_eq!(lock(&mut guest, b, SHARED | TRY), Err(Errno::Again));
        assert_eq!(lock(&mut other, c, SHARED | TRY), Err(Errno::Again));
        guest.close(a).unwrap();
        lock(&mut other, c, EXCLUSIVE | TRY).unwrap();
        drop(other);
        lock(&mut guest, b, EXCLUSIVE | TRY).unwrap();
        for operation in [3, UNLOCK | TRY, 8, u32::MAX] {
            assert_eq!(lock(&mut guest, b, operation), Err(Errno::Inval));
        }
        assert_eq!(lock(&mut guest, 0, SHARED), Err(Errno::Badf));
        assert_eq!(lock(&mut guest, 99, SHARED), Err(Errno::Badf));
    });
}

#[test]
fn waiting_for_a_lock_ends_when_it_is_free_or_interrupted() {
    on_each(|back| {
        let (mut guest, disk) = guest_on(back);
        disk.write("f", b"x");
        let held = guest.open("f", NONE, READ).unwrap();
        lock(&mut guest, held, EXCLUSIVE).unwrap();
        let mut other = disk.guest(Perms::READ_WRITE);
        let fd = other.open("f", NONE, READ).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lock(&mut other, fd, SHARED));
            std::thread::sleep(Duration::from_millis(50));
            assert!(!waiting.is_finished());
            lock(&mut guest, held, UNLOCK).unwrap();
            assert_eq!(waiting.join().unwrap(), Ok(()));
        });
        let interrupt = guest.ctx.interrupt().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                interrupt.fire();
            });
            let mut memory = [0u8; 8];
            // SAFETY: the memory outlives the view.
            let mem = unsafe { wasi::GuestMemory::from_raw(memory.as_mut_ptr(), memory.len()) };
            let result = ext::fd_lock(&guest.ctx, &mem, held, EXCLUSIVE);
            assert_eq!(result, Err(Error::Ending(Ending::Interrupted)));
        });
    });
}

#[test]
fn a_read_only_program_keeps_nobody_from_writing() {
    on_each(|back| {
        let disk = Disk::new(back);
        disk.write("f", b"x");
        let mut guest = disk.guest(Perms::READ_ONLY);
        let fd = guest.open("f", NONE, READ).unwrap();
        assert_eq!(lock(&mut guest, fd, EXCLUSIVE), Err(Errno::Rofs));
        lock(&mut guest, fd, SHARED).unwrap();
    });
}

// ---- watching ----

const CREATED: u32 = 1;
const REMOVED: u32 = 2;
const MODIFIED: u32 = 4;
const GONE: u32 = 16;

fn watch(guest: &mut Guest, path: &str, events: u32) -> Result<u32> {
    guest.put(0x100, path.as_bytes());
    let len = path.len() as u32;
    guest.call(|ctx, mem| ext::path_watch(ctx, mem, ROOT, 0x100, len, events, 16))?;
    let fd = guest.u32(16);
    let nonblock = u32::from(Fdflags::NONBLOCK.bits());
    guest.call(|ctx, mem| p1::fd_fdstat_set_flags(ctx, mem, fd, nonblock))?;
    Ok(fd)
}

/// The records there are now, by the layout of the header.
fn told(guest: &mut Guest, fd: u32) -> Result<Vec<(u32, String)>> {
    let bytes = guest.read(fd, 4096)?;
    let (mut records, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let len = word(at + 4) as usize;
        let name = String::from_utf8(bytes[at + 8..at + 8 + len].to_vec()).unwrap();
        records.push((word(at), name));
        at += (8 + len).next_multiple_of(8);
    }
    assert_eq!(at, bytes.len());
    Ok(records)
}

fn record(kind: u32, name: &str) -> (u32, String) {
    (kind, name.to_owned())
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_tells_what_happens_in_it() {
    let (mut guest, disk) = guest();
    disk.mkdir("d");
    let fd = watch(&mut guest, "d", CREATED | REMOVED | MODIFIED).unwrap();
    assert_eq!(told(&mut guest, fd), Err(Errno::Again));
    disk.write("d/new", b"text");
    assert_eq!(told(&mut guest, fd), Ok(vec![record(CREATED, "new"), record(MODIFIED, "new")]));
    guest.rename("d/new", "d/other").unwrap();
    guest.unlink("d/other").unwrap();
    assert_eq!(
        told(&mut guest, fd),
        Ok(vec![record(REMOVED, "new"), record(CREATED, "other"), record(REMOVED, "other")])
    );
    guest.rmdir("d").unwrap();
    assert_eq!(told(&mut guest, fd), Ok(vec![record(GONE, "")]));
    assert_eq!(guest.write(fd, b"x"), Err(Errno::Badf));
    assert_eq!(guest.seek(fd, 0, 0), Err(Errno::Spipe));
    guest.close(fd).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn poll_oneoff_waits_for_a_watched_file() {
    let (mut guest, disk) = guest();
    disk.write("f", b"x");
    let fd = watch(&mut guest, "f", MODIFIED).unwrap();
    let mut subscription = [0u8; 48];
    subscription[8] = 1;
    subscription[16..20].copy_from_slice(&fd.to_le_bytes());
    guest.put(0x1000, &subscription);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            disk.write("f", b"changed");
        });
        let started = Instant::now();
        guest.call(|ctx, mem| p1::poll_oneoff(ctx, mem, 0x1000, 0x2000, 1, 16)).unwrap();
        assert!(started.elapsed() >= Duration::from_millis(40));
    });
    assert_eq!(guest.u64(0x2010) % 8, 0, "the size of the records");
    assert!(guest.u64(0x2010) > 0);
    // A record that does not fit stays where it is.
    assert_eq!(guest.read(fd, 7), Err(Errno::Inval));
    assert_eq!(told(&mut guest, fd).unwrap()[0], record(MODIFIED, ""));
}

#[test]
fn what_cannot_be_opened_cannot_be_watched() {
    on_each(|back| {
        let disk = Disk::new(back);
        disk.mkdir("outside");
        disk.mkdir("inside");
        disk.symlink("../outside", "inside/link");
        let mut guest = disk.guest(Perms::READ_WRITE);
        let inside = guest.open_dir("inside").unwrap();
        guest.renumber(inside, ROOT).unwrap();
        for (path, errno) in [
            ("../outside", Errno::Notcapable),
            ("/etc", Errno::Notcapable),
            ("link", Errno::Notcapable),
            ("link/", Errno::Notcapable),
            ("none", Errno::Noent),
        ] {
            assert_eq!(watch(&mut guest, path, 0), Err(errno), "{path}");
        }
        assert_eq!(watch(&mut guest, ".", 64), Err(Errno::Inval));
        if back == Back::Memory {
            assert_eq!(watch(&mut guest, ".", 0), Err(Errno::Notsup));
        }
    });
}

// ---- handing on ----

fn give(guest: &mut Guest, fd: u32, to: &str, base: Rights, inheriting: Rights) -> Result<u32> {
    guest.put(0x100, to.as_bytes());
    let len = to.len() as u32;
    guest.call(|ctx, mem| ext::fd_give(ctx, mem, fd, 0x100, len, base.bits(), inheriting.bits(), 16))?;
    Ok(guest.u32(16))
}

/// Calls of a second program, which shares nothing with the first.
fn peer(builder: WasiCtxBuilder) -> (Arc<WasiCtx>, Vec<u8>) {
    (Arc::new(builder.build().unwrap()), vec![0; 4096])
}

fn call<T>(
    (ctx, memory): &mut (Arc<WasiCtx>, Vec<u8>),
    function: impl FnOnce(&WasiCtx, &wasi::GuestMemory<'_>) -> T,
) -> T {
    // SAFETY: the memory outlives the call.
    let mem = unsafe { wasi::GuestMemory::from_raw(memory.as_mut_ptr(), 4096) };
    function(ctx, &mem)
}

#[test]
fn what_was_sought_before_handing_on_holds_for_both() {
    on_each(|back| {
        let (mut guest, disk) = guest_on(back);
        disk.write("f", b"0123456789");
        let fd = guest.open("f", NONE, READ_WRITE).unwrap();
        let mut peer = peer(WasiCtx::builder());
        guest.ctx.link("peer", &peer.0);
        assert_eq!(guest.seek(fd, 4, 0), Ok(4));
        let given = give(&mut guest, fd, "peer", Rights::FD_READ, Rights::empty()).unwrap();
        let mut read_one = || {
            call(&mut peer, |ctx, mem| {
                mem.write_u32(64, 128).unwrap();
                mem.write_u32(68, 1).unwrap();
                p1::fd_read(ctx, mem, given, 64, 1, 16).unwrap();
                mem.read_u8(128).unwrap()
            })
        };
        assert_eq!(read_one(), b'4');
        assert_eq!(guest.read(fd, 1), Ok(b"5".to_vec()));
        assert_eq!(guest.seek(fd, -1, 2), Ok(9));
        assert_eq!(read_one(), b'9');
        assert_eq!(guest.seek(fd, 0, 1), Ok(10));
    });
}

#[test]
fn a_descriptor_is_handed_on_with_fewer_rights() {
    on_each(|back| {
        let (mut guest, disk) = guest_on(back);
        disk.write("f", b"0123456789");
        let fd = guest.open("f", NONE, READ_WRITE).unwrap();
        let mut peer = peer(WasiCtx::builder());
        assert_eq!(
            give(&mut guest, fd, "peer", Rights::FD_READ, Rights::empty()),
            Err(Errno::Noent),
            "only the host links programs"
        );
        guest.ctx.link("peer", &peer.0);
        let given = give(&mut guest, fd, "peer", Rights::FD_READ, Rights::empty()).unwrap();
        assert_eq!(given, 3);
        assert_eq!(guest.read(fd, 2), Ok(b"01".to_vec()));
        call(&mut peer, |ctx, mem| {
            mem.write_u32(64, 128).unwrap();
            mem.write_u32(68, 3).unwrap();
            p1::fd_read(ctx, mem, given, 64, 1, 16).unwrap();
            let mut read = [0; 3];
            mem.read_into(128, &mut read).unwrap();
            assert_eq!(&read, b"234", "one open file, one position");
            for result in [
                p1::fd_write(ctx, mem, given, 64, 1, 16),
                p1::fd_seek(ctx, mem, given, 0, 0, 16),
                p1::fd_filestat_set_size(ctx, mem, given, 0),
            ] {
                assert_eq!(result, Err(Error::Errno(Errno::Notcapable)));
            }
            let all = Rights::all().bits();
            assert_eq!(
                p1::fd_fdstat_set_rights(ctx, mem, given, all, 0),
                Err(Error::Errno(Errno::Notcapable))
            );
        });
        // It is the peer's own: closing one leaves the other.
        guest.close(fd).unwrap();
        call(&mut peer, |ctx, mem| {
            p1::fd_read(ctx, mem, given, 64, 1, 16).unwrap();
            p1::fd_close(ctx, mem, given).unwrap();
        });
    });
}

#[test]
fn a_directory_handed_on_is_as_small_as_it_was() {
    on_each(|back| {
        let disk = Disk::new(back);
        disk.mkdir("d");
        disk.write("secret", b"x");
        disk.write("d/f", b"x");
        let mut guest = disk.guest(Perms::READ_ONLY);
        let dir = guest.open_dir("d").unwrap();
        let mut peer = peer(WasiCtx::builder());
        guest.ctx.link("peer", &peer.0);
        let (base, inheriting) = (Rights::DIRECTORY, Rights::PREOPEN_INHERITING);
        let given = give(&mut guest, dir, "peer", base, inheriting).unwrap();
        call(&mut peer, |ctx, mem| {
            mem.write_bytes(64, b"../secretfnew").unwrap();
            let open = |at, len, oflags, rights: Rights| {
                p1::path_open(ctx, mem, given, 0, at, len, oflags, rights.bits(), 0, 0, 16)
            };
            assert_eq!(open(64, 9, 0, READ), Err(Error::Errno(Errno::Notcapable)));
            assert_eq!(open(73, 1, 0, READ), Ok(()));
            let rofs = Err(Error::Errno(Errno::Rofs));
            assert_eq!(open(73, 1, 0, READ_WRITE), rofs, "permissions go with it");
            assert_eq!(open(74, 3, 1, READ), rofs);
        });
    });
}

#[test]
fn nothing_is_handed_on_that_one_does_not_have() {
    let (mut guest, disk) = guest();
    disk.write("f", b"x");
    let fd = guest.open("f", NONE, Rights::FD_READ).unwrap();
    guest.set_rights(fd, Rights::FD_READ, Rights::empty()).unwrap();
    let limits = wasi::WasiLimits { max_fds: 4, ..Default::default() };
    let peer = peer(WasiCtx::builder().limits(limits));
    guest.ctx.link("peer", &peer.0);
    let none = Rights::empty();
    for (base, inheriting) in [(Rights::FD_WRITE, none), (none, Rights::FD_READ), (Rights::all(), none)] {
        assert_eq!(give(&mut guest, fd, "peer", base, inheriting), Err(Errno::Notcapable));
    }
    assert_eq!(give(&mut guest, 99, "peer", none, none), Err(Errno::Badf));
    assert_eq!(give(&mut guest, fd, "peer", Rights::FD_READ, none), Ok(3));
    assert_eq!(
        give(&mut guest, fd, "peer", Rights::FD_READ, none),
        Err(Errno::Mfile),
        "the peer's limit holds"
    );
    drop(peer);
    assert_eq!(give(&mut guest, fd, "peer", none, none), Err(Errno::Noent), "a link keeps nobody alive");
}
