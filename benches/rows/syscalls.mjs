import { execFileSync } from 'node:child_process';

// From Rust: without a guest and an engine in between, what the capability layer itself adds.
export default {
  run() {
    console.log('\nA WASI call in Rust beside the system call it stands for');
    execFileSync('cargo', ['bench', '--quiet', '--workspace', '--bench', 'syscalls'], {
      stdio: 'inherit',
    });
  },
};
