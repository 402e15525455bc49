'use strict';
// What a person at a terminal sees of work that takes long.

/** Milliseconds after which somebody wants to know what goes on. */
const LONG = 1000;

/** Waits for a promise, and says what it is for if that takes long. */
async function announced(what, promise) {
  if (!process.stderr.isTTY) return promise;
  const timer = setTimeout(() => console.error(`${what} ...`), LONG);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

module.exports = { announced };
