'use strict';
// The `sockets` option of WASI: which sockets of this process a program starts with.

const { checkKeys } = require('../util/keys');
const { checkNet } = require('./permission');
const check = require('../util/validate');

// Node's own modules are loaded where they are used: most programs have no sockets.
const net = () => require('node:net');

/** Checks the option and gives each socket the form that native code takes. */
function parseSockets(sockets) {
  check.isArray(sockets, 'options.sockets');
  return sockets.map((value, index) => parse(value, `options.sockets[${index}]`));
}

function parse(value, name) {
  const isSocket =
    typeof value === 'number' || value instanceof net().Server || value instanceof net().Socket;
  if (isSocket) return { descriptor: handedIn(value, name) };
  if (typeof value !== 'object' || value === null) {
    const expected = 'a net.Server, a net.Socket, a descriptor, { listen }, { connect } or { socket }';
    throw check.invalidType(name, expected, value);
  }
  checkKeys('socket', value, name);
  const { listen, connect, socket, nonblock } = value;
  if ([listen, connect, socket].filter((given) => given !== undefined).length !== 1) {
    throw check.invalidValue(name, value, 'must have either "listen" or "connect" or "socket"');
  }
  if (nonblock !== undefined) check.isOfType('boolean', nonblock, `${name}.nonblock`);
  if (socket !== undefined) {
    return { descriptor: handedIn(socket, `${name}.socket`), nonblock };
  }
  checkNet(name);
  if (listen !== undefined) return { listen: address(listen, `${name}.listen`), nonblock };
  return { connect: address(connect, `${name}.connect`), nonblock };
}

/** The descriptor of a socket that this process has. */
function handedIn(value, name) {
  if (typeof value === 'number') {
    check.isDescriptor(value, name);
    return value;
  }
  if (value instanceof net().Server || value instanceof net().Socket) return descriptorOf(value, name);
  throw check.invalidType(name, 'a net.Server, a net.Socket or a descriptor', value);
}

/**
 * Node has no public name for a socket's descriptor; what it calls `_handle` has been there since
 * its first versions, and the checks are for a Node where it no longer is.
 */
function descriptorOf(socket, name) {
  if (socket.encrypted === true) {
    const reason = 'is a TLS socket, of which a program would see the encrypted bytes';
    throw check.invalidValue(name, socket.constructor.name, reason);
  }
  const descriptor = socket._handle?.fd;
  if (Number.isInteger(descriptor) && descriptor >= 0) return descriptor;
  const reason =
    socket instanceof net().Server
      ? 'does not listen in this process; wait for its "listening" event'
      : 'is not connected; wait for its "connect" event';
  throw check.invalidValue(name, socket.constructor.name, reason);
}

function address(value, name) {
  check.isObject(value, name);
  checkKeys('address', value, name);
  const { host = '127.0.0.1', port } = value;
  check.isOfType('string', host, `${name}.host`);
  if (host === '') throw check.invalidValue(`${name}.host`, host, 'must not be empty');
  // Not 0: nobody would learn which port it became.
  check.isInteger(port, `${name}.port`, 1, 65535);
  return { host, port };
}

module.exports = { parseSockets };
