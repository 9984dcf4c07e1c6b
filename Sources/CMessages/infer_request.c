// Hot: one pass over the request's bytes, nothing copied. What clients send again and again, the inputs' names, datatypes and shapes, is
// remembered: the next request's bytes are compared with it at once, and only the values are left to read.
#include "infer_request.h"

#include <stdlib.h>

#include "wire_inline.h"

typedef struct {
  const uint8_t *bytes;
  size_t length;
} span;

/// The inputs of an earlier request: their bytes, end to end, and what reading them gave.
typedef struct {
  uint8_t *run;
  size_t run_length, run_capacity;
  mr_tensor *tensors;
  uint32_t count, capacity;
  uint64_t serial;
} plan;

struct mr_infer_reader {
  mr_limits limits;
  uint32_t inputs_max;
  uint32_t last_plan;  // the one that fitted last
  uint32_t next_plan;  // the one to be replaced next
  uint64_t serial;
  mr_tensor *tensors;
  span *raws;
  plan plans[MR_PLANS];
  mr_parameter parameters[MR_PARAMETERS_MAX];
  mr_requested_output outputs[MR_REQUESTED_OUTPUTS_MAX];
};

mr_infer_reader *mr_infer_reader_create(const mr_limits *limits, uint32_t inputs_max) {
  mr_infer_reader *reader = calloc(1, sizeof *reader);
  if (reader == NULL) return NULL;
  reader->limits = *limits;
  reader->inputs_max = inputs_max;
  reader->tensors = calloc((size_t)inputs_max + 1, sizeof *reader->tensors);
  reader->raws = calloc((size_t)inputs_max + 1, sizeof *reader->raws);
  if (reader->tensors == NULL || reader->raws == NULL) {
    mr_infer_reader_destroy(reader);
    return NULL;
  }
  return reader;
}

void mr_infer_reader_destroy(mr_infer_reader *reader) {
  if (reader == NULL) return;
  for (size_t i = 0; i < MR_PLANS; i++) {
    free(reader->plans[i].run);
    free(reader->plans[i].tensors);
  }
  free(reader->tensors);
  free(reader->raws);
  free(reader);
}

// MARK: Datatypes

typedef struct {
  const char *name;
  uint8_t name_length;
  uint8_t list;
  uint8_t raw_bytes;  // of one element; 0: variable
} datatype;

static const datatype datatypes[] = {
    [MR_BOOL] = {"BOOL", 4, MR_LIST_BOOL, 1},       [MR_INT8] = {"INT8", 4, MR_LIST_INT32, 1},
    [MR_INT16] = {"INT16", 5, MR_LIST_INT32, 2},    [MR_INT32] = {"INT32", 5, MR_LIST_INT32, 4},
    [MR_INT64] = {"INT64", 5, MR_LIST_INT64, 8},    [MR_UINT8] = {"UINT8", 5, MR_LIST_UINT32, 1},
    [MR_UINT16] = {"UINT16", 6, MR_LIST_UINT32, 2}, [MR_UINT32] = {"UINT32", 6, MR_LIST_UINT32, 4},
    [MR_UINT64] = {"UINT64", 6, MR_LIST_UINT64, 8}, [MR_FP16] = {"FP16", 4, MR_NO_LIST, 2},
    [MR_BF16] = {"BF16", 4, MR_NO_LIST, 2},         [MR_FP32] = {"FP32", 4, MR_LIST_FP32, 4},
    [MR_FP64] = {"FP64", 4, MR_LIST_FP64, 8},       [MR_BYTES] = {"BYTES", 5, MR_LIST_BYTES, 0},
};
enum { DATATYPES = sizeof datatypes / sizeof *datatypes };

/// DATATYPES when there is none of this name.
static unsigned find_datatype(const char *name, size_t length) {
  unsigned i = 0;
  while (i < DATATYPES && (datatypes[i].name_length != length || memcmp(datatypes[i].name, name, length) != 0)) i++;
  return i;
}

static bool is_named(const char *name, size_t length, const char *wanted) {
  return length == strlen(wanted) && memcmp(name, wanted, length) == 0;
}

// MARK: Failures

static mr_status fail_input(mr_problem *problem, mr_status status, const mr_tensor *tensor, size_t index, const char *detail) {
  mr_fail(problem, status, tensor->name, tensor->name_length, detail);
  problem->input = (int32_t)index;
  return status;
}

static mr_status fail_counts(mr_problem *problem, mr_status status, const mr_tensor *tensor, size_t index, const char *detail,
                             uint64_t expected, uint64_t found) {
  fail_input(problem, status, tensor, index, detail);
  problem->has_counts = true;
  problem->expected = expected;
  problem->found = found;
  return status;
}

static mr_status wrong_wire_type(mr_problem *problem, const char *field) {
  return mr_fail(problem, MR_STATUS_MALFORMED, field, strlen(field), "the field has another wire type than its declaration");
}

static mr_status malformed(mr_problem *problem, mr_status status) {
  return mr_fail(problem, status, NULL, 0, "not a protobuf ModelInferRequest, or a truncated one");
}

static mr_status read_text(const mr_wire_field *field, const char *name, uint32_t bytes_max, const char **text, uint32_t *length,
                           mr_problem *problem) {
  if (field->wire_type != 2) return wrong_wire_type(problem, name);
  if (field->length > bytes_max) return mr_fail(problem, MR_STATUS_TOO_LONG, name, strlen(name), "longer than the bound");
  *text = (const char *)field->bytes;
  *length = (uint32_t)field->length;
  return MR_STATUS_OK;
}

// MARK: Parameters

/// An InferParameter. Several choices, or several such messages: the last one counts.
static mr_status read_choice(const uint8_t *at, const uint8_t *end, mr_parameter *parameter) {
  mr_wire_field field;
  while (at < end) {
    mr_status status = next_field(&at, end, &field);
    if (status != MR_STATUS_OK) return status;
    static const uint8_t wire_types[] = {0, 0, 0, 2, 1, 0};
    if (field.number > MR_PARAMETER_UINT64) continue;
    if (field.wire_type != wire_types[field.number]) return MR_STATUS_MALFORMED;
    parameter->kind = (uint8_t)field.number;
    switch (field.number) {
      case MR_PARAMETER_BOOL: parameter->integer = field.value != 0; break;
      case MR_PARAMETER_INT64:
      case MR_PARAMETER_UINT64: parameter->integer = (int64_t)field.value; break;
      case MR_PARAMETER_DOUBLE: memcpy(&parameter->number, &field.value, 8); break;
      default:
        if (field.length > UINT32_MAX) return MR_STATUS_MALFORMED;
        parameter->text = (const char *)field.bytes;
        parameter->text_length = (uint32_t)field.length;
    }
  }
  return MR_STATUS_OK;
}

/// An entry of a map of parameters.
static mr_status read_entry(const uint8_t *at, const uint8_t *end, mr_parameter *parameter) {
  *parameter = (mr_parameter){.kind = MR_PARAMETER_NONE};
  mr_wire_field field;
  while (at < end) {
    mr_status status = next_field(&at, end, &field);
    if (status != MR_STATUS_OK) return status;
    if (field.number > 2) continue;
    if (field.wire_type != 2 || field.length > UINT32_MAX) return MR_STATUS_MALFORMED;
    if (field.number == 1) {
      parameter->name = (const char *)field.bytes;
      parameter->name_length = (uint32_t)field.length;
    } else {
      status = read_choice(field.bytes, field.bytes + field.length, parameter);
      if (status != MR_STATUS_OK) return status;
    }
  }
  return MR_STATUS_OK;
}

static bool parameter_integer(const mr_parameter *value, int64_t *integer) {
  if (value->kind == MR_PARAMETER_INT64 || (value->kind == MR_PARAMETER_UINT64 && value->integer >= 0)) {
    *integer = value->integer;
    return true;
  }
  return false;
}

static bool parameter_number(const mr_parameter *value, double *number) {
  int64_t integer;
  if (value->kind == MR_PARAMETER_DOUBLE) {
    *number = value->number;
  } else if (value->kind == MR_PARAMETER_BOOL) {
    *number = value->integer ? 1 : 0;
  } else if (parameter_integer(value, &integer)) {
    *number = (double)integer;
  } else {
    return false;
  }
  return true;
}

static mr_status fail_parameter(mr_problem *problem, mr_status status, const mr_parameter *parameter, const char *detail) {
  mr_fail(problem, status, parameter->name, parameter->name_length, detail);
  problem->is_parameter = true;
  return status;
}

/// The parameters that belong to an event's envelope.
static mr_status read_envelope(const mr_parameter *value, const mr_limits *limits, mr_event *event, mr_problem *problem) {
  const bool is_text = value->kind == MR_PARAMETER_STRING;
  if (is_named(value->name, value->name_length, "key")) {
    if (!is_text) return fail_parameter(problem, MR_STATUS_WRONG_TYPE, value, "the parameter must be a string");
    if (value->text_length > limits->text_bytes_max) return fail_parameter(problem, MR_STATUS_TOO_LONG, value, "longer than the bound");
    event->key = value->text;
    event->key_length = value->text_length;
  } else if (is_named(value->name, value->name_length, "event_time")) {
    if (is_text) {
      if (!mr_parse_time(value->text, value->text_length, &event->event_time_ms))
        return fail_parameter(problem, MR_STATUS_INVALID_TIME, value, "not a time as RFC 3339 writes it");
    } else if (!parameter_integer(value, &event->event_time_ms)) {
      return fail_parameter(problem, MR_STATUS_WRONG_TYPE, value, "the parameter must be an integer or a string");
    }
    event->has_event_time = true;
  } else if (is_named(value->name, value->name_length, "label")) {
    if (!parameter_number(value, &event->label))
      return fail_parameter(problem, MR_STATUS_WRONG_TYPE, value, "the parameter must be a number");
    event->has_label = true;
  } else if (is_named(value->name, value->name_length, "weight")) {
    if (!parameter_number(value, &event->weight))
      return fail_parameter(problem, MR_STATUS_WRONG_TYPE, value, "the parameter must be a number");
    event->has_weight = true;
  }
  return MR_STATUS_OK;
}

mr_status mr_infer_options_read(const mr_infer_request *request, mr_infer_options *options, mr_problem *problem) {
  *options = (mr_infer_options){.max_staleness_ms = -1, .logs = true};
  for (uint32_t i = 0; i < request->parameter_count; i++) {
    const mr_parameter *value = &request->parameters[i];
    if (value->kind == MR_PARAMETER_NONE || value->name == NULL) continue;
    if (is_named(value->name, value->name_length, "max_staleness_ms")) {
      if (!parameter_integer(value, &options->max_staleness_ms) || options->max_staleness_ms < 0)
        return fail_parameter(problem, MR_STATUS_WRONG_TYPE, value, "the parameter must be an integer of at least 0");
    } else if (is_named(value->name, value->name_length, "timeout")) {
      if (!parameter_integer(value, &options->timeout_us) || options->timeout_us < 0)
        return fail_parameter(problem, MR_STATUS_WRONG_TYPE, value, "the parameter must be an integer of at least 0, microseconds");
    } else if (is_named(value->name, value->name_length, "priority")) {
      if (value->kind != MR_PARAMETER_INT64 && value->kind != MR_PARAMETER_UINT64)
        return fail_parameter(problem, MR_STATUS_WRONG_TYPE, value, "the parameter must be an integer");
    } else if (is_named(value->name, value->name_length, "min_position")) {
      if (value->kind != MR_PARAMETER_STRING)
        return fail_parameter(problem, MR_STATUS_WRONG_TYPE, value, "the parameter must be a string, offsets with commas between them");
      options->min_position = value->text;
      options->min_position_length = value->text_length;
    } else if (is_named(value->name, value->name_length, "arm")) {
      if (value->kind != MR_PARAMETER_STRING)
        return fail_parameter(problem, MR_STATUS_WRONG_TYPE, value, "the parameter must be a string, the name of an arm");
      options->arm = value->text;
      options->arm_length = value->text_length;
    } else if (is_named(value->name, value->name_length, "log")) {
      if (value->kind != MR_PARAMETER_BOOL) return fail_parameter(problem, MR_STATUS_WRONG_TYPE, value, "the parameter must be a boolean");
      options->logs = value->integer != 0;
    }
  }
  return MR_STATUS_OK;
}

static const char in_shared_memory[] = "tensors in shared memory are not supported: send their contents";

/// Whether an entry of a tensor's parameters puts it into shared memory.
static bool names_shared_memory(const mr_parameter *parameter) {
  return parameter->name != NULL && is_named(parameter->name, parameter->name_length, "shared_memory_region");
}

// MARK: Inputs

/// How many elements a list of the contents holds in `field`; false when the bytes are none of that list's.
static bool count_list(const mr_wire_field *field, uint64_t *count) {
  static const uint8_t unpacked[] = {0, 0, 0, 0, 0, 0, 5, 1, 2};
  const uint32_t wire_type = unpacked[field->number];
  if (field->wire_type == wire_type) {
    *count += 1;
    return true;
  }
  if (field->wire_type != 2) return false;
  if (wire_type == 5 || wire_type == 1) {
    const size_t size = wire_type == 5 ? 4 : 8;
    *count += field->length / size;
    return field->length % size == 0;
  }
  const uint8_t *at = field->bytes, *end = at + field->length;
  while (at < end) {
    uint64_t value;
    if (varint(&at, end, &value) != MR_STATUS_OK) return false;
    *count += 1;
  }
  return true;
}

static const uint8_t list_fields[] = {
    [MR_LIST_BOOL] = 1, [MR_LIST_INT32] = 2, [MR_LIST_INT64] = 3, [MR_LIST_UINT32] = 4,
    [MR_LIST_UINT64] = 5, [MR_LIST_FP32] = 6, [MR_LIST_FP64] = 7, [MR_LIST_BYTES] = 8,
};

/// Elements in all lists of an InferTensorContents.
static mr_status count_contents(const uint8_t *at, const uint8_t *end, uint64_t *listed) {
  mr_wire_field field;
  while (at < end) {
    mr_status status = next_field(&at, end, &field);
    if (status != MR_STATUS_OK) return status;
    if (field.number <= 8 && !count_list(&field, listed)) return MR_STATUS_MALFORMED;
  }
  return MR_STATUS_OK;
}

typedef struct {
  uint32_t sizes;
  uint64_t rows, columns;
  bool is_negative, overflows;
} shape;

static void add_size(shape *shape, int64_t size) {
  if (size < 0) shape->is_negative = true;
  if (shape->sizes == 0) shape->rows = (uint64_t)size;
  else if (__builtin_mul_overflow(shape->columns, (uint64_t)size, &shape->columns)) shape->overflows = true;
  if (shape->sizes < UINT32_MAX) shape->sizes++;
}

static mr_status read_shape(const mr_wire_field *field, shape *shape) {
  if (field->wire_type == 0) {
    add_size(shape, (int64_t)field->value);
    return MR_STATUS_OK;
  }
  if (field->wire_type != 2) return MR_STATUS_MALFORMED;
  const uint8_t *at = field->bytes, *end = at + field->length;
  while (at < end) {
    uint64_t value;
    mr_status status = varint(&at, end, &value);
    if (status != MR_STATUS_OK) return status;
    add_size(shape, (int64_t)value);
  }
  return MR_STATUS_OK;
}

static mr_status check_shape(const shape *shape, const mr_limits *limits, mr_tensor *tensor, size_t index, mr_problem *problem) {
  if (shape->sizes == 0) return fail_input(problem, MR_STATUS_SHAPE, tensor, index, "the shape is empty");
  if (shape->is_negative) return fail_input(problem, MR_STATUS_SHAPE, tensor, index, "the shape has a negative size");
  if (shape->overflows || __builtin_mul_overflow(shape->rows, shape->columns, &tensor->elements))
    return fail_input(problem, MR_STATUS_SHAPE, tensor, index, "the shape's sizes overflow when multiplied");
  if (tensor->elements > limits->values_max || shape->rows > limits->values_max)
    return fail_counts(problem, MR_STATUS_TOO_MANY_VALUES, tensor, index, "the shape asks for more values than the bound", limits->values_max,
                       tensor->elements > shape->rows ? tensor->elements : shape->rows);
  tensor->rows = shape->rows;
  tensor->columns = shape->columns;
  return MR_STATUS_OK;
}

/// An InferInputTensor, as far as it can be read without the raw contents.
static mr_status read_input(const uint8_t *at, const uint8_t *end, const mr_limits *limits, size_t index, mr_tensor *tensor,
                            mr_problem *problem) {
  *tensor = (mr_tensor){.input_at = at, .input_end = end};
  const char *type = NULL;
  uint32_t type_length = 0;
  shape shape = {.columns = 1};
  mr_wire_field field;
  while (at < end) {
    mr_status status = next_field(&at, end, &field);
    if (status != MR_STATUS_OK) return fail_input(problem, status, tensor, index, "the input's message is malformed or truncated");
    switch (field.number) {
      case 1: status = read_text(&field, "inputs.name", limits->text_bytes_max, &tensor->name, &tensor->name_length, problem); break;
      case 2: status = read_text(&field, "inputs.datatype", limits->text_bytes_max, &type, &type_length, problem); break;
      case 3:
        status = read_shape(&field, &shape);
        if (status != MR_STATUS_OK) return fail_input(problem, status, tensor, index, "the shape is malformed");
        break;
      case 4: {
        mr_parameter parameter;
        if (field.wire_type != 2) return wrong_wire_type(problem, "inputs.parameters");
        status = read_entry(field.bytes, field.bytes + field.length, &parameter);
        if (status != MR_STATUS_OK) return fail_input(problem, status, tensor, index, "a parameter is malformed");
        if (names_shared_memory(&parameter)) return fail_input(problem, MR_STATUS_SHARED_MEMORY, tensor, index, in_shared_memory);
        break;
      }
      case 5:
        if (field.wire_type != 2) return wrong_wire_type(problem, "inputs.contents");
        status = count_contents(field.bytes, field.bytes + field.length, &tensor->listed);
        if (status != MR_STATUS_OK) return fail_input(problem, status, tensor, index, "the contents are malformed");
        break;
      default: break;
    }
    if (status != MR_STATUS_OK) {
      problem->input = (int32_t)index;
      return status;
    }
  }
  unsigned found = find_datatype(type, type_length);
  if (found == DATATYPES)
    return fail_input(problem, MR_STATUS_DATATYPE, tensor, index, "the datatype is none that the protocol has");
  tensor->datatype = (uint8_t)found;
  mr_status status = check_shape(&shape, limits, tensor, index, problem);
  // Within the bound on values, so this cannot overflow.
  tensor->raw_bytes = tensor->elements * datatypes[found].raw_bytes;
  return status;
}

// MARK: Contents

/// Walks the 4-byte lengths of raw BYTES, so that reading needs no checks.
static mr_status check_raw_texts(const uint8_t *at, const uint8_t *end, uint32_t text_bytes_max, const mr_tensor *tensor, size_t index,
                                 mr_problem *problem) {
  for (uint64_t i = 0; i < tensor->elements; i++) {
    uint32_t count;
    if (end - at < 4) return fail_input(problem, MR_STATUS_TRUNCATED, tensor, index, "raw BYTES contents end inside an element's length");
    memcpy(&count, at, 4);
    at += 4;
    if (count > (size_t)(end - at))
      return fail_counts(problem, MR_STATUS_TRUNCATED, tensor, index, "raw BYTES contents end inside an element", count, (uint64_t)(end - at));
    if (count > text_bytes_max)
      return fail_counts(problem, MR_STATUS_TOO_LONG, tensor, index, "an element is longer than the bound", text_bytes_max, count);
    at += count;
  }
  if (at != end) return fail_input(problem, MR_STATUS_SHAPE, tensor, index, "raw BYTES contents hold more elements than the shape");
  return MR_STATUS_OK;
}

static inline mr_status take_raw(const span *raw, const mr_limits *limits, mr_tensor *tensor, size_t index, mr_problem *problem) {
  if (tensor->listed > 0)
    return fail_input(problem, MR_STATUS_BOTH_CONTENTS, tensor, index, "contents and raw_input_contents are both given");
  tensor->source = tensor->datatype;
  tensor->at = raw->bytes;
  tensor->end = raw->bytes + raw->length;
  if (tensor->datatype == MR_BYTES) {
    uint32_t count;
    if (tensor->elements == 1 && raw->length >= 4 && (memcpy(&count, raw->bytes, 4), count == raw->length - 4) &&
        count <= limits->text_bytes_max)
      return MR_STATUS_OK;
    return check_raw_texts(tensor->at, tensor->end, limits->text_bytes_max, tensor, index, problem);
  }
  if (raw->length == tensor->raw_bytes) return MR_STATUS_OK;
  return fail_counts(problem, raw->length < tensor->raw_bytes ? MR_STATUS_TRUNCATED : MR_STATUS_SHAPE, tensor, index,
                     "the raw contents' bytes are not those of the shape and datatype", tensor->raw_bytes, raw->length);
}

/// The next InferTensorContents of the input; false at the input's end.
static bool next_contents(mr_tensor *tensor) {
  mr_wire_field field;
  while (tensor->input_at < tensor->input_end) {
    if (next_field(&tensor->input_at, tensor->input_end, &field) != MR_STATUS_OK) return false;
    if (field.number != 5) continue;
    tensor->contents_at = field.bytes;
    tensor->contents_end = field.bytes + field.length;
    return true;
  }
  return false;
}

/// The next field of the tensor's list, from the contents; false when there is no more.
static bool next_list_field(mr_tensor *tensor, mr_wire_field *field) {
  const uint32_t number = list_fields[tensor->source];
  for (;;) {
    while (tensor->contents_at < tensor->contents_end) {
      if (next_field(&tensor->contents_at, tensor->contents_end, field) != MR_STATUS_OK) return false;
      if (field->number == number) return true;
    }
    if (!next_contents(tensor)) return false;
  }
}

static mr_status take_contents(const mr_limits *limits, mr_tensor *tensor, size_t index, mr_problem *problem) {
  tensor->source = datatypes[tensor->datatype].list;
  if (tensor->source == MR_NO_LIST)
    return fail_input(problem, MR_STATUS_DATATYPE, tensor, index, "16 bit floats travel in raw_input_contents only");
  tensor->at = tensor->end = NULL;
  mr_tensor walk = *tensor;
  mr_wire_field field;
  uint64_t count = 0;
  while (next_list_field(&walk, &field)) {
    // Counted once before, so this cannot fail.
    (void)count_list(&field, &count);
    if (tensor->source == MR_LIST_BYTES && field.length > limits->text_bytes_max)
      return fail_counts(problem, MR_STATUS_TOO_LONG, tensor, index, "an element is longer than the bound", limits->text_bytes_max,
                         field.length);
  }
  if (count != tensor->listed)
    return fail_input(problem, MR_STATUS_DATATYPE, tensor, index, "the contents are in another list than the datatype's");
  if (count != tensor->elements)
    return fail_counts(problem, MR_STATUS_SHAPE, tensor, index, "the contents' count is not the shape's", tensor->elements, count);
  return MR_STATUS_OK;
}

// MARK: Plans

/// The plan whose inputs begin at `at`, or NULL.
static inline plan *find_plan(mr_infer_reader *reader, const uint8_t *at, const uint8_t *end) {
  for (uint32_t i = 0; i < MR_PLANS; i++) {
    plan *plan = &reader->plans[(reader->last_plan + i) % MR_PLANS];
    const size_t left = (size_t)(end - at), length = plan->run_length;
    if (plan->serial == 0 || length > left || memcmp(plan->run, at, length) != 0) continue;
    // More inputs than the plan has: another may have them all.
    if (left > length && at[length] == (5 << 3 | 2)) continue;
    reader->last_plan = (reader->last_plan + i) % MR_PLANS;
    return plan;
  }
  return NULL;
}

static void *grown(void *old, size_t *capacity, size_t needed, size_t size) {
  if (needed <= *capacity) return old;
  void *new = realloc(old, needed * size);
  if (new != NULL) *capacity = needed;
  return new;
}

/// Remembers the inputs of a good request. Without memory nothing is remembered.
static void learn_plan(mr_infer_reader *reader, const uint8_t *run, size_t length, mr_infer_request *request) {
  plan *plan = &reader->plans[reader->next_plan];
  plan->serial = 0;
  uint8_t *bytes = grown(plan->run, &plan->run_capacity, length, 1);
  if (bytes == NULL) return;
  plan->run = bytes;
  size_t capacity = plan->capacity;
  mr_tensor *tensors = grown(plan->tensors, &capacity, request->tensor_count, sizeof *tensors);
  if (tensors == NULL) return;
  plan->tensors = tensors;
  plan->capacity = (uint32_t)capacity;
  memcpy(bytes, run, length);
  plan->run_length = length;
  plan->count = request->tensor_count;
  for (uint32_t i = 0; i < plan->count; i++) {
    tensors[i] = request->tensors[i];
    // The names of a plan are its own: the request's bytes go away.
    if (tensors[i].name != NULL) tensors[i].name = (const char *)bytes + ((const uint8_t *)tensors[i].name - run);
    tensors[i].input_at = tensors[i].input_end = NULL;
  }
  plan->serial = ++reader->serial;
  request->plan = reader->next_plan;
  request->plan_serial = plan->serial;
  reader->last_plan = reader->next_plan;
  reader->next_plan = (reader->next_plan + 1) % MR_PLANS;
}

// MARK: The request

enum { MR_STATUS_ANOTHER_PLAN = -1 };

static mr_status read_output(const mr_wire_field *field, mr_infer_reader *reader, mr_infer_request *request, mr_problem *problem) {
  if (field->wire_type != 2) return wrong_wire_type(problem, "outputs");
  if (request->output_count == MR_REQUESTED_OUTPUTS_MAX)
    return mr_fail(problem, MR_STATUS_TOO_MANY_VALUES, "outputs", 7, "the request asks for more outputs than the bound");
  mr_requested_output *output = &reader->outputs[request->output_count++];
  *output = (mr_requested_output){.name = NULL};
  const uint8_t *at = field->bytes, *end = at + field->length;
  mr_wire_field inner;
  while (at < end) {
    mr_status status = next_field(&at, end, &inner);
    if (status != MR_STATUS_OK) return mr_fail(problem, status, "outputs", 7, "a requested output is malformed or truncated");
    if (inner.number == 1) {
      status = read_text(&inner, "outputs.name", reader->limits.text_bytes_max, &output->name, &output->name_length, problem);
      if (status != MR_STATUS_OK) return status;
    } else if (inner.number == 2) {
      mr_parameter parameter;
      if (inner.wire_type != 2) return wrong_wire_type(problem, "outputs.parameters");
      status = read_entry(inner.bytes, inner.bytes + inner.length, &parameter);
      if (status != MR_STATUS_OK) return mr_fail(problem, status, "outputs", 7, "a parameter is malformed");
      if (names_shared_memory(&parameter))
        return mr_fail(problem, MR_STATUS_SHARED_MEMORY, "outputs", 7, in_shared_memory);
    }
  }
  return MR_STATUS_OK;
}

static mr_status read_parameter(const mr_wire_field *field, mr_infer_reader *reader, mr_infer_request *request, mr_problem *problem) {
  if (field->wire_type != 2) return wrong_wire_type(problem, "parameters");
  if (request->parameter_count == MR_PARAMETERS_MAX)
    return mr_fail(problem, MR_STATUS_TOO_MANY_VALUES, "parameters", 10, "the request has more parameters than the bound");
  mr_parameter *parameter = &reader->parameters[request->parameter_count];
  mr_status status = read_entry(field->bytes, field->bytes + field->length, parameter);
  if (status != MR_STATUS_OK) return mr_fail(problem, status, "parameters", 10, "a parameter is malformed or truncated");
  if (parameter->name == NULL || parameter->kind == MR_PARAMETER_NONE) return MR_STATUS_OK;
  request->parameter_count++;
  return read_envelope(parameter, &reader->limits, &request->event, problem);
}

static mr_status add_raw(mr_infer_reader *reader, uint32_t *count, const uint8_t *bytes, size_t length, mr_problem *problem) {
  if (*count == reader->inputs_max)
    return mr_fail(problem, MR_STATUS_TOO_MANY_VALUES, "raw_input_contents", 18, "the request has more raw contents than the bound on inputs");
  reader->raws[*count].bytes = bytes;
  reader->raws[*count].length = length;
  *count += 1;
  return MR_STATUS_OK;
}

/// Pairs inputs with their values.
static mr_status finish(mr_infer_reader *reader, mr_infer_request *request, uint32_t raws, mr_problem *problem) {
  if (raws > 0 && raws != request->tensor_count) {
    mr_fail(problem, MR_STATUS_SHAPE, "raw_input_contents", 18, "there must be one element for each input");
    problem->has_counts = true;
    problem->expected = request->tensor_count;
    problem->found = raws;
    return MR_STATUS_SHAPE;
  }
  if (request->tensor_count == 0) return mr_fail(problem, MR_STATUS_SHAPE, "inputs", 6, "the request has no inputs");
  request->rows = request->tensors[0].rows;
  uint64_t values = 0;
  for (uint32_t i = 0; i < request->tensor_count; i++) {
    mr_tensor *tensor = &request->tensors[i];
    if (tensor->rows != request->rows)
      return fail_counts(problem, MR_STATUS_SHAPE, tensor, i,
                         "the first size of the shape, the rows, differs from the inputs before", request->rows, tensor->rows);
    values += tensor->elements;
    if (values > reader->limits.values_max)
      return fail_counts(problem, MR_STATUS_TOO_MANY_VALUES, tensor, i, "the request has more values than the bound", reader->limits.values_max,
                         values);
    mr_status status = raws > 0 ? take_raw(&reader->raws[i], &reader->limits, tensor, i, problem)
                                : take_contents(&reader->limits, tensor, i, problem);
    if (status != MR_STATUS_OK) return status;
  }
  request->values = values;
  if (request->rows == 0) return mr_fail(problem, MR_STATUS_SHAPE, "inputs", 6, "the request has no rows");
  return MR_STATUS_OK;
}

static int read_request(mr_infer_reader *reader, const uint8_t *bytes, size_t length, bool uses_plans, mr_infer_request *request,
                        mr_problem *problem) {
  memset(request, 0, sizeof *request);
  request->tensors = reader->tensors;
  request->parameters = reader->parameters;
  request->outputs = reader->outputs;
  const mr_limits *limits = &reader->limits;
  const uint8_t *at = bytes, *end = bytes + length, *run = NULL, *run_end = NULL;
  bool is_one_run = true;
  uint32_t raws = 0;
  mr_wire_field field;
  while (at < end) {
    if (*at == (7 << 3 | 2) && end - at >= 2 && at[1] < 0x80 && at[1] <= end - at - 2) {
      mr_status status = add_raw(reader, &raws, at + 2, at[1], problem);
      if (status != MR_STATUS_OK) return status;
      at += 2 + at[1];
      continue;
    }
    const uint8_t *start = at;
    if (*at == (5 << 3 | 2) && run == NULL && uses_plans) {
      plan *plan = find_plan(reader, at, end);
      if (plan != NULL) {
        run = at;
        at += plan->run_length;
        request->tensors = plan->tensors;
        request->tensor_count = plan->count;
        request->plan = reader->last_plan;
        request->plan_serial = plan->serial;
        continue;
      }
    }
    mr_status status = next_field(&at, end, &field);
    if (status != MR_STATUS_OK) return malformed(problem, status);
    switch (field.number) {
      case 1:
        status = read_text(&field, "model_name", limits->text_bytes_max, &request->model_name, &request->model_name_length, problem);
        break;
      case 2:
        status =
            read_text(&field, "model_version", limits->text_bytes_max, &request->model_version, &request->model_version_length, problem);
        break;
      case 3: status = read_text(&field, "id", limits->id_bytes_max, &request->event.id, &request->event.id_length, problem); break;
      case 4: status = read_parameter(&field, reader, request, problem); break;
      case 5:
        if (field.wire_type != 2) return wrong_wire_type(problem, "inputs");
        // More inputs, after something else.
        if (request->plan_serial != 0) return MR_STATUS_ANOTHER_PLAN;
        if (request->tensor_count == reader->inputs_max)
          return mr_fail(problem, MR_STATUS_TOO_MANY_VALUES, "inputs", 6, "the request has more inputs than the bound");
        if (run == NULL) run = start;
        else if (start != run_end) is_one_run = false;
        run_end = at;
        status = read_input(field.bytes, field.bytes + field.length, limits, request->tensor_count,
                            &request->tensors[request->tensor_count], problem);
        request->tensor_count++;
        break;
      case 6: status = read_output(&field, reader, request, problem); break;
      case 7:
        if (field.wire_type != 2) return wrong_wire_type(problem, "raw_input_contents");
        status = add_raw(reader, &raws, field.bytes, field.length, problem);
        break;
      default: break;
    }
    if (status != MR_STATUS_OK) return status;
  }
  mr_status status = finish(reader, request, raws, problem);
  if (status == MR_STATUS_OK && raws > 0 && request->plan_serial == 0 && is_one_run && run_end - run <= MR_PLAN_BYTES_MAX)
    learn_plan(reader, run, (size_t)(run_end - run), request);
  return status;
}

mr_status mr_infer_request_read(mr_infer_reader *reader, const uint8_t *bytes, size_t length, mr_infer_request *request,
                                mr_problem *problem) {
  int status = read_request(reader, bytes, length, true, request, problem);
  if (status == MR_STATUS_ANOTHER_PLAN) status = read_request(reader, bytes, length, false, request, problem);
  return (mr_status)status;
}

// MARK: Values

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
  field->kind = value <= INT64_MAX ? MR_KIND_INTEGER : MR_KIND_UNSIGNED;
  field->integer = (int64_t)value;
}

static void set_number(mr_field *field, double value) {
  field->kind = MR_KIND_NUMBER;
  field->number = value;
}

static void set_flag(mr_field *field, bool value) {
  field->kind = MR_KIND_FLAG;
  field->integer = value;
}

static void set_text(mr_field *field, const uint8_t *text, uint32_t length) {
  field->kind = MR_KIND_TEXT;
  field->text = (const char *)text;
  field->text_length = length;
}

/// The next element of a list: from the packed run at hand, or a field of its own.
static void next_listed(mr_tensor *tensor, mr_field *field) {
  uint64_t value = 0;
  for (;;) {
    if (tensor->at < tensor->end) {
      mr_status status;
      if (tensor->source == MR_LIST_FP32) status = fixed32(&tensor->at, tensor->end, &value);
      else if (tensor->source == MR_LIST_FP64) status = fixed64(&tensor->at, tensor->end, &value);
      else status = varint(&tensor->at, tensor->end, &value);
      if (status != MR_STATUS_OK) tensor->at = tensor->end;
      break;
    }
    mr_wire_field wire;
    if (!next_list_field(tensor, &wire)) break;
    if (tensor->source == MR_LIST_BYTES) return set_text(field, wire.bytes, (uint32_t)wire.length);
    if (wire.wire_type != 2) {
      value = wire.value;
      break;
    }
    tensor->at = wire.bytes;
    tensor->end = wire.bytes + wire.length;
  }
  switch ((mr_source)tensor->source) {
    case MR_LIST_BOOL: return set_flag(field, value != 0);
    case MR_LIST_INT32: return set_integer(field, (int32_t)(uint32_t)value);
    case MR_LIST_INT64: return set_integer(field, (int64_t)value);
    case MR_LIST_UINT32: return set_integer(field, (uint32_t)value);
    case MR_LIST_UINT64: return set_unsigned(field, value);
    case MR_LIST_FP32: {
      uint32_t bits = (uint32_t)value;
      float number;
      memcpy(&number, &bits, 4);
      return set_number(field, number);
    }
    case MR_LIST_FP64: {
      double number;
      memcpy(&number, &value, 8);
      return set_number(field, number);
    }
    default: field->kind = MR_KIND_ABSENT;
  }
}

#define RAW_ELEMENT(type, name) \
  type name;                    \
  memcpy(&name, tensor->at, sizeof(type)); \
  tensor->at += sizeof(type)

void mr_tensor_next(mr_tensor *tensor, mr_field *field) {
  switch ((mr_source)tensor->source) {
    case MR_RAW_BOOL: { RAW_ELEMENT(uint8_t, value); set_flag(field, value != 0); break; }
    case MR_RAW_INT8: { RAW_ELEMENT(int8_t, value); set_integer(field, value); break; }
    case MR_RAW_INT16: { RAW_ELEMENT(int16_t, value); set_integer(field, value); break; }
    case MR_RAW_INT32: { RAW_ELEMENT(int32_t, value); set_integer(field, value); break; }
    case MR_RAW_INT64: { RAW_ELEMENT(int64_t, value); set_integer(field, value); break; }
    case MR_RAW_UINT8: { RAW_ELEMENT(uint8_t, value); set_integer(field, value); break; }
    case MR_RAW_UINT16: { RAW_ELEMENT(uint16_t, value); set_integer(field, value); break; }
    case MR_RAW_UINT32: { RAW_ELEMENT(uint32_t, value); set_integer(field, value); break; }
    case MR_RAW_UINT64: { RAW_ELEMENT(uint64_t, value); set_unsigned(field, value); break; }
    case MR_RAW_FP16: { RAW_ELEMENT(uint16_t, value); set_number(field, from_half(value)); break; }
    case MR_RAW_BF16: {
      RAW_ELEMENT(uint16_t, value);
      uint32_t bits = (uint32_t)value << 16;
      float number;
      memcpy(&number, &bits, 4);
      set_number(field, number);
      break;
    }
    case MR_RAW_FP32: { RAW_ELEMENT(float, value); set_number(field, value); break; }
    case MR_RAW_FP64: { RAW_ELEMENT(double, value); set_number(field, value); break; }
    case MR_RAW_BYTES: {
      RAW_ELEMENT(uint32_t, count);
      set_text(field, tensor->at, count);
      tensor->at += count;
      break;
    }
    default: next_listed(tensor, field);
  }
}
