// A Node-API addon as one writes it in C, for rows/boundary.mjs. The few prototypes are written out,
// so that no headers have to be found.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void *napi_env, *napi_value, *napi_callback_info;
typedef napi_value (*napi_callback)(napi_env, napi_callback_info);
int napi_get_cb_info(napi_env, napi_callback_info, size_t *, napi_value *, napi_value *, void **);
int napi_get_value_int32(napi_env, napi_value, int32_t *);
int napi_create_int32(napi_env, int32_t, napi_value *);
int napi_get_value_bigint_int64(napi_env, napi_value, int64_t *, bool *);
int napi_create_bigint_int64(napi_env, int64_t, napi_value *);
int napi_get_undefined(napi_env, napi_value *);
int napi_call_function(napi_env, napi_value, napi_value, size_t, const napi_value *, napi_value *);
int napi_create_function(napi_env, const char *, size_t, napi_callback, void *, napi_value *);
int napi_set_named_property(napi_env, napi_value, const char *, napi_value);

static napi_value add(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value arguments[2], result;
  int32_t a, b;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  napi_get_value_int32(env, arguments[0], &a);
  napi_get_value_int32(env, arguments[1], &b);
  napi_create_int32(env, a + b, &result);
  return result;
}

static napi_value next(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument, result;
  int64_t value;
  bool lossless;
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  napi_get_value_bigint_int64(env, argument, &value, &lossless);
  napi_create_bigint_int64(env, value + 1, &result);
  return result;
}

// call_import(f, n): what kernels/boundary.c does. No scope is opened for a call, which would make it
// slower: the handles of all calls are kept to the end.
static napi_value call_import(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value arguments[2], receiver, result;
  int32_t n, value = 0;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  napi_get_value_int32(env, arguments[1], &n);
  napi_get_undefined(env, &receiver);
  for (int32_t i = 0; i < n; i++) {
    napi_value argument;
    napi_create_int32(env, value, &argument);
    napi_call_function(env, receiver, arguments[0], 1, &argument, &result);
    napi_get_value_int32(env, result, &value);
  }
  napi_create_int32(env, value, &result);
  return result;
}

__attribute__((visibility("default"))) int32_t node_api_module_get_api_version_v1(void) { return 8; }

__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  static const struct {
    const char *name;
    napi_callback function;
  } all[] = {{"add", add}, {"next", next}, {"call_import", call_import}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    napi_value function;
    napi_create_function(env, all[i].name, (size_t)-1, all[i].function, NULL, &function);
    napi_set_named_property(env, exports, all[i].name, function);
  }
  return exports;
}
