// A native addon in C: what it needs of Node is in node_api.h, and nothing of it knows WebAssembly.
// The same file compiles to a .node with node-gyp.

#include <node_api.h>
#include <stdint.h>
#include <stdlib.h>

#define CHECK(call)                              \
  do {                                           \
    if ((call) != napi_ok) return rethrow(env);  \
  } while (0)

static napi_value rethrow(napi_env env) {
  // It is of the last call, so it is asked for before anything else.
  const napi_extended_error_info *info;
  napi_get_last_error_info(env, &info);
  const char *message = info->error_message ? info->error_message : "it failed";
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_type_error(env, NULL, message);
  return NULL;
}

// distance(a: string, b: string): number, the edits from one to the other
static napi_value distance(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value args[2];
  CHECK(napi_get_cb_info(env, info, &count, args, NULL, NULL));
  size_t lengths[2];
  for (int k = 0; k < 2; k++) CHECK(napi_get_value_string_utf16(env, args[k], NULL, 0, &lengths[k]));
  char16_t *a = malloc((lengths[0] + lengths[1] + 2) * sizeof *a);
  uint32_t *row = malloc((lengths[1] + 1) * sizeof *row);
  if (a == NULL || row == NULL) {
    free(a);
    free(row);
    napi_throw_range_error(env, NULL, "no memory for texts of this length");
    return NULL;
  }
  char16_t *b = a + lengths[0] + 1;
  napi_get_value_string_utf16(env, args[0], a, lengths[0] + 1, NULL);
  napi_get_value_string_utf16(env, args[1], b, lengths[1] + 1, NULL);
  for (size_t k = 0; k <= lengths[1]; k++) row[k] = (uint32_t)k;
  for (size_t i = 0; i < lengths[0]; i++) {
    uint32_t corner = row[0]++;
    for (size_t k = 0; k < lengths[1]; k++) {
      uint32_t best = corner + (a[i] != b[k]);
      corner = row[k + 1];
      if (corner + 1 < best) best = corner + 1;
      if (row[k] + 1 < best) best = row[k] + 1;
      row[k + 1] = best;
    }
  }
  napi_value result;
  napi_status status = napi_create_uint32(env, row[lengths[1]], &result);
  free(a);
  free(row);
  CHECK(status);
  return result;
}

// class Histogram { add(bytes: Uint8Array): this; counts(): number[] }
typedef struct {
  uint32_t counts[256];
} Histogram;

static void histogram_free(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  free(data);
}

static napi_value histogram_new(napi_env env, napi_callback_info info) {
  napi_value self;
  CHECK(napi_get_cb_info(env, info, NULL, NULL, &self, NULL));
  Histogram *histogram = calloc(1, sizeof *histogram);
  if (histogram == NULL) {
    napi_throw_range_error(env, NULL, "no memory for a histogram");
    return NULL;
  }
  if (napi_wrap(env, self, histogram, histogram_free, NULL, NULL) != napi_ok) {
    free(histogram);
    return rethrow(env);
  }
  return self;
}

static napi_value histogram_add(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value bytes, self;
  Histogram *histogram;
  uint8_t *data;
  size_t length;
  CHECK(napi_get_cb_info(env, info, &count, &bytes, &self, NULL));
  CHECK(napi_unwrap(env, self, (void **)&histogram));
  CHECK(napi_get_typedarray_info(env, bytes, NULL, &length, (void **)&data, NULL, NULL));
  for (size_t k = 0; k < length; k++) histogram->counts[data[k]]++;
  return self;
}

static napi_value histogram_counts(napi_env env, napi_callback_info info) {
  napi_value self, counts, count;
  Histogram *histogram;
  CHECK(napi_get_cb_info(env, info, NULL, NULL, &self, NULL));
  CHECK(napi_unwrap(env, self, (void **)&histogram));
  CHECK(napi_create_array_with_length(env, 256, &counts));
  for (uint32_t k = 0; k < 256; k++) {
    CHECK(napi_create_uint32(env, histogram->counts[k], &count));
    CHECK(napi_set_element(env, counts, k, count));
  }
  return counts;
}

NAPI_MODULE_INIT() {
  napi_property_descriptor methods[] = {
    {"add", NULL, histogram_add, NULL, NULL, NULL, napi_default_method, NULL},
    {"counts", NULL, histogram_counts, NULL, NULL, NULL, napi_default_method, NULL},
  };
  napi_value class;
  CHECK(napi_define_class(env, "Histogram", NAPI_AUTO_LENGTH, histogram_new, NULL, 2, methods, &class));
  napi_property_descriptor properties[] = {
    {"distance", NULL, distance, NULL, NULL, NULL, napi_default_jsproperty, NULL},
    {"Histogram", NULL, NULL, NULL, NULL, class, napi_default_jsproperty, NULL},
  };
  CHECK(napi_define_properties(env, exports, 2, properties));
  return exports;
}
