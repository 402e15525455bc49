// A program that tries what it should not.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void try(const char *what, int result) {
  printf("%-34s %s\n", what, result < 0 ? strerror(errno) : "worked");
}

int main(void) {
  try("read a file of its directory", open("/work/input.txt", O_RDONLY));
  try("write to it", open("/work/input.txt", O_WRONLY));
  try("make a file there", open("/work/new", O_CREAT | O_WRONLY, 0600));
  try("leave by ..", open("/work/../../etc/passwd", O_RDONLY));
  try("read /etc/passwd", open("/etc/passwd", O_RDONLY));
  try("write to its directory in memory", open("/tmp/new", O_CREAT | O_WRONLY, 0600));
  printf("%-34s %s\n", "see a variable of the environment", getenv("HOME") ? "worked" : "there is none");
  void *volatile much = malloc(100u << 20);
  printf("%-34s %s\n", "have 100 MB of memory", much ? "worked" : "refused");
  fflush(stdout);
  for (volatile int k = 0;; k++) continue;
}
