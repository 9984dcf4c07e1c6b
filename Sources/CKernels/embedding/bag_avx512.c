// Hot: no allocation.
#if defined(__x86_64__)
#include "rows_avx512.h"

// Columns of one pass over a bag: eight vectors.
#define COLUMNS 128

typedef struct bags {
  const mr_embedding *t;
  const uint32_t *rows;
  const float *weights;
  int32_t entries, ahead;
  uint32_t used;
} bags;

/// Columns `column` ..< `column` + 16 * vectors (the last vector under `tail` unless `full`) of the bag of entries from ..< to, into `out`.
/// `element`, `vectors`, `full` and `weighted` are constants where this is inlined.
MR_AVX512_INLINE void block(const bags *b, int32_t from, int32_t to, int mode, float *out, const int element, const int vectors, const bool full,
                            const bool weighted, uint32_t column, __mmask16 tail) {
  const mr_embedding *t = b->t;
  const uint32_t each = mr_element_bytes(element), at = mr_values_at(element, t->head) + column * each, stride = t->row_bytes;
  const uint8_t *base = t->rows;
  const uint32_t *rows = b->rows;
  const int32_t fetch_end = column == 0 ? b->entries - b->ahead : 0, ahead = b->ahead;
  // With one block of known width the lines to fetch are known too.
  const uint32_t used = full ? at + 16 * each * (uint32_t)vectors : b->used;
  __m512 sums[8];
  float offsets = 0;
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) sums[v] = _mm512_setzero_ps();
  for (int32_t e = from; e < to; e++) {
    if (e < fetch_end) mr_prefetch_lines(base + (uint64_t)rows[e + ahead] * stride, used);
    const uint8_t *row = base + (uint64_t)rows[e] * stride;
    __m512 factor = _mm512_setzero_ps();
    if (element == MR_ROWS_INT8) {
      float scale = mr_load_float(row), offset = mr_load_float(row + 4);
      if (weighted) scale *= b->weights[e], offset *= b->weights[e];
      factor = _mm512_set1_ps(scale);
      offsets += offset;
    } else if (weighted) {
      factor = _mm512_set1_ps(b->weights[e]);
    }
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      __m512 x = mr_load_values(element, row + at + (uint32_t)v * 16 * each, full || v < vectors - 1, tail);
      sums[v] = element == MR_ROWS_INT8 || weighted ? _mm512_fmadd_ps(x, factor, sums[v]) : _mm512_add_ps(sums[v], x);
    }
  }
  const bool divide = mode == MR_BAG_MEAN && to - from > 1;
  const __m512 divisor = _mm512_set1_ps((float)(to - from)), shift = _mm512_set1_ps(offsets);
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    __m512 x = sums[v];
    if (element == MR_ROWS_INT8) x = _mm512_add_ps(x, shift);
    if (divide) x = _mm512_div_ps(x, divisor);
    if (full || v < vectors - 1)
      _mm512_storeu_ps(out + column + v * 16, x);
    else
      _mm512_mask_storeu_ps(out + column + v * 16, tail, x);
  }
}

#define CASE(number, vectors, full) \
  case number: block(b, from, to, mode, out, element, vectors, full, weighted, column, tail); break;

/// One bag. `vectors` * 2 + whether the block is the whole row, without a tail.
MR_AVX512_INLINE void bag(const bags *b, int32_t from, int32_t to, int mode, float *out, const int element, const bool weighted) {
  const uint32_t width = b->t->width;
  for (uint32_t column = 0; column < width; column += COLUMNS) {
    const uint32_t wide = width - column < COLUMNS ? width - column : COLUMNS;
    const __mmask16 tail = wide % 16 ? (__mmask16)((1u << wide % 16) - 1) : (__mmask16)0xFFFF;
    switch ((wide + 15) / 16 * 2 + (wide % 16 == 0 && wide == width)) {
      CASE(3, 1, true) CASE(5, 2, true) CASE(9, 4, true) CASE(17, 8, true)
      CASE(2, 1, false) CASE(4, 2, false) CASE(6, 3, false) CASE(7, 3, true) CASE(8, 4, false) CASE(10, 5, false) CASE(11, 5, true)
      CASE(12, 6, false) CASE(13, 6, true) CASE(14, 7, false) CASE(15, 7, true) CASE(16, 8, false)
    }
  }
}

#define FORM(name, element, weighted)                                                                          \
  MR_AVX512 static void name(const bags *b, const int32_t *ends, int32_t count, int mode, float *out, size_t stride) { \
    for (int32_t i = 0, from = 0; i < count; from = ends[i], i++) bag(b, from, ends[i], mode, out + (size_t)i * stride, element, weighted); \
  }

FORM(bags_float32, MR_ROWS_FLOAT32, false)
FORM(bags_float32_weighted, MR_ROWS_FLOAT32, true)
FORM(bags_bfloat16, MR_ROWS_BFLOAT16, false)
FORM(bags_bfloat16_weighted, MR_ROWS_BFLOAT16, true)
FORM(bags_int8, MR_ROWS_INT8, false)
FORM(bags_int8_weighted, MR_ROWS_INT8, true)

void mr_bag_avx512(const mr_embedding *t, const uint32_t *rows, const float *weights, const int32_t *ends, int32_t count, int mode, float *out,
                   size_t out_stride) {
  if (count <= 0) return;
  const uint32_t used = mr_values_at(t->element, t->head) + t->width * mr_element_bytes(t->element);
  const bags b = {t, rows, weights, ends[count - 1], mr_rows_ahead(used), used};
  for (int32_t i = 0; i < b.ahead && i < b.entries; i++) mr_prefetch_lines(mr_row_at(t, rows[i]), used);
  switch (t->element * 2 + (weights != NULL)) {
    case MR_ROWS_FLOAT32 * 2: bags_float32(&b, ends, count, mode, out, out_stride); break;
    case MR_ROWS_FLOAT32 * 2 + 1: bags_float32_weighted(&b, ends, count, mode, out, out_stride); break;
    case MR_ROWS_BFLOAT16 * 2: bags_bfloat16(&b, ends, count, mode, out, out_stride); break;
    case MR_ROWS_BFLOAT16 * 2 + 1: bags_bfloat16_weighted(&b, ends, count, mode, out, out_stride); break;
    case MR_ROWS_INT8 * 2: bags_int8(&b, ends, count, mode, out, out_stride); break;
    default: bags_int8_weighted(&b, ends, count, mode, out, out_stride); break;
  }
}

MR_AVX512_INLINE void add_block(const mr_embedding *t, const uint32_t *rows, const float *weights, const uint32_t *slots, size_t count,
                                float *out, size_t slot_stride, const int element, const bool single) {
  const uint32_t each = mr_element_bytes(element), at = mr_values_at(element, t->head), stride = t->row_bytes, width = single ? 16 : t->width;
  const uint32_t used = at + width * each;
  const uint8_t *base = t->rows;
  const size_t ahead = (size_t)mr_rows_ahead(used);
  for (size_t i = 0; i < ahead && i < count; i++) mr_prefetch_lines(base + (uint64_t)rows[i] * stride, used);
  for (size_t e = 0; e < count; e++) {
    if (e + ahead < count) mr_prefetch_lines(base + (uint64_t)rows[e + ahead] * stride, used);
    const uint8_t *row = base + (uint64_t)rows[e] * stride, *from = row + at;
    const float weight = weights ? weights[e] : 1;
    float *to = out + (size_t)slots[e] * slot_stride;
    __m512 factor = _mm512_set1_ps(weight), shift = _mm512_setzero_ps();
    if (element == MR_ROWS_INT8) {
      factor = _mm512_set1_ps(weight * mr_load_float(row));
      shift = _mm512_set1_ps(weight * mr_load_float(row + 4));
    }
    uint32_t c = 0;
    for (; c + 16 <= width; c += 16) {
      __m512 x = mr_load_values(element, from + c * each, true, 0xFFFF), y = _mm512_loadu_ps(to + c);
      if (element == MR_ROWS_INT8) y = _mm512_add_ps(y, shift);
      _mm512_storeu_ps(to + c, _mm512_fmadd_ps(x, factor, y));
    }
    if (!single && c < width) {
      const __mmask16 tail = (__mmask16)((1u << (width - c)) - 1);
      __m512 x = mr_load_values(element, from + c * each, false, tail), y = _mm512_maskz_loadu_ps(tail, to + c);
      if (element == MR_ROWS_INT8) y = _mm512_add_ps(y, shift);
      _mm512_mask_storeu_ps(to + c, tail, _mm512_fmadd_ps(x, factor, y));
    }
  }
}

MR_AVX512 void mr_add_avx512(const mr_embedding *t, const uint32_t *rows, const float *weights, const uint32_t *slots, size_t count, float *out,
                             size_t slot_stride) {
  switch (t->element * 2 + (t->width == 16)) {
    case MR_ROWS_FLOAT32 * 2: add_block(t, rows, weights, slots, count, out, slot_stride, MR_ROWS_FLOAT32, false); break;
    case MR_ROWS_FLOAT32 * 2 + 1: add_block(t, rows, weights, slots, count, out, slot_stride, MR_ROWS_FLOAT32, true); break;
    case MR_ROWS_BFLOAT16 * 2: add_block(t, rows, weights, slots, count, out, slot_stride, MR_ROWS_BFLOAT16, false); break;
    case MR_ROWS_BFLOAT16 * 2 + 1: add_block(t, rows, weights, slots, count, out, slot_stride, MR_ROWS_BFLOAT16, true); break;
    case MR_ROWS_INT8 * 2: add_block(t, rows, weights, slots, count, out, slot_stride, MR_ROWS_INT8, false); break;
    default: add_block(t, rows, weights, slots, count, out, slot_stride, MR_ROWS_INT8, true); break;
  }
}

MR_AVX512 void mr_rows_of_avx512(const uint64_t *ids, size_t count, uint32_t row_count, uint32_t first, uint32_t *rows) {
  const __m512i m1 = _mm512_set1_epi64((long long)UINT64_C(0xBF58476D1CE4E5B9)), m2 = _mm512_set1_epi64((long long)UINT64_C(0x94D049BB133111EB));
  const __m512i n = _mm512_set1_epi64(row_count);
  const __m256i base = _mm256_set1_epi32((int)first);
  for (size_t i = 0; i < count; i += 8) {
    const __mmask8 mask = count - i >= 8 ? (__mmask8)0xFF : (__mmask8)((1u << (count - i)) - 1);
    __m512i x = _mm512_maskz_loadu_epi64(mask, ids + i);
    x = _mm512_mullo_epi64(_mm512_xor_si512(x, _mm512_srli_epi64(x, 30)), m1);
    x = _mm512_mullo_epi64(_mm512_xor_si512(x, _mm512_srli_epi64(x, 27)), m2);
    x = _mm512_xor_si512(x, _mm512_srli_epi64(x, 31));
    x = _mm512_srli_epi64(_mm512_mul_epu32(_mm512_srli_epi64(x, 32), n), 32);
    _mm256_mask_storeu_epi32(rows + i, mask, _mm256_add_epi32(_mm512_cvtepi64_epi32(x), base));
  }
}
#endif
