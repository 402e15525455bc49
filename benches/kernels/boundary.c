// Both directions across the edge: exports that do next to nothing, and a loop over an import.
#include "kernel.h"

EXPORT(add) int32_t add(int32_t a, int32_t b) { return a + b; }

EXPORT(next) int64_t next(int64_t value) { return value + 1; }

__attribute__((import_module("env"), import_name("increment"))) int32_t increment(int32_t);

EXPORT(call_import) int32_t call_import(int32_t n) {
  int32_t value = 0;
  for (int32_t i = 0; i < n; i++) value = increment(value);
  return value;
}
