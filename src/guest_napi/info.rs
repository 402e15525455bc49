//! What a guest is told about its host, and about its last call. Structs of these lie in the guest's memory.
//!
//! For `functions.rs`.

use super::call::Call;
use super::status::{Done, MESSAGES, Status, check};
use napi::sys;
use std::cell::{Cell, RefCell};
use std::ptr;

/// The version of Node-API that guests are served.
const VERSION: u32 = 10;

/// The addresses of structs that were made for the guest, each once.
#[derive(Default)]
pub struct Statics {
    error_info: Cell<u32>,
    messages: RefCell<Vec<(i32, u32)>>,
    node_version: Cell<u32>,
    file_name: Cell<u32>,
}

impl Statics {
    /// The guest's memory is gone.
    pub fn forget(&self) {
        self.error_info.set(0);
        self.messages.borrow_mut().clear();
        self.node_version.set(0);
        self.file_name.set(0);
    }
}

/// A copy of the text in the guest's memory, with a NUL.
fn give_text(call: &Call<'_>, text: &str) -> Result<u32, Status> {
    let length = u32::try_from(text.len()).map_err(|_| Status::GENERIC_FAILURE)?;
    let address = call.guest.malloc(length + 1)?;
    call.memory().write_bytes(address, text.as_bytes())?;
    call.memory().write_u8(address + length, 0)?;
    Ok(address)
}

/// `napi_extended_error_info`: message, reserved, engine's code, status. It does not change what it tells.
pub fn napi_get_last_error_info(call: &Call<'_>, result: u32) -> Done {
    const SIZE: u32 = 16;
    call.reserve(result, 4)?;
    let guest = call.guest;
    let statics = &guest.statics;
    let status = guest.last_status.get();
    if statics.error_info.get() == 0 {
        statics.error_info.set(guest.malloc(SIZE)?);
    }
    let known = statics.messages.borrow().iter().find(|(of, _)| *of == status).map(|(_, text)| *text);
    let message = match (known, MESSAGES.get(status as usize)) {
        (Some(text), _) => text,
        (None, Some(text)) if !text.is_empty() => {
            let address = give_text(call, text)?;
            statics.messages.borrow_mut().push((status, address));
            address
        }
        _ => 0,
    };
    let info = statics.error_info.get();
    let memory = call.memory();
    memory.reserve(info, SIZE as usize)?;
    memory.write_u32(info, message)?;
    memory.write_u32(info + 4, 0)?;
    memory.write_u32(info + 8, 0)?;
    memory.write_u32(info + 12, status as u32)?;
    call.write_u32(result, info)
}

fn host_version(call: &Call<'_>) -> Result<&'static sys::napi_node_version, Status> {
    let mut version = ptr::null();
    // SAFETY: the environment of this thread, and a local result, which points to what stays.
    unsafe {
        check(sys::napi_get_node_version(call.host(), &mut version))?;
        Ok(&*version)
    }
}

/// Major, minor and patch.
pub fn node_version(call: &Call<'_>) -> Result<[u32; 3], Status> {
    let version = host_version(call)?;
    Ok([version.major, version.minor, version.patch])
}

/// `napi_node_version`: major, minor, patch, the release's name.
pub fn napi_get_node_version(call: &Call<'_>, result: u32) -> Done {
    call.reserve(result, 4)?;
    let statics = &call.guest.statics;
    if statics.node_version.get() == 0 {
        let version = host_version(call)?;
        let numbers = [version.major, version.minor, version.patch];
        let release = match version.release.is_null() {
            true => String::new(),
            // SAFETY: a text of the host's that stays.
            false => unsafe { std::ffi::CStr::from_ptr(version.release) }.to_string_lossy().into_owned(),
        };
        let address = call.guest.malloc(16)?;
        let release = give_text(call, &release)?;
        let memory = call.memory();
        for (place, number) in (0..).zip(numbers) {
            memory.write_u32(address + 4 * place, number)?;
        }
        memory.write_u32(address + 12, release)?;
        statics.node_version.set(address);
    }
    call.write_u32(result, statics.node_version.get())
}

pub fn napi_get_version(call: &Call<'_>, result: u32) -> Done {
    call.reserve(result, 4)?;
    call.write_u32(result, VERSION)
}

pub fn node_api_get_module_file_name(call: &Call<'_>, result: u32) -> Done {
    call.reserve(result, 4)?;
    let statics = &call.guest.statics;
    if statics.file_name.get() == 0 {
        statics.file_name.set(give_text(call, &call.guest.file_name)?);
    }
    call.write_u32(result, statics.file_name.get())
}

/// libuv's loop is a host pointer, of which no guest can make use.
pub fn napi_get_uv_event_loop(call: &Call<'_>, result: u32) -> Done {
    call.reserve(result, 4)?;
    Err(Status::GENERIC_FAILURE)
}
