'use strict';
// The values of options: text to what the library takes. Each throws what the command line shows.

const { existsSync } = require('node:fs');

const { InvalidArgumentError } = require('commander');

/** `host`, `host::guest`, each with `:ro` or `:rw` at the end: added to the directories so far. */
function dir(text, given = {}) {
  const [place, mode] = withMode(text);
  const [host, guest = host, ...rest] = place.split('::');
  return directory(text, given, { host, guest, rest, mode });
}

/** The same the other way round. */
function mapdir(text, given = {}) {
  const [place, mode] = withMode(text);
  const [guest, host, ...rest] = place.split('::');
  return directory(text, given, { host, guest, rest, mode });
}

function directory(text, given, { host, guest, rest, mode }) {
  // Others than that have a colon alone between the names, or two before the mode.
  const isOther =
    [host, guest].some((name) => name?.endsWith(':')) || (/[^:]:[^:]/.test(host) && !existsSync(host));
  if (!host || !guest || rest.length > 0 || isOther) {
    throw new InvalidArgumentError(
      `"${text}" is no directory, nor two of them; such as ./data, ./data::/data or ./data::/data:ro`,
    );
  }
  const [, other] = /:([a-z-]+)$/i.exec(guest) ?? [];
  if (other !== undefined && guest !== host) {
    throw new InvalidArgumentError(
      `"${text}" ends in ":${other}", which is no mode; the modes are ro and rw`,
    );
  }
  return { ...given, [guest]: { path: host, mode } };
}

function withMode(text) {
  const [, place, mode = 'rw'] = /^(.*?)(?::(ro|rw))?$/s.exec(text);
  return [place, mode];
}

/** `NAME=value`, or `NAME` for the value that it has here. */
function env(text, given = {}) {
  const at = text.indexOf('=');
  const name = at < 0 ? text : text.slice(0, at);
  if (name === '') throw new InvalidArgumentError(`"${text}" has no name; such as LEVEL=2, or LEVEL`);
  const value = at < 0 ? process.env[name] : text.slice(at + 1);
  return value === undefined ? given : { ...given, [name]: value };
}

/** The name of a directory for the program. */
function guest(text, given = []) {
  if (text === '')
    throw new InvalidArgumentError('it is the name of a directory for the program; such as /tmp');
  return [...given, text];
}

/** One or several, with commas between. */
const patterns = (text, given = []) => [...given, ...text.split(',').map((each) => each.trim())];

/** `8080`, `127.0.0.1:8080`, `[::1]:8080`. */
function listen(text, given = []) {
  const [, bracketed, plain, port] = /^(?:(?:\[([^\]]+)\]|([^:]*)):)?(\d+)$/.exec(text) ?? [];
  if (port === undefined || !(port >= 1 && port <= 65535)) {
    throw new InvalidArgumentError(`"${text}" is no address; such as 8080 or 0.0.0.0:8080`);
  }
  const host = bracketed ?? plain;
  return [...given, { listen: { ...(host ? { host } : {}), port: Number(port) } }];
}

const TIMES = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** As long as timers go. */
const LONGEST = 2 ** 31 - 1;

/** Milliseconds. A number alone is seconds. */
function duration(text) {
  const [, number, unit = 's'] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text) ?? [];
  const time = Math.ceil(Number(number) * TIMES[unit]);
  if (time > LONGEST)
    throw new InvalidArgumentError(`"${text}" is too long; without --timeout nothing ends it`);
  if (!(time > 0)) throw new InvalidArgumentError(`"${text}" is no time; such as 500ms, 5s or 2m`);
  return time;
}

const SIZES = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** Bytes. */
function size(text) {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)([KMGT])?(?:i?B)?$/i.exec(text) ?? [];
  const bytes = Math.floor(Number(number) * SIZES[unit.toUpperCase()]);
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new InvalidArgumentError(`"${text}" is no size; such as 65536, 256M or 1G`);
}

function count(text) {
  const number = /^\d[\d_]*(e\d+)?$/i.test(text) ? Number(text.replaceAll('_', '')) : NaN;
  if (Number.isSafeInteger(number)) return number;
  throw new InvalidArgumentError(`"${text}" is no number of operators; such as 1000000`);
}

/** Bytes as people read them. */
function shownSize(bytes) {
  const unit = ['T', 'G', 'M', 'K'].find((each) => bytes >= SIZES[each]);
  return unit === undefined ? `${bytes} B` : `${(bytes / SIZES[unit]).toFixed(1)} ${unit}iB`;
}

module.exports = { count, dir, duration, env, guest, listen, mapdir, patterns, shownSize, size };
