// Every kernel is one function from a size to a checksum; the engines' checksums must agree.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name)))
#define KERNEL EXPORT(kernel) uint32_t kernel(uint32_t n)

// A small generator, so that inputs are the same everywhere.
static uint32_t random_state;

static inline uint32_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  random_state ^= random_state << 5;
  return random_state;
}
