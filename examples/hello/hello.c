#include <stdio.h>

int main(int argc, char **argv) {
  printf("Hello, %s!\n", argc > 1 ? argv[1] : "world");
  FILE *file = fopen("/notes/today.txt", "r");
  if (file == NULL) {
    perror("/notes/today.txt");
    return 1;
  }
  char line[256];
  while (fgets(line, sizeof line, file) != NULL) printf("> %s", line);
  return 0;
}
