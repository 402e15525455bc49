// Scalar doubles with square roots and divisions: planets pulling at each other for n steps.
#include "kernel.h"
#include <math.h>

#define BODIES 5
static struct { double x[3], v[3], mass; } body[BODIES];

static void place(void) {
  random_state = 7;
  for (int i = 0; i < BODIES; i++) {
    for (int k = 0; k < 3; k++) {
      body[i].x[k] = (next_random() % 2000) / 100.0 - 10;
      body[i].v[k] = (next_random() % 2000) / 1000.0 - 1;
    }
    body[i].mass = 1 + next_random() % 40;
  }
}

static void step(double dt) {
  for (int i = 0; i < BODIES; i++) {
    for (int j = i + 1; j < BODIES; j++) {
      double d[3], squared = 0.01;
      for (int k = 0; k < 3; k++) {
        d[k] = body[i].x[k] - body[j].x[k];
        squared += d[k] * d[k];
      }
      double pull = dt / (squared * sqrt(squared));
      for (int k = 0; k < 3; k++) {
        body[i].v[k] -= d[k] * body[j].mass * pull;
        body[j].v[k] += d[k] * body[i].mass * pull;
      }
    }
  }
  for (int i = 0; i < BODIES; i++)
    for (int k = 0; k < 3; k++) body[i].x[k] += dt * body[i].v[k];
}

KERNEL {
  place();
  for (uint32_t i = 0; i < n; i++) step(0.001);
  double sum = 0;
  for (int i = 0; i < BODIES; i++) sum += fabs(body[i].x[0]) + fabs(body[i].x[1]);
  return (uint32_t)(sum * 1000);
}
