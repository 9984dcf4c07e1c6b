// Hot: int8 products with AVX-512 VNNI: four inputs a step, int32 sums over all inputs, one scale at the end.
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")))
#define VECTOR __m512i
#define ZERO _mm512_setzero_si512()
#define LOAD(p) _mm512_loadu_si512(p)
#define BROADCAST(p) _mm512_set1_epi32(*(const int32_t *)(p))
#define DOT(sum, x, w) _mm512_dpbusd_epi32(sum, x, w)
#define ADD(a, b) _mm512_add_epi32(a, b)
#define PREFETCH_BYTES 1024
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
  run_tiles(panels, x, rows, y, y_stride, tiles);
}

static void multiply_raw(const mr_panels *panels, const mr_operand *x, size_t rows, int32_t *y, size_t y_stride) {
  run_tiles(panels, x, rows, y, y_stride, raw_tiles);
}

static TARGET void narrow(const mr_panels *panels, const float *x, void *values, float *scale, int32_t *mask) {
  const size_t count = panels->inputs, padded = panels->steps * 4;
  const __m512i magnitudes = _mm512_set1_epi32(0x7fffffff);
  // As integers, magnitudes of floats have the order of floats, with infinity and NaN above all.
  __m512i greatest = _mm512_setzero_si512();
  __mmask16 negative = 0;
  const __m512 zero = _mm512_setzero_ps();
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m512 value = _mm512_loadu_ps(x + i);
    greatest = _mm512_max_epi32(greatest, _mm512_and_si512(_mm512_castps_si512(value), magnitudes));
    negative |= _mm512_cmp_ps_mask(value, zero, _CMP_LT_OQ);
  }
  const __mmask16 tail = (__mmask16)((1u << (count - i)) - 1);
  if (tail) {
    const __m512 value = _mm512_maskz_loadu_ps(tail, x + i);
    greatest = _mm512_max_epi32(greatest, _mm512_and_si512(_mm512_castps_si512(value), magnitudes));
    negative |= _mm512_cmp_ps_mask(value, zero, _CMP_LT_OQ);
  }
  const int32_t bits = _mm512_reduce_max_epi32(greatest);
  float magnitude;
  memcpy(&magnitude, &bits, 4);
  const mr_quantization q = mr_quantization_of(panels, magnitude, negative != 0);
  *scale = q.scale;
  *mask = q.mask;
  const __m512 inverse = _mm512_set1_ps(q.inverse);
  const __m512 least = _mm512_set1_ps(-256.0f), most = _mm512_set1_ps(256.0f);
  const __m512i point = _mm512_set1_epi32(q.zero);
  uint8_t *out = values;
  for (i = 0; i < padded; i += 16) {
    const __mmask16 lanes = count >= i + 16 ? 0xffff : count > i ? (__mmask16)((1u << (count - i)) - 1) : 0;
    const __mmask16 stored = padded >= i + 16 ? 0xffff : (__mmask16)((1u << (padded - i)) - 1);
    __m512 value = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), inverse);
    value = _mm512_min_ps(_mm512_max_ps(value, least), most);
    __m512i integer = _mm512_add_epi32(_mm512_cvtps_epi32(value), point);
    integer = _mm512_max_epi32(integer, _mm512_setzero_si512());
    _mm512_mask_cvtusepi32_storeu_epi8(out + i, stored, integer);
  }
}

static TARGET void widen(const uint8_t *x, size_t count, size_t padded, void *values) {
  memcpy(values, x, count);
  memset((char *)values + count, 0, padded - count);
}

const mr_form mr_int8_avx512 = {
    .width = PANEL, .narrow_width = HALF_PANEL, .group = 4, .weight_bytes = 1, .value_bytes = 1, .tile_rows = TILE_ROWS,
    .multiply = multiply, .multiply_raw = multiply_raw, .narrow = narrow, .widen = widen};
#endif
