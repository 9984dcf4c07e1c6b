// For kernels only: reading rows with AVX2.
#pragma once
#include <immintrin.h>

#include "embedding_internal.h"

#define MR_AVX2 __attribute__((target("avx2,fma,f16c")))
#define MR_AVX2_INLINE static inline __attribute__((always_inline, target("avx2,fma,f16c")))

/// 8 values of element `element` (a constant where this is inlined) at `p`; int8: 0...255, not scaled.
MR_AVX2_INLINE __m256 mr_load_values8(const int element, const uint8_t *p) {
  if (element == MR_ROWS_FLOAT32) return _mm256_loadu_ps((const float *)p);
  if (element == MR_ROWS_BFLOAT16)
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16));
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

/// Lanes below `count`, all ones.
MR_AVX2_INLINE __m256i mr_first8(uint32_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/// The first `count` (below 8) values, then zeros; no byte behind them is touched.
MR_AVX2_INLINE __m256 mr_load_some8(const int element, const uint8_t *p, uint32_t count) {
  if (element == MR_ROWS_FLOAT32) return _mm256_maskload_ps((const float *)p, mr_first8(count));
  uint8_t some[16] = {0};
  const uint32_t each = mr_element_bytes(element);
  for (uint32_t i = 0; i < count * each; i++) some[i] = p[i];
  return mr_load_values8(element, some);
}
