// Branches nobody can predict: sorts 100,000 random integers, n times.
#include "kernel.h"

#define COUNT 100000
static int32_t values[COUNT];

static void sort(int32_t *low, int32_t *high) {
  while (low < high) {
    int32_t pivot = low[(high - low) / 2], *i = low, *j = high;
    while (i <= j) {
      while (*i < pivot) i++;
      while (*j > pivot) j--;
      if (i <= j) {
        int32_t swap = *i;
        *i++ = *j;
        *j-- = swap;
      }
    }
    // The shorter side by recursion, the longer one by the loop: the stack stays shallow.
    if (j - low < high - i) {
      sort(low, j);
      low = i;
    } else {
      sort(i, high);
      high = j;
    }
  }
}

KERNEL {
  uint32_t sum = 0;
  random_state = 19;
  for (uint32_t round = 0; round < n; round++) {
    for (int i = 0; i < COUNT; i++) values[i] = (int32_t)next_random();
    sort(values, values + COUNT - 1);
    for (int i = 0; i < COUNT; i += 1000) sum = sum * 31 + (uint32_t)values[i];
  }
  return sum;
}
