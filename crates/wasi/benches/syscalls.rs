//! What a WASI call costs beside the system call it stands for, both in one run:
//! `npm run bench -- --only syscalls`.
//! The least of many rounds, so that a busy machine disturbs little.

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::time::Instant;

use support::*;
use wasi::{GuestMemory, MemoryFs, Perms, Rights, WasiCtx, p1, random};

const ROUNDS: usize = 60;

struct Row<'a> {
    name: &'static str,
    calls: u32,
    native: Box<dyn FnMut() + 'a>,
    ours: Box<dyn FnMut() + 'a>,
    least: (f64, f64),
}

fn time(calls: u32, body: &mut dyn FnMut()) -> f64 {
    let started = Instant::now();
    for _ in 0..calls {
        body();
    }
    started.elapsed().as_nanos() as f64 / f64::from(calls)
}

fn main() {
    let disk = Disk::new(Back::Host);
    let Disk::Host(host) = &disk else { unreachable!() };
    disk.write("f", vec![b'x'; 1 << 20]);
    disk.mkdir("a/b");
    disk.write("a/b/f", b"x");
    disk.mkdir("many");
    for index in 0..10_000 {
        disk.write(format!("many/file{index}"), b"");
    }
    let memory_fs = MemoryFs::new(64 << 20);
    memory_fs.set_file("a/b/f", b"x").unwrap();
    let builder = disk.mount(WasiCtx::builder(), "/", Perms::READ_WRITE);
    let ctx = &builder.preopen_memory(memory_fs, "/memory".to_owned(), Perms::READ_WRITE).build().unwrap();
    let mut bytes = vec![0u8; 1 << 20];
    // SAFETY: the memory outlives the view.
    let mem = &unsafe { GuestMemory::from_raw(bytes.as_mut_ptr(), bytes.len()) };
    mem.write_bytes(1000, b"f").unwrap();
    mem.write_bytes(1100, b"a/b/f").unwrap();
    mem.write_bytes(1200, b"many").unwrap();
    // As the library does at the first import.
    random::rely_on_fork_notice();
    let all = Rights::FILE.bits();
    p1::path_open(ctx, mem, 3, 1, 1000, 1, 0, all, 0, 0, 16).unwrap();
    let fd = mem.read_u32(16).unwrap();
    p1::path_open(ctx, mem, 4, 1, 1100, 5, 0, all, 0, 0, 16).unwrap();
    let in_memory = mem.read_u32(16).unwrap();
    let dir_rights = Rights::DIRECTORY.bits();
    p1::path_open(ctx, mem, 3, 1, 1200, 4, 2, dir_rights, 0, 0, 16).unwrap();
    let many = mem.read_u32(16).unwrap();
    // One byte at 2000, and 64 KiB at 65536.
    for (at, value) in [(64, 2000), (68, 1), (72, 65536), (76, 65536)] {
        mem.write_u32(at, value).unwrap();
    }
    mem.write_u32(4096 + 16, 1).unwrap(); // a clock that strikes at once

    let file = std::fs::OpenOptions::new().read(true).write(true).open(host.path().join("f")).unwrap();
    let raw = file.as_raw_fd();
    let dir = std::fs::File::open(host.path()).unwrap();
    let dir = dir.as_raw_fd();
    let many_dir = std::fs::File::open(host.path().join("many")).unwrap();
    let mut byte = [0u8; 1];
    let byte = byte.as_mut_ptr() as usize;
    let mut big = vec![0u8; 65536];
    let big = big.as_mut_ptr() as usize;
    let nothing = || {};

    let mut rows: Vec<Row<'_>> = Vec::new();
    macro_rules! row {
        ($name:literal, $calls:literal, $native:expr, $ours:expr) => {
            rows.push(Row {
                name: $name,
                calls: $calls,
                native: Box::new($native),
                ours: Box::new($ours),
                least: (f64::MAX, f64::MAX),
            })
        };
    }
    // SAFETY: for all of them: plain system calls on open descriptors and buffers of ours.
    unsafe {
        let open_and_close = move |path: &std::ffi::CStr| {
            let fd = libc::openat(dir, path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
            libc::close(fd);
        };
        let stat = move |path: &std::ffi::CStr| {
            let mut stat: libc::stat = std::mem::zeroed();
            libc::fstatat(dir, path.as_ptr(), &mut stat, 0);
            black_box(stat);
        };
        row!(
            "clock_time_get",
            2000,
            || {
                let mut now: libc::timespec = std::mem::zeroed();
                libc::clock_gettime(1, &mut now);
                black_box(now);
            },
            || p1::clock_time_get(ctx, mem, 1, 0, 16).unwrap()
        );
        row!("args_sizes_get", 5000, nothing, || p1::args_sizes_get(ctx, mem, 16, 20).unwrap());
        row!("fd_prestat_get", 5000, nothing, || p1::fd_prestat_get(ctx, mem, 3, 16).unwrap());
        row!("fd_fdstat_get", 5000, nothing, || p1::fd_fdstat_get(ctx, mem, 3, 16).unwrap());
        row!(
            "random_get 16",
            2000,
            || {
                libc::getentropy(byte as *mut _, 1);
            },
            || p1::random_get(ctx, mem, 3000, 16).unwrap()
        );
        row!(
            "fd_seek",
            2000,
            || {
                libc::lseek(raw, 0, 0);
            },
            || p1::fd_seek(ctx, mem, fd, 0, 0, 16).unwrap()
        );
        row!(
            "fd_read 1",
            1000,
            || {
                libc::read(raw, byte as *mut _, 1);
            },
            || p1::fd_read(ctx, mem, fd, 64, 1, 16).unwrap()
        );
        row!(
            "fd_write 1",
            1000,
            || {
                libc::write(raw, byte as *const _, 1);
            },
            || p1::fd_write(ctx, mem, fd, 64, 1, 16).unwrap()
        );
        row!(
            "fd_pread 64 KiB",
            200,
            || {
                libc::pread(raw, big as *mut _, 65536, 0);
            },
            || p1::fd_pread(ctx, mem, fd, 72, 1, 0, 16).unwrap()
        );
        row!("path_filestat_get f", 1000, move || stat(c"f"), || {
            p1::path_filestat_get(ctx, mem, 3, 1, 1000, 1, 3000).unwrap();
        });
        row!("path_filestat_get a/b/f", 1000, move || stat(c"a/b/f"), || {
            p1::path_filestat_get(ctx, mem, 3, 1, 1100, 5, 3000).unwrap();
        });
        row!("path_open f + fd_close", 500, move || open_and_close(c"f"), || {
            p1::path_open(ctx, mem, 3, 1, 1000, 1, 0, all, 0, 0, 16).unwrap();
            p1::fd_close(ctx, mem, mem.read_u32(16).unwrap()).unwrap();
        });
        row!("path_open a/b/f + fd_close", 500, move || open_and_close(c"a/b/f"), || {
            p1::path_open(ctx, mem, 3, 1, 1100, 5, 0, all, 0, 0, 16).unwrap();
            p1::fd_close(ctx, mem, mem.read_u32(16).unwrap()).unwrap();
        });
        row!(
            "poll_oneoff, a clock",
            2000,
            || {
                libc::poll(std::ptr::null_mut(), 0, 0);
            },
            || p1::poll_oneoff(ctx, mem, 4096, 5000, 1, 16).unwrap()
        );
        row!("memory: fd_pread 1", 2000, nothing, || {
            p1::fd_pread(ctx, mem, in_memory, 64, 1, 0, 16).unwrap();
        });
        row!("memory: path_filestat_get a/b/f", 2000, nothing, || {
            p1::path_filestat_get(ctx, mem, 4, 1, 1100, 5, 3000).unwrap();
        });
        row!("memory: path_open a/b/f + fd_close", 2000, nothing, || {
            p1::path_open(ctx, mem, 4, 1, 1100, 5, 0, all, 0, 0, 16).unwrap();
            p1::fd_close(ctx, mem, mem.read_u32(16).unwrap()).unwrap();
        });
        let list = |stat: bool| {
            let (mut cookie, mut names) = (0, 0);
            loop {
                p1::fd_readdir(ctx, mem, many, 0x20000, 4096, cookie, 16).unwrap();
                let used = mem.read_u32(16).unwrap();
                let mut at = 0;
                while at + 24 <= used {
                    let len = mem.read_u32(0x20000 + at + 16).unwrap();
                    if at + 24 + len > used {
                        break;
                    }
                    cookie = mem.read_u64(0x20000 + at).unwrap();
                    let is_name = mem.read_u8(0x20000 + at + 24) != Ok(b'.');
                    if stat && is_name {
                        let name = 0x20000 + at + 24;
                        p1::path_filestat_get(ctx, mem, many, 0, name, len, 3000).unwrap();
                    }
                    names += 1;
                    at += 24 + len;
                }
                if used < 4096 {
                    break;
                }
            }
            assert_eq!(names, 10_002);
        };
        let native_list = |and_stat: bool| {
            let many = libc::fdopendir(libc::dup(many_dir.as_raw_fd()));
            libc::rewinddir(many);
            loop {
                let entry = libc::readdir(many);
                if entry.is_null() {
                    break;
                }
                if and_stat {
                    let mut stat: libc::stat = std::mem::zeroed();
                    let name = (*entry).d_name.as_ptr();
                    let follow = libc::AT_SYMLINK_NOFOLLOW;
                    libc::fstatat(many_dir.as_raw_fd(), name, &mut stat, follow);
                    black_box(stat);
                }
            }
            libc::closedir(many);
        };
        row!("list 10,000 names", 1, move || native_list(false), move || list(false));
        row!("list and stat 10,000 names", 1, move || native_list(true), move || list(true));

        for _ in 0..ROUNDS {
            for row in &mut rows {
                let native = time(row.calls, &mut row.native);
                let ours = time(row.calls, &mut row.ours);
                row.least = (row.least.0.min(native), row.least.1.min(ours));
            }
        }
    }
    println!("{:36} {:>12} {:>12}   ns a call", "", "native", "here");
    for Row { name, least, .. } in &rows {
        println!("{name:36} {:12.1} {:12.1}   {:.2}x", least.0, least.1, least.1 / least.0);
    }
}
