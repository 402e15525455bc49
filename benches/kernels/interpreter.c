// br_table: a little stack machine runs a loop of n rounds. What language runtimes are like.
#include "kernel.h"

enum { PUSH, ADD, MULTIPLY, XOR, LOAD, STORE, DECREMENT, JUMP_IF, SHIFT, STOP };
static const int32_t program[] = {
    LOAD, 0, PUSH, 1103515245, MULTIPLY, PUSH, 12345, ADD, STORE, 0,  // x = x * a + c
    LOAD, 0, LOAD, 0, SHIFT, 13, XOR, STORE, 1,                       // y = x ^ x >> 13
    LOAD, 2, LOAD, 1, ADD, STORE, 2,                                  // sum += y
    DECREMENT, 3, JUMP_IF, 0, STOP};

KERNEL {
  uint32_t variable[4] = {1, 0, 0, n}, stack[8], *top = stack;
  for (const int32_t *at = program;;) {
    switch (*at++) {
      case PUSH: *top++ = (uint32_t)*at++; break;
      case ADD: top--; top[-1] += *top; break;
      case MULTIPLY: top--; top[-1] *= *top; break;
      case XOR: top--; top[-1] ^= *top; break;
      case LOAD: *top++ = variable[*at++]; break;
      case STORE: variable[*at++] = *--top; break;
      case DECREMENT: *top++ = --variable[*at++]; break;
      case JUMP_IF: at = *--top ? program + *at : at + 1; break;
      case SHIFT: top[-1] >>= *at++; break;
      case STOP: return variable[2];
    }
  }
}
