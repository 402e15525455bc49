'use strict';
// The command line: `wasi-native run|compile|inspect|cache`.

const { statSync } = require('node:fs');

const { Command, CommanderError } = require('commander');

const { version } = require('../../package.json');
const { print } = require('./print');
const values = require('./values');
const { inWords } = require('./words');

/** What the process ends with when the command line itself is wrong, as other programs do. */
const USAGE = 2;

const EXAMPLES = `
Examples:
  wasi-native run --dir ./data::/data:ro tool.wasm /data/a.txt
  wasi-native inspect tool.wasm

Without a command a program is run: wasi-native --dir . tool.wasm a.txt`;

const RUN_EXAMPLES = `
Examples:
  wasi-native run --dir . tool.wasm a.txt            this directory, under its own name
  wasi-native run --dir ./data::/data:ro tool.wasm   another name, only to read
  wasi-native run --timeout 5s --max-memory 256M --env LEVEL=2 tool.wasm < input
  wasi-native run --invoke add library.wasm 20 22

The exit code is the program's; 134 after a trap, 124 after the timeout, 130 after Ctrl-C.`;

function main([node, script, ...words]) {
  const program = command();
  program.parseAsync([node, script, ...(isForRun(words[0]) ? ['run', ...words] : words)]).catch((error) => {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : USAGE;
      return;
    }
    console.error(`wasi-native: ${inWords(describe(error))}`);
    process.exitCode = 1;
  });
}

const COMMANDS = ['run', 'compile', 'inspect', 'cache', 'help'];

/** Whether words that begin so are those of `run`: an option of it, or a program. */
function isForRun(first) {
  if (first === undefined || COMMANDS.includes(first)) return false;
  if (first.startsWith('-')) return !['-h', '--help', '-V', '--version'].includes(first);
  return first.endsWith('.wasm') || statSync(first, { throwIfNoEntry: false })?.isFile() === true;
}

/** An error as a person reads it: the stack is for bugs. */
function describe(error) {
  if (!(error instanceof Error)) return `${error}`;
  const isExpected = typeof error.code === 'string' && error.code !== 'ERR_WASI_INTERNAL';
  return isExpected ? error.message : error.stack;
}

function command() {
  const program = new Command('wasi-native')
    .description('Runs WebAssembly programs that reach only what they are handed.')
    .version(version, '-V, --version')
    .enablePositionalOptions()
    .showHelpAfterError('(--help has all options)')
    .addHelpText('after', EXAMPLES)
    .configureOutput({ writeOut: print })
    .exitOverride();

  program
    .command('run')
    .summary('run a program')
    .description(
      'Runs a WASI program. It reaches no directory, no variable of the environment and no socket, but those ' +
        'that options hand to it; its standard streams are those of this process. Options come before the file: ' +
        'what follows it are the arguments of the program.',
    )
    .argument('<file>', 'the program, a .wasm file or a compiled one')
    .argument('[args...]', 'its arguments')
    .option(
      '-d, --dir <host[::guest][:ro]>',
      'hand in a directory, under the same name or another; with :ro only to read',
      values.dir,
    )
    .option('--mapdir <guest::host[:ro]>', 'the same, with the names the other way round', values.mapdir)
    .option('--mem <guest>', 'hand in a directory in memory, empty at first', values.guest)
    .option('-e, --env <name[=value]>', 'set a variable, or take it from the environment', values.env)
    .option('--listen <[host:]port>', 'hand in a socket that listens', values.listen)
    .option(
      '-t, --timeout <duration>',
      'end the program after a time, such as 500ms, 5s or 2m',
      values.duration,
    )
    .option('--max-memory <size>', 'bytes for each memory of the program, such as 256M or 1G', values.size)
    .option('--fuel <operators>', 'end the program after so many operators', values.count)
    .option('--allow <patterns>', 'grant only WASI functions like these', values.patterns)
    .option('--deny <patterns>', 'do not grant WASI functions like these', values.patterns)
    .option('--trace', 'print each WASI call to standard error')
    .option('--trace-full', 'the same, with lines as long as they get')
    .option('--profile <file>', 'sample the program, and write what profilers open (.cpuprofile)')
    .option('--coredump <file>', 'write a core dump there if the program traps')
    .option('--invoke <function>', 'call this export of a library, with the arguments')
    .option('--no-cache', 'compile anew, and keep nothing')
    .option('--allow-precompiled', 'run what `wasi-native compile` wrote: code that is run as it is')
    .addHelpText('after', RUN_EXAMPLES)
    .passThroughOptions()
    .action((file, args, options) => require('./run').run(file, args, options));

  program
    .command('compile')
    .summary('compile a program ahead of time')
    .description('Compiles a module with all optimisation, into the cache or into a file.')
    .argument('<file>', 'the module')
    .option('-o, --output <file>', 'write the module with its code there, instead of into the cache')
    .action((file, options) => require('./compile').compile(file, options));

  program
    .command('inspect')
    .summary('say what a module is and wants')
    .description(
      'Tells what a module imports and exports, what it would have to be granted, and what it is made of.',
    )
    .argument('<file>', 'the module')
    .option('--json', 'as JSON')
    .action((file, options) => require('./inspect').inspect(file, options));

  const cache = program
    .command('cache')
    .summary('look at what is kept of compiled modules')
    .description('The cache of compiled modules of this user.');
  cache
    .command('path')
    .description('print where it is')
    .action(() => require('./cache').path());
  cache
    .command('ls')
    .description('list what is in it, the most recently used first')
    .option('--json', 'as JSON')
    .action((options) => require('./cache').list(options));
  cache
    .command('clean')
    .description('remove what is in it')
    .action(() => require('./cache').clean());

  return program;
}

module.exports = { main };
