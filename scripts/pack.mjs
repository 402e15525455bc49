// Makes the packages that are published, in npm/: the main one, and one for each platform whose addon was
// built by scripts/release.mjs. `node scripts/pack.mjs` prints the tarballs.
//
// The release workflow knows where the repository is, and says so in WASI_NATIVE_REPOSITORY: npm checks that the packages
// come from there, and leads to it.
//
// No package has an install script: the main one names those of the platforms as optional dependencies, and
// npm takes the one whose `os`, `cpu` and `libc` fit.

import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { bundle } from './bundle.mjs';
import { TARGETS, built } from './release.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const output = join(root, 'npm');
const main = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

const url = process.env.WASI_NATIVE_REPOSITORY;
const repository = url ? { type: 'git', url: `git+${url}.git` } : undefined;

/** What all packages have from the main one. */
const shared = ({ version, license, author, engines }) => ({ version, license, author, repository, engines });

/** What is only for a checkout. */
const IN_DEVELOPMENT = ['devDependencies', 'scripts', 'napi', '//', 'overrides', 'jest'];

function write(folder, manifest, readme) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  if (readme !== undefined) writeFileSync(join(folder, 'README.md'), readme);
}

function pack(folder) {
  const words = ['pack', '--json', '--pack-destination', output];
  const [{ filename, size, unpackedSize }] = JSON.parse(
    execFileSync('npm', words, { cwd: folder, encoding: 'utf8' }),
  );
  const shown = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`;
  console.log(`${join('npm', filename)}: ${shown(size)}, unpacked ${shown(unpackedSize)}`);
}

function packPlatform(platform) {
  const { os, cpu, libc } = TARGETS[platform];
  const name = `wasi-native-${platform}`;
  const file = `wasi-native.${platform}.node`;
  const folder = join(output, platform);
  const description = `The native addon of wasi-native for ${platform}`;
  const place = { os: [os], cpu: [cpu], libc: [libc] };
  write(
    folder,
    { name, description, ...shared(main), ...place, main: file, files: [file], preferUnplugged: true },
    `# ${name}\n\n${description}. Install wasi-native, which has it as an optional\ndependency.\n`,
  );
  copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
  copyFileSync(built(platform), join(folder, file));
  pack(folder);
}

function packMain(platforms) {
  const folder = join(output, 'wasi-native');
  const manifest = Object.fromEntries(Object.entries(main).filter(([key]) => !IN_DEVELOPMENT.includes(key)));
  const optional = platforms.map((platform) => [`wasi-native-${platform}`, main.version]);
  write(folder, { ...manifest, repository, optionalDependencies: Object.fromEntries(optional) });
  for (const name of [...main.files, 'README.md', 'LICENSE']) {
    if (existsSync(join(root, name))) cpSync(join(root, name), join(folder, name), { recursive: true });
  }
  pack(folder);
}

bundle();
rmSync(output, { recursive: true, force: true });
const platforms = Object.keys(TARGETS).filter((platform) => existsSync(built(platform)));
if (platforms.length === 0) {
  console.error('no addon was built: npm run release -- linux-x64-gnu');
  process.exit(1);
}
platforms.forEach(packPlatform);
packMain(platforms);
