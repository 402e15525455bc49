//! What a host chooses for a program: its interface, functions, clocks,
//! random bytes, and whether its calls are traced.

mod support;

use std::sync::{Arc, Mutex};

use support::*;
use wasi::{
    Errno, Error, Grant, GuestMemory, Oflags, Perms, Policy, Rights, TracedCall, WasiCtx, WasiCtxBuilder,
    WasiLimits, ext, functions, p0, p1,
};

fn number(name: &str) -> usize {
    let modules = [p1::MODULE, ext::MODULE];
    modules.into_iter().find_map(|module| functions::find(module, name)).unwrap()
}

fn call(guest: &mut Guest, name: &str, args: &[u64]) -> Result<()> {
    let number = number(name);
    guest.call(|ctx, mem| functions::call(ctx, number, mem, args))
}

// ---- preview 0 ----

#[test]
fn preview_0_has_its_own_filestat() {
    let (mut guest, _host) = guest();
    guest.write_file("f", b"12345").unwrap();
    guest.link("f", "g").unwrap();
    let ino = guest.stat("f").unwrap().ino;
    guest.set_times("f", 0, 7, 9, 5).unwrap();
    let fd = guest.open("f", Oflags::empty(), READ).unwrap();
    guest.put(0x100, b"f");
    for by_path in [true, false] {
        guest.memory()[0x200..0x280].fill(0xee);
        guest
            .call(|ctx, mem| {
                if by_path {
                    p0::path_filestat_get(ctx, mem, ROOT, 0, 0x100, 1, 0x200)
                } else {
                    p0::fd_filestat_get(ctx, mem, fd, 0x200)
                }
            })
            .unwrap();
        assert_eq!(guest.u64(0x208), ino);
        assert_eq!(guest.bytes(0x210, 4), [4, 0, 0, 0], "a regular file");
        assert_eq!(guest.u32(0x214), 2, "links, in 32 bits");
        assert_eq!(guest.u64(0x218), 5, "size");
        assert_eq!((guest.u64(0x220), guest.u64(0x228)), (7, 9), "times");
        assert_eq!(guest.bytes(0x238, 8), [0xee; 8], "and ends after 56 bytes");
    }
    let end = MEMORY as u32 - 56;
    assert_eq!(guest.call(|ctx, mem| p0::fd_filestat_get(ctx, mem, fd, end)), Ok(()));
    assert_eq!(guest.call(|ctx, mem| p0::fd_filestat_get(ctx, mem, fd, end + 1)), Err(Errno::Fault));
}

#[test]
fn preview_0_counts_whence_from_the_current_position() {
    let (mut guest, _host) = guest();
    guest.write_file("f", b"0123456789").unwrap();
    let fd = guest.open("f", Oflags::empty(), READ).unwrap();
    let mut seek = |offset, whence| {
        guest.call(|ctx, mem| p0::fd_seek(ctx, mem, fd, offset, whence, 16))?;
        Ok(guest.u64(16))
    };
    assert_eq!(seek(3, 2), Ok(3), "set");
    assert_eq!(seek(2, 0), Ok(5), "cur");
    assert_eq!(seek(-1, 1), Ok(9), "end");
    assert_eq!(seek(0, 3), Err(Errno::Inval));
}

#[test]
fn preview_0_subscriptions_are_56_bytes() {
    let mut guest = Guest::with(WasiCtx::builder());
    // A clock that strikes at once, then standard input.
    let mut records = [0u8; 112];
    records[0] = 5;
    records[24..28].copy_from_slice(&1u32.to_le_bytes());
    records[56] = 6;
    records[56 + 8] = 1;
    guest.put(0x1000, &records);
    guest.call(|ctx, mem| p0::poll_oneoff(ctx, mem, 0x1000, 0x2000, 2, 16)).unwrap();
    assert_eq!(guest.u32(16), 2);
    assert_eq!((guest.u64(0x2000), guest.u64(0x2020)), (5, 6));
    assert_eq!((guest.bytes(0x200a, 1), guest.bytes(0x202a, 1)), (&[0u8][..], &[1u8][..]));
    // The flags of a clock are where preview 1 has nothing.
    guest.put(0x1000 + 48, &2u16.to_le_bytes());
    assert_eq!(guest.call(|ctx, mem| p0::poll_oneoff(ctx, mem, 0x1000, 0x2000, 1, 16)), Err(Errno::Inval));
}

// ---- which functions ----

#[test]
fn what_is_not_granted_does_nothing() {
    for (otherwise, errno) in [
        (Grant::Refused, Errno::Notcapable),
        (Grant::Stub(Errno::Nosys), Errno::Nosys),
        (Grant::Stub(Errno::Perm), Errno::Perm),
    ] {
        let host = tempfile::tempdir().unwrap();
        let policy = Policy::new(None, &["path_create_*"], otherwise).unwrap();
        let preopen = preopen(host.path(), "/", wasi::Perms::READ_WRITE);
        let mut guest = Guest::with(WasiCtx::builder().preopen(preopen).policy(policy));
        guest.put(0x100, b"d");
        assert_eq!(call(&mut guest, "path_create_directory", &[3, 0x100, 1]), Err(errno));
        assert_eq!(std::fs::read_dir(host.path()).unwrap().count(), 0);
        assert_eq!(call(&mut guest, "fd_tell", &[9, 16]), Err(Errno::Badf));
        assert!(!guest.ctx.is_direct(number("path_create_directory")));
        assert!(guest.ctx.is_direct(number("fd_tell")));
    }
}

// ---- reproducible runs ----

#[test]
fn fixed_clocks_and_seeds_give_the_same_run_twice() {
    let run = || {
        let builder = WasiCtx::builder().now(1_700_000_000_000_000_000);
        let mut guest = Guest::with(builder.random_seed(42));
        let mut seen = Vec::new();
        for id in [0, 1, 2, 3, 0] {
            guest.call(|ctx, mem| p1::clock_time_get(ctx, mem, id, 0, 16)).unwrap();
            seen.push(guest.u64(16));
        }
        for len in [1, 100, 2000] {
            guest.call(|ctx, mem| p1::random_get(ctx, mem, 0x100, len)).unwrap();
            seen.extend(guest.bytes(0x100, len as usize).iter().map(|byte| u64::from(*byte)));
        }
        seen
    };
    let first = run();
    assert_eq!(first[0], 1_700_000_000_000_000_000);
    assert_eq!(first, run());
}

#[test]
fn a_fixed_clock_sleeps_in_no_time() {
    let mut guest = Guest::with(WasiCtx::builder().now(0));
    const HOUR: u64 = 3_600_000_000_000;
    let mut subscription = [0u8; 48];
    subscription[16] = 1;
    subscription[24..32].copy_from_slice(&HOUR.to_le_bytes());
    guest.put(0x1000, &subscription);
    let started = std::time::Instant::now();
    for _ in 0..24 {
        guest.call(|ctx, mem| p1::poll_oneoff(ctx, mem, 0x1000, 0x2000, 1, 16)).unwrap();
        assert_eq!(guest.u32(16), 1);
    }
    assert!(started.elapsed().as_secs() < 5);
    for id in [0, 1] {
        guest.call(|ctx, mem| p1::clock_time_get(ctx, mem, id, 0, 16)).unwrap();
        let slept = guest.u64(16);
        assert!((24 * HOUR..25 * HOUR).contains(&slept), "{slept}");
    }
}

// ---- tracing ----

fn traced(builder: WasiCtxBuilder) -> (Guest, Arc<Mutex<Vec<String>>>) {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = lines.clone();
    let builder = builder.trace(Arc::new(move |call| {
        sink.lock().unwrap().push(call.to_string());
    }));
    (Guest::with(builder), lines)
}

#[test]
fn a_trace_shows_all_buffers_of_a_call_as_one_text() {
    let host = tempfile::tempdir().unwrap();
    let (mut guest, lines) =
        traced(WasiCtx::builder().preopen(preopen(host.path(), "/", wasi::Perms::READ_WRITE)));
    guest.put(0x100, b"file");
    let buffers = |guest: &mut Guest, at: u32, buffers: &[[u32; 2]]| {
        for (place, word) in (at..).step_by(4).zip(buffers.iter().flatten()) {
            guest.put(place, &word.to_le_bytes());
        }
    };
    guest.put(0x200, b"hello world");
    guest.put(0x240, &[b'a'; 100]);
    // As libraries write: an empty one first, then what is in their buffer, then the new text.
    buffers(&mut guest, 0x300, &[[0, 0], [0x200, 6], [0x206, 5], [0x1f0, 0]]);
    buffers(&mut guest, 0x340, &[[0x240, 100], [0x240, 100]]);
    buffers(&mut guest, 0x380, &[[0x400, 3], [0x410, 300]]);
    let mut call = |name, args: &[u64]| call(&mut guest, name, args);
    call(
        "path_open",
        &[3, 0, 0x100, 4, 1, (Rights::FD_READ | Rights::FD_WRITE | Rights::FD_SEEK).bits(), 0, 0, 16],
    )
    .unwrap();
    call("fd_write", &[4, 0x300, 4, 16]).unwrap();
    call("fd_write", &[4, 0x340, 2, 16]).unwrap();
    call("fd_seek", &[4, 0, 0, 24]).unwrap();
    call("fd_pread", &[4, 0x380, 2, 2, 16]).unwrap();
    call("fd_pread", &[4, 0x380, 2, 203, 16]).unwrap();
    call("fd_write", &[4, u64::from(u32::MAX - 8), 2, 16]).unwrap_err();
    let lines = lines.lock().unwrap();
    assert_eq!(lines[1], "fd_write(fd: 4, iovs: \"hello world\", iovs_len: 4) = ESUCCESS, nwritten: 11");
    let shown = format!("\"{}\"...", "a".repeat(128));
    assert_eq!(lines[2], format!("fd_write(fd: 4, iovs: {shown}, iovs_len: 2) = ESUCCESS, nwritten: 200"));
    let read = format!("\"llo world{}\"...", "a".repeat(119));
    assert_eq!(
        lines[4],
        format!("fd_pread(fd: 4, iovs: 0x380, iovs_len: 2, offset: 2) = ESUCCESS, iovs: {read}, nread: 209")
    );
    assert_eq!(
        lines[5],
        "fd_pread(fd: 4, iovs: 0x380, iovs_len: 2, offset: 203) = ESUCCESS, iovs: \"aaaaaaaa\", nread: 8"
    );
    assert!(lines[6].starts_with("fd_write(fd: 4, iovs: 0xfffffff7, iovs_len: 2) = "), "{}", lines[6]);
}

#[test]
fn a_trace_reads_like_strace() {
    let host = tempfile::tempdir().unwrap();
    let (mut guest, lines) =
        traced(WasiCtx::builder().preopen(preopen(host.path(), "/", wasi::Perms::READ_WRITE)));
    guest.put(0x100, b"file");
    guest.put(0x200, b"hello\n\xff");
    guest.put(0x300, &0x200u32.to_le_bytes());
    guest.put(0x304, &7u32.to_le_bytes());
    let rights = (Rights::FD_READ | Rights::FD_WRITE | Rights::FD_SEEK | Rights::FD_TELL).bits();
    call(&mut guest, "path_open", &[3, 1, 0x100, 4, 9, rights, 0, 1, 16]).unwrap();
    call(&mut guest, "fd_write", &[4, 0x300, 1, 16]).unwrap();
    call(&mut guest, "fd_seek", &[4, -2i64 as u64, 1, 16]).unwrap();
    call(&mut guest, "clock_time_get", &[9, 0, 16]).unwrap_err();
    call(&mut guest, "fd_close", &[77]).unwrap_err();
    call(&mut guest, "path_open", &[3, 0, u64::from(u32::MAX), 4, 99, 0, 0, 0, 16]).unwrap_err();
    assert_eq!(
        *lines.lock().unwrap(),
        [
            "path_open(fd: 3, dirflags: SYMLINK_FOLLOW, path: \"file\", path_len: 4, \
             oflags: CREAT|TRUNC, fs_rights_base: FD_READ|FD_SEEK|FD_TELL|FD_WRITE, \
             fs_rights_inheriting: 0, fdflags: APPEND) = ESUCCESS, opened_fd: 4",
            "fd_write(fd: 4, iovs: \"hello\\n\\xff\", iovs_len: 1) = ESUCCESS, nwritten: 7",
            "fd_seek(fd: 4, offset: -2, whence: CUR) = ESUCCESS, newoffset: 5",
            "clock_time_get(id: 9, precision: 0) = EINVAL",
            "fd_close(fd: 77) = EBADF",
            "path_open(fd: 3, dirflags: 0, path: 0xffffffff, path_len: 4, oflags: 0x63, \
             fs_rights_base: 0, fs_rights_inheriting: 0, fdflags: 0) = EINVAL",
        ]
    );
    assert!(!guest.ctx.is_direct(number("fd_close")));
}

/// What a call read and what it wrote, for each kind of record.
#[test]
fn a_trace_shows_records_and_data() {
    let memory = wasi::MemoryFs::new(1 << 20);
    memory.set_file("file", b"hello").unwrap();
    memory.set_link("link", "file").unwrap();
    let perms = wasi::Perms::READ_WRITE;
    let builder = WasiCtx::builder().preopen_memory(memory, "/data".to_owned(), perms);
    let policy = Policy::new(Some(&["*", "wasi_native_ext.*"]), &[], Grant::Refused).unwrap();
    let (mut guest, lines) = traced(builder.policy(policy));
    guest.put(0x100, b"filelink");
    guest.put(0x300, &0x200u32.to_le_bytes());
    guest.put(0x304, &100u32.to_le_bytes());
    // A clock that strikes long after standard input has ended.
    guest.put(0x500 + 24, &1_000_000_000_000u64.to_le_bytes());
    guest.put(0x530 + 8, &[1]);
    let calls: [(&str, &[u64]); 10] = [
        ("path_open", &[3, 0, 0x100, 4, 0, 0x20_0002, 0, 0, 16]),
        ("fd_read", &[4, 0x300, 1, 16]),
        ("fd_filestat_get", &[4, 0x400]),
        ("fd_fdstat_get", &[4, 0x400]),
        ("path_readlink", &[3, 0x104, 4, 0x400, 64, 16]),
        ("fd_prestat_get", &[3, 0x400]),
        ("fd_prestat_dir_name", &[3, 0x400, 5]),
        ("fd_readdir", &[3, 0x400, 256, 0, 16]),
        ("poll_oneoff", &[0x500, 0x600, 2, 16]),
        ("fd_lock", &[4, 5]),
    ];
    for (name, args) in calls {
        call(&mut guest, name, args).unwrap();
    }
    let lines = lines.lock().unwrap();
    assert_eq!(lines[1], "fd_read(fd: 4, iovs: 0x300, iovs_len: 1) = ESUCCESS, iovs: \"hello\", nread: 5");
    assert_eq!(
        lines[2],
        "fd_filestat_get(fd: 4, buf: 0x400) = ESUCCESS, \
         buf: {regularfile, ino: 2, nlink: 1, size: 5}"
    );
    assert_eq!(
        lines[3..],
        [
            "fd_fdstat_get(fd: 4, stat: 0x400) = ESUCCESS, \
             stat: {regularfile, flags: 0, rights: (file without FD_WRITE|FD_ALLOCATE|FD_FILESTAT_SET_SIZE), inheriting: 0}",
            "path_readlink(fd: 3, path: \"link\", path_len: 4, buf: 0x400, buf_len: 64) = ESUCCESS, \
             buf: \"file\", bufused: 4",
            "fd_prestat_get(fd: 3, buf: 0x400) = ESUCCESS, buf: {directory, name of 5}",
            "fd_prestat_dir_name(fd: 3, path: 0x400, path_len: 5) = ESUCCESS, path: \"/data\"",
            "fd_readdir(fd: 3, buf: 0x400, buf_len: 256, cookie: 0) = ESUCCESS, \
             buf: [\".\", \"..\", \"file\", \"link\"], bufused: 107",
            "poll_oneoff(in_: [realtime +1000000000000 ns, read 0], out: 0x600, nsubscriptions: 2) = ESUCCESS, \
             out: [read 0], nevents: 1",
            "fd_lock(fd: 4, operation: SH|TRY) = ESUCCESS",
        ]
    );
}

/// Tracing looks into guest memory at addresses the guest chose.
#[test]
fn a_trace_of_absurd_arguments_is_harmless() {
    let (guest, lines) = traced(WasiCtx::builder());
    let mut memory = vec![0xffu8; 64];
    // SAFETY: the memory outlives the view.
    let mem = unsafe { GuestMemory::from_raw(memory.as_mut_ptr(), memory.len()) };
    let mut calls = 0;
    for (number, function) in functions::all().enumerate() {
        let shown = function.params.iter().map(|param| format!("{}: ", param.name));
        let shown: Vec<String> = shown.collect();
        for value in [0, 60, 63, 64, u64::from(u32::MAX) - 3, u64::from(u32::MAX), u64::MAX] {
            let args = vec![value; function.params.len()];
            let result = functions::call(&guest.ctx, number, &mem, &args);
            calls += 1;
            assert!(function.returns() || matches!(result, Err(Error::Ending(_))));
            // Every argument is told, decoded or as it came, if not as a result.
            let lines = lines.lock().unwrap();
            let line = lines.last().unwrap();
            assert!(line.starts_with(&format!("{}(", function.name)), "{line}");
            assert_eq!(result.is_ok(), line.contains(") = ESUCCESS"), "{line}");
            let missing = shown.iter().filter(|shown| !line.contains(*shown)).count();
            assert!(result.is_err() || missing == 0, "{line}");
        }
    }
    assert_eq!(lines.lock().unwrap().len(), calls);
}

/// Whatever a guest has in its memory and says of its length.
#[test]
fn a_line_of_a_trace_is_short() {
    let longest = Arc::new(Mutex::new(String::new()));
    let sink = longest.clone();
    let keep = move |call: &TracedCall| {
        let (line, mut longest) = (call.to_string(), sink.lock().unwrap());
        if line.len() > longest.len() {
            *longest = line;
        }
    };
    let limits = WasiLimits { max_path: u32::MAX, max_subscriptions: u32::MAX, ..WasiLimits::default() };
    for filler in [0u8, 1, 2, b'x', 0xff] {
        let disk = Disk::new(Back::Memory);
        let builder = WasiCtx::builder().trace(Arc::new(keep.clone())).limits(limits);
        let mut guest = Guest::with(disk.mount(builder, "/", Perms::READ_WRITE));
        for (number, function) in functions::all().enumerate().filter(|(_, it)| it.name != "poll_oneoff") {
            guest.memory().fill(filler);
            let args: Vec<u64> = function
                .params
                .iter()
                .map(|param| match param.name {
                    "fd" | "old_fd" | "new_fd" => u64::from(ROOT),
                    name if name.ends_with("_len") => 0x4000,
                    name if name.starts_with("fs_rights") => u64::MAX >> 34,
                    _ => 0x8000,
                })
                .collect();
            let _ = guest.call(|ctx, mem| functions::call(ctx, number, mem, &args).or(Ok(())));
        }
    }
    let longest = longest.lock().unwrap();
    assert!((500..4096).contains(&longest.len()), "{} bytes: {longest}", longest.len());
}
