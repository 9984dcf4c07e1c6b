// Hot: no memory is taken here.
#include "wire_inline.h"

mr_status mr_wire_next(const uint8_t *bytes, size_t length, size_t *at, mr_wire_field *field) {
  if (*at >= length) {
    field->number = 0;
    return MR_STATUS_OK;
  }
  const uint8_t *position = bytes + *at;
  mr_status status = next_field(&position, bytes + length, field);
  *at = (size_t)(position - bytes);
  return status;
}

mr_record_shape mr_shape_of_request(const uint8_t *bytes, size_t length) {
  const uint8_t *at = bytes, *end = bytes + length;
  mr_wire_field field;
  while (at < end) {
    if (next_field(&at, end, &field) != MR_STATUS_OK) return MR_SHAPE_UNKNOWN;
    if (field.number == 3 || (field.number >= 5 && field.number <= 7))
      return field.wire_type == 2 ? MR_SHAPE_INFER_REQUEST : MR_SHAPE_EVENT;
  }
  return MR_SHAPE_EVENT;
}

mr_record_shape mr_shape_of_response(const uint8_t *bytes, size_t length) {
  const uint8_t *at = bytes, *end = bytes + length;
  mr_wire_field field;
  while (at < end) {
    if (next_field(&at, end, &field) != MR_STATUS_OK) return MR_SHAPE_UNKNOWN;
    if (field.number == 3 || field.number == 5 || field.number == 6)
      return field.wire_type == 2 ? MR_SHAPE_INFER_RESPONSE : MR_SHAPE_PREDICTION;
  }
  return MR_SHAPE_INFER_RESPONSE;
}

size_t mr_confluent_prefix(const uint8_t *bytes, size_t length) {
  if (length < 6 || bytes[0] != 0) return 0;
  const uint8_t *at = bytes + 5, *end = bytes + length;
  uint64_t zigzag;
  if (varint(&at, end, &zigzag) != MR_STATUS_OK) return 0;
  // Zigzag: the count of indexes, 0 for the usual [0]. Schemas nest messages a few levels deep.
  uint64_t count = zigzag >> 1;
  if ((zigzag & 1) != 0 || count > 32) return 0;
  for (uint64_t i = 0; i < count; i++) {
    uint64_t index;
    if (varint(&at, end, &index) != MR_STATUS_OK) return 0;
  }
  return (size_t)(at - bytes);
}

bool mr_is_message(const uint8_t *bytes, size_t length) {
  const uint8_t *at = bytes, *end = bytes + length;
  mr_wire_field field;
  while (at < end)
    if (next_field(&at, end, &field) != MR_STATUS_OK) return false;
  return true;
}

bool mr_is_utf8(const uint8_t *bytes, size_t length) {
  size_t i = 0;
  while (i < length) {
    uint8_t lead = bytes[i];
    if (lead < 0x80) {
      i++;
      continue;
    }
    size_t more;
    uint32_t point, least;
    if (lead >= 0xc2 && lead <= 0xdf) more = 1, point = lead & 0x1f, least = 0x80;
    else if (lead >= 0xe0 && lead <= 0xef) more = 2, point = lead & 0x0f, least = 0x800;
    else if (lead >= 0xf0 && lead <= 0xf4) more = 3, point = lead & 0x07, least = 0x10000;
    else return false;
    if (length - i <= more) return false;
    for (size_t j = 1; j <= more; j++) {
      if ((bytes[i + j] & 0xc0) != 0x80) return false;
      point = point << 6 | (bytes[i + j] & 0x3f);
    }
    if (point < least || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return false;
    i += more + 1;
  }
  return true;
}
