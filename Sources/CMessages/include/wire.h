#pragma once
#include "fields.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Protobuf records read straight from their bytes: no message objects, no memory, every slice borrowed from the record.

typedef enum mr_record_shape {
  MR_SHAPE_UNKNOWN = 0,
  MR_SHAPE_EVENT = 1,
  MR_SHAPE_INFER_REQUEST = 2,
  MR_SHAPE_PREDICTION = 3,
  MR_SHAPE_INFER_RESPONSE = 4,
} mr_record_shape;

/// Tells an Event from a V2 ModelInferRequest by the wire types on the top level: a request's fields 3 and 5 to 7 are
/// length-delimited, an Event's are not.
mr_record_shape mr_shape_of_request(const uint8_t *_Nullable bytes, size_t length);
/// Tells a Prediction from a V2 ModelInferResponse in the same way.
mr_record_shape mr_shape_of_response(const uint8_t *_Nullable bytes, size_t length);

/// Bytes of Confluent's schema-registry framing (a zero byte, a schema id in four bytes, message indexes) before the
/// protobuf message; 0 when there is none.
size_t mr_confluent_prefix(const uint8_t *_Nullable bytes, size_t length);

/// Reads a millrace.Event. `event->fields` must hold `limits->values_max` entries.
mr_status mr_event_read(const uint8_t *_Nullable bytes, size_t length, const mr_limits *_Nonnull limits,
                        mr_event *_Nonnull event, mr_problem *_Nonnull problem);
/// Reads a millrace.Label into the same struct.
mr_status mr_label_read(const uint8_t *_Nullable bytes, size_t length, const mr_limits *_Nonnull limits,
                        mr_event *_Nonnull event, mr_problem *_Nonnull problem);

/// One field of a message, for readers in Swift: number, wire type (0 varint, 1 fixed64, 2 length-delimited, 5 fixed32), and its
/// value or slice.
typedef struct mr_wire_field {
  uint32_t number;
  uint32_t wire_type;
  uint64_t value;
  const uint8_t *_Nullable bytes;
  size_t length;
} mr_wire_field;

/// Reads the field at `*at` and moves past it. OK with `number` 0 at the end of the message.
mr_status mr_wire_next(const uint8_t *_Nullable bytes, size_t length, size_t *_Nonnull at, mr_wire_field *_Nonnull field);

/// True when the bytes are fields of the wire format to their last byte.
bool mr_is_message(const uint8_t *_Nullable bytes, size_t length);

/// True when the bytes are well-formed UTF-8.
bool mr_is_utf8(const uint8_t *_Nullable bytes, size_t length);

#ifdef __cplusplus
}
#endif
