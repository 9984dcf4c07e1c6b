// Hot: int8 products with AVX-512 VNNI: four inputs a step, int32 sums over all inputs, one scale at the end.
#if defined(__x86_64__)
#include <string.h>
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")))
#include "vector_avx512.h"

enum { TILE_ROWS = 14 };
#define VECTORS 2
#define HALF_VECTORS 1
#define SETS(rows) ((rows) <= 2 ? 4 : (rows) <= 4 ? 2 : 1)
#define EACH_ROWS EACH_14
#define COLUMN_BYTES 4
#define WEIGHT vi
#define LOAD_WEIGHTS(p) vi_load((const int32_t *)(p))
#define VALUE_BYTES 4
#define VALUE vi
#define LOAD_VALUE(p) vi_set(*(const int32_t *)(p))
#define DOT(sum, value, weights) _mm512_dpbusd_epi32(sum, value, weights)
#include "tile_integers.h"

#define FULL(p) _mm512_loadu_si512(p)
#define SOME(mask, p) _mm512_maskz_loadu_epi32(mask, p)
#define PRODUCT(sum, x, w) _mm512_dpbusd_epi32(sum, x, w)
#define QUARTER(v) quarter(v)
#define JOIN(a, b, c, d) _mm_hadd_epi32(_mm_hadd_epi32(a, b), _mm_hadd_epi32(c, d))
#define QUARTER_SUM __m128i

INLINE __m128i quarter(__m512i v) {
  const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti32x8_epi32(v, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

#include "single_avx512.h"

static TARGET void single(const tile *t, size_t rows) {
  for (size_t row = 0; row < rows; row += 4) {
    const size_t part = rows - row < 4 ? rows - row : 4;
    int32_t sums[4];
    _mm_storeu_si128((__m128i *)sums, dots_of(t, row, part));
    for (size_t r = 0; r < part; r++) {
      const float sum = (float)(int32_t)((uint32_t)sums[r] + (uint32_t)(t->corrections[0] & t->row_masks[row + r]));
      const float scale = t->row_scales[row + r] * t->scales[0];
      const float y = sum * scale + t->bias[0];
      ((float *)t->y)[(row + r) * t->y_stride] = y < t->floor ? t->floor : y;
    }
  }
}

static TARGET void single_raw(const tile *t, size_t rows) {
  for (size_t row = 0; row < rows; row += 4) {
    const size_t part = rows - row < 4 ? rows - row : 4;
    int32_t sums[4];
    _mm_storeu_si128((__m128i *)sums, dots_of(t, row, part));
    for (size_t r = 0; r < part; r++)
      ((int32_t *)t->y)[(row + r) * t->y_stride] = (int32_t)((uint32_t)sums[r] + (uint32_t)(t->corrections[0] & t->row_masks[row + r]));
  }
}

static void multiply(const mr_panels *panels, const mr_operand *x, size_t rows, float *y, size_t y_stride) {
  run_tiles(panels, x, rows, y, y_stride, layers, narrow_layers, single);
}

static void multiply_raw(const mr_panels *panels, const mr_operand *x, size_t rows, int32_t *y, size_t y_stride) {
  run_tiles(panels, x, rows, y, y_stride, raws, narrow_raws, single_raw);
}

INLINE __m512i rounded(__m512 x, const mr_quantization *q, bool clamps) {
  if (clamps) x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(q->least)), _mm512_set1_ps(q->most));
  return _mm512_castps_si512(_mm512_fmadd_ps(x, _mm512_set1_ps(q->inverse), _mm512_set1_ps(q->rounding)));
}

/// The values are the low bytes. Whole blocks of 64 are interleaved: no packing across lanes.
INLINE void quantize(const float *x, size_t count, uint8_t *out, const mr_quantization *q,
                                                                  const bool clamps) {
  size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    const __m512i a = rounded(_mm512_loadu_ps(x + i), q, clamps), b = rounded(_mm512_loadu_ps(x + i + 16), q, clamps);
    const __m512i c = rounded(_mm512_loadu_ps(x + i + 32), q, clamps), d = rounded(_mm512_loadu_ps(x + i + 48), q, clamps);
    // Ternary logic 0xca: bits of the second where the first is one, of the third elsewhere.
    const __m512i ab = _mm512_ternarylogic_epi32(_mm512_set1_epi32(0xff), a, _mm512_slli_epi32(b, 8), 0xca);
    const __m512i cd = _mm512_ternarylogic_epi32(_mm512_set1_epi32(0xff0000), _mm512_slli_epi32(c, 16), _mm512_slli_epi32(d, 24), 0xca);
    _mm512_store_si512(out + i, _mm512_ternarylogic_epi32(_mm512_set1_epi32(0xffff), ab, cd, 0xca));
  }
  // The row has room for a whole cache line.
  for (; i < count; i += 16)
    _mm_store_si128((__m128i *)(out + i), _mm512_cvtepi32_epi8(rounded(vf_load_some(x + i, count - i), q, clamps)));
}

/// What a row is quantized by.
INLINE mr_quantization quantization_of(const mr_panels *panels, const float *x, size_t count) {
  // As signed integers, floats above zero have their order and stand above all others. As unsigned ones, those below zero have the
  // order of their magnitudes and stand above all others. Infinities and NaN are above what is finite.
  __m512i signed0 = _mm512_setzero_si512(), signed1 = signed0, unsigned0 = signed0, unsigned1 = signed0;
  size_t i = 0;
  for (; i + 32 <= count; i += 32) {
    const __m512i a = _mm512_loadu_si512(x + i), b = _mm512_loadu_si512(x + i + 16);
    signed0 = _mm512_max_epi32(signed0, a);
    signed1 = _mm512_max_epi32(signed1, b);
    unsigned0 = _mm512_max_epu32(unsigned0, a);
    unsigned1 = _mm512_max_epu32(unsigned1, b);
  }
  for (; i < count; i += 16) {
    const __m512i a = _mm512_castps_si512(vf_load_some(x + i, count - i));
    signed0 = _mm512_max_epi32(signed0, a);
    unsigned0 = _mm512_max_epu32(unsigned0, a);
  }
  const uint32_t above = (uint32_t)_mm512_reduce_max_epi32(_mm512_max_epi32(signed0, signed1));
  const uint32_t highest = _mm512_reduce_max_epu32(_mm512_max_epu32(unsigned0, unsigned1));
  const uint32_t below = highest >> 31 ? highest & 0x7fffffffu : 0;
  const uint32_t bits = below > above ? below : above;
  float magnitude;
  memcpy(&magnitude, &bits, 4);
  return mr_quantization_of(panels, magnitude, below != 0);
}

static TARGET void narrow(const mr_panels *panels, const float *x, size_t x_stride, size_t rows, void *values, size_t stride, float *scales,
                          int32_t *masks) {
  // A few rows at once: the way from a row's values to its scale is one long chain, and rows hide each other's.
  enum { TOGETHER = 4 };
  const size_t count = panels->inputs;
  for (size_t row = 0; row < rows; row += TOGETHER) {
    const size_t part = rows - row < TOGETHER ? rows - row : TOGETHER;
    mr_quantization q[TOGETHER];
    for (size_t r = 0; r < part; r++) {
      q[r] = quantization_of(panels, x + (row + r) * x_stride, count);
      scales[row + r] = q[r].scale;
      masks[row + r] = q[r].mask;
    }
    for (size_t r = 0; r < part; r++) {
      const float *from = x + (row + r) * x_stride;
      uint8_t *to = (uint8_t *)values + (row + r) * stride;
      if (panels->x_scale > 0) quantize(from, count, to, &q[r], true);
      else quantize(from, count, to, &q[r], false);
    }
  }
}

static TARGET void widen(const uint8_t *x, size_t count, size_t padded, void *values) {
  memcpy(values, x, count);
  memset((char *)values + count, 0, padded - count);
}

const mr_form mr_int8_avx512 = {
    .width = PANEL, .narrow_width = HALF_PANEL, .group = 4, .has_single = true, .interleaves = true, .weight_bytes = 1, .value_bytes = 1, .tile_rows = TILE_ROWS,
    .multiply = multiply, .multiply_raw = multiply_raw, .narrow = narrow, .widen = widen};
#endif
