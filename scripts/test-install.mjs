// Installs the packages of `npm run pack` into empty projects, as users do, and uses them there: by each package
// manager, without install scripts, and through the tools that read or bundle packages. Needs the registry.
// Arguments are parts of the names of steps, to do those alone: `npm run test:install -- npm: esbuild`.

import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { BUNDLED } from './bundle.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const packages = join(root, 'npm');
const platform = `${process.platform}-${process.arch}-gnu`;
const tarball = (pattern) => {
  const name = existsSync(packages) && readdirSync(packages).find((file) => pattern.test(file));
  if (name) return join(packages, name);
  console.error(`there is nothing to install: npm run release -- ${platform} && npm run pack`);
  process.exit(1);
};
const tarballs = [
  tarball(/^wasi-native-\d.*\.tgz$/),
  tarball(new RegExp(`^wasi-native-${platform}-\\d.*\\.tgz$`)),
];
const place = mkdtempSync(join(tmpdir(), 'wasi-native-install-'));

/** A module with `add`, and one that exits with 3. */
const ADD = 'AGFzbQEAAAABBwFgAn9/AX8DAgEABwcBA2FkZAAACgkBBwAgACABags=';
const EXIT =
  'AGFzbQEAAAABCAJgAX8AYAAAAiQBFndhc2lfc25hcHNob3RfcHJldmlldzEJcHJvY19leGl0AAADAgEBBQMBAAEHEwIGbWVtb3J5AgAGX3N0YXJ0AAEKCAEGAEEDEAAL';

/** What a user's first program does, by `require` and by `import`. */
const USE = `
  const bytes = (text) => Buffer.from(text, 'base64');
  const check = async ({ WASI, Module, Instance, load }) => {
    const sum = new Instance(new Module(bytes('${ADD}'))).exports.add(20, 22);
    const { code } = await new WASI({ version: 'preview1' }).run(bytes('${EXIT}'));
    if (sum !== 42 || load(bytes('${ADD}')).add(1, 2) !== 3 || code !== 3) throw new Error('a wrong result');
    console.log('it works');
  };`;
const FILES = {
  'require.cjs': `${USE} check(require('wasi-native')).catch((error) => { console.error(error); process.exit(1); });`,
  'import.mjs': `import wasiNative, { WASI, Module, Instance, load } from 'wasi-native';
    ${USE} await check({ WASI, Module, Instance, load }); await check(wasiNative);`,
  'types.mts': `import { WASI, load } from 'wasi-native';
    const code: Promise<{ code: number }> = new WASI({ version: 'preview1' }).run('a.wasm');
    console.log(code, load('a.wasm').fn('f', { params: ['string'], result: 'u32' })('a').toFixed());`,
  'named.ts': `import { WASI, Module, Instance, load } from 'wasi-native';
    ${USE.replace('(text)', '(text: string)').replace('load })', 'load }: any)')}
    void check({ WASI, Module, Instance, load });`,
  'some.test.cjs': `${USE} test('it works', () => check(require('wasi-native')));`,
  'some.test.mjs': `import { test } from 'vitest'; import * as wasiNative from 'wasi-native';
    ${USE} test('it works', () => check(wasiNative));`,
  'exit.wasm': Buffer.from(EXIT, 'base64'),
};

function project(name) {
  const folder = join(place, name);
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name, private: true }));
  for (const [file, content] of Object.entries(FILES)) writeFileSync(join(folder, file), content);
  return folder;
}

function run(folder, command, words, env = {}) {
  const options = {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  };
  return execFileSync(command, words, options);
}

const wanted = process.argv.slice(2);
const failed = [];

/** Does something, and says whether it went well. */
function step(what, act) {
  if (wanted.length > 0 && !wanted.some((part) => what.includes(part))) return;
  try {
    act();
    console.log(`ok    ${what}`);
  } catch (error) {
    failed.push(what);
    console.log(`FAIL  ${what}\n${error.stdout ?? ''}${error.stderr ?? error.stack}`);
  }
}

const npm = (folder, ...names) =>
  run(folder, 'npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', ...names]);

/** Requires, imports and runs in a project, by this command for node. */
function uses(name, folder, node = [process.execPath]) {
  const [command, ...words] = node;
  step(`${name}: require`, () => run(folder, command, [...words, 'require.cjs']));
  step(`${name}: import`, () => run(folder, command, [...words, 'import.mjs']));
}

function commandLine(name, folder, command, words) {
  step(`${name}: the command line`, () => {
    try {
      run(folder, command, [...words, 'run', 'exit.wasm']);
    } catch (error) {
      if (error.status === 3) return;
      throw error;
    }
    throw new Error('the exit code of the program was 3');
  });
}

step('what is in the packages', () => {
  const files = tarballs.map((file) => run(place, 'tar', ['tzf', file]).trim().split('\n'));
  const [ofMain, ofPlatform] = files.map((names) => names.map((name) => name.replace('package/', '')).sort());
  const wanted = [
    ...[
      'LICENSE',
      'README.md',
      'CHANGELOG.md',
      'package.json',
      'index.js',
      'index.d.ts',
      'bin/wasi-native.js',
    ],
    ...BUNDLED.map((name) => `dist/${name}`),
    ...readdirSync(join(root, 'register')).map((name) => `register/${name}`),
    ...readdirSync(join(root, 'include')).map((name) => `include/${name}`),
  ];
  const addon = ['LICENSE', 'README.md', 'package.json', `wasi-native.${platform}.node`];
  for (const [found, expected] of [
    [ofMain, wanted],
    [ofPlatform, addon],
  ]) {
    if (found.join() !== expected.sort().join()) throw new Error(`there is ${found.join()}`);
  }
  const manifest = JSON.parse(run(place, 'tar', ['xzOf', tarballs[0], 'package/package.json']));
  const inDevelopment = ['devDependencies', 'scripts', 'overrides', 'jest', 'napi'];
  const left = inDevelopment.filter((key) => key in manifest);
  if (left.length > 0) throw new Error(`package.json has ${left.join()}`);
});

const withNpm = project('npm');
step('npm: install', () => npm(withNpm, ...tarballs));
uses('npm', withNpm);
commandLine('npm', withNpm, 'npx', ['wasi-native']);

const withPnpm = project('pnpm');
step('pnpm: install', () =>
  run(withPnpm, 'npx', ['--yes', 'pnpm@10', 'add', '--ignore-scripts', ...tarballs]),
);
uses('pnpm', withPnpm);
commandLine('pnpm', withPnpm, 'npx', ['--yes', 'pnpm@10', 'exec', 'wasi-native']);

const withYarn = project('yarn');
const yarn = ['--yes', '--package', '@yarnpkg/cli-dist@4', 'yarn'];
step('Yarn PnP: install', () => {
  writeFileSync(join(withYarn, 'yarn.lock'), '');
  writeFileSync(
    join(withYarn, '.yarnrc.yml'),
    'nodeLinker: pnp\nenableScripts: false\nenableTelemetry: false\npnpEnableEsmLoader: true\n',
  );
  const names = ['wasi-native', `wasi-native-${platform}`];
  const files = Object.fromEntries(names.map((name, index) => [name, `file:${tarballs[index]}`]));
  // Yarn asks the registry for the packages of all platforms, if nothing else says where they are.
  const packed = readdirSync(packages).map((file) => /^(wasi-native-[a-z].*)-\d.*\.tgz$/.exec(file));
  const others = packed.flatMap((found) => (found ? [[found[1], `file:${join(packages, found[0])}`]] : []));
  const resolutions = { ...Object.fromEntries(others), ...files };
  const manifest = { name: 'yarn', private: true, dependencies: files, resolutions };
  writeFileSync(join(withYarn, 'package.json'), JSON.stringify(manifest));
  run(withYarn, 'npx', [...yarn, 'install', '--no-immutable']);
});
uses('Yarn PnP', withYarn, ['npx', ...yarn, 'node']);
commandLine('Yarn PnP', withYarn, 'npx', [...yarn, 'wasi-native']);

const bun = join(root, `scripts/runtimes/node_modules/@oven/bun-${process.platform}-${process.arch}/bin/bun`);
if (!existsSync(bun)) {
  console.log('skip  Bun: npm ci in scripts/runtimes');
} else {
  const withBun = project('bun');
  step('Bun: install', () => run(withBun, bun, ['add', '--ignore-scripts', ...tarballs]));
  uses('Bun', withBun, [bun]);
}

// ---- tools, in the project of npm

step('types', () => {
  npm(withNpm, 'typescript@5', '@types/node');
  const words = [
    'tsc',
    '--strict',
    '--noEmit',
    '--module',
    'node16',
    '--target',
    'es2022',
    '--skipLibCheck',
    'false',
  ];
  run(withNpm, 'npx', [...words, 'types.mts']);
});

step('TypeScript to CommonJS', () => {
  run(withNpm, 'npx', [
    'tsc',
    '--module',
    'commonjs',
    '--moduleResolution',
    'node10',
    '--target',
    'es2022',
    '--outDir',
    'ts',
    'named.ts',
  ]);
  run(withNpm, process.execPath, ['ts/named.js']);
});

step('Babel', () => {
  npm(withNpm, '@babel/core@7', '@babel/cli@7', '@babel/preset-env@7', '@babel/preset-typescript@7');
  const presets = JSON.stringify({
    presets: [['@babel/preset-env', { targets: { node: 20 } }], '@babel/preset-typescript'],
  });
  writeFileSync(join(withNpm, 'babel.config.json'), presets);
  run(withNpm, 'npx', ['babel', 'named.ts', '--out-file', 'babel.cjs']);
  rmSync(join(withNpm, 'babel.config.json'));
  run(withNpm, process.execPath, ['babel.cjs']);
});

step('SWC', () => {
  npm(withNpm, '@swc/core@1', '@swc/cli@0.7');
  writeFileSync(
    join(withNpm, '.swcrc'),
    JSON.stringify({ module: { type: 'commonjs' }, jsc: { parser: { syntax: 'typescript' } } }),
  );
  run(withNpm, 'npx', ['swc', 'named.ts', '-o', 'swc.cjs']);
  run(withNpm, process.execPath, ['swc.cjs']);
});

step('jest', () => {
  npm(withNpm, 'jest@30');
  run(withNpm, 'npx', ['jest', '--testMatch', '**/some.test.cjs']);
});

step('vitest', () => {
  npm(withNpm, 'vitest@3');
  run(withNpm, 'npx', ['vitest', 'run', 'some.test.mjs']);
});

step('esbuild', () => {
  npm(withNpm, 'esbuild@0.25');
  const words = [
    'esbuild',
    'require.cjs',
    '--bundle',
    '--platform=node',
    '--loader:.node=copy',
    '--outdir=esbuild',
  ];
  run(withNpm, 'npx', [...words, '--log-level=error']);
  run(join(withNpm, 'esbuild'), process.execPath, ['require.js']);
});

step('webpack', () => {
  npm(withNpm, 'webpack@5', 'webpack-cli@6', 'node-loader@2');
  const config = `module.exports = { mode: 'production', target: 'node', entry: './require.cjs',
    output: { path: __dirname + '/webpack', filename: 'out.cjs' },
    module: { rules: [{ test: /\\.node$/, loader: 'node-loader' }] } };`;
  writeFileSync(join(withNpm, 'webpack.config.cjs'), config);
  run(withNpm, 'npx', ['webpack', '--config', 'webpack.config.cjs']);
  run(join(withNpm, 'webpack'), process.execPath, ['out.cjs']);
});

step('@vercel/nft', () => {
  npm(withNpm, '@vercel/nft@0.29');
  const trace = `import { nodeFileTrace } from '@vercel/nft';
    const { fileList } = await nodeFileTrace(['require.cjs']);
    if (![...fileList].some((file) => file.endsWith('.node'))) throw new Error([...fileList].join());`;
  run(withNpm, process.execPath, ['--input-type=module', '--eval', trace]);
});

step('@vercel/ncc', () => {
  npm(withNpm, '@vercel/ncc@0.38');
  run(withNpm, 'npx', ['ncc', 'build', 'require.cjs', '--out', 'ncc']);
  // Outside of the project: what it needs has been brought along.
  const folder = join(place, 'alone');
  cpSync(join(withNpm, 'ncc'), folder, { recursive: true });
  run(folder, process.execPath, [existsSync(join(folder, 'index.cjs')) ? 'index.cjs' : 'index.js']);
});

rmSync(place, { recursive: true });
if (failed.length > 0) {
  console.error(`\nwhat failed: ${failed.join(', ')}`);
  process.exit(1);
}
