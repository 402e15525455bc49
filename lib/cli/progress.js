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

/** A bar for work that tells how far it is by calling `update`. It appears as soon as some is left to do. */
function progressBar(what) {
  if (!process.stderr.isTTY) return { update() {}, end() {}, stop() {} };
  const { SingleBar, Presets } = require('cli-progress');
  const format = `${what} {bar} {percentage}%, {duration_formatted}`;
  // Nothing of the terminal is changed that Ctrl-C would have to set back: that ends the process at once.
  const terminal = { stream: process.stderr, hideCursor: null, linewrap: true, gracefulExit: false };
  const bar = new SingleBar({ format, barsize: 30, ...terminal }, Presets.shades_classic);
  return {
    update({ done, total }) {
      if (bar.isActive) bar.update(done);
      else if (done < total) bar.start(total, done);
    },
    /** All is done. */
    end() {
      if (bar.isActive) bar.update(bar.getTotal());
      bar.stop();
    },
    stop: () => bar.stop(),
  };
}

module.exports = { announced, progressBar };
