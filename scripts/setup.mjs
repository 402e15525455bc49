// Makes a fresh clone ready: installs what package-lock.json names and builds the addon.
// `npm start`, `npm test`, `npm run lint` and `npm run bench` begin with it, so it may use nothing but
// Node. When there is nothing to do it takes about a second.

import { execSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

// Packages that the tests load have folders of their own: those for wasm have to be forced on npm.
for (const folder of ['.', 'scripts/packages/native', 'scripts/packages/wasm']) {
  // npm writes this file at the end of an install, so it is older than a lock file that has changed.
  const installed = statSync(`${folder}/node_modules/.package-lock.json`, { throwIfNoEntry: false });
  if (!installed || installed.mtimeMs < statSync(`${folder}/package-lock.json`).mtimeMs) {
    run('npm ci', folder);
  }
}

// Cargo knows best what is stale: always ask it.
run('npm run --silent build');

function run(command, cwd = '.') {
  try {
    execSync(command, { stdio: 'inherit', cwd });
  } catch (error) {
    console.error(`\nwasi-native could not be set up: \`${command}\` failed (see above).`);
    process.exit(error.status || 1);
  }
}
