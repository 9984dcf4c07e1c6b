// Hot: no allocation. The oracle of the other forms.
#include "interaction_internal.h"

void mr_fm_scalar(const mr_embedding *t, uint32_t outputs, const uint32_t *rows, const float *weights, const int32_t *ends,
                  int32_t batch_rows, float *accumulators) {
  const uint32_t k = t->width / outputs, head_at = mr_head_at(t->element), values_at = mr_values_at(t->element, t->head);
  const size_t wide = (size_t)k + 2;
  int32_t e = 0;
  for (int32_t r = 0; r < batch_rows; r++)
    for (; e < ends[r]; e++) {
      const uint8_t *row = mr_row_at(t, rows[e]), *values = row + values_at;
      const float x = weights[e];
      float scale = 0, offset = 0;
      if (t->element == MR_ROWS_INT8) scale = mr_load_float(row), offset = mr_load_float(row + 4);
      for (uint32_t o = 0; o < outputs; o++) {
        float *a = accumulators + ((size_t)r * outputs + o) * wide;
        a[0] += x * mr_load_float(row + head_at + o * 4);
        float squares = 0;
        for (uint32_t i = 0; i < k; i++) {
          const uint32_t c = o * k + i;
          float v;
          if (t->element == MR_ROWS_FLOAT32) {
            v = mr_load_float(values + c * 4);
          } else if (t->element == MR_ROWS_BFLOAT16) {
            uint16_t bits;
            memcpy(&bits, values + c * 2, 2);
            v = mr_bfloat16_value(bits);
          } else {
            v = scale * (float)values[c] + offset;
          }
          const float xv = x * v;
          a[1 + i] += xv;
          squares += xv * xv;
        }
        a[1 + k] += squares;
      }
    }
}
