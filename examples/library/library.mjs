// A library of C, called with strings and bytes: `node examples/library/library.mjs`.
//
// text.wasm is text.c:
//   zig cc -target wasm32-wasi -mexec-model=reactor -Os -s -Wl,--export=malloc -Wl,--export=free text.c -o text.wasm

import { load } from 'wasi-native';

const library = load(new URL('text.wasm', import.meta.url));
const slug = library.fn('slug', { params: ['string'], result: 'string', freeResult: true });
const hash = library.fn('hash', { params: ['bytes'], result: 'u64' });

console.log(slug('Ship native code, as one portable file!'));
console.log(hash(Buffer.from('wasi-native')).toString(16));
