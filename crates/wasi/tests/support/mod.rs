//! A guest for the WASI tests: a context, a memory, and the calls in the
//! words of a test. Knows nothing that a real guest would not.

// Each test file uses its own part of it; path_open has nine arguments.
#![allow(dead_code, unused_imports, clippy::too_many_arguments)]

pub mod disk;
pub mod openat2;

use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
pub use disk::{Back, Disk, on_each};
use wasi::{Errno, Error, Fdflags, GuestMemory, Oflags, Perms, Preopen, Rights, WasiCtx, WasiCtxBuilder, p1};

pub const MEMORY: usize = 1 << 20;
/// Where the calls put their results, iovecs and paths.
const RESULT: u32 = 16;
const IOVEC: u32 = 64;
const PATH: u32 = 0x1_0000;
const PATH_2: u32 = 0x3_0000;
const DATA: u32 = 0x8_0000;

pub const FOLLOW: u32 = 1;
pub const ROOT: u32 = 3;

pub const READ: Rights = Rights::FILE.difference(Rights::IMPLIES_WRITE);
pub const READ_WRITE: Rights = Rights::FILE;

pub struct Guest {
    pub ctx: WasiCtx,
    memory: Vec<u8>,
}

pub type Result<T> = std::result::Result<T, Errno>;

fn errno(result: std::result::Result<(), Error>) -> Result<()> {
    result.map_err(|error| match error {
        Error::Errno(errno) => errno,
        other => panic!("not an errno: {other:?}"),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub ino: u64,
    pub filetype: u8,
    pub nlink: u64,
    pub size: u64,
    pub atim: u64,
    pub mtim: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub next: u64,
    pub ino: u64,
    pub filetype: u8,
    pub name: String,
}

/// A host directory opened as the embedder would.
pub fn open_dir(path: &Path) -> Dir {
    Dir::open_ambient_dir(path, ambient_authority()).unwrap()
}

pub fn preopen(path: &Path, guest_path: &str, perms: Perms) -> Preopen {
    Preopen { dir: open_dir(path), guest_path: guest_path.to_owned(), perms }
}

/// A guest whose only directory is a fresh one, with all permissions.
pub fn guest_on(back: Back) -> (Guest, Disk) {
    let disk = Disk::new(back);
    let guest = disk.guest(Perms::READ_WRITE);
    (guest, disk)
}

pub fn guest() -> (Guest, Disk) {
    guest_on(Back::Host)
}

impl Guest {
    pub fn with(builder: WasiCtxBuilder) -> Guest {
        Guest { ctx: builder.build().unwrap(), memory: vec![0; MEMORY] }
    }

    pub fn call(
        &mut self,
        function: impl FnOnce(&WasiCtx, &GuestMemory<'_>) -> std::result::Result<(), Error>,
    ) -> Result<()> {
        // SAFETY: the memory is ours and outlives the call.
        let mem = unsafe { GuestMemory::from_raw(self.memory.as_mut_ptr(), self.memory.len()) };
        errno(function(&self.ctx, &mem))
    }

    pub fn bytes(&self, address: u32, len: usize) -> &[u8] {
        &self.memory[address as usize..address as usize + len]
    }

    pub fn memory(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    pub fn put(&mut self, address: u32, bytes: &[u8]) {
        self.memory[address as usize..address as usize + bytes.len()].copy_from_slice(bytes);
    }

    pub fn u32(&self, address: u32) -> u32 {
        u32::from_le_bytes(self.bytes(address, 4).try_into().unwrap())
    }

    pub fn u64(&self, address: u32) -> u64 {
        u64::from_le_bytes(self.bytes(address, 8).try_into().unwrap())
    }

    fn path(&mut self, at: u32, path: impl AsRef<[u8]>) -> (u32, u32) {
        let path = path.as_ref();
        self.put(at, path);
        (at, path.len() as u32)
    }

    // ---- paths ----

    pub fn open_with(
        &mut self,
        dir: u32,
        path: impl AsRef<[u8]>,
        follow: u32,
        oflags: Oflags,
        base: Rights,
        inheriting: Rights,
        fdflags: Fdflags,
    ) -> Result<u32> {
        let (path, len) = self.path(PATH, path);
        let oflags = u32::from(oflags.bits());
        let fdflags = u32::from(fdflags.bits());
        self.call(|ctx, mem| {
            p1::path_open(
                ctx,
                mem,
                dir,
                follow,
                path,
                len,
                oflags,
                base.bits(),
                inheriting.bits(),
                fdflags,
                RESULT,
            )
        })?;
        Ok(self.u32(RESULT))
    }

    pub fn open(&mut self, path: impl AsRef<[u8]>, oflags: Oflags, base: Rights) -> Result<u32> {
        self.open_with(ROOT, path, FOLLOW, oflags, base, Rights::empty(), Fdflags::empty())
    }

    pub fn open_dir(&mut self, path: impl AsRef<[u8]>) -> Result<u32> {
        self.open_with(
            ROOT,
            path,
            FOLLOW,
            Oflags::DIRECTORY,
            Rights::DIRECTORY,
            Rights::PREOPEN_INHERITING,
            Fdflags::empty(),
        )
    }

    pub fn stat_in(&mut self, dir: u32, path: impl AsRef<[u8]>, follow: u32) -> Result<Stat> {
        let (path, len) = self.path(PATH, path);
        self.call(|ctx, mem| p1::path_filestat_get(ctx, mem, dir, follow, path, len, RESULT))?;
        Ok(self.stat_result())
    }

    pub fn stat(&mut self, path: impl AsRef<[u8]>) -> Result<Stat> {
        self.stat_in(ROOT, path, FOLLOW)
    }

    pub fn lstat(&mut self, path: impl AsRef<[u8]>) -> Result<Stat> {
        self.stat_in(ROOT, path, 0)
    }

    fn stat_result(&self) -> Stat {
        Stat {
            ino: self.u64(RESULT + 8),
            filetype: self.memory[RESULT as usize + 16],
            nlink: self.u64(RESULT + 24),
            size: self.u64(RESULT + 32),
            atim: self.u64(RESULT + 40),
            mtim: self.u64(RESULT + 48),
        }
    }

    pub fn set_times(
        &mut self,
        path: impl AsRef<[u8]>,
        follow: u32,
        atim: u64,
        mtim: u64,
        flags: u32,
    ) -> Result<()> {
        let (path, len) = self.path(PATH, path);
        self.call(|ctx, mem| {
            p1::path_filestat_set_times(ctx, mem, ROOT, follow, path, len, atim, mtim, flags)
        })
    }

    pub fn mkdir(&mut self, path: impl AsRef<[u8]>) -> Result<()> {
        let (path, len) = self.path(PATH, path);
        self.call(|ctx, mem| p1::path_create_directory(ctx, mem, ROOT, path, len))
    }

    pub fn rmdir(&mut self, path: impl AsRef<[u8]>) -> Result<()> {
        let (path, len) = self.path(PATH, path);
        self.call(|ctx, mem| p1::path_remove_directory(ctx, mem, ROOT, path, len))
    }

    pub fn unlink(&mut self, path: impl AsRef<[u8]>) -> Result<()> {
        let (path, len) = self.path(PATH, path);
        self.call(|ctx, mem| p1::path_unlink_file(ctx, mem, ROOT, path, len))
    }

    pub fn symlink(&mut self, contents: impl AsRef<[u8]>, path: impl AsRef<[u8]>) -> Result<()> {
        let (contents, contents_len) = self.path(PATH, contents);
        let (path, len) = self.path(PATH_2, path);
        self.call(|ctx, mem| p1::path_symlink(ctx, mem, contents, contents_len, ROOT, path, len))
    }

    pub fn readlink(&mut self, path: impl AsRef<[u8]>) -> Result<String> {
        let (path, len) = self.path(PATH, path);
        self.call(|ctx, mem| p1::path_readlink(ctx, mem, ROOT, path, len, DATA, 4096, RESULT))?;
        let used = self.u32(RESULT) as usize;
        Ok(String::from_utf8(self.bytes(DATA, used).to_vec()).unwrap())
    }

    pub fn link_between(&mut self, (old_dir, old): (u32, &str), (new_dir, new): (u32, &str)) -> Result<()> {
        let (old, old_len) = self.path(PATH, old);
        let (new, new_len) = self.path(PATH_2, new);
        self.call(|ctx, mem| p1::path_link(ctx, mem, old_dir, 0, old, old_len, new_dir, new, new_len))
    }

    pub fn link(&mut self, old: &str, new: &str) -> Result<()> {
        self.link_between((ROOT, old), (ROOT, new))
    }

    pub fn rename_between(&mut self, (old_dir, old): (u32, &str), (new_dir, new): (u32, &str)) -> Result<()> {
        let (old, old_len) = self.path(PATH, old);
        let (new, new_len) = self.path(PATH_2, new);
        self.call(|ctx, mem| p1::path_rename(ctx, mem, old_dir, old, old_len, new_dir, new, new_len))
    }

    pub fn rename(&mut self, old: &str, new: &str) -> Result<()> {
        self.rename_between((ROOT, old), (ROOT, new))
    }

    // ---- descriptors ----

    fn iovec(&mut self, len: u32) {
        self.put(IOVEC, &DATA.to_le_bytes());
        self.put(IOVEC + 4, &len.to_le_bytes());
    }

    pub fn write(&mut self, fd: u32, bytes: impl AsRef<[u8]>) -> Result<u32> {
        let bytes = bytes.as_ref();
        self.put(DATA, bytes);
        self.iovec(bytes.len() as u32);
        self.call(|ctx, mem| p1::fd_write(ctx, mem, fd, IOVEC, 1, RESULT))?;
        Ok(self.u32(RESULT))
    }

    pub fn read(&mut self, fd: u32, len: u32) -> Result<Vec<u8>> {
        self.iovec(len);
        self.call(|ctx, mem| p1::fd_read(ctx, mem, fd, IOVEC, 1, RESULT))?;
        let read = self.u32(RESULT) as usize;
        Ok(self.bytes(DATA, read).to_vec())
    }

    pub fn pwrite(&mut self, fd: u32, bytes: impl AsRef<[u8]>, offset: u64) -> Result<u32> {
        let bytes = bytes.as_ref();
        self.put(DATA, bytes);
        self.iovec(bytes.len() as u32);
        self.call(|ctx, mem| p1::fd_pwrite(ctx, mem, fd, IOVEC, 1, offset, RESULT))?;
        Ok(self.u32(RESULT))
    }

    pub fn pread(&mut self, fd: u32, len: u32, offset: u64) -> Result<Vec<u8>> {
        self.iovec(len);
        self.call(|ctx, mem| p1::fd_pread(ctx, mem, fd, IOVEC, 1, offset, RESULT))?;
        let read = self.u32(RESULT) as usize;
        Ok(self.bytes(DATA, read).to_vec())
    }

    pub fn seek(&mut self, fd: u32, offset: i64, whence: u32) -> Result<u64> {
        self.call(|ctx, mem| p1::fd_seek(ctx, mem, fd, offset, whence, RESULT))?;
        Ok(self.u64(RESULT))
    }

    pub fn close(&mut self, fd: u32) -> Result<()> {
        self.call(|ctx, mem| p1::fd_close(ctx, mem, fd))
    }

    pub fn renumber(&mut self, from: u32, to: u32) -> Result<()> {
        self.call(|ctx, mem| p1::fd_renumber(ctx, mem, from, to))
    }

    pub fn fstat(&mut self, fd: u32) -> Result<Stat> {
        self.call(|ctx, mem| p1::fd_filestat_get(ctx, mem, fd, RESULT))?;
        Ok(self.stat_result())
    }

    /// (filetype, flags, base, inheriting)
    pub fn fdstat(&mut self, fd: u32) -> Result<(u8, u16, Rights, Rights)> {
        self.call(|ctx, mem| p1::fd_fdstat_get(ctx, mem, fd, RESULT))?;
        let flags = u16::from_le_bytes(self.bytes(RESULT + 2, 2).try_into().unwrap());
        Ok((
            self.memory[RESULT as usize],
            flags,
            Rights::from_bits(self.u64(RESULT + 8)).unwrap(),
            Rights::from_bits(self.u64(RESULT + 16)).unwrap(),
        ))
    }

    pub fn set_rights(&mut self, fd: u32, base: Rights, inheriting: Rights) -> Result<()> {
        self.call(|ctx, mem| p1::fd_fdstat_set_rights(ctx, mem, fd, base.bits(), inheriting.bits()))
    }

    /// One call: the whole entries and how much of the buffer was used.
    pub fn readdir_once(&mut self, fd: u32, cookie: u64, buf_len: u32) -> Result<(Vec<Entry>, u32)> {
        self.call(|ctx, mem| p1::fd_readdir(ctx, mem, fd, DATA, buf_len, cookie, RESULT))?;
        let used = self.u32(RESULT);
        let mut entries = Vec::new();
        let mut at = 0;
        while at + 24 <= used {
            let namlen = self.u32(DATA + at + 16);
            if at + 24 + namlen > used {
                break;
            }
            let name = self.bytes(DATA + at + 24, namlen as usize).to_vec();
            entries.push(Entry {
                next: self.u64(DATA + at),
                ino: self.u64(DATA + at + 8),
                filetype: self.memory[(DATA + at + 20) as usize],
                name: String::from_utf8(name).unwrap(),
            });
            at += 24 + namlen;
        }
        Ok((entries, used))
    }

    /// All of a directory, going on from the last whole entry as libc does.
    pub fn readdir(&mut self, fd: u32, buf_len: u32) -> Result<Vec<Entry>> {
        let mut all: Vec<Entry> = Vec::new();
        loop {
            let cookie = all.last().map_or(0, |entry| entry.next);
            let (entries, used) = self.readdir_once(fd, cookie, buf_len)?;
            if used < buf_len {
                all.extend(entries);
                return Ok(all);
            }
            assert!(!entries.is_empty(), "a buffer of {buf_len} bytes holds no entry");
            all.extend(entries);
        }
    }

    pub fn names(&mut self, fd: u32) -> Result<Vec<String>> {
        let mut names: Vec<String> = self.readdir(fd, 4096)?.into_iter().map(|entry| entry.name).collect();
        names.sort();
        Ok(names)
    }

    // ---- both ----

    pub fn write_file(&mut self, path: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
        let fd = self.open(path, Oflags::CREAT | Oflags::TRUNC, READ_WRITE)?;
        self.write(fd, bytes)?;
        self.close(fd)
    }

    pub fn read_file(&mut self, path: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        let fd = self.open(path, Oflags::empty(), READ)?;
        let bytes = self.read(fd, 4096);
        self.close(fd)?;
        bytes
    }
}
