//! Unix: descriptors of Node's are the kernel's.

use cap_std::AmbientAuthority;
use cap_std::fs::Dir;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::{CStr, c_void};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd};
use std::path::PathBuf;
use wasi::OwnedHandle;

/// The address of what the process itself exports by this name.
pub fn symbol(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: a look-up by a name that ends with NUL.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}

/// A handle of our own for what a descriptor of Node's stands for.
pub fn duplicate(descriptor: i32) -> io::Result<OwnedHandle> {
    // SAFETY: the number is the user's, not negative, and only passed to the kernel, which
    // refuses it if no descriptor has it.
    unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()
}

/// Opens a directory that a program is to get.
pub fn open_directory(path: &str, authority: AmbientAuthority) -> io::Result<Dir> {
    Dir::open_ambient_dir(path, authority)
}

/// The handle of a socket.
pub fn socket_handle(socket: impl Into<OwnedHandle>) -> io::Result<OwnedHandle> {
    Ok(socket.into())
}

/// The descriptors of a new pipe: of the end to read from, and of the one to write to.
pub fn pipe() -> io::Result<[i32; 2]> {
    let (read, write) = io::pipe()?;
    Ok([read.into_raw_fd(), write.into_raw_fd()])
}

/// # Safety
/// The descriptor is open, from [`pipe`], and nobody uses it any more.
pub unsafe fn close(descriptor: i32) {
    // SAFETY: by this function's contract.
    drop(unsafe { OwnedHandle::from_raw_fd(descriptor) });
}

/// How many bytes are in a pipe; -1 if there are none and nobody is left to write some.
///
/// # Safety
/// The descriptor is open.
pub unsafe fn pending(end: i32) -> f64 {
    // SAFETY: by this function's contract.
    let end = unsafe { BorrowedFd::borrow_raw(end) };
    // A writer writes before it hangs up, so the hang-up is asked for first.
    let mut asked = [PollFd::new(&end, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let is_over = poll(&mut asked, Some(&at_once)).is_ok() && asked[0].revents().contains(PollFlags::HUP);
    match rustix::io::ioctl_fionread(end).unwrap_or(0) {
        0 if is_over => -1.0,
        bytes => bytes as f64,
    }
}

/// The path of what is open, as the kernel has it. `None` if it is not text, or lies where this process
/// cannot see it.
pub fn path_of(opened: &impl AsFd) -> Option<String> {
    kernel_path(opened.as_fd())
}

pub fn path_of_directory(directory: &Dir) -> Option<String> {
    kernel_path(directory.as_fd())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn kernel_path(opened: BorrowedFd<'_>) -> Option<String> {
    let number = std::os::fd::AsRawFd::as_raw_fd(&opened);
    let path = std::fs::read_link(format!("/proc/self/fd/{number}")).ok()?;
    path.is_absolute().then(|| path.into_os_string().into_string().ok())?
}

#[cfg(target_vendor = "apple")]
fn kernel_path(opened: BorrowedFd<'_>) -> Option<String> {
    rustix::fs::getpath(opened).ok()?.into_string().ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn kernel_path(_: BorrowedFd<'_>) -> Option<String> {
    None
}

/// Where the user's programs keep what they can make again. `given` are variables of the environment that are set.
#[cfg(target_os = "macos")]
pub fn user_cache_directory(_: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join("Library/Caches"))
}

/// As the XDG Base Directory Specification has it.
#[cfg(not(target_os = "macos"))]
pub fn user_cache_directory(given: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let home = || std::env::home_dir().map(|home| home.join(".cache"));
    given("XDG_CACHE_HOME").filter(|path| path.is_absolute()).or_else(home).filter(|path| path.is_absolute())
}

/// The private bytes of this process that were written. `None` if the system does not tell, or if bytes that nobody has
/// written count, too.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn touched_bytes() -> Option<usize> {
    use std::io::Read;
    static OVERCOMMITS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    let mode = || std::fs::read("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| !mode.starts_with(b"2"));
    if !OVERCOMMITS.get_or_init(mode) {
        return None;
    }
    let (mut text, mut file) = ([0; 128], std::fs::File::open("/proc/self/statm").ok()?);
    let length = file.read(&mut text).ok()?;
    // Pages: of all mappings, of those in memory, and of those that are a file's.
    let mut pages = std::str::from_utf8(&text[..length]).ok()?.split(' ').map(str::parse::<usize>);
    let (_, resident, of_files) = (pages.next()?, pages.next()?.ok()?, pages.next()?.ok()?);
    // SAFETY: a query without pointer arguments.
    let page_size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(resident.saturating_sub(of_files) * page_size as usize)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn touched_bytes() -> Option<usize> {
    None
}
