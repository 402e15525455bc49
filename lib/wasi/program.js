'use strict';
// A program: its native context, its output, and what it traces.

const { native, realm } = require('../native/binding');
const { Streams } = require('./stdio');

/** How often the lines of a trace are taken from a program that runs, in milliseconds. */
const TRACE_INTERVAL = 10;
/** How long the callback is given lines before others have their turn, in milliseconds. */
const TRACE_TURN = 5;

/** A program of the `WASI` object that `parsed` and `template` are of, with options of its own. */
class Program {
  context;
  #lines;

  constructor({ parsed, template }, options) {
    this.#lines = parsed.trace === undefined ? undefined : native.traceLines();
    this.context = native.wasiContext(realm, template, options, this.#lines);
  }

  /** The lines of the trace that were not taken yet. */
  takeLines() {
    return native.takeTraceLines(this.#lines);
  }

  /** What was captured of standard output and error, and not taken yet: `{stdout, stderr}`. */
  takeOutput(encoding) {
    const taken = (stream) => {
      const bytes = native.takeOutput(realm, this.context, stream);
      return bytes !== null && encoding !== undefined ? bytes.toString(encoding) : bytes;
    };
    return { stdout: taken(1), stderr: taken(2) };
  }
}

/**
 * A program on a thread of its own, with streams of the host's. `fail` is told of errors in the host's
 * streams and callbacks.
 */
class ThreadProgram extends Program {
  streams;

  #trace;
  /** Lines that were taken, and how many of them have been told. */
  #taken = [];
  #told = 0;
  #timer;
  #fail;

  constructor(wasi, { stdio, ...options }, fail) {
    const streams = new Streams(stdio, fail);
    try {
      super(wasi, { ...options, stdio: streams.options });
    } catch (error) {
      streams.abandon();
      throw error;
    } finally {
      streams.handedOver();
    }
    this.streams = streams;
    this.#fail = fail;
    this.#trace = wasi.parsed.trace;
    if (this.#trace !== undefined) {
      this.#timer = setInterval(() => this.#tell(), TRACE_INTERVAL);
      this.#timer.unref();
    }
  }

  /**
   * Gives lines to the callback, for a moment. Tells whether there are more. A callback that is slower
   * than the program holds up the program, which waits when many lines are not taken, and not whatever
   * else this thread does.
   */
  #tell() {
    const end = performance.now() + TRACE_TURN;
    if (this.#told === this.#taken.length) {
      this.#taken = this.takeLines();
      this.#told = 0;
    }
    try {
      while (this.#told < this.#taken.length && performance.now() < end) {
        this.#trace(this.#taken[this.#told++]);
      }
    } catch (error) {
      this.#fail(error);
    }
    return this.#told < this.#taken.length;
  }

  /** Resolves when everything that the program has told is delivered. */
  async finish() {
    await this.endTrace();
    await this.streams.finish();
  }

  /** Resolves when all lines have been told. */
  async endTrace() {
    if (this.#trace === undefined) return;
    clearInterval(this.#timer);
    // What was taken may not be all there is.
    while (this.#tell() || this.#tell()) await new Promise(setImmediate);
  }

  /** Resolves when all lines have been told, which nobody has to wait for. */
  async abandon() {
    this.streams.abandon();
    await this.endTrace();
  }
}

module.exports = { Program, ThreadProgram };
