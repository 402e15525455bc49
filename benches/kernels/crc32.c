// One dependent table look-up a byte: CRC-32 over n times 64 KiB.
#include "kernel.h"

static uint32_t table[256];
static uint8_t data[65536];

KERNEL {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ c >> 1 : c >> 1;
    table[i] = c;
  }
  random_state = 17;
  for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)next_random();

  uint32_t crc = ~0u;
  for (uint32_t round = 0; round < n; round++)
    for (size_t i = 0; i < sizeof data; i++) crc = table[(uint8_t)(crc ^ data[i])] ^ crc >> 8;
  return ~crc;
}
