//! Files and directories as a POSIX program expects them.

mod support;

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use support::*;
use wasi::{Errno, Fdflags, GuestMemory, Oflags, Perms, Rights, Stdio, WasiCtx, WasiLimits, p1};

const CREAT: Oflags = Oflags::CREAT;
const NONE: Oflags = Oflags::empty();
const REGULAR: u8 = 4;
const DIRECTORY: u8 = 3;
const SYMLINK: u8 = 7;

#[test]
fn what_is_written_is_read() {
    on_each(|back| {
        let (mut guest, host) = guest_on(back);
        guest.write_file("f", b"hello").unwrap();
        assert_eq!(guest.read_file("f"), Ok(b"hello".to_vec()));
        assert_eq!(host.read("f"), b"hello");
    });
}

#[test]
fn positions_move_as_in_posix() {
    on_each(|back| {
        let (mut guest, _host) = guest_on(back);
        let fd = guest.open("f", CREAT, READ_WRITE).unwrap();
        assert_eq!(guest.write(fd, b"0123456789"), Ok(10));
        assert_eq!(guest.seek(fd, -3, 2), Ok(7));
        assert_eq!(guest.read(fd, 10), Ok(b"789".to_vec()));
        assert_eq!(guest.read(fd, 10), Ok(vec![]));
        assert_eq!(guest.seek(fd, 2, 0), Ok(2));
        assert_eq!(guest.seek(fd, 2, 1), Ok(4));
        assert_eq!(guest.seek(fd, -5, 1), Err(Errno::Inval));
        assert_eq!(guest.seek(fd, i64::MIN, 0), Err(Errno::Inval));
        assert_eq!(guest.seek(fd, 0, 3), Err(Errno::Inval));
        assert_eq!(guest.seek(fd, 0, 1), Ok(4));
        assert_eq!(guest.pread(fd, 3, 1), Ok(b"123".to_vec()));
        assert_eq!(guest.pwrite(fd, b"xy", 8), Ok(2));
        assert_eq!(guest.seek(fd, 0, 1), Ok(4), "pread and pwrite leave the position alone");
        assert_eq!(guest.pread(fd, 20, 0), Ok(b"01234567xy".to_vec()));
        assert_eq!(guest.pread(fd, 1, u64::MAX), Err(Errno::Inval));
    });
}

#[test]
fn threads_that_read_one_file_get_each_byte_once() {
    const BYTES: usize = 40_000;
    on_each(|back| {
        let (mut guest, disk) = guest_on(back);
        let whole: Vec<u8> = (0..BYTES / 2).flat_map(|i| (i as u16).to_le_bytes()).collect();
        disk.write("f", &whole);
        let fd = guest.open("f", NONE, READ_WRITE).unwrap();
        let ctx = &guest.ctx;
        let reader = move || {
            let mut memory = vec![0u8; 4096];
            // SAFETY: the memory outlives the view.
            let mem = unsafe { GuestMemory::from_raw(memory.as_mut_ptr(), memory.len()) };
            let mut seen = Vec::new();
            loop {
                mem.write_u32(64, 128).unwrap();
                mem.write_u32(68, 2).unwrap();
                p1::fd_read(ctx, &mem, fd, 64, 1, 16).unwrap();
                if mem.read_u32(16) == Ok(0) {
                    return seen;
                }
                seen.push(mem.read_u16(128).unwrap());
            }
        };
        let mut all: Vec<u16> = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..3).map(|_| scope.spawn(reader)).collect();
            readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect()
        });
        all.sort_unstable();
        assert_eq!(all, (0..BYTES as u16 / 2).collect::<Vec<_>>());
        assert_eq!(guest.seek(fd, 0, 1), Ok(BYTES as u64));
    });
}

#[test]
fn appending_moves_the_position_to_the_end() {
    on_each(|back| {
        let (mut guest, _host) = guest_on(back);
        guest.write_file("f", b"0123456789").unwrap();
        let fd = guest.open("f", NONE, READ_WRITE).unwrap();
        assert_eq!(guest.seek(fd, 3, 0), Ok(3));
        let append = Fdflags::APPEND.bits().into();
        guest.call(|ctx, mem| p1::fd_fdstat_set_flags(ctx, mem, fd, append)).unwrap();
        assert_eq!(guest.seek(fd, 0, 1), Ok(3));
        assert_eq!(guest.write(fd, b"ab"), Ok(2));
        assert_eq!(guest.seek(fd, 0, 1), Ok(12));
        assert_eq!(guest.read(fd, 5), Ok(vec![]));
        assert_eq!(guest.seek(fd, -4, 1), Ok(8));
        assert_eq!(guest.read(fd, 3), Ok(b"89a".to_vec()));
        guest.call(|ctx, mem| p1::fd_fdstat_set_flags(ctx, mem, fd, 0)).unwrap();
        assert_eq!(guest.write(fd, b"X"), Ok(1));
        assert_eq!(guest.read_file("f"), Ok(b"0123456789aX".to_vec()));
    });
}

#[test]
fn append_ignores_the_position_and_can_be_turned_off() {
    on_each(|back| {
        let (mut guest, _host) = guest_on(back);
        let fd =
            guest.open_with(ROOT, "f", FOLLOW, CREAT, READ_WRITE, Rights::empty(), Fdflags::APPEND).unwrap();
        guest.write(fd, b"one").unwrap();
        guest.seek(fd, 0, 0).unwrap();
        guest.write(fd, b"two").unwrap();
        assert_eq!(guest.pread(fd, 10, 0), Ok(b"onetwo".to_vec()));
        assert_eq!(guest.fdstat(fd).unwrap().1, Fdflags::APPEND.bits());
        guest.call(|ctx, mem| p1::fd_fdstat_set_flags(ctx, mem, fd, 0)).unwrap();
        guest.seek(fd, 0, 0).unwrap();
        guest.write(fd, b"X").unwrap();
        assert_eq!(guest.pread(fd, 10, 0), Ok(b"Xnetwo".to_vec()));
        assert_eq!(
            guest.call(|ctx, mem| p1::fd_fdstat_set_flags(ctx, mem, fd, 16)),
            Err(Errno::Notsup),
            "an open file cannot become synchronous"
        );
        assert_eq!(guest.call(|ctx, mem| p1::fd_fdstat_set_flags(ctx, mem, fd, 32)), Err(Errno::Inval));
    });
}

#[test]
fn open_flags() {
    on_each(|back| {
        let (mut guest, _host) = guest_on(back);
        assert_eq!(guest.open("f", NONE, READ), Err(Errno::Noent));
        assert!(guest.open("f", CREAT | Oflags::EXCL, READ).is_ok());
        assert_eq!(guest.open("f", CREAT | Oflags::EXCL, READ), Err(Errno::Exist));
        assert_eq!(guest.open("f", Oflags::DIRECTORY, READ), Err(Errno::Notdir));
        guest.write_file("f", b"text").unwrap();
        guest.open("f", CREAT, READ).unwrap();
        assert_eq!(guest.stat("f").unwrap().size, 4);
        guest.open("f", Oflags::TRUNC, Rights::empty()).unwrap();
        assert_eq!(guest.stat("f").unwrap().size, 0);
        guest.mkdir("d").unwrap();
        assert_eq!(guest.open("d", Oflags::DIRECTORY, READ_WRITE), Err(Errno::Isdir));
        assert_eq!(guest.open("d", NONE, READ_WRITE), Err(Errno::Isdir));
        assert_eq!(guest.open("d", CREAT | Oflags::DIRECTORY, READ), Err(Errno::Inval));
        assert_eq!(guest.open("d", Oflags::DIRECTORY | Oflags::TRUNC, READ), Err(Errno::Isdir));
        assert!(guest.open(".", NONE, READ).is_ok());
        guest.symlink("f", "l").unwrap();
        assert_eq!(guest.open("l", CREAT | Oflags::EXCL, READ), Err(Errno::Exist));
        let nofollow = |guest: &mut Guest, name: &str, oflags| {
            guest.open_with(ROOT, name, 0, oflags, READ, Rights::empty(), Fdflags::empty())
        };
        assert_eq!(nofollow(&mut guest, "l", NONE), Err(Errno::Loop));
        guest.symlink("d", "ld").unwrap();
        assert!(matches!(nofollow(&mut guest, "ld", Oflags::DIRECTORY), Err(Errno::Loop | Errno::Notdir)));
        assert!(guest.open_dir("ld").is_ok());
    });
}

#[test]
fn a_file_opened_one_way_is_ebadf_the_other() {
    on_each(|back| {
        let (mut guest, _host) = guest_on(back);
        guest.write_file("f", b"x").unwrap();
        let reader = guest.open("f", NONE, Rights::FD_READ).unwrap();
        assert_eq!(guest.write(reader, b"y"), Err(Errno::Badf));
        let writer = guest.open("f", NONE, Rights::FD_WRITE).unwrap();
        assert_eq!(guest.read(writer, 1), Err(Errno::Badf));
        let neither = guest.open("f", NONE, Rights::empty()).unwrap();
        assert_eq!(guest.write(neither, b"y"), Err(Errno::Badf));
        assert!(guest.read(neither, 1).is_err());
    });
}

#[test]
fn directories_are_not_files() {
    on_each(|back| {
        let (mut guest, _host) = guest_on(back);
        for fd in [ROOT, guest.open(".", NONE, READ).unwrap(), guest.open_dir(".").unwrap()] {
            assert_eq!(guest.read(fd, 1), Err(Errno::Isdir));
            assert_eq!(guest.write(fd, b"x"), Err(Errno::Isdir));
            assert_eq!(guest.pread(fd, 1, 0), Err(Errno::Isdir));
            assert_eq!(guest.seek(fd, 0, 1), Err(Errno::Isdir));
            assert!(guest.call(|ctx, mem| p1::fd_allocate(ctx, mem, fd, 0, 1)).is_err());
            assert!(guest.call(|ctx, mem| p1::fd_filestat_set_size(ctx, mem, fd, 0)).is_err());
            let (filetype, _, base, _) = guest.fdstat(fd).unwrap();
            assert_eq!(filetype, DIRECTORY);
            assert!(!base.intersects(Rights::FD_SEEK | Rights::FD_READ));
        }
        // Directories can be synced, as databases do.
        guest.call(|ctx, mem| p1::fd_sync(ctx, mem, ROOT)).unwrap();
    });
}

#[test]
fn sizes_and_allocation() {
    on_each(|back| {
        let (mut guest, _host) = guest_on(back);
        let fd = guest.open("f", CREAT, READ_WRITE).unwrap();
        guest.call(|ctx, mem| p1::fd_filestat_set_size(ctx, mem, fd, 100)).unwrap();
        assert_eq!(guest.fstat(fd).unwrap().size, 100);
        guest.call(|ctx, mem| p1::fd_allocate(ctx, mem, fd, 50, 100)).unwrap();
        assert_eq!(guest.fstat(fd).unwrap().size, 150);
        guest.call(|ctx, mem| p1::fd_allocate(ctx, mem, fd, 0, 10)).unwrap();
        assert_eq!(guest.fstat(fd).unwrap().size, 150);
        assert!(guest.call(|ctx, mem| p1::fd_filestat_set_size(ctx, mem, fd, u64::MAX)).is_err());
        assert_eq!(guest.call(|ctx, mem| p1::fd_allocate(ctx, mem, fd, 0, 0)), Err(Errno::Inval));
        for advice in 0..6 {
            guest.call(|ctx, mem| p1::fd_advise(ctx, mem, fd, 0, 10, advice)).unwrap();
        }
        assert_eq!(guest.call(|ctx, mem| p1::fd_advise(ctx, mem, fd, 0, 10, 6)), Err(Errno::Inval));
        assert_eq!(guest.call(|ctx, mem| p1::fd_advise(ctx, mem, fd, u64::MAX, 10, 0)), Err(Errno::Inval));
    });
}

#[test]
fn times_are_set_kept_and_now() {
    on_each(|back| {
        const SECOND: u64 = 1_000_000_000;
        let (mut guest, host) = guest_on(back);
        guest.write_file("f", b"x").unwrap();
        guest.symlink("f", "l").unwrap();
        guest.mkdir("d").unwrap();
        guest.write_file("d/g", b"x").unwrap();
        for path in ["f", "d/g", "d"] {
            guest.set_times(path, 0, 1, 2 * SECOND + 5, 1 | 4).unwrap();
            let stat = guest.stat(path).unwrap();
            assert_eq!((stat.atim, stat.mtim), (1, 2 * SECOND + 5), "{path}");
            guest.set_times(path, 0, 0, 7, 4).unwrap();
            let stat = guest.stat(path).unwrap();
            assert_eq!((stat.atim, stat.mtim), (1, 7), "{path}");
            guest.set_times(path, 0, 9, 9, 8).unwrap();
            let stat = guest.stat(path).unwrap();
            assert!(stat.atim == 1 && stat.mtim > 1_000_000 * SECOND, "{path}");
        }
        guest.set_times("l", FOLLOW, 3, 3, 5).unwrap();
        assert_eq!(guest.stat("f").unwrap().mtim, 3);
        guest.set_times("l", 0, 4, 4, 5).unwrap();
        assert_eq!((guest.stat("f").unwrap().mtim, guest.lstat("l").unwrap().mtim), (3, 4));
        assert_eq!(guest.set_times("f", 0, 1, 1, 3), Err(Errno::Inval));
        assert_eq!(guest.set_times("missing", 0, 1, 1, 1), Err(Errno::Noent));
        assert_eq!(guest.set_times("f/", 0, 1, 1, 1), Err(Errno::Notdir));
        let fd = guest.open("f", NONE, READ_WRITE).unwrap();
        guest.call(|ctx, mem| p1::fd_filestat_set_times(ctx, mem, fd, 0, 11, 4)).unwrap();
        assert_eq!(guest.stat("f").unwrap().mtim, 11);
        if let Disk::Host(host) = &host {
            let metadata = std::fs::metadata(host.path().join("f")).unwrap();
            assert_eq!(metadata.mtime_nsec(), 11);
        }
    });
}

#[test]
fn links_and_renames() {
    on_each(|back| {
        let (mut guest, _host) = guest_on(back);
        guest.write_file("a", b"A").unwrap();
        guest.link("a", "b").unwrap();
        assert_eq!(guest.stat("a").unwrap().nlink, 2);
        assert_eq!(guest.stat("a").unwrap().ino, guest.stat("b").unwrap().ino);
        assert_eq!(guest.link("a", "b"), Err(Errno::Exist));
        guest.mkdir("d").unwrap();
        assert_eq!(guest.link("d", "e"), Err(Errno::Perm));
        guest.write_file("c", b"C").unwrap();
        guest.rename("c", "a").unwrap();
        assert_eq!(guest.read_file("a"), Ok(b"C".to_vec()));
        assert_eq!(guest.read_file("b"), Ok(b"A".to_vec()));
        assert_eq!(guest.stat("c"), Err(Errno::Noent));
        guest.rename("a", "d/a").unwrap();
        guest.rename("d", "e").unwrap();
        assert_eq!(guest.read_file("e/a"), Ok(b"C".to_vec()));
        assert_eq!(guest.rename("b", "e"), Err(Errno::Isdir));
        assert_eq!(guest.rename("e", "b"), Err(Errno::Notdir));
        guest.mkdir("empty").unwrap();
        assert_eq!(guest.rename("empty", "e"), Err(Errno::Notempty));
        guest.rename("e", "empty").unwrap();
        assert_eq!(guest.rmdir("empty"), Err(Errno::Notempty));
        assert_eq!(guest.unlink("empty"), Err(Errno::Isdir));
        assert_eq!(guest.rmdir("b"), Err(Errno::Notdir));
        guest.symlink("gone", "dangling").unwrap();
        guest.link("dangling", "dangling2").unwrap();
        assert_eq!(guest.lstat("dangling2").unwrap().filetype, SYMLINK);
    });
}

#[test]
fn symbolic_links() {
    on_each(|back| {
        let (mut guest, _host) = guest_on(back);
        guest.mkdir("d").unwrap();
        guest.mkdir("d/e").unwrap();
        guest.write_file("f", b"F").unwrap();
        guest.symlink("../../f", "d/e/up").unwrap();
        assert_eq!(guest.read_file("d/e/up"), Ok(b"F".to_vec()));
        assert_eq!(guest.readlink("d/e/up"), Ok("../../f".to_owned()));
        assert_eq!(guest.lstat("d/e/up").unwrap().filetype, SYMLINK);
        assert_eq!(guest.stat("d/e/up").unwrap().filetype, REGULAR);
        assert_eq!(guest.readlink("f"), Err(Errno::Inval));
        assert_eq!(guest.readlink("d"), Err(Errno::Inval));
        guest.symlink("loop", "loop").unwrap();
        assert_eq!(guest.stat("loop"), Err(Errno::Loop));
        assert_eq!(guest.read_file("loop"), Err(Errno::Loop));
        guest.symlink("new", "dangling").unwrap();
        assert_eq!(guest.stat("dangling"), Err(Errno::Noent));
        guest.write_file("dangling", b"made").unwrap();
        assert_eq!(guest.read_file("new"), Ok(b"made".to_vec()));
        assert_eq!(guest.symlink("/etc", "abs"), Err(Errno::Perm));
        assert_eq!(guest.symlink("x", "f"), Err(Errno::Exist));
    });
}

#[test]
fn readlink_cuts_to_the_buffer() {
    on_each(|back| {
        let (mut guest, _host) = guest_on(back);
        guest.symlink("0123456789", "l").unwrap();
        guest.put(0x1_0000, b"l");
        guest.call(|ctx, mem| p1::path_readlink(ctx, mem, ROOT, 0x1_0000, 1, 0x2_0000, 4, 16)).unwrap();
        assert_eq!(guest.u32(16), 4);
        assert_eq!(guest.bytes(0x2_0000, 6), b"0123\0\0");
    });
}

#[test]
fn a_trailing_slash_means_a_directory() {
    on_each(|back| {
        let (mut guest, _host) = guest_on(back);
        guest.write_file("f", b"x").unwrap();
        guest.mkdir("d").unwrap();
        guest.symlink("f", "lf").unwrap();
        guest.symlink("d", "ld").unwrap();

        assert_eq!(guest.open("f/", NONE, READ), Err(Errno::Notdir));
        assert_eq!(guest.open("lf/", NONE, READ), Err(Errno::Notdir));
        assert_eq!(guest.open("f///", NONE, READ), Err(Errno::Notdir));
        assert_eq!(guest.open("new/", CREAT, READ), Err(Errno::Isdir));
        assert!(guest.open("d/", NONE, Rights::FD_READ).is_ok());
        assert!(guest.open("ld/", NONE, Rights::FD_READ).is_ok());
        assert_eq!(guest.stat("f/"), Err(Errno::Notdir));
        assert_eq!(guest.lstat("ld/").unwrap().filetype, DIRECTORY);
        assert_eq!(guest.lstat("ld").unwrap().filetype, SYMLINK);
        assert_eq!(guest.lstat("lf/"), Err(Errno::Notdir));

        assert_eq!(guest.unlink("f/"), Err(Errno::Notdir));
        assert_eq!(guest.unlink("d/"), Err(Errno::Isdir));
        assert_eq!(guest.unlink("ld/"), Err(Errno::Notdir));
        assert_eq!(guest.unlink("none/"), Err(Errno::Noent));
        assert_eq!(guest.rmdir("f/"), Err(Errno::Notdir));
        assert_eq!(guest.rmdir("ld/"), Err(Errno::Notdir));
        assert_eq!(guest.rename("f/", "g"), Err(Errno::Notdir));
        assert_eq!(guest.rename("f", "g/"), Err(Errno::Notdir));
        assert_eq!(guest.link("f/", "g"), Err(Errno::Notdir));
        assert_eq!(guest.link("f", "g/"), Err(Errno::Noent));
        assert_eq!(guest.link("f", "d/"), Err(Errno::Exist));
        assert_eq!(guest.symlink("f", "g/"), Err(Errno::Noent));
        assert_eq!(guest.symlink("f", "d/"), Err(Errno::Exist));
        assert_eq!(guest.symlink("f", "f/"), Err(Errno::Exist));
        assert_eq!(guest.readlink("ld/"), Err(Errno::Inval));
        assert_eq!(guest.readlink("lf/"), Err(Errno::Notdir));

        guest.mkdir("made/").unwrap();
        guest.rename("made/", "moved/").unwrap();
        guest.rmdir("moved/").unwrap();
        assert_eq!(guest.mkdir("d/"), Err(Errno::Exist));
        assert_eq!(guest.names(ROOT).unwrap(), [".", "..", "d", "f", "ld", "lf"]);
    });
}

#[test]
fn listings_have_types_and_inodes() {
    on_each(|back| {
        let (mut guest, _host) = guest_on(back);
        guest.write_file("f", b"x").unwrap();
        guest.mkdir("d").unwrap();
        guest.symlink("f", "l").unwrap();
        let entries = guest.readdir(ROOT, 4096).unwrap();
        let types: BTreeSet<(&str, u8)> =
            entries.iter().map(|entry| (entry.name.as_str(), entry.filetype)).collect();
        let expected =
            [(".", DIRECTORY), ("..", DIRECTORY), ("d", DIRECTORY), ("f", REGULAR), ("l", SYMLINK)];
        assert_eq!(types, BTreeSet::from(expected));
        for entry in &entries {
            // The parent lies outside; nothing of it is told.
            let name = if entry.name == ".." { "." } else { entry.name.as_str() };
            assert_eq!(entry.ino, guest.lstat(name).unwrap().ino, "{}", entry.name);
        }
        let f = guest.open("f", NONE, Rights::PREOPEN_INHERITING - Rights::IMPLIES_WRITE).unwrap();
        assert_eq!(guest.readdir_once(f, 0, 100), Err(Errno::Notdir));
    });
}

#[test]
fn listings_are_whole_whatever_the_buffer() {
    on_each(|back| {
        let (mut guest, host) = guest_on(back);
        let mut expected = BTreeSet::from([".".to_owned(), "..".to_owned()]);
        for index in 0..3000 {
            let name = format!("file-{index}-{}", "x".repeat(index % 40));
            host.write(&name, b"");
            expected.insert(name);
        }
        for buf_len in [90, 128, 4096, 0x4_0000] {
            let entries = guest.readdir(ROOT, buf_len).unwrap();
            assert_eq!(entries.len(), expected.len(), "no name twice with {buf_len} bytes");
            let names: BTreeSet<String> = entries.into_iter().map(|entry| entry.name).collect();
            assert_eq!(names, expected);
        }
        // A buffer too small for any entry is filled, and nothing is lost.
        for buf_len in 0..24 {
            assert_eq!(guest.readdir_once(ROOT, 0, buf_len), Ok((vec![], buf_len)));
        }
    });
}

#[test]
fn cookies_come_back_to_where_they_were() {
    on_each(|back| {
        let (mut guest, host) = guest_on(back);
        for index in 0..500 {
            host.write(format!("{index}"), b"");
        }
        let all = guest.readdir(ROOT, 4096).unwrap();
        for at in [0, 1, 17, 250, 499] {
            let (after, _) = guest.readdir_once(ROOT, all[at].next, 200).unwrap();
            assert_eq!(after[0], all[at + 1]);
        }
        let other = guest.open_dir(".").unwrap();
        let (first, _) = guest.readdir_once(other, 0, 200).unwrap();
        assert_eq!(first[0], all[0], "each descriptor has a position of its own");
        assert!(guest.readdir_once(ROOT, u64::MAX, 200).is_err());
    });
}

#[test]
fn a_directory_may_change_while_it_is_listed() {
    on_each(|back| {
        let (mut guest, host) = guest_on(back);
        for index in 0..1000 {
            host.write(format!("{index}"), b"");
        }
        let (mut cookie, mut seen) = (0, Vec::new());
        loop {
            let (entries, used) = guest.readdir_once(ROOT, cookie, 300).unwrap();
            for entry in &entries {
                if entry.name != "." && entry.name != ".." {
                    guest.unlink(entry.name.as_str()).unwrap();
                }
                seen.push(entry.name.clone());
            }
            cookie = entries.last().map_or(cookie, |entry| entry.next);
            if used < 300 {
                break;
            }
        }
        assert_eq!(seen.len(), 1002, "rm -r sees every name once");
        assert_eq!(guest.names(ROOT).unwrap(), [".", ".."], "rewinding sees what there is now");
        host.write("new", b"");
        assert_eq!(guest.names(ROOT).unwrap(), [".", "..", "new"]);
    });
}

#[test]
fn preopens_are_found_by_name() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut guest = Guest::with(
        WasiCtx::builder().preopen(preopen(one.path(), "/one", Perms::READ_WRITE)).preopen(preopen(
            two.path(),
            "two/äö",
            Perms::READ_ONLY,
        )),
    );
    for (fd, name) in [(3, "/one"), (4, "two/äö")] {
        guest.call(|ctx, mem| p1::fd_prestat_get(ctx, mem, fd, 16)).unwrap();
        assert_eq!((guest.u32(16), guest.u32(20) as usize), (0, name.len()));
        let len = name.len() as u32;
        guest.call(|ctx, mem| p1::fd_prestat_dir_name(ctx, mem, fd, 64, len)).unwrap();
        assert_eq!(guest.bytes(64, name.len()), name.as_bytes());
        guest.call(|ctx, mem| p1::fd_prestat_dir_name(ctx, mem, fd, 64, len + 10)).unwrap();
        assert_eq!(
            guest.call(|ctx, mem| p1::fd_prestat_dir_name(ctx, mem, fd, 64, len - 1)),
            Err(Errno::Nametoolong)
        );
    }
    for fd in [0, 1, 2, 5, u32::MAX] {
        assert_eq!(guest.call(|ctx, mem| p1::fd_prestat_get(ctx, mem, fd, 16)), Err(Errno::Badf));
    }
}

/// The standard libraries of Go and Zig ask for rights as nobody reads them.
#[test]
fn what_is_asked_for_takes_no_right_from_a_directory() {
    on_each(|back| {
        let (mut guest, disk) = guest_on(back);
        disk.mkdir("d");
        disk.write("d/f", b"text");
        let zig = Rights::DIRECTORY;
        for (oflags, base, inheriting) in [
            (Oflags::DIRECTORY, zig, zig),
            (Oflags::DIRECTORY, Rights::empty(), Rights::empty()),
            (NONE, Rights::FD_READ, Rights::empty()),
            (NONE, Rights::empty(), Rights::empty()),
        ] {
            let flags = Fdflags::empty();
            let dir = guest.open_with(ROOT, "d", FOLLOW, oflags, base, inheriting, flags).unwrap();
            let beneath = |guest: &mut Guest, oflags, base| {
                guest.open_with(dir, "f", 0, oflags, base, Rights::empty(), flags)
            };
            let fd = beneath(&mut guest, NONE, READ).unwrap();
            assert_eq!(guest.read(fd, 4), Ok(b"text".to_vec()));
            let fd = beneath(&mut guest, CREAT | Oflags::TRUNC, READ_WRITE).unwrap();
            assert_eq!(guest.write(fd, b"text"), Ok(4));
            assert_eq!(guest.names(dir).unwrap(), [".", "..", "f"]);
            let (_, _, base, inheriting) = guest.fdstat(dir).unwrap();
            assert_eq!((base, inheriting), (Rights::DIRECTORY, Rights::PREOPEN_INHERITING));
        }
    });
}

/// But of a file it sets the access, and no more.
#[test]
fn what_is_asked_for_sets_a_files_access() {
    on_each(|back| {
        let (mut guest, disk) = guest_on(back);
        disk.write("f", b"text");
        let resize = |guest: &mut Guest, fd| guest.call(|ctx, mem| p1::fd_filestat_set_size(ctx, mem, fd, 2));
        let go = Rights::PREOPEN_INHERITING - Rights::FD_WRITE - Rights::FD_ALLOCATE;
        for rights in [Rights::FD_READ, go] {
            let fd = guest.open("f", NONE, rights).unwrap();
            assert_eq!(guest.seek(fd, 1, 0), Ok(1));
            assert_eq!(guest.read(fd, 4), Ok(b"ext".to_vec()));
            assert_eq!(guest.fstat(fd).unwrap().size, 4);
            assert_eq!(guest.write(fd, b"x"), Err(Errno::Badf));
            assert_eq!(resize(&mut guest, fd), Err(Errno::Inval));
            let (_, _, base, _) = guest.fdstat(fd).unwrap();
            assert_eq!(base, READ);
        }
        let fd = guest.open("f", NONE, Rights::FD_WRITE).unwrap();
        assert_eq!(guest.read(fd, 4), Err(Errno::Badf));
        resize(&mut guest, fd).unwrap();
        assert_eq!(disk.read("f"), b"te");
    });
}

#[test]
fn rights_that_were_given_away_are_gone_for_what_is_opened_beneath_too() {
    on_each(|back| {
        let (mut guest, _host) = guest_on(back);
        guest.write_file("f", b"text").unwrap();
        let reading = Rights::FD_READ | Rights::FD_SEEK | Rights::FD_TELL;
        let dir = guest.open_dir(".").unwrap();
        guest.set_rights(dir, Rights::PATH_OPEN | Rights::FD_READDIR, reading).unwrap();
        let beneath = |guest: &mut Guest, oflags, base| {
            guest.open_with(dir, "f", 0, oflags, base, Rights::empty(), Fdflags::empty())
        };
        let fd = beneath(&mut guest, NONE, reading).unwrap();
        assert_eq!(guest.read(fd, 4), Ok(b"text".to_vec()));
        assert_eq!(beneath(&mut guest, NONE, Rights::FD_WRITE), Err(Errno::Notcapable));
        assert_eq!(beneath(&mut guest, CREAT, reading), Err(Errno::Notcapable));
        assert_eq!(beneath(&mut guest, Oflags::TRUNC, reading), Err(Errno::Notcapable));
        assert_eq!(guest.stat_in(dir, "f", 0), Err(Errno::Notcapable));
        assert_eq!(guest.fstat(fd), Err(Errno::Notcapable));

        guest.set_rights(fd, Rights::FD_READ, Rights::empty()).unwrap();
        assert_eq!(guest.seek(fd, 0, 0), Err(Errno::Notcapable));
        assert_eq!(guest.read(fd, 4), Ok(vec![]));
        assert_eq!(guest.set_rights(fd, reading, Rights::empty()), Err(Errno::Notcapable));
        guest.set_rights(fd, Rights::empty(), Rights::empty()).unwrap();
        assert_eq!(guest.read(fd, 4), Err(Errno::Notcapable));
    });
}

#[test]
fn a_file_is_no_directory_to_path_calls() {
    on_each(|back| {
        let (mut guest, _host) = guest_on(back);
        guest.write_file("f", b"text").unwrap();
        for rights in [READ, Rights::PREOPEN_INHERITING - Rights::IMPLIES_WRITE] {
            let fd = guest.open("f", NONE, rights).unwrap();
            let opened =
                guest.open_with(fd, "g", 0, NONE, Rights::empty(), Rights::empty(), Fdflags::empty());
            assert_eq!(opened, Err(Errno::Notdir));
            assert_eq!(guest.stat_in(fd, "g", 0), Err(Errno::Notdir));
        }
        assert_eq!(guest.stat_in(1, "g", 0), Err(Errno::Notdir));
    });
}

#[test]
fn renumbering_moves_and_closes() {
    on_each(|back| {
        let (mut guest, _host) = guest_on(back);
        guest.write_file("a", b"A").unwrap();
        guest.write_file("b", b"B").unwrap();
        let a = guest.open("a", NONE, READ).unwrap();
        let b = guest.open("b", NONE, READ).unwrap();
        guest.renumber(a, a).unwrap();
        guest.renumber(a, b).unwrap();
        assert_eq!(guest.read(b, 1), Ok(b"A".to_vec()));
        assert_eq!(guest.read(a, 1), Err(Errno::Badf));
        assert_eq!(guest.renumber(a, b), Err(Errno::Badf));
        assert_eq!(guest.renumber(b, a), Err(Errno::Badf));
        assert_eq!(guest.renumber(b, u32::MAX), Err(Errno::Badf));
        assert_eq!(guest.read(b, 1), Ok(vec![]));
        let again = guest.open("a", NONE, READ).unwrap();
        assert_eq!(again, a, "the lowest free number is used");
        guest.renumber(again, ROOT).unwrap();
        assert_eq!(
            guest.call(|ctx, mem| p1::fd_prestat_get(ctx, mem, ROOT, 16)),
            Err(Errno::Badf),
            "a renumbered file does not become a preopen"
        );
    });
}

#[test]
fn nothing_is_left_open() {
    fn host_fds() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }
    // Other tests open files meanwhile, so measure in a process of its own.
    if std::env::var_os("WASI_FS_COUNT_FDS").is_none() {
        let this = std::env::current_exe().unwrap();
        let status = std::process::Command::new(this)
            .args(["--exact", "nothing_is_left_open", "--test-threads=1"])
            .env("WASI_FS_COUNT_FDS", "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let before = host_fds();
    {
        let (mut guest, _host) = guest();
        guest.write_file("f", b"x").unwrap();
        let open = host_fds();
        for round in 0..1000 {
            let a = guest.open("f", NONE, READ).unwrap();
            let b = guest.open_dir(".").unwrap();
            guest.readdir_once(b, 0, 100).unwrap();
            guest.renumber(a, b).unwrap();
            if round % 2 == 0 {
                guest.renumber(b, b).unwrap();
            }
            guest.close(b).unwrap();
        }
        assert_eq!(host_fds(), open);
        for _ in 0..100 {
            guest.open("f", NONE, READ).unwrap();
        }
    }
    assert_eq!(host_fds(), before);
}

#[test]
fn the_table_is_bounded() {
    let host = tempfile::tempdir().unwrap();
    let limits = wasi::WasiLimits { max_fds: 10, ..Default::default() };
    let mut guest =
        Guest::with(WasiCtx::builder().limits(limits).preopen(preopen(host.path(), "/", Perms::READ_WRITE)));
    for _ in 4..10 {
        guest.open("f", CREAT, READ).unwrap();
    }
    assert_eq!(guest.open("g", CREAT, READ), Err(Errno::Mfile));
    assert_eq!(guest.stat("g"), Err(Errno::Noent), "the refused open made no file");
    guest.close(5).unwrap();
    assert_eq!(guest.open("g", CREAT, READ), Ok(5));
}

#[test]
fn chunks_larger_than_any_buffer_and_many_iovecs() {
    on_each(|back| {
        let (mut guest, host) = guest_on(back);
        let pattern: Vec<u8> = (0..200_000u32).map(|index| (index * 7 % 251) as u8).collect();
        host.write("big", &pattern);
        let fd = guest.open("big", NONE, READ).unwrap();
        assert_eq!(guest.read(fd, 200_000), Ok(pattern.clone()));
        // 100 buffers of 1000 bytes, in reverse order in memory.
        for index in 0..100u32 {
            let address = 0x8_0000 + (99 - index) * 1000;
            guest.put(0x1000 + index * 8, &address.to_le_bytes());
            guest.put(0x1004 + index * 8, &1000u32.to_le_bytes());
        }
        guest.call(|ctx, mem| p1::fd_pread(ctx, mem, fd, 0x1000, 100, 5, 16)).unwrap();
        assert_eq!(guest.u32(16), 100_000);
        for index in 0..100 {
            let expected = &pattern[5 + index * 1000..5 + (index + 1) * 1000];
            assert_eq!(guest.bytes(0x8_0000 + (99 - index as u32) * 1000, 1000), expected);
        }
        let out = guest.open("out", CREAT, READ_WRITE).unwrap();
        guest.call(|ctx, mem| p1::fd_pwrite(ctx, mem, out, 0x1000, 100, 0, 16)).unwrap();
        assert_eq!(host.read("out"), pattern[5..100_005]);
        // More than the host takes in one call, or than the limit: a short one.
        for index in 0..3000u32 {
            guest.put(0x1000 + index * 8, &(0x8_0000 + index).to_le_bytes());
            guest.put(0x1004 + index * 8, &1u32.to_le_bytes());
        }
        let wide = WasiLimits { max_iovecs: 1 << 20, ..WasiLimits::default() };
        let narrow = WasiLimits { max_iovecs: 7, ..WasiLimits::default() };
        for (limits, on_host, in_memory) in
            [(WasiLimits::default(), 1024, 1024), (wide, 1024, 3000), (narrow, 7, 7)]
        {
            let builder = WasiCtx::builder().limits(limits);
            let mut guest_2 = Guest::with(host.mount(builder, "/", Perms::READ_WRITE));
            guest_2.memory().copy_from_slice(guest.bytes(0, MEMORY));
            let fd = guest_2.open("out", CREAT, READ_WRITE).unwrap();
            let expected = if back == Back::Host { on_host } else { in_memory };
            for call in [p1::fd_read, p1::fd_write] {
                guest_2.call(|ctx, mem| call(ctx, mem, fd, 0x1000, 3000, 16)).unwrap();
                assert_eq!(guest_2.u32(16), expected);
            }
            for call in [p1::fd_pread, p1::fd_pwrite] {
                guest_2.call(|ctx, mem| call(ctx, mem, fd, 0x1000, 3000, 0, 16)).unwrap();
                assert_eq!(guest_2.u32(16), expected);
            }
        }
        guest.call(|ctx, mem| p1::fd_read(ctx, mem, fd, 0, 0, 16)).unwrap();
        assert_eq!(guest.u32(16), 0);
        // With a limit of none nothing can be moved, which is no short read.
        let none = WasiCtx::builder().limits(WasiLimits { max_iovecs: 0, ..WasiLimits::default() });
        let mut guest = Guest::with(host.mount(none, "/", Perms::READ_WRITE));
        let fd = guest.open("out", CREAT, READ_WRITE).unwrap();
        assert_eq!(guest.read(fd, 4), Err(Errno::Inval));
        assert_eq!(guest.write(fd, b"text"), Err(Errno::Inval));
    });
}

#[test]
fn redirected_standard_streams_are_files() {
    use std::io::{Read, Seek, SeekFrom, Write};
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(b"from the host").unwrap();
    input.seek(SeekFrom::Start(0)).unwrap();
    let mut output = tempfile::tempfile().unwrap();
    let mut guest = Guest::with(
        WasiCtx::builder()
            .stdin(Stdio::Host(input.into()))
            .stdout(Stdio::Host(output.try_clone().unwrap().into())),
    );
    assert_eq!(guest.read(0, 4), Ok(b"from".to_vec()));
    assert_eq!(guest.seek(0, 5, 0), Ok(5));
    assert_eq!(guest.read(0, 100), Ok(b"the host".to_vec()));
    assert_eq!(guest.write(0, b"x"), Err(Errno::Notcapable));
    guest.write(1, b"to the host").unwrap();
    let mut written = String::new();
    output.seek(SeekFrom::Start(0)).unwrap();
    output.read_to_string(&mut written).unwrap();
    assert_eq!(written, "to the host");
    assert_eq!(guest.fdstat(1).unwrap().0, REGULAR);
    assert_eq!(guest.write(2, b"into the void"), Ok(13));
}
