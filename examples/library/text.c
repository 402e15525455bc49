// A small library of C: strings in, strings out. It knows nothing of JavaScript.
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(name)))

// A title as part of an address. The caller frees it.
EXPORT("slug") char *slug(const char *title, size_t length) {
  char *slug = malloc(length + 1);
  size_t end = 0;
  for (size_t k = 0; k < length; k++) {
    if (isalnum((unsigned char)title[k])) slug[end++] = (char)tolower((unsigned char)title[k]);
    else if (end > 0 && slug[end - 1] != '-') slug[end++] = '-';
  }
  while (end > 0 && slug[end - 1] == '-') end--;
  slug[end] = 0;
  return slug;
}

// The 64 bits of FNV-1a.
EXPORT("hash") uint64_t hash(const uint8_t *bytes, size_t length) {
  uint64_t hash = 0xcbf29ce484222325;
  for (size_t k = 0; k < length; k++) hash = (hash ^ bytes[k]) * 0x100000001b3;
  return hash;
}
