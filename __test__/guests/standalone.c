/* What a program of Emscripten's (STANDALONE_WASM) uses of WASI: all but files. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv) {
    char line[100];
    for (int i = 0; i < argc; i++) printf("argument %d: %s\n", i, argv[i]);
    while (fgets(line, sizeof line, stdin)) printf("line: %s", line);
    struct timespec now, later;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double sum = 0;
    for (int i = 1; i < 100000; i++) sum += 1.0 / i;
    clock_gettime(CLOCK_MONOTONIC, &later);
    int forwards = later.tv_sec > now.tv_sec || (later.tv_sec == now.tv_sec && later.tv_nsec >= now.tv_nsec);
    printf("sum: %.6f, clock: %s\n", sum, forwards ? "forwards" : "backwards");
    char *heap = malloc(50 << 20);
    printf("heap: %s\n", heap ? "grown" : "refused");
    fprintf(stderr, "to standard error\n");
    return 3;
}
