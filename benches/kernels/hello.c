// A program: says hello, after two seconds if it is given an argument.
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv) {
  (void)argv;
  if (argc > 1) sleep(2);
  puts("hello");
  return 0;
}
