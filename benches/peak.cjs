'use strict';
// Preloaded where rows/rss.mjs wants to know how much memory a process had at most.

const { readFileSync } = require('node:fs');
const { isMainThread } = require('node:worker_threads');

if (isMainThread) process.on('exit', () => console.error(`peak ${peak()}`));

/** Kilobytes. What `getrusage` tells on Linux begins with what the parent had. */
function peak() {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS;
  return Number(readFileSync('/proc/self/status', 'utf8').match(/^VmHWM:\s+(\d+)/m)[1]);
}
