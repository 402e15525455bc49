//! Guests that ask for too much: an errno or back-pressure, and memory and
//! descriptors of the host that stay bounded.

mod support;

use std::io::Read;
use std::time::{Duration, Instant};

use support::*;
use wasi::{
    Ending, Errno, Error, Fdflags, GuestMemory, MemoryFs, Oflags, OutputBuffer, Perms, Rights, Stdio,
    WasiCtx, WasiLimits, p1,
};

const NONE: Oflags = Oflags::empty();
const MIB: usize = 1 << 20;

/// Runs the test of this name again in a process where nothing else runs, so
/// that what the process uses is what the test uses.
fn alone(name: &str, test: impl FnOnce()) {
    if std::env::var_os("WASI_LIMITS_ALONE").is_some() {
        return test();
    }
    let this = std::env::current_exe().unwrap();
    let output = std::process::Command::new(this)
        .args(["--exact", name, "--test-threads=1"])
        .env("WASI_LIMITS_ALONE", "1")
        .output()
        .unwrap();
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed"),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn host_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The most memory this process ever held, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// A guest memory of any size; pages that nobody touches take no memory.
struct BigMemory {
    base: *mut u8,
    len: usize,
}

impl BigMemory {
    fn new(len: usize) -> BigMemory {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a private mapping of our own.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, access, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED);
        let base = base.cast();
        BigMemory { base, len }
    }

    fn view(&self) -> GuestMemory<'_> {
        // SAFETY: mapped until `self` is dropped.
        unsafe { GuestMemory::from_raw(self.base, self.len) }
    }
}

impl Drop for BigMemory {
    fn drop(&mut self) {
        // SAFETY: nothing uses the mapping any more.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}

fn everywhere(test: impl Fn(Back) + Send + Sync) {
    openat2::with_and_without(|| test(Back::Host));
    test(Back::Memory);
}

#[test]
fn a_million_opens_end_at_the_limit() {
    alone("a_million_opens_end_at_the_limit", || {
        everywhere(|back| {
            let before = host_fds();
            {
                let (mut guest, disk) = guest_on(back);
                disk.write("f", b"x");
                let (mut opened, mut refused) = (0u32, 0u32);
                let start = peak();
                for _ in 0..1_000_000 {
                    match guest.open("f", NONE, READ) {
                        Ok(_) => opened += 1,
                        Err(errno) => {
                            refused += 1;
                            assert_eq!(errno, Errno::Mfile);
                        }
                    }
                }
                assert_eq!((opened, refused), (4096 - 4, 1_000_000 - 4096 + 4));
                assert!(peak() - start < 8 * MIB);
                assert!(host_fds() < before + 4096 + 8);
            }
            assert_eq!(host_fds(), before);
        });
    });
}

#[test]
fn a_host_without_descriptors_left_is_emfile() {
    alone("a_host_without_descriptors_left_is_emfile", || {
        let (mut guest, disk) = guest();
        disk.write("f", b"x");
        let few = libc::rlimit { rlim_cur: 32, rlim_max: 32 };
        // SAFETY: plain data; this process runs nothing else.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &few) }, 0);
        let mut open = Vec::new();
        let errno = loop {
            match guest.open("f", NONE, READ) {
                Ok(fd) => open.push(fd),
                Err(errno) => break errno,
            }
        };
        assert_eq!(errno, Errno::Mfile);
        guest.close(open.pop().unwrap()).unwrap();
        guest.open("f", NONE, READ).unwrap();
    });
}

/// Every pair of numbers, open or not, and then a thousand opens.
#[test]
fn renumbering_never_confuses_the_table() {
    alone("renumbering_never_confuses_the_table", || {
        everywhere(|back| {
            let before = host_fds();
            let numbers = [0, 1, 2, ROOT, 4, 5, 6, 7, 4095, 4096, u32::MAX];
            for from in numbers {
                for to in numbers {
                    let (mut guest, disk) = guest_on(back);
                    disk.write("f", b"x");
                    let dir = guest.open_dir(".").unwrap();
                    guest.open("f", NONE, READ).unwrap();
                    let closed = guest.open("f", NONE, READ).unwrap();
                    guest.close(closed).unwrap();
                    let is_open = |fd| fd < closed;
                    let moved = guest.renumber(from, to);
                    let expected = if is_open(from) && is_open(to) { Ok(()) } else { Err(Errno::Badf) };
                    assert_eq!(moved, expected, "{from} {to}");
                    let gone = moved.is_ok() && from != to;
                    for fd in 0..8 {
                        let there = guest.fdstat(fd).is_ok();
                        assert_eq!(there, is_open(fd) && !(gone && fd == from));
                    }
                    let start = if gone && from == dir { to } else { dir };
                    if to == dir && gone && from != ROOT {
                        continue; // no directory left to open from
                    }
                    let mut used = std::collections::BTreeSet::new();
                    for _ in 0..1000 {
                        let none = Rights::empty();
                        let fd = guest.open_with(start, "f", 0, NONE, READ, none, Fdflags::empty()).unwrap();
                        assert!(used.insert(fd), "{fd} was given out twice");
                    }
                    if gone {
                        assert!(used.contains(&from), "the number is used again");
                    }
                    assert!(used.iter().all(|fd| *fd < 1006), "the lowest are used");
                }
            }
            assert_eq!(host_fds(), before);
        });
    });
}

#[test]
fn as_many_iovecs_as_a_number_holds() {
    everywhere(|back| {
        let (mut guest, disk) = guest_on(back);
        disk.write("f", b"0123456789");
        let file = guest.open("f", NONE, READ_WRITE).unwrap();
        for fd in [0, 1, file] {
            for count in [1 << 29, u32::MAX - 1, u32::MAX] {
                let refused = Err(Errno::Fault);
                if fd != 1 {
                    assert_eq!(guest.call(|ctx, mem| p1::fd_read(ctx, mem, fd, 64, count, 16)), refused);
                }
                if fd != 0 {
                    assert_eq!(guest.call(|ctx, mem| p1::fd_write(ctx, mem, fd, 64, count, 16)), refused);
                }
            }
        }
        for (result, errno) in [
            (guest.call(|ctx, mem| p1::fd_pread(ctx, mem, file, 64, u32::MAX, 0, 16)), Errno::Fault),
            (guest.call(|ctx, mem| p1::fd_pwrite(ctx, mem, file, 64, u32::MAX, 0, 16)), Errno::Fault),
            (guest.call(|ctx, mem| p1::poll_oneoff(ctx, mem, 64, 64, 4097, 16)), Errno::Inval),
        ] {
            assert_eq!(result, Err(errno));
        }
        assert_eq!(disk.read("f"), b"0123456789");
        // As many as are allowed, each as long as memory: cut to one transfer.
        for index in 0..1024u32 {
            guest.put(0x1000 + index * 8, &0u32.to_le_bytes());
            guest.put(0x1004 + index * 8, &(MEMORY as u32).to_le_bytes());
        }
        guest.call(|ctx, mem| p1::fd_read(ctx, mem, file, 0x1000, 1024, 16)).unwrap();
        assert_eq!(guest.u32(16), 10);
    });
}

#[test]
fn random_bytes_for_all_of_memory_can_be_interrupted() {
    alone("random_bytes_for_all_of_memory_can_be_interrupted", || {
        let guest = Guest::with(WasiCtx::builder());
        let interrupt = guest.ctx.interrupt().unwrap();
        let memory = BigMemory::new(1 << 32);
        let start = peak();
        let started = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(100));
                interrupt.fire();
            });
            let result = p1::random_get(&guest.ctx, &memory.view(), 0, u32::MAX);
            assert_eq!(result, Err(Error::Ending(Ending::Interrupted)));
        });
        assert!(started.elapsed() < Duration::from_secs(5));
        // What was filled is the guest's own memory.
        assert!(peak() - start < 1 << 30);
    });
}

/// `WASI_MANY_NAMES=1000000` for the host's directory too, which takes a
/// while to make.
#[test]
fn a_million_names_are_listed_without_being_held() {
    alone("a_million_names_are_listed_without_being_held", || {
        let many = std::env::var("WASI_MANY_NAMES").ok();
        let many = many.and_then(|many| many.parse().ok()).unwrap_or(20_000);
        for (back, names) in [(Back::Host, many), (Back::Memory, 1_000_000u32)] {
            let (mut guest, disk) = guest_on(back);
            match &disk {
                Disk::Host(host) => {
                    let one = host.path().join("0");
                    std::fs::write(&one, b"").unwrap();
                    for index in 1..names {
                        let name = host.path().join(index.to_string());
                        if index % 30_000 == 0 || std::fs::hard_link(&one, &name).is_err() {
                            std::fs::write(name, b"").unwrap();
                        }
                    }
                }
                Disk::Memory(fs) => {
                    for index in 0..names {
                        fs.set_file(&index.to_string(), b"").unwrap();
                    }
                }
            }
            let start = peak();
            let (mut cookie, mut seen) = (0, 0);
            loop {
                guest.call(|ctx, mem| p1::fd_readdir(ctx, mem, ROOT, 0x1000, 0x8000, cookie, 16)).unwrap();
                let used = guest.u32(16);
                let mut at = 0;
                while at + 24 <= used {
                    let len = 24 + guest.u32(0x1000 + at + 16);
                    if at + len > used {
                        break;
                    }
                    cookie = guest.u64(0x1000 + at);
                    seen += 1;
                    at += len;
                }
                if used < 0x8000 {
                    break;
                }
            }
            assert_eq!(seen, names + 2);
            assert!(peak() - start < 4 * MIB, "{} more", peak() - start);
        }
    });
}

#[test]
fn an_environment_of_100_mb_is_the_hosts_decision() {
    let large = || vec![(b"LARGE".to_vec(), vec![b'x'; 100 * MIB])];
    let error = WasiCtx::builder().env(large()).build().err().unwrap();
    assert_eq!(error.to_string(), "environment variables exceed the limit of 2097152 bytes");
    let limits = WasiLimits { max_strings: 200 * MIB, ..WasiLimits::default() };
    let mut guest = Guest::with(WasiCtx::builder().env(large()).limits(limits));
    guest.call(|ctx, mem| p1::environ_sizes_get(ctx, mem, 16, 20)).unwrap();
    assert_eq!((guest.u32(16), guest.u32(20) as usize), (1, 100 * MIB + 7));
    let before = guest.memory().to_vec();
    assert_eq!(guest.call(|ctx, mem| p1::environ_get(ctx, mem, 0x1000, 0x2000)), Err(Errno::Fault));
    assert_eq!(guest.memory(), before);
}

#[test]
fn a_gibibyte_into_a_pipe_nobody_reads_waits() {
    alone("a_gibibyte_into_a_pipe_nobody_reads_waits", || {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let stdout = Stdio::Host(writer.into());
        let guest = Guest::with(WasiCtx::builder().stdout(stdout));
        let memory = BigMemory::new(1 << 30);
        let mem = memory.view();
        mem.write_u32(64, 0).unwrap();
        mem.write_u32(68, 1 << 30).unwrap();
        let interrupt = guest.ctx.interrupt().unwrap();
        let start = peak();
        // Non-blocking, it takes what the pipe holds and then says so.
        p1::fd_fdstat_set_flags(&guest.ctx, &mem, 1, u32::from(Fdflags::NONBLOCK.bits())).unwrap();
        let mut taken = 0u64;
        let full = loop {
            mem.write_u32(68, 4096).unwrap();
            match p1::fd_write(&guest.ctx, &mem, 1, 64, 1, 16) {
                Ok(()) => taken += u64::from(mem.read_u32(16).unwrap()),
                Err(error) => break error,
            }
        };
        assert_eq!(full, Error::Errno(Errno::Again));
        assert!(taken <= 1 << 20);
        // Blocking, it waits until it is interrupted.
        p1::fd_fdstat_set_flags(&guest.ctx, &mem, 1, 0).unwrap();
        mem.write_u32(68, 1 << 30).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(100));
                interrupt.fire();
            });
            let started = Instant::now();
            let result = p1::fd_write(&guest.ctx, &mem, 1, 64, 1, 16);
            assert_eq!(result, Err(Error::Ending(Ending::Interrupted)));
            assert!(started.elapsed() >= Duration::from_millis(50));
        });
        assert!(peak() - start < 8 * MIB);
        drop(guest);
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!(rest.len() as u64, taken);
    });
}

#[test]
fn a_gibibyte_into_a_captured_stream_ends_at_its_limit() {
    alone("a_gibibyte_into_a_captured_stream_ends_at_its_limit", || {
        let buffer = OutputBuffer::new(MIB);
        let stdout = Stdio::WriteBuffer(buffer.clone());
        let guest = Guest::with(WasiCtx::builder().stdout(stdout));
        let memory = BigMemory::new(1 << 30);
        let mem = memory.view();
        mem.write_u32(68, 1 << 30).unwrap();
        let start = peak();
        p1::fd_write(&guest.ctx, &mem, 1, 64, 1, 16).unwrap();
        assert_eq!(mem.read_u32(16), Ok(MIB as u32));
        for _ in 0..100 {
            let result = p1::fd_write(&guest.ctx, &mem, 1, 64, 1, 16);
            assert_eq!(result, Err(Error::Errno(Errno::Fbig)));
        }
        assert!(peak() - start < 8 * MIB);
        assert_eq!(buffer.take().len(), MIB);
    });
}

#[test]
fn files_in_memory_end_at_the_quota() {
    alone("files_in_memory_end_at_the_quota", || {
        const QUOTA: u64 = 16 << 20;
        let fs = MemoryFs::new(QUOTA);
        let builder = WasiCtx::builder();
        let mut guest = Guest::with(builder.preopen_memory(fs.clone(), "/".to_owned(), Perms::READ_WRITE));
        let start = peak();
        let fd = guest.open("f", Oflags::CREAT, READ_WRITE).unwrap();
        let nospc = Err(Errno::Nospc);
        for size in [QUOTA, 1 << 40, i64::MAX as u64] {
            assert_eq!(guest.call(|ctx, mem| p1::fd_filestat_set_size(ctx, mem, fd, size)), nospc);
            assert_eq!(guest.call(|ctx, mem| p1::fd_allocate(ctx, mem, fd, 0, size)), nospc);
        }
        assert_eq!(guest.call(|ctx, mem| p1::fd_allocate(ctx, mem, fd, u64::MAX, 2)), Err(Errno::Fbig));
        assert_eq!(guest.pwrite(fd, b"x", 1 << 40), Err(Errno::Nospc));
        assert_eq!(guest.pwrite(fd, b"x", i64::MAX as u64), Err(Errno::Fbig));
        assert_eq!(guest.pwrite(fd, b"x", u64::MAX), Err(Errno::Inval));
        assert_eq!(guest.fstat(fd).unwrap().size, 0);
        let chunk = vec![7; 300_000];
        let mut written = 0u64;
        let errno = loop {
            match guest.write(fd, &chunk) {
                Ok(count) => written += u64::from(count),
                Err(errno) => break errno,
            }
        };
        assert_eq!(errno, Errno::Nospc);
        assert!(written > QUOTA - 4096 && fs.used() == QUOTA, "the last write was short");
        assert_eq!(guest.mkdir("d"), nospc);
        assert_eq!(guest.symlink("f", "l"), nospc);
        assert_eq!(guest.link("f", "l"), nospc);
        assert_eq!(guest.open("g", Oflags::CREAT, READ).err(), Some(Errno::Nospc));
        guest.rename("f", "f").unwrap();
        // A file that is open but has no name still counts, and then does not.
        guest.unlink("f").unwrap();
        assert_eq!(guest.mkdir("d"), nospc);
        assert!(fs.used() > written);
        guest.close(fd).unwrap();
        assert!(fs.used() < 4096);
        assert!(peak() - start < 48 * MIB);
    });
}

#[test]
fn paths_of_4096_components() {
    everywhere(|back| {
        let limits = WasiLimits { max_path: 64 << 10, ..WasiLimits::default() };
        let disk = Disk::new(back);
        let builder = disk.mount(WasiCtx::builder().limits(limits), "/", Perms::READ_WRITE);
        let mut guest = Guest::with(builder);
        // 4,096 directories within each other, made one at a time.
        let mut at = ROOT;
        for _ in 0..4096 {
            guest.put(0x100, b"d");
            guest.call(|ctx, mem| p1::path_create_directory(ctx, mem, at, 0x100, 1)).unwrap();
            let next = guest
                .open_with(
                    at,
                    "d",
                    0,
                    Oflags::DIRECTORY,
                    Rights::DIRECTORY,
                    Rights::PREOPEN_INHERITING,
                    Fdflags::empty(),
                )
                .unwrap();
            if at != ROOT {
                guest.close(at).unwrap();
            }
            at = next;
        }
        let deep = "d/".repeat(4096);
        let result = guest.stat(&deep).map(|stat| stat.filetype);
        assert!(matches!(result, Ok(3) | Err(Errno::Nametoolong)), "{result:?}");
        let result = guest.stat(format!("{deep}d"));
        assert!(matches!(result, Err(Errno::Noent | Errno::Nametoolong)), "{result:?}");
        for path in ["./".repeat(4096), "d/../".repeat(4096), "d/./".repeat(4096)] {
            let result = guest.stat(&path).map(|stat| stat.filetype);
            assert!(matches!(result, Ok(3) | Err(Errno::Nametoolong)), "{result:?}");
        }
        let up = format!("{}{}", "d/".repeat(4095), "../".repeat(4096));
        assert_eq!(guest.stat(up), Err(Errno::Notcapable));
        guest.close(at).unwrap();
        if let Disk::Host(host) = &disk {
            // Deeper than std's remove_dir_all has descriptors for.
            let status = std::process::Command::new("rm").arg("-rf").arg(host.path().join("d")).status();
            assert!(status.unwrap().success());
        }
    });
}

/// Only what is followed more than 40 times is a loop, whichever way links
/// are chained.
#[test]
fn more_than_40_links_are_eloop() {
    everywhere(|back| {
        let (mut guest, disk) = guest_on(back);
        disk.mkdir("d");
        disk.write("d/f", b"x");
        disk.symlink("d", "l");
        disk.symlink("../l", "d/up");
        // One link, and two more for each "up".
        let chain = |ups: usize| format!("l/{}f", "up/".repeat(ups));
        for ups in [0, 1, 10, 19] {
            assert_eq!(guest.read_file(chain(ups)), Ok(b"x".to_vec()), "{ups}");
        }
        for ups in [20, 21, 50, 500] {
            assert_eq!(guest.read_file(chain(ups)), Err(Errno::Loop), "{ups}");
        }
    });
}
