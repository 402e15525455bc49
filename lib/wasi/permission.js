'use strict';
// Node's permission model (`node --permission`). Native code is not held back by it, so what it
// refuses to this process is refused here, before a program gets it.

const path = require('node:path');
const { coded } = require('../util/errors');

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
    `${what}: Node's permission model is on and refuses it; start Node with ${value} to permit it`,
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

/** What the text of a path names, and all that is beneath it, before anything is opened. */
function checkDirectory(name, directory, permissions) {
  if (isOn()) checkPlace(name, path.resolve(directory), permissions);
}

/**
 * What was opened: `paths` has the place of each preopen as the kernel has it, null where there is
 * none. The text alone says nothing of links in it, nor of what they are by the time of opening.
 */
function checkOpened(preopens, paths) {
  preopens.forEach(({ guest, host, ...permissions }, index) => {
    if (host === undefined) return;
    const name = `options.preopens[${JSON.stringify(guest)}]`;
    const place = paths[index];
    if (place === null) {
      const what = `${name}: to use ${JSON.stringify(host)}, of which the system does not tell where it is`;
      throw denied(permissions.read ? 'fs.read' : 'fs.write', what);
    }
    checkPlace(name, place, permissions);
  });
}

/** A file that was opened to be read: `place` is where it lies, null if nobody knows. */
function checkFile(name, path, place) {
  const what = `${name}: to read ${JSON.stringify(place ?? path)}`;
  if (place === null || !process.permission.has('fs.read', place))
    throw denied('fs.read', what, place ?? undefined);
}

/** A file that will be written. */
function checkWritten(name, file) {
  if (isOn() && !process.permission.has('fs.write', file)) {
    throw denied('fs.write', `${name}: to write ${JSON.stringify(file)}`, file);
  }
}

function checkPlace(name, place, { read, ...changes }) {
  const scopes = [
    ...(read ? ['fs.read'] : []),
    ...(Object.values(changes).some(Boolean) ? ['fs.write'] : []),
  ];
  for (const scope of scopes) {
    const verb = scope === 'fs.read' ? 'read' : 'change';
    // A grant of the directory need not be one of what is in it.
    const places = [place, path.join(place, 'any file of any name')];
    if (!places.every((each) => process.permission.has(scope, each))) {
      throw denied(scope, `${name}: to ${verb} ${JSON.stringify(place)}`, place);
    }
  }
}

/**
 * Whether programs may make symbolic links in directories of the host. Node's own functions follow
 * them to places that are not permitted, so it makes none with a relative target, which is all that
 * a program can make, unless the whole file system is permitted anyway.
 */
function maySymlink() {
  return !isOn() || ['fs.read', 'fs.write'].every((scope) => process.permission.has(scope));
}

/** `name` is the option that asks for them. */
function checkSymlinks(name) {
  if (!maySymlink()) throw denied('fs.write', `${name}: to make symbolic links`, '*');
}

module.exports = {
  checkDirectory,
  checkFile,
  checkNet,
  checkOpened,
  checkSymlinks,
  checkWasi,
  checkWritten,
  isOn,
  maySymlink,
};
