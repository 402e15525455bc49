//! Windows: descriptors of Node's are numbers of its C library, which libuv turns into handles and back. Node
//! exports libuv's functions.

use cap_std::AmbientAuthority;
use cap_std::fs::Dir;
use std::ffi::{CStr, c_int, c_void};
use std::fs::OpenOptions;
use std::io;
use std::mem::transmute;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsHandle, BorrowedHandle, IntoRawHandle, RawHandle};
use std::path::PathBuf;
use std::ptr;
use wasi::OwnedHandle;
use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_BACKUP_SEMANTICS, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE,
};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};

/// The address of what the process itself exports by this name.
pub fn symbol(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: a look-up in the program itself, by a name that ends with NUL.
    let address = unsafe { GetProcAddress(GetModuleHandleW(ptr::null()), name.as_ptr().cast()) };
    address.map(|address| address as *mut c_void)
}

fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this process has no libuv that tells of descriptors")
}

/// Opens a directory that a program is to get. It can be removed and renamed while nobody runs in it: a program holds it
/// more firmly, by a handle of its own.
pub fn open_directory(path: &str, _: AmbientAuthority) -> io::Result<Dir> {
    let options = FILE_FLAG_BACKUP_SEMANTICS;
    let share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    let opened = OpenOptions::new().read(true).share_mode(share).custom_flags(options).open(path)?;
    if !opened.metadata()?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(Dir::from_std_file(opened))
}

/// The handle that Node has for a descriptor.
fn handle_of(descriptor: i32) -> io::Result<RawHandle> {
    let found = symbol(c"uv_get_osfhandle").ok_or_else(unsupported)?;
    // SAFETY: `uv_os_fd_t uv_get_osfhandle(int fd)`, which answers with an invalid handle if there is none.
    let handle =
        unsafe { transmute::<*mut c_void, unsafe extern "C" fn(c_int) -> RawHandle>(found)(descriptor) };
    // -2 is what the C library has for standard streams that lead nowhere.
    if handle == INVALID_HANDLE_VALUE || handle.is_null() || handle.addr() == usize::MAX - 1 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no descriptor has this number"));
    }
    Ok(handle)
}

/// A descriptor of Node's for a handle, which is Node's then.
fn descriptor_of(handle: impl IntoRawHandle) -> io::Result<i32> {
    let found = symbol(c"uv_open_osfhandle").ok_or_else(unsupported)?;
    // SAFETY: `int uv_open_osfhandle(uv_os_fd_t os_fd)`, which takes the handle.
    let descriptor = unsafe {
        transmute::<*mut c_void, unsafe extern "C" fn(RawHandle) -> c_int>(found)(handle.into_raw_handle())
    };
    if descriptor < 0 { Err(io::Error::other("too many open descriptors")) } else { Ok(descriptor) }
}

/// A handle of our own for what a descriptor of Node's stands for.
pub fn duplicate(descriptor: i32) -> io::Result<OwnedHandle> {
    // SAFETY: the C library has just said that it is open. Only the user could close it meanwhile, who has named
    // it.
    unsafe { BorrowedHandle::borrow_raw(handle_of(descriptor)?) }.try_clone_to_owned()
}

/// Sockets are not served on Windows yet.
pub fn socket_handle<T>(_: T) -> io::Result<OwnedHandle> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "programs get no sockets on Windows yet"))
}

/// The descriptors of a new pipe: of the end to read from, and of the one to write to.
pub fn pipe() -> io::Result<[i32; 2]> {
    let (read, write) = io::pipe()?;
    Ok([descriptor_of(read)?, descriptor_of(write)?])
}

/// # Safety
/// The descriptor is open, from [`pipe`], and nobody uses it any more.
pub unsafe fn close(descriptor: i32) {
    /// libuv's number of such requests.
    const FS: c_int = 6;
    let functions = (symbol(c"uv_req_size"), symbol(c"uv_fs_close"), symbol(c"uv_fs_req_cleanup"));
    // It stays open then.
    let (Some(size), Some(close), Some(cleanup)) = functions else { return };
    type Close = unsafe extern "C" fn(*mut c_void, *mut c_void, c_int, *const c_void) -> c_int;
    // SAFETY: these are `size_t uv_req_size(uv_req_type)`, `int uv_fs_close(uv_loop_t*, uv_fs_t*, uv_file,
    // uv_fs_cb)`, which without a callback does it at once and needs no loop, and
    // `void uv_fs_req_cleanup(uv_fs_t*)`. The request has as many bytes as it needs. The descriptor is ours to close.
    unsafe {
        let size = transmute::<*mut c_void, unsafe extern "C" fn(c_int) -> usize>(size)(FS);
        let mut request = vec![0u64; size.div_ceil(8)];
        let request: *mut c_void = request.as_mut_ptr().cast();
        transmute::<*mut c_void, Close>(close)(ptr::null_mut(), request, descriptor, ptr::null());
        transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void)>(cleanup)(request);
    }
}

/// How many bytes are in a pipe; -1 if there are none and nobody is left to write some.
///
/// # Safety
/// The descriptor is open.
pub unsafe fn pending(end: i32) -> f64 {
    let Ok(handle) = handle_of(end) else { return -1.0 };
    // SAFETY: by this function's contract.
    windows_calls::pending_input(unsafe { BorrowedHandle::borrow_raw(handle) }).map_or(-1.0, f64::from)
}

/// The path of what is open, as the system has it. `None` if it is not text.
pub fn path_of(opened: &impl AsHandle) -> Option<String> {
    windows_calls::path(opened.as_handle())
}

pub fn path_of_directory(directory: &Dir) -> Option<String> {
    windows_calls::path(directory.as_handle())
}

/// Where the user's programs keep what they can make again. `given` are variables of the environment that are set.
pub fn user_cache_directory(given: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let home = || std::env::home_dir().map(|home| home.join("AppData").join("Local"));
    given("LOCALAPPDATA").filter(|path| path.is_absolute()).or_else(home).filter(|path| path.is_absolute())
}

/// The private bytes of this process that were written. `None`: bytes that nobody has written count, too.
pub fn touched_bytes() -> Option<usize> {
    None
}
