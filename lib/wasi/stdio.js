'use strict';
// Standard streams of a program: what an option means, and who moves the bytes.
//
// Native code handles bytes, captured output and descriptors. Streams and callbacks have a pipe of the
// operating system between a program on its own thread and this event loop. The kernel bounds what is under
// way and makes either side wait for the other. A closed end is what POSIX programs know as the end of a
// file, or as EPIPE.

const { AsyncLocalStorage } = require('node:async_hooks');
const fs = require('node:fs');
const { isAnyArrayBuffer } = require('node:util/types');

const { native, realm } = require('../native/binding');
const { checkKeys, suggestion } = require('../util/keys');
const check = require('../util/validate');
const { fromWeb, isBlob, isReadableStream, isWritableStream } = require('../util/web');

// Loaded where they are used: most programs have the descriptors of this process.
const net = () => require('node:net');
const stream = () => require('node:stream');
const decoder = () => require('node:string_decoder');

/** The streams whose callback runs in this asynchronous context, where nothing can wait for it. */
const delivering = new AsyncLocalStorage();

/** What may be written as a string, and what it comes to. */
const WORDS = { inherit: 'descriptor', ignore: 'ignore', pipe: 'capture' };

/** A line is handed over in parts of so many characters if it does not end before. */
const LONGEST_LINE = 1 << 20;

/** What an option for a standard stream means: `{kind, ...}`. */
function parseStdio(value, number, name) {
  if (typeof value === 'number') {
    check.isDescriptor(value, name);
    return { kind: 'descriptor', descriptor: value };
  }
  if (typeof value === 'string') return parseWord(value, number, name);
  const parsed = number === 0 ? parseInput(value, name) : parseOutput(value, name);
  if (parsed !== undefined) return parsed;
  const words = "a descriptor, 'inherit', 'ignore', 'pipe'";
  const others =
    number === 0
      ? 'a Buffer or another view of bytes, a readable stream, a Blob, or { input: text }'
      : 'a writable stream, a function, or { lines: function }';
  throw check.invalidType(name, `${words}, ${others}`, value);
}

/** Plain text is refused: a misspelt word would become the program's input, or the name of a file. */
function parseWord(word, number, name) {
  if (Object.hasOwn(WORDS, word)) {
    // The user's end is `wasi.stdin`.
    if (number === 0 && word === 'pipe')
      return { kind: 'source', stream: new (stream().PassThrough)(), given: 'pipe' };
    return { kind: WORDS[word], descriptor: number };
  }
  const meant = suggestion(word, Object.keys(WORDS));
  const advice = [
    ...(meant === undefined ? [] : [`did you mean '${meant}'?`]),
    number === 0
      ? 'Give text that the program reads as { input: text }'
      : 'To write to a file, give a stream of it: fs.createWriteStream(path)',
  ];
  throw check.invalidValue(
    name,
    word,
    `must be 'inherit', 'ignore' or 'pipe' if it is a string; ${advice.join(' ')}`,
  );
}

function parseInput(value, name) {
  const bytes = inputBytes(value);
  if (bytes !== undefined) return { kind: 'bytes', bytes };
  // Anew for each program.
  if (isBlob(value))
    return {
      kind: 'source',
      get stream() {
        return fromWeb(value.stream());
      },
    };
  if (isReadableStream(value)) return { kind: 'source', stream: fromWeb(value) };
  if (typeof value?.pipe === 'function' && typeof value.on === 'function') {
    return { kind: 'source', stream: value };
  }
  if (typeof value !== 'object' || value === null || !('input' in value)) return undefined;
  checkKeys('input', value, name);
  const { input } = value;
  if (typeof input === 'string') return { kind: 'bytes', bytes: Buffer.from(input) };
  const given = inputBytes(input);
  if (given === undefined)
    throw check.invalidType(`${name}.input`, 'of type string or a view of bytes', input);
  return { kind: 'bytes', bytes: given };
}

/** A copy, as the program reads later. Undefined for what is no bytes. */
function inputBytes(value) {
  if (ArrayBuffer.isView(value)) {
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength).slice();
  }
  return isAnyArrayBuffer(value) ? new Uint8Array(value).slice() : undefined;
}

function parseOutput(value, name) {
  if (typeof value === 'function') return callback(() => ({ split: (chunk) => [chunk] }), value);
  if (isWritableStream(value)) return { kind: 'sink', open: () => locked(value) };
  if (typeof value?.write === 'function' && typeof value.on === 'function') {
    const write = (chunk) =>
      new Promise((resolve, reject) => {
        value.write(chunk, (error) => (error ? reject(new Closed(error)) : resolve()));
      });
    return { kind: 'sink', open: () => ({ write, closed: () => value.destroyed }) };
  }
  if (typeof value !== 'object' || value === null || !('lines' in value)) return undefined;
  checkKeys('lines', value, name);
  check.isOfType('function', value.lines, `${name}.lines`);
  return callback(() => new Lines(), value.lines);
}

/**
 * A function that gets each of the parts that a splitter makes of the output. It can be called while
 * a program runs on this thread, too: `openHere`.
 */
function callback(splitter, take) {
  return {
    kind: 'sink',
    open() {
      const parts = splitter();
      const each = async (list) => {
        for (const part of list) await take(part);
      };
      return { write: (chunk) => each(parts.split(chunk)), end: () => each(parts.end?.() ?? []) };
    },
    openHere() {
      const parts = splitter();
      const each = (list) => list.forEach((part) => take(part));
      return { write: (chunk) => each(parts.split(chunk)), end: () => each(parts.end?.() ?? []) };
    },
  };
}

/** A stream of the Web, locked as long as the program runs. */
function locked(stream) {
  const writer = stream.getWriter();
  const closed = (error) => {
    throw new Closed(error);
  };
  return { write: (chunk) => writer.write(chunk).catch(closed), release: () => writer.releaseLock() };
}

/** A writable stream takes no more: the program is told, by EPIPE. */
class Closed extends Error {
  constructor(cause) {
    super('the stream is closed', { cause });
  }
}

/** Splits output into lines, without their ends. */
class Lines {
  #decoder = new (decoder().StringDecoder)('utf8');
  #rest = '';

  split(chunk) {
    const lines = (this.#rest + this.#decoder.write(chunk)).split('\n');
    let rest = lines.pop();
    for (; rest.length > LONGEST_LINE; rest = rest.slice(LONGEST_LINE)) {
      lines.push(rest.slice(0, LONGEST_LINE));
    }
    this.#rest = rest;
    return lines;
  }

  /** What is left. */
  end() {
    const rest = this.#rest + this.#decoder.end();
    this.#rest = '';
    return rest === '' ? [] : [rest];
  }
}

/**
 * The streams of one run of a program: `options` are those for native code. `handedOver` is to be
 * called when native code has them, or could not take them.
 */
class Streams {
  options;
  #guestEnds = [];
  #sources = [];
  #sinks = [];

  /** `fail` is told of an error in the host's own streams and callbacks: the program cannot go on. */
  constructor(parsed, fail) {
    try {
      this.options = parsed.map((stream) => this.#open(stream, fail));
    } catch (error) {
      this.handedOver();
      this.abandon();
      throw error;
    }
  }

  #open(stream, fail) {
    if (stream.kind !== 'source' && stream.kind !== 'sink') return stream;
    const sink = stream.open?.();
    const [read, write] = native.pipe(realm);
    if (sink === undefined) {
      this.#guestEnds.push(read);
      this.#sources.push(feed(stream.stream, write, fail));
      return { kind: 'descriptor', descriptor: read };
    }
    this.#guestEnds.push(write);
    this.#sinks.push(drain(sink, read, fail, this));
    return { kind: 'descriptor', descriptor: write };
  }

  /** The program has its own descriptors for the guest's ends by now. */
  handedOver() {
    this.#guestEnds.splice(0).forEach((end) => native.closePipe(end));
  }

  /** Resolves when all that the program has written is delivered. To be called when it has ended. */
  async finish() {
    this.#sources.forEach((source) => source.stop());
    this.#sinks.forEach((sink) => sink.hold());
    await Promise.all(this.#sinks.map((sink) => sink.done));
  }

  /** Resolves when all that the program has written so far is delivered; undefined if it is now. */
  flush() {
    const pending = this.#sinks.map((sink) => sink.flushed()).filter((promise) => promise !== undefined);
    return pending.length === 0 ? undefined : Promise.all(pending);
  }

  /** Lets go of everything at once. */
  abandon() {
    [...this.#sources, ...this.#sinks].forEach((stream) => stream.stop());
  }
}

// While a program is at work its thread holds the event loop, so the pipes need not hold it. A program that
// only waits to be called must not keep the process alive by its pipes.

/** This side of a pipe. */
function pipeEnd(options) {
  if (process.versions.bun === undefined) return new (net().Socket)(options).unref();
  // Bun's sockets take no pipe. Its streams of files do, but to read they hold a thread of its pool for each
  // pipe, and nobody could count the bytes that such a thread has just taken.
  const { fd } = options;
  if (options.readable) return new Polled(fd);
  const file = fs.createWriteStream(null, { fd });
  return Object.assign(file, { ref: () => file, unref: () => file });
}

/** The longest pause between two looks at a pipe, in milliseconds. */
const LONGEST_PAUSE = 16;

/** The reading end of a pipe that is looked at from time to time: the part of `net.Socket` used here. */
class Polled {
  bytesRead = 0;
  #descriptor;
  #isHeld = false;
  #wake = () => {};

  constructor(descriptor) {
    this.#descriptor = descriptor;
  }

  async *[Symbol.asyncIterator]() {
    for (let pause = 1; this.#descriptor !== undefined;) {
      const pending = native.pipePending(this.#descriptor);
      if (pending < 0) return;
      if (pending > 0) {
        const chunk = Buffer.allocUnsafe(Math.min(pending, 1 << 16));
        const count = fs.readSync(this.#descriptor, chunk, 0, chunk.length);
        this.bytesRead += count;
        pause = 1;
        yield chunk.subarray(0, count);
      } else {
        await this.#sleep(pause);
        pause = Math.min(2 * pause, LONGEST_PAUSE);
      }
    }
  }

  #sleep(pause) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, pause);
      if (!this.#isHeld) timer.unref();
      this.#wake = () => (clearTimeout(timer), resolve());
    });
  }

  ref() {
    this.#isHeld = true;
    this.#wake();
  }

  destroy() {
    if (this.#descriptor !== undefined) native.closePipe(this.#descriptor);
    this.#descriptor = undefined;
    this.#wake();
  }
}

/** Moves what a readable stream gives into a pipe. */
function feed(source, descriptor, fail) {
  const socket = pipeEnd({ fd: descriptor, readable: false, writable: true });
  const failed = (error) => {
    socket.destroy();
    fail(error);
  };
  // A source that was destroyed without an end is an end all the same.
  const ended = () => socket.end();
  const stop = () => {
    source.unpipe(socket);
    source.off('error', failed);
    source.off('close', ended);
    socket.destroy();
  };
  source.on('error', failed);
  source.on('close', ended);
  // The program has closed its end: it wants no more.
  socket.on('error', stop);
  if (source.errored) fail(source.errored);
  else if (source.destroyed || source.readableEnded) socket.end();
  else source.pipe(socket);
  return { stop };
}

/** Moves what comes out of a pipe to a writable stream or a callback, as fast as that takes it. */
function drain({ write, end, closed, release }, descriptor, fail, streams) {
  const socket = pipeEnd({ fd: descriptor, readable: true, writable: false });
  let stopped = false;
  /** Bytes, all of which have gone where they belong, or never will. */
  let delivered = 0;
  let waiting = [];
  const deliver = (count) => {
    delivered += count;
    const still = waiting.filter(({ until, resolve }) => until > delivered || resolve());
    waiting = still;
  };
  const flushed = () => {
    if (delivered === Infinity) return undefined;
    const until = socket.bytesRead + Math.max(native.pipePending(descriptor), 0);
    return until > delivered ? new Promise((resolve) => waiting.push({ until, resolve })) : undefined;
  };
  const done = (async () => {
    try {
      for await (const chunk of socket) {
        if (closed?.()) return;
        await delivering.run(streams, () => write(chunk));
        deliver(chunk.length);
      }
      await end?.();
    } catch (error) {
      // `stop` ends the loop with an error, too, which is nobody's.
      if (!(error instanceof Closed) && !stopped) fail(error);
    } finally {
      deliver(Infinity);
      socket.destroy();
      release?.();
    }
  })();
  const stop = () => {
    stopped = true;
    deliver(Infinity);
    socket.destroy();
  };
  return { done, flushed, stop, hold: () => socket.ref() };
}

module.exports = { Streams, delivering, parseStdio };
