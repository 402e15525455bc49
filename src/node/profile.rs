//! Profiles of guests, for the face.
//!
//! Invariant: one runs at a time, because the engine samples all threads of the process.

use super::failure::{Failure, Kind, bounded, run};
use super::realm::Realm;
use engine::{Profile, Profiler};
use napi::bindgen_prelude::External;
use napi_derive::napi;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Whoever started it may have gone by the time it is stopped.
static RUNNING: Mutex<Option<Profiler>> = Mutex::new(None);

/// Bytes of a name or place that are shown.
const MAX_TEXT: usize = 1024;

/// What was sampled. Numbers stand for functions and nodes, in the order of the lists.
#[napi(object, object_from_js = false)]
pub struct SampledGuests {
    /// Name and place.
    pub functions: Vec<(String, String)>,
    /// Three numbers for each function: its line (0 if unknown), whether it is a guest's, and its index.
    pub places: Vec<u32>,
    pub threads: Vec<SampledThread>,
    /// From the beginning to the end, in microseconds.
    pub duration: f64,
}

#[napi(object, object_from_js = false)]
pub struct SampledThread {
    pub name: Option<String>,
    /// Three numbers for each node: its parent, its function, its samples. Parents come first.
    pub nodes: Vec<u32>,
    /// Three numbers for each line: the node, the line, its samples.
    pub lines: Vec<u32>,
    /// For each sample its node.
    pub samples: Vec<u32>,
    /// For each sample the microseconds since the beginning.
    pub times: Vec<f64>,
}

/// Samples all guests from now on, and the calling thread, at this interval of microseconds.
#[napi(catch_unwind)]
pub fn start_profile(realm: &External<Rc<Realm>>, interval: f64) -> napi::Result<()> {
    run(realm, || {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let interval = Duration::try_from_secs_f64(interval / 1e6).unwrap_or_default();
        let refused = |why| Failure::new(Kind::Option, format!("no profile can be made: {why}"));
        *running = Some(Profiler::start(interval).map_err(refused)?);
        Ok(())
    })
}

/// What was sampled since; null if nobody has started.
#[napi(catch_unwind)]
pub fn stop_profile(realm: &External<Rc<Realm>>) -> napi::Result<Option<SampledGuests>> {
    run(realm, || {
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(running.map(|profiler| told(&profiler.stop())))
    })
}

fn told(profile: &Profile) -> SampledGuests {
    let micros = |nanos: u64| nanos as f64 / 1e3;
    let text = |text: &str| bounded(text, MAX_TEXT).into_owned();
    let functions = &profile.functions;
    SampledGuests {
        functions: functions.iter().map(|of| (text(&of.name), text(&of.url))).collect(),
        places: functions
            .iter()
            .flat_map(|of| [of.line, u32::from(of.func_index.is_some()), of.func_index.unwrap_or(0)])
            .collect(),
        threads: profile
            .threads
            .iter()
            .map(|thread| SampledThread {
                name: thread.name.clone(),
                nodes: thread.nodes.iter().flat_map(|node| [node.parent, node.function, node.hits]).collect(),
                lines: (0..)
                    .zip(&thread.nodes)
                    .flat_map(|(place, node)| {
                        node.lines.iter().flat_map(move |(line, hits)| [place, *line, *hits])
                    })
                    .collect(),
                samples: thread.samples.iter().map(|(_, node)| *node).collect(),
                times: thread.samples.iter().map(|(time, _)| micros(*time)).collect(),
            })
            .collect(),
        duration: profile.duration.as_secs_f64() * 1e6,
    }
}
