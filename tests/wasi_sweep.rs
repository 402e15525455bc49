//! Every function with every kind of wrong argument, generated from the table
//! of functions: an errno, never a panic, and nothing written outside.

mod wasi_support;

use wasi_native::wasi::{
    Errno, Error, Grant, GuestMemory, Oflags, Perms, Policy, WasiCtx, ext, functions, p0, p1,
};
use wasi_support::{Back, Disk, Guest, MEMORY, READ, READ_WRITE, ROOT};

struct Function {
    number: usize,
    name: &'static str,
    arguments: Vec<&'static str>,
}

/// Everything on both back ends, but preview 0, which is mostly preview 1, on
/// one.
fn cases() -> Vec<(Back, Function)> {
    let mut cases = Vec::new();
    for (number, function) in functions::all().enumerate() {
        for back in [Back::Host, Back::Memory] {
            if function.module != p0::MODULE || back == Back::Memory {
                let function = Function {
                    number,
                    name: function.name,
                    arguments: function.params.iter().map(|param| param.name).collect(),
                };
                cases.push((back, function));
            }
        }
    }
    cases
}

fn is_fd(argument: &str) -> bool {
    matches!(argument, "fd" | "to" | "old_fd" | "new_fd")
}

fn is_pointer(argument: &str) -> bool {
    matches!(
        argument,
        "argv"
            | "argv_buf"
            | "argc"
            | "argv_buf_size"
            | "environ"
            | "environ_buf"
            | "environc"
            | "environ_buf_size"
            | "resolution"
            | "time"
            | "stat"
            | "buf"
            | "iovs"
            | "nread"
            | "nwritten"
            | "bufused"
            | "newoffset"
            | "offset"
            | "path"
            | "old_path"
            | "new_path"
            | "opened_fd"
            | "in_"
            | "out"
            | "nevents"
            | "result_fd"
            | "ri_data"
            | "ro_datalen"
            | "ro_flags"
            | "si_data"
            | "so_datalen"
            | "name"
            | "given_fd"
    )
}

fn is_length(argument: &str) -> bool {
    argument.ends_with("_len") || argument == "nsubscriptions"
}

/// A well-formed value for each argument: the preopen, a path "f", two empty
/// buffers, results in places of their own.
fn plain(function: &Function) -> Vec<u64> {
    let mut scratch = 0x1000;
    function
        .arguments
        .iter()
        .map(|&argument| match argument {
            argument if is_fd(argument) => u64::from(ROOT),
            "path" | "old_path" | "new_path" | "name" => 0x100,
            "path_len" | "old_path_len" | "new_path_len" | "name_len" => 1,
            // `offset` is a pointer in fd_tell alone.
            "offset" if function.name != "fd_tell" => 0,
            "iovs" | "ri_data" | "si_data" | "in_" => 0x200,
            argument if is_pointer(argument) => {
                scratch += 0x1000;
                scratch
            }
            "iovs_len" | "ri_data_len" | "si_data_len" => 2,
            "nsubscriptions" => 1,
            argument if is_length(argument) => 64,
            _ => 0,
        })
        .collect()
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
    for (at, value) in [
        (0x200, 0x8000u32),
        (0x204, 16),
        (0x208, 0x8100),
        (0x20c, 16),
    ] {
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
        assert!(
            !matches!(result, Err(Error::Exit(_) | Error::Interrupted)),
            "{} {arguments:x?}",
            function.name
        );
    }
    result
}

#[test]
fn the_table_is_complete() {
    let of = |module| functions::all().filter(|it| it.module == module).count();
    assert_eq!(
        (of(p1::MODULE), of(p0::MODULE), of(ext::MODULE)),
        (46, 46, 3)
    );
    for (back, function) in &cases() {
        let arguments = plain(function);
        assert_eq!(arguments.len(), function.arguments.len());
        // Whatever it answers to well-formed arguments, it is no missing function.
        let result = run(&mut fresh(*back).0, function, &arguments);
        assert_ne!(result, Err(Error::Errno(Errno::Nosys)), "{}", function.name);
    }
}

#[test]
fn bad_descriptors_are_ebadf() {
    for (back, function) in &cases() {
        for (index, argument) in function.arguments.iter().enumerate() {
            if !is_fd(argument) {
                continue;
            }
            for fd in [4u64, 100, u64::from(u32::MAX), 1 << 31] {
                let (mut guest, _host) = fresh(*back);
                let mut arguments = plain(function);
                arguments[index] = fd;
                let expected = Err(Error::Errno(Errno::Badf));
                assert_eq!(
                    run(&mut guest, function, &arguments),
                    expected,
                    "{}",
                    function.name
                );
            }
        }
    }
}

#[test]
fn every_descriptor_is_safe_everywhere() {
    for (back, function) in &cases() {
        for (index, argument) in function.arguments.iter().enumerate() {
            if !is_fd(argument) {
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
                assert!(
                    fd != 6 || result == Err(Error::Errno(Errno::Badf)),
                    "{}",
                    function.name
                );
            }
        }
    }
}

/// With one pointer at the end of memory a call fails with EFAULT unless it
/// had another reason first, and changes no byte and no file.
#[test]
fn pointers_beyond_memory_fault() {
    let beyond = [
        MEMORY as u64,
        MEMORY as u64 - 1,
        MEMORY as u64 - 3,
        u64::from(u32::MAX) - 3,
        u64::from(u32::MAX),
    ];
    for (back, function) in &cases() {
        for (index, argument) in function.arguments.iter().enumerate() {
            if !is_pointer(argument) || plain(function)[index] == 0 {
                continue;
            }
            for address in beyond {
                for fd in [0, 1, u64::from(ROOT), 4] {
                    let (mut guest, host) = fresh(*back);
                    guest.open("f", Oflags::empty(), READ_WRITE).unwrap();
                    let mut arguments = plain(function);
                    arguments[index] = address;
                    for (value, name) in arguments.iter_mut().zip(&function.arguments) {
                        if is_fd(name) {
                            *value = fd;
                        }
                    }
                    if address < MEMORY as u64
                        && (argument.ends_with("path") || *argument == "name")
                    {
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

#[test]
fn absurd_lengths_are_refused_or_harmless() {
    for (back, function) in &cases() {
        for (index, argument) in function.arguments.iter().enumerate() {
            if !is_length(argument) {
                continue;
            }
            for len in [
                0,
                1,
                3,
                0xffff,
                MEMORY as u64,
                u64::from(u32::MAX),
                0x2000_0001,
            ] {
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
        for (index, argument) in function.arguments.iter().enumerate() {
            // Results only: what is read must stay where it is.
            if is_pointer(argument) && aligned[index] >= 0x1000 {
                let mut arguments = aligned.clone();
                arguments[index] += 1;
                let result = run(&mut fresh(*back).0, function, &arguments);
                assert_eq!(result, expected, "{} {argument}", function.name);
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
        libc::mmap(
            std::ptr::null_mut(),
            LEN,
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            -1,
            0,
        )
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
        for (index, argument) in function.arguments.iter().enumerate() {
            let is_flag = matches!(
                *argument,
                "flags"
                    | "oflags"
                    | "fdflags"
                    | "dirflags"
                    | "old_flags"
                    | "fst_flags"
                    | "advice"
                    | "whence"
                    | "id"
                    | "ri_flags"
                    | "si_flags"
                    | "how"
                    | "operation"
                    | "events"
            );
            if !is_flag {
                continue;
            }
            for value in [0x100u64, 0x1_0000, 0x8000_0000, u64::from(u32::MAX)] {
                let (mut guest, _host) = fresh(*back);
                let mut arguments = plain(function);
                arguments[index] = value;
                let expected = Err(Error::Errno(Errno::Inval));
                assert_eq!(
                    run(&mut guest, function, &arguments),
                    expected,
                    "{}",
                    function.name
                );
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
            for (value, name) in arguments.iter_mut().zip(&function.arguments) {
                if is_pointer(name) && *value >= 0x1000 {
                    *value = address;
                }
            }
            let _ = run(&mut guest, function, &arguments);
        }
    }
}
