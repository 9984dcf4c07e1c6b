// For kernels only: reading rows with AVX-512.
#pragma once
#include <immintrin.h>

#include "embedding_internal.h"

#define MR_AVX512 __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,f16c")))
#define MR_AVX512_INLINE static inline __attribute__((always_inline, target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,f16c")))

/// 16 values of element `element` (a constant where this is inlined) at `p`, those that `mask` has; int8: 0...255, not scaled. Only bytes
/// under the mask are touched.
MR_AVX512_INLINE __m512 mr_load_values(const int element, const uint8_t *p, const bool full, __mmask16 mask) {
  if (element == MR_ROWS_FLOAT32) return full ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(mask, p);
  if (element == MR_ROWS_BFLOAT16) {
    __m256i half = full ? _mm256_loadu_si256((const __m256i *)p) : _mm256_maskz_loadu_epi16(mask, p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }
  __m128i bytes = full ? _mm_loadu_si128((const __m128i *)p) : _mm_maskz_loadu_epi8(mask, p);
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
}
