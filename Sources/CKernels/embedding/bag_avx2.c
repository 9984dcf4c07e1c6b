// Hot: no allocation.
#if defined(__x86_64__)
#include "rows_avx2.h"

// Columns of one pass over a bag: eight vectors.
#define COLUMNS 64

typedef struct bags {
  const mr_embedding *t;
  const uint32_t *rows;
  const float *weights;
  int32_t entries, ahead;
  uint32_t used;
} bags;

/// As in the AVX-512 form: 8 * vectors columns, of the last vector the first `tail` (1...8).
MR_AVX2_INLINE void block(const bags *b, int32_t from, int32_t to, int mode, float *out, const int element, const int vectors,
                          const bool weighted, uint32_t column, uint32_t tail) {
  const mr_embedding *t = b->t;
  const uint32_t each = mr_element_bytes(element), at = mr_values_at(element, t->head) + column * each, stride = t->row_bytes;
  const uint8_t *base = t->rows;
  const int32_t fetch_end = column == 0 ? b->entries - b->ahead : 0;
  __m256 sums[8];
  float offsets = 0;
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) sums[v] = _mm256_setzero_ps();
  for (int32_t e = from; e < to; e++) {
    if (e < fetch_end) mr_prefetch_lines(base + (uint64_t)b->rows[e + b->ahead] * stride, b->used);
    const uint8_t *row = base + (uint64_t)b->rows[e] * stride;
    __m256 factor = _mm256_setzero_ps();
    if (element == MR_ROWS_INT8) {
      float scale = mr_load_float(row), offset = mr_load_float(row + 4);
      if (weighted) scale *= b->weights[e], offset *= b->weights[e];
      factor = _mm256_set1_ps(scale);
      offsets += offset;
    } else if (weighted) {
      factor = _mm256_set1_ps(b->weights[e]);
    }
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      const uint8_t *p = row + at + (uint32_t)v * 8 * each;
      __m256 x = v < vectors - 1 || tail == 8 ? mr_load_values8(element, p) : mr_load_some8(element, p, tail);
      sums[v] = element == MR_ROWS_INT8 || weighted ? _mm256_fmadd_ps(x, factor, sums[v]) : _mm256_add_ps(sums[v], x);
    }
  }
  const bool divide = mode == MR_BAG_MEAN && to - from > 1;
  const __m256 divisor = _mm256_set1_ps((float)(to - from)), shift = _mm256_set1_ps(offsets);
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    __m256 x = sums[v];
    if (element == MR_ROWS_INT8) x = _mm256_add_ps(x, shift);
    if (divide) x = _mm256_div_ps(x, divisor);
    if (v < vectors - 1 || tail == 8)
      _mm256_storeu_ps(out + column + v * 8, x);
    else
      _mm256_maskstore_ps(out + column + v * 8, mr_first8(tail), x);
  }
}

#define CASE(vectors) \
  case vectors: block(b, from, to, mode, out, element, vectors, weighted, column, tail); break;

MR_AVX2_INLINE void bag(const bags *b, int32_t from, int32_t to, int mode, float *out, const int element, const bool weighted) {
  const uint32_t width = b->t->width;
  for (uint32_t column = 0; column < width; column += COLUMNS) {
    const uint32_t wide = width - column < COLUMNS ? width - column : COLUMNS, tail = wide % 8 ? wide % 8 : 8;
    switch ((wide + 7) / 8) { CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) }
  }
}

#define FORM(name, element, weighted)                                                                                 \
  MR_AVX2 static void name(const bags *b, const int32_t *ends, int32_t count, int mode, float *out, size_t stride) { \
    for (int32_t i = 0, from = 0; i < count; from = ends[i], i++) bag(b, from, ends[i], mode, out + (size_t)i * stride, element, weighted); \
  }

FORM(bags_float32, MR_ROWS_FLOAT32, false)
FORM(bags_float32_weighted, MR_ROWS_FLOAT32, true)
FORM(bags_bfloat16, MR_ROWS_BFLOAT16, false)
FORM(bags_bfloat16_weighted, MR_ROWS_BFLOAT16, true)
FORM(bags_int8, MR_ROWS_INT8, false)
FORM(bags_int8_weighted, MR_ROWS_INT8, true)

void mr_bag_avx2(const mr_embedding *t, const uint32_t *rows, const float *weights, const int32_t *ends, int32_t count, int mode, float *out,
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

MR_AVX2_INLINE void add(const mr_embedding *t, const uint32_t *rows, const float *weights, const uint32_t *slots, size_t count, float *out,
                        size_t slot_stride, const int element) {
  const uint32_t each = mr_element_bytes(element), at = mr_values_at(element, t->head), stride = t->row_bytes, width = t->width;
  const uint32_t used = at + width * each;
  const uint8_t *base = t->rows;
  const size_t ahead = (size_t)mr_rows_ahead(used);
  for (size_t i = 0; i < ahead && i < count; i++) mr_prefetch_lines(base + (uint64_t)rows[i] * stride, used);
  for (size_t e = 0; e < count; e++) {
    if (e + ahead < count) mr_prefetch_lines(base + (uint64_t)rows[e + ahead] * stride, used);
    const uint8_t *row = base + (uint64_t)rows[e] * stride, *from = row + at;
    const float weight = weights ? weights[e] : 1;
    float *to = out + (size_t)slots[e] * slot_stride;
    __m256 factor = _mm256_set1_ps(weight), shift = _mm256_setzero_ps();
    if (element == MR_ROWS_INT8) {
      factor = _mm256_set1_ps(weight * mr_load_float(row));
      shift = _mm256_set1_ps(weight * mr_load_float(row + 4));
    }
    uint32_t c = 0;
    for (; c + 8 <= width; c += 8) {
      __m256 x = mr_load_values8(element, from + c * each), y = _mm256_loadu_ps(to + c);
      if (element == MR_ROWS_INT8) y = _mm256_add_ps(y, shift);
      _mm256_storeu_ps(to + c, _mm256_fmadd_ps(x, factor, y));
    }
    if (c < width) {
      const __m256i mask = mr_first8(width - c);
      __m256 x = mr_load_some8(element, from + c * each, width - c), y = _mm256_maskload_ps(to + c, mask);
      if (element == MR_ROWS_INT8) y = _mm256_add_ps(y, shift);
      _mm256_maskstore_ps(to + c, mask, _mm256_fmadd_ps(x, factor, y));
    }
  }
}

MR_AVX2 void mr_add_avx2(const mr_embedding *t, const uint32_t *rows, const float *weights, const uint32_t *slots, size_t count, float *out,
                         size_t slot_stride) {
  switch (t->element) {
    case MR_ROWS_FLOAT32: add(t, rows, weights, slots, count, out, slot_stride, MR_ROWS_FLOAT32); break;
    case MR_ROWS_BFLOAT16: add(t, rows, weights, slots, count, out, slot_stride, MR_ROWS_BFLOAT16); break;
    default: add(t, rows, weights, slots, count, out, slot_stride, MR_ROWS_INT8); break;
  }
}
#endif
