// A server whose answers come from plugins that it does not trust: `node examples/plugins/server.mjs [port]`.
//
// The plugin is compiled once. Each tenant has an instance of its own, which may use 32 MiB, and each request half a second.
// One that loops or crashes costs its own request; the tenant's next one finds a plugin as new.
//
// plugin.wasm is plugin.c:
//   zig cc -target wasm32-wasi -mexec-model=reactor -Os -s -Wl,--export=malloc -Wl,--export=free plugin.c -o plugin.wasm

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { WASI, caller, compile } from 'wasi-native';

const module = await compile(await readFile(new URL('plugin.wasm', import.meta.url)));
const wasi = new WASI({ version: 'preview1', stdin: 'ignore', limits: { memory: 32 << 20 } });
const imports = {
  host: {
    log(address, length) {
      const { data, memory } = caller();
      console.log(`${data.tenant}: ${memory.readString(address >>> 0, length)}`);
    },
  },
};
const tenants = new Map();

function pluginOf(tenant) {
  if (!tenants.has(tenant)) {
    const { instance } = wasi.instantiateSync(module, imports, { data: { tenant } });
    tenants.set(tenant, instance);
  }
  return tenants.get(tenant);
}

function answer(tenant, path) {
  const plugin = pluginOf(tenant);
  try {
    const text = Buffer.from(path);
    const at = plugin.call('malloc', [text.length]) >>> 0;
    plugin.memory.write(at, text);
    const answered = plugin.call('handle', [at, text.length], { timeout: 500 }) >>> 0;
    const body = plugin.memory.readString(answered);
    plugin.call('free', [answered]);
    plugin.call('free', [at]);
    return [200, body];
  } catch (error) {
    plugin.reset();
    return [500, `${error.code}: ${error.message}\n`];
  }
}

const server = createServer((request, response) => {
  const [status, body] = answer(request.headers['x-tenant'] ?? 'nobody', request.url);
  response.writeHead(status, { 'content-type': 'text/plain' }).end(body);
});
server.listen(Number(process.argv[2] ?? 8080), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port} waits`);
});
