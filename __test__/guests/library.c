// A library for lib.fn(): each way in which C passes strings and bytes. Built by scripts/guests.mjs.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(name)))

// A string with its length; the result ends with NUL, and belongs to the caller.
EXPORT("greet") char *greet(const char *name, size_t length) {
  char *greeting = malloc(length + sizeof "Hello, !");
  sprintf(greeting, "Hello, %.*s!", (int)length, name);
  return greeting;
}

// Strings that end with NUL. The result is an argument, or null.
EXPORT("find") const char *find(const char *text, const char *wanted) { return strstr(text, wanted); }

struct bytes {
  uint8_t *start;
  size_t length;
};

// C returns a struct where its caller says. The bytes belong to the caller.
EXPORT("reverse") struct bytes reverse(const uint8_t *bytes, size_t length) {
  uint8_t *reversed = malloc(length + 1);
  for (size_t k = 0; k < length; k++) reversed[k] = bytes[length - 1 - k];
  return (struct bytes){reversed, length};
}

// Takes the bytes over, and frees them.
EXPORT("consume") uint32_t consume(uint8_t *bytes, size_t length) {
  uint32_t sum = 0;
  for (size_t k = 0; k < length; k++) sum += bytes[k];
  free(bytes);
  return sum;
}

EXPORT("scale") double scale(float factor, int64_t by, uint32_t plus, int negate) {
  double scaled = (double)factor * (double)by + plus;
  return negate ? -scaled : scaled;
}

__attribute__((import_module("env"), import_name("ask"))) uint32_t ask(uint32_t number);

// Calls back while its argument is in use.
EXPORT("lengths") uint32_t lengths(const char *text, size_t length, uint32_t depth) {
  uint32_t inner = depth == 0 ? 0 : ask(depth - 1);
  for (size_t k = 0; k < length; k++)
    if (text[k] != 'a' + (char)depth) return 0;
  return inner + length;
}

EXPORT("live") size_t live(void) {
  // dlmalloc of wasi-libc hands the same block out again if it was freed.
  void *block = malloc(100000);
  free(block);
  return (size_t)block;
}

EXPORT("fail") void fail(const char *why, size_t length) {
  fwrite(why, 1, length, stderr);
  __builtin_trap();
}
