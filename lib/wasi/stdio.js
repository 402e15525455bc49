'use strict';
// Standard streams of a program: what an option means, and the streams of one run.
//
// Native code handles bytes, captured output and descriptors. Streams and callbacks have a pipe of the
// operating system between a program on its own thread and this event loop (pipes.js). The kernel bounds what is under
// way and makes either side wait for the other. A closed end is what POSIX programs know as the end of a
// file, or as EPIPE.

const { isAnyArrayBuffer } = require('node:util/types');

const { native, realm } = require('../native/binding');
const { checkKeys, suggestion } = require('../util/keys');
const check = require('../util/validate');
const { fromWeb, isBlob, isReadableStream, isWritableStream } = require('../util/web');

// Loaded where they are used: most programs have the descriptors of this process.
const pipes = () => require('./pipes');
const stream = () => require('node:stream');
const decoder = () => require('node:string_decoder');

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
        value.write(chunk, (error) => (error ? reject(new (pipes().Closed)(error)) : resolve()));
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
    throw new (pipes().Closed)(error);
  };
  return { write: (chunk) => writer.write(chunk).catch(closed), release: () => writer.releaseLock() };
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
      this.#sources.push(pipes().feed(stream.stream, write, fail));
      return { kind: 'descriptor', descriptor: read };
    }
    this.#guestEnds.push(write);
    this.#sinks.push(pipes().drain(sink, read, fail, this));
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

module.exports = { Streams, parseStdio };
