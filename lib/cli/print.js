'use strict';
// What the command line prints itself. A program writes to its standard streams without it, and nothing here is loaded
// for that: Node changes a pipe as soon as somebody asks for `process.stdout`.

let isWatched = false;

/** Prints a text as it is. */
function print(text) {
  if (!isWatched) {
    isWatched = true;
    process.stdout.on('error', failed);
  }
  process.stdout.write(text);
}

/** Prints lines. What stands in modules and file names does not reach the terminal as commands. */
function printLines(lines) {
  print(lines.map((line) => `${line.replace(/\p{Cc}/gu, '\ufffd')}\n`).join(''));
}

function failed(error) {
  // Whoever reads has enough, such as `head`.
  if (error.code === 'EPIPE') return;
  console.error(`wasi-native: standard output cannot be written: ${error.message}`);
  process.exitCode = 1;
}

module.exports = { print, printLines };
