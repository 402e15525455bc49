// Nested loops over arrays of doubles: n products of 160 x 160 matrices.
#include "kernel.h"

#define SIDE 160
static double a[SIDE][SIDE], b[SIDE][SIDE], c[SIDE][SIDE];

KERNEL {
  random_state = 11;
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) {
      a[i][j] = next_random() % 100 / 10.0;
      b[i][j] = next_random() % 100 / 10.0;
    }
  for (uint32_t round = 0; round < n; round++) {
    for (int i = 0; i < SIDE; i++)
      for (int j = 0; j < SIDE; j++) {
        double sum = 0;
        for (int k = 0; k < SIDE; k++) sum += a[i][k] * b[k][j];
        c[i][j] = sum;
      }
    a[round % SIDE][0] = c[0][round % SIDE] / 1000;
  }
  double trace = 0;
  for (int i = 0; i < SIDE; i++) trace += c[i][i];
  return (uint32_t)trace;
}
