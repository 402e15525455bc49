//! The extension module: watching files, which Linux's kernel does.
#![cfg(target_os = "linux")]

mod support;

use std::time::{Duration, Instant};

use support::*;
use wasi::{Errno, Fdflags, Perms, ext, p1};

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
