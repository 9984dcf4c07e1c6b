// For kernels only: reading rows with AVX2, into the vectors of matrix/.
#pragma once
#define TARGET __attribute__((target("avx2,fma,f16c")))
#include "../matrix/vector_avx2.h"
#include "embedding_internal.h"

/// A vector of values of element `element` (a constant where this is inlined) at `p`; int8: 0...255, not scaled.
INLINE vf row_load(const int element, const uint8_t *p) {
  if (element == MR_ROWS_FLOAT32) return _mm256_loadu_ps((const float *)p);
  if (element == MR_ROWS_BFLOAT16)
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16));
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

/// The first `count` values, then zeros; no byte behind them is touched.
INLINE vf row_load_some(const int element, const uint8_t *p, uint32_t count) {
  if (count >= LANES) return row_load(element, p);
  if (element == MR_ROWS_FLOAT32) return _mm256_maskload_ps((const float *)p, lanes_mask(count));
  uint8_t some[16] = {0};
  const uint32_t each = mr_element_bytes(element);
  for (uint32_t i = 0; i < count * each; i++) some[i] = p[i];
  return row_load(element, some);
}

/// The first `count` lanes, then zeros.
INLINE vf row_first(vf a, uint32_t count) { return _mm256_and_ps(a, _mm256_castsi256_ps(lanes_mask(count))); }
