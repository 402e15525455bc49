'use strict';
// How long something may take: a signal and a timeout.

const { coded } = require('./errors');
const check = require('./validate');
const { isAbortSignal } = require('./web');

/** What Node's own functions reject with when their signal fires. */
class AbortError extends Error {
  constructor(cause) {
    super('The operation was aborted', { cause });
    this.name = 'AbortError';
    this.code = 'ABORT_ERR';
  }
}

function timeoutError(what, timeout) {
  const text = `${what} did not end within ${timeout} ms (options.timeout)`;
  return coded(Error, 'ERR_WASI_TIMEOUT', text);
}

/** Waits for a signal and a timeout. */
class Deadline {
  /** Why it is over; undefined as long as it is not. */
  reason;
  /** Rejects when it is over. */
  passed;

  #signal;
  #onAbort = () => this.#pass(new AbortError(this.#signal.reason));
  #what;
  #timeout;
  #ends;
  #timer;
  #reject;
  #stop = () => {};

  constructor({ signal, timeout }, what) {
    this.passed = new Promise((_, reject) => (this.#reject = reject));
    this.passed.catch(() => {});
    this.#signal = signal;
    if (signal?.aborted) this.#onAbort();
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (timeout !== undefined) {
      this.#what = what;
      this.#timeout = timeout;
      this.#ends = performance.now() + timeout;
      this.#timer = setTimeout(() => this.expire(), timeout);
    }
  }

  /** Milliseconds until the timeout, if there is one. */
  get left() {
    return this.#ends === undefined ? undefined : Math.max(0, this.#ends - performance.now());
  }

  /** The timeout has passed. */
  expire() {
    this.#pass(timeoutError(this.#what, this.#timeout));
  }

  /** Has `stop` called with the reason when it is over. */
  set onPassed(stop) {
    this.#stop = stop;
    if (this.reason !== undefined) stop(this.reason);
  }

  /** What is awaited, unless it takes too long. */
  async of(promise) {
    return Promise.race([promise, this.passed]);
  }

  end() {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener?.('abort', this.#onAbort);
  }

  #pass(reason) {
    this.reason ??= reason;
    this.#reject(this.reason);
    this.#stop(this.reason);
  }
}

function checkDeadline({ signal, timeout }) {
  if (signal !== undefined && !isAbortSignal(signal)) {
    throw check.invalidType('options.signal', 'an instance of AbortSignal', signal);
  }
  // The longest that a timer takes.
  if (timeout !== undefined) check.isInteger(timeout, 'options.timeout', 0, 0x7fffffff);
}

module.exports = { AbortError, Deadline, checkDeadline, timeoutError };
