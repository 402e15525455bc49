// Chains of pointers all over memory: n insertions and look-ups in a hash map with buckets.
#include "kernel.h"

#define BUCKETS 65536
#define NODES 200000
static struct node {
  struct node *next;
  uint32_t key, value;
} nodes[NODES], *bucket[BUCKETS];

static struct node **slot(uint32_t key) { return &bucket[key * 2654435761u >> 16]; }

static struct node *find(uint32_t key) {
  struct node *node = *slot(key);
  while (node && node->key != key) node = node->next;
  return node;
}

KERNEL {
  uint32_t used = 0, hits = 0;
  for (uint32_t i = 0; i < BUCKETS; i++) bucket[i] = NULL;
  random_state = 23;
  for (uint32_t i = 0; i < n; i++) {
    uint32_t key = next_random() % 400000;
    struct node *node = find(key);
    if (node) {
      node->value++;
      hits++;
    } else if (used < NODES) {
      nodes[used] = (struct node){*slot(key), key, i};
      *slot(key) = &nodes[used++];
    }
  }
  return hits ^ used << 8;
}
