import { execFileSync } from 'node:child_process';
import { dirname } from 'node:path';

import { kernel } from '../modules.mjs';
import { kernels as hot } from './hot.mjs';

// Both sides are this engine, with loops that can be interrupted and without: only Rust can ask for
// that, so the measuring is done there.
export default {
  run() {
    const kernels = hot.rows.map(({ name }) => name).filter((name) => !['sqlite', 'zstd'].includes(name));
    const folder = dirname(kernels.map((name) => kernel(name)).at(-1));
    console.log('\nWhat the polls of loops cost: the hot kernels with them and without');
    execFileSync('cargo', ['bench', '--quiet', '--workspace', '--bench', 'interruption', '--', folder], {
      stdio: 'inherit',
    });
  },
};
