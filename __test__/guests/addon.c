// A native module in C, with nothing but node-api-headers: one function for each part of Node-API.

#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 8

// Throws what the last call said, unless an exception is pending, and leaves the function.
#define TRY(call)                                                                                          \
  do {                                                                                                     \
    if ((call) != napi_ok) {                                                                               \
      fail(env);                                                                                           \
      return NULL;                                                                                         \
    }                                                                                                      \
  } while (0)

#define ARGS(count)                                                                                        \
  size_t argc = MOST;                                                                                      \
  napi_value argv[MOST], self;                                                                             \
  void* data;                                                                                              \
  TRY(napi_get_cb_info(env, info, &argc, argv, &self, &data));                                             \
  (void)data;                                                                                              \
  (void)self;                                                                                              \
  if (argc < (count)) {                                                                                    \
    napi_throw_type_error(env, "ERR_ARGS", "too few arguments");                                           \
    return NULL;                                                                                           \
  }

static void fail(napi_env env) {
  const napi_extended_error_info* info;
  napi_get_last_error_info(env, &info);
  char code[16];
  snprintf(code, sizeof code, "STATUS_%d", info->error_code);
  bool pending;
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_error(env, code, info->error_message ? info->error_message : "no message");
}

static napi_value number(napi_env env, double value) {
  napi_value result = NULL;
  napi_create_double(env, value, &result);
  return result;
}

static napi_value noop(napi_env env, napi_callback_info info) { return NULL; }

static napi_value add(napi_env env, napi_callback_info info) {
  ARGS(2);
  double a, b;
  TRY(napi_get_value_double(env, argv[0], &a));
  TRY(napi_get_value_double(env, argv[1], &b));
  return number(env, a + b);
}

// ---- values

static napi_value echo_numbers(napi_env env, napi_callback_info info) {
  ARGS(1);
  int32_t i32;
  uint32_t u32;
  int64_t i64;
  double f64;
  TRY(napi_get_value_int32(env, argv[0], &i32));
  TRY(napi_get_value_uint32(env, argv[0], &u32));
  TRY(napi_get_value_int64(env, argv[0], &i64));
  TRY(napi_get_value_double(env, argv[0], &f64));
  napi_value list, item;
  TRY(napi_create_array_with_length(env, 4, &list));
  TRY(napi_create_int32(env, i32, &item));
  TRY(napi_set_element(env, list, 0, item));
  TRY(napi_create_uint32(env, u32, &item));
  TRY(napi_set_element(env, list, 1, item));
  TRY(napi_create_int64(env, i64, &item));
  TRY(napi_set_element(env, list, 2, item));
  TRY(napi_set_element(env, list, 3, number(env, f64)));
  return list;
}

static napi_value type_of(napi_env env, napi_callback_info info) {
  ARGS(1);
  napi_valuetype type;
  TRY(napi_typeof(env, argv[0], &type));
  return number(env, type);
}

// The text back, through UTF-8, Latin-1 or UTF-16.
static napi_value echo_text(napi_env env, napi_callback_info info) {
  ARGS(2);
  int32_t encoding;
  TRY(napi_get_value_int32(env, argv[1], &encoding));
  napi_value result;
  size_t length;
  if (encoding == 8) {
    TRY(napi_get_value_string_utf8(env, argv[0], NULL, 0, &length));
    char* text = malloc(length + 1);
    TRY(napi_get_value_string_utf8(env, argv[0], text, length + 1, &length));
    TRY(napi_create_string_utf8(env, text, length, &result));
    free(text);
  } else if (encoding == 1) {
    TRY(napi_get_value_string_latin1(env, argv[0], NULL, 0, &length));
    char* text = malloc(length + 1);
    TRY(napi_get_value_string_latin1(env, argv[0], text, length + 1, &length));
    TRY(napi_create_string_latin1(env, text, NAPI_AUTO_LENGTH, &result));
    free(text);
  } else {
    TRY(napi_get_value_string_utf16(env, argv[0], NULL, 0, &length));
    char* room = malloc(2 * length + 3);
    // At an odd address, where no text of two-byte units should lie, and does.
    char16_t* text = (char16_t*)(room + (encoding == 17));
    TRY(napi_get_value_string_utf16(env, argv[0], text, length + 1, &length));
    TRY(napi_create_string_utf16(env, text, length, &result));
    free(room);
  }
  return result;
}

// The first bytes of a text, as many as there is room for.
static napi_value cut_text(napi_env env, napi_callback_info info) {
  ARGS(2);
  uint32_t room;
  TRY(napi_get_value_uint32(env, argv[1], &room));
  char text[32];
  memset(text, '#', sizeof text);
  size_t length;
  TRY(napi_get_value_string_utf8(env, argv[0], text, room, &length));
  napi_value result;
  TRY(napi_create_string_utf8(env, text, length + 2, &result));
  return result;
}

static napi_value big(napi_env env, napi_callback_info info) {
  ARGS(1);
  int64_t i64;
  uint64_t u64;
  bool exact, exact_unsigned;
  TRY(napi_get_value_bigint_int64(env, argv[0], &i64, &exact));
  TRY(napi_get_value_bigint_uint64(env, argv[0], &u64, &exact_unsigned));
  int sign;
  size_t count = 4;
  uint64_t words[4];
  TRY(napi_get_value_bigint_words(env, argv[0], &sign, &count, words));
  napi_value list, item;
  TRY(napi_create_array(env, &list));
  TRY(napi_create_bigint_int64(env, i64, &item));
  TRY(napi_set_element(env, list, 0, item));
  TRY(napi_get_boolean(env, exact, &item));
  TRY(napi_set_element(env, list, 1, item));
  TRY(napi_create_bigint_uint64(env, u64, &item));
  TRY(napi_set_element(env, list, 2, item));
  TRY(napi_get_boolean(env, exact_unsigned, &item));
  TRY(napi_set_element(env, list, 3, item));
  TRY(napi_create_bigint_words(env, sign, count, words, &item));
  TRY(napi_set_element(env, list, 4, item));
  return list;
}

static napi_value date(napi_env env, napi_callback_info info) {
  ARGS(1);
  double time;
  bool is;
  TRY(napi_is_date(env, argv[0], &is));
  if (!is) return NULL;
  TRY(napi_get_date_value(env, argv[0], &time));
  napi_value result;
  TRY(napi_create_date(env, time + 1000, &result));
  return result;
}

static napi_value symbols(napi_env env, napi_callback_info info) {
  napi_value list, text, item;
  TRY(napi_create_array(env, &list));
  TRY(napi_create_string_utf8(env, "own", 3, &text));
  TRY(napi_create_symbol(env, text, &item));
  TRY(napi_set_element(env, list, 0, item));
  TRY(node_api_symbol_for(env, "shared", NAPI_AUTO_LENGTH, &item));
  TRY(napi_set_element(env, list, 1, item));
  TRY(napi_create_symbol(env, NULL, &item));
  TRY(napi_set_element(env, list, 2, item));
  return list;
}

// ---- objects

static napi_value objects(napi_env env, napi_callback_info info) {
  ARGS(1);
  napi_value result, value, key;
  bool has, own, deleted;
  TRY(napi_create_object(env, &result));
  TRY(napi_get_named_property(env, argv[0], "name", &value));
  TRY(napi_set_named_property(env, result, "name", value));
  TRY(napi_has_named_property(env, argv[0], "toString", &has));
  TRY(napi_get_boolean(env, has, &value));
  TRY(napi_set_named_property(env, result, "has", value));
  TRY(napi_create_string_utf8(env, "toString", NAPI_AUTO_LENGTH, &key));
  TRY(napi_has_own_property(env, argv[0], key, &own));
  TRY(napi_get_boolean(env, own, &value));
  TRY(napi_set_named_property(env, result, "own", value));
  TRY(napi_create_string_utf8(env, "gone", NAPI_AUTO_LENGTH, &key));
  TRY(napi_delete_property(env, argv[0], key, &deleted));
  TRY(napi_get_boolean(env, deleted, &value));
  TRY(napi_set_named_property(env, result, "deleted", value));
  TRY(napi_get_property_names(env, argv[0], &value));
  TRY(napi_set_named_property(env, result, "names", value));
  TRY(napi_get_all_property_names(env, argv[0], napi_key_own_only, napi_key_all_properties,
                                  napi_key_numbers_to_strings, &value));
  TRY(napi_set_named_property(env, result, "all", value));
  TRY(napi_get_prototype(env, argv[0], &value));
  TRY(napi_set_named_property(env, result, "prototype", value));
  TRY(napi_object_freeze(env, result));
  return result;
}

static napi_value instance_of(napi_env env, napi_callback_info info) {
  ARGS(2);
  bool is;
  TRY(napi_instanceof(env, argv[0], argv[1], &is));
  napi_value result;
  TRY(napi_get_boolean(env, is, &result));
  return result;
}

// ---- functions

static napi_value call(napi_env env, napi_callback_info info) {
  ARGS(1);
  napi_value receiver, result;
  TRY(napi_get_global(env, &receiver));
  TRY(napi_call_function(env, receiver, argv[0], argc - 1, argv + 1, &result));
  return result;
}

// What a function throws, caught and returned.
static napi_value caught(napi_env env, napi_callback_info info) {
  ARGS(1);
  napi_value result = NULL;
  napi_status status = napi_call_function(env, self, argv[0], 0, NULL, &result);
  if (status == napi_pending_exception) {
    napi_value error;
    TRY(napi_get_and_clear_last_exception(env, &error));
    return error;
  }
  return NULL;
}

static napi_value construct(napi_env env, napi_callback_info info) {
  ARGS(1);
  napi_value result;
  TRY(napi_new_instance(env, argv[0], argc - 1, argv + 1, &result));
  return result;
}

static napi_value count_arguments(napi_env env, napi_callback_info info) {
  size_t argc = 0;
  TRY(napi_get_cb_info(env, info, &argc, NULL, NULL, NULL));
  napi_value* argv = malloc((argc + 2) * sizeof *argv);
  size_t room = argc + 2;
  TRY(napi_get_cb_info(env, info, &room, argv, NULL, NULL));
  napi_value list;
  TRY(napi_create_array(env, &list));
  for (size_t i = 0; i < argc + 2; i++) TRY(napi_set_element(env, list, i, argv[i]));
  free(argv);
  return list;
}

static napi_value counted(napi_env env, napi_callback_info info) {
  size_t argc = 0;
  void* data;
  TRY(napi_get_cb_info(env, info, &argc, NULL, NULL, &data));
  return number(env, ++*(uint32_t*)data);
}

// A function with a state of its own.
static napi_value counter(napi_env env, napi_callback_info info) {
  uint32_t* count = calloc(1, sizeof *count);
  napi_value result;
  TRY(napi_create_function(env, "counter", NAPI_AUTO_LENGTH, counted, count, &result));
  return result;
}

static napi_value recurse(napi_env env, napi_callback_info info) {
  ARGS(2);
  uint32_t depth;
  TRY(napi_get_value_uint32(env, argv[1], &depth));
  if (depth == 0) return number(env, 0);
  napi_value args[2] = {argv[0], number(env, depth - 1)}, result;
  TRY(napi_call_function(env, self, argv[0], 2, args, &result));
  double below;
  TRY(napi_get_value_double(env, result, &below));
  return number(env, below + 1);
}

// ---- classes

typedef struct {
  double value;
} Box;

static uint32_t finalized = 0;

static void free_box(napi_env env, void* data, void* hint) {
  finalized++;
  free(data);
}

static const napi_type_tag BOX = {0x1234567890abcdefULL, 0xfedcba0987654321ULL};

static napi_value box_new(napi_env env, napi_callback_info info) {
  ARGS(0);
  napi_value target;
  TRY(napi_get_new_target(env, info, &target));
  if (target == NULL) {
    napi_throw_type_error(env, NULL, "Box is a class");
    return NULL;
  }
  Box* box = malloc(sizeof *box);
  box->value = 0;
  if (argc > 0) TRY(napi_get_value_double(env, argv[0], &box->value));
  TRY(napi_wrap(env, self, box, free_box, NULL, NULL));
  TRY(napi_type_tag_object(env, self, &BOX));
  return self;
}

static Box* box_of(napi_env env, napi_value value) {
  Box* box = NULL;
  bool is = false;
  napi_check_object_type_tag(env, value, &BOX, &is);
  if (!is || napi_unwrap(env, value, (void**)&box) != napi_ok) {
    napi_throw_type_error(env, "ERR_BOX", "not a Box");
    return NULL;
  }
  return box;
}

static napi_value box_get(napi_env env, napi_callback_info info) {
  ARGS(0);
  Box* box = box_of(env, self);
  return box == NULL ? NULL : number(env, box->value);
}

static napi_value box_set(napi_env env, napi_callback_info info) {
  ARGS(1);
  Box* box = box_of(env, self);
  if (box != NULL) TRY(napi_get_value_double(env, argv[0], &box->value));
  return NULL;
}

static napi_value box_plus(napi_env env, napi_callback_info info) {
  ARGS(1);
  Box* box = box_of(env, self);
  double other;
  if (box == NULL) return NULL;
  TRY(napi_get_value_double(env, argv[0], &other));
  return number(env, box->value + other);
}

static napi_value box_empty(napi_env env, napi_callback_info info) {
  ARGS(1);
  Box* box;
  TRY(napi_remove_wrap(env, argv[0], (void**)&box));
  double value = box->value;
  free(box);
  return number(env, value);
}

static napi_value unwrap_any(napi_env env, napi_callback_info info) {
  ARGS(1);
  void* pointer;
  TRY(napi_unwrap(env, argv[0], &pointer));
  return number(env, (uintptr_t)pointer);
}

static napi_value box_static(napi_env env, napi_callback_info info) { return number(env, 42); }

static napi_value finalized_count(napi_env env, napi_callback_info info) { return number(env, finalized); }

// ---- externals, references, finalizers

static napi_value external(napi_env env, napi_callback_info info) {
  ARGS(1);
  Box* box = malloc(sizeof *box);
  TRY(napi_get_value_double(env, argv[0], &box->value));
  napi_value result;
  TRY(napi_create_external(env, box, free_box, NULL, &result));
  return result;
}

static napi_value external_value(napi_env env, napi_callback_info info) {
  ARGS(1);
  Box* box;
  TRY(napi_get_value_external(env, argv[0], (void**)&box));
  return number(env, box->value);
}

static napi_value watch(napi_env env, napi_callback_info info) {
  ARGS(1);
  TRY(napi_add_finalizer(env, argv[0], malloc(8), free_box, NULL, NULL));
  return argv[0];
}

static napi_ref kept = NULL;

static napi_value keep(napi_env env, napi_callback_info info) {
  ARGS(2);
  uint32_t count;
  TRY(napi_get_value_uint32(env, argv[1], &count));
  if (kept != NULL) TRY(napi_delete_reference(env, kept));
  TRY(napi_create_reference(env, argv[0], count, &kept));
  return NULL;
}

static napi_value kept_value(napi_env env, napi_callback_info info) {
  napi_value result;
  TRY(napi_get_reference_value(env, kept, &result));
  return result;
}

static napi_value count_kept(napi_env env, napi_callback_info info) {
  ARGS(1);
  bool up;
  uint32_t count;
  TRY(napi_get_value_bool(env, argv[0], &up));
  if (up) TRY(napi_reference_ref(env, kept, &count));
  if (!up) TRY(napi_reference_unref(env, kept, &count));
  return number(env, count);
}

// ---- scopes

static napi_value scopes(napi_env env, napi_callback_info info) {
  ARGS(1);
  uint32_t turns;
  TRY(napi_get_value_uint32(env, argv[0], &turns));
  napi_value last = NULL;
  for (uint32_t i = 0; i < turns; i++) {
    napi_handle_scope scope;
    TRY(napi_open_handle_scope(env, &scope));
    napi_value object;
    TRY(napi_create_object(env, &object));
    TRY(napi_close_handle_scope(env, scope));
  }
  napi_escapable_handle_scope scope;
  TRY(napi_open_escapable_handle_scope(env, &scope));
  napi_value inner;
  TRY(napi_create_string_utf8(env, "escaped", NAPI_AUTO_LENGTH, &inner));
  TRY(napi_escape_handle(env, scope, inner, &last));
  napi_value again;
  napi_status twice = napi_escape_handle(env, scope, inner, &again);
  TRY(napi_close_escapable_handle_scope(env, scope));
  if (twice != napi_escape_called_twice) {
    napi_throw_error(env, NULL, "a value escaped twice");
    return NULL;
  }
  return last;
}

// ---- errors

static napi_value throw_any(napi_env env, napi_callback_info info) {
  ARGS(1);
  napi_throw(env, argv[0]);
  return NULL;
}

static napi_value throw_kind(napi_env env, napi_callback_info info) {
  ARGS(1);
  uint32_t kind;
  TRY(napi_get_value_uint32(env, argv[0], &kind));
  if (kind == 0) napi_throw_error(env, "CODE", "plain");
  if (kind == 1) napi_throw_type_error(env, NULL, "type");
  if (kind == 2) napi_throw_range_error(env, "RANGE", "range");
  if (kind == 3) node_api_throw_syntax_error(env, NULL, "syntax");
  return NULL;
}

static napi_value make_errors(napi_env env, napi_callback_info info) {
  napi_value list, code, message, item;
  TRY(napi_create_array(env, &list));
  TRY(napi_create_string_utf8(env, "CODE", 4, &code));
  TRY(napi_create_string_utf8(env, "text", 4, &message));
  TRY(napi_create_error(env, code, message, &item));
  TRY(napi_set_element(env, list, 0, item));
  TRY(napi_create_type_error(env, NULL, message, &item));
  TRY(napi_set_element(env, list, 1, item));
  TRY(napi_create_range_error(env, code, message, &item));
  TRY(napi_set_element(env, list, 2, item));
  TRY(node_api_create_syntax_error(env, NULL, message, &item));
  TRY(napi_set_element(env, list, 3, item));
  return list;
}

static napi_value trap(napi_env env, napi_callback_info info) { __builtin_trap(); }

static napi_value fatal(napi_env env, napi_callback_info info) {
  napi_fatal_error("addon.c", NAPI_AUTO_LENGTH, "the end", NAPI_AUTO_LENGTH);
}

static napi_value leave(napi_env env, napi_callback_info info) { exit(3); }

// ---- promises

static napi_deferred deferred;

static napi_value promise(napi_env env, napi_callback_info info) {
  napi_value result;
  TRY(napi_create_promise(env, &deferred, &result));
  return result;
}

static napi_value settle(napi_env env, napi_callback_info info) {
  ARGS(2);
  bool well;
  TRY(napi_get_value_bool(env, argv[0], &well));
  if (well) TRY(napi_resolve_deferred(env, deferred, argv[1]));
  if (!well) TRY(napi_reject_deferred(env, deferred, argv[1]));
  return NULL;
}

// ---- bytes

static napi_value sum(napi_env env, napi_callback_info info) {
  ARGS(1);
  uint8_t* bytes;
  size_t length;
  TRY(napi_get_buffer_info(env, argv[0], (void**)&bytes, &length));
  uint32_t total = 0;
  for (size_t i = 0; i < length; i++) total += bytes[i];
  return number(env, total);
}

static napi_value fill(napi_env env, napi_callback_info info) {
  ARGS(2);
  uint32_t value;
  TRY(napi_get_value_uint32(env, argv[1], &value));
  napi_typedarray_type type;
  size_t length;
  void* bytes;
  bool is;
  TRY(napi_is_typedarray(env, argv[0], &is));
  if (is) {
    TRY(napi_get_typedarray_info(env, argv[0], &type, &length, &bytes, NULL, NULL));
  } else {
    TRY(napi_is_dataview(env, argv[0], &is));
    if (is) TRY(napi_get_dataview_info(env, argv[0], &length, &bytes, NULL, NULL));
    if (!is) TRY(napi_get_arraybuffer_info(env, argv[0], &bytes, &length));
  }
  memset(bytes, value, length);
  return argv[0];
}

// Writes 1, calls, adds what JavaScript has written, and writes the sum.
static napi_value write_around(napi_env env, napi_callback_info info) {
  ARGS(2);
  uint8_t* bytes;
  size_t length;
  TRY(napi_get_buffer_info(env, argv[0], (void**)&bytes, &length));
  bytes[0] = 1;
  napi_value result;
  TRY(napi_call_function(env, self, argv[1], 0, NULL, &result));
  bytes[1] = bytes[0] + bytes[2];
  return number(env, bytes[2]);
}

// The same around reading a property, which may have a getter.
static napi_value write_around_property(napi_env env, napi_callback_info info) {
  ARGS(2);
  uint8_t* bytes;
  size_t length;
  TRY(napi_get_buffer_info(env, argv[0], (void**)&bytes, &length));
  bytes[0] = 1;
  napi_value result;
  TRY(napi_get_named_property(env, argv[1], "value", &result));
  bytes[1] = bytes[0] + bytes[2];
  return number(env, bytes[2]);
}

// Whether two views of the same bytes are at the same place.
static napi_value same_place(napi_env env, napi_callback_info info) {
  ARGS(2);
  uint8_t *one, *other;
  size_t length;
  TRY(napi_get_buffer_info(env, argv[0], (void**)&one, &length));
  TRY(napi_get_buffer_info(env, argv[1], (void**)&other, &length));
  if (argc > 2) {
    one[0] += 1;
    other[length - 1] += 1;
  }
  return number(env, (double)(other - one));
}

static uint8_t* held_bytes;
static size_t held_length;

// Keeps the bytes of the value for later calls.
static napi_value hold(napi_env env, napi_callback_info info) {
  ARGS(1);
  TRY(napi_create_reference(env, argv[0], 1, &kept));
  TRY(napi_get_buffer_info(env, argv[0], (void**)&held_bytes, &held_length));
  return NULL;
}

static napi_value write_held(napi_env env, napi_callback_info info) {
  ARGS(2);
  uint32_t place, value;
  TRY(napi_get_value_uint32(env, argv[0], &place));
  TRY(napi_get_value_uint32(env, argv[1], &value));
  uint8_t before = held_bytes[place];
  held_bytes[place] = value;
  return number(env, before);
}

static napi_value release(napi_env env, napi_callback_info info) {
  TRY(napi_delete_reference(env, kept));
  kept = NULL;
  return NULL;
}

static void free_bytes(napi_env env, void* data, void* hint) {
  finalized++;
  free(data);
}

// Bytes of each way to make some: 0 to 5.
static napi_value make_bytes(napi_env env, napi_callback_info info) {
  ARGS(2);
  uint32_t way, length;
  TRY(napi_get_value_uint32(env, argv[0], &way));
  TRY(napi_get_value_uint32(env, argv[1], &length));
  napi_value result;
  uint8_t* bytes = NULL;
  if (way == 0) TRY(napi_create_buffer(env, length, (void**)&bytes, &result));
  if (way == 1) TRY(napi_create_arraybuffer(env, length, (void**)&bytes, &result));
  if (way == 2 || way == 3) {
    bytes = malloc(length);
    if (way == 2) TRY(napi_create_external_buffer(env, length, bytes, free_bytes, NULL, &result));
    if (way == 3) TRY(napi_create_external_arraybuffer(env, bytes, length, free_bytes, NULL, &result));
  }
  if (way == 4 || way == 5) {
    uint8_t* source = malloc(length);
    for (size_t i = 0; i < length; i++) source[i] = i;
    TRY(napi_create_buffer_copy(env, length, source, way == 4 ? NULL : (void**)&bytes, &result));
    free(source);
  }
  if (bytes != NULL)
    for (size_t i = 0; i < length; i++) bytes[i] = i;
  return result;
}

static napi_value make_views(napi_env env, napi_callback_info info) {
  ARGS(1);
  napi_value list, item;
  TRY(napi_create_array(env, &list));
  TRY(napi_create_typedarray(env, napi_uint16_array, 2, argv[0], 2, &item));
  TRY(napi_set_element(env, list, 0, item));
  TRY(napi_create_dataview(env, 3, argv[0], 1, &item));
  TRY(napi_set_element(env, list, 1, item));
  TRY(node_api_create_buffer_from_arraybuffer(env, argv[0], 1, 4, &item));
  TRY(napi_set_element(env, list, 2, item));
  return list;
}

static napi_value detach(napi_env env, napi_callback_info info) {
  ARGS(1);
  bool before, after;
  TRY(napi_is_detached_arraybuffer(env, argv[0], &before));
  TRY(napi_detach_arraybuffer(env, argv[0]));
  TRY(napi_is_detached_arraybuffer(env, argv[0], &after));
  return number(env, before * 2 + after);
}

// ---- the module and its host

static void report(const char* text) {
  printf("%s\n", text);
  fflush(stdout);
}

static void on_end(void* arg) { report(arg); }

static void on_data_end(napi_env env, void* data, void* hint) { report(data); }

static napi_value at_end(napi_env env, napi_callback_info info) {
  TRY(napi_add_env_cleanup_hook(env, on_end, "first"));
  TRY(napi_add_env_cleanup_hook(env, on_end, "removed"));
  TRY(napi_add_env_cleanup_hook(env, on_end, "second"));
  TRY(napi_remove_env_cleanup_hook(env, on_end, "removed"));
  TRY(napi_set_instance_data(env, "data", on_data_end, NULL));
  char* data;
  TRY(napi_get_instance_data(env, (void**)&data));
  napi_value result;
  TRY(napi_create_string_utf8(env, data, NAPI_AUTO_LENGTH, &result));
  return result;
}

static napi_value host(napi_env env, napi_callback_info info) {
  const napi_node_version* node;
  uint32_t version;
  const char* file;
  TRY(napi_get_version(env, &version));
  TRY(napi_get_node_version(env, &node));
  TRY(node_api_get_module_file_name(env, &file));
  char text[512];
  snprintf(text, sizeof text, "%s %u.%u.%u napi %u %s", node->release, node->major, node->minor, node->patch,
           version, file);
  napi_value result;
  TRY(napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &result));
  return result;
}

static napi_value script(napi_env env, napi_callback_info info) {
  ARGS(1);
  napi_value result;
  TRY(napi_run_script(env, argv[0], &result));
  return result;
}

// The status and the text of a call that fails.
static napi_value last_error(napi_env env, napi_callback_info info) {
  ARGS(1);
  bool value;
  napi_status status = napi_get_value_bool(env, argv[0], &value);
  const napi_extended_error_info* error;
  TRY(napi_get_last_error_info(env, &error));
  char text[128];
  snprintf(text, sizeof text, "%d %d %s", status, error->error_code,
           error->error_message ? error->error_message : "-");
  napi_value result;
  TRY(napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &result));
  return result;
}

static napi_value make_callback(napi_env env, napi_callback_info info) {
  ARGS(1);
  napi_value name, result;
  napi_async_context context;
  TRY(napi_create_string_utf8(env, "addon", NAPI_AUTO_LENGTH, &name));
  TRY(napi_async_init(env, NULL, name, &context));
  TRY(napi_make_callback(env, context, self, argv[0], 0, NULL, &result));
  TRY(napi_async_destroy(env, context));
  return result;
}

static napi_value environment(napi_env env, napi_callback_info info) {
  const char* home = getenv("HOME");
  FILE* file = fopen("/etc/passwd", "r");
  char text[64];
  snprintf(text, sizeof text, "%s %s", home ? home : "none", file ? "open" : "closed");
  napi_value result;
  TRY(napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &result));
  return result;
}

#define FUNCTION(name) {#name, NULL, name, NULL, NULL, NULL, napi_enumerable, NULL}

NAPI_MODULE_INIT() {
  napi_property_descriptor members[] = {
      {"value", NULL, NULL, box_get, box_set, NULL, napi_enumerable, NULL},
      {"plus", NULL, box_plus, NULL, NULL, NULL, napi_default_method, NULL},
      {"read", NULL, NULL, box_get, NULL, NULL, napi_default, NULL},
      {"answer", NULL, box_static, NULL, NULL, NULL, napi_static, NULL},
  };
  napi_value box;
  if (napi_define_class(env, "Box", NAPI_AUTO_LENGTH, box_new, NULL, 4, members, &box) != napi_ok) return NULL;
  napi_set_named_property(env, exports, "Box", box);
  napi_property_descriptor functions[] = {
      FUNCTION(noop),          FUNCTION(add),          FUNCTION(echo_numbers),  FUNCTION(type_of),
      FUNCTION(echo_text),     FUNCTION(cut_text),     FUNCTION(big),           FUNCTION(date),
      FUNCTION(symbols),       FUNCTION(objects),      FUNCTION(instance_of),   FUNCTION(call),
      FUNCTION(caught),        FUNCTION(construct),    FUNCTION(count_arguments), FUNCTION(counter),
      FUNCTION(recurse),       FUNCTION(box_empty),    FUNCTION(unwrap_any),    FUNCTION(finalized_count),
      FUNCTION(external),      FUNCTION(external_value), FUNCTION(watch),       FUNCTION(keep),
      FUNCTION(kept_value),    FUNCTION(count_kept),   FUNCTION(scopes),        FUNCTION(throw_any),
      FUNCTION(throw_kind),    FUNCTION(make_errors),  FUNCTION(trap),          FUNCTION(fatal),
      FUNCTION(leave),         FUNCTION(promise),      FUNCTION(settle),        FUNCTION(sum),
      FUNCTION(fill),          FUNCTION(write_around), FUNCTION(same_place),    FUNCTION(hold),
      FUNCTION(write_held),    FUNCTION(release),      FUNCTION(make_bytes),    FUNCTION(make_views),
      FUNCTION(detach),        FUNCTION(at_end),       FUNCTION(host),          FUNCTION(script),
      FUNCTION(last_error),    FUNCTION(make_callback), FUNCTION(environment),
      FUNCTION(write_around_property),
  };
  size_t count = sizeof functions / sizeof *functions;
  if (napi_define_properties(env, exports, count, functions) != napi_ok) return NULL;
  return exports;
}
