'use strict';
// This side of the pipes between programs on threads of their own and the streams and callbacks of a host.

const { AsyncLocalStorage } = require('node:async_hooks');
const fs = require('node:fs');

const { native } = require('../native/binding');

// Loaded where it is used: Bun's sockets are not.
const net = () => require('node:net');

/** The streams whose callback runs in this asynchronous context, where nothing can wait for it. */
const delivering = new AsyncLocalStorage();

/** A writable stream takes no more: the program is told, by EPIPE. */
class Closed extends Error {
  constructor(cause) {
    super('the stream is closed', { cause });
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

module.exports = { Closed, delivering, drain, feed };
