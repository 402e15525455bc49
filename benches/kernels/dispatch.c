// call_indirect: n times a function picked from a table of eight.
#include "kernel.h"

typedef uint32_t operation(uint32_t, uint32_t);
static uint32_t add(uint32_t a, uint32_t b) { return a + b; }
static uint32_t subtract(uint32_t a, uint32_t b) { return a - b; }
static uint32_t multiply(uint32_t a, uint32_t b) { return a * (b | 1); }
static uint32_t both(uint32_t a, uint32_t b) { return a & ~b; }
static uint32_t either(uint32_t a, uint32_t b) { return a | b; }
static uint32_t differ(uint32_t a, uint32_t b) { return a ^ b; }
static uint32_t turn(uint32_t a, uint32_t b) { return a << (b & 31) | a >> (-b & 31); }
static uint32_t swap(uint32_t a, uint32_t b) { return (a << 16 | a >> 16) + b; }
static operation *const operations[8] = {add, subtract, multiply, both, either, differ, turn, swap};

KERNEL {
  uint32_t value = 1;
  random_state = 31;
  for (uint32_t i = 0; i < n; i++) {
    uint32_t word = next_random();
    value = operations[word & 7](value, word) + i;
  }
  return value;
}
