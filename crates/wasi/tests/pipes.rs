//! Named pipes in a directory of the host: opening one waits for its other
//! end, whether or not the wait may be interrupted.
#![cfg(target_os = "linux")]

mod support;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use support::openat2::with_and_without;
use support::*;
use tempfile::TempDir;
use wasi::{Ending, Errno, Error, Fdflags, GuestMemory, Oflags, Perms, Rights, WasiCtx, p1};

const NONE: Oflags = Oflags::empty();
const AWHILE: Duration = Duration::from_millis(30);

/// Ways to name the pipe: by itself, through a directory, through a link.
const NAMES: [&str; 3] = ["pipe", "sub/../pipe", "link"];

/// A directory with a pipe; a guest in it whose waits can be interrupted or not.
fn world(armed: bool) -> (Guest, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    make_pipe(&dir.path().join("pipe"));
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    std::os::unix::fs::symlink("pipe", dir.path().join("link")).unwrap();
    let guest = guest_in(dir.path());
    if armed {
        guest.ctx.interrupt().unwrap();
    }
    (guest, dir)
}

fn guest_in(dir: &Path) -> Guest {
    Guest::with(WasiCtx::builder().preopen(preopen(dir, "/", Perms::READ_WRITE)))
}

fn make_pipe(path: &Path) {
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, path, FileType::Fifo, mode, 0).unwrap();
}

fn everywhere(test: impl Fn(&str, bool) + Send + Sync) {
    with_and_without(|| {
        for name in NAMES {
            for armed in [true, false] {
                test(name, armed);
            }
        }
    });
}

/// Opens the other end in a while, and then does something with it.
fn later<T: Send + 'static>(
    pipe: PathBuf,
    write: bool,
    then: impl FnOnce(File) -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    std::thread::spawn(move || {
        std::thread::sleep(AWHILE);
        then(OpenOptions::new().read(!write).write(write).open(pipe).unwrap())
    })
}

#[test]
fn reading_waits_for_somebody_to_write() {
    everywhere(|name, armed| {
        let (mut guest, dir) = world(armed);
        // The writer says nothing until the guest has opened the pipe.
        let writer = later(dir.path().join("pipe"), true, |file| file);
        let fd = guest.open(name, NONE, READ).unwrap();
        let mut writer = writer.join().unwrap();
        assert_eq!(guest.fdstat(fd).unwrap().1, 0, "the guest asked for no flags");
        let answer = std::thread::spawn(move || {
            std::thread::sleep(AWHILE);
            writer.write_all(b"hello").unwrap();
        });
        assert_eq!(guest.read(fd, 16), Ok(b"hello".to_vec()), "reads wait, too");
        answer.join().unwrap();
        assert_eq!(guest.read(fd, 16), Ok(vec![]));
    });
}

#[test]
fn a_writer_that_has_gone_again_was_there() {
    everywhere(|name, armed| {
        let (mut guest, dir) = world(armed);
        let writer = later(dir.path().join("pipe"), true, |mut file| {
            file.write_all(b"hello").unwrap();
        });
        let fd = guest.open(name, NONE, READ).unwrap();
        writer.join().unwrap();
        assert_eq!(guest.read(fd, 16), Ok(b"hello".to_vec()));
        let silent = later(dir.path().join("pipe"), true, drop);
        let again = guest.open(name, NONE, READ).unwrap();
        silent.join().unwrap();
        assert_eq!(guest.read(again, 16), Ok(vec![]));
    });
}

#[test]
fn writing_waits_for_somebody_to_read() {
    everywhere(|name, armed| {
        let (mut guest, dir) = world(armed);
        let reader = later(dir.path().join("pipe"), false, |mut file| {
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            text
        });
        let fd = guest.open(name, NONE, Rights::FD_WRITE).unwrap();
        assert_eq!(guest.write(fd, b"hello"), Ok(5));
        guest.close(fd).unwrap();
        assert_eq!(reader.join().unwrap(), "hello");
    });
}

#[test]
fn two_guests_meet() {
    for armed in [[true, true], [true, false], [false, true]] {
        let (mut reader, dir) = world(armed[0]);
        let path = dir.path().to_owned();
        let writer = std::thread::spawn(move || {
            let mut writer = guest_in(&path);
            if armed[1] {
                writer.ctx.interrupt().unwrap();
            }
            let fd = writer.open("pipe", NONE, Rights::FD_WRITE).unwrap();
            writer.write(fd, b"hello").unwrap();
        });
        let fd = reader.open("pipe", NONE, READ).unwrap();
        assert_eq!(reader.read(fd, 16), Ok(b"hello".to_vec()));
        writer.join().unwrap();
    }
}

#[test]
fn who_does_not_wait_is_answered_at_once() {
    everywhere(|name, armed| {
        let (mut guest, _dir) = world(armed);
        let nonblock = Fdflags::NONBLOCK;
        let none = Rights::empty();
        let mut open = |rights| guest.open_with(ROOT, name, FOLLOW, NONE, rights, none, nonblock);
        assert_eq!(open(Rights::FD_WRITE), Err(Errno::Nxio));
        let fd = open(READ).unwrap();
        assert_eq!(guest.fdstat(fd).unwrap().1, nonblock.bits());
        // Both ends at once wait for nobody.
        let both = guest.open(name, NONE, Rights::FD_READ | Rights::FD_WRITE);
        let both = both.unwrap();
        assert_eq!(guest.read(fd, 16), Err(Errno::Again));
        assert_eq!(guest.write(both, b"hello"), Ok(5));
        assert_eq!(guest.read(fd, 16), Ok(b"hello".to_vec()));
    });
}

#[test]
fn an_interrupt_ends_the_wait_and_nothing_is_left_open() {
    for rights in [Rights::FD_READ, Rights::FD_WRITE] {
        let (mut guest, dir) = world(true);
        guest.put(0x100, b"pipe");
        let interrupt = guest.ctx.interrupt().unwrap();
        let other = std::thread::spawn(move || {
            std::thread::sleep(AWHILE);
            interrupt.fire();
        });
        let base = guest.memory().as_mut_ptr();
        // SAFETY: the memory lives in `guest` until the end.
        let mem = unsafe { GuestMemory::from_raw(base, MEMORY) };
        let rights = rights.bits();
        let opened = p1::path_open(&guest.ctx, &mem, ROOT, 0, 0x100, 4, 0, rights, 0, 0, 16);
        assert_eq!(opened, Err(Error::Ending(Ending::Interrupted)));
        other.join().unwrap();
        // Nobody holds the other end: a writer that does not wait is refused.
        let mut second = guest_in(dir.path());
        let write = Rights::FD_WRITE;
        assert_eq!(
            second.open_with(ROOT, "pipe", 0, NONE, write, Rights::empty(), Fdflags::NONBLOCK),
            Err(Errno::Nxio)
        );
    }
}

#[test]
fn what_is_no_pipe_is_not_waited_for() {
    let (mut guest, dir) = world(true);
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    assert_eq!(guest.open("socket", NONE, READ_WRITE), Err(Errno::Nxio));
    assert_eq!(guest.open("missing", NONE, READ), Err(Errno::Noent));
    std::fs::write(dir.path().join("file"), "text").unwrap();
    let fd = guest.open("file", NONE, READ_WRITE).unwrap();
    assert_eq!(guest.fdstat(fd).unwrap().1, 0);
    assert_eq!(guest.read(fd, 16), Ok(b"text".to_vec()));
}

/// While the guest waits for a reader, somebody puts a link that leads out in
/// the pipe's place.
#[test]
fn what_takes_the_pipes_place_meanwhile_does_not_lead_out() {
    with_and_without(|| {
        let outside = tempfile::tempdir().unwrap();
        let secret = outside.path().join("secret");
        std::fs::write(&secret, "secret").unwrap();
        let (mut guest, dir) = world(true);
        let (place, target) = (dir.path().to_owned(), secret.clone());
        let swapper = std::thread::spawn(move || {
            std::thread::sleep(AWHILE);
            std::os::unix::fs::symlink(target, place.join("out")).unwrap();
            std::fs::rename(place.join("out"), place.join("pipe")).unwrap();
        });
        let opened = guest.open("pipe", Oflags::TRUNC, Rights::FD_WRITE);
        assert_eq!(opened, Err(Errno::Notcapable));
        swapper.join().unwrap();
        assert_eq!(std::fs::read(&secret).unwrap(), b"secret");
    });
}

/// All see the bytes come, and one gets them. The others still wait where an interrupt ends that.
#[test]
fn several_threads_read_from_one_pipe_and_all_are_interrupted() {
    for _ in 0..30 {
        let (mut guest, dir) = world(true);
        let interrupt = guest.ctx.interrupt().unwrap();
        let mut writer =
            OpenOptions::new().read(true).write(true).open(dir.path().join("pipe")).expect("the pipe");
        let fd = guest.open("pipe", NONE, READ).unwrap();
        let ctx = &guest.ctx;
        let read = || {
            let mut memory = vec![0u64; 64];
            // SAFETY: the memory lives until the end of the call.
            let mem = unsafe { GuestMemory::from_raw(memory.as_mut_ptr().cast(), 512) };
            // One buffer of 16 bytes at 64.
            mem.write_u32(0, 64).and_then(|()| mem.write_u32(4, 16)).expect("inside");
            p1::fd_read(ctx, &mem, fd, 0, 1, 128)
        };
        let ends: Vec<_> = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..3).map(|_| scope.spawn(read)).collect();
            std::thread::sleep(Duration::from_millis(5));
            writer.write_all(b"x").expect("there is room");
            // On a busy machine it takes a while until one of them has it.
            let begun = std::time::Instant::now();
            while rustix::io::ioctl_fionread(&writer).expect("a pipe") > 0 && begun.elapsed().as_secs() < 30 {
                std::thread::yield_now();
            }
            interrupt.fire();
            readers.into_iter().map(|reader| reader.join().expect("no panic")).collect()
        });
        let interrupted = ends.iter().filter(|end| **end == Err(Error::Ending(Ending::Interrupted))).count();
        assert_eq!((ends.iter().filter(|end| end.is_ok()).count(), interrupted), (1, 2));
    }
}
