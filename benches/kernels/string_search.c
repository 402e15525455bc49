// Byte loads and compares: words looked for in a text of 256 KiB, n times.
#include "kernel.h"
#include <string.h>

#define LENGTH 262144
static char text[LENGTH];

// Horspool's search: how many times `word` is in the text.
static uint32_t occurrences(const char *word) {
  size_t length = strlen(word), skip[256];
  for (int i = 0; i < 256; i++) skip[i] = length;
  for (size_t i = 0; i + 1 < length; i++) skip[(uint8_t)word[i]] = length - 1 - i;
  uint32_t found = 0;
  for (size_t at = 0; at + length <= LENGTH;) {
    size_t i = length;
    while (i > 0 && text[at + i - 1] == word[i - 1]) i--;
    found += i == 0;
    at += skip[(uint8_t)text[at + length - 1]];
  }
  return found;
}

KERNEL {
  static const char *const words[] = {"aba", "cab", "dead", "beef", "facade", "abcabc", "ee"};
  random_state = 29;
  for (int i = 0; i < LENGTH; i++) text[i] = "abcdef"[next_random() % 6];
  uint32_t found = 0;
  for (uint32_t round = 0; round < n; round++)
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) found += occurrences(words[i]);
  return found;
}
