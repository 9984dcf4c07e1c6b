// Hot: memory comes from the arena.
#include "infer_request.h"

#include <string.h>

#include "inference/inference.pb-c.h"
#include "wire.h"

typedef Inference__ModelInferRequest infer_request;
typedef Inference__ModelInferRequest__InferInputTensor input_tensor;
typedef Inference__InferTensorContents tensor_contents;

enum source {
  RAW_BOOL, RAW_INT8, RAW_INT16, RAW_INT32, RAW_INT64, RAW_UINT8, RAW_UINT16, RAW_UINT32, RAW_UINT64,
  RAW_FP16, RAW_BF16, RAW_FP32, RAW_FP64, RAW_BYTES,
  LIST_BOOL, LIST_INT32, LIST_INT64, LIST_UINT32, LIST_UINT64, LIST_FP32, LIST_FP64, LIST_BYTES,
  NO_LIST,
};

typedef struct {
  const char *name;
  uint8_t raw;
  uint8_t list;
  uint8_t raw_bytes;  // of one element; 0: variable
} datatype;

static const datatype datatypes[] = {
    {"BYTES", RAW_BYTES, LIST_BYTES, 0},    {"FP32", RAW_FP32, LIST_FP32, 4},       {"FP64", RAW_FP64, LIST_FP64, 8},
    {"INT64", RAW_INT64, LIST_INT64, 8},    {"INT32", RAW_INT32, LIST_INT32, 4},    {"BOOL", RAW_BOOL, LIST_BOOL, 1},
    {"INT8", RAW_INT8, LIST_INT32, 1},      {"INT16", RAW_INT16, LIST_INT32, 2},    {"UINT8", RAW_UINT8, LIST_UINT32, 1},
    {"UINT16", RAW_UINT16, LIST_UINT32, 2}, {"UINT32", RAW_UINT32, LIST_UINT32, 4}, {"UINT64", RAW_UINT64, LIST_UINT64, 8},
    {"FP16", RAW_FP16, NO_LIST, 2},         {"BF16", RAW_BF16, NO_LIST, 2},
};

static const datatype *find_datatype(const char *name) {
  for (size_t i = 0; i < sizeof datatypes / sizeof *datatypes; i++)
    if (strcmp(datatypes[i].name, name) == 0) return &datatypes[i];
  return NULL;
}

/// How many elements all lists of the contents hold together, and the list that fits.
static size_t contents_total(const tensor_contents *contents) {
  return contents->n_bool_contents + contents->n_int_contents + contents->n_int64_contents + contents->n_uint_contents +
         contents->n_uint64_contents + contents->n_fp32_contents + contents->n_fp64_contents + contents->n_bytes_contents;
}

static const void *contents_list(const tensor_contents *contents, uint8_t list, size_t *count) {
  switch (list) {
    case LIST_BOOL: *count = contents->n_bool_contents; return contents->bool_contents;
    case LIST_INT32: *count = contents->n_int_contents; return contents->int_contents;
    case LIST_INT64: *count = contents->n_int64_contents; return contents->int64_contents;
    case LIST_UINT32: *count = contents->n_uint_contents; return contents->uint_contents;
    case LIST_UINT64: *count = contents->n_uint64_contents; return contents->uint64_contents;
    case LIST_FP32: *count = contents->n_fp32_contents; return contents->fp32_contents;
    case LIST_FP64: *count = contents->n_fp64_contents; return contents->fp64_contents;
    case LIST_BYTES: *count = contents->n_bytes_contents; return contents->bytes_contents;
    default: *count = 0; return NULL;
  }
}

static mr_status fail_input(mr_problem *problem, mr_status status, const mr_tensor *tensor, const char *detail) {
  return mr_fail(problem, status, tensor->name, tensor->name_length, detail);
}

/// Walks the 4-byte lengths of raw BYTES, so that reading needs no checks.
static mr_status check_raw_bytes(const uint8_t *bytes, size_t length, uint64_t elements, uint32_t text_bytes_max,
                                 const mr_tensor *tensor, mr_problem *problem) {
  size_t at = 0;
  for (uint64_t i = 0; i < elements; i++) {
    if (length - at < 4)
      return fail_input(problem, MR_STATUS_TRUNCATED, tensor, "raw BYTES contents end inside an element's length");
    uint32_t count;
    memcpy(&count, bytes + at, 4);
    at += 4;
    if (count > length - at) return fail_input(problem, MR_STATUS_TRUNCATED, tensor, "raw BYTES contents end inside an element");
    if (count > text_bytes_max) return fail_input(problem, MR_STATUS_TOO_LONG, tensor, "an element is longer than the bound");
    at += count;
  }
  if (at != length) return fail_input(problem, MR_STATUS_SHAPE, tensor, "raw BYTES contents hold more elements than the shape");
  return MR_STATUS_OK;
}

static mr_status read_shape(const input_tensor *input, const mr_limits *limits, uint64_t *rows, mr_tensor *tensor,
                            mr_problem *problem) {
  if (input->n_shape == 0) return fail_input(problem, MR_STATUS_SHAPE, tensor, "the shape is empty");
  uint64_t columns = 1;
  for (size_t d = 0; d < input->n_shape; d++) {
    if (input->shape[d] < 0) return fail_input(problem, MR_STATUS_SHAPE, tensor, "the shape has a negative size");
    uint64_t size = (uint64_t)input->shape[d];
    if (d == 0) *rows = size;
    else if (__builtin_mul_overflow(columns, size, &columns))
      return fail_input(problem, MR_STATUS_SHAPE, tensor, "the shape's sizes overflow when multiplied");
  }
  uint64_t elements;
  if (__builtin_mul_overflow(*rows, columns, &elements))
    return fail_input(problem, MR_STATUS_SHAPE, tensor, "the shape's sizes overflow when multiplied");
  if (elements > limits->values_max || *rows > limits->values_max)
    return fail_input(problem, MR_STATUS_TOO_MANY_VALUES, tensor, "the shape asks for more values than the bound");
  tensor->columns = columns;
  return MR_STATUS_OK;
}

static mr_status read_input(const infer_request *message, size_t index, bool is_raw, const mr_limits *limits, uint64_t *rows,
                            mr_tensor *tensor, mr_problem *problem) {
  const input_tensor *input = message->inputs[index];
  tensor->name = input->name;
  tensor->name_length = (uint32_t)strlen(input->name);
  tensor->at = 0;
  const datatype *type = find_datatype(input->datatype);
  if (type == NULL) return fail_input(problem, MR_STATUS_DATATYPE, tensor, "the datatype is none that the protocol has");
  mr_status status = read_shape(input, limits, rows, tensor, problem);
  if (status != MR_STATUS_OK) return status;
  const uint64_t elements = *rows * tensor->columns;
  const size_t listed = input->contents == NULL ? 0 : contents_total(input->contents);
  if (is_raw) {
    if (listed > 0)
      return fail_input(problem, MR_STATUS_BOTH_CONTENTS, tensor, "contents and raw_input_contents are both given");
    const ProtobufCBinaryData *raw = &message->raw_input_contents[index];
    tensor->source = type->raw;
    tensor->data = raw->data;
    if (type->raw == RAW_BYTES) return check_raw_bytes(raw->data, raw->len, elements, limits->text_bytes_max, tensor, problem);
    if (raw->len != elements * type->raw_bytes)
      return fail_input(problem, raw->len < elements * type->raw_bytes ? MR_STATUS_TRUNCATED : MR_STATUS_SHAPE, tensor,
                        "the raw contents' bytes are not those of the shape and datatype");
    return MR_STATUS_OK;
  }
  if (type->list == NO_LIST)
    return fail_input(problem, MR_STATUS_DATATYPE, tensor, "16 bit floats travel in raw_input_contents only");
  size_t count = 0;
  tensor->source = type->list;
  tensor->data = input->contents == NULL ? NULL : contents_list(input->contents, type->list, &count);
  if (count != listed)
    return fail_input(problem, MR_STATUS_DATATYPE, tensor, "the contents are in another list than the datatype's");
  if (count != elements) return fail_input(problem, MR_STATUS_SHAPE, tensor, "the contents' count is not the shape's");
  if (type->list == LIST_BYTES)
    for (size_t i = 0; i < count; i++)
      if (input->contents->bytes_contents[i].len > limits->text_bytes_max)
        return fail_input(problem, MR_STATUS_TOO_LONG, tensor, "an element is longer than the bound");
  return MR_STATUS_OK;
}

static bool parameter_integer(const Inference__InferParameter *value, int64_t *integer) {
  if (value->parameter_choice_case == INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_INT64_PARAM) {
    *integer = value->int64_param;
    return true;
  }
  if (value->parameter_choice_case == INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_UINT64_PARAM &&
      value->uint64_param <= INT64_MAX) {
    *integer = (int64_t)value->uint64_param;
    return true;
  }
  return false;
}

static bool parameter_number(const Inference__InferParameter *value, double *number) {
  int64_t integer;
  if (value->parameter_choice_case == INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_DOUBLE_PARAM) {
    *number = value->double_param;
  } else if (value->parameter_choice_case == INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_BOOL_PARAM) {
    *number = value->bool_param ? 1 : 0;
  } else if (parameter_integer(value, &integer)) {
    *number = (double)integer;
  } else {
    return false;
  }
  return true;
}

/// Parameters of other names are other people's.
static mr_status read_parameter(const char *name, const Inference__InferParameter *value, const mr_limits *limits,
                                mr_event *event, mr_problem *problem) {
  const bool is_text = value->parameter_choice_case == INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_STRING_PARAM;
  if (strcmp(name, "key") == 0) {
    if (!is_text) return mr_fail(problem, MR_STATUS_WRONG_TYPE, name, strlen(name), "the parameter must be a string");
    size_t length = strlen(value->string_param);
    if (length > limits->text_bytes_max)
      return mr_fail(problem, MR_STATUS_TOO_LONG, name, strlen(name), "longer than the bound");
    event->key = value->string_param;
    event->key_length = (uint32_t)length;
  } else if (strcmp(name, "event_time") == 0) {
    if (is_text) {
      if (!mr_parse_time(value->string_param, strlen(value->string_param), &event->event_time_ms))
        return mr_fail(problem, MR_STATUS_INVALID_TIME, name, strlen(name), "not a time as RFC 3339 writes it");
    } else if (!parameter_integer(value, &event->event_time_ms)) {
      return mr_fail(problem, MR_STATUS_WRONG_TYPE, name, strlen(name), "the parameter must be an integer or a string");
    }
    event->has_event_time = true;
  } else if (strcmp(name, "label") == 0) {
    if (!parameter_number(value, &event->label))
      return mr_fail(problem, MR_STATUS_WRONG_TYPE, name, strlen(name), "the parameter must be a number");
    event->has_label = true;
  } else if (strcmp(name, "weight") == 0) {
    if (!parameter_number(value, &event->weight))
      return mr_fail(problem, MR_STATUS_WRONG_TYPE, name, strlen(name), "the parameter must be a number");
    event->has_weight = true;
  }
  return MR_STATUS_OK;
}

mr_status mr_infer_request_read(const uint8_t *bytes, size_t length, mr_arena *arena, const mr_limits *limits,
                                mr_infer_request *request, mr_problem *problem) {
  memset(request, 0, sizeof *request);
  mr_arena_reset(arena);
  const infer_request *message = inference__model_infer_request__unpack(mr_arena_allocator(arena), length, bytes);
  if (message == NULL)
    return mr_arena_is_exhausted(arena)
               ? mr_fail(problem, MR_STATUS_TOO_LARGE, NULL, 0, "the request unpacks to more memory than the bound")
               : mr_fail(problem, MR_STATUS_MALFORMED, NULL, 0, "not a protobuf ModelInferRequest, or a truncated one");
  size_t id_length = strlen(message->id);
  if (id_length > limits->id_bytes_max) return mr_fail(problem, MR_STATUS_TOO_LONG, "id", 2, "longer than the bound");
  request->event.id = message->id;
  request->event.id_length = (uint32_t)id_length;
  for (size_t i = 0; i < message->n_parameters; i++) {
    const Inference__ModelInferRequest__ParametersEntry *entry = message->parameters[i];
    if (entry->key == NULL || entry->value == NULL) continue;
    mr_status status = read_parameter(entry->key, entry->value, limits, &request->event, problem);
    if (status != MR_STATUS_OK) return status;
  }
  const bool is_raw = message->n_raw_input_contents > 0;
  if (is_raw && message->n_raw_input_contents != message->n_inputs)
    return mr_fail(problem, MR_STATUS_SHAPE, "raw_input_contents", 18, "there must be one element for each input");
  if (message->n_inputs > limits->values_max)
    return mr_fail(problem, MR_STATUS_TOO_MANY_VALUES, "inputs", 6, "the request has more inputs than the bound");
  if (message->n_inputs == 0) return mr_fail(problem, MR_STATUS_SHAPE, "inputs", 6, "the request has no inputs");
  request->tensors = mr_arena_take(arena, message->n_inputs * sizeof(mr_tensor));
  if (request->tensors == NULL)
    return mr_fail(problem, MR_STATUS_TOO_LARGE, NULL, 0, "the request unpacks to more memory than the bound");
  uint64_t values = 0;
  for (size_t i = 0; i < message->n_inputs; i++) {
    uint64_t rows = 0;
    mr_tensor *tensor = &request->tensors[i];
    mr_status status = read_input(message, i, is_raw, limits, &rows, tensor, problem);
    if (status != MR_STATUS_OK) return status;
    if (i > 0 && rows != request->rows)
      return fail_input(problem, MR_STATUS_SHAPE, tensor, "the first size of the shape, the rows, differs from the inputs before");
    request->rows = rows;
    values += rows * tensor->columns;
    if (values > limits->values_max)
      return fail_input(problem, MR_STATUS_TOO_MANY_VALUES, tensor, "the request has more values than the bound");
  }
  if (request->rows == 0) return mr_fail(problem, MR_STATUS_SHAPE, "inputs", 6, "the request has no rows");
  request->tensor_count = (uint32_t)message->n_inputs;
  return MR_STATUS_OK;
}

static float from_half(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 0x1f, fraction = half & 0x3ff, bits;
  if (exponent == 0x1f) {
    bits = sign | 0x7f800000 | fraction << 13;
  } else if (exponent != 0) {
    bits = sign | (exponent + 112) << 23 | fraction << 13;
  } else {
    float value = (float)fraction * 0x1p-24f;
    return sign ? -value : value;
  }
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

static void set_integer(mr_field *field, int64_t value) {
  field->kind = MR_KIND_INTEGER;
  field->integer = value;
}

static void set_unsigned(mr_field *field, uint64_t value) {
  if (value <= INT64_MAX) {
    set_integer(field, (int64_t)value);
  } else {
    field->kind = MR_KIND_UNSIGNED;
    field->integer = (int64_t)value;
  }
}

static void set_number(mr_field *field, double value) {
  field->kind = MR_KIND_NUMBER;
  field->number = value;
}

static void set_flag(mr_field *field, bool value) {
  field->kind = MR_KIND_FLAG;
  field->integer = value;
}

#define RAW_ELEMENT(type, name) \
  type name;                    \
  memcpy(&name, (const uint8_t *)tensor->data + tensor->at++ * sizeof(type), sizeof(type))

void mr_tensor_next(mr_tensor *tensor, mr_field *field) {
  switch ((enum source)tensor->source) {
    case RAW_BOOL: { RAW_ELEMENT(uint8_t, value); set_flag(field, value != 0); break; }
    case RAW_INT8: { RAW_ELEMENT(int8_t, value); set_integer(field, value); break; }
    case RAW_INT16: { RAW_ELEMENT(int16_t, value); set_integer(field, value); break; }
    case RAW_INT32: { RAW_ELEMENT(int32_t, value); set_integer(field, value); break; }
    case RAW_INT64: { RAW_ELEMENT(int64_t, value); set_integer(field, value); break; }
    case RAW_UINT8: { RAW_ELEMENT(uint8_t, value); set_integer(field, value); break; }
    case RAW_UINT16: { RAW_ELEMENT(uint16_t, value); set_integer(field, value); break; }
    case RAW_UINT32: { RAW_ELEMENT(uint32_t, value); set_integer(field, value); break; }
    case RAW_UINT64: { RAW_ELEMENT(uint64_t, value); set_unsigned(field, value); break; }
    case RAW_FP16: { RAW_ELEMENT(uint16_t, value); set_number(field, from_half(value)); break; }
    case RAW_BF16: {
      RAW_ELEMENT(uint16_t, value);
      uint32_t bits = (uint32_t)value << 16;
      float number;
      memcpy(&number, &bits, 4);
      set_number(field, number);
      break;
    }
    case RAW_FP32: { RAW_ELEMENT(float, value); set_number(field, value); break; }
    case RAW_FP64: { RAW_ELEMENT(double, value); set_number(field, value); break; }
    case RAW_BYTES: {
      const uint8_t *element = (const uint8_t *)tensor->data + tensor->at;
      uint32_t count;
      memcpy(&count, element, 4);
      field->kind = MR_KIND_TEXT;
      field->text = (const char *)element + 4;
      field->text_length = count;
      tensor->at += 4 + (uint64_t)count;
      break;
    }
    case LIST_BOOL: set_flag(field, ((const protobuf_c_boolean *)tensor->data)[tensor->at++] != 0); break;
    case LIST_INT32: set_integer(field, ((const int32_t *)tensor->data)[tensor->at++]); break;
    case LIST_INT64: set_integer(field, ((const int64_t *)tensor->data)[tensor->at++]); break;
    case LIST_UINT32: set_integer(field, ((const uint32_t *)tensor->data)[tensor->at++]); break;
    case LIST_UINT64: set_unsigned(field, ((const uint64_t *)tensor->data)[tensor->at++]); break;
    case LIST_FP32: set_number(field, ((const float *)tensor->data)[tensor->at++]); break;
    case LIST_FP64: set_number(field, ((const double *)tensor->data)[tensor->at++]); break;
    case LIST_BYTES: {
      const ProtobufCBinaryData *element = &((const ProtobufCBinaryData *)tensor->data)[tensor->at++];
      field->kind = MR_KIND_TEXT;
      field->text = (const char *)element->data;
      field->text_length = (uint32_t)element->len;
      break;
    }
    case NO_LIST: field->kind = MR_KIND_ABSENT; break;
  }
}
