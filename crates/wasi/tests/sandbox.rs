//! Attacks that have to fail. Every one runs with `openat2` and, where the
//! kernel lets us refuse it to a thread, without: cap-std then walks paths by
//! hand, which is what happens on older kernels and under many sandboxes.

mod support;

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::*;
use wasi::{Errno, Fdflags, Oflags, Perms, Rights, WasiCtx, p1};

const NONE: Oflags = Oflags::empty();
const SECRET: &str = "the secret outside";

/// Runs a test wherever paths are resolved: by `openat2`, by cap-std, and in
/// memory.
fn everywhere(test: fn(Back)) {
    openat2::with_and_without(|| test(Back::Host));
    test(Back::Memory);
}

/// `outside/secret` beside `inside`, of which the guest gets the latter.
struct World {
    guest: Guest,
    disk: Disk,
}

fn world(back: Back) -> World {
    let disk = Disk::new(back);
    disk.mkdir("outside");
    disk.write("outside/secret", SECRET);
    disk.mkdir("inside/sub/deep");
    disk.write("inside/sub/file", "inside");
    let guest = match &disk {
        Disk::Host(host) => Guest::with(WasiCtx::builder().preopen(preopen(
            &host.path().join("inside"),
            "/",
            Perms::READ_WRITE,
        ))),
        // All of it is mounted; the guest is left with a part.
        Disk::Memory(_) => {
            let mut guest = disk.guest(Perms::READ_WRITE);
            let inside = guest.open_dir("inside").unwrap();
            guest.renumber(inside, ROOT).unwrap();
            guest
        }
    };
    World { guest, disk }
}

impl World {
    /// Everything beside the guest's directory, with contents and times.
    fn outside(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        self.disk.snapshot("outside")
    }
}

/// Tries every path call on one path. Whatever it leads to, it is not outside.
fn attack(guest: &mut Guest, path: &str) {
    for follow in [0, FOLLOW] {
        for oflags in [NONE, Oflags::DIRECTORY, Oflags::CREAT, Oflags::TRUNC] {
            for rights in [Rights::FD_READ | Rights::FD_READDIR, Rights::FD_WRITE] {
                let opened =
                    guest.open_with(ROOT, path, follow, oflags, rights, Rights::empty(), Fdflags::empty());
                let Ok(fd) = opened else { continue };
                if let Ok(bytes) = guest.read(fd, 100) {
                    assert_ne!(bytes, SECRET.as_bytes(), "{path}");
                }
                if let Ok((entries, _)) = guest.readdir_once(fd, 0, 4096) {
                    assert!(!entries.iter().any(|entry| entry.name == "secret"), "{path}");
                }
                guest.close(fd).unwrap();
            }
        }
        if let Ok(stat) = guest.stat_in(ROOT, path, follow) {
            assert_ne!(stat.size, SECRET.len() as u64, "{path}");
        }
        let _ = guest.set_times(path, follow, 1, 1, 5);
    }
    let _ = guest.readlink(path);
    let _ = guest.mkdir(format!("{path}/made"));
    let _ = guest.mkdir(path);
    let _ = guest.symlink("x", format!("{path}/made"));
    let _ = guest.symlink("x", path);
    let _ = guest.link("sub/file", &format!("{path}/made"));
    let _ = guest.link(&format!("{path}/secret"), "stolen");
    let _ = guest.link(path, "stolen");
    let _ = guest.rename("sub/file", &format!("{path}/made"));
    let _ = guest.rename(&format!("{path}/secret"), "stolen");
    let _ = guest.unlink(format!("{path}/secret"));
    let _ = guest.rmdir(path);
    if let Ok(stolen) = guest.read_file("stolen") {
        assert_ne!(stolen, SECRET.as_bytes(), "{path}");
    }
    let _ = guest.unlink("stolen");
}

#[test]
fn links_do_not_lead_out() {
    everywhere(|back| {
        let targets = |outside: &str| {
            ["../outside", "../outside/", "../outside//", "../outside/.", "sub/../../outside"]
                .map(str::to_owned)
                .into_iter()
                .chain([outside.to_owned(), format!("{outside}/")])
                .collect::<Vec<_>>()
        };
        for number in 0..targets("").len() {
            for suffix in ["", "/", "//", "/.", "/./", "/secret", "//secret", "/./secret", "/.."] {
                let mut world = world(back);
                let outside = world.disk.absolute("outside");
                let target = &targets(&outside)[number];
                world.disk.symlink(target, "inside/link");
                let up = format!("../{target}");
                world.disk.symlink(up, "inside/sub/link");
                world.disk.symlink("link/", "inside/twice");
                let before = world.outside();
                for start in ["link", "sub/../link", "sub/link", "./link", "twice", "sub/deep/../link"] {
                    attack(&mut world.guest, &format!("{start}{suffix}"));
                }
                assert_eq!(world.outside(), before, "{target} {suffix}");
            }
        }
    });
}

#[test]
fn links_the_guest_makes_do_not_lead_out() {
    everywhere(|back| {
        for contents in ["../outside", "../outside/", "../outside/.", "..", "../", "../inside/../outside"] {
            for suffix in ["", "/", "/.", "/secret", "/outside/secret"] {
                let mut world = world(back);
                world.guest.symlink(contents, "link").unwrap();
                let before = world.outside();
                attack(&mut world.guest, &format!("link{suffix}"));
                assert_eq!(world.outside(), before);
            }
        }
    });
}

#[test]
fn each_refusal_has_its_errno() {
    everywhere(|back| {
        let mut world = world(back);
        let guest = &mut world.guest;
        guest.symlink("../outside", "link").unwrap();
        world.disk.symlink("/etc", "inside/abs");
        world.disk.symlink("/proc/self/fd/0", "inside/magic");
        for path in [
            "..",
            "../",
            "../outside/secret",
            "sub/../..",
            "sub/deep/../../../outside",
            "/",
            "/etc",
            "/proc/self/root",
            "//",
            "/sub/file",
            "./../inside/sub/file",
        ] {
            assert_eq!(guest.stat(path), Err(Errno::Notcapable), "{path}");
            assert_eq!(guest.open(path, NONE, READ), Err(Errno::Notcapable), "{path}");
            assert_eq!(guest.mkdir(path), Err(Errno::Notcapable), "{path}");
            assert_eq!(guest.rename("sub", path), Err(Errno::Notcapable), "{path}");
            assert_eq!(guest.unlink(path), Err(Errno::Notcapable), "{path}");
        }
        for path in ["link/secret", "link/", "abs", "abs/passwd", "magic"] {
            assert_eq!(guest.stat(path), Err(Errno::Notcapable), "{path}");
            assert_eq!(guest.open(path, NONE, READ), Err(Errno::Notcapable), "{path}");
        }
        assert_eq!(guest.readlink("abs"), Err(Errno::Perm), "it would name a place of the host");
        assert_eq!(guest.readlink("link"), Ok("../outside".to_owned()));
        assert_eq!(guest.stat(""), Err(Errno::Noent));
        assert_eq!(guest.stat("a\0b"), Err(Errno::Inval));
        assert_eq!(guest.stat(b"a\xff"), Err(Errno::Ilseq));
        assert_eq!(guest.stat("x".repeat(4097)), Err(Errno::Nametoolong));
        assert_eq!(guest.stat("x".repeat(4096)), Err(Errno::Nametoolong));
        assert_eq!(guest.stat("x".repeat(300)), Err(Errno::Nametoolong));
        assert_eq!(guest.stat("./".repeat(2000)).map(|stat| stat.filetype), Ok(3));
        assert_eq!(guest.open("x".repeat(64 << 10), NONE, READ), Err(Errno::Nametoolong));
        assert_eq!(guest.stat("a/".repeat(2048)), Err(Errno::Noent));
    });
}

#[test]
fn long_chains_of_links_end() {
    everywhere(|back| {
        let mut world = world(back);
        let guest = &mut world.guest;
        guest.write_file("l0", b"end").unwrap();
        for number in 1..60 {
            guest.symlink(format!("l{}", number - 1), format!("l{number}")).unwrap();
        }
        assert_eq!(guest.read_file("l30"), Ok(b"end".to_vec()));
        assert_eq!(guest.read_file("l59"), Err(Errno::Loop));
        assert_eq!(guest.stat("l59"), Err(Errno::Loop));
        assert_eq!(guest.lstat("l59").map(|stat| stat.filetype), Ok(7));
    });
}

#[test]
fn moving_an_open_directory_does_not_open_its_new_surroundings() {
    everywhere(|back| {
        let mut world = world(back);
        let deep = world.guest.open_dir("sub/deep").unwrap();
        // Somebody who has all of it moves it.
        let mut owner = world.disk.guest(Perms::READ_WRITE);
        owner.rename("inside/sub/deep", "outside/deep").unwrap();
        for path in ["..", "../secret", "../../outside/secret", "x/../../secret"] {
            assert_eq!(world.guest.stat_in(deep, path, FOLLOW), Err(Errno::Notcapable), "{path}");
        }
        // It stays the directory it was, wherever it is.
        world.disk.write("outside/deep/own", b"x");
        assert_eq!(world.guest.names(deep).unwrap(), [".", "..", "own"]);
        world.disk.symlink("../secret", "outside/deep/link");
        assert_eq!(world.guest.stat_in(deep, "link", FOLLOW), Err(Errno::Notcapable));
    });
}

#[test]
fn a_read_only_preopen_stays_as_it_was() {
    everywhere(|back| {
        const RO: u32 = 3;
        const RW: u32 = 4;
        let disk = Disk::new(back);
        disk.mkdir("ro/d");
        disk.mkdir("rw");
        disk.write("ro/f", b"contents");
        disk.write("rw/g", b"other");
        disk.symlink("f", "ro/l");
        let before = disk.snapshot("ro");
        let mut guest = match &disk {
            Disk::Host(host) => Guest::with(
                WasiCtx::builder()
                    .preopen(preopen(&host.path().join("ro"), "/ro", Perms::READ_ONLY))
                    .preopen(preopen(&host.path().join("rw"), "/rw", Perms::READ_WRITE)),
            ),
            Disk::Memory(_) => {
                let all = disk.mount(WasiCtx::builder(), "/ro", Perms::READ_ONLY);
                let mut guest = Guest::with(disk.mount(all, "/rw", Perms::READ_WRITE));
                let ro = guest.open_dir("ro").unwrap();
                guest.renumber(ro, RO).unwrap();
                let (all, none) = (Rights::PREOPEN_INHERITING, Fdflags::empty());
                let rw = guest.open_with(RW, "rw", 0, Oflags::DIRECTORY, Rights::DIRECTORY, all, none);
                guest.renumber(rw.unwrap(), RW).unwrap();
                guest
            }
        };
        let rofs = Err(Errno::Rofs);
        for path in ["f", "l", "d/../f"] {
            for (oflags, rights) in [
                (NONE, Rights::FD_WRITE),
                (NONE, READ_WRITE),
                (Oflags::TRUNC, Rights::FD_READ),
                (Oflags::TRUNC | Oflags::CREAT, Rights::empty()),
            ] {
                assert_eq!(guest.open(path, oflags, rights), Err(Errno::Rofs), "{path}");
            }
            // These do not ask for access: what they are for is refused.
            for rights in [Rights::FD_ALLOCATE, Rights::FD_FILESTAT_SET_SIZE] {
                let fd = guest.open(path, NONE, rights | Rights::FD_READ).unwrap();
                assert_eq!(guest.call(|ctx, mem| p1::fd_filestat_set_size(ctx, mem, fd, 0)), rofs);
                assert_eq!(guest.call(|ctx, mem| p1::fd_allocate(ctx, mem, fd, 0, 99)), rofs);
                assert_eq!(guest.read(fd, 99), Ok(b"contents".to_vec()));
                guest.close(fd).unwrap();
            }
            let append =
                guest.open_with(RO, path, FOLLOW, NONE, Rights::FD_READ, Rights::empty(), Fdflags::APPEND);
            assert_eq!(append, Err(Errno::Rofs));
            assert_eq!(guest.set_times(path, FOLLOW, 1, 1, 5), rofs);
            assert_eq!(guest.set_times(path, 0, 1, 1, 10), rofs);
            assert_eq!(guest.unlink(path), rofs);
            assert_eq!(guest.rename(path, "moved"), rofs);
            assert_eq!(guest.rename_between((RO, path), (RW, "stolen")), rofs);
            assert_eq!(guest.rename_between((RW, "g"), (RO, path)), rofs);
            assert_eq!(guest.link(path, "linked"), rofs);
            assert_eq!(guest.link_between((RO, path), (RW, "linked")), rofs, "would be writable");
            assert_eq!(guest.link_between((RW, "g"), (RO, "linked")), rofs);
        }
        assert_eq!(guest.open("new", Oflags::CREAT, READ), Err(Errno::Rofs));
        assert_eq!(guest.open("new", Oflags::CREAT | Oflags::EXCL, READ), Err(Errno::Rofs));
        assert_eq!(guest.mkdir("new"), rofs);
        assert_eq!(guest.rmdir("d"), rofs);
        assert_eq!(guest.symlink("f", "new"), rofs);
        assert!(guest.open("f", Oflags::CREAT, READ).is_ok(), "CREAT opens what exists");

        // What is open for reading cannot be turned into more.
        let fd = guest.open("f", NONE, READ | Rights::FD_FILESTAT_SET_TIMES).unwrap();
        assert_eq!(guest.write(fd, b"x"), Err(Errno::Badf));
        assert_eq!(guest.pwrite(fd, b"x", 0), Err(Errno::Badf));
        for result in [
            guest.call(|ctx, mem| p1::fd_filestat_set_times(ctx, mem, fd, 1, 1, 5)),
            guest.call(|ctx, mem| p1::fd_filestat_set_size(ctx, mem, fd, 0)),
            guest.call(|ctx, mem| p1::fd_allocate(ctx, mem, fd, 0, 100)),
            guest.call(|ctx, mem| p1::fd_filestat_set_times(ctx, mem, RO, 1, 1, 5)),
        ] {
            assert!(matches!(result, Err(Errno::Rofs | Errno::Notcapable)), "{result:?}");
        }
        guest.call(|ctx, mem| p1::fd_fdstat_set_flags(ctx, mem, fd, 1)).unwrap();
        assert_eq!(guest.write(fd, b"x"), Err(Errno::Badf));
        // A directory beneath carries the same permissions.
        let below = guest.open_dir("d").unwrap();
        assert_eq!(
            guest.open_with(below, "new", 0, Oflags::CREAT, READ, Rights::empty(), Fdflags::empty()),
            Err(Errno::Rofs)
        );
        assert_eq!(guest.names(RO).unwrap(), [".", "..", "d", "f", "l"]);
        assert_eq!(guest.read_file("l"), Ok(b"contents".to_vec()));
        assert_eq!(disk.snapshot("ro"), before);
    });
}

#[test]
fn each_permission_is_its_own() {
    everywhere(|back| {
        let run = |perms: Perms, test: fn(&mut Guest)| {
            let disk = Disk::new(back);
            disk.write("f", b"x");
            disk.mkdir("d");
            test(&mut disk.guest(perms));
        };
        run(Perms::READ_WRITE - Perms::REMOVE, |guest| {
            guest.write_file("new", b"y").unwrap();
            assert_eq!(guest.unlink("f"), Err(Errno::Perm));
            assert_eq!(guest.rmdir("d"), Err(Errno::Perm));
            assert_eq!(guest.rename("f", "g"), Err(Errno::Perm));
        });
        run(Perms::READ_WRITE - Perms::CREATE, |guest| {
            guest.write_file("f", b"y").unwrap();
            assert_eq!(guest.open("new", Oflags::CREAT, READ_WRITE), Err(Errno::Perm));
            assert_eq!(guest.mkdir("new"), Err(Errno::Perm));
            assert_eq!(guest.link("f", "new"), Err(Errno::Perm));
            assert_eq!(guest.symlink("f", "new"), Err(Errno::Perm));
            assert_eq!(guest.rename("f", "new"), Err(Errno::Perm));
            guest.unlink("f").unwrap();
        });
        run(Perms::READ_WRITE - Perms::SYMLINKS, |guest| {
            assert_eq!(guest.symlink("f", "new"), Err(Errno::Perm));
            guest.link("f", "new").unwrap();
        });
        run(Perms::READ_WRITE - Perms::READ, |guest| {
            assert_eq!(guest.open("f", NONE, READ), Err(Errno::Perm));
            assert_eq!(guest.stat("f"), Err(Errno::Perm));
            assert_eq!(guest.readlink("f"), Err(Errno::Perm));
            assert_eq!(guest.readdir_once(ROOT, 0, 100), Err(Errno::Perm));
            guest.open("f", Oflags::TRUNC, Rights::FD_WRITE).unwrap();
        });
        run(Perms::READ | Perms::CREATE | Perms::REMOVE, |guest| {
            assert_eq!(guest.open("f", NONE, READ_WRITE), Err(Errno::Perm));
            guest.open("new", Oflags::CREAT, READ).unwrap();
            guest.rename("new", "newer").unwrap();
        });
    });
}

/// Swaps a directory and a link that leads out as fast as it can while the
/// guest opens a file through that name.
#[test]
fn racing_a_link_against_a_directory_wins_nothing() {
    openat2::with_and_without(|| {
        let mut world = world(Back::Host);
        let Disk::Host(host) = &world.disk else { unreachable!() };
        let inside = host.path().join("inside");
        std::fs::create_dir(inside.join("real")).unwrap();
        std::fs::write(inside.join("real/secret"), "harmless").unwrap();
        symlink("../outside", inside.join("evil")).unwrap();
        symlink("../outside/secret", inside.join("evil-file")).unwrap();
        std::fs::write(inside.join("file"), "harmless").unwrap();
        let before = world.outside();
        let stop = Arc::new(AtomicBool::new(false));
        let swapper = std::thread::spawn({
            let (inside, stop) = (inside.clone(), stop.clone());
            move || {
                let exchange = |a: &str, b: &str| {
                    let dir = std::fs::File::open(&inside).unwrap();
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    rustix::fs::renameat_with(&dir, a, &dir, b, flags).unwrap();
                };
                while !stop.load(Ordering::Relaxed) {
                    exchange("real", "evil");
                    exchange("file", "evil-file");
                }
            }
        });
        let rounds = std::env::var("WASI_SWAPPER_ROUNDS").ok().and_then(|n| n.parse().ok());
        let (mut opened, mut refused) = (0, 0);
        for _ in 0..rounds.unwrap_or(67_000) {
            for path in ["real/secret", "real//secret", "file"] {
                match world.guest.read_file(path) {
                    Ok(bytes) => {
                        opened += 1;
                        assert_eq!(bytes, b"harmless");
                    }
                    Err(_) => refused += 1,
                }
            }
            let _ = world.guest.set_times("file", FOLLOW, 1, 1, 5);
            if let Ok(stat) = world.guest.stat("real/secret") {
                assert_eq!(stat.size, 8);
            }
        }
        stop.store(true, Ordering::Relaxed);
        swapper.join().unwrap();
        assert!(opened > 0 && refused > 0, "{opened} opened, {refused} refused");
        assert_eq!(world.outside(), before);
    });
}

/// The same in memory, where another program does the swapping.
#[test]
fn racing_a_link_against_a_directory_in_memory_wins_nothing() {
    let mut world = world(Back::Memory);
    world.disk.write("inside/real/secret", "harmless");
    world.disk.symlink("../outside", "inside/evil");
    let before = world.outside();
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let (mut owner, stop) = (world.disk.guest(Perms::READ_WRITE), stop.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                for (from, to) in [("real", "away"), ("evil", "real"), ("real", "evil"), ("away", "real")] {
                    let (from, to) = (format!("inside/{from}"), format!("inside/{to}"));
                    owner.rename(&from, &to).unwrap();
                }
            }
        }
    });
    let (mut opened, mut refused) = (0, 0);
    while opened < 20_000 || refused < 20_000 {
        match world.guest.read_file("real/secret") {
            Ok(bytes) => {
                opened += 1;
                assert_eq!(bytes, b"harmless");
            }
            Err(errno) => {
                refused += 1;
                assert!(matches!(errno, Errno::Notcapable | Errno::Noent), "{errno}");
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    assert_eq!(world.outside(), before);
}

/// A link that takes the place of the file that was looked at is no way around
/// the permission to make links.
#[test]
fn racing_a_link_against_a_file_moves_no_link() {
    let disk = Disk::new(Back::Host);
    let Disk::Host(host) = &disk else { unreachable!() };
    let dir = host.path().to_owned();
    for name in ["from", "to"] {
        std::fs::create_dir(dir.join(name)).unwrap();
    }
    let builder = WasiCtx::builder()
        .preopen(preopen(&dir.join("from"), "/from", Perms::all()))
        .preopen(preopen(&dir.join("to"), "/to", Perms::all() - Perms::SYMLINKS));
    let mut guest = Guest::with(builder);
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let (from, stop) = (dir.join("from"), stop.clone());
        move || {
            for turn in 0u32.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let (new, name) = (from.join("new"), from.join("name"));
                if turn % 2 == 0 {
                    std::fs::write(&new, "").unwrap();
                } else {
                    symlink("../../outside", &new).unwrap();
                }
                std::fs::rename(&new, &name).unwrap();
            }
        }
    });
    let (mut moved, mut refused) = (0, 0);
    for _ in 0..20_000 {
        for link in [false, true] {
            let (from, to) = ((ROOT, "name"), (ROOT + 1, "there"));
            let done = if link { guest.link_between(from, to) } else { guest.rename_between(from, to) };
            match done {
                Ok(()) => moved += 1,
                Err(_) => refused += 1,
            }
            if let Ok(found) = std::fs::symlink_metadata(dir.join("to/there")) {
                assert!(!found.is_symlink());
                std::fs::remove_file(dir.join("to/there")).unwrap();
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(moved > 0 && refused > 0, "{moved} moved, {refused} refused");
}
