'use strict';
// Node's permission model: what it refuses to the process, a program does not get either.

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { PACKAGE, child } = require('./helpers');

const major = Number(process.versions.node.split('.')[0]);
const ON = major < 22 ? '--experimental-permission' : '--permission';

let directory;
let place;
beforeAll(() => {
  directory = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-native-')));
  place = (name) => path.join(directory, name);
  for (const name of ['read', 'write', 'other']) fs.mkdirSync(place(name));
  fs.writeFileSync(place('other/file'), '');
  fs.symlinkSync(place('other'), place('read/link'));
  fs.mkdirSync(place('secret/within'), { recursive: true });
  fs.writeFileSync(place('secret/text'), 'SECRET');
  fs.symlinkSync(place('secret/within'), place('write/within'));
  fs.symlinkSync(place('secret/text'), place('read/program.wasm'));
});
afterAll(() => fs.rmSync(directory, { recursive: true }));

/** What `new WASI()` says to options that are the text of a function of the directory. */
function asked(options, flags) {
  const code = `try {
       new wn.WASI({ version: 'preview1', ...(${options}) });
       console.log(JSON.stringify('made'));
     } catch ({ code, permission, resource, message }) {
       console.log(JSON.stringify({ code, permission, resource, message }));
     }`;
  return JSON.parse(permitted(code, flags));
}

/** What a program prints that has the permissions of these tests. */
function permitted(code, flags = ['--allow-wasi']) {
  const { stdout, stderr } = child(
    `const place = (name) => ${JSON.stringify(directory)} + '/' + name; ${code}`,
    {
      flags: [
        ON,
        '--no-warnings',
        '--allow-addons',
        `--allow-fs-read=${PACKAGE}/*`,
        `--allow-fs-read=${place('read')}/*`,
        `--allow-fs-read=${place('write')}/*`,
        `--allow-fs-read=${place('other/file')}`,
        `--allow-fs-write=${place('write')}/*`,
        ...flags,
      ],
    },
  );
  expect(stderr).toBe('');
  return stdout;
}

/** Functions of a program in a directory: `call(name, ...arguments)`, where a text is two of them. */
const PROGRAM = `
  const program = (preopen) => {
    const wasi = new wn.WASI({ version: 'preview1', stdin: 'ignore', preopens: { '/x': preopen } });
    const memory = new WebAssembly.Memory({ initial: 1 });
    wasi.finalizeBindings({ exports: { memory } });
    const bytes = Buffer.from(memory.buffer);
    let at = 1024;
    const texts = (value) => (typeof value === 'string' ? [(at += 1024), bytes.write(value, at)] : [value]);
    return (name, ...args) => wasi.wasiImport[name](...args.flatMap(texts));
  };
  const opens = (preopen, path) => program(preopen)('path_open', 3, 1, path, 0, 2n, 0n, 0, 64);
`;

const denied = (permission, resource) => ({
  code: 'ERR_ACCESS_DENIED',
  permission,
  resource,
  message: expect.stringContaining("Node's permission model"),
});

// Bun has none.
(process.versions.bun ? describe.skip : describe)('with the permission model on', () => {
  test('a preopen gets what the process may do', () => {
    expect(asked(`{ preopens: { '/a': { path: place('read'), mode: 'ro' }, '/b': place('write') } }`)).toBe(
      'made',
    );
    expect(asked('{}')).toBe('made');
    expect(asked('{ preopens: { "/tmp": new wn.MemoryFS() } }')).toBe('made');
  });

  test('one that may be read only is not handed out for writing', () => {
    const given = asked(`{ preopens: { '/a': place('read') } }`);
    expect(given).toEqual(denied('FileSystemWrite', place('read')));
    expect(given.message).toBe(
      `options.preopens["/a"]: to change ${JSON.stringify(place('read'))}: Node's permission model ` +
        `is on and refuses it; start Node with --allow-fs-write=${place('read')} to permit it`,
    );
    const remove = `{ path: place('read'), write: false, create: false, remove: true }`;
    expect(asked(`{ preopens: { '/a': ${remove} } }`)).toEqual(denied('FileSystemWrite', place('read')));
  });

  test('one that may not be read at all is refused', () => {
    expect(asked(`{ preopens: { '/a': { path: '/etc', mode: 'ro' } } }`)).toEqual(
      denied('FileSystemRead', '/etc'),
    );
  });

  test('nor is one of which a single file may be read', () => {
    expect(asked(`{ preopens: { '/a': { path: place('other'), mode: 'ro' } } }`)).toEqual(
      denied('FileSystemRead', place('other')),
    );
  });

  test('nor one behind a link that leads elsewhere', () => {
    expect(asked(`{ preopens: { '/a': { path: place('read/link'), mode: 'ro' } } }`)).toEqual(
      denied('FileSystemRead', place('other')),
    );
  });

  test('nor the directory above what a link leads to, which its text does not name', () => {
    expect(asked(`{ preopens: { '/a': place('write/within/..') } }`)).toEqual(
      denied('FileSystemRead', place('secret')),
    );
    expect(asked(`{ preopens: { '/a': place('write/within/../../write') } }`)).toBe('made');
  });

  test('nor what a link is swapped for while it is opened', () => {
    fs.mkdirSync(place('write/real'));
    fs.symlinkSync(place('write/real'), place('write/swapped'));
    const swap = `
      const fs = require('node:fs'), path = ${JSON.stringify(place('write/swapped'))};
      for (let turn = 0; ; turn++) {
        fs.symlinkSync(turn % 2 ? ${JSON.stringify(place('write/real'))} : ${JSON.stringify(place('secret'))}, path + '2');
        fs.renameSync(path + '2', path);
      }`;
    const swapper = spawn(process.execPath, ['-e', swap], { stdio: 'ignore' });
    try {
      const told = permitted(`${PROGRAM}
        const results = new Set();
        for (let round = 0; round < 2000; round++) {
          try {
            results.add(opens({ path: place('write/swapped'), mode: 'ro' }, 'text'));
          } catch ({ code }) {
            results.add(code);
          }
        }
        console.log([...results].join());`);
      const ENOENT = 44;
      expect(told.trim().split(',').sort()).toEqual([`${ENOENT}`, 'ERR_ACCESS_DENIED']);
    } finally {
      swapper.kill('SIGKILL');
    }
  });

  // Node's own functions would follow it to where they may not go.
  test('a program makes no symbolic links, unless everything is permitted', () => {
    const made = `${PROGRAM}
      console.log(program(place('write'))('path_symlink', '../secret', 3, 'made'));`;
    const EPERM = 63;
    expect(permitted(made)).toBe(`${EPERM}\n`);
    expect(permitted(made, ['--allow-wasi', '--allow-fs-read=*', '--allow-fs-write=*'])).toBe('0\n');
    expect(asked(`{ preopens: { '/a': { path: place('write'), symlinks: true } } }`)).toEqual(
      denied('FileSystemWrite', '*'),
    );
    expect(asked(`{ preopens: { '/a': { path: new wn.MemoryFS(), symlinks: true } } }`)).toBe('made');
  });

  test('WASI itself wants --allow-wasi, as node:wasi does', () => {
    expect(asked('{}', [])).toEqual(denied('WASI', ''));
  });

  // Only newer versions of Node have a permission for it.
  const hasNet = process.allowedNodeEnvironmentFlags.has('--allow-net');
  (hasNet ? test : test.skip)('a socket wants --allow-net', () => {
    // Who runs this may or may not have port 1.
    const listen = '{ sockets: [{ listen: { port: 1 } }] }';
    expect(asked(listen)).toEqual(denied('Net', ''));
    expect(asked(listen, ['--allow-wasi', '--allow-net']).permission).toBe(undefined);
  });

  test('the addon wants --allow-addons, and the error says so', () => {
    const { stderr } = child('', { flags: [ON, `--allow-fs-read=${PACKAGE}/*`] });
    expect(stderr).toContain('ERR_WASI_NO_ADDON');
    expect(stderr).toContain('--allow-addons');
  });

  test('a program is not read from where the process may not read', () => {
    const { stdout } = child(
      `new wn.WASI({ version: 'preview1' }).run('/etc/passwd').catch(({ code }) => console.log(code));`,
      { flags: [ON, '--no-warnings', '--allow-addons', '--allow-wasi', `--allow-fs-read=${PACKAGE}/*`] },
    );
    expect(stdout).toBe('ERR_ACCESS_DENIED\n');
  });

  test('nor by a link to such a place', () => {
    const run = (path) =>
      permitted(
        `new wn.WASI({ version: 'preview1' }).run(${path}).catch((error) => console.log(error.code, error.resource));`,
      );
    const secret = place('secret/text');
    expect(run(`place('read/program.wasm')`)).toBe(`ERR_ACCESS_DENIED ${secret}\n`);
    expect(run(`place('write/within/../text')`)).toBe(`ERR_ACCESS_DENIED ${secret}\n`);
  });
});
