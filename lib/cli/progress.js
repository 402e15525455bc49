'use strict';
// What a person at a terminal sees of work that takes long.

const { SingleBar, Presets } = require('cli-progress');

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

/** Does work that reports how much of it is done, from 0 to 1, with a bar if it takes long. */
async function withBar(what, work) {
  if (!process.stderr.isTTY) return work(() => {});
  const format = `${what} [{bar}] {percentage}%`;
  const bar = new SingleBar({ stream: process.stderr, format, hideCursor: true }, Presets.legacy);
  const started = performance.now();
  let isShown = false;
  try {
    return await work((done) => {
      if (!isShown && performance.now() - started > LONG) {
        isShown = true;
        bar.start(100, 0);
      }
      if (isShown) bar.update(Math.floor(done * 100));
    });
  } finally {
    if (isShown) bar.stop();
  }
}

module.exports = { announced, withBar };
