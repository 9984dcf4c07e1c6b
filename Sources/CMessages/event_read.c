// Hot: one pass over the record, no memory, nothing copied. A list of the feature's values becomes consecutive entries.
#include "wire_inline.h"

static double as_double(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static mr_status wrong_wire_type(mr_problem *problem, const char *field) {
  return mr_fail(problem, MR_STATUS_MALFORMED, field, strlen(field), "the field has another wire type than its declaration");
}

static mr_status read_slice(const mr_wire_field *field, const char *name, uint32_t bytes_max, const char **text,
                            uint32_t *text_length, mr_problem *problem) {
  if (field->wire_type != 2) return wrong_wire_type(problem, name);
  if (field->length > bytes_max)
    return mr_fail(problem, MR_STATUS_TOO_LONG, name, strlen(name), "longer than the bound");
  *text = (const char *)field->bytes;
  *text_length = (uint32_t)field->length;
  return MR_STATUS_OK;
}

typedef struct {
  mr_event *event;
  const mr_limits *limits;
  mr_problem *problem;
} target;

static mr_field *add_entry(target *to, const char *name, uint32_t name_length) {
  if (to->event->field_count >= to->limits->values_max) {
    mr_fail(to->problem, MR_STATUS_TOO_MANY_VALUES, name, name_length, "the record has more feature values than the bound");
    return NULL;
  }
  return &to->event->fields[to->event->field_count++];
}

/// The Feature that nearly every writer writes: a name, then one value, with lengths of one byte and nothing after it. False:
/// it is something else, or there is no room, and nothing was done.
static inline bool read_plain_feature(const uint8_t *at, const uint8_t *end, target *to) {
  mr_event *event = to->event;
  if (event->field_count >= to->limits->values_max || to->limits->text_bytes_max < 0x80) return false;
  if (end - at < 2 || at[0] != (1 << 3 | 2) || at[1] >= 0x80) return false;
  const uint32_t name_length = at[1];
  const uint8_t *name = at + 2;
  if ((size_t)(end - name) < (size_t)name_length + 2) return false;
  const uint8_t *value = name + name_length;
  const size_t value_length = (size_t)(end - value);
  mr_field *entry = &event->fields[event->field_count];
  switch (value[0]) {
    case 2 << 3 | 2:
      if (value[1] >= 0x80 || value_length != 2 + (size_t)value[1]) return false;
      entry->kind = MR_KIND_TEXT;
      entry->text = (const char *)value + 2;
      entry->text_length = value[1];
      break;
    case 4 << 3 | 1: {
      if (value_length != 9) return false;
      uint64_t bits;
      memcpy(&bits, value + 1, 8);
      entry->kind = MR_KIND_NUMBER;
      entry->number = as_double(bits);
      break;
    }
    default: return false;
  }
  entry->name = (const char *)name;
  entry->name_length = name_length;
  entry->is_continued = false;
  event->field_count++;
  return true;
}

/// One Feature message. The name usually comes first but need not: entries get it at the end.
static mr_status read_feature(const uint8_t *at, const uint8_t *end, target *to) {
  mr_field single = {.kind = MR_KIND_ABSENT};
  const char *name = NULL;
  uint32_t name_length = 0;
  const uint32_t first = to->event->field_count;
  mr_wire_field field;
  while (at < end) {
    mr_status status = next_field(&at, end, &field);
    if (status != MR_STATUS_OK) return mr_fail(to->problem, status, name, name_length, "inside a feature");
    switch (field.number) {
      case 1:
        status = read_slice(&field, "features.name", to->limits->text_bytes_max, &name, &name_length, to->problem);
        if (status != MR_STATUS_OK) return status;
        break;
      case 2:
      case 6: {
        if (field.wire_type != 2) return wrong_wire_type(to->problem, "features.text");
        if (field.length > to->limits->text_bytes_max)
          return mr_fail(to->problem, MR_STATUS_TOO_LONG, name, name_length, "the text is longer than the bound");
        mr_field *entry = &single;
        if (field.number == 6 && (entry = add_entry(to, name, name_length)) == NULL) return to->problem->status;
        entry->kind = MR_KIND_TEXT;
        entry->text = (const char *)field.bytes;
        entry->text_length = (uint32_t)field.length;
        break;
      }
      case 3:
        if (field.wire_type != 0) return wrong_wire_type(to->problem, "features.integer");
        single.kind = MR_KIND_INTEGER;
        single.integer = (int64_t)field.value;
        break;
      case 4:
        if (field.wire_type != 1) return wrong_wire_type(to->problem, "features.number");
        single.kind = MR_KIND_NUMBER;
        single.number = as_double(field.value);
        break;
      case 5:
        if (field.wire_type != 0) return wrong_wire_type(to->problem, "features.flag");
        single.kind = MR_KIND_FLAG;
        single.integer = field.value != 0;
        break;
      case 7: {
        if (field.wire_type == 0) {
          mr_field *entry = add_entry(to, name, name_length);
          if (entry == NULL) return to->problem->status;
          entry->kind = MR_KIND_INTEGER;
          entry->integer = (int64_t)field.value;
        } else if (field.wire_type == 2) {
          const uint8_t *packed = field.bytes, *packed_end = field.bytes + field.length;
          while (packed < packed_end) {
            uint64_t value;
            status = varint(&packed, packed_end, &value);
            if (status != MR_STATUS_OK) return mr_fail(to->problem, status, name, name_length, "inside packed integers");
            mr_field *entry = add_entry(to, name, name_length);
            if (entry == NULL) return to->problem->status;
            entry->kind = MR_KIND_INTEGER;
            entry->integer = (int64_t)value;
          }
        } else {
          return wrong_wire_type(to->problem, "features.integers");
        }
        break;
      }
      case 8: {
        if (field.wire_type != 1 && (field.wire_type != 2 || field.length % 8 != 0)) return wrong_wire_type(to->problem, "features.numbers");
        const uint8_t *packed = field.bytes, *packed_end = field.bytes + field.length;
        do {
          if (field.wire_type == 2 && (packed == packed_end || fixed64(&packed, packed_end, &field.value) != MR_STATUS_OK)) break;
          mr_field *entry = add_entry(to, name, name_length);
          if (entry == NULL) return to->problem->status;
          entry->kind = MR_KIND_NUMBER;
          entry->number = as_double(field.value);
        } while (field.wire_type == 2);
        break;
      }
      default: break;
    }
  }
  if (single.kind != MR_KIND_ABSENT || to->event->field_count == first) {
    mr_field *entry = add_entry(to, name, name_length);
    if (entry == NULL) return to->problem->status;
    *entry = single;
  }
  for (uint32_t i = first; i < to->event->field_count; i++) {
    mr_field *entry = &to->event->fields[i];
    entry->name = name;
    entry->name_length = name_length;
    entry->is_continued = i != first;
  }
  return MR_STATUS_OK;
}

static void clear(mr_event *event) {
  mr_field *fields = event->fields;
  *event = (mr_event){.fields = fields};
}

mr_status mr_event_read(const uint8_t *bytes, size_t length, const mr_limits *limits, mr_event *event, mr_problem *problem) {
  clear(event);
  target to = {event, limits, problem};
  const uint8_t *at = bytes, *end = bytes + length;
  mr_wire_field field;
  while (at < end) {
    if (*at == (4 << 3 | 2) && end - at >= 2 && at[1] < 0x80 && (size_t)(end - at) >= 2 + (size_t)at[1] &&
        read_plain_feature(at + 2, at + 2 + at[1], &to)) {
      at += 2 + at[1];
      continue;
    }
    mr_status status = next_field(&at, end, &field);
    if (status != MR_STATUS_OK) return mr_fail(problem, status, NULL, 0, "on the top level of the event");
    switch (field.number) {
      case 1: status = read_slice(&field, "id", limits->id_bytes_max, &event->id, &event->id_length, problem); break;
      case 2: status = read_slice(&field, "key", limits->text_bytes_max, &event->key, &event->key_length, problem); break;
      case 3:
        if (field.wire_type != 0) return wrong_wire_type(problem, "event_time_ms");
        event->has_event_time = true;
        event->event_time_ms = (int64_t)field.value;
        break;
      case 4:
        if (field.wire_type != 2) return wrong_wire_type(problem, "features");
        status = read_feature(field.bytes, field.bytes + field.length, &to);
        break;
      case 5:
        if (field.wire_type != 1) return wrong_wire_type(problem, "label");
        event->has_label = true;
        event->label = as_double(field.value);
        break;
      case 6:
        if (field.wire_type != 1) return wrong_wire_type(problem, "weight");
        event->has_weight = true;
        event->weight = as_double(field.value);
        break;
      default: break;
    }
    if (status != MR_STATUS_OK) return status;
  }
  return MR_STATUS_OK;
}

mr_status mr_label_read(const uint8_t *bytes, size_t length, const mr_limits *limits, mr_event *event, mr_problem *problem) {
  clear(event);
  const uint8_t *at = bytes, *end = bytes + length;
  mr_wire_field field;
  while (at < end) {
    mr_status status = next_field(&at, end, &field);
    if (status != MR_STATUS_OK) return mr_fail(problem, status, NULL, 0, "on the top level of the label");
    switch (field.number) {
      case 1: status = read_slice(&field, "id", limits->id_bytes_max, &event->id, &event->id_length, problem); break;
      case 2: status = read_slice(&field, "key", limits->text_bytes_max, &event->key, &event->key_length, problem); break;
      case 3:
        if (field.wire_type != 0) return wrong_wire_type(problem, "event_time_ms");
        event->has_event_time = true;
        event->event_time_ms = (int64_t)field.value;
        break;
      case 4:
        if (field.wire_type != 1) return wrong_wire_type(problem, "label");
        event->has_label = true;
        event->label = as_double(field.value);
        break;
      case 5:
        if (field.wire_type != 1) return wrong_wire_type(problem, "weight");
        event->has_weight = true;
        event->weight = as_double(field.value);
        break;
      default: break;
    }
    if (status != MR_STATUS_OK) return status;
  }
  return MR_STATUS_OK;
}
