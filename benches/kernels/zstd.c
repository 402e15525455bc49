// zstd in one file, and a small workload: n KB of text compressed at two levels, and decompressed again.
#include "kernel.h"
#define ZSTD_DISABLE_ASM 1
#define ZSTD_LEGACY_SUPPORT 0
#define ZSTD_TRACE 0
#define XXH_NAMESPACE ZSTD_
#define XXH_PRIVATE_API
#define ZSTD_DEPS_NEED_MALLOC
#include "common/debug.c"
#include "common/entropy_common.c"
#include "common/error_private.c"
#include "common/fse_decompress.c"
#include "common/zstd_common.c"
#include "compress/fse_compress.c"
#include "compress/hist.c"
#include "compress/huf_compress.c"
#include "compress/zstd_compress.c"
#include "compress/zstd_compress_literals.c"
#include "compress/zstd_compress_sequences.c"
#include "compress/zstd_compress_superblock.c"
#include "compress/zstd_double_fast.c"
#include "compress/zstd_fast.c"
#include "compress/zstd_lazy.c"
#include "compress/zstd_ldm.c"
#include "compress/zstd_opt.c"
#include "compress/zstd_preSplit.c"
#include "decompress/huf_decompress.c"
#include "decompress/zstd_ddict.c"
#include "decompress/zstd_decompress.c"
#include "decompress/zstd_decompress_block.c"

#include <stdlib.h>
#include <string.h>

// Words of a small language, the short ones more often.
static void write_text(char *text, size_t size) {
  for (size_t at = 0; at < size;) {
    uint32_t word = next_random() % 4096;
    word = word * (next_random() % 256) / 256;
    for (uint32_t letters = 1 + word % 9; letters > 0 && at < size; letters--, word = word * 31 + 7)
      text[at++] = 'a' + word % 23;
    if (at < size) text[at++] = ' ';
  }
}

KERNEL {
  size_t size = (size_t)n * 1024, room = ZSTD_compressBound(size);
  char *text = malloc(size), *packed = malloc(room), *again = malloc(size);
  uint32_t sum = 0;
  random_state = 42;
  if (text && packed && again) {
    write_text(text, size);
    const int levels[] = {3, 9};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
      size_t length = ZSTD_compress(packed, room, text, size, levels[i]);
      size_t unpacked = ZSTD_decompress(again, size, packed, length);
      if (unpacked != size || memcmp(text, again, size) != 0) abort();
      sum = sum * 31 + (uint32_t)length;
    }
  }
  free(text), free(packed), free(again);
  return sum;
}
