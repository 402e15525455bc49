'use strict';
// Libraries on threads of their own: `WASI.spawn`.

const { Deadline, checkDeadline } = require('./deadline');
const { checkImports, checkKeys } = require('../util/keys');
const { partsOf } = require('../webassembly/module');
const { roleOf } = require('./role');
const { Program, importsOf } = require('./run');
const { moduleOf } = require('./source');
const { Guest, ThreadInstance } = require('./thread');
const check = require('../util/validate');

/** `WASI.spawn`: resolves when the instance can be called. `wasi` is `{parsed, template, moduleName}`. */
async function spawn(wasi, source, imports = {}, options = {}) {
  const what = 'WASI.spawn()';
  checkImports(imports, 'imports');
  check.isObject(options, 'options');
  checkKeys('spawn', options, 'options');
  checkDeadline(options);
  const { parsed, moduleName } = wasi;
  const { fuel } = parsed.threadLimits;
  const deadline = new Deadline(options, 'the instance');
  let program;
  let guest;
  let failure;
  const fail = (error) => {
    failure ??= { error };
    guest?.stop(error);
    deadline.end();
  };
  try {
    program = new Program(wasi, parsed.program, fail);
    const module = await deadline.of(moduleOf(source, what, fuel !== undefined, deadline.passed));
    if (failure !== undefined) throw failure.error;
    const parts = partsOf(module, what);
    const role = roleOf(parts, what, 'ERR_WASI_NO_LIBRARY');
    const { context } = program;
    const externs = importsOf({ parts, what, moduleName, context, imports });
    // A command is not started; its functions are there all the same.
    const place = role === 'command' ? -1 : parts.exports().findIndex(({ name }) => name === '_initialize');
    const initialize = place < 0 ? undefined : place;
    guest = new Guest(parts, context, externs, parsed.threadLimits, { initialize, deadline });
    guest.streams = program.streams;
    const end = () => {
      deadline.end();
      program.finish();
    };
    const instance = new ThreadInstance(guest, parts, { data: options.data, program, end });
    guest.instance = instance;
    deadline.onPassed = fail;
    guest.ended.finally(() => deadline.end()).catch(() => {});
    await guest.ready;
    return { module, instance, exports: instance.exports };
  } catch (error) {
    deadline.end();
    program?.abandon();
    throw error;
  }
}

module.exports = { spawn };
