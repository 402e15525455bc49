//! What the host withholds from a preopened directory, against every function:
//! each permission taken away alone, all but reading, and all but writing, on
//! each back end. The errnos are in a table that was reviewed line by line; what
//! happened to the files, and what the guest came to know of them, is judged
//! without it.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use support::{Back, Disk, FOLLOW, Guest, READ, READ_WRITE, ROOT, Result};
use wasi::{Errno, Fdflags, Oflags, Perms, Rights, WasiCtx, functions, p1};

/// The same files once more, with every permission.
const OTHER: u32 = 4;
const NONE: Oflags = Oflags::empty();

/// Of the file `f`, to be found in what a guest was told.
const CONTENTS: &[u8] = b"CONTENTS";
const SIZE: u64 = 123_457;
const MTIME: u64 = 1_234_567_890_123_456_789;

const WITHHELD: [(&str, Perms); 7] = [
    ("nothing", Perms::empty()),
    ("read", Perms::READ),
    ("write", Perms::WRITE),
    ("create", Perms::CREATE),
    ("remove", Perms::REMOVE),
    ("symlinks", Perms::SYMLINKS),
    ("all but read", Perms::all().difference(Perms::READ)),
];

/// What a test does with a guest, by the function it is about.
type Case = (&'static str, &'static str, fn(&mut Guest) -> Result<()>);

fn open(guest: &mut Guest, path: &str, rights: Rights) -> Result<u32> {
    guest.open(path, NONE, rights)
}

/// Opened as far as the permissions let it be, which is not what is tested.
fn opened(guest: &mut Guest, path: &str) -> u32 {
    [READ_WRITE, READ, READ_WRITE - Rights::FD_READ, Rights::empty()]
        .into_iter()
        .find_map(|rights| open(guest, path, rights).ok())
        .expect("it can be opened somehow")
}

const CASES: &[Case] = &[
    ("args_get", "", |g| g.call(|ctx, mem| p1::args_get(ctx, mem, 1024, 2048))),
    ("args_sizes_get", "", |g| g.call(|ctx, mem| p1::args_sizes_get(ctx, mem, 1024, 2048))),
    ("environ_get", "", |g| g.call(|ctx, mem| p1::environ_get(ctx, mem, 1024, 2048))),
    ("environ_sizes_get", "", |g| g.call(|ctx, mem| p1::environ_sizes_get(ctx, mem, 1024, 2048))),
    ("clock_res_get", "", |g| g.call(|ctx, mem| p1::clock_res_get(ctx, mem, 0, 1024))),
    ("clock_time_get", "", |g| g.call(|ctx, mem| p1::clock_time_get(ctx, mem, 0, 0, 1024))),
    ("fd_advise", "file", |g| {
        let fd = opened(g, "f");
        g.call(|ctx, mem| p1::fd_advise(ctx, mem, fd, 0, 4, 0))
    }),
    ("fd_allocate", "file", |g| {
        let fd = opened(g, "f");
        g.call(|ctx, mem| p1::fd_allocate(ctx, mem, fd, 0, SIZE + 1))
    }),
    ("fd_close", "file", |g| {
        let fd = opened(g, "f");
        g.close(fd)
    }),
    ("fd_datasync", "file", |g| {
        let fd = opened(g, "f");
        g.call(|ctx, mem| p1::fd_datasync(ctx, mem, fd))
    }),
    ("fd_fdstat_get", "file", |g| {
        let fd = opened(g, "f");
        g.fdstat(fd).map(drop)
    }),
    ("fd_fdstat_set_flags", "append", |g| {
        let fd = opened(g, "f");
        g.call(|ctx, mem| p1::fd_fdstat_set_flags(ctx, mem, fd, 1))
    }),
    ("fd_fdstat_set_rights", "file", |g| {
        let fd = opened(g, "f");
        g.set_rights(fd, Rights::empty(), Rights::empty())
    }),
    ("fd_filestat_get", "preopen", |g| g.fstat(ROOT).map(drop)),
    ("fd_filestat_get", "directory", |g| {
        let fd = g.open_dir("d")?;
        g.fstat(fd).map(drop)
    }),
    ("fd_filestat_get", "file", |g| {
        let fd = opened(g, "f");
        g.fstat(fd).map(drop)
    }),
    ("fd_filestat_set_size", "file", |g| {
        let fd = opened(g, "f");
        g.call(|ctx, mem| p1::fd_filestat_set_size(ctx, mem, fd, 1))
    }),
    ("fd_filestat_set_times", "file", |g| {
        let fd = opened(g, "f");
        g.call(|ctx, mem| p1::fd_filestat_set_times(ctx, mem, fd, 1, 1, 5))
    }),
    ("fd_pread", "file", |g| {
        let fd = opened(g, "f");
        g.pread(fd, 64, 0).map(drop)
    }),
    ("fd_prestat_get", "preopen", |g| g.call(|ctx, mem| p1::fd_prestat_get(ctx, mem, ROOT, 1024))),
    ("fd_prestat_dir_name", "preopen", |g| {
        g.call(|ctx, mem| p1::fd_prestat_dir_name(ctx, mem, ROOT, 1024, 64))
    }),
    ("fd_pwrite", "file", |g| {
        let fd = opened(g, "f");
        g.pwrite(fd, "new", 0).map(drop)
    }),
    ("fd_read", "file", |g| {
        let fd = opened(g, "f");
        g.read(fd, 64).map(drop)
    }),
    ("fd_readdir", "preopen", |g| g.names(ROOT).map(drop)),
    ("fd_readdir", "directory", |g| {
        let fd = g.open_dir("d")?;
        g.names(fd).map(drop)
    }),
    ("fd_renumber", "over the preopen", |g| {
        let fd = opened(g, "f");
        g.renumber(fd, ROOT)
    }),
    ("fd_seek", "set", |g| {
        let fd = opened(g, "f");
        g.seek(fd, 3, 0).map(drop)
    }),
    ("fd_seek", "end", |g| {
        let fd = opened(g, "f");
        g.seek(fd, 0, 2).map(drop)
    }),
    ("fd_sync", "file", |g| {
        let fd = opened(g, "f");
        g.call(|ctx, mem| p1::fd_sync(ctx, mem, fd))
    }),
    ("fd_tell", "file", |g| {
        let fd = opened(g, "f");
        g.call(|ctx, mem| p1::fd_tell(ctx, mem, fd, 1024))
    }),
    ("fd_tell", "after appending", |g| {
        let (rights, flags) = (Rights::FD_WRITE, Fdflags::APPEND);
        let fd = g.open_with(ROOT, "f", FOLLOW, NONE, rights, Rights::empty(), flags)?;
        let _ = g.write(fd, "");
        let _ = g.seek(fd, 0, 2);
        g.call(|ctx, mem| p1::fd_tell(ctx, mem, fd, 1024))
    }),
    ("fd_write", "file", |g| {
        let fd = opened(g, "f");
        g.write(fd, "new").map(drop)
    }),
    ("path_create_directory", "", |g| g.mkdir("new")),
    ("path_filestat_get", "file", |g| g.stat("f").map(drop)),
    ("path_filestat_get", "link", |g| g.lstat("l").map(drop)),
    ("path_filestat_set_times", "file", |g| g.set_times("f", FOLLOW, 1, 1, 5)),
    ("path_filestat_set_times", "link", |g| g.set_times("l", 0, 1, 1, 5)),
    ("path_link", "file", |g| g.link("f", "new")),
    ("path_link", "link", |g| g.link("l", "new")),
    ("path_link", "file from elsewhere", |g| g.link_between((OTHER, "f"), (ROOT, "new"))),
    ("path_link", "link from elsewhere", |g| g.link_between((OTHER, "l"), (ROOT, "d/new"))),
    ("path_link", "file to elsewhere", |g| g.link_between((ROOT, "f"), (OTHER, "new"))),
    ("path_open", "to read", |g| open(g, "f", READ).map(drop)),
    ("path_open", "to write", |g| open(g, "f", READ_WRITE).map(drop)),
    ("path_open", "with Go's rights to read", |g| {
        let not_asked = Rights::FD_DATASYNC | Rights::FD_WRITE | Rights::FD_ALLOCATE;
        open(g, "f", Rights::PREOPEN_INHERITING - not_asked).map(drop)
    }),
    ("path_open", "to append", |g| {
        let (rights, flags) = (Rights::FD_WRITE, Fdflags::APPEND);
        g.open_with(ROOT, "f", FOLLOW, NONE, rights, Rights::empty(), flags).map(drop)
    }),
    ("path_open", "to truncate", |g| g.open("f", Oflags::TRUNC, READ).map(drop)),
    ("path_open", "to create what exists", |g| g.open("f", Oflags::CREAT, READ).map(drop)),
    ("path_open", "to create", |g| g.open("new", Oflags::CREAT, READ).map(drop)),
    ("path_open", "to create by a link", |g| g.open("dangling", Oflags::CREAT, READ).map(drop)),
    ("path_open", "a directory", |g| g.open_dir("d").map(drop)),
    ("path_readlink", "", |g| g.readlink("l").map(drop)),
    ("path_remove_directory", "", |g| g.rmdir("d")),
    ("path_rename", "file", |g| g.rename("f", "new")),
    ("path_rename", "file over another", |g| g.rename("f", "g")),
    ("path_rename", "link", |g| g.rename("l", "new")),
    ("path_rename", "directory", |g| g.rename("d", "new")),
    ("path_rename", "file from elsewhere", |g| g.rename_between((OTHER, "g"), (ROOT, "new"))),
    ("path_rename", "link from elsewhere", |g| g.rename_between((OTHER, "l"), (ROOT, "d/new"))),
    ("path_rename", "directory from elsewhere", |g| g.rename_between((OTHER, "links"), (ROOT, "d/new"))),
    ("path_rename", "file to elsewhere", |g| g.rename_between((ROOT, "f"), (OTHER, "new"))),
    ("path_symlink", "", |g| g.symlink("f", "new")),
    ("path_unlink_file", "file", |g| g.unlink("g")),
    ("path_unlink_file", "link", |g| g.unlink("l")),
    ("poll_oneoff", "file", |g| {
        let fd = opened(g, "f");
        g.put(4096, &[0; 48]);
        g.put(4096 + 8, &[1]);
        g.put(4096 + 16, &fd.to_le_bytes());
        g.call(|ctx, mem| p1::poll_oneoff(ctx, mem, 4096, 8192, 1, 1024))
    }),
    ("proc_raise", "", |g| g.call(|ctx, mem| p1::proc_raise(ctx, mem, 1))),
    ("sched_yield", "", |g| g.call(p1::sched_yield)),
    ("random_get", "", |g| g.call(|ctx, mem| p1::random_get(ctx, mem, 1024, 16))),
    ("sock_accept", "file", |g| {
        let fd = opened(g, "f");
        g.call(|ctx, mem| p1::sock_accept(ctx, mem, fd, 0, 1024))
    }),
    ("sock_recv", "file", |g| {
        let fd = opened(g, "f");
        g.call(|ctx, mem| p1::sock_recv(ctx, mem, fd, 1024, 0, 0, 2048, 2052))
    }),
    ("sock_send", "file", |g| {
        let fd = opened(g, "f");
        g.call(|ctx, mem| p1::sock_send(ctx, mem, fd, 1024, 0, 0, 2048))
    }),
    ("sock_shutdown", "file", |g| {
        let fd = opened(g, "f");
        g.call(|ctx, mem| p1::sock_shutdown(ctx, mem, fd, 1))
    }),
];

fn world(back: Back, withheld: Perms) -> (Guest, Disk) {
    let disk = Disk::new(back);
    disk.write("f", [CONTENTS, &vec![b'.'; SIZE as usize - CONTENTS.len()]].concat());
    disk.write("g", "");
    disk.mkdir("d");
    disk.mkdir("links");
    disk.symlink("../../outside", "links/one");
    disk.symlink("f", "l");
    disk.symlink("made", "dangling");
    disk.guest(Perms::all()).set_times("f", FOLLOW, MTIME, MTIME, 5).unwrap();
    let limited = disk.mount(WasiCtx::builder(), "/", Perms::all() - withheld);
    (Guest::with(disk.mount(limited, "/other", Perms::all())), disk)
}

/// Of each path: inode, type, number of names, size and time of change.
type Looks = BTreeMap<String, (u64, u8, u64, u64, u64)>;

fn looked_at(disk: &Disk) -> Looks {
    let mut owner = disk.guest(Perms::all());
    let paths = disk.paths("").into_iter().map(|path| path.trim_end_matches('/').to_owned());
    paths
        .map(|path| {
            let stat = owner.lstat(&path).unwrap();
            (path, (stat.ino, stat.filetype, stat.nlink, stat.size, stat.mtim))
        })
        .collect()
}

const SYMLINK: u8 = 7;
const REGULAR: u8 = 4;

fn judge(what: &str, withheld: Perms, guest: &Guest, disk: &Disk, before: &Looks) {
    let after = looked_at(disk);
    let names = |of: &Looks| of.keys().cloned().collect::<BTreeSet<_>>();
    let links = |of: &Looks| {
        let links = of.iter().filter(|(_, it)| it.1 == SYMLINK);
        links.map(|(path, _)| path.clone()).collect::<BTreeSet<_>>()
    };
    if withheld.contains(Perms::CREATE) && !what.contains("to elsewhere") {
        assert!(names(&after).is_subset(&names(before)), "{what} made {:?}", names(&after));
    }
    if withheld.contains(Perms::REMOVE) && !what.contains("from elsewhere") {
        for (path, (inode, ..)) in before {
            assert_eq!(after.get(path).map(|it| it.0), Some(*inode), "{what} took {path}");
        }
    }
    if withheld.contains(Perms::SYMLINKS) {
        assert!(links(&after).is_subset(&links(before)), "{what} made a link: {:?}", links(&after));
    }
    if withheld.contains(Perms::WRITE) {
        for (inode, filetype, _, size, mtime) in before.values() {
            let Some(now) = after.values().find(|it| it.0 == *inode) else { continue };
            if *filetype == REGULAR || *filetype == SYMLINK {
                assert_eq!((now.3, now.4), (*size, *mtime), "{what} changed a file");
            }
        }
    }
    if withheld.contains(Perms::READ) {
        let file = before.get("f").unwrap();
        for secret in
            [CONTENTS, &SIZE.to_le_bytes(), &MTIME.to_le_bytes(), &(file.0 << 8).to_le_bytes()[1..6]]
        {
            let told = guest.bytes(0, support::MEMORY).windows(secret.len()).any(|it| it == secret);
            // A small inode is a number like any other.
            let telling = secret.len() == 8 || file.0 > 0xff_ffff;
            assert!(!(told && telling), "{what} told {secret:?}");
        }
    }
}

const REVIEWED: &str = include_str!("support/permissions.txt");

#[test]
fn what_is_withheld_is_withheld_from_every_function() {
    let mut table = String::new();
    for (function, how, case) in CASES {
        let answer = |back, name: &str, withheld| {
            let (mut guest, disk) = world(back, withheld);
            let before = looked_at(&disk);
            let result = case(&mut guest);
            let what = format!("{function} {how} without {name} on {back:?}");
            judge(&what, withheld, &guest, &disk, &before);
            result.err().unwrap_or(Errno::Success).to_string()
        };
        let errnos: Vec<String> = WITHHELD
            .iter()
            .map(|(name, withheld)| {
                let host = answer(Back::Host, name, *withheld);
                let memory = answer(Back::Memory, name, *withheld);
                let both = if host == memory { host } else { format!("{host}/{memory}") };
                format!("{name}: {}", both.replace("ESUCCESS", "ok"))
            })
            .collect();
        let how = if how.is_empty() { String::new() } else { format!(" ({how})") };
        table.push_str(&format!("{function}{how}: {}\n", errnos.join(", ")));
    }
    if std::env::var_os("WASI_PERMISSIONS_TABLE").is_some() {
        println!("{table}");
    }
    for (ours, reviewed) in table.lines().zip(REVIEWED.lines()) {
        assert_eq!(ours, reviewed);
    }
    assert_eq!(table, REVIEWED, "lines are missing, or are too many");
}

/// `proc_exit` has nothing to do with files, and no errno.
#[test]
fn every_function_has_a_case() {
    let all = functions::all().filter(|it| it.module == p1::MODULE).map(|it| it.name);
    let cases: BTreeSet<&str> = CASES.iter().map(|(name, ..)| *name).collect();
    for name in all.filter(|name| *name != "proc_exit") {
        assert!(cases.contains(name), "{name}");
    }
}
