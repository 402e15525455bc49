'use strict';
// The library's messages as they are told at a command line.

/** What messages of the library call by the names of its options, and how it is called here. */
const WORDS = [
  [/^(?:wasi-native \w+|WASI\.\w+\(\)): /, ''],
  [/options\.preopens\["([^"]*)"\]/g, '--dir or --mapdir of "$1"'],
  [/options\.sockets(?:\[\d+\])?/g, '--listen'],
  [/options\.(allow|deny|timeout|env|coredump)\b/g, '--$1'],
  [/`(allow|deny)`/g, '`--$1`'],
  [/\b(?:options\.)?limits\.memory\b/g, '--max-memory'],
  [/\b(?:options\.)?limits\.fuel\b/g, '--fuel'],
  [/For a library there is wasi\.instantiate\(\)/, 'A function of a library is called by --invoke'],
];

/** A message, in the words of the command line. */
function inWords(text) {
  return WORDS.reduce((told, [pattern, word]) => told.replace(pattern, word), text);
}

module.exports = { inWords };
