#pragma once
#include "fields.h"

#ifdef __cplusplus
extern "C" {
#endif

/// V2 ModelInferRequests read in place: no message objects, no memory for each request, every slice borrowed from the request or from the
/// reader until the next read.

/// One named input, ready to be read row by row with `mr_tensor_next`. Its datatype, shape and contents have been checked against each
/// other, so reading cannot run past the end. The fields after `columns` belong to the reader.
typedef struct mr_tensor {
  const char *_Nullable name;
  uint32_t name_length;
  uint8_t datatype;  // mr_datatype
  uint8_t source;    // mr_source
  uint64_t rows;
  uint64_t columns;  // values of one row
  // Raw: the bytes left. Contents: the rest of a packed list.
  const uint8_t *_Nullable at;
  const uint8_t *_Nullable end;
  uint64_t elements;
  uint64_t raw_bytes;  // of all elements; 0: variable
  uint64_t listed;     // elements in all lists of the contents
  const uint8_t *_Nullable contents_at;
  const uint8_t *_Nullable contents_end;
  const uint8_t *_Nullable input_at;
  const uint8_t *_Nullable input_end;
} mr_tensor;

typedef enum mr_datatype {
  MR_BOOL, MR_INT8, MR_INT16, MR_INT32, MR_INT64, MR_UINT8, MR_UINT16, MR_UINT32, MR_UINT64,
  MR_FP16, MR_BF16, MR_FP32, MR_FP64, MR_BYTES,
} mr_datatype;

/// Where a tensor's values are: raw, by datatype, or in a list of the contents.
typedef enum mr_source {
  MR_RAW_BOOL, MR_RAW_INT8, MR_RAW_INT16, MR_RAW_INT32, MR_RAW_INT64, MR_RAW_UINT8, MR_RAW_UINT16, MR_RAW_UINT32, MR_RAW_UINT64,
  MR_RAW_FP16, MR_RAW_BF16, MR_RAW_FP32, MR_RAW_FP64, MR_RAW_BYTES,
  MR_LIST_BOOL, MR_LIST_INT32, MR_LIST_INT64, MR_LIST_UINT32, MR_LIST_UINT64, MR_LIST_FP32, MR_LIST_FP64, MR_LIST_BYTES,
  MR_NO_LIST,
} mr_source;

/// The choice that a parameter makes, by the numbers of the protocol.
typedef enum mr_parameter_kind {
  MR_PARAMETER_NONE = 0,
  MR_PARAMETER_BOOL = 1,    // integer: 0 or 1
  MR_PARAMETER_INT64 = 2,   // integer
  MR_PARAMETER_STRING = 3,  // text
  MR_PARAMETER_DOUBLE = 4,  // number
  MR_PARAMETER_UINT64 = 5,  // integer holds the 64 bits
} mr_parameter_kind;

typedef struct mr_parameter {
  const char *_Nullable name;
  const char *_Nullable text;
  uint32_t name_length;
  uint32_t text_length;
  int64_t integer;
  double number;
  uint8_t kind;  // mr_parameter_kind
} mr_parameter;

/// An output that the request asks for by name.
typedef struct mr_requested_output {
  const char *_Nullable name;
  uint32_t name_length;
} mr_requested_output;

/// A request of `rows` rows. `event` holds id, and key, event_time, label and weight from the parameters of these names; `event.fields`
/// stays empty.
typedef struct mr_infer_request {
  mr_event event;
  const char *_Nullable model_name;
  const char *_Nullable model_version;
  uint32_t model_name_length;
  uint32_t model_version_length;
  uint64_t rows;
  uint64_t values;  // of all tensors
  mr_tensor *_Nullable tensors;
  const mr_parameter *_Nullable parameters;
  const mr_requested_output *_Nullable outputs;
  uint32_t tensor_count;
  uint32_t parameter_count;
  uint32_t output_count;
  /// When the inputs' names, datatypes and shapes are byte for byte those of an earlier request: which of the reader's plans they are,
  /// and a number that no other inputs ever get. Serial 0: no plan. What was found out about the inputs may be kept under it.
  uint32_t plan;
  uint64_t plan_serial;
} mr_infer_request;

enum {
  MR_PARAMETERS_MAX = 64,        // of one request
  MR_REQUESTED_OUTPUTS_MAX = 64,
  MR_PLANS = 8,                  // shapes of requests that a reader remembers
  MR_PLAN_BYTES_MAX = 1 << 16,
};

typedef struct mr_infer_reader mr_infer_reader;

/// A reader of requests of up to `inputs_max` inputs; rows times values stay within `limits->values_max`. Null when memory is out. Not for
/// two threads.
mr_infer_reader *_Nullable mr_infer_reader_create(const mr_limits *_Nonnull limits, uint32_t inputs_max);
void mr_infer_reader_destroy(mr_infer_reader *_Nullable reader);

mr_status mr_infer_request_read(mr_infer_reader *_Nonnull reader, const uint8_t *_Nullable bytes, size_t length,
                                mr_infer_request *_Nonnull request, mr_problem *_Nonnull problem);

/// The tensor's next value. To be called rows x columns times at most.
void mr_tensor_next(mr_tensor *_Nonnull tensor, mr_field *_Nonnull field);

/// What parameters ask of the answer. Parameters of other names are other people's.
typedef struct mr_infer_options {
  const char *_Nullable min_position;  // null: not asked
  const char *_Nullable arm;           // null: not asked
  uint32_t min_position_length;
  uint32_t arm_length;
  int64_t max_staleness_ms;  // -1: not asked
  int64_t timeout_us;        // 0: none
  bool logs;                 // false: not to be learned from
} mr_infer_options;

mr_status mr_infer_options_read(const mr_infer_request *_Nonnull request, mr_infer_options *_Nonnull options,
                                mr_problem *_Nonnull problem);

#ifdef __cplusplus
}
#endif
