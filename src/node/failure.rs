//! How anything that goes wrong reaches JavaScript.
//!
//! For this room. Invariant: whatever happens below, JavaScript sees either the very value that JavaScript
//! threw, or an error of the face's own classes. A panic becomes an error that names a bug in us. A failure
//! is never lost: where no exception can be thrown although the environment lives, the process ends. Texts
//! that a module chose are cut before they reach V8, which refuses long ones.

use super::constants::named;
use super::raw::{self, Reference, Refused};
use super::realm::Realm;
use engine::{CompileError, Frame, OverLimit, Trap, TrapCode};
use host::{HostExit, HostHeld, thread};
use napi::sys;
use std::any::Any;
use std::borrow::Cow;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use wasi::OutputLimit;

pub enum Failure {
    /// What JavaScript threw and wasm cannot catch, on its way out through wasm.
    Exception(Exception),
    /// An exception that no wasm caught.
    Thrown(engine::Exception),
    /// An error for the face to make: its kind, message, and the wasm frames of its stack.
    Error { kind: Kind, message: String, frames: String },
    /// Node refused a call. If no exception is pending, the environment is being torn down.
    Stopped,
}

named! {
    /// The kinds of error that the face's `makeError` knows, by name.
    pub enum Kind {
        Compile = "compile",
        Link = "link",
        Runtime = "runtime",
        /// The stack is exhausted.
        Stack = "stack",
        Range = "range",
        /// More was asked for than `limits` give.
        Limit = "limit",
        /// What `limits.fuel` gave is used up.
        Fuel = "fuel",
        /// The machine has no more of something, such as threads.
        Resource = "resource",
        /// The machine lacks the memory or the address space for what is asked.
        Memory = "memory",
        /// What is asked for belongs to a guest that is at work on its thread.
        Busy = "busy",
        /// What is used was closed.
        Closed = "closed",
        /// A native module that ran into an error runs no more.
        Dead = "dead",
        /// A native module called a function that it imports and nobody has.
        Import = "import",
        /// The time of a program is over. The face knows how much that was.
        Timeout = "timeout",
        /// `proc_exit`; the message is the exit code.
        Exit = "exit",
        /// A WASI function before the program was started.
        NotStarted = "not-started",
        /// A WASI option that cannot be honoured.
        Option = "option",
        /// Of a file in memory; the message begins with the errno's name and a colon.
        File = "file",
        Internal = "internal",
    }
}

impl Failure {
    /// A value that JavaScript threw.
    pub fn kept(env: sys::napi_env, value: sys::napi_value) -> Failure {
        Exception::keep(env, value).map_or(Failure::Stopped, Failure::Exception)
    }

    /// What happened, for an error that comes later.
    pub fn summary(&self) -> String {
        match self {
            Failure::Error { kind: Kind::Exit, message, .. } => format!("proc_exit({message})"),
            Failure::Error { message, .. } => message.clone(),
            Failure::Thrown(_) | Failure::Exception(_) => UNCAUGHT.to_string(),
            Failure::Stopped => "Node refused a call".to_string(),
        }
    }

    pub fn new(kind: Kind, message: impl Into<String>) -> Failure {
        Failure::Error { kind, message: message.into(), frames: String::new() }
    }
}

impl From<Refused> for Failure {
    fn from(_: Refused) -> Failure {
        Failure::Stopped
    }
}

impl From<CompileError> for Failure {
    fn from(error: CompileError) -> Failure {
        Failure::new(Kind::Compile, error.to_string())
    }
}

impl From<HostExit> for Failure {
    fn from(exit: HostExit) -> Failure {
        Failure::new(Kind::Exit, exit.0.to_string())
    }
}

impl From<OverLimit> for Failure {
    fn from(over: OverLimit) -> Failure {
        let option = match over {
            OverLimit::Memory { .. } => " (limits.memory)",
            OverLimit::Table { .. } => " (limits.table)",
            OverLimit::Total { .. } => " (limits.total)",
            OverLimit::Exceptions { .. } => "",
        };
        Failure::new(Kind::Limit, format!("{over}{option}"))
    }
}

impl From<OutputLimit> for Failure {
    fn from(over: OutputLimit) -> Failure {
        let advice = "raise it, or give a stream or a function";
        Failure::new(Kind::Limit, format!("{over} (limits.output); {advice}"))
    }
}

impl From<thread::GuestFailure> for Failure {
    fn from(failure: thread::GuestFailure) -> Failure {
        match failure {
            thread::GuestFailure::Exit(code) => HostExit(code).into(),
            thread::GuestFailure::Trap(trap) => trap.into(),
            // `threads.rs` never asks for the value, because JavaScript has it.
            thread::GuestFailure::Thrown(_) => Failure::Stopped,
            thread::GuestFailure::Link(message) => Failure::new(Kind::Link, message),
            thread::GuestFailure::Limit(over) => over.into(),
            thread::GuestFailure::Output(over) => over.into(),
            thread::GuestFailure::OutOfMemory(message) => Failure::new(Kind::Memory, message),
            thread::GuestFailure::Exception => Failure::new(Kind::Runtime, UNCAUGHT),
            thread::GuestFailure::Expired => Failure::new(Kind::Timeout, ""),
            thread::GuestFailure::Internal(message) => Failure::new(Kind::Internal, message),
        }
    }
}

const CLOSED: &str = "the instance is closed; make a new one";
const UNCAUGHT: &str = "wasm threw an exception that nothing caught";

impl From<Trap> for Failure {
    fn from(trap: Trap) -> Failure {
        let kind = match trap.code {
            TrapCode::StackExhausted => Kind::Stack,
            TrapCode::OutOfFuel => Kind::Fuel,
            _ => Kind::Runtime,
        };
        Failure::Error {
            kind,
            message: trap.code.message().to_string(),
            frames: stack_lines(&trap.backtrace),
        }
    }
}

impl From<engine::Error> for Failure {
    fn from(error: engine::Error) -> Failure {
        let payload = match error {
            engine::Error::Trap(trap) => return trap.into(),
            engine::Error::Host(payload) => payload,
            engine::Error::Exception(exception) => return Failure::Thrown(exception),
            engine::Error::Limit(over) => return over.into(),
            engine::Error::OutOfMemory(message) => return Failure::new(Kind::Memory, message),
            engine::Error::Closed => return Failure::new(Kind::Closed, CLOSED),
            engine::Error::Internal(message) => return Failure::new(Kind::Internal, message),
        };
        let payload = match payload.downcast::<Failure>() {
            Ok(failure) => return *failure,
            Err(other) => other,
        };
        if payload.is::<HostHeld>() {
            return Failure::new(Kind::NotStarted, "wasi.start() has not been called");
        }
        if let Some(over) = payload.downcast_ref::<OutputLimit>() {
            return (*over).into();
        }
        match payload.downcast::<HostExit>() {
            Ok(exit) => (*exit).into(),
            Err(_) => Failure::new(Kind::Internal, "a host function failed with an unknown value"),
        }
    }
}

impl From<Failure> for engine::Error {
    fn from(failure: Failure) -> engine::Error {
        engine::Error::Host(Box::new(failure))
    }
}

/// A thrown JavaScript value, kept while wasm frames are left.
pub struct Exception {
    value: Reference,
    /// Node-API has references to objects only. Any other value is the one element of an array.
    boxed: bool,
}

impl Exception {
    fn keep(env: sys::napi_env, value: sys::napi_value) -> Result<Exception, Refused> {
        if let Ok(value) = Reference::strong(env, value) {
            return Ok(Exception { value, boxed: false });
        }
        let mut array = ptr::null_mut();
        // SAFETY: `env` is the environment of this thread, `value` a handle of its open scope.
        unsafe {
            raw::check(sys::napi_create_array_with_length(env, 1, &mut array))?;
            raw::check(sys::napi_set_element(env, array, 0, value))?;
        }
        Ok(Exception { value: Reference::strong(env, array)?, boxed: true })
    }

    fn value(&self, env: sys::napi_env) -> Option<sys::napi_value> {
        let mut value = self.value.get()?;
        if self.boxed {
            // SAFETY: the array made in `keep`, which nobody else has seen.
            raw::check(unsafe { sys::napi_get_element(env, value, 0, &mut value) }).ok()?;
        }
        Some(value)
    }
}

/// Leaves `failure` pending as a JavaScript exception. Nothing is left in the window that could be taken for
/// results: whatever JavaScript does, a call that failed has given it no address.
#[cold]
pub fn throw(realm: &Realm, failure: Failure) {
    realm.clear_window();
    let value = to_value(realm, &failure);
    raw::throw(realm.env, value);
}

/// What JavaScript is to see of a failure. `None` if the environment is going down.
pub fn to_value(realm: &Realm, failure: &Failure) -> Option<sys::napi_value> {
    let env = realm.env;
    let made = match failure {
        Failure::Exception(exception) => exception.value(env),
        Failure::Thrown(exception) => super::exceptions::seen(realm, exception).ok(),
        Failure::Error { kind, message, frames } => {
            let message = bounded(message, MAX_MESSAGE);
            realm.make_error(Kind::ALL[*kind as usize].0, &message, frames).ok()
        }
        Failure::Stopped => None,
    };
    // The face may have failed to make the error, for instance at the end of V8's stack. Then that failure
    // is what JavaScript sees.
    made.or_else(|| raw::take_exception(env)).or_else(|| {
        let text = match failure {
            Failure::Error { message, .. } => message,
            _ => "Node refused a call of wasi-native without saying why",
        };
        raw::plain_error(env, "ERR_WASI_INTERNAL", &bounded(text, MAX_MESSAGE)).ok()
    })
}

/// Bytes of a message. It may hold names that a module chose.
const MAX_MESSAGE: usize = 16 << 10;
/// Bytes of the name of a function in a stack.
const MAX_NAME: usize = 512;
/// Bytes of the place of a function: the path of a source file.
const MAX_PLACE: usize = 1024;
/// Bytes of the wasm frames of a stack.
const MAX_STACK: usize = 64 << 10;

/// The text, cut with a mark if it is longer.
pub fn bounded(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(max);
    Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default()))
}

/// Runs what a JavaScript call asks for and throws what goes wrong. `None` after a throw.
#[inline]
pub fn guard<T>(realm: &Realm, body: impl FnOnce() -> Result<T, Failure>) -> Option<T> {
    match caught(body) {
        Ok(value) => Some(value),
        Err(failure) => {
            throw(realm, failure);
            None
        }
    }
}

/// [`guard`] for the functions that napi-rs calls.
pub fn run<T>(realm: &Realm, body: impl FnOnce() -> Result<T, Failure>) -> napi::Result<T> {
    // The exception is pending; the status tells napi-rs to leave it so.
    guard(realm, body).ok_or_else(|| napi::Error::from_status(napi::Status::PendingException))
}

/// Runs `body`; a panic in it becomes a failure that names a bug in us.
#[inline]
pub fn caught<T>(body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // What a panic leaves half done is memory-safe by the rules of Rust, and the error names the bug.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(internal(panic)))
}

#[cold]
fn internal(panic: Box<dyn Any + Send>) -> Failure {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    Failure::new(Kind::Internal, text)
}

/// The text of an engine error, where only the text is wanted.
pub fn text(error: engine::Error) -> String {
    match error {
        engine::Error::Trap(trap) => trap.code.message().to_string(),
        engine::Error::Limit(over) => over.to_string(),
        engine::Error::Closed => CLOSED.to_string(),
        engine::Error::OutOfMemory(message) | engine::Error::Internal(message) => message,
        engine::Error::Exception(_) => UNCAUGHT.to_string(),
        engine::Error::Host(_) => "a host function failed".to_string(),
    }
}

/// The lines of a wasm backtrace in V8's form. They have the place in the source if the module's debug
/// information tells it, or else the place in the module. An empty line stands between the frames of two
/// entries into wasm.
pub fn stack_lines(frames: &[Frame]) -> String {
    let mut lines = String::new();
    let mut entry = 0;
    for (frame, sources) in frames.iter().zip(engine::source_frames(frames)) {
        for _ in entry..frame.entry {
            lines.push('\n');
        }
        entry = frame.entry;
        for source in &sources {
            let name = source.function.as_ref().or(frame.name.as_ref());
            stack_line(&mut lines, name, &format!("{}:{}:{}", source.file, source.line, source.column));
        }
        if sources.is_empty() {
            let mut place = format!("{}:wasm-function[{}]", frame.module_url(), frame.func_index);
            if let Some(offset) = frame.wasm_offset {
                // Writing to a String cannot fail.
                let _ = write!(place, ":{offset:#x}");
            }
            stack_line(&mut lines, frame.name.as_ref(), &place);
        }
        if lines.len() > MAX_STACK {
            lines.push_str("    at …\n");
            break;
        }
    }
    lines
}

fn stack_line(lines: &mut String, name: Option<&String>, place: &str) {
    // The module's own texts, which must not look like other lines.
    let plain = |text: &str, max| bounded(text, max).replace(char::is_control, "\u{fffd}");
    let place = plain(place, MAX_PLACE);
    let demangled = |name: &String| plain(engine::demangle(name).as_ref().unwrap_or(name), MAX_NAME);
    let _ = match name.map(demangled) {
        Some(name) => writeln!(lines, "    at {name} ({place})"),
        None => writeln!(lines, "    at {place}"),
    };
}
