'use strict';
// Node's permission model (`node --permission`). Native code is not held back by it, so what it
// refuses to this process is refused here, before a program gets it.

const fs = require('node:fs');
const path = require('node:path');
const { coded } = require('./errors');

/** Node's names of the permissions, as its own errors have them. */
const PERMISSIONS = {
  wasi: { permission: 'WASI', flag: '--allow-wasi' },
  net: { permission: 'Net', flag: '--allow-net' },
  'fs.read': { permission: 'FileSystemRead', flag: '--allow-fs-read' },
  'fs.write': { permission: 'FileSystemWrite', flag: '--allow-fs-write' },
};

/** Whether this version of Node has such a permission: where it has none, nothing is granted either. */
function exists(scope) {
  return process.allowedNodeEnvironmentFlags.has(PERMISSIONS[scope].flag);
}

function isOn() {
  return process.permission !== undefined;
}

function denied(scope, what, resource) {
  const { permission, flag } = PERMISSIONS[scope];
  const value = resource === undefined ? flag : `${flag}=${resource}`;
  const error = coded(
    Error,
    'ERR_ACCESS_DENIED',
    `${what}: Node's permission model is on and refuses it; start Node with ${value} to permit it`
  );
  return Object.assign(error, { permission, resource: resource ?? '' });
}

/** As node:wasi asks for it. */
function checkWasi() {
  if (isOn() && exists('wasi') && !process.permission.has('wasi')) throw denied('wasi', 'WASI');
}

/** `name` is the option that asks for a socket. */
function checkNet(name) {
  if (isOn() && exists('net') && !process.permission.has('net')) throw denied('net', name);
}

/** A directory and all that is beneath it, wherever links on the way to it lead. */
function checkDirectory(name, directory, { read, ...changes }) {
  if (!isOn()) return;
  const scopes = [
    ...(read ? ['fs.read'] : []),
    ...(Object.values(changes).some(Boolean) ? ['fs.write'] : []),
  ];
  const given = path.resolve(directory);
  for (const scope of scopes) {
    const verb = scope === 'fs.read' ? 'read' : 'change';
    for (const place of [given, real(given)]) {
      // A grant of the directory need not be one of what is in it.
      const places = [place, path.join(place, 'any file of any name')];
      if (!places.every((each) => process.permission.has(scope, each))) {
        throw denied(scope, `${name}: to ${verb} ${JSON.stringify(place)}`, place);
      }
    }
  }
}

function real(directory) {
  try {
    // The other `realpath` looks at each part of the path, and may not.
    return fs.realpathSync.native(directory);
  } catch {
    // If it is not there, opening it says so better.
    return directory;
  }
}

module.exports = { checkDirectory, checkNet, checkWasi };
