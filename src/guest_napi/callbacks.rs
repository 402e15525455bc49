//! JavaScript calls the guest: functions, classes, getters and setters.
//!
//! For this room. Each function that a guest makes has one C callback of ours, with a [`Callback`] as its data.
//! Invariant: a callback lives as long as JavaScript can call its function: that of a single function
//! goes with it, those of a class are kept until the environment ends, as a method may outlive its class.

use super::call::{Arguments, Call};
use super::guest::Guest;
use super::status::{Done, Status, check};
use crate::node::failure::{self, Failure, Kind};
use crate::node::raw;
use engine::{VMFuncRef, ValType};
use napi::sys;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::rc::Rc;

/// A function of the guest: `(env, info) -> value`.
pub struct Callback {
    /// The guest lives as long as JavaScript can call: until the hook that ends it with its environment.
    guest: *const Guest,
    func: NonNull<VMFuncRef>,
    data: u32,
}

impl Callback {
    pub fn new(guest: &Rc<Guest>, place: u32, data: u32) -> Result<Callback, Status> {
        let func = guest.function(place, &[ValType::I32; 2], &[ValType::I32])?;
        Ok(Callback { guest: Rc::as_ptr(guest), func, data })
    }

    /// Keeps the callback until the environment ends.
    fn kept(self, guest: &Guest) -> *mut c_void {
        let boxed = Box::new(self);
        let data = (&raw const *boxed).cast_mut().cast();
        guest.callbacks.borrow_mut().push(boxed);
        data
    }
}

/// What V8 calls.
unsafe extern "C" fn on_call(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    let mut arguments = Arguments {
        info,
        this: ptr::null_mut(),
        count: Arguments::FIRST,
        first: [ptr::null_mut(); Arguments::FIRST],
        data: 0,
    };
    let mut data = ptr::null_mut();
    // SAFETY: `info` is that of the running call, and there is room for so many values. The status can be
    // ignored: the call fails only for null.
    unsafe {
        let Arguments { count, first, this, .. } = &mut arguments;
        sys::napi_get_cb_info(env, info, count, first.as_mut_ptr(), this, &mut data);
    }
    // SAFETY: made in this file for this function, which is being called.
    let callback = unsafe { &*data.cast::<Callback>() };
    arguments.data = callback.data;
    let func = callback.func;
    // SAFETY: JavaScript runs, so the environment has not ended.
    let guest = unsafe { &*callback.guest };
    // A panic here is a bug in us. The guest's state may be half done, so it ends.
    let called = catch_unwind(AssertUnwindSafe(|| call(guest, func, &arguments)));
    called.unwrap_or_else(|_| {
        let text = "calling a function of a module panicked".to_string();
        super::call::throw(guest, engine::Error::Internal(text));
        ptr::null_mut()
    })
}

#[inline(always)]
fn call(guest: &Guest, func: NonNull<VMFuncRef>, arguments: &Arguments) -> sys::napi_value {
    if guest.is_dead() {
        failure::throw(&guest.realm, guest.dead_error());
        return ptr::null_mut();
    }
    let marker = 0u8;
    if (&raw const marker).addr() < guest.stack_floor {
        failure::throw(&guest.realm, Failure::new(Kind::Stack, ""));
        return ptr::null_mut();
    }
    guest.activate(Some(arguments), |activation| {
        // SAFETY: `Callback::new` has looked at the type, and a guest that is not dead has its instance.
        match unsafe { guest.enter(func, [guest.env.get(), activation.number]) } {
            Ok(handle) => guest.handles.get(handle).unwrap_or(ptr::null_mut()),
            Err(error) => {
                super::call::throw(guest, error);
                ptr::null_mut()
            }
        }
    })
}

/// Makes a function of the guest's a value of JavaScript's.
pub fn make_function(
    guest: &Rc<Guest>,
    name: Option<&super::call::Text>,
    callback: Callback,
) -> Result<sys::napi_value, Status> {
    let data = Box::into_raw(Box::new(callback));
    let mut value = ptr::null_mut();
    let (text, length) = name.map_or((ptr::null(), 0), |name| (name.as_ptr(), name.len()));
    // SAFETY: the name outlives the call. The callback lives as long as the function, by the finalizer.
    unsafe {
        let made = check(sys::napi_create_function(
            guest.host,
            text,
            length,
            Some(on_call),
            data.cast(),
            &mut value,
        ));
        let made = made.and_then(|()| {
            check(sys::napi_add_finalizer(
                guest.host,
                value,
                data.cast(),
                Some(on_gone),
                ptr::null_mut(),
                ptr::null_mut(),
            ))
        });
        if let Err(status) = made {
            drop(Box::from_raw(data));
            return Err(status);
        }
    }
    Ok(value)
}

unsafe extern "C" fn on_gone(_: sys::napi_env, data: *mut c_void, _: *mut c_void) {
    // SAFETY: the box that `make_function` gave away, handed back once.
    raw::contained(|| drop(unsafe { Box::from_raw(data.cast::<Callback>()) }));
}

pub fn napi_create_function(
    call: &Call<'_>,
    name: u32,
    length: u32,
    callback: u32,
    data: u32,
    result: u32,
) -> Done {
    call.reserve(result, 4)?;
    let name = if name == 0 { None } else { Some(call.text(name, length)?) };
    let guest = call.rc();
    let callback = Callback::new(&guest, callback, data)?;
    let value = make_function(&guest, name.as_ref(), callback)?;
    call.give(result, value)
}

/// The bytes of a `napi_property_descriptor` of a guest.
const DESCRIPTOR: u32 = 32;
const MOST_DESCRIPTORS: u32 = 1 << 16;

/// Reads the guest's descriptors and has `run` use them.
fn with_descriptors(
    call: &Call<'_>,
    count: u32,
    descriptors: u32,
    run: impl FnOnce(&[sys::napi_property_descriptor]) -> Done,
) -> Done {
    if count > 0 && descriptors == 0 || count > MOST_DESCRIPTORS {
        return Err(Status::INVALID_ARG);
    }
    let memory = call.memory();
    memory.reserve(descriptors, (count * DESCRIPTOR) as usize)?;
    let guest = call.rc();
    let mut names = Vec::new();
    let mut list = Vec::new();
    for place in 0..count {
        let field = |number: u32| {
            memory.read_u32(descriptors + place * DESCRIPTOR + 4 * number).map_err(Status::from)
        };
        let [text, name, method, getter, setter, value, attributes, data] =
            [field(0)?, field(1)?, field(2)?, field(3)?, field(4)?, field(5)?, field(6)?, field(7)?];
        let text = if text == 0 { None } else { Some(Box::new(call.c_string(text)?)) };
        let callback = |place: u32| match place {
            0 => Ok(None),
            _ => Callback::new(&guest, place, data).map(Some),
        };
        let callbacks = [callback(method)?, callback(getter)?, callback(setter)?];
        let name = if text.is_some() { ptr::null_mut() } else { call.value(name)? };
        // The host takes a descriptor without functions for one with a value, whatever that is.
        let is_function = method != 0 || getter != 0 || setter != 0;
        let value = if value == 0 && is_function { ptr::null_mut() } else { call.value(value)? };
        names.push(text);
        list.push((name, callbacks, value, attributes));
    }
    // From here on nothing fails but the host.
    let list: Vec<sys::napi_property_descriptor> = list
        .into_iter()
        .zip(&names)
        .map(|((name, [method, getter, setter], value, attributes), text)| {
            let is_accessor = getter.is_some() || setter.is_some();
            let c_callback = |of: &Option<Callback>| of.as_ref().map(|_| on_call as _);
            let (method_c, getter_c, setter_c) =
                (c_callback(&method), c_callback(&getter), c_callback(&setter));
            // A descriptor has one word of data for getter and setter: each is told by a callback of its own.
            let (data, getter_c, setter_c) = match (method, getter, setter) {
                (Some(method), ..) => (method.kept(&guest), None, None),
                (None, Some(getter), Some(setter)) => {
                    let both = Accessor { getter: getter.kept(&guest), setter: setter.kept(&guest) };
                    let both = Box::new(both);
                    let data = (&raw const *both).cast_mut().cast();
                    guest.accessors.borrow_mut().push(both);
                    (data, Some(on_get as _), Some(on_set as _))
                }
                (None, Some(getter), None) => (getter.kept(&guest), getter_c, None),
                (None, None, Some(setter)) => (setter.kept(&guest), None, setter_c),
                (None, None, None) => (ptr::null_mut(), None, None),
            };
            sys::napi_property_descriptor {
                utf8name: text.as_ref().map_or(ptr::null(), |text| text.as_ptr()),
                name,
                method: method_c,
                getter: getter_c,
                setter: setter_c,
                value: if is_accessor || method_c.is_some() { ptr::null_mut() } else { value },
                attributes: attributes as i32,
                data,
            }
        })
        .collect();
    run(&list)
}

/// What an accessor has that can be read and written.
pub struct Accessor {
    getter: *mut c_void,
    setter: *mut c_void,
}

unsafe extern "C" fn on_get(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the data of this function is an `Accessor` that is kept until the environment ends.
    unsafe { on_access(env, info, |accessor| accessor.getter) }
}

unsafe extern "C" fn on_set(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: as above.
    unsafe { on_access(env, info, |accessor| accessor.setter) }
}

/// # Safety
/// `info` is that of a running call of a function whose data is an [`Accessor`].
unsafe fn on_access(
    env: sys::napi_env,
    info: sys::napi_callback_info,
    which: fn(&Accessor) -> *mut c_void,
) -> sys::napi_value {
    let mut arguments = Arguments {
        info,
        this: ptr::null_mut(),
        count: Arguments::FIRST,
        first: [ptr::null_mut(); Arguments::FIRST],
        data: 0,
    };
    let mut data = ptr::null_mut();
    // SAFETY: as in `on_call`.
    let callback = unsafe {
        let Arguments { count, first, this, .. } = &mut arguments;
        sys::napi_get_cb_info(env, info, count, first.as_mut_ptr(), this, &mut data);
        &*which(&*data.cast::<Accessor>()).cast::<Callback>()
    };
    arguments.data = callback.data;
    let func = callback.func;
    // SAFETY: as in `on_call`.
    let guest = unsafe { &*callback.guest };
    catch_unwind(AssertUnwindSafe(|| self::call(guest, func, &arguments))).unwrap_or(ptr::null_mut())
}

pub fn napi_define_properties(call: &Call<'_>, object: u32, count: u32, descriptors: u32) -> Done {
    let object = call.value(object)?;
    with_descriptors(call, count, descriptors, |list| {
        let (host, count) = (call.host(), list.len());
        // SAFETY: the descriptors and their texts are ours until the call is over.
        call.javascript(|| unsafe { sys::napi_define_properties(host, object, count, list.as_ptr()) })
    })
}

#[expect(clippy::too_many_arguments, reason = "they are the function's")]
pub fn napi_define_class(
    call: &Call<'_>,
    name: u32,
    length: u32,
    constructor: u32,
    data: u32,
    count: u32,
    descriptors: u32,
    result: u32,
) -> Done {
    call.reserve(result, 4)?;
    let name = call.text(name, length)?;
    let guest = call.rc();
    let constructor = Callback::new(&guest, constructor, data)?;
    with_descriptors(call, count, descriptors, |list| {
        list.iter().try_for_each(|descriptor| check_value_of_class(call, descriptor))?;
        let mut value = ptr::null_mut();
        let data = constructor.kept(&guest);
        // SAFETY: as above. The callbacks are kept until the environment ends.
        let status = unsafe {
            let (host, count) = (call.host(), list.len());
            let (name, length) = (name.as_ptr(), name.len());
            sys::napi_define_class(host, name, length, Some(on_call), data, count, list.as_ptr(), &mut value)
        };
        check(status)?;
        call.give(result, value)
    })
}

/// V8 ends the process if a class is made with an object for a value of its prototype.
fn check_value_of_class(call: &Call<'_>, descriptor: &sys::napi_property_descriptor) -> Done {
    const STATIC: i32 = 1 << 10;
    if descriptor.value.is_null() || descriptor.attributes & STATIC != 0 {
        return Ok(());
    }
    let mut kind = 0;
    // SAFETY: a handle of an open scope, and a local result.
    check(unsafe { sys::napi_typeof(call.host(), descriptor.value, &mut kind) })?;
    match kind {
        sys::ValueType::napi_object | sys::ValueType::napi_function | sys::ValueType::napi_external => {
            Err(Status::INVALID_ARG)
        }
        _ => Ok(()),
    }
}

pub fn napi_get_cb_info(call: &Call<'_>, info: u32, argc: u32, argv: u32, this: u32, data: u32) -> Done {
    let arguments = call.guest.called_with(info)?;
    let memory = call.memory();
    if argc != 0 {
        let room = memory.read_u32(argc)?;
        if argv != 0 && room > 0 {
            memory.reserve(argv, room as usize * 4)?;
            give_arguments(call, arguments, argv, room)?;
        }
        memory.write_u32(argc, u32::try_from(arguments.count).unwrap_or(u32::MAX))?;
    }
    if this != 0 {
        call.give(this, arguments.this)?;
    }
    if data != 0 {
        memory.write_u32(data, arguments.data)?;
    }
    Ok(())
}

/// Fills the guest's array. What was not passed is undefined.
#[inline(always)]
fn give_arguments(call: &Call<'_>, arguments: &Arguments, argv: u32, room: u32) -> Done {
    if arguments.count > Arguments::FIRST && room as usize > Arguments::FIRST {
        return give_many_arguments(call, arguments, argv, room);
    }
    let (handles, memory) = (&call.guest.handles, call.memory());
    let given = arguments.count.min(room as usize).min(Arguments::FIRST);
    let passed = arguments.first.get(..given).unwrap_or_default();
    let first = handles.push_all(passed)?;
    let given = given as u32;
    for place in 0..given {
        memory.write_u32(argv + 4 * place, first + place)?;
    }
    if room > given {
        let undefined = handles.push(raw::undefined(call.host())?)?;
        for place in given..room {
            memory.write_u32(argv + 4 * place, undefined)?;
        }
    }
    Ok(())
}

#[cold]
fn give_many_arguments(call: &Call<'_>, arguments: &Arguments, argv: u32, room: u32) -> Done {
    let (handles, memory) = (&call.guest.handles, call.memory());
    let mut all = Vec::new();
    let mut count = arguments.count;
    all.try_reserve_exact(count).map_err(|_| Status::GENERIC_FAILURE)?;
    all.resize(count, ptr::null_mut());
    let none = ptr::null_mut();
    // SAFETY: the call of this info is on the stack, and there is room for so many values.
    check(unsafe {
        sys::napi_get_cb_info(call.host(), arguments.info, &mut count, all.as_mut_ptr(), none, none.cast())
    })?;
    let undefined = handles.push(raw::undefined(call.host())?)?;
    for place in 0..room {
        let handle = match all.get(place as usize) {
            Some(value) => handles.push(*value)?,
            None => undefined,
        };
        memory.write_u32(argv + 4 * place, handle)?;
    }
    Ok(())
}

pub fn napi_get_new_target(call: &Call<'_>, info: u32, result: u32) -> Done {
    let arguments = call.guest.called_with(info)?;
    call.reserve(result, 4)?;
    let mut value = ptr::null_mut();
    // SAFETY: the call of this info is on the stack.
    check(unsafe { sys::napi_get_new_target(call.host(), arguments.info, &mut value) })?;
    if value.is_null() {
        // A plain call has none.
        return call.write_u32(result, 0);
    }
    call.give(result, value)
}

pub fn napi_call_function(
    call: &Call<'_>,
    receiver: u32,
    function: u32,
    argc: u32,
    argv: u32,
    result: u32,
) -> Done {
    call.reserve_optional(result, 4)?;
    let host = call.host();
    let function = call.value(function)?;
    let receiver = match receiver {
        0 => raw::undefined(host).map_err(|_| Status::PENDING_EXCEPTION)?,
        _ => call.value(receiver)?,
    };
    let value = call.values(argv, argc, |args| {
        let mut value = ptr::null_mut();
        // SAFETY: all are handles of open scopes.
        call.javascript(|| unsafe {
            sys::napi_call_function(host, receiver, function, args.len(), args.as_ptr(), &mut value)
        })?;
        Ok(value)
    })?;
    call.give_optional(result, value)
}

pub fn napi_new_instance(call: &Call<'_>, constructor: u32, argc: u32, argv: u32, result: u32) -> Done {
    call.reserve(result, 4)?;
    let (host, constructor) = (call.host(), call.value(constructor)?);
    let value = call.values(argv, argc, |args| {
        let mut value = ptr::null_mut();
        // SAFETY: as above.
        call.javascript(|| unsafe {
            sys::napi_new_instance(host, constructor, args.len(), args.as_ptr(), &mut value)
        })?;
        Ok(value)
    })?;
    call.give(result, value)
}

impl Call<'_> {
    /// The guest, for what outlives the call.
    pub fn rc(&self) -> Rc<Guest> {
        // SAFETY: a guest is made by `Guest::new` only, which gives out an `Rc`, and it lives: it is on the
        // stack below.
        unsafe {
            let guest: *const Guest = self.guest;
            Rc::increment_strong_count(guest);
            Rc::from_raw(guest)
        }
    }
}

impl From<crate::node::raw::Refused> for Status {
    fn from(_: crate::node::raw::Refused) -> Status {
        Status::PENDING_EXCEPTION
    }
}
