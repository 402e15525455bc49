//! Every function with every kind of wrong argument, generated from the table
//! of functions: an errno, never a panic, and nothing written outside.

mod support;

use support::{Back, Disk, Guest, MEMORY, READ, READ_WRITE, ROOT, openat2};
use wasi::functions::{self, Param};
use wasi::params::Kind;
use wasi::{Errno, Error, Grant, GuestMemory, Oflags, Perms, Policy, WasiCtx, ext, p0, p1};

struct Function {
    number: usize,
    module: &'static str,
    name: &'static str,
    params: &'static [Param],
}

/// Every function on both back ends.
fn cases() -> Vec<(Back, Function)> {
    let mut cases = Vec::new();
    for (number, function) in functions::all().enumerate() {
        for back in [Back::Host, Back::Memory] {
            let function =
                Function { number, module: function.module, name: function.name, params: function.params };
            cases.push((back, function));
        }
    }
    cases
}

fn is_fd(param: &Param) -> bool {
    matches!(param.kind, Kind::Fd)
}

fn is_pointer(param: &Param) -> bool {
    param.kind.is_pointer()
}

fn is_text(param: &Param) -> bool {
    matches!(param.kind, Kind::Path | Kind::Text)
}

fn is_length(param: &Param) -> bool {
    matches!(param.kind, Kind::Size)
}

/// A well-formed value for each argument: the preopen, a path "f", two empty
/// buffers, results in places of their own.
fn plain(function: &Function) -> Vec<u64> {
    let mut scratch = 0x1000;
    let mut length = 64;
    let value = |param: &Param| match param.kind {
        Kind::Fd => u64::from(ROOT),
        Kind::Path | Kind::Text => {
            length = 1;
            0x100
        }
        Kind::CiovecArray | Kind::IovecArray => {
            length = 2;
            0x200
        }
        Kind::InArray(_) => {
            length = 1;
            0x200
        }
        Kind::Size => std::mem::replace(&mut length, 64),
        _ if is_pointer(param) => {
            scratch += 0x1000;
            scratch
        }
        _ => 0,
    };
    function.params.iter().map(value).collect()
}

fn fresh(back: Back) -> (Guest, Disk) {
    let disk = Disk::new(back);
    disk.write("f", b"text");
    disk.mkdir("d");
    let builder = WasiCtx::builder()
        .args(vec![b"program".to_vec(), b"argument".to_vec()])
        .env(vec![(b"NAME".to_vec(), b"value".to_vec())])
        .policy(Policy::new(Some(&["*", "wasi_native_ext.*"]), &[], Grant::Refused).unwrap());
    let mut guest = Guest::with(disk.mount(builder, "/", Perms::READ_WRITE));
    guest.put(0x100, b"f");
    // Two iovecs of 16 bytes; as a subscription, a clock that strikes at once.
    for (at, value) in [(0x200, 0x8000u32), (0x204, 16), (0x208, 0x8100), (0x20c, 16)] {
        guest.put(at, &value.to_le_bytes());
    }
    (guest, disk)
}

fn run(guest: &mut Guest, function: &Function, arguments: &[u64]) -> Result<(), Error> {
    let mut result = Ok(());
    let len = guest.memory().len();
    let base = guest.memory().as_mut_ptr();
    // SAFETY: the memory lives in `guest`, which outlives the call.
    let mem = unsafe { GuestMemory::from_raw(base, len) };
    if function.name != "proc_exit" {
        result = functions::call(&guest.ctx, function.number, &mem, arguments);
        assert!(!matches!(result, Err(Error::Ending(_))), "{} {arguments:x?}", function.name);
    }
    result
}

#[test]
fn the_table_is_complete() {
    let of = |module| functions::all().filter(|it| it.module == module).count();
    assert_eq!((of(p1::MODULE), of(p0::MODULE), of(ext::MODULE)), (46, 46, 3));
    for (back, function) in &cases() {
        let arguments = plain(function);
        assert_eq!(arguments.len(), function.params.len());
        // Whatever it answers to well-formed arguments, it is no missing function.
        let result = run(&mut fresh(*back).0, function, &arguments);
        assert_ne!(result, Err(Error::Errno(Errno::Nosys)), "{}", function.name);
    }
}

#[test]
fn bad_descriptors_are_ebadf() {
    for (back, function) in &cases() {
        for (index, param) in function.params.iter().enumerate() {
            if !is_fd(param) {
                continue;
            }
            for fd in [4u64, 100, u64::from(u32::MAX), 1 << 31] {
                let (mut guest, _host) = fresh(*back);
                let mut arguments = plain(function);
                arguments[index] = fd;
                let expected = Err(Error::Errno(Errno::Badf));
                assert_eq!(run(&mut guest, function, &arguments), expected, "{}", function.name);
            }
        }
    }
}

/// The errno of every function with every kind of descriptor, as somebody has
/// reviewed it: one line for each, on a memory directory after a slash where
/// it is another.
const REVIEWED: &str = include_str!("support/errnos.txt");

#[test]
fn every_descriptor_has_its_reviewed_errno() {
    let kinds = [
        ("stdin", 0),
        ("stdout", 1),
        ("preopen", u64::from(ROOT)),
        ("file", 4),
        ("directory", 5),
        ("closed", 6),
        ("highest", u64::from(u32::MAX)),
    ];
    let answer = |back, function: &Function, index: usize, fd| {
        let (mut guest, _disk) = fresh(back);
        let file = guest.open("f", Oflags::empty(), READ_WRITE).unwrap();
        let dir = guest.open_dir("d").unwrap();
        let closed = guest.open("f", Oflags::empty(), READ).unwrap();
        guest.close(closed).unwrap();
        assert_eq!((file, dir, closed), (4, 5, 6));
        let mut arguments = plain(function);
        arguments[index] = fd;
        match run(&mut guest, function, &arguments) {
            Ok(()) => "ok".to_owned(),
            Err(Error::Errno(errno)) => errno.to_string(),
            Err(other) => panic!("{}: {other:?}", function.name),
        }
    };
    let mut table = String::new();
    for (_, function) in cases().iter().filter(|(back, _)| *back == Back::Host) {
        for (index, param) in function.params.iter().enumerate() {
            if !is_fd(param) {
                continue;
            }
            let errnos = kinds.map(|(kind, fd)| {
                let host = answer(Back::Host, function, index, fd);
                let memory = answer(Back::Memory, function, index, fd);
                if host == memory { format!(" {kind}={host}") } else { format!(" {kind}={host}/{memory}") }
            });
            let module = if function.module == p0::MODULE { "p0 " } else { "" };
            let name = function.name;
            table.push_str(&format!("{module}{name} {}:{}\n", param.name, errnos.concat()));
        }
    }
    for (ours, reviewed) in table.lines().zip(REVIEWED.lines()) {
        assert_eq!(ours, reviewed);
    }
    assert_eq!(table, REVIEWED, "lines are missing, or are too many");
}

#[test]
fn every_descriptor_is_safe_everywhere() {
    for (back, function) in &cases() {
        for (index, param) in function.params.iter().enumerate() {
            if !is_fd(param) {
                continue;
            }
            for fd in 0..7u64 {
                let (mut guest, _host) = fresh(*back);
                let file = guest.open("f", Oflags::empty(), READ_WRITE).unwrap();
                let dir = guest.open_dir("d").unwrap();
                let closed = guest.open("f", Oflags::empty(), READ).unwrap();
                guest.close(closed).unwrap();
                assert_eq!((file, dir, closed), (4, 5, 6));
                let mut arguments = plain(function);
                arguments[index] = fd;
                let result = run(&mut guest, function, &arguments);
                assert!(fd != 6 || result == Err(Error::Errno(Errno::Badf)), "{}", function.name);
            }
        }
    }
}

/// With one pointer at the end of memory a call fails with EFAULT unless it
/// had another reason first, and changes no byte and no file.
#[test]
fn pointers_beyond_memory_fault() {
    let beyond =
        [MEMORY as u64, MEMORY as u64 - 1, MEMORY as u64 - 3, u64::from(u32::MAX) - 3, u64::from(u32::MAX)];
    for (back, function) in &cases() {
        for (index, param) in function.params.iter().enumerate() {
            if !is_pointer(param) || plain(function)[index] == 0 {
                continue;
            }
            for address in beyond {
                for fd in [0, 1, u64::from(ROOT), 4] {
                    let (mut guest, host) = fresh(*back);
                    guest.open("f", Oflags::empty(), READ_WRITE).unwrap();
                    let mut arguments = plain(function);
                    arguments[index] = address;
                    for (value, param) in arguments.iter_mut().zip(function.params) {
                        if is_fd(param) {
                            *value = fd;
                        }
                    }
                    if address < MEMORY as u64 && is_text(param) {
                        continue; // one byte of path does fit there
                    }
                    let memory = guest.memory().to_vec();
                    let result = run(&mut guest, function, &arguments);
                    let what = format!("{} {arguments:x?}", function.name);
                    assert!(result.is_err(), "{what}");
                    let sizes = function.name.ends_with("sizes_get");
                    assert!(sizes || guest.memory() == memory, "{what} wrote");
                    assert_eq!(host.read("f"), b"text", "{what}");
                    let names = host.paths("").len();
                    assert_eq!(names, 2, "{what}");
                }
            }
        }
    }
}

/// The arguments that are a text, each with that of its length.
fn texts(function: &Function) -> Vec<usize> {
    (0..function.params.len()).filter(|at| is_text(&function.params[*at])).collect()
}

/// A call with this text for one of its paths, in a world with a chain of
/// links to a directory that has the file as well.
fn with_text(back: Back, function: &Function, at: usize, text: &[u8]) -> Result<(), Error> {
    const TEXT: u32 = 0x4_0000;
    let (mut guest, disk) = fresh(back);
    disk.write("d/f", b"text");
    if text.starts_with(b"l") {
        disk.symlink("d", "l0");
        for number in 1..60 {
            disk.symlink(format!("l{}", number - 1), &format!("l{number}"));
        }
    }
    guest.put(TEXT, text);
    let mut arguments = plain(function);
    arguments[at] = u64::from(TEXT);
    arguments[at + 1] = text.len() as u64;
    run(&mut guest, function, &arguments)
}

#[test]
fn bad_texts_have_their_errno_in_every_call() {
    let bad: [(&[u8], Errno); 10] = [
        (b"", Errno::Noent),
        (b"\0", Errno::Inval),
        (b"f\0", Errno::Inval),
        (b"f\xff", Errno::Ilseq),
        (b"\xc0\xae\xc0\xae/f", Errno::Ilseq),
        (b"/f", Errno::Notcapable),
        (b"../f", Errno::Notcapable),
        (&[b'f'; 64 << 10], Errno::Nametoolong),
        (&[b'f'; 300], Errno::Nametoolong),
        (b"l59/f", Errno::Loop),
    ];
    openat2::with_and_without(|| {
        for (back, function) in &cases() {
            for at in texts(function) {
                for (text, errno) in bad {
                    // What a link says and what a program is called are no paths
                    // of this program's.
                    let named = match (function.params[at].name, errno) {
                        ("old_path", _) if function.name == "path_symlink" => match errno {
                            Errno::Loop => continue,
                            Errno::Notcapable if text[0] == b'.' => continue,
                            Errno::Notcapable => Errno::Perm,
                            Errno::Nametoolong if text.len() == 300 => continue,
                            errno => errno,
                        },
                        ("name", Errno::Inval | Errno::Ilseq | Errno::Nametoolong) if text.len() > 4096 => {
                            errno
                        }
                        ("name", _) => Errno::Noent,
                        (_, errno) => errno,
                    };
                    assert_eq!(
                        with_text(*back, function, at, text),
                        Err(Error::Errno(named)),
                        "{} {} {:?} on {back:?}",
                        function.name,
                        function.params[at].name,
                        text.escape_ascii().to_string().get(..40.min(text.len())),
                    );
                }
            }
        }
    });
}

/// 2,047 components that lead nowhere change nothing, and neither do 30 links.
#[test]
fn a_long_way_is_as_good_as_a_short_one() {
    let slow = format!("{}f", "./".repeat(2047));
    openat2::with_and_without(|| {
        for (back, function) in &cases() {
            for at in texts(function) {
                if function.params[at].name == "name" || function.name == "path_rename" {
                    continue; // no path; and who renames f to d/f has another file there
                }
                let short = with_text(*back, function, at, b"f");
                let what = format!("{} on {back:?}", function.name);
                assert_eq!(with_text(*back, function, at, slow.as_bytes()), short, "{what}");
                assert_eq!(with_text(*back, function, at, b"l30/f"), short, "{what}");
            }
        }
    });
}

/// Buffers may lie over each other and over the list that names them.
#[test]
fn overlapping_buffers_get_what_comes_last() {
    for back in [Back::Host, Back::Memory] {
        let (mut guest, _disk) = fresh(back);
        let fd = guest.open("f", Oflags::empty(), READ_WRITE).unwrap();
        let mut read = |buffers: &[(u32, u32)]| {
            for (at, (address, len)) in (0x200..).step_by(8).zip(buffers) {
                guest.put(at, &address.to_le_bytes());
                guest.put(at + 4, &len.to_le_bytes());
            }
            let count = buffers.len() as u32;
            guest.call(|ctx, mem| p1::fd_pread(ctx, mem, fd, 0x200, count, 0, 0x300))?;
            Ok::<_, Errno>((guest.u32(0x300), guest.bytes(0x200, 4).to_vec()))
        };
        assert_eq!(read(&[(0x200, 2), (0x201, 2)]).unwrap(), (4, b"txt\0".to_vec()));
        assert_eq!(read(&[(0x200, 4), (0x200, 0)]), Ok((4, b"text".to_vec())));
        assert_eq!(read(&[(0x202, 1), (0x200, 1), (0x203, 1), (0x201, 1)]), Ok((4, b"ettx".to_vec())));
    }
}

#[test]
fn absurd_lengths_are_refused_or_harmless() {
    for (back, function) in &cases() {
        for (index, param) in function.params.iter().enumerate() {
            if !is_length(param) {
                continue;
            }
            for len in [0, 1, 3, 0xffff, MEMORY as u64, u64::from(u32::MAX), 0x2000_0001] {
                let (mut guest, _host) = fresh(*back);
                let mut arguments = plain(function);
                arguments[index] = len;
                let result = run(&mut guest, function, &arguments);
                assert!(len <= 0xffff || result.is_err(), "{} {len}", function.name);
            }
        }
    }
}

#[test]
fn misaligned_pointers_are_accepted() {
    for (back, function) in &cases() {
        if ["fd_close", "fd_renumber", "proc_exit"].contains(&function.name) {
            continue;
        }
        let aligned = plain(function);
        let expected = run(&mut fresh(*back).0, function, &aligned);
        for (index, param) in function.params.iter().enumerate() {
            // Results only: what is read must stay where it is.
            if is_pointer(param) && aligned[index] >= 0x1000 {
                for address in [aligned[index] + 1, aligned[index] + 3, 0, 1] {
                    let mut arguments = aligned.clone();
                    arguments[index] = address;
                    let result = run(&mut fresh(*back).0, function, &arguments);
                    assert_eq!(result, expected, "{} {}", function.name, param.name);
                }
            }
        }
    }
}

/// The largest memory there is: results that end where addresses end.
#[test]
fn the_last_bytes_of_four_gibibytes() {
    const LEN: usize = 1 << 32;
    let (guest, _host) = fresh(Back::Host);
    let ctx = &guest.ctx;
    // SAFETY: a private mapping of our own, unmapped at the end; untouched
    // pages take no memory.
    let base = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        libc::mmap(std::ptr::null_mut(), LEN, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
    };
    assert_ne!(base, libc::MAP_FAILED);
    // SAFETY: as above.
    let mem = unsafe { GuestMemory::from_raw(base.cast(), LEN) };
    let end = |len: u32| 0u32.wrapping_sub(len);
    // All zero is a clock that strikes at once.
    p1::poll_oneoff(ctx, &mem, end(48), 0x1000, 1, 16).unwrap();
    for len in [1, 24, 25, 60, 200] {
        p1::fd_readdir(ctx, &mem, ROOT, end(len), len, 0, 16).unwrap();
    }
    p1::poll_oneoff(ctx, &mem, 0x3000, end(32), 1, 16).unwrap();
    p1::args_get(ctx, &mem, end(8), 0x1000).unwrap();
    p1::args_get(ctx, &mem, 0x1000, end(17)).unwrap();
    p1::random_get(ctx, &mem, end(100_000), 100_000).unwrap();
    p1::fd_prestat_get(ctx, &mem, ROOT, end(8)).unwrap();
    p1::fd_write(ctx, &mem, 1, end(8), 1, 16).unwrap();
    p1::clock_time_get(ctx, &mem, 0, 0, end(8)).unwrap();
    for result in [
        p1::random_get(ctx, &mem, end(100), 101),
        p1::random_get(ctx, &mem, 2, u32::MAX),
        p1::fd_read(ctx, &mem, 0, end(4), 1, 16),
        p1::fd_seek(ctx, &mem, ROOT, 0, 0, end(7)),
    ] {
        assert_eq!(result, Err(Error::Errno(Errno::Fault)));
    }
    // SAFETY: nothing uses the mapping any more.
    unsafe { libc::munmap(base, LEN) };
}

/// Unknown bits and values of every flag word and enumeration.
#[test]
fn unknown_flags_are_einval() {
    for (back, function) in &cases() {
        for (index, param) in function.params.iter().enumerate() {
            if !matches!(param.kind, Kind::Encoded(_)) {
                continue;
            }
            for value in [0x100u64, 0x1_0000, 0x8000_0000, u64::from(u32::MAX)] {
                let (mut guest, _host) = fresh(*back);
                let mut arguments = plain(function);
                arguments[index] = value;
                let expected = Err(Error::Errno(Errno::Inval));
                assert_eq!(run(&mut guest, function, &arguments), expected, "{}", function.name);
            }
        }
    }
}

/// Results may lie over the arguments they come from.
#[test]
fn results_over_arguments_are_defined() {
    for (back, function) in &cases() {
        for address in [0x100u64, 0x200, 0x8000] {
            let (mut guest, _host) = fresh(*back);
            let mut arguments = plain(function);
            for (value, param) in arguments.iter_mut().zip(function.params) {
                if is_pointer(param) && *value >= 0x1000 {
                    *value = address;
                }
            }
            let _ = run(&mut guest, function, &arguments);
        }
    }
}
