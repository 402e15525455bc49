//! The WASI functions as JavaScript sees them.
//!
//! For the face, through Node-API. A WASI function reaches wasm in two ways. Our instances bind it as a typed
//! native call ([`wasi_import`]). JavaScript and V8's instances call it through [`call_wasi`], over the memory
//! that `wasi.start()` was given.

use super::buffers::copied;
use super::descriptors::Holder;
use super::failure::{Failure, Kind, guard, run};
use super::objects::as_memory;
use super::options::{ProgramOptions, Template, WasiOptions};
use super::raw::{self, Refused};
use super::realm::Realm;
use engine::{Extern, FuncType, ValRaw, ValType};
use host::{self, Metrics, Unavailable};
use napi::bindgen_prelude::{Env, External, FromNapiRef, Unknown};
use napi::{JsValue, sys};
use napi_derive::napi;
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wasi::{Grant, GuestMemory, MemoryFs, OutputBuffer, WasiCtx};

/// The lines of a trace that JavaScript has not taken yet.
pub type TraceLines = Arc<Lines>;

#[derive(Default)]
pub struct Lines {
    lines: Mutex<Vec<String>>,
    bytes: AtomicUsize,
}

impl Lines {
    /// Bytes that wait for JavaScript. The last line may exceed them.
    const ROOM: usize = 256 << 10;

    pub fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < Lines::ROOM
    }

    pub fn push(&self, line: String) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        self.bytes.fetch_add(line.len() + size_of::<String>(), Ordering::Relaxed);
        lines.push(line);
    }

    fn take(&self) -> Vec<String> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        self.bytes.store(0, Ordering::Relaxed);
        std::mem::take(&mut *lines)
    }
}

/// One program: what it may reach, and what of its output is kept here.
pub struct Program {
    pub ctx: Arc<WasiCtx>,
    /// Standard output and error, if they are captured.
    pub captured: [Option<OutputBuffer>; 2],
    /// Where what it takes is counted, with the other programs of its `WASI` object.
    pub metrics: Arc<Metrics>,
}

impl Holder for WasiCtx {
    fn let_go(&self) {
        self.end();
    }
}

impl Holder for Template {
    fn let_go(&self) {
        self.close();
    }
}

/// What the programs of a `WASI` object are made of. `memories` are the file systems of those
/// preopens that name no directory, in order.
#[napi(catch_unwind)]
pub fn wasi_template<'env>(
    env: &'env Env,
    realm: &External<Rc<Realm>>,
    options: WasiOptions,
    memories: Vec<Unknown<'env>>,
) -> napi::Result<External<Arc<Template>>> {
    let memories = memories.iter().map(|value| {
        // SAFETY: a handle of this callback's scope; what is no `External<MemoryFs>` is refused.
        let fs = unsafe { External::<MemoryFs>::from_napi_ref(env.raw(), value.raw()) }?;
        Ok(MemoryFs::clone(fs))
    });
    let memories = memories.collect::<napi::Result<Vec<MemoryFs>>>()?;
    run(realm, || {
        let template = Arc::new(Template::new(options, memories)?);
        realm.descriptors.follow(&template);
        Ok(External::new(template))
    })
}

/// Throws if there can be no such program.
#[napi(catch_unwind)]
pub fn check_template(
    realm: &External<Rc<Realm>>,
    template: &External<Arc<Template>>,
    options: ProgramOptions,
) -> napi::Result<()> {
    run(realm, || template.check(&options))
}

/// What the programs of a `WASI` object have taken. Times are in milliseconds.
#[napi(object, object_from_js = false)]
pub struct ProgramMetrics {
    pub started: f64,
    pub running: f64,
    pub milliseconds: f64,
    pub memory: f64,
    pub most_memory: f64,
    /// The names of the functions that were called.
    pub functions: Vec<String>,
    /// Three numbers for each of them: its calls, those that failed, and their time.
    pub calls: Vec<f64>,
}

#[napi(catch_unwind)]
pub fn wasi_metrics(template: &External<Arc<Template>>) -> ProgramMetrics {
    let metrics = &template.metrics;
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let calls: Vec<_> = metrics.calls.calls().collect();
    ProgramMetrics {
        started: metrics.started() as f64,
        running: metrics.running() as f64,
        milliseconds: milliseconds(metrics.time()),
        memory: metrics.memory.bytes() as f64,
        most_memory: metrics.memory.most() as f64,
        functions: calls.iter().map(|of| format!("{}.{}", of.module, of.name)).collect(),
        calls: calls
            .iter()
            .flat_map(|of| [of.calls as f64, of.failed as f64, milliseconds(of.time)])
            .collect(),
    }
}

/// Where the directories of the preopens lie that were opened, in order.
#[napi(catch_unwind)]
pub fn opened_paths(template: &External<Arc<Template>>) -> Vec<Option<String>> {
    template.opened_paths()
}

/// Closes the directories and sockets that programs would get.
#[napi(catch_unwind)]
pub fn close_template(template: &External<Arc<Template>>) {
    template.close();
}

/// A program. `lines`, if given, collects its trace.
#[napi(catch_unwind)]
pub fn wasi_context(
    realm: &External<Rc<Realm>>,
    template: &External<Arc<Template>>,
    options: ProgramOptions,
    lines: Option<&External<TraceLines>>,
) -> napi::Result<External<Program>> {
    let lines = lines.map(|lines| TraceLines::clone(lines));
    run(realm, || {
        let program = template.program(&options, lines)?;
        realm.descriptors.follow(&program.ctx);
        Ok(External::new(program))
    })
}

#[napi(catch_unwind)]
pub fn trace_lines() -> External<TraceLines> {
    External::new(TraceLines::default())
}

#[napi(catch_unwind)]
pub fn take_trace_lines(lines: &External<TraceLines>) -> Vec<String> {
    lines.take()
}

/// What was written to a captured stream (1 or 2) and not taken yet; null if it is not captured.
#[napi(catch_unwind)]
pub fn take_output<'env>(
    env: &'env Env,
    realm: &External<Rc<Realm>>,
    context: &External<Program>,
    stream: u32,
) -> napi::Result<Option<Unknown<'env>>> {
    captured(context, stream).map(|buffer| copied(env, realm, &buffer.take())).transpose()
}

/// A copy of the same, which stays to be taken.
#[napi(catch_unwind)]
pub fn peek_output<'env>(
    env: &'env Env,
    realm: &External<Rc<Realm>>,
    context: &External<Program>,
    stream: u32,
) -> napi::Result<Option<Unknown<'env>>> {
    captured(context, stream).map(|buffer| copied(env, realm, &buffer.peek())).transpose()
}

fn captured(context: &Program, stream: u32) -> Option<&OutputBuffer> {
    let [stdout, stderr] = &context.captured;
    if stream == 1 { stdout.as_ref() } else { stderr.as_ref() }
}

/// Whether calls from our instances are refused because the program has not been started.
#[napi(catch_unwind)]
pub fn hold_wasi(context: &External<Program>, held: bool) {
    context.ctx.hold(held);
}

/// What the program gave to `proc_exit`, as the i32 that it passed.
#[napi(catch_unwind)]
pub fn wasi_exit_code(context: &External<Program>) -> Option<i32> {
    context.ctx.exit_code().map(|code| code as i32)
}

/// Closes the program's descriptors.
#[napi(catch_unwind)]
pub fn close_wasi(context: &External<Program>) {
    context.ctx.close();
}

/// Module, name and signature of all WASI functions, in the order of their numbers.
#[napi(catch_unwind)]
pub fn wasi_functions(realm: &External<Rc<Realm>>) -> Vec<(String, String, String)> {
    let described = host::all().zip(types());
    described
        .map(|((module, name), ty)| (module.to_string(), name.to_string(), realm.signature(&ty)))
        .collect()
}

/// A letter for each function, in the order of their numbers: `g`ranted, `r`efused or `s`tubbed. It is one
/// string because every `WASI` object asks.
#[napi(catch_unwind)]
pub fn wasi_grants(context: &External<Program>) -> String {
    let numbers = 0..host::all().count();
    numbers
        .map(|number| match context.ctx.grant(number) {
            Grant::Granted => 'g',
            Grant::Refused => 'r',
            Grant::Stub(_) => 's',
        })
        .collect()
}

/// What becomes of imports, given as module, name, module, name: for each `granted`, `refused`,
/// `stubbed`, or `unknown` where there is no such WASI function.
#[napi(catch_unwind)]
pub fn wasi_report(template: &External<Arc<Template>>, imports: Vec<String>) -> Vec<&'static str> {
    let pairs = imports.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str()));
    let report = template.policy.report(pairs);
    report
        .iter()
        .map(|capability| match capability.grant {
            Some(Grant::Granted) => "granted",
            Some(Grant::Refused) => "refused",
            Some(Grant::Stub(_)) => "stubbed",
            None => "unknown",
        })
        .collect()
}

/// Lets the program of `context` hand descriptors to that of `peer`, which it knows by `name`.
#[napi(catch_unwind)]
pub fn wasi_link(context: &External<Program>, name: String, peer: &External<Program>) {
    context.ctx.link(&name, &peer.ctx);
}

/// A WASI function, to be linked into an instance of ours. `what` begins the message of a link
/// error. `caller` is the program that imports the function, if it is another than `context`.
#[napi(catch_unwind)]
pub fn wasi_import(
    realm: &External<Rc<Realm>>,
    context: &External<Program>,
    what: String,
    module: String,
    name: String,
    caller: Option<&External<Program>>,
) -> napi::Result<External<Extern>> {
    let ctx = match caller {
        Some(caller) => &Arc::new(context.ctx.called_by(&caller.ctx)),
        None => &context.ctx,
    };
    run(realm, || match host::import_from(ctx, &module, &name) {
        Ok(func) => Ok(External::new(Extern::Native(func))),
        Err(unavailable @ Unavailable::Refused { .. }) => {
            Err(Failure::new(Kind::Link, format!("{what}: {unavailable}")))
        }
        Err(Unavailable::Unknown) => {
            let text = format!("{what}: import {module:?} {name:?}: {}", Unavailable::Unknown);
            Err(Failure::new(Kind::Link, text))
        }
    })
}

/// The types of all WASI functions, in the order of their numbers.
fn types() -> impl Iterator<Item = FuncType> {
    (0..).map_while(host::func_type)
}

/// What the native function behind one `WASI` object's functions works on.
struct Caller {
    realm: Rc<Realm>,
    ctx: Arc<WasiCtx>,
    /// For each WASI function, which of its parameters are 64 bits wide.
    params: Vec<Vec<bool>>,
}

/// The function through which JavaScript calls the WASI functions of a context: it takes the
/// memory as a `Uint8Array`, or the handle of one without a buffer; the rest lies in the window.
#[napi(catch_unwind)]
pub fn wasi_caller<'env>(
    env: &'env Env,
    realm: &External<Rc<Realm>>,
    context: &External<Program>,
) -> napi::Result<Unknown<'env>> {
    let wide = |ty: FuncType| ty.params.iter().map(|ty| *ty == ValType::I64).collect();
    let caller =
        Caller { realm: Rc::clone(realm), ctx: context.ctx.clone(), params: types().map(wide).collect() };
    let function = run(realm, || Ok(raw::function(env.raw(), c"wasi", call_wasi, Rc::new(caller))?))?;
    // SAFETY: a handle of this callback's scope.
    Ok(unsafe { Unknown::from_raw_unchecked(env.raw(), function) })
}

unsafe extern "C" fn call_wasi(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    let mut count = 1;
    let mut view = ptr::null_mut();
    let mut data = ptr::null_mut();
    // The status can be ignored: the call fails only for null.
    // SAFETY: `info` is ours; one argument is asked for.
    unsafe {
        let this = ptr::null_mut();
        sys::napi_get_cb_info(env, info, &mut count, &mut view, this, &mut data);
    }
    // SAFETY: the data that `wasi_caller` gave, kept by the function.
    let caller = unsafe { &*data.cast::<Caller>() };
    let realm = &*caller.realm;
    guard(realm, || {
        let (base, length) = bytes(env, view)?;
        // SAFETY: V8 and our memories keep these bytes in place while the view is there, and it
        // is an argument of this call.
        let memory = unsafe { GuestMemory::from_raw(base, length) };
        let function = realm.target_number();
        let params = caller.params.get(function).ok_or(Refused)?;
        let read = |(index, wide): (usize, &bool)| {
            let slot = realm.slot(index);
            // SAFETY: JavaScript wrote the slot by the function's signature.
            unsafe { if *wide { slot.i64 as u64 } else { u64::from(slot.i32 as u32) } }
        };
        let mut args = [0; 16];
        for (arg, param) in args.iter_mut().zip(params.iter().enumerate().map(read)) {
            *arg = param;
        }
        let args = args.get(..params.len()).ok_or(Refused)?;
        let errno = host::call(&caller.ctx, function, &memory, args)?;
        realm.set_slot(0, ValRaw { i32: i32::from(errno) });
        Ok(())
    });
    ptr::null_mut()
}

/// Where the bytes of a memory, given by its handle, or of a typed array lie. The array may be over an
/// `ArrayBuffer` or a shared one.
fn bytes(env: sys::napi_env, view: sys::napi_value) -> Result<(*mut u8, usize), Failure> {
    let mut kind = 0;
    // SAFETY: a handle of the open scope.
    raw::check(unsafe { sys::napi_typeof(env, view, &mut kind) })?;
    if kind == sys::ValueType::napi_external {
        // SAFETY: as above; what is no `External<Extern>` is refused.
        let handle = unsafe { External::<Extern>::from_napi_ref(env, view) }.map_err(|_| Refused)?;
        let memory = as_memory(handle);
        return Ok((memory.base(), memory.byte_len()));
    }
    let mut length = 0;
    let mut data: *mut c_void = ptr::null_mut();
    // SAFETY: a handle of the open scope; null for what we do not ask for is allowed.
    raw::check(unsafe {
        let (kind, buffer, offset) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        sys::napi_get_typedarray_info(env, view, kind, &mut length, &mut data, buffer, offset)
    })?;
    Ok((data.cast(), length))
}
