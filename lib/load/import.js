'use strict';
// `import` of .wasm files: a module of JavaScript that requires the file and exports what it has by name.

const Module = require('node:module');
const { fileURLToPath, pathToFileURL } = require('node:url');

const isWasm = (url) => url.startsWith('file:') && new URL(url).pathname.endsWith('.wasm');

/** Gives `import` ours for such files. `hooks` is the file with the hooks for versions of Node that want one. */
function registerImport(hooks) {
  if (Module.registerHooks !== undefined) {
    const require = Module.createRequire(__filename);
    Module.registerHooks({
      load: (url, context, next) =>
        isWasm(url) ? sourceFor(url, Object.keys(require(fileURLToPath(url)))) : next(url, context),
    });
  } else {
    // These hooks run on a thread of their own, which has its own modules. Bun has neither kind.
    Module.register?.(pathToFileURL(hooks));
  }
}

/** The module for a file, with these exports. */
function sourceFor(url, names) {
  const lines = [
    `import { createRequire } from 'node:module';`,
    `const loaded = createRequire(import.meta.url)(${JSON.stringify(fileURLToPath(url))});`,
    'export default loaded;',
    ...names
      .filter((name) => name !== 'default' && name.isWellFormed())
      .map((name, index) => {
        const text = JSON.stringify(name);
        return `const e${index} = loaded[${text}]; export { e${index} as ${text} };`;
      }),
  ];
  return { format: 'module', source: lines.join('\n'), shortCircuit: true };
}

module.exports = { isWasm, registerImport, sourceFor };
