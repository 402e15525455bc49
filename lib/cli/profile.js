'use strict';
// `wasi-native run --profile`: what V8's profiler writes, of guests. Chrome's and Firefox's profilers open it, and
// editors.

const path = require('node:path');
const { pathToFileURL } = require('node:url');

const { native, realm } = require('../native/binding');
const { writeFile } = require('./file');

/** Microseconds from one sample to the next, as V8 has it. */
const INTERVAL = 1000;

/** Runs something, and writes a profile of all guests that ran meanwhile, however it ends. */
async function profiled(file, running) {
  // A file that cannot be written is told before the program has run for an hour.
  writeFile(file, '');
  native.startProfile(realm, INTERVAL);
  try {
    return await running();
  } finally {
    write(file, native.stopProfile(realm));
  }
}

/** A file for each thread, since the format knows one: the first has the name that was given. */
function write(file, { functions, places, threads, duration }) {
  const frames = functions.map(([name, place], index) => {
    const line = places[3 * index];
    return {
      functionName: name,
      scriptId: '0',
      url: path.isAbsolute(place) ? pathToFileURL(place).href : place,
      // They count from 0, and have no other way to say that there is none.
      lineNumber: line - 1,
      columnNumber: line === 0 ? -1 : 0,
    };
  });
  const isGuest = (node) => places[3 * node + 1] === 1;
  const ran = threads.filter(({ nodes }) => nodes.some((number, k) => k % 3 === 1 && isGuest(number)));
  const shown = ran.length > 0 ? ran : threads.slice(0, 1);
  const { dir, name, ext } = path.parse(file);
  const files = shown.map((thread, index) => {
    const place = index === 0 ? file : path.join(dir, `${name}.${index + 1}${ext}`);
    writeFile(place, JSON.stringify(profileOf(thread, frames, duration)));
    return place;
  });
  const samples = shown.reduce((sum, thread) => sum + thread.samples.length, 0);
  console.error(`wasi-native: ${samples} samples in ${files.join(', ')}`);
}

/** One thread, in the form of the DevTools protocol's `Profiler.Profile`. */
function profileOf({ nodes, lines, samples, times }, frames, duration) {
  const list = [];
  for (let place = 0; place * 3 < nodes.length; place++) {
    const [parent, frame, hitCount] = nodes.slice(3 * place, 3 * place + 3);
    list.push({ id: place + 1, callFrame: frames[frame], hitCount, children: [], positionTicks: [] });
    if (place > 0) list[parent].children.push(place + 1);
  }
  for (let at = 0; at < lines.length; at += 3) {
    list[lines[at]].positionTicks.push({ line: lines[at + 1], ticks: lines[at + 2] });
  }
  const whole = times.map(Math.round);
  return {
    nodes: list,
    startTime: 0,
    endTime: Math.max(Math.round(duration), whole.at(-1) ?? 0),
    samples: samples.map((node) => node + 1),
    timeDeltas: whole.map((time, index) => time - (whole[index - 1] ?? 0)),
  };
}

module.exports = { profiled };
