#pragma once
// The wire format's pieces, inlined into the readers.
#include <string.h>

#include "fields.h"
#include "include/wire.h"

static inline mr_status varint(const uint8_t **at, const uint8_t *end, uint64_t *value) {
  const uint8_t *p = *at;
  if (p < end && *p < 0x80) {
    *value = *p;
    *at = p + 1;
    return MR_STATUS_OK;
  }
  uint64_t sum = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    if (p == end) return MR_STATUS_TRUNCATED;
    uint8_t byte = *p++;
    if (shift == 63 && byte > 1) return MR_STATUS_MALFORMED;
    sum |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) {
      *value = sum;
      *at = p;
      return MR_STATUS_OK;
    }
  }
  return MR_STATUS_MALFORMED;
}

static inline mr_status slice(const uint8_t **at, const uint8_t *end, const uint8_t **bytes, size_t *length) {
  uint64_t count;
  mr_status status = varint(at, end, &count);
  if (status != MR_STATUS_OK) return status;
  if (count > (uint64_t)(end - *at)) return MR_STATUS_TRUNCATED;
  *bytes = *at;
  *length = (size_t)count;
  *at += count;
  return MR_STATUS_OK;
}

static inline mr_status fixed64(const uint8_t **at, const uint8_t *end, uint64_t *value) {
  if (end - *at < 8) return MR_STATUS_TRUNCATED;
  memcpy(value, *at, 8);
  *at += 8;
  return MR_STATUS_OK;
}

static inline mr_status fixed32(const uint8_t **at, const uint8_t *end, uint64_t *value) {
  if (end - *at < 4) return MR_STATUS_TRUNCATED;
  uint32_t bits;
  memcpy(&bits, *at, 4);
  *value = bits;
  *at += 4;
  return MR_STATUS_OK;
}

/// Reads the tag and the value after it. Groups and field number 0 are malformed.
static inline mr_status next_field(const uint8_t **at, const uint8_t *end, mr_wire_field *field) {
  uint64_t tag;
  mr_status status = varint(at, end, &tag);
  if (status != MR_STATUS_OK) return status;
  if (tag > UINT32_MAX || tag < 8) return MR_STATUS_MALFORMED;
  field->number = (uint32_t)tag >> 3;
  field->wire_type = tag & 7;
  switch (field->wire_type) {
    case 0: return varint(at, end, &field->value);
    case 1: return fixed64(at, end, &field->value);
    case 2: return slice(at, end, &field->bytes, &field->length);
    case 5: return fixed32(at, end, &field->value);
    default: return MR_STATUS_MALFORMED;
  }
}
