#pragma once
#include "arena.h"
#include "fields.h"

#ifdef __cplusplus
extern "C" {
#endif

/// One named input of a V2 ModelInferRequest, ready to be read row by row with `mr_tensor_next`. Its datatype, shape and
/// contents have been checked against each other, so reading cannot run past the end.
typedef struct mr_tensor {
  const char *_Nullable name;
  uint32_t name_length;
  uint8_t source;    // which reader: internal
  uint64_t columns;  // values of one row
  uint64_t at;       // internal: element index, or byte offset for raw BYTES
  const void *_Nullable data;
} mr_tensor;

/// A request as features of `rows` rows. `event` holds id, and key, event_time, label and weight from the parameters of these names;
/// `event.fields` stays empty.
typedef struct mr_infer_request {
  mr_event event;
  uint64_t rows;
  mr_tensor *_Nullable tensors;  // in the arena
  uint32_t tensor_count;
} mr_infer_request;

/// Unpacks the request into the arena (which it resets first) and checks it. Rows times values stay within
/// `limits->values_max`.
mr_status mr_infer_request_read(const uint8_t *_Nullable bytes, size_t length, mr_arena *_Nonnull arena,
                                const mr_limits *_Nonnull limits, mr_infer_request *_Nonnull request,
                                mr_problem *_Nonnull problem);

/// The tensor's next value. To be called rows x columns times at most.
void mr_tensor_next(mr_tensor *_Nonnull tensor, mr_field *_Nonnull field);

#ifdef __cplusplus
}
#endif
