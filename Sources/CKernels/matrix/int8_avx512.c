// Hot: int8 products with AVX-512 VNNI: four inputs a step, int32 sums over all inputs, one scale at the end.
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")))
#define VECTOR __m512i
#define ZERO _mm512_setzero_si512()
#define LOAD(p) _mm512_loadu_si512(p)
#define MASKED_LOAD(mask, p) _mm512_maskz_loadu_epi32(mask, p)
#define BROADCAST(p) _mm512_set1_epi32(*(const int32_t *)(p))
#define DOT(sum, x, w) _mm512_dpbusd_epi32(sum, x, w)
#define ADD(a, b) _mm512_add_epi32(a, b)
#define VECTOR4 __m128i
#define QUARTER(v) quarter(v)
#define SUM4(a, b, c, d) _mm_hadd_epi32(_mm_hadd_epi32(a, b), _mm_hadd_epi32(c, d))
#define PREFETCH_BYTES 1024

static inline __attribute__((always_inline)) TARGET __m128i quarter(__m512i v) {
  const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti32x8_epi32(v, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

#include "tile_avx512.h"

static inline __attribute__((always_inline)) TARGET void sums_of(const tile *t, __m512i sums[TILE_ROWS][2], const int R, const int V,
                                                                 const int U) {
  UNROLL for (int v = 0; v < V; v++) {
    const __m512i correction = _mm512_loadu_si512(t->corrections + 16 * v);
    UNROLL for (int r = 0; r < R; r++) sums[r][v] = _mm512_and_si512(correction, _mm512_set1_epi32(t->row_masks[r]));
  }
  tile_sums(sums, t->x, t->x_stride, t->weights, t->weights_stride, t->steps, R, V, U);
}

static inline __attribute__((always_inline)) TARGET void run(const tile *t, const int R, const int V, const int U) {
  __m512i sums[TILE_ROWS][2];
  sums_of(t, sums, R, V, U);
  const __m512 floor = _mm512_set1_ps(t->floor);
  UNROLL for (int v = 0; v < V; v++) {
    const __mmask16 mask = column_mask(t->columns, v);
    const __m512 bias = _mm512_loadu_ps(t->bias + 16 * v), scales = _mm512_loadu_ps(t->scales + 16 * v);
    // Multiplied and added apart: the same bits as every other form.
    UNROLL for (int r = 0; r < R; r++) {
      const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(t->row_scales[r]), scales);
      const __m512 y = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums[r][v]), scale), bias);
      _mm512_mask_storeu_ps((float *)t->y + (size_t)r * t->y_stride + 16 * v, mask, _mm512_max_ps(floor, y));
    }
  }
}

static inline __attribute__((always_inline)) TARGET void run_raw(const tile *t, const int R, const int V, const int U) {
  __m512i sums[TILE_ROWS][2];
  sums_of(t, sums, R, V, U);
  UNROLL for (int v = 0; v < V; v++) {
    const __mmask16 mask = column_mask(t->columns, v);
    UNROLL for (int r = 0; r < R; r++)
        _mm512_mask_storeu_epi32((int32_t *)t->y + (size_t)r * t->y_stride + 16 * v, mask, sums[r][v]);
  }
}

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

#define DEFINE(R, V, U) \
  static TARGET void tile_##R##_##V(const tile *t) { run(t, R, V, U); } \
  static TARGET void raw_##R##_##V(const tile *t) { run_raw(t, R, V, U); }
EACH_TILE(DEFINE, 1)
EACH_TILE(DEFINE, 2)
#define NAME(R, V, U) tile_##R##_##V
#define NAME_RAW(R, V, U) raw_##R##_##V
static tile_function const tiles[2][TILE_ROWS] = {TILES_OF(NAME, 1), TILES_OF(NAME, 2)};
static tile_function const raw_tiles[2][TILE_ROWS] = {TILES_OF(NAME_RAW, 1), TILES_OF(NAME_RAW, 2)};

static void multiply(const mr_panels *panels, const mr_operand *x, size_t rows, float *y, size_t y_stride) {
  run_tiles(panels, x, rows, y, y_stride, tiles, single);
}

static void multiply_raw(const mr_panels *panels, const mr_operand *x, size_t rows, int32_t *y, size_t y_stride) {
  run_tiles(panels, x, rows, y, y_stride, raw_tiles, single_raw);
}

static inline __attribute__((always_inline)) TARGET __m512 floats_from(const float *x, size_t i, size_t count) {
  const __mmask16 lanes = count >= i + 16 ? 0xffff : count > i ? (__mmask16)((1u << (count - i)) - 1) : 0;
  return _mm512_maskz_loadu_ps(lanes, x + i);
}

static inline __attribute__((always_inline)) TARGET __m512i rounded(__m512 x, const mr_quantization *q, bool clamps) {
  if (clamps) x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(q->least)), _mm512_set1_ps(q->most));
  return _mm512_castps_si512(_mm512_fmadd_ps(x, _mm512_set1_ps(q->inverse), _mm512_set1_ps(q->rounding)));
}

/// The values are the low bytes. Whole blocks of 64 are interleaved: no packing across lanes.
static inline __attribute__((always_inline)) TARGET void quantize(const float *x, size_t count, uint8_t *out, const mr_quantization *q,
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
    _mm_store_si128((__m128i *)(out + i), _mm512_cvtepi32_epi8(rounded(floats_from(x, i, count), q, clamps)));
}

/// What a row is quantized by.
static inline __attribute__((always_inline)) TARGET mr_quantization quantization_of(const mr_panels *panels, const float *x, size_t count) {
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
    const __m512i a = _mm512_castps_si512(floats_from(x, i, count));
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
