// Hot: see single_avx512.h; sums are floats. The includer defines PRODUCT.
#pragma once
#define FULL(p) _mm512_loadu_ps(p)
#define SOME(mask, p) _mm512_maskz_loadu_ps(mask, p)
#define QUARTER(v) quarter(v)
#define JOIN(a, b, c, d) _mm_hadd_ps(_mm_hadd_ps(a, b), _mm_hadd_ps(c, d))
#define QUARTER_SUM __m128

INLINE __m128 quarter(__m512 v) {
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

#include "single_avx512.h"

static TARGET void single(const tile *t, size_t rows) {
  for (size_t row = 0; row < rows; row += 4) {
    const size_t part = rows - row < 4 ? rows - row : 4;
    float sums[4];
    _mm_storeu_ps(sums, _mm_max_ps(_mm_set1_ps(t->floor), _mm_add_ps(dots_of(t, row, part), _mm_set1_ps(t->bias[0]))));
    for (size_t r = 0; r < part; r++) ((float *)t->y)[(row + r) * t->y_stride] = sums[r];
  }
}
