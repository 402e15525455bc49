// A plugin: the host hands it the text of a request, and sends back what it writes.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(name)))

__attribute__((import_module("host"), import_name("log"))) void host_log(const char *text, size_t length);

static uint32_t requests;

EXPORT("handle") char *handle(const char *path, size_t length) {
  if (length == 5 && memcmp(path, "/loop", 5) == 0) for (;;) requests++;
  if (length == 6 && memcmp(path, "/crash", 6) == 0) __builtin_trap();
  host_log(path, length);
  char *answer = malloc(length + 64);
  sprintf(answer, "%.*s is request %u of this plugin\n", (int)length, path, ++requests);
  return answer;
}
