'use strict';
// The sections of a binary, by the specification's "Modules" of the binary format.

/** By their numbers. */
// prettier-ignore
const NAMES = [
  'custom', 'type', 'import', 'function', 'table', 'memory', 'global', 'export', 'start', 'element', 'code', 'data',
  'data count', 'tag',
];

/** The same of components. */
// prettier-ignore
const OF_COMPONENTS = [
  'custom', 'core module', 'core instance', 'core type', 'component', 'instance', 'alias', 'type', 'canonical function',
  'start', 'import', 'export', 'value',
];

/** Bytes before the first section: the magic and the version. */
const HEADER = 8;

/** `{isComponent, list: [{name, size}]}` of bytes. What is cut off ends the list. */
function sectionsIn(bytes) {
  // The second half of the version is the layer: 0 of modules, 1 of components.
  const isComponent = bytes.length >= HEADER && bytes.readUInt16LE(6) === 1;
  const list = [];
  for (let at = HEADER; at < bytes.length;) {
    const id = bytes[at];
    const [size, start] = unsigned(bytes, at + 1);
    const end = start + size;
    if (!(end <= bytes.length)) break;
    list.push({ name: nameOf(bytes, id, start, isComponent ? OF_COMPONENTS : NAMES), size: end - at });
    at = end;
  }
  return { isComponent, list };
}

function nameOf(bytes, id, start, names) {
  if (id !== 0) return names[id] ?? `section ${id}`;
  const [length, at] = unsigned(bytes, start);
  return `custom "${bytes.toString('utf8', at, at + length)}"`;
}

/** The number in LEB128 at a place, and the place behind it. */
function unsigned(bytes, at) {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++];
    value += (byte & 0x7f) * 2 ** shift;
    if (!(byte & 0x80)) return [value, at];
  }
}

module.exports = { sectionsIn };
