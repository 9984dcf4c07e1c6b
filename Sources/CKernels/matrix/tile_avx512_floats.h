// Hot: what float32 and bfloat16 tiles of AVX-512 share: sums are floats. Included once by each, which defines LOAD, BROADCAST, DOT and TARGET.
#pragma once
#define VECTOR __m512
#define ZERO _mm512_setzero_ps()
#define LOAD(p) _mm512_loadu_ps(p)
#define MASKED_LOAD(mask, p) _mm512_maskz_loadu_ps(mask, p)
#define BROADCAST(p) _mm512_set1_ps(*(const float *)(p))
#define ADD(a, b) _mm512_add_ps(a, b)
#define VECTOR4 __m128
#define QUARTER(v) quarter(v)
#define SUM4(a, b, c, d) _mm_hadd_ps(_mm_hadd_ps(a, b), _mm_hadd_ps(c, d))
#define PREFETCH_BYTES 1024
#include <immintrin.h>

static inline __attribute__((always_inline)) TARGET __m128 quarter(__m512 v) {
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

#include "tile_avx512.h"

static inline __attribute__((always_inline)) TARGET void run(const tile *t, const int R, const int V, const int U) {
  __m512 sums[TILE_ROWS][2];
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++) sums[r][v] = ZERO;
  tile_sums(sums, t->x, t->x_stride, t->weights, t->weights_stride, t->steps, R, V, U);
  const __m512 floor = _mm512_set1_ps(t->floor);
  UNROLL for (int v = 0; v < V; v++) {
    const __mmask16 mask = column_mask(t->columns, v);
    const __m512 bias = _mm512_loadu_ps(t->bias + 16 * v);
    // max gives its second operand when one is NaN.
    UNROLL for (int r = 0; r < R; r++) _mm512_mask_storeu_ps((float *)t->y + (size_t)r * t->y_stride + 16 * v, mask,
                                                             _mm512_max_ps(floor, _mm512_add_ps(sums[r][v], bias)));
  }
}

static TARGET void single(const tile *t, size_t rows) {
  for (size_t row = 0; row < rows; row += 4) {
    const size_t part = rows - row < 4 ? rows - row : 4;
    float sums[4];
    _mm_storeu_ps(sums, _mm_max_ps(_mm_set1_ps(t->floor), _mm_add_ps(dots_of(t, row, part), _mm_set1_ps(t->bias[0]))));
    for (size_t r = 0; r < part; r++) ((float *)t->y)[(row + r) * t->y_stride] = sums[r];
  }
}

#define DEFINE(R, V, U) \
  static TARGET void tile_##R##_##V(const tile *t) { run(t, R, V, U); }
EACH_TILE(DEFINE, 1)
EACH_TILE(DEFINE, 2)
#define NAME(R, V, U) tile_##R##_##V
static tile_function const tiles[2][TILE_ROWS] = {TILES_OF(NAME, 1), TILES_OF(NAME, 2)};

static void multiply(const mr_panels *panels, const mr_operand *x, size_t rows, float *y, size_t y_stride) {
  run_tiles(panels, x, rows, y, y_stride, tiles, single);
}
