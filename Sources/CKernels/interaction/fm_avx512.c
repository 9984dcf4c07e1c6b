// Hot: no allocation.
#if defined(__x86_64__)
#include "../embedding/rows_avx512.h"
#include "interaction_internal.h"

/// Factors `column` ..< `column` + 16 * vectors (the last vector under `tail`) of one output of one batch row. `element` and `vectors` are
/// constants where this is inlined.
MR_AVX512_INLINE void block(const mr_embedding *t, const uint32_t *rows, const float *weights, int32_t from, int32_t to, int32_t fetch_end,
                            int32_t ahead, uint32_t used, uint32_t head, uint32_t at, float *linear, float *factors, float *squares,
                            const int element, const int vectors, __mmask16 tail) {
  const uint32_t each = mr_element_bytes(element), stride = t->row_bytes;
  const uint8_t *base = t->rows;
  __m512 sums[4], square = _mm512_setzero_ps();
  float line = 0;
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) sums[v] = _mm512_setzero_ps();
  for (int32_t e = from; e < to; e++) {
    if (e < fetch_end) mr_prefetch_lines(base + (uint64_t)rows[e + ahead] * stride, used);
    const uint8_t *row = base + (uint64_t)rows[e] * stride;
    const float x = weights[e];
    line += x * mr_load_float(row + head);
    const __m512 factor = _mm512_set1_ps(element == MR_ROWS_INT8 ? x * mr_load_float(row) : x);
    const __m512 shift = _mm512_set1_ps(element == MR_ROWS_INT8 ? x * mr_load_float(row + 4) : 0);
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      __m512 xv = mr_load_values(element, row + at + (uint32_t)v * 16 * each, v < vectors - 1, tail);
      if (element != MR_ROWS_INT8)
        xv = _mm512_mul_ps(xv, factor);
      else
        xv = v < vectors - 1 ? _mm512_fmadd_ps(xv, factor, shift) : _mm512_maskz_fmadd_ps(tail, xv, factor, shift);
      sums[v] = _mm512_add_ps(sums[v], xv);
      square = _mm512_fmadd_ps(xv, xv, square);
    }
  }
  if (linear) *linear += line;
  *squares += _mm512_reduce_add_ps(square);
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    const __mmask16 mask = v < vectors - 1 ? (__mmask16)0xFFFF : tail;
    _mm512_mask_storeu_ps(factors + v * 16, mask, _mm512_add_ps(_mm512_maskz_loadu_ps(mask, factors + v * 16), sums[v]));
  }
}

MR_AVX512_INLINE void partial(const mr_embedding *t, uint32_t outputs, const uint32_t *rows, const float *weights, const int32_t *ends,
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
      for (uint32_t column = 0; column < k; column += 64) {
        const uint32_t wide = k - column < 64 ? k - column : 64, at = values_at + (o * k + column) * each;
        const __mmask16 tail = wide % 16 ? (__mmask16)((1u << wide % 16) - 1) : (__mmask16)0xFFFF;
        // Each row is fetched once, by its first block.
        const int32_t fetch_end = o == 0 && column == 0 ? entries - ahead : 0;
        const uint32_t head = mr_head_at(element) + o * 4;
        float *linear = column == 0 ? a : NULL, *factors = a + 1 + column, *squares = a + 1 + k;
        switch ((wide + 15) / 16) {
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

MR_AVX512 void mr_fm_avx512(const mr_embedding *t, uint32_t outputs, const uint32_t *rows, const float *weights, const int32_t *ends,
                            int32_t batch_rows, float *accumulators) {
  switch (t->element) {
    case MR_ROWS_FLOAT32: partial(t, outputs, rows, weights, ends, batch_rows, accumulators, MR_ROWS_FLOAT32); break;
    case MR_ROWS_BFLOAT16: partial(t, outputs, rows, weights, ends, batch_rows, accumulators, MR_ROWS_BFLOAT16); break;
    default: partial(t, outputs, rows, weights, ends, batch_rows, accumulators, MR_ROWS_INT8); break;
  }
}
#endif
