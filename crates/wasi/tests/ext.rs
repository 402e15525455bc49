//! The extension module: locks, watching files, handing descriptors on.

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::*;
use wasi::{Ending, Errno, Error, Oflags, Perms, Rights, WasiCtx, WasiCtxBuilder, ext, p1};

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
