// Hot: no allocation.
#if defined(__x86_64__)
#include "../embedding/rows_avx2.h"
#include "interaction_internal.h"

/// As in the AVX-512 form: 8 * vectors factors, of the last vector the first `tail` (1...8).
MR_AVX2_INLINE void block(const mr_embedding *t, const uint32_t *rows, const float *weights, int32_t from, int32_t to, int32_t fetch_end,
                          int32_t ahead, uint32_t used, uint32_t head, uint32_t at, float *linear, float *factors, float *squares,
                          const int element, const int vectors, uint32_t tail) {
  const uint32_t each = mr_element_bytes(element), stride = t->row_bytes;
  const uint8_t *base = t->rows;
  const __m256i mask = mr_first8(tail);
  __m256 sums[4], square = _mm256_setzero_ps();
  float line = 0;
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) sums[v] = _mm256_setzero_ps();
  for (int32_t e = from; e < to; e++) {
    if (e < fetch_end) mr_prefetch_lines(base + (uint64_t)rows[e + ahead] * stride, used);
    const uint8_t *row = base + (uint64_t)rows[e] * stride;
    const float x = weights[e];
    line += x * mr_load_float(row + head);
    const __m256 factor = _mm256_set1_ps(element == MR_ROWS_INT8 ? x * mr_load_float(row) : x);
    const __m256 shift = _mm256_set1_ps(element == MR_ROWS_INT8 ? x * mr_load_float(row + 4) : 0);
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      const uint8_t *p = row + at + (uint32_t)v * 8 * each;
      const bool whole = v < vectors - 1 || tail == 8;
      __m256 xv = whole ? mr_load_values8(element, p) : mr_load_some8(element, p, tail);
      xv = element == MR_ROWS_INT8 ? _mm256_fmadd_ps(xv, factor, shift) : _mm256_mul_ps(xv, factor);
      if (element == MR_ROWS_INT8 && !whole) xv = _mm256_and_ps(xv, _mm256_castsi256_ps(mask));
      sums[v] = _mm256_add_ps(sums[v], xv);
      square = _mm256_fmadd_ps(xv, xv, square);
    }
  }
  if (linear) *linear += line;
  float lanes[8];
  _mm256_storeu_ps(lanes, square);
  *squares += ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    float *to_factors = factors + v * 8;
    if (v < vectors - 1 || tail == 8)
      _mm256_storeu_ps(to_factors, _mm256_add_ps(_mm256_loadu_ps(to_factors), sums[v]));
    else
      _mm256_maskstore_ps(to_factors, mask, _mm256_add_ps(_mm256_maskload_ps(to_factors, mask), sums[v]));
  }
}

MR_AVX2_INLINE void partial(const mr_embedding *t, uint32_t outputs, const uint32_t *rows, const float *weights, const int32_t *ends,
                            int32_t batch_rows, float *accumulators, const int element) {
  const uint32_t k = t->width / outputs, each = mr_element_bytes(element), values_at = mr_values_at(element, t->head);
  const uint32_t used = values_at + t->width * each;
  const int32_t entries = ends[batch_rows - 1], ahead = mr_rows_ahead(used);
  for (int32_t i = 0; i < ahead && i < entries; i++) mr_prefetch_lines(mr_row_at(t, rows[i]), used);
  int32_t from = 0;
  for (int32_t r = 0; r < batch_rows; r++) {
    const int32_t to = ends[r];
    for (uint32_t o = 0; o < outputs; o++) {
      float *a = accumulators + ((size_t)r * outputs + o) * ((size_t)k + 2);
      for (uint32_t column = 0; column < k; column += 32) {
        const uint32_t wide = k - column < 32 ? k - column : 32, at = values_at + (o * k + column) * each, tail = wide % 8 ? wide % 8 : 8;
        const int32_t fetch_end = o == 0 && column == 0 ? entries - ahead : 0;
        const uint32_t head = mr_head_at(element) + o * 4;
        float *linear = column == 0 ? a : NULL, *factors = a + 1 + column, *squares = a + 1 + k;
        switch ((wide + 7) / 8) {
          case 1: block(t, rows, weights, from, to, fetch_end, ahead, used, head, at, linear, factors, squares, element, 1, tail); break;
          case 2: block(t, rows, weights, from, to, fetch_end, ahead, used, head, at, linear, factors, squares, element, 2, tail); break;
          case 3: block(t, rows, weights, from, to, fetch_end, ahead, used, head, at, linear, factors, squares, element, 3, tail); break;
          default: block(t, rows, weights, from, to, fetch_end, ahead, used, head, at, linear, factors, squares, element, 4, tail); break;
        }
      }
    }
    from = to;
  }
}

MR_AVX2 void mr_fm_avx2(const mr_embedding *t, uint32_t outputs, const uint32_t *rows, const float *weights, const int32_t *ends,
                        int32_t batch_rows, float *accumulators) {
  switch (t->element) {
    case MR_ROWS_FLOAT32: partial(t, outputs, rows, weights, ends, batch_rows, accumulators, MR_ROWS_FLOAT32); break;
    case MR_ROWS_BFLOAT16: partial(t, outputs, rows, weights, ends, batch_rows, accumulators, MR_ROWS_BFLOAT16); break;
    default: partial(t, outputs, rows, weights, ends, batch_rows, accumulators, MR_ROWS_INT8); break;
  }
}
#endif
