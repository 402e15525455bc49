// Makes dist/ of lib/: nine files in the place of seventy, because Node takes half a millisecond for each one.
// `npm run build` and `npm run pack` do this, and so does jest before it runs the tests.
//
// A file of dist/ is a table of modules of lib/, which stand in it as they are but for their comments, each in a
// function that runs when the module is first asked for. `require('./group')` of another module became
// `part('native/group')`. The first file has `part`. The others are functions of it and keep nothing themselves, so
// all that is loaded belongs to one copy of the package, also where tools load packages anew.
//
// No bundler makes it as quick: `require` then costs half as much again. Rolldown and Rollup load all files of a package
// at once, whatever `require` is first called for; esbuild puts modules into functions that V8 parses twice; and all of
// them give some classes and functions other names, which people see in stacks.

import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { parse } from 'acorn';

const root = fileURLToPath(new URL('..', import.meta.url));
const lib = join(root, 'lib');
const dist = join(root, 'dist');

/**
 * The files of dist/ in their order, each with the modules that it begins with. What these require at once comes with
 * them, unless it stands here for another file, or is in an earlier one.
 */
const FILES = {
  // What `require` loads, and what no use of the package can do without.
  native: ['native/binding', 'webassembly/v8', 'native/thread', 'util/errors'],
  // The rest of the edge to native code. Stacks are told by these two files which of their lines are glue.
  edge: (name) => name.startsWith('native/'),
  // What a program needs that runs on a thread of its own.
  programs: ['wasi/wasi', 'native/wasi-modules'],
  // What a native module needs, which none of the others.
  guests: ['load/index'],
  // Modules of JavaScript's; what libraries need, and native modules with options, beside what programs do.
  modules: ['webassembly/module', 'load/others'],
  // Instances on this thread.
  instances: ['webassembly/instance', 'webassembly/namespace', 'wasi/library'],
  // What programs on threads of their own have to do with JavaScript.
  threads: ['wasi/thread-instance', 'wasi/guest-values', 'wasi/pipes'],
  // The command line that runs a program.
  cli: ['cli/index', 'cli/run'],
  // All the others.
  rest: () => true,
};

/** The names of the files of dist/. */
export const BUNDLED = Object.keys(FILES).map((file) => `${file}.js`);

/** What `require` and `run()` run anyway, and all that it requires at once. */
const ALWAYS = [...FILES.native, ...FILES.programs];

/** Makes the files of dist/. */
export function bundle() {
  const modules = readModules();
  const places = placesOf(modules);
  const always = closureOf(ALWAYS, modules);
  const files = Object.keys(FILES);
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(dist);
  for (const file of files) {
    const own = [...places].filter(([, place]) => place === file).map(([name]) => name);
    const table = `{\n${own.map((name) => entry(name, modules.get(name).text, always.has(name))).join('')}}`;
    const text =
      file === files[0]
        ? first(table, places, files)
        : `module.exports = (function (part) {\nreturn ${table};\n});\n`;
    writeFileSync(
      join(dist, `${file}.js`),
      `'use strict';\n// Made of lib/ by scripts/bundle.mjs.\n\n${text}`,
    );
  }
}

/** The modules of lib/ by their names, as `{text, needs}`. */
function readModules() {
  const read = (folder) =>
    readdirSync(join(lib, folder)).map((file) => {
      const source = readFileSync(join(lib, folder, file), 'utf8');
      return [`${folder}/${file.replace(/\.js$/, '')}`, moduleOf(folder, source)];
    });
  return new Map(readdirSync(lib).flatMap(read));
}

/** The text of a module as it stands in dist/, and which others it requires as soon as it runs. */
function moduleOf(folder, source) {
  const nameOf = (path) => new URL(path, `file:///${folder}/`).pathname.slice(1).replace(/\/$/, '/index');
  const [comments, tokens] = [[], []];
  const { body } = parse(source, { ecmaVersion: 'latest', onComment: comments, onToken: tokens });
  const needs = body
    .flatMap(({ declarations = [] }) => declarations)
    .filter(({ init }) => init?.type === 'CallExpression' && init.callee.name === 'require')
    .map(({ init }) => init.arguments[0].value)
    .filter((path) => path.startsWith('.') && !isBeside(path))
    .map(nameOf);
  const text = without(source, comments, tokens).replace(/\brequire\('(\.[^']*)'\)/g, (_, path) =>
    isBeside(path) ? `require('../${nameOf(path)}')` : `part('${nameOf(path)}')`,
  );
  return { text, needs };
}

/** Whether this is no module of lib/ but a file beside lib/ and dist/. */
const isBeside = (path) => /\.(node|json)$/.test(path);

/** The text without its comments, and without the lines that had nothing else. The texts in it stay as they are. */
function without(source, comments, tokens) {
  // What ends a line of a text is hidden meanwhile.
  const characters = source.split('');
  for (const { type, start, end } of tokens) {
    if (type.label !== 'template') continue;
    for (let at = start; at < end; at++) if (source[at] === '\n') characters[at] = '\0';
  }
  const hidden = characters.join('');
  const ends = [0, ...comments.map(({ end }) => end)];
  const starts = [...comments.map(({ start }) => start), source.length];
  return ends
    .map((end, index) => hidden.slice(end, starts[index]))
    .join('')
    .replace(/[ \t]+$/gm, '')
    .replace(/^\n/gm, '')
    .replaceAll('\0', '\n');
}

/** Which file of dist/ a module is in, for all of them. */
function placesOf(modules) {
  const places = new Map();
  const begins = new Set(Object.values(FILES).flatMap((begin) => (Array.isArray(begin) ? begin : [])));
  const put = (name, file) => {
    if (places.has(name)) return;
    places.set(name, file);
    for (const needed of modules.get(name).needs) if (!begins.has(needed)) put(needed, file);
  };
  for (const [file, begin] of Object.entries(FILES)) {
    const names = Array.isArray(begin)
      ? begin
      : [...modules.keys()].filter((name) => begin(name) && !begins.has(name));
    for (const name of names) put(name, file);
  }
  return places;
}

/** These modules and all that they require at once. */
function closureOf(names, modules, found = new Set()) {
  for (const name of names) {
    if (found.has(name)) continue;
    found.add(name);
    closureOf(modules.get(name).needs, modules, found);
  }
  return found;
}

/** A module in its table. V8 compiles a function in parentheses at once: one that runs anyway is then parsed once. */
function entry(name, text, always) {
  const key = JSON.stringify(name);
  return always ? `${key}: (function (module) {\n${text}}),\n` : `${key}(module) {\n${text}},\n`;
}

function first(table, places, [own, ...others]) {
  const elsewhere = Object.fromEntries([...places].filter(([, file]) => file !== own));
  // Named in full, so that bundlers find what to take along.
  const load = (file) =>
    `    case '${file}':\n      return (tables.${file} ??= require('./${file}.js')(part));\n`;
  return `const table = ${table};

const PLACES = ${JSON.stringify(elsewhere, null, 2)};

const tables = {};

function tableOf(name) {
  switch (PLACES[name]) {
${others.map(load).join('')}    default:
      return table;
  }
}

const loaded = new Map();

function part(name) {
  let module = loaded.get(name);
  if (module === undefined) {
    module = { exports: {} };
    tableOf(name)[name](module);
    loaded.set(name, module);
  }
  return module.exports;
}

module.exports = part;
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) bundle();
