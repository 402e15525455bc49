'use strict';
// Options as users write them: misspelt, in the wrong place, or as other parts of Node take them.

const fs = require('node:fs');
const wn = require('..');
const { thrownBy, wat } = require('./helpers');
const programs = require('./programs');

const version = 'preview1';
const wasi = (options) => new wn.WASI({ version, ...options });
const rejection = async (promise) => promise.then(() => { throw new Error('it was resolved'); }, (error) => error);

describe('an option that is not known', () => {
  const empty = () => programs.hello();
  test.each([
    ['new WASI', 'options.denny', 'deny', () => wasi({ denny: ['fd_read'] })],
    ['new WASI', 'options.limit', 'limits', () => wasi({ limit: { memory: 5 } })],
    ['new WASI', 'options.preopen', 'preopens', () => wasi({ preopen: {} })],
    ['new WASI', 'options.vesrion', 'version', () => new wn.WASI({ vesrion: version })],
    ['new WASI', 'options.refused', 'onRefused', () => wasi({ refused: 'ENOSYS' })],
    ['new WASI', 'options.returnonexit', 'returnOnExit', () => wasi({ returnonexit: false })],
    ['new WASI', 'options.random-seed', 'randomSeed', () => wasi({ 'random-seed': 1 })],
    ['the limits', 'options.limits.memroy', 'memory', () => wasi({ limits: { memroy: 65536 } })],
    ['a directory', 'options.preopens["/d"].wirte', 'write', () => wasi({ preopens: { '/d': { path: '.', wirte: false } } })],
    ['a socket', 'options.sockets[0].listne', 'listen', () => wasi({ sockets: [{ listne: { port: 1 } }] })],
    ['an address', 'options.sockets[0].listen.prot', 'port', () => wasi({ sockets: [{ listen: { prot: 1 } }] })],
    ['input', 'options.stdin.inputs', 'input', () => wasi({ stdin: { input: '', inputs: '' } })],
    ['lines', 'options.stdout.line', 'lines', () => wasi({ stdout: { lines() {}, line() {} } })],
    ['run', 'options.time_out', 'timeout', async () => wasi().run(await empty(), { time_out: 1 })],
    ['run', 'options.stdut', 'stdout', async () => wasi().run(await empty(), { stdut: 'pipe' })],
    ['instantiate', 'options.threads', 'thread', async () => wasi().instantiate(await empty(), {}, { threads: true })],
    ['MemoryFS', 'options.qouta', 'quota', () => new wn.MemoryFS({ qouta: 1 })],
  ])('of %s is refused, with the one that was meant: %s', async (_, name, meant, make) => {
    const error = await rejection((async () => make())());
    expect(error).toBeInstanceOf(TypeError);
    expect(error.code).toBe('ERR_INVALID_ARG_VALUE');
    expect(error.message).toContain(`'${name}' is not known: did you mean "${meant}"?`);
  });

  test.each([
    ['timeout', /wasi\.run\(\)/, () => wasi({ timeout: 1000 })],
    ['signal', /wasi\.run\(\)/, () => wasi({ signal: AbortSignal.abort() })],
    ['encoding', /wasi\.run\(\)/, () => wasi({ encoding: 'utf8' })],
    ['input', /options\.stdin/, () => wasi({ input: 'text' })],
    ['memory', /options\.limits/, () => wasi({ memory: 65536 })],
    ['mode', /options\.preopens/, () => wasi({ mode: 'ro' })],
    ['quota', /new MemoryFS\(\)/, () => wasi({ quota: 5 })],
    ['preopens', /new WASI\(\)/, async () => wasi().run(await empty(), { preopens: {} })],
    ['limits', /new WASI\(\)/, async () => wasi().instantiate(await empty(), {}, { limits: {} })],
    ['thread', /wasi\.instantiate\(\)/, async () => wasi().instantiateSync(await empty(), {}, { thread: true })],
    ['version', /new WASI\(\)/, () => wasi().finalizeBindings({}, { version })],
  ])('but elsewhere is refused with the place that it belongs to: %s', async (key, place, make) => {
    const error = await rejection((async () => make())());
    expect(error.code).toBe('ERR_INVALID_ARG_VALUE');
    expect(error.message).toMatch(new RegExp(`'options\\.${key}' is not known: "${key}" is an option of .*${place.source}`));
  });

  test('and like none is refused with all that there are', () => {
    const { message } = thrownBy(() => new wn.MemoryFS({ whatever: 1 }));
    expect(message).toBe("The property 'options.whatever' is not known: new MemoryFS() has files and quota. Received 1");
  });

  test('counts where an object inherits it, as known ones do; but not from all objects', () => {
    class Defaults {
      version = version;
    }
    const made = Object.create(new Defaults());
    expect(new wn.WASI(made)).toBeInstanceOf(wn.WASI);
    expect(thrownBy(() => new wn.WASI(Object.create({ version, denny: [] }))).message).toMatch(/"deny"/);
    Object.prototype.polluted = 1;
    try {
      expect(wasi()).toBeInstanceOf(wn.WASI);
    } finally {
      delete Object.prototype.polluted;
    }
  });

  test('and with a value of any length gives a message that is short', () => {
    const { message } = thrownBy(() => wasi({ denny: 'x'.repeat(1 << 20) }));
    expect(message.length).toBeLessThan(400);
    expect(thrownBy(() => wasi({ ['x'.repeat(1 << 20)]: 1 })).message.length).toBeLessThan(400);
  });
});

describe('a standard stream given as a word', () => {
  test.each([
    [{ stdin: 'inhert' }, /did you mean 'inherit'\? Give text that the program reads as \{ input: text \}/],
    [{ stdin: 'some text' }, /must be 'inherit', 'ignore' or 'pipe'.*\{ input: text \}/],
    [{ stdin: '' }, /\{ input: text \}/],
    [{ stdout: 'ignored' }, /did you mean 'ignore'\?/],
    [{ stderr: 'out.log' }, /fs\.createWriteStream/],
  ])('%j is refused: it might be text, or misspelt', (options, text) => {
    expect(thrownBy(() => wasi(options))).toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringMatching(text),
    });
  });
});
