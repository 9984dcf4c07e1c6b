// Hot: no allocation.
#if defined(__aarch64__)
#include "../embedding/rows_neon.h"
#include "interaction_internal.h"

MR_NEON_INLINE void partial(const mr_embedding *t, uint32_t outputs, const uint32_t *rows, const float *weights, const int32_t *ends,
                            int32_t batch_rows, float *accumulators, const int element) {
  const uint32_t k = t->width / outputs, each = mr_element_bytes(element), values_at = mr_values_at(element, t->head);
  const uint32_t used = values_at + t->width * each;
  const uint8_t *base = t->rows;
  const int32_t entries = ends[batch_rows - 1], ahead = mr_rows_ahead(used);
  for (int32_t i = 0; i < ahead && i < entries; i++) mr_prefetch_lines(mr_row_at(t, rows[i]), used);
  int32_t e = 0;
  for (int32_t r = 0; r < batch_rows; r++)
    for (; e < ends[r]; e++) {
      if (e < entries - ahead) mr_prefetch_lines(mr_row_at(t, rows[e + ahead]), used);
      const uint8_t *row = base + (uint64_t)rows[e] * t->row_bytes;
      const float x = weights[e];
      const float factor = element == MR_ROWS_INT8 ? x * mr_load_float(row) : x;
      const float shift = element == MR_ROWS_INT8 ? x * mr_load_float(row + 4) : 0;
      for (uint32_t o = 0; o < outputs; o++) {
        float *a = accumulators + ((size_t)r * outputs + o) * ((size_t)k + 2);
        a[0] += x * mr_load_float(row + mr_head_at(element) + o * 4);
        const uint8_t *from = row + values_at + o * k * each;
        float32x4_t square = vdupq_n_f32(0);
        uint32_t c = 0;
        for (; c + 4 <= k; c += 4) {
          float32x4_t xv = vfmaq_n_f32(vdupq_n_f32(shift), mr_load_values4(element, from + c * each), factor);
          vst1q_f32(a + 1 + c, vaddq_f32(vld1q_f32(a + 1 + c), xv));
          square = vfmaq_f32(square, xv, xv);
        }
        if (c < k) {
          float last[4];
          vst1q_f32(last, vfmaq_n_f32(vdupq_n_f32(shift), mr_load_some4(element, from + c * each, k - c), factor));
          for (uint32_t l = 0; l < k - c; l++) {
            a[1 + c + l] += last[l];
            a[1 + k] += last[l] * last[l];
          }
        }
        a[1 + k] += vaddvq_f32(square);
      }
    }
}

void mr_fm_neon(const mr_embedding *t, uint32_t outputs, const uint32_t *rows, const float *weights, const int32_t *ends, int32_t batch_rows,
                float *accumulators) {
  switch (t->element) {
    case MR_ROWS_FLOAT32: partial(t, outputs, rows, weights, ends, batch_rows, accumulators, MR_ROWS_FLOAT32); break;
    case MR_ROWS_BFLOAT16: partial(t, outputs, rows, weights, ends, batch_rows, accumulators, MR_ROWS_BFLOAT16); break;
    default: partial(t, outputs, rows, weights, ends, batch_rows, accumulators, MR_ROWS_INT8); break;
  }
}
#endif
