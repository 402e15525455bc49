'use strict';
// MemoryFS: a file system in memory, to be preopened by any number of WASI objects.

const { isAnyArrayBuffer } = require('node:util/types');

const { native, realm } = require('../native/binding');
const { checkKeys } = require('../util/keys');
const check = require('../util/validate');

const DEFAULT_QUOTA = 64 * 1024 * 1024;

/** The native part of a MemoryFS; undefined for any other value. */
let handleOf;

class MemoryFS {
  #handle;

  constructor(options = {}) {
    check.isObject(options, 'options');
    checkKeys('memoryFs', options, 'options');
    const { files = {}, quota = DEFAULT_QUOTA } = options;
    check.isObject(files, 'options.files');
    check.isInteger(quota, 'options.quota', 0, Number.MAX_SAFE_INTEGER);
    this.#handle = native.memoryFs(quota);
    for (const [path, data] of Object.entries(files)) {
      this.#write(path, data, `options.files[${JSON.stringify(path)}]`);
    }
  }

  /** Bytes taken out of the quota. */
  get used() {
    return native.memoryFsUsed(this.#handle);
  }

  /** The paths of everything there is, sorted; those of directories end in a slash. */
  paths() {
    return native.memoryFsPaths(realm, this.#handle);
  }

  /** A copy of a file's bytes, as a Buffer; with an encoding their text, as of `fs.readFileSync`. */
  readFile(path, options = undefined) {
    check.isOfType('string', path, 'path');
    const encoding = encodingOf(options);
    const bytes = native.memoryFsRead(realm, this.#handle, path);
    return encoding === undefined ? bytes : bytes.toString(encoding);
  }

  /** Puts a file there, in place of one that is, with the directories above it. */
  writeFile(path, data) {
    check.isOfType('string', path, 'path');
    this.#write(path, data, 'data');
  }

  /** Takes a file or a symbolic link away. */
  remove(path) {
    check.isOfType('string', path, 'path');
    native.memoryFsRemove(realm, this.#handle, path);
  }

  #write(path, data, name) {
    native.memoryFsWrite(realm, this.#handle, path, toBytes(data, name));
  }

  static {
    handleOf = (value) =>
      typeof value === 'object' && value !== null && #handle in value ? value.#handle : undefined;
  }
}

function encodingOf(options) {
  if (options === undefined || options === null) return undefined;
  let encoding = options;
  if (typeof options !== 'string') {
    check.isObject(options, 'options');
    checkKeys('readFile', options, 'options');
    encoding = options.encoding ?? undefined;
  }
  if (encoding === undefined || encoding === 'buffer') return undefined;
  check.isEncoding(encoding, typeof options === 'string' ? 'encoding' : 'options.encoding');
  return encoding;
}

function toBytes(data, name) {
  if (typeof data === 'string') return Buffer.from(data);
  if (isAnyArrayBuffer(data)) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  throw check.invalidType(name, 'of type string, or bytes: a Buffer, a TypedArray or an ArrayBuffer', data);
}

module.exports = { MemoryFS, memoryFsHandle: (value) => handleOf(value) };
