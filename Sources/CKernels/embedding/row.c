#include <math.h>

#include "embedding_internal.h"

static uint32_t element_bytes(int element) {
  switch (element) {
    case MR_ROWS_FLOAT32: return 4;
    case MR_ROWS_BFLOAT16: return 2;
    case MR_ROWS_INT8: return 1;
    default: return 0;
  }
}

uint32_t mr_embedding_head_at(int element) { return mr_head_at(element); }
uint32_t mr_embedding_values_at(int element, uint32_t head) { return mr_values_at(element, head); }

uint32_t mr_embedding_row_bytes(int element, uint32_t head, uint32_t width) {
  uint32_t each = element_bytes(element);
  if (!each || width == 0 || width > MR_EMBEDDING_WIDTH_MAX || head > MR_EMBEDDING_HEAD_MAX) return 0;
  uint32_t bytes = (mr_values_at(element, head) + width * each + 7) & ~UINT32_C(7);
  uint32_t lines = (bytes + 63) / 64;
  // Beginning at any multiple of 8, the row may touch a line more than it needs; then it is padded so that it does not.
  if ((bytes + 56 + 63) / 64 == lines) return bytes;
  if (bytes > 64) return lines * 64;
  uint32_t padded = 8;
  while (padded < bytes) padded *= 2;
  return padded;
}

static uint16_t bfloat16_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  // A NaN stays one, whatever its lower half said.
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)(bits >> 16 | 0x40);
  return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static void bounds(const float *values, uint32_t width, float *low, float *high) {
  *low = INFINITY, *high = -INFINITY;
  for (uint32_t i = 0; i < width; i++) {
    if (values[i] < *low) *low = values[i];
    if (values[i] > *high) *high = values[i];
  }
  // Nothing but NaN.
  if (!(*low <= *high)) *low = *high = 0;
}

static float scale_of(float low, float high) {
  // Halves first: the difference of the two largest numbers is not finite.
  return (high * 0.5f - low * 0.5f) / 127.5f;
}

float mr_embedding_scale(const float *values, uint32_t width) {
  float low, high;
  bounds(values, width, &low, &high);
  return scale_of(low, high);
}

void mr_embedding_encode(const mr_embedding *t, const float *head, const float *values, void *row) {
  uint8_t *p = row;
  memset(p, 0, t->row_bytes);
  if (t->head && head) memcpy(p + mr_head_at(t->element), head, (size_t)t->head * 4);
  uint8_t *to = p + mr_values_at(t->element, t->head);
  switch (t->element) {
    case MR_ROWS_FLOAT32: memcpy(to, values, (size_t)t->width * 4); break;
    case MR_ROWS_BFLOAT16:
      for (uint32_t i = 0; i < t->width; i++) {
        uint16_t bits = bfloat16_bits(values[i]);
        memcpy(to + i * 2, &bits, 2);
      }
      break;
    default: {
      float low, high;
      bounds(values, t->width, &low, &high);
      float scale = scale_of(low, high);
      memcpy(p, &scale, 4);
      memcpy(p + 4, &low, 4);
      for (uint32_t i = 0; i < t->width; i++) {
        float q = scale > 0 ? (values[i] * 0.5f - low * 0.5f) / (scale * 0.5f) : 0;
        q = rintf(q);
        to[i] = (uint8_t)(q >= 255 ? 255 : q > 0 ? q : 0);  // NaN: 0
      }
    }
  }
}

void mr_embedding_decode(const mr_embedding *t, uint64_t row, float *head, float *values) {
  const uint8_t *p = (const uint8_t *)t->rows + row * t->row_bytes;
  if (head && t->head) memcpy(head, p + mr_head_at(t->element), (size_t)t->head * 4);
  if (!values) return;
  const uint8_t *from = p + mr_values_at(t->element, t->head);
  switch (t->element) {
    case MR_ROWS_FLOAT32: memcpy(values, from, (size_t)t->width * 4); break;
    case MR_ROWS_BFLOAT16:
      for (uint32_t i = 0; i < t->width; i++) {
        uint16_t bits;
        memcpy(&bits, from + i * 2, 2);
        values[i] = mr_bfloat16_value(bits);
      }
      break;
    default: {
      float scale = mr_load_float(p), offset = mr_load_float(p + 4);
      for (uint32_t i = 0; i < t->width; i++) values[i] = scale * (float)from[i] + offset;
    }
  }
}
