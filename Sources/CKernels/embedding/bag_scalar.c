// Hot: no allocation. The oracle of the other forms.
#include "embedding_internal.h"

static inline void add_row(const mr_embedding *t, uint32_t row, float weight, float *out) {
  const uint8_t *p = mr_row_at(t, row), *values = p + mr_values_at(t->element, t->head);
  switch (t->element) {
    case MR_ROWS_FLOAT32:
      for (uint32_t i = 0; i < t->width; i++) out[i] += weight * mr_load_float(values + i * 4);
      break;
    case MR_ROWS_BFLOAT16:
      for (uint32_t i = 0; i < t->width; i++) {
        uint16_t bits;
        memcpy(&bits, values + i * 2, 2);
        out[i] += weight * mr_bfloat16_value(bits);
      }
      break;
    default: {
      const float scale = mr_load_float(p), offset = mr_load_float(p + 4);
      for (uint32_t i = 0; i < t->width; i++) out[i] += weight * (scale * (float)values[i] + offset);
    }
  }
}

void mr_bag_scalar(const mr_embedding *t, const uint32_t *rows, const float *weights, const int32_t *ends, int32_t bags, int mode, float *out,
                   size_t out_stride) {
  int32_t e = 0;
  for (int32_t b = 0; b < bags; b++) {
    float *to = out + (size_t)b * out_stride;
    const int32_t count = ends[b] - e;
    for (uint32_t i = 0; i < t->width; i++) to[i] = 0;
    for (; e < ends[b]; e++) add_row(t, rows[e], weights ? weights[e] : 1, to);
    if (mode == MR_BAG_MEAN && count > 1)
      for (uint32_t i = 0; i < t->width; i++) to[i] /= (float)count;
  }
}

void mr_add_scalar(const mr_embedding *t, const uint32_t *rows, const float *weights, const uint32_t *slots, size_t count, float *out,
                   size_t slot_stride) {
  for (size_t e = 0; e < count; e++) add_row(t, rows[e], weights ? weights[e] : 1, out + (size_t)slots[e] * slot_stride);
}
