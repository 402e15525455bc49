'use strict';
// The types: users' code compiles against them, and they declare what is there, all of it, with a
// word and an example.

const fs = require('node:fs');
const path = require('node:path');
const ts = require('typescript');
const wn = require('..');
const { PACKAGE } = require('./helpers');

const usage = path.join(__dirname, 'types', 'usage.ts');
const { options } = ts.getParsedCommandLineOfConfigFile(path.join(PACKAGE, 'tsconfig.json'), undefined, {
  ...ts.sys,
  onUnRecoverableConfigFileDiagnostic: (diagnostic) => {
    throw new Error(ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n'));
  },
});
const program = ts.createProgram([usage], options);
const checker = program.getTypeChecker();
const declarations = program.getSourceFile(path.join(PACKAGE, 'index.d.ts'));
const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(declarations));

const isValue = (symbol) => (symbol.flags & ts.SymbolFlags.Value) !== 0;
const isClass = (symbol) => (symbol.flags & ts.SymbolFlags.Class) !== 0;
const docOf = (symbol) => ts.displayPartsToString(symbol.getDocumentationComment(checker));
const names = (symbols) => symbols.map((symbol) => symbol.name).sort();

const OF_V8 = ['toFixedLengthBuffer', 'toResizableBuffer'];

/** The members that a class declares itself. */
function declaredMembers(symbol, from) {
  return [...from.values()].filter(
    ({ name, flags }) =>
      !name.startsWith('__') && name !== 'prototype' && !(flags & ts.SymbolFlags.TypeParameter),
  );
}

test('a usage compiles, and what is wrong in it does not', () => {
  // Of these two alone: others' declarations are theirs, and take long.
  const files = [program.getSourceFile(usage), declarations];
  const diagnostics = files.flatMap((file) => [
    ...program.getSyntacticDiagnostics(file),
    ...program.getSemanticDiagnostics(file),
  ]);
  const text = ts.formatDiagnostics(diagnostics, {
    getCanonicalFileName: (name) => name,
    getCurrentDirectory: () => PACKAGE,
    getNewLine: () => '\n',
  });
  expect(text).toBe('');
});

test('all that the package exports is declared, and nothing else', () => {
  expect(names(exported.filter(isValue))).toEqual(Object.getOwnPropertyNames(wn).sort());
});

describe.each(exported.filter(isClass).map((symbol) => [symbol.name, symbol]))('%s', (name, symbol) => {
  // Of an error class everything is inherited, as far as types go.
  const inherited = wn[name].prototype instanceof Error ? ['name', 'message'] : [];
  const keys = (object, but) =>
    Object.getOwnPropertyNames(object)
      .filter((key) => !but.includes(key))
      .sort();

  test('has the members that are declared, and no others', () => {
    const made = name === 'WASI' ? new wn.WASI({ version: 'preview1' }) : {};
    // Errors that the package throws have a code of their own; those that a program makes have none.
    const own = inherited.length > 0 ? ['code'] : [];
    // Some are there where this Node's own class has them.
    const isHere = (member) => !OF_V8.includes(member) || member in WebAssembly.Memory.prototype;
    expect(names(declaredMembers(symbol, symbol.members)).filter(isHere)).toEqual(
      [...own, ...keys(wn[name].prototype, ['constructor', ...inherited]), ...Object.keys(made)].sort(),
    );
    expect(names(declaredMembers(symbol, symbol.exports))).toEqual(
      keys(wn[name], ['length', 'name', 'prototype']),
    );
  });
});

test('the codes of errors are those that docs/errors.md lists', () => {
  const text = fs.readFileSync(path.join(PACKAGE, 'docs', 'errors.md'), 'utf8');
  const listed = [...text.matchAll(/^\| `((?:ERR_|ABORT_)[A-Z_]+)` \|/gm)].map(([, code]) => code);
  const codes = exported.find(({ name }) => name === 'ErrorCode');
  const declared = checker.getDeclaredTypeOfSymbol(codes).types.map(({ value }) => value);
  expect(declared.sort()).toEqual([...new Set(listed)].sort());
});

describe('the documentation', () => {
  test('has a word on everything', () => {
    const silent = [];
    for (const symbol of exported) {
      if (docOf(symbol) === '') silent.push(symbol.name);
      const isObject = symbol.flags & (ts.SymbolFlags.Class | ts.SymbolFlags.Interface);
      if (!isObject) continue;
      const members = [...symbol.members.values(), ...(symbol.exports?.values() ?? [])];
      for (const member of declaredMembers(symbol, members)) {
        if (docOf(member) === '') silent.push(`${symbol.name}.${member.name}`);
      }
    }
    expect(silent).toEqual([]);
  });

  test('has an example for everything that can be called', () => {
    const callable = exported.filter((symbol) => isClass(symbol) || symbol.flags & ts.SymbolFlags.Function);
    const without = callable.filter((symbol) => {
      const error = wn[symbol.name]?.prototype instanceof Error && symbol.name !== 'RuntimeError';
      return !error && !docOf(symbol).includes('```');
    });
    expect(names(without)).toEqual([]);
  });
});
