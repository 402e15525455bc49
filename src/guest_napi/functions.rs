//! The functions that guests import: name, signature and body of each, in one table.
//!
//! For `load.rs`. What binds, types and tests them is generated from the table. A row is a body's module and
//! name, and the parameters after the environment, as compiled code passes them. Rows are `quiet` if nothing of theirs
//! can run JavaScript: no getter, no trap of a proxy, no hook of Node's. Invariant: a function bound by
//! [`find`] runs on the realm's thread only; instances on other threads get those of [`off_thread`].

use super::call::{serve, serve_last_error, serve_plain, serve_quiet};
use super::guest::GuestRef;
use super::status::Status;
use super::*;
use engine::{FuncType, NativeFunc, VMHostContext, ValType};
use std::ffi::c_void;
use std::sync::Arc;

/// A type that compiled code passes in a register.
trait Param {
    const TYPE: ValType;
}

macro_rules! params {
    ($($ty:ty = $val:ident;)*) => {$(impl Param for $ty { const TYPE: ValType = ValType::$val; })*};
}

params! { u32 = I32; i32 = I32; u64 = I64; i64 = I64; f64 = F64; }

pub struct Function {
    pub name: &'static str,
    params: fn() -> Vec<ValType>,
    returns: bool,
    code: fn() -> *const c_void,
    off_thread: fn() -> *const c_void,
}

impl Function {
    pub fn ty(&self) -> FuncType {
        let results: &[ValType] = if self.returns { &[ValType::I32] } else { &[] };
        FuncType::new((self.params)(), results)
    }
}

macro_rules! functions {
    (
        quiet { $($quiet_module:ident::$quiet:ident($($quiet_arg:ident: $quiet_ty:ty),*);)* }
        env { $($module:ident::$name:ident($($arg:ident: $ty:ty),*);)* }
        plain { $($plain_module:ident::$plain:ident($($plain_arg:ident: $plain_ty:ty),*) $(-> $i32:ident)?;)* }
    ) => {
        static FUNCTIONS: &[Function] = &[
            $(Function {
                name: stringify!($quiet),
                params: || vec![ValType::I32, $(<$quiet_ty as Param>::TYPE),*],
                returns: true,
                code: || native::$quiet as *const c_void,
                off_thread: || elsewhere::$quiet as *const c_void,
            },)*
            $(Function {
                name: stringify!($name),
                params: || vec![ValType::I32, $(<$ty as Param>::TYPE),*],
                returns: true,
                code: || native::$name as *const c_void,
                off_thread: || elsewhere::$name as *const c_void,
            },)*
            $(Function {
                name: stringify!($plain),
                params: || vec![$(<$plain_ty as Param>::TYPE),*],
                returns: 0 $(+ { let _ = stringify!($i32); 1 })? == 1,
                code: || native::$plain as *const c_void,
                off_thread: || elsewhere::$plain as *const c_void,
            },)*
        ];

        /// With the C signature of [`NativeFunc`].
        mod native {
            use super::*;

            $(pub unsafe extern "C" fn $quiet(
                context: *mut VMHostContext, env: u32, $($quiet_arg: $quiet_ty),*
            ) -> i64 {
                // SAFETY: compiled code passes the context that the function was bound with.
                unsafe { serve_quiet(context, env, |call| $quiet_module::$quiet(call, $($quiet_arg),*)) }
            })*

            $(pub unsafe extern "C" fn $name(context: *mut VMHostContext, env: u32, $($arg: $ty),*) -> i64 {
                // SAFETY: compiled code passes the context that the function was bound with.
                unsafe { serve(context, env, |call| $module::$name(call, $($arg),*)) }
            })*

            $(pub unsafe extern "C" fn $plain(context: *mut VMHostContext, $($plain_arg: $plain_ty),*) -> i64 {
                // SAFETY: as above.
                unsafe { serve_plain(context, |call| $plain_module::$plain(call, $($plain_arg),*)) }
            })*
        }

        /// The same for instances on other threads, where Node-API may not be called.
        mod elsewhere {
            use super::*;

            $(pub unsafe extern "C" fn $quiet(_: *mut VMHostContext, _: u32, $($quiet_arg: $quiet_ty),*) -> i64 {
                $(let _ = $quiet_arg;)*
                i64::from(Status::GENERIC_FAILURE.0)
            })*

            $(pub unsafe extern "C" fn $name(_: *mut VMHostContext, _: u32, $($arg: $ty),*) -> i64 {
                $(let _ = $arg;)*
                i64::from(Status::GENERIC_FAILURE.0)
            })*

            $(pub unsafe extern "C" fn $plain(_: *mut VMHostContext, $($plain_arg: $plain_ty),*) -> i64 {
                $(let _ = $plain_arg;)*
                i64::from(Status::GENERIC_FAILURE.0)
            })*
        }
    };
}

functions! {
    quiet {
        // ---- values
        values::napi_get_undefined(result: u32);
        values::napi_get_null(result: u32);
        values::napi_get_global(result: u32);
        values::napi_get_boolean(value: u32, result: u32);
        values::napi_create_object(result: u32);
        values::napi_create_array(result: u32);
        values::napi_create_array_with_length(length: u32, result: u32);
        values::napi_create_double(value: f64, result: u32);
        values::napi_create_int32(value: i32, result: u32);
        values::napi_create_uint32(value: u32, result: u32);
        values::napi_create_int64(value: i64, result: u32);
        values::napi_create_bigint_int64(value: i64, result: u32);
        values::napi_create_bigint_uint64(value: u64, result: u32);
        values::napi_create_bigint_words(sign: i32, count: u32, words: u32, result: u32);
        values::napi_create_date(time: f64, result: u32);
        values::napi_create_symbol(description: u32, result: u32);
        values::napi_typeof(value: u32, result: u32);
        values::napi_get_value_double(value: u32, result: u32);
        values::napi_get_value_int32(value: u32, result: u32);
        values::napi_get_value_uint32(value: u32, result: u32);
        values::napi_get_value_int64(value: u32, result: u32);
        values::napi_get_value_bool(value: u32, result: u32);
        values::napi_get_value_bigint_int64(value: u32, result: u32, lossless: u32);
        values::napi_get_value_bigint_uint64(value: u32, result: u32, lossless: u32);
        values::napi_get_value_bigint_words(value: u32, sign: u32, count: u32, words: u32);
        values::napi_get_date_value(value: u32, result: u32);
        values::napi_get_array_length(value: u32, result: u32);
        values::napi_coerce_to_bool(value: u32, result: u32);
        values::napi_is_array(value: u32, result: u32);
        values::napi_is_arraybuffer(value: u32, result: u32);
        values::napi_is_buffer(value: u32, result: u32);
        values::napi_is_dataview(value: u32, result: u32);
        values::napi_is_date(value: u32, result: u32);
        values::napi_is_detached_arraybuffer(value: u32, result: u32);
        values::napi_is_error(value: u32, result: u32);
        values::napi_is_promise(value: u32, result: u32);
        values::napi_is_typedarray(value: u32, result: u32);
        values::napi_strict_equals(one: u32, other: u32, result: u32);

        // ---- strings
        strings::napi_create_string_utf8(text: u32, length: u32, result: u32);
        strings::napi_create_string_latin1(text: u32, length: u32, result: u32);
        strings::napi_create_string_utf16(text: u32, length: u32, result: u32);
        strings::node_api_create_property_key_utf8(text: u32, length: u32, result: u32);
        strings::node_api_create_property_key_latin1(text: u32, length: u32, result: u32);
        strings::node_api_create_property_key_utf16(text: u32, length: u32, result: u32);
        strings::node_api_symbol_for(text: u32, length: u32, result: u32);
        strings::napi_get_value_string_utf8(value: u32, buffer: u32, size: u32, result: u32);
        strings::napi_get_value_string_latin1(value: u32, buffer: u32, size: u32, result: u32);
        strings::napi_get_value_string_utf16(value: u32, buffer: u32, size: u32, result: u32);

        // ---- functions and classes
        callbacks::napi_get_cb_info(info: u32, argc: u32, argv: u32, this: u32, data: u32);
        callbacks::napi_get_new_target(info: u32, result: u32);

        // ---- what objects own
        wraps::napi_unwrap(object: u32, result: u32);
        wraps::napi_get_value_external(value: u32, result: u32);
        wraps::napi_check_object_type_tag(object: u32, tag: u32, result: u32);

        // ---- references and scopes
        references::napi_create_reference(value: u32, count: u32, result: u32);
        references::napi_delete_reference(reference: u32);
        references::napi_reference_ref(reference: u32, result: u32);
        references::napi_reference_unref(reference: u32, result: u32);
        references::napi_get_reference_value(reference: u32, result: u32);
        references::napi_open_handle_scope(result: u32);
        references::napi_close_handle_scope(scope: u32);
        references::napi_open_escapable_handle_scope(result: u32);
        references::napi_close_escapable_handle_scope(scope: u32);
        references::napi_escape_handle(scope: u32, value: u32, result: u32);

        // ---- errors
        errors::napi_is_exception_pending(result: u32);
        errors::napi_get_and_clear_last_exception(result: u32);
        errors::napi_set_last_error(status: u32, engine_code: u32, engine_reserved: u32);
        errors::napi_clear_last_error();

        // ---- bytes
        bytes::napi_get_arraybuffer_info(value: u32, data: u32, length: u32);
        bytes::napi_get_buffer_info(value: u32, data: u32, length: u32);
        bytes::napi_get_typedarray_info(
            value: u32, kind: u32, length: u32, data: u32, buffer: u32, offset: u32
        );
        bytes::napi_get_dataview_info(value: u32, length: u32, data: u32, buffer: u32, offset: u32);

        // ---- the guest's own data and its end
        lifetime::napi_get_instance_data(result: u32);

        // ---- the host
        info::napi_get_version(result: u32);
    }
    env {
        // ---- values
        values::napi_create_error(code: u32, message: u32, result: u32);
        values::napi_create_type_error(code: u32, message: u32, result: u32);
        values::napi_create_range_error(code: u32, message: u32, result: u32);
        values::node_api_create_syntax_error(code: u32, message: u32, result: u32);
        values::napi_coerce_to_number(value: u32, result: u32);
        values::napi_coerce_to_object(value: u32, result: u32);
        values::napi_coerce_to_string(value: u32, result: u32);
        values::napi_create_promise(deferred: u32, promise: u32);
        values::napi_resolve_deferred(deferred: u32, resolution: u32);
        values::napi_reject_deferred(deferred: u32, rejection: u32);
        values::napi_run_script(script: u32, result: u32);

        // ---- strings
        strings::node_api_create_external_string_latin1(
            text: u32, length: u32, finalize: u32, hint: u32, result: u32, copied: u32
        );
        strings::node_api_create_external_string_utf16(
            text: u32, length: u32, finalize: u32, hint: u32, result: u32, copied: u32
        );

        // ---- objects
        objects::napi_get_prototype(object: u32, result: u32);
        objects::napi_get_property_names(object: u32, result: u32);
        objects::napi_get_all_property_names(
            object: u32, mode: i32, filter: i32, conversion: i32, result: u32
        );
        objects::napi_set_property(object: u32, key: u32, value: u32);
        objects::napi_get_property(object: u32, key: u32, result: u32);
        objects::napi_has_property(object: u32, key: u32, result: u32);
        objects::napi_has_own_property(object: u32, key: u32, result: u32);
        objects::napi_delete_property(object: u32, key: u32, result: u32);
        objects::napi_set_named_property(object: u32, name: u32, value: u32);
        objects::napi_get_named_property(object: u32, name: u32, result: u32);
        objects::napi_has_named_property(object: u32, name: u32, result: u32);
        objects::napi_set_element(object: u32, index: u32, value: u32);
        objects::napi_get_element(object: u32, index: u32, result: u32);
        objects::napi_has_element(object: u32, index: u32, result: u32);
        objects::napi_delete_element(object: u32, index: u32, result: u32);
        objects::napi_instanceof(object: u32, constructor: u32, result: u32);
        objects::napi_object_freeze(object: u32);
        objects::napi_object_seal(object: u32);

        // ---- functions and classes
        callbacks::napi_create_function(name: u32, length: u32, callback: u32, data: u32, result: u32);
        callbacks::napi_define_properties(object: u32, count: u32, descriptors: u32);
        callbacks::napi_define_class(
            name: u32, length: u32, constructor: u32, data: u32, count: u32, descriptors: u32, result: u32
        );
        callbacks::napi_call_function(receiver: u32, function: u32, argc: u32, argv: u32, result: u32);
        callbacks::napi_new_instance(constructor: u32, argc: u32, argv: u32, result: u32);

        // ---- what objects own
        wraps::napi_wrap(object: u32, data: u32, finalize: u32, hint: u32, result: u32);
        wraps::napi_remove_wrap(object: u32, result: u32);
        wraps::napi_create_external(data: u32, finalize: u32, hint: u32, result: u32);
        wraps::napi_add_finalizer(object: u32, data: u32, finalize: u32, hint: u32, result: u32);
        wraps::napi_type_tag_object(object: u32, tag: u32);

        // ---- errors
        errors::napi_throw(error: u32);
        errors::napi_throw_error(code: u32, message: u32);
        errors::napi_throw_type_error(code: u32, message: u32);
        errors::napi_throw_range_error(code: u32, message: u32);
        errors::node_api_throw_syntax_error(code: u32, message: u32);
        errors::napi_fatal_exception(error: u32);

        // ---- bytes
        bytes::napi_create_arraybuffer(length: u32, data: u32, result: u32);
        bytes::napi_create_buffer(length: u32, data: u32, result: u32);
        bytes::napi_create_buffer_copy(length: u32, from: u32, data: u32, result: u32);
        bytes::napi_create_external_arraybuffer(
            data: u32, length: u32, finalize: u32, hint: u32, result: u32
        );
        bytes::napi_create_external_buffer(length: u32, data: u32, finalize: u32, hint: u32, result: u32);
        bytes::node_api_create_buffer_from_arraybuffer(buffer: u32, offset: u32, length: u32, result: u32);
        bytes::napi_create_typedarray(kind: i32, length: u32, buffer: u32, offset: u32, result: u32);
        bytes::napi_create_dataview(length: u32, buffer: u32, offset: u32, result: u32);
        bytes::napi_detach_arraybuffer(buffer: u32);

        // ---- the guest's own data and its end
        lifetime::napi_set_instance_data(data: u32, finalize: u32, hint: u32);
        lifetime::napi_add_env_cleanup_hook(place: u32, arg: u32);
        lifetime::napi_remove_env_cleanup_hook(place: u32, arg: u32);
        lifetime::napi_add_async_cleanup_hook(place: u32, arg: u32, result: u32);
        lifetime::napi_adjust_external_memory(change: i64, result: u32);

        // ---- emnapi's own
        emnapi::emnapi_sync_memory(to_guest: u32, place: u32, offset: u32, length: u32);
        emnapi::emnapi_get_memory_address(value: u32, address: u32, ownership: u32, allocated: u32);
        emnapi::emnapi_create_memory_view(
            kind: i32, data: u32, length: u32, finalize: u32, hint: u32, result: u32
        );

        // ---- asynchronous work and thread-safe functions
        work::napi_create_async_work(
            resource: u32, name: u32, execute: u32, complete: u32, data: u32, result: u32
        );
        work::napi_delete_async_work(work: u32);
        work::napi_queue_async_work(work: u32);
        work::napi_cancel_async_work(work: u32);
        tsfn::napi_create_threadsafe_function(
            function: u32, resource: u32, name: u32, max_queue_size: u32, initial_thread_count: u32,
            finalize_data: u32, finalize: u32, context: u32, call_js: u32, result: u32
        );
        tsfn::napi_ref_threadsafe_function(function: u32);
        tsfn::napi_unref_threadsafe_function(function: u32);

        // ---- asynchronous contexts
        contexts::napi_async_init(resource: u32, name: u32, result: u32);
        contexts::napi_async_destroy(context: u32);
        contexts::napi_make_callback(
            context: u32, receiver: u32, function: u32, argc: u32, argv: u32, result: u32
        );
        contexts::napi_open_callback_scope(resource: u32, context: u32, result: u32);
        contexts::napi_close_callback_scope(scope: u32);

        // ---- the host
        info::napi_get_node_version(result: u32);
        info::node_api_get_module_file_name(result: u32);
        info::napi_get_uv_event_loop(result: u32);
    }
    plain {
        errors::napi_fatal_error(location: u32, location_len: u32, message: u32, message_len: u32);
        lifetime::napi_remove_async_cleanup_hook(handle: u32) -> i32;
        lifetime::napi_module_register(module: u32);

        // ---- what emnapi's C code in guests imports
        emnapi::emnapi_is_node_binding_available() -> i32;
        emnapi::emnapi_is_support_weakref() -> i32;
        emnapi::emnapi_is_support_bigint() -> i32;
        emnapi::_emnapi_get_last_error_info(env: u32, status: u32, engine_code: u32, engine_reserved: u32);
        emnapi::_emnapi_get_node_version(major: u32, minor: u32, patch: u32);
        emnapi::_emnapi_get_filename(env: u32, text: u32, room: u32) -> i32;
        emnapi::_emnapi_after_uvthreadpool_ready(callback: u32, work: u32, kind: u32);
        emnapi::_emnapi_async_init_js(resource: u32, name: u32, result: u32) -> i32;
        emnapi::_emnapi_async_destroy_js(context: u32) -> i32;
        emnapi::_emnapi_node_open_callback_scope(resource: u32, id: f64, trigger: f64, scope: u32);
        emnapi::_emnapi_node_close_callback_scope(scope: u32);
        emnapi::_emnapi_is_main_browser_thread() -> i32;
        emnapi::_emnapi_is_main_runtime_thread() -> i32;
        emnapi::_emnapi_open_handle_scope() -> i32;
        emnapi::_emnapi_close_handle_scope(scope: u32);
        emnapi::_emnapi_create_function(name: u32, length: u32, callback: u32, data: u32, result: u32) -> i32;
        emnapi::_emnapi_call_finalizer(forced: u32, env: u32, callback: u32, data: u32, hint: u32);
        emnapi::_emnapi_callback_into_module(forced: u32, env: u32, callback: u32, data: u32, close: u32);
        emnapi::_emnapi_node_emit_async_init(resource: u32, name: u32, trigger: f64, result: u32);
        emnapi::_emnapi_node_emit_async_destroy(id: f64, trigger: f64);
        emnapi::_emnapi_node_make_callback(
            env: u32, resource: u32, function: u32, argv: u32, argc: u32, id: f64, trigger: f64, result: u32
        );
        emnapi::_emnapi_env_check_gc_access(env: u32);
        emnapi::_emnapi_env_ref(env: u32);
        emnapi::_emnapi_env_unref(env: u32);
        emnapi::_emnapi_runtime_keepalive_push();
        emnapi::_emnapi_runtime_keepalive_pop();
        emnapi::_emnapi_async_send_js(kind: u32, place: u32, data: u32);
        emnapi::_emnapi_set_immediate(place: u32, data: u32);
        emnapi::_emnapi_next_tick(place: u32, data: u32);
        emnapi::_emnapi_ctx_increase_waiting_request_counter();
        emnapi::_emnapi_ctx_decrease_waiting_request_counter();
    }
}

/// A function that leaves the last status as it was.
static LAST_ERROR: Function = Function {
    name: "napi_get_last_error_info",
    params: || vec![ValType::I32; 2],
    returns: true,
    code: || last_error_info as *const c_void,
    off_thread: || elsewhere::napi_get_version as *const c_void,
};

unsafe extern "C" fn last_error_info(context: *mut VMHostContext, env: u32, result: u32) -> i64 {
    // SAFETY: compiled code passes the context that the function was bound with.
    unsafe { serve_last_error(context, env, |call| info::napi_get_last_error_info(call, result)) }
}

pub fn all() -> impl Iterator<Item = &'static Function> {
    FUNCTIONS.iter().chain([&LAST_ERROR])
}

/// The modules that guests import functions of this table from: C's headers name one, Rust's crates another.
pub fn is_module(name: &str) -> bool {
    ["env", "napi", "emnapi"].contains(&name)
}

pub fn find(name: &str) -> Option<&'static Function> {
    all().find(|function| function.name == name)
}

impl Function {
    /// The function for an instance on the realm's thread.
    pub fn bind(&self, guest: &Arc<GuestRef>) -> NativeFunc {
        // SAFETY: the code was generated from the same row as the type, and treats its data as a `GuestRef`.
        unsafe { NativeFunc::new(self.ty(), (self.code)(), guest.clone()) }
    }

    /// The function for an instance on another thread: it says that it cannot be called there.
    pub fn bind_elsewhere(&self) -> NativeFunc {
        // SAFETY: as above; this code does not look at its data.
        unsafe { NativeFunc::new(self.ty(), (self.off_thread)(), Arc::new(())) }
    }
}
