// Byte stores with a growing stride: the primes below two million, n times.
#include "kernel.h"
#include <string.h>

#define LIMIT 2000000
static uint8_t composite[LIMIT];

KERNEL {
  uint32_t primes = 0;
  for (uint32_t round = 0; round < n; round++) {
    memset(composite, 0, LIMIT);
    for (uint32_t i = 2; i < LIMIT; i++) {
      if (composite[i]) continue;
      primes++;
      for (uint64_t j = (uint64_t)i * i; j < LIMIT; j += i) composite[j] = 1;
    }
  }
  return primes;
}
