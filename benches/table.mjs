// Prints one group of rows as they are measured: what each side took, and ours in relation to it.

const NAME = 34;
const CELL = 13;

export class Table {
  #others;
  #ratios;
  #show;

  /** `show` says how a figure is written: a time, unless told otherwise. */
  constructor(title, others, notes, show = duration) {
    this.#others = others;
    this.#show = show;
    this.#ratios = Object.fromEntries(others.map((side) => [side, []]));
    console.log(`\n${title}`);
    for (const note of notes) console.log(`  ${note}`);
    // A side's name may say after a comma how it is run; the group's notes tell that.
    line(
      '',
      'wasi-native',
      others.flatMap((side) => [side.split(',')[0], 'ours/it']),
    );
  }

  /** `times` is nanoseconds by side, or what `show` takes; `problems` are lines that say why one is missing. */
  row(name, times, problems) {
    const cells = this.#others.flatMap((side) => {
      const ratio = times.ours / times[side];
      if (ratio) this.#ratios[side].push(ratio);
      return [this.#show(times[side]), ratio ? ratio.toFixed(2) : '-'];
    });
    line(name, this.#show(times.ours), cells);
    for (const problem of problems) console.log(`      ${problem}`);
  }

  end() {
    if (Object.values(this.#ratios).every((ratios) => ratios.length < 2)) return;
    const cells = this.#others.flatMap((side) => {
      const ratios = this.#ratios[side];
      const sum = ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0);
      return ['', ratios.length ? Math.exp(sum / ratios.length).toFixed(2) : '-'];
    });
    line('geometric mean', '', cells);
  }
}

function line(name, ours, cells) {
  console.log(
    `  ${name.padEnd(NAME)}${[ours, ...cells].map((cell) => cell.padStart(CELL)).join('')}`.trimEnd(),
  );
}

/** Of kilobytes. */
export function memory(size) {
  return size === undefined ? '-' : `${(size / 1024).toFixed(0)} MiB`;
}

function duration(time) {
  if (time === undefined) return '-';
  const [size, unit] =
    time < 1e3 ? [1, 'ns'] : time < 1e6 ? [1e3, 'us'] : time < 1e10 ? [1e6, 'ms'] : [1e9, 's'];
  const value = time / size;
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${unit}`;
}
