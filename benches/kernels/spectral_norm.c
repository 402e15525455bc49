// Integer to double conversions and divisions: the spectral norm of an n x n matrix.
#include "kernel.h"
#include <math.h>

#define MOST 1000
static double u[MOST], v[MOST], between[MOST];

static double entry(uint32_t i, uint32_t j) { return 1.0 / ((i + j) * (i + j + 1) / 2 + i + 1); }

static void times(const double *in, double *out, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    out[i] = 0;
    for (uint32_t j = 0; j < n; j++) out[i] += entry(i, j) * in[j];
  }
}

static void times_transposed(const double *in, double *out, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    out[i] = 0;
    for (uint32_t j = 0; j < n; j++) out[i] += entry(j, i) * in[j];
  }
}

KERNEL {
  if (n > MOST) return 0;
  for (uint32_t i = 0; i < n; i++) u[i] = 1;
  for (int round = 0; round < 10; round++) {
    times(u, between, n);
    times_transposed(between, v, n);
    times(v, between, n);
    times_transposed(between, u, n);
  }
  double uv = 0, vv = 0;
  for (uint32_t i = 0; i < n; i++) {
    uv += u[i] * v[i];
    vv += v[i] * v[i];
  }
  return (uint32_t)(sqrt(uv / vv) * 1e9);
}
