'use strict';
// The files that the command line is about: what is wrong with one is told with its name.

const { readFileSync, writeFileSync } = require('node:fs');

const { coded } = require('../util/errors');
const { inWords } = require('./words');

/** Why a file cannot be read. */
const REASONS = {
  ENOENT: 'there is no such file',
  EISDIR: 'it is a directory',
  EACCES: 'this user may not read it',
};

/** Why one cannot be written. */
const REFUSALS = {
  ENOENT: 'there is no such directory',
  ENOTDIR: 'there is no such directory',
  EISDIR: 'it is a directory',
  EACCES: 'this user may not write there',
};

/** An error that reading or compiling a file threw, as it is told of this file. Others stay as they are. */
function about(file, error) {
  const reason = error?.syscall === undefined ? undefined : (REASONS[error.code] ?? error.message);
  if (reason !== undefined) return coded(Error, error.code, `cannot read ${file}: ${reason}`);
  return error?.code === 'ERR_WASI_COMPILE'
    ? coded(Error, error.code, `${file}: ${inWords(error.message)}`)
    : error;
}

/** The bytes of a file. */
function bytesOf(file) {
  try {
    return readFileSync(file);
  } catch (error) {
    throw about(file, error);
  }
}

/** Writes a file. */
function writeFile(file, data) {
  try {
    writeFileSync(file, data);
  } catch (error) {
    throw coded(Error, error.code, `cannot write ${file}: ${REFUSALS[error.code] ?? error.message}`);
  }
}

module.exports = { about, bytesOf, writeFile };
