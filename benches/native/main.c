// The native side of the benchmarks: kernels compiled for this machine, linked into this program or shared objects.
// sides.mjs starts it; it answers `load` and `call` as wasmtime/src/main.rs has them.
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// Kernels in shared objects, by name.
static struct {
  char name[32];
  void *object;
} loaded[32];
static int loaded_count;

static void load_object(const char *name, const char *path) {
  void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!object || loaded_count == 32) {
    printf("error\tcannot load %s\n", path);
    return;
  }
  snprintf(loaded[loaded_count].name, sizeof loaded->name, "%s", name);
  loaded[loaded_count++].object = object;
  printf("ok\n");
}

static void load(char *rest) {
  char *end = strchr(rest, '\t');
  if (end && !strcmp(end + strlen(end) - 3, ".so")) {
    *end = 0;
    load_object(rest, end + 1);
    return;
  }
  int number = 3;
  char *directories[8];
  int count = 0;
  for (char *word = strtok(rest, "\t"); word && count < 8; word = strtok(0, "\t")) {
    char *host = strchr(word, '=');
    if (host) directories[count++] = host + 1;
  }
  for (int i = 0; i < count; i++, number++) {
    int fd = open(directories[i], O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
      printf("error\tcannot open %s\n", directories[i]);
      return;
    }
    if (fd != number) {
      dup2(fd, number);
      close(fd);
    }
  }
  printf("ok\n");
}

static void call(const char *guest, const char *item, uint32_t n) {
  char name[100];
  snprintf(name, sizeof name, "bench_%s", item);
  void *symbol = 0;
  for (int i = 0; i < loaded_count; i++)
    if (!strcmp(loaded[i].name, guest)) symbol = dlsym(loaded[i].object, item);
  if (!symbol) symbol = dlsym(RTLD_DEFAULT, name);
  uint32_t (*function)(uint32_t) = (uint32_t(*)(uint32_t))symbol;
  if (!function) {
    printf(strcmp(item, "_initialize") ? "error\tno function %s\n" : "ok\n", item);
    return;
  }
  struct timespec start, end;
  clock_gettime(CLOCK_MONOTONIC, &start);
  uint32_t result = function(n);
  clock_gettime(CLOCK_MONOTONIC, &end);
  long long time = (end.tv_sec - start.tv_sec) * 1000000000ll + end.tv_nsec - start.tv_nsec;
  printf("ok\t%lld\t%d\n", time, (int32_t)result);
}

int main(void) {
  char line[4096];
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = 0;
    char *rest = strchr(line, '\t');
    if (!strncmp(line, "load\t", 5)) {
      load(rest + 1);
    } else if (!strncmp(line, "call\t", 5)) {
      char *guest = strtok(rest + 1, "\t"), *item = strtok(0, "\t"), *count = strtok(0, "\t");
      call(guest, item, count ? (uint32_t)strtoul(count, 0, 10) : 0);
    } else {
      printf("error\tnot a request: %s\n", line);
    }
    fflush(stdout);
  }
  return 0;
}
