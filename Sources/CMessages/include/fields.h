#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// What kept a record from being read. The numbers are for use between C and Swift only.
typedef enum mr_status {
  MR_STATUS_OK = 0,
  MR_STATUS_MALFORMED = 1,        // not JSON, not protobuf, a field in the wrong wire type
  MR_STATUS_TRUNCATED = 2,        // ends inside a field
  MR_STATUS_TOO_DEEP = 3,         // JSON nested beyond the bound
  MR_STATUS_TOO_MANY_VALUES = 4,  // more feature values than the bound
  MR_STATUS_TOO_LONG = 5,         // a text beyond the bound
  MR_STATUS_WRONG_TYPE = 6,       // a value of a type that the field does not take
  MR_STATUS_OUT_OF_RANGE = 7,     // a number that its type cannot hold
  MR_STATUS_INVALID_UTF8 = 8,
  MR_STATUS_DUPLICATE = 9,        // a field given twice
  MR_STATUS_INVALID_TIME = 10,
  MR_STATUS_BOTH_CONTENTS = 11,   // V2: contents and raw_input_contents
  MR_STATUS_SHAPE = 12,           // V2: a shape that fits neither the contents nor the other inputs
  MR_STATUS_DATATYPE = 13,        // V2: an unknown or unsupported datatype
  MR_STATUS_TOO_LARGE = 14,       // more memory than the bound
  MR_STATUS_NO_MEMORY = 15,
  MR_STATUS_SHARED_MEMORY = 16,   // V2: a tensor in shared memory
} mr_status;

typedef enum mr_kind {
  MR_KIND_ABSENT = 0,
  MR_KIND_TEXT = 1,      // text, text_length
  MR_KIND_INTEGER = 2,   // integer
  MR_KIND_NUMBER = 3,    // number
  MR_KIND_FLAG = 4,      // integer: 0 or 1
  MR_KIND_UNSIGNED = 5,  // beyond Int64: integer holds the 64 bits of an unsigned number
  MR_KIND_NESTED = 6,    // an object or a list in a list: never usable
} mr_kind;

/// One value of one feature. Pointers are borrowed from the record or its parser.
typedef struct mr_field {
  const char *_Nullable name;
  const char *_Nullable text;
  int64_t integer;
  double number;
  uint32_t name_length;
  uint32_t text_length;
  uint8_t kind;       // mr_kind
  bool is_continued;  // a further value of the same feature as the entry before
} mr_field;

/// Bounds of one record. What passes one is refused with a status.
typedef struct mr_limits {
  uint32_t values_max;  // entries that `fields` has room for
  uint32_t text_bytes_max;
  uint32_t id_bytes_max;
} mr_limits;

/// An event, example or label, as all three forms give it; `fields` is the caller's.
typedef struct mr_event {
  const char *_Nullable id;
  const char *_Nullable key;
  uint32_t id_length;
  uint32_t key_length;
  int64_t event_time_ms;
  double label;
  double weight;
  bool has_event_time;
  bool has_label;
  bool has_weight;
  mr_field *_Nullable fields;
  uint32_t field_count;
} mr_event;

/// Where and why reading stopped: `field` is borrowed like the values, `detail` is static.
typedef struct mr_problem {
  mr_status status;
  const char *_Nullable field;
  uint32_t field_length;
  const char *_Nullable detail;
  // V2 only: which input, or -1; whether `field` names a parameter; how many there should have been, and were.
  int32_t input;
  bool is_parameter;
  bool has_counts;
  uint64_t expected;
  uint64_t found;
} mr_problem;

/// Reads a time as RFC 3339 writes it ("2013-06-01T12:00:00Z", a fraction and an offset may follow; a date alone is its midnight
/// in UTC) into milliseconds since 1970. False when it is something else.
bool mr_parse_time(const char *_Nullable text, size_t length, int64_t *_Nonnull milliseconds);

static inline mr_status mr_fail(mr_problem *_Nonnull problem, mr_status status, const char *_Nullable field,
                                size_t field_length, const char *_Nullable detail) {
  problem->status = status;
  problem->field = field;
  problem->field_length = (uint32_t)(field_length > 256 ? 256 : field_length);
  problem->detail = detail;
  problem->input = -1;
  problem->is_parameter = false;
  problem->has_counts = false;
  return status;
}

#ifdef __cplusplus
}
#endif
