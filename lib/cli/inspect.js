'use strict';
// `wasi-native inspect`.

const { native, realm } = require('../native/binding');
const { signatureOf } = require('../native/types');
const { compileSync, partsOf } = require('../webassembly/module');
const { about, bytesOf } = require('./file');
const { print, printLines } = require('./print');
const { sectionsIn } = require('./sections');
const { shownSize } = require('./values');

/** What the functions of WASI are about, by the beginnings of their names, and what they would have to be given. */
const FAMILIES = [
  ['arguments and environment', /^(args|environ)_/, ['args', 'env']],
  [
    'files and directories',
    /^(path_|fd_(prestat|readdir|filestat|allocate|advise|sync|datasync|pread|pwrite|seek|tell))/,
    ['preopens'],
  ],
  ['descriptors', /^fd_/, ['stdin', 'stdout', 'stderr']],
  ['sockets', /^sock_/, ['sockets']],
  ['clocks', /^clock_/, []],
  ['random numbers', /^random_/, []],
  ['waiting', /^(poll_oneoff|sched_yield)$/, []],
  ['ending', /^proc_/, []],
];

const WASI = /^wasi_(snapshot_preview1|unstable)$/;

function inspect(file, { json }) {
  const report = reportOn(file);
  if (json) print(`${JSON.stringify(report, null, 2)}\n`);
  else show(file, report);
}

function reportOn(file) {
  const bytes = bytesOf(file);
  try {
    return describe(bytes);
  } catch (error) {
    throw about(file, error);
  }
}

/** Everything, as plain data. */
function describe(bytes) {
  const sections = sectionsIn(bytes);
  const size = bytes.byteLength;
  // A component is another kind of file, of which this engine runs nothing.
  if (sections.isComponent) return { kind: 'component', size, sections: sections.list };
  const parts = partsOf(compileSync(bytes, 'wasi-native inspect'));
  const imports = parts
    .imports()
    .map(({ module, name, kind, type }) => ({ module, name, kind, type: shownType(kind, type) }));
  const exports = parts
    .exports()
    .map(({ name, kind, type }) => ({ name, kind, type: shownType(kind, type) }));
  // Go's compiler imports some twice.
  const names = [...new Set(imports.filter(({ module }) => WASI.test(module)).map(({ name }) => name))];
  const families = FAMILIES.map(([family, , needs], index) => ({
    family,
    functions: names.filter((name) => FAMILIES.findIndex(([, pattern]) => pattern.test(name)) === index),
    needs,
  })).filter(({ functions }) => functions.length > 0);
  return {
    kind: kindOf(exports),
    size,
    wasi: [...new Set(imports.map(({ module }) => module).filter((module) => WASI.test(module)))],
    capabilities: [...new Set(families.flatMap(({ needs }) => needs))],
    families,
    imports,
    exports,
    memories: memoriesOf(parts.handle),
    features: native.features(realm, bytes),
    sections: sections.list,
  };
}

function kindOf(exports) {
  const has = (name) => exports.some((each) => each.kind === 'function' && each.name === name);
  if (has('napi_register_wasm_v1')) return 'Node-API addon';
  return has('_start') ? 'program' : 'library';
}

/** A function's type in words; undefined for the other kinds. */
function shownType(kind, type) {
  if (kind !== 'function') return undefined;
  const { params, results } = signatureOf(type);
  const names = (types) => types.map(({ name }) => name).join(', ');
  return `(${names(params)}) -> (${names(results)})`;
}

/** The memories as they are declared. */
function memoriesOf(handle) {
  const flat = native.memories(handle);
  const list = [];
  for (let k = 0; k < flat.length; k += 5) {
    const [initial, maximum, wide, pageSize, shared] = flat.slice(k, k + 5);
    const memory = { initial, maximum: maximum < 0 ? null : maximum, pageSize };
    list.push({ ...memory, addresses: wide === 1 ? 64 : 32, shared: shared === 1 });
  }
  return list;
}

function show(file, report) {
  const { kind, size, sections } = report;
  const lines = [`${file}: ${kind}, ${shownSize(size)}`];
  if (kind === 'component') {
    lines.push('wasi-native runs core modules; a component has some inside, which `jco transpile` takes out');
  } else {
    const { capabilities, families, imports, exports, memories, features } = report;
    const others = imports.filter(({ module }) => !WASI.test(module));
    lines.push(
      '',
      `would have to be given: ${capabilities.join(', ') || 'nothing'}`,
      '',
      'WASI:',
      ...families.map(({ family, functions }) => `  ${family}: ${functions.join(', ')}`),
      ...(families.length === 0 ? ['  none'] : []),
      '',
      'other imports:',
      ...(others.length === 0 ? ['  none'] : others.map((each) => `  ${each.module}.${entry(each)}`)),
      '',
      'exports:',
      ...(exports.length === 0 ? ['  none'] : exports.map((each) => `  ${entry(each)}`)),
      '',
      'memories:',
      ...(memories.length === 0 ? ['  none'] : memories.map((memory) => `  ${described(memory)}`)),
      '',
      `features: ${features.join(', ') || 'those of WebAssembly 1.0'}`,
    );
  }
  lines.push('', 'sections:');
  for (const [name, sizes] of byName(sections)) {
    const many = sizes.length > 1 ? `, ${sizes.length} of them` : '';
    lines.push(`  ${shownSize(sum(sizes)).padStart(10)}  ${name}${many}`);
  }
  printLines(lines);
}

const sum = (sizes) => sizes.reduce((all, size) => all + size, 0);

/** Sections of the same name together, as components have many: `[name, sizes]`, the largest first. */
function byName(sections) {
  const found = new Map();
  for (const { name, size } of sections) found.set(name, [...(found.get(name) ?? []), size]);
  return [...found].sort(([, a], [, b]) => sum(b) - sum(a));
}

const entry = ({ name, kind, type }) => (type === undefined ? `${name}: ${kind}` : `${name}${type}`);

function described({ initial, maximum, pageSize, addresses, shared }) {
  const bytes = (pages) => shownSize(pages * pageSize);
  const most = maximum === null ? 'no maximum' : `at most ${bytes(maximum)}`;
  return `${bytes(initial)}, ${most}${addresses === 64 ? ', 64-bit addresses' : ''}${shared ? ', shared' : ''}`;
}

module.exports = { inspect };
