'use strict';
// The examples of README.md and of docs/: they compile as strict TypeScript, however the compiler finds packages,
// and links lead somewhere.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const ts = require('typescript');
const { PACKAGE } = require('./helpers');

const isText = (name) => name.endsWith('.md');
const documents = [
  ...fs.readdirSync(PACKAGE).filter(isText),
  ...fs
    .readdirSync(path.join(PACKAGE, 'docs'))
    .filter(isText)
    .map((name) => `docs/${name}`),
  'examples/README.md',
];
const textOf = (document) => fs.readFileSync(path.join(PACKAGE, document), 'utf8');
const examples = documents.flatMap((document) =>
  [...textOf(document).matchAll(/^```(?:js|ts)\n(.*?)^```/gms)].map(([, code]) => code),
);

/** What stands for programs of the user's own in an example: `declare` makes it any. */
const OTHERS = ['db'];

/** An example as a module: what it requires it imports, so that it has types. */
function moduleOf(code) {
  const imported = code.replace(/^const (\{.*?\}) = require\(('.*?')\);$/gm, 'import $1 from $2;');
  const declared = OTHERS.filter((name) => new RegExp(`\\b${name}\\b`).test(code));
  return `${imported}\n${declared.map((name) => `declare const ${name}: any;\n`).join('')}export {};\n`;
}

const found = [
  ['node16', ts.ModuleKind.Node16, ts.ModuleResolutionKind.Node16],
  ['bundler', ts.ModuleKind.ESNext, ts.ModuleResolutionKind.Bundler],
];

describe('the examples compile as strict TypeScript', () => {
  /** A user's project, with the package among its packages. */
  let project;
  const names = examples.map((_, index) => `example${index + 1}.mts`);
  beforeAll(() => {
    project = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-native-'));
    fs.mkdirSync(path.join(project, 'node_modules'));
    fs.symlinkSync(PACKAGE, path.join(project, 'node_modules', 'wasi-native'));
    fs.symlinkSync(
      path.join(PACKAGE, 'node_modules', '@types'),
      path.join(project, 'node_modules', '@types'),
    );
    names.forEach((name, index) => fs.writeFileSync(path.join(project, name), moduleOf(examples[index])));
  });
  afterAll(() => fs.rmSync(project, { recursive: true }));

  test.each(found)(
    'with the resolution %s',
    (_, module, moduleResolution) => {
      const program = ts.createProgram(
        names.map((name) => path.join(project, name)),
        {
          strict: true,
          noUncheckedIndexedAccess: true,
          exactOptionalPropertyTypes: true,
          noEmit: true,
          target: ts.ScriptTarget.ES2023,
          module,
          moduleResolution,
          types: ['node'],
          typeRoots: [path.join(project, 'node_modules', '@types')],
        },
      );
      // Of these alone: others' declarations are theirs, and take long.
      const checked = [...names.map((name) => path.join(project, name)), path.join(PACKAGE, 'index.d.ts')];
      const diagnostics = checked.flatMap((name) => {
        const file = program.getSourceFile(name);
        return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
      });
      const report = ts.formatDiagnostics(diagnostics, {
        getCanonicalFileName: (name) => name,
        getCurrentDirectory: () => project,
        getNewLine: () => '\n',
      });
      expect(report).toBe('');
      expect(names.length).toBeGreaterThan(5);
    },
    180_000,
  );
});

/** The anchors of a document's headings, as GitHub makes them. */
function anchorsOf(document) {
  const headings = textOf(document).matchAll(/^#+ (.*)$/gm);
  const plain = (heading) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-');
  return [...headings].map(([, heading]) => plain(heading));
}

test('the version is the same in all places that have it, and the changes of it are told', () => {
  const { version } = require('../package.json');
  const [, ofCargo] = /^\[workspace\.package\]\nversion = "([^"]*)"/m.exec(textOf('Cargo.toml'));
  const locked = [...textOf('Cargo.lock').matchAll(/^name = "(wasi-native[^"]*)"\nversion = "([^"]*)"/gm)];
  expect(ofCargo).toBe(version);
  expect(locked.map(([, name, each]) => `${name} ${each}`)).toEqual(
    locked.map(([, name]) => `${name} ${version}`),
  );
  expect(locked.length).toBeGreaterThan(4);
  expect(textOf('CHANGELOG.md')).toContain(`\n## ${version}`);
});

test.each(documents)('the links of %s lead somewhere', (document) => {
  const prose = textOf(document).replace(/^```.*?^```/gms, '');
  const broken = [];
  for (const [, target] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^https?:/.test(target)) continue;
    const [file, anchor] = target.split('#');
    const place = file === '' ? document : path.join(path.dirname(document), file);
    const isThere = fs.existsSync(path.join(PACKAGE, place));
    if (!isThere || (anchor !== undefined && !anchorsOf(place).includes(anchor))) broken.push(target);
  }
  expect(broken).toEqual([]);
});
