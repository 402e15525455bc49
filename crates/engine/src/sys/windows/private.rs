//! Files and directories that only this user can write to, as their access control lists say.

use crate::sys::FileState;
use std::ffi::c_void;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr;
use windows_sys::Win32::Foundation::{ERROR_SUCCESS, GENERIC_ALL, GENERIC_READ, GENERIC_WRITE, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo,
    SDDL_REVISION_1, SE_FILE_OBJECT,
};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACE_HEADER, ACL, DACL_SECURITY_INFORMATION, EqualSid, GetAce, GetTokenInformation,
    INHERIT_ONLY_ACE, IsWellKnownSid, OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID,
    SECURITY_ATTRIBUTES, TOKEN_QUERY, TOKEN_USER, TokenUser, WinBuiltinAdministratorsSid, WinLocalSystemSid,
};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, CreateDirectoryW, DELETE, FILE_APPEND_DATA, FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_BASIC_INFO, FILE_DELETE_CHILD, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT,
    FILE_WRITE_DATA, FileBasicInfo, GetFileInformationByHandle, GetFileInformationByHandleEx, WRITE_DAC,
    WRITE_OWNER,
};
use windows_sys::Win32::System::SystemServices::{
    ACCESS_ALLOWED_ACE_TYPE, ACCESS_ALLOWED_CALLBACK_ACE_TYPE, ACCESS_DENIED_ACE_TYPE,
    ACCESS_DENIED_CALLBACK_ACE_TYPE,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

fn refused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

fn result(succeeded: i32) -> io::Result<()> {
    if succeeded != 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Memory that the system allocated for us.
struct Local(*mut c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: the system gave it to us to free.
        unsafe { LocalFree(self.0) };
    }
}

/// The user of this process: a `TOKEN_USER`, and behind it the identifier that it points to.
struct User(Vec<u64>);

impl User {
    fn current() -> io::Result<User> {
        let mut token = ptr::null_mut();
        // SAFETY: the token is written to our variable, and is ours to close.
        let token = unsafe {
            result(OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &mut token))?;
            OwnedHandle::from_raw_handle(token)
        };
        let mut needed = 0;
        // SAFETY: asks for the size.
        unsafe { GetTokenInformation(token.as_raw_handle(), TokenUser, ptr::null_mut(), 0, &mut needed) };
        let mut information = vec![0u64; (needed as usize).div_ceil(8).max(size_of::<TOKEN_USER>() / 8)];
        let len = size_of_val(information.as_slice()) as u32;
        let place = information.as_mut_ptr().cast();
        // SAFETY: there are so many bytes, aligned for the structure.
        result(unsafe { GetTokenInformation(token.as_raw_handle(), TokenUser, place, len, &mut needed) })?;
        Ok(User(information))
    }

    fn sid(&self) -> PSID {
        // SAFETY: `current` had it filled.
        unsafe { (*self.0.as_ptr().cast::<TOKEN_USER>()).User.Sid }
    }

    /// Whether this is the user, or somebody who may do everything.
    fn trusts(&self, sid: PSID) -> bool {
        // SAFETY: both are identifiers.
        unsafe {
            EqualSid(sid, self.sid()) != 0
                || IsWellKnownSid(sid, WinLocalSystemSid) != 0
                || IsWellKnownSid(sid, WinBuiltinAdministratorsSid) != 0
        }
    }
}

/// The owner of an open file or directory, and who may do what to it.
struct Security {
    owner: PSID,
    list: *mut ACL,
    /// What both point into.
    _descriptor: Local,
}

impl Security {
    fn of(file: &File) -> io::Result<Security> {
        let (mut owner, mut list, mut descriptor) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        // SAFETY: the handle is open, and what is asked for is written to our variables.
        let error = unsafe {
            GetSecurityInfo(
                file.as_raw_handle(),
                SE_FILE_OBJECT,
                OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
                &mut owner,
                ptr::null_mut(),
                &mut list,
                ptr::null_mut(),
                &mut descriptor,
            )
        };
        if error != ERROR_SUCCESS {
            return Err(io::Error::from_raw_os_error(error as i32));
        }
        Ok(Security { owner, list, _descriptor: Local(descriptor) })
    }

    fn is_owned_by(&self, user: &User) -> bool {
        !self.owner.is_null() && user.trusts(self.owner)
    }

    /// Whether the list lets nobody else write. Without a list everybody may do everything.
    fn is_private_to(&self, user: &User) -> bool {
        const WRITES: u32 = FILE_WRITE_DATA
            | FILE_APPEND_DATA
            | FILE_DELETE_CHILD
            | DELETE
            | WRITE_DAC
            | WRITE_OWNER
            | GENERIC_WRITE
            | GENERIC_ALL;
        if self.list.is_null() {
            return false;
        }
        // SAFETY: a list of the system's, which lives as long as the descriptor.
        let count = unsafe { (*self.list).AceCount };
        (0..u32::from(count)).all(|index| {
            let mut entry = ptr::null_mut();
            // SAFETY: the entry's address is written to our variable.
            if unsafe { GetAce(self.list, index, &mut entry) } == 0 {
                return false;
            }
            // SAFETY: every entry begins with this.
            let header = unsafe { *entry.cast::<ACE_HEADER>() };
            if u32::from(header.AceFlags) & INHERIT_ONLY_ACE != 0 {
                // It is about what will be made in here, which is looked at itself.
                return true;
            }
            match u32::from(header.AceType) {
                ACCESS_DENIED_ACE_TYPE | ACCESS_DENIED_CALLBACK_ACE_TYPE => true,
                ACCESS_ALLOWED_ACE_TYPE | ACCESS_ALLOWED_CALLBACK_ACE_TYPE => {
                    let allowed = entry.cast::<ACCESS_ALLOWED_ACE>();
                    // SAFETY: entries of both types begin with these fields, and the identifier.
                    unsafe {
                        (*allowed).Mask & WRITES == 0 || user.trusts((&raw mut (*allowed).SidStart).cast())
                    }
                }
                _ => false,
            }
        })
    }
}

/// Rejects files that belong to another user or that others may write to.
fn check(file: &File) -> io::Result<()> {
    let (user, security) = (User::current()?, Security::of(file)?);
    if !security.is_owned_by(&user) {
        return Err(refused("it is another user's"));
    }
    if !security.is_private_to(&user) {
        return Err(refused("others can write to it"));
    }
    Ok(())
}

fn open_directory(path: &Path) -> io::Result<File> {
    let flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT;
    OpenOptions::new().access_mode(GENERIC_READ).custom_flags(flags).open(path)
}

/// A link of any kind, also one to a directory or a volume.
fn is_link(metadata: &Metadata) -> bool {
    metadata.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0
}

/// Rejects links, and directories that are not private to this user.
pub fn check_private_directory(path: &Path) -> io::Result<()> {
    let directory = open_directory(path)?;
    let metadata = directory.metadata()?;
    if !metadata.is_dir() || is_link(&metadata) {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    check(&directory)
}

/// Creates a directory that is private to this user, if it does not exist. Its parent must belong to the user
/// or the system: a program running as another user must not create files in a home that is not its own.
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    let user = User::current()?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
        // A parent may be a link, and it is what the link leads to that counts.
        let parent = OpenOptions::new()
            .access_mode(GENERIC_READ)
            .custom_flags(FILE_FLAG_BACKUP_SEMANTICS)
            .open(parent)?;
        if !Security::of(&parent)?.is_owned_by(&user) {
            return Err(refused("it would be in another user's directory"));
        }
    }
    let descriptor = private_to(&user)?;
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor.0,
        bInheritHandle: 0,
    };
    let name: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
    // SAFETY: the name ends with NUL, and the attributes live as long as the call.
    match result(unsafe { CreateDirectoryW(name.as_ptr(), &attributes) }) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// A descriptor that gives all rights to the user, the administrators and the system alone, also to what is made
/// in the directory. It takes nothing from the parent, where others may have rights.
fn private_to(user: &User) -> io::Result<Local> {
    let mut text = ptr::null_mut();
    // SAFETY: the identifier is one, and the text is ours to free.
    let name = unsafe {
        result(ConvertSidToStringSidW(user.sid(), &mut text))?;
        let text = Local(text.cast());
        let text = text.0.cast::<u16>();
        let len = (0..).take_while(|at| *text.add(*at) != 0).count();
        String::from_utf16_lossy(std::slice::from_raw_parts(text, len))
    };
    let text = format!("D:P(A;OICI;FA;;;{name})(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)");
    let text: Vec<u16> = text.encode_utf16().chain([0]).collect();
    let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
    // SAFETY: the text ends with NUL, and the descriptor is ours to free.
    result(unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            text.as_ptr(),
            SDDL_REVISION_1,
            &mut descriptor,
            ptr::null_mut(),
        )
    })?;
    Ok(Local(descriptor))
}

/// Whether this user may create files in a directory, as far as that is known without creating one.
pub fn can_write(directory: &Path) -> bool {
    directory.is_dir()
}

/// A file without a name: there are none here.
pub fn unnamed_file(_: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Names a file of [`unnamed_file`].
pub fn name_file(_: &File, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Opens a file for reading.
pub fn open_without_waiting(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Opens a file for reading, if it is private to this user and not a link.
pub fn open_private_file(path: &Path) -> io::Result<(File, Metadata)> {
    let file = OpenOptions::new().read(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path)?;
    checked(file)
}

fn checked(file: File) -> io::Result<(File, Metadata)> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || is_link(&metadata) {
        return Err(refused("it is no file"));
    }
    check(&file)?;
    Ok((file, metadata))
}

/// Opens a file that is written at its end, or creates it, and how it was. Otherwise as [`open_private_file`].
pub fn append_private_file(path: &Path) -> io::Result<(File, Metadata)> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT);
    checked(options.open(path)?)
}

/// Creates a new file in a directory that is private to this user: the file has the directory's rights.
pub fn create_private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

impl FileState {
    pub fn of(file: &File) -> io::Result<FileState> {
        /// 1970 in the system's own time: steps of 100 ns since 1601.
        const EPOCH: i64 = 116_444_736_000_000_000;
        let nanos = |time: i64| time.saturating_sub(EPOCH).saturating_mul(100);
        let (mut identity, mut times) = (BY_HANDLE_FILE_INFORMATION::default(), FILE_BASIC_INFO::default());
        let len = size_of::<FILE_BASIC_INFO>() as u32;
        // SAFETY: both are written to our variables, of which there are so many bytes.
        unsafe {
            result(GetFileInformationByHandle(file.as_raw_handle(), &mut identity))?;
            let place = (&raw mut times).cast();
            result(GetFileInformationByHandleEx(file.as_raw_handle(), FileBasicInfo, place, len))?;
        }
        let join = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        Ok(FileState {
            device: u64::from(identity.dwVolumeSerialNumber),
            inode: join(identity.nFileIndexHigh, identity.nFileIndexLow),
            size: join(identity.nFileSizeHigh, identity.nFileSizeLow),
            modified: nanos(times.LastWriteTime),
            changed: nanos(times.ChangeTime),
        })
    }
}
