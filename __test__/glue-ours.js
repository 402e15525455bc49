'use strict';
// Preloaded where a package is to meet ours, in Workers, too: whoever has kept hold of V8's fails.

const { WebAssembly: v8 } = globalThis;
require('../register/webassembly');
for (const key of ['Module', 'Instance', 'compile', 'instantiate']) {
  v8[key] = () => {
    throw new Error("V8's WebAssembly was used");
  };
}
