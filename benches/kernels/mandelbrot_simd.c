// 128-bit vectors of floats: an n x n picture of the Mandelbrot set, four points at a time.
#include "kernel.h"
#include <wasm_simd128.h>

KERNEL {
  const v128_t four = wasm_f32x4_splat(4), one = wasm_i32x4_splat(1);
  uint32_t total = 0;
  for (uint32_t row = 0; row < n; row++) {
    v128_t ci = wasm_f32x4_splat(2.0f * row / n - 1);
    for (uint32_t column = 0; column < n; column += 4) {
      v128_t cr = wasm_f32x4_make(3.0f * column / n - 2, 3.0f * (column + 1) / n - 2,
                                  3.0f * (column + 2) / n - 2, 3.0f * (column + 3) / n - 2);
      v128_t zr = wasm_f32x4_splat(0), zi = zr, count = zr;
      for (int i = 0; i < 50; i++) {
        v128_t rr = wasm_f32x4_mul(zr, zr), ii = wasm_f32x4_mul(zi, zi);
        v128_t inside = wasm_f32x4_lt(wasm_f32x4_add(rr, ii), four);
        if (!wasm_v128_any_true(inside)) break;
        count = wasm_i32x4_add(count, wasm_v128_and(inside, one));
        v128_t both = wasm_f32x4_mul(zr, zi);
        zi = wasm_f32x4_add(wasm_f32x4_add(both, both), ci);
        zr = wasm_f32x4_add(wasm_f32x4_sub(rr, ii), cr);
      }
      total += wasm_i32x4_extract_lane(count, 0) + wasm_i32x4_extract_lane(count, 1) +
               wasm_i32x4_extract_lane(count, 2) + wasm_i32x4_extract_lane(count, 3);
    }
  }
  return total;
}
