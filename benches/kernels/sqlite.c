// SQLite in one file, and a small workload: n rows written, indexed and summed in memory.
#include "kernel.h"
#define SQLITE_OMIT_LOAD_EXTENSION 1
#define SQLITE_THREADSAFE 0
#include "sqlite3.c"

static int sum_of(void *sum, int columns, char **values, char **names) {
  (void)columns, (void)names;
  *(uint32_t *)sum += (uint32_t)atoll(values[0]);
  return 0;
}

KERNEL {
  sqlite3 *db;
  uint32_t sum = 0;
  if (sqlite3_open(":memory:", &db) != SQLITE_OK) return 0;
  char fill[256];
  snprintf(fill, sizeof fill,
           "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < %u) "
           "INSERT INTO t SELECT i, i * 7919 %% 10007, hex(i) FROM c",
           n);
  const char *statements[] = {
      "CREATE TABLE t(id INTEGER PRIMARY KEY, score INTEGER, name TEXT)",
      fill,
      "CREATE INDEX by_score ON t(score)",
      "UPDATE t SET name = name || '!' WHERE score BETWEEN 100 AND 900",
      "SELECT sum(a.score) FROM t a JOIN t b ON a.score = b.id WHERE b.name LIKE '3%'",
      "SELECT score + length(name) FROM t ORDER BY name DESC LIMIT 100",
  };
  for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
    if (sqlite3_exec(db, statements[i], sum_of, &sum, NULL) != SQLITE_OK) return 0;
  sqlite3_close(db);
  return sum;
}
